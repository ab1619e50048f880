//! One request, from its head to its answer's.
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use adit_core::l7::rate::Asking;
use adit_core::l7::telemetry::Telemetry;
use adit_core::l7::upstream::{Balancer, Http2Upgrade, NoEndpoint, Pick};
use adit_core::l7::{Abort, Answered, AttemptFailure, Elapsed, Ending, Exchange, KeyHash, Next, Outcome};
use adit_core::time::Instant;
use adit_ops::l7::trace::{RequestId, Traced};
use adit_ops::l7::{Details, Peer, ResetReason, ResponseFlags};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use smallvec::SmallVec;

use super::activity::Busy;
use super::admit::Admitted;
use super::body::{Body, Kept};
use super::decide::{self, Decision, Finish, Plan};
use super::failed::Failed;
use super::local::{Local, without_content};
use super::outgoing::{NoRequest, outgoing};
use super::trying::Trying;
use super::upgrade::Upgrade;
use super::view::Head;
use super::watch::{self, Report, Until, Watched};
use super::{admit, clean, limits, mirror};
use crate::conn::Conn;
use crate::route::{Endpoint, Now, Pool, Unroutable};
use crate::share::What;
use crate::shared::UnderWay;
use crate::upstream::{Lease, LeaseFailed, PoolKey, UpstreamVersion};
use crate::worker::Worker;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

/// Serves a request.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    busy: Busy,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let upgrade = Upgrade::asked(&worker, &mut request);
    let (parts, body) = request.into_parts();
    let settings = &worker.shared.settings;
    let (mut head, refused) = clean::clean(parts, settings.normalization);
    let refused = if clean::is_too_large(&head, settings) { Err(clean::TOO_LARGE) } else { refused };
    clean::strip_request(&mut head.headers);
    let outlet = conn.outlet(&worker.shared.in_force.borrow());
    let traced = identify(&worker, outlet.telemetry(), &mut head);
    let kept = conn.share.keeping(settings.max_client_kept);
    let kept = Kept::new(body, settings.max_replayed, kept, head.grpc);
    let place = conn.share.take(What::Request, settings.max_client_requests);
    let mut report = Report::new(&worker, &conn, busy, head, outlet);
    report.traced = traced;
    let Some(place) = place else {
        return answered(report, Local::overloaded(), &Finish::default());
    };
    report.place = Some(place);
    if let Err(refused) = refused {
        let flags = ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR;
        let local = Local::new(refused.status.as_u16(), flags, refused.details, refused.text);
        return answered(report, local, &Finish::default()).closing();
    }
    let now = match Now::of(&worker) {
        Ok(now) => now,
        Err(error) => return answered(report, decide::unroutable(&error), &Finish::default()),
    };
    // Nobody else has it yet: nothing is copied.
    let head = Rc::make_mut(&mut report.head);
    if now.snapshot().client_identity {
        head.vouch(now.local.identity_ref(), &conn.client);
    }
    let admitted = admit::admit(&worker, &now, &conn, head, &kept).await;
    let Admitted { policy, auth, response, remote_ip } = match admitted {
        Ok(admitted) => admitted,
        Err(local) => return answered(report, local, &Finish::default()),
    };
    let head = Rc::clone(&report.head);
    report.policy = policy;
    let Decision { outcome, mut finish, route, matched } = decide::decide(&worker, &now, &conn, &head);
    finish.extend(response);
    report.route = route;
    let mut plan = match outcome {
        Ok(plan) => plan,
        Err(local) => return answered(report, local, &finish),
    };
    if let Some(service) = conn.service() {
        let asking = Asking {
            request: &*head,
            source: Some(&conn.client),
            source_cluster: Some(&conn.peer.cluster)
                .map(|cluster| &**cluster)
                .filter(|cluster| !cluster.is_empty()),
            client: remote_ip.unwrap_or_else(|| conn.source.ip()),
            auth: auth.as_ref(),
            destination: &service.name,
        };
        let matched = matched.as_ref().map(|(route, rule)| (route, rule.as_ref()));
        let rates: Vec<_> =
            now.snapshot().rates.of(&service.name, conn.port, matched).into_iter().map(Arc::clone).collect();
        if !rates.is_empty() {
            match limits::pass(&worker, &now, &conn, &rates, &asking, &mut finish).await {
                Ok(headers) => plan.more = headers,
                Err(local) => return answered(report, local, &finish),
            }
        }
        let faults = now.snapshot().faults.of(&service.name, conn.port, matched);
        let time = decide::wall();
        // The nearest to the request counts.
        if let Some(injected) =
            worker.draw(|rng| faults.iter().find_map(|faults| faults.draw(&asking, time, rng)))
        {
            plan.injected = injected;
        }
    }
    report.request = Some(kept.clone());
    report.cluster = plan.pool.name(true);
    mirror::send(&worker, &now, &conn, &head, &plan, &kept);
    let key = key(&worker, &conn, &head, &plan, &mut finish);
    if let Some(delay) = plan.injected.delay {
        report.flags |= ResponseFlags::DELAY_INJECTED;
        tokio::time::sleep(delay).await;
    }
    if let Some(abort) = plan.injected.abort {
        return answered(report, aborted(abort), &finish);
    }
    let (tried, under_way) = (SmallVec::new(), None);
    Going { worker, conn, now, head, plan, finish, kept, report, tried, under_way, key }.go(upgrade).await
}

/// The request's key, where its service shares keys out; a client that has none may be given one.
fn key(worker: &Worker, conn: &Conn, head: &Head, plan: &Plan, finish: &mut Finish) -> Option<KeyHash> {
    let Pool::Cluster { policy, .. } = &plan.pool else { return None };
    let Balancer::Hash { key, .. } = &policy.balancer else { return None };
    if let Some(found) = key.key(head, Some(conn.source.ip())) {
        return Some(found);
    }
    let fresh = worker.draw(|rng| key.fresh(rng))?;
    finish.cookie(fresh.set_cookie);
    Some(fresh.key)
}

/// The answer to a request that is refused on purpose.
fn aborted(abort: Abort) -> Local {
    const TEXT: &str = "fault filter abort";
    let (flags, details) = (ResponseFlags::FAULT_INJECTED, Details::FaultFilterAbort);
    match abort {
        Abort::Status(status) => Local::new(status, flags, details, TEXT),
        Abort::Grpc(status) => Local::new(200, flags, details, TEXT).in_grpc(status),
    }
}

/// The answer to a request for which no time is left.
fn too_late() -> Local {
    let flags = ResponseFlags::UPSTREAM_REQUEST_TIMEOUT;
    Local::new(504, flags, Details::ResponseTimeout, "upstream request timeout")
}

/// The answer to a request that its route has made nothing sendable of.
fn unwritable(error: &NoRequest) -> Local {
    tracing::warn!(%error, "a request is refused: see its route's filters, or what its authorizer has set");
    Local::new(500, ResponseFlags::NONE, Details::DirectResponse, "")
}

/// What every request has from here on.
fn identify(worker: &Worker, telemetry: &Telemetry, head: &mut Head) -> Option<Traced> {
    head.forwarded();
    let tracing = &telemetry.tracing;
    let traced = worker.draw(|rng| Traced::begin(tracing, &head.headers, rng));
    let reason = traced.as_ref().filter(|_| tracing.use_request_id).map(|traced| traced.reason);
    let id = worker
        .draw(|rng| RequestId::of(head.headers.get(REQUEST_ID).map(HeaderValue::as_bytes), reason, rng));
    if let RequestId::Set(id) = id
        && let Ok(id) = HeaderValue::from_str(&id)
    {
        head.headers.insert(REQUEST_ID, id);
    }
    for (name, value) in traced.iter().flat_map(|traced| traced.headers(tracing)) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            head.headers.insert(name, value);
        }
    }
    traced
}

trait Closing {
    fn closing(self) -> Self;
}

impl Closing for Response<Body> {
    /// Nothing more is read of this client.
    fn closing(mut self) -> Self {
        self.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        self
    }
}

/// An answer of our own.
fn answered(mut report: Report, local: Local, finish: &Finish) -> Response<Body> {
    report.flags |= local.flags;
    report.details = Some(local.details.clone());
    let mut response = local.into_response(report.head.grpc);
    if report.head.method == Method::HEAD {
        response = without_content(response);
    }
    finish.apply(response.headers_mut());
    named(response.headers_mut());
    report.status = response.status().as_u16();
    report.grpc_status = watch::grpc_status(response.headers());
    report.answered = response.headers().clone();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, Body::Watched(Box::new(Watched::new(body, report, None, None))))
}

/// Who has answered, as clients of Istio's waypoints know it.
fn named(headers: &mut HeaderMap) {
    headers.insert(header::SERVER, HeaderValue::from_static("istio-envoy"));
}

/// A request that is to be sent on.
struct Going {
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    now: Now,
    head: Rc<Head>,
    plan: Plan,
    finish: Finish,
    kept: Kept,
    report: Report,
    tried: SmallVec<[Arc<str>; 4]>,
    /// The attempt of now, counted at its endpoint.
    under_way: Option<UnderWay>,
    /// Where keys have owners.
    key: Option<KeyHash>,
}

/// How an attempt went.
struct Attempted {
    outcome: Result<Response<Incoming>, Failed>,
    lease: Option<Lease>,
}

impl Going {
    async fn go(mut self, upgrade: Option<Upgrade>) -> Response<Body> {
        let mut trying = Trying::begin(&self.plan.pool, &self.plan.retry);
        let mut stale = 0;
        loop {
            let upgraded = upgrade.as_ref().map(|upgrade| &upgrade.to);
            let (worker, kept) = (Rc::clone(&self.worker), self.kept.clone());
            let attempt = self.attempt(trying.exchange.attempts(), upgraded);
            let attempted = match timed(&worker, &mut trying.exchange, &kept, attempt).await {
                Timed::Done(Ok(attempted)) => attempted,
                Timed::Done(Err(local)) => return answered(self.report, local, &self.finish),
                Timed::Attempt => Attempted { outcome: Err(Failed::timeout()), lease: None },
                Timed::Whole => {
                    self.tell(Outcome::Failed);
                    return answered(self.report, too_late(), &self.finish);
                }
            };
            if attempted.outcome.is_err()
                && let Some(broken) = self.kept.broken()
            {
                return answered(self.report, broken.local(), &self.finish).closing();
            }
            if matches!(&attempted.outcome, Err(failed) if failed.stale)
                && self.kept.is_replayable()
                && stale < 3
            {
                stale += 1;
                continue;
            }
            match self.next(&mut trying, &attempted) {
                Next::Retry(at) => {
                    drop(attempted);
                    self.under_way = None;
                    self.report.retries = self.report.retries.saturating_add(1);
                    if !self.wait(&mut trying.exchange, at).await {
                        return answered(self.report, too_late(), &self.finish);
                    }
                }
                Next::Deliver(ending) => {
                    if ending == Ending::Exhausted && self.plan.retry.retries > 0 {
                        self.report.flags |= ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
                    }
                    let until = self.until(&trying.exchange);
                    drop(trying);
                    return self.deliver(attempted, upgrade, until);
                }
            }
        }
    }

    /// When the answer must have ended.
    fn until(&self, exchange: &Exchange) -> Option<Until> {
        let timeout = self.plan.retry.timeout?;
        let left = exchange.poll_timeout().map(|at| at.saturating_since(self.worker.shared.now()));
        let kept = self.kept.clone();
        Some(Box::pin(async move {
            if left.is_none() {
                // The answer is earlier than the request's end.
                kept.ended().await;
            }
            tokio::time::sleep(left.unwrap_or(timeout)).await;
        }))
    }

    /// Tells how the attempt went at its endpoint.
    fn tell(&self, outcome: Outcome) {
        if let Some(under_way) = &self.under_way {
            under_way.tell(self.worker.shared.now(), outcome);
        }
    }

    /// What follows an attempt.
    fn next(&self, trying: &mut Trying, attempted: &Attempted) -> Next {
        let (now, replayable) = (self.worker.shared.now(), self.kept.is_replayable());
        self.tell(match &attempted.outcome {
            Ok(response) => Outcome::Status(response.status().as_u16()),
            Err(_) => Outcome::Failed,
        });
        trying.with(|exchange, budget| {
            self.worker.draw(|rng| match &attempted.outcome {
                Ok(response) => {
                    let grpc_status = watch::grpc_status(response.headers())
                        .and_then(|status| u16::try_from(status).ok())
                        .filter(|_| self.head.grpc);
                    let answer = Answered { status: response.status().as_u16(), grpc_status };
                    exchange.handle_answer(now, answer, replayable, budget, rng)
                }
                Err(failed) => exchange.handle_failure(now, failed.kind, replayable, budget, rng),
            })
        })
    }

    /// Waits for the next attempt; false: there is no time left for one.
    async fn wait(&self, exchange: &mut Exchange, at: Instant) -> bool {
        let clock = &self.worker.shared;
        loop {
            tokio::time::sleep(at.saturating_since(clock.now())).await;
            match exchange.handle_timeout(clock.now()) {
                Some(Elapsed::Retry) => return true,
                Some(Elapsed::Whole) => return false,
                // The timer was early.
                Some(Elapsed::Attempt) | None => {}
            }
        }
    }

    /// One attempt: an endpoint, a connection, the request.
    async fn attempt(&mut self, number: u32, upgrade: Option<&HeaderValue>) -> Result<Attempted, Local> {
        let pick = Pick {
            tried: &self.tried,
            key: self.key,
            persisted: self.plan.sticky.as_ref().and_then(|sticky| sticky.with.as_deref()),
        };
        let endpoint = self.plan.pool.draw(&self.worker, &self.conn, &pick);
        let endpoint = endpoint.map_err(|error| decide::unroutable(&error))?;
        self.report.host = endpoint.address();
        let Endpoint { towards, workload, under_way } = endpoint;
        self.under_way = under_way;
        self.tried.push(Arc::clone(&workload.uid));
        self.report.destination = Some(Arc::new(Peer::of(&workload, None)));
        let version = if upgrade.is_some() { UpstreamVersion::Http1 } else { self.version() };
        let key = PoolKey::new(&towards, version, self.plan.pool.way());
        let lease = self.worker.pool.lease(&self.worker, &key, self.plan.pool.cluster(), || towards).await;
        let mut lease = match lease {
            Ok(lease) => lease,
            Err(LeaseFailed::Overflow(overflow)) => {
                let error = Unroutable::Endpoint(NoEndpoint::Overflow(overflow));
                return Err(decide::unroutable(&error));
            }
            Err(LeaseFailed::Connect(error)) => {
                let failed = Failed {
                    kind: AttemptFailure::Connect,
                    reason: ResetReason::ConnectionFailure,
                    text: error.0,
                    stale: false,
                };
                return Ok(Attempted { outcome: Err(failed), lease: None });
            }
        };
        self.report.reused = lease.reused;
        let request = self.request(number, version, upgrade).map_err(|error| unwritable(&error))?;
        let begun = std::time::Instant::now();
        let sent = lease.send(request).await;
        self.report.service_time = Some(begun.elapsed());
        let outcome = match sent {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS && upgrade.is_none() => {
                Err(Failed::unasked())
            }
            sent => sent.map_err(|failed| Failed::of(&failed, lease.reused)),
        };
        Ok(Attempted { outcome, lease: Some(lease) })
    }

    /// The version that the endpoint is spoken to in.
    fn version(&self) -> UpstreamVersion {
        use adit_core::l7::Protocol;
        if let Pool::Cluster { policy, .. } = &self.plan.pool {
            match policy.connections.upgrade {
                Http2Upgrade::Always if !policy.connections.use_client_protocol => {
                    return UpstreamVersion::Http2;
                }
                Http2Upgrade::Never if self.head.version != Version::HTTP_2 => return UpstreamVersion::Http1,
                _ => {}
            }
        }
        let declared = self.plan.target.as_ref().map(|target| self.now.snapshot().protocols.of(target));
        match declared {
            Some(Protocol::Http2 | Protocol::Grpc) => UpstreamVersion::Http2,
            // As the client does: whoever serves it on such a port speaks what its clients do.
            _ if self.head.version == Version::HTTP_2 => UpstreamVersion::Http2,
            _ => UpstreamVersion::Http1,
        }
    }

    /// The request as the endpoint gets it.
    fn request(
        &self,
        number: u32,
        version: UpstreamVersion,
        upgrade: Option<&HeaderValue>,
    ) -> Result<Request<Body>, NoRequest> {
        let mut request = outgoing(&self.head, &self.plan, version, self.kept.attempt())?;
        let headers = request.headers_mut();
        headers.insert(ATTEMPTS, HeaderValue::from(number));
        if let Some(to) = upgrade {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, to.clone());
        }
        Ok(request)
    }

    /// Tells the client whose endpoint it stays with, if that is news.
    fn keep(&self, headers: &mut HeaderMap) {
        let (Some(sticky), Some(target), Some(uid)) =
            (&self.plan.sticky, &self.plan.target, self.tried.last())
        else {
            return;
        };
        let key = &self.worker.shared.session_key;
        let kept = sticky.persistence.keep(sticky.session, target, uid, decide::wall(), key);
        if let Some((name, value)) = kept
            && let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value))
        {
            headers.append(name, value);
        }
    }

    /// What the client gets of the last attempt.
    fn deliver(
        mut self,
        attempted: Attempted,
        upgrade: Option<Upgrade>,
        until: Option<Until>,
    ) -> Response<Body> {
        let Attempted { outcome, lease } = attempted;
        let mut response = match outcome {
            Ok(response) => response,
            Err(failed) => {
                self.report.transport_failure = Arc::clone(&failed.text);
                return answered(self.report, failed.local(), &self.finish);
            }
        };
        if upgrade.as_ref().is_some_and(|upgrade| upgrade.is_mistaken(response.status())) {
            let flags = ResponseFlags::UPSTREAM_PROTOCOL_ERROR;
            return answered(self.report, Local::new(502, flags, Details::UpgradeFailed, ""), &self.finish);
        }
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let upstream = switched.then(|| hyper::upgrade::on(&mut response));
        let (mut parts, body) = response.into_parts();
        let to = parts.headers.get(header::UPGRADE).cloned();
        clean::strip_response(&mut parts.headers);
        let millis =
            self.report.service_time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        parts.headers.insert(SERVICE_TIME, HeaderValue::from(millis));
        self.finish.apply(&mut parts.headers);
        self.keep(&mut parts.headers);
        named(&mut parts.headers);
        self.report.status = parts.status.as_u16();
        self.report.details = Some(Details::ViaUpstream);
        self.report.grpc_status = watch::grpc_status(&parts.headers);
        self.report.answered = parts.headers.clone();
        if let (Some(upstream), Some(upgrade)) = (upstream, upgrade) {
            upgrade.agree(&mut parts, to, upstream, self.report, self.under_way);
            return Response::from_parts(parts, Body::Empty);
        }
        parts.version = self.head.version;
        let body = Watched::new(body.into(), self.report, lease, self.under_way).until(until);
        Response::from_parts(parts, Body::Watched(Box::new(body)))
    }
}

/// What became of something that has deadlines.
enum Timed<T> {
    Done(T),
    /// The attempt's own time is over.
    Attempt,
    /// All time is over.
    Whole,
}

/// Runs an attempt within the times that the exchange has, which count when the request was read to its end.
async fn timed<T>(
    worker: &Worker,
    exchange: &mut Exchange,
    kept: &Kept,
    attempt: impl Future<Output = T>,
) -> Timed<T> {
    let mut attempt = std::pin::pin!(attempt);
    loop {
        let until = exchange.poll_timeout();
        let elapsed = async {
            match until {
                Some(at) => tokio::time::sleep(at.saturating_since(worker.shared.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Whoever is asked first has the request's end told before its attempt is.
            biased;
            () = kept.ended(), if !exchange.request_ended() => exchange.handle_request_end(worker.shared.now()),
            done = &mut attempt => return Timed::Done(done),
            () = elapsed => match exchange.handle_timeout(worker.shared.now()) {
                Some(Elapsed::Attempt) => return Timed::Attempt,
                Some(Elapsed::Whole) => return Timed::Whole,
                Some(Elapsed::Retry) | None => {}
            }
        }
    }
}
