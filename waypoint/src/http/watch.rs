//! What is told of a request when its answer has ended, however it has.
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use adit_core::l7::Outcome;
use adit_ops::l7::metrics::Reported;
use adit_ops::l7::trace::Traced;
use adit_ops::l7::{
    Details, Exchange, Grpc, Http, Messages, Octets, Outlet, Peer, Protocol, ResetReason, ResponseFlags,
    Upstream, Version,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame};

use super::activity::Busy;
use super::body::{Body, BodyError, Kept};
use super::view::Head;
use crate::conn::Conn;
use crate::observe::{Recorder, Told};
use crate::share::Place;
use crate::shared::UnderWay;
use crate::upstream::Lease;
use crate::worker::Worker;

/// What is known of a request so far. Told once, when it is dropped.
pub(crate) struct Report {
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    _busy: Busy,
    pub(crate) head: Rc<Head>,
    started: Instant,
    wall: SystemTime,
    pub(crate) request: Option<Kept>,
    pub(crate) status: u16,
    pub(crate) flags: ResponseFlags,
    pub(crate) details: Option<Details>,
    pub(crate) answered: HeaderMap,
    pub(crate) sent: u64,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) host: Option<SocketAddr>,
    pub(crate) cluster: String,
    pub(crate) destination: Option<Arc<Peer>>,
    pub(crate) service_time: Option<Duration>,
    pub(crate) transport_failure: Arc<str>,
    pub(crate) reused: bool,
    pub(crate) retries: u32,
    pub(crate) route: Arc<str>,
    pub(crate) policy: Arc<str>,
    outlet: Arc<Outlet>,
    /// Its place among its client's requests.
    pub(crate) place: Option<Place>,
    pub(crate) traced: Option<Traced>,
    /// Messages of a gRPC server's.
    messages: Messages,
    /// What has been counted of the call already, and when.
    reported: Reported,
    counted: Instant,
}

impl Report {
    pub(crate) fn new(
        worker: &Rc<Worker>,
        conn: &Rc<Conn>,
        busy: Busy,
        head: Head,
        outlet: Arc<Outlet>,
    ) -> Self {
        let now = Instant::now();
        Self {
            worker: Rc::clone(worker),
            conn: Rc::clone(conn),
            _busy: busy,
            head: Rc::new(head),
            started: now,
            wall: SystemTime::now(),
            request: None,
            status: 0,
            flags: ResponseFlags::NONE,
            details: None,
            answered: HeaderMap::new(),
            sent: 0,
            grpc_status: None,
            host: None,
            cluster: String::new(),
            destination: None,
            service_time: None,
            transport_failure: Arc::default(),
            reused: false,
            retries: 0,
            route: Arc::default(),
            policy: Arc::default(),
            outlet,
            place: None,
            traced: None,
            messages: Messages::default(),
            reported: Reported::default(),
            counted: now,
        }
    }

    /// Counts an answer's octets, and its messages if it is gRPC's.
    fn passed(&mut self, data: &[u8]) {
        self.sent = self.sent.saturating_add(data.len() as u64);
        if !self.head.grpc {
            return;
        }
        self.messages.pass(data);
        // Calls may go on for days.
        let settings = &self.worker.shared.settings;
        let interval = self.outlet.telemetry().metrics.interval.unwrap_or(settings.tcp_interval);
        if self.counted.elapsed() >= interval {
            self.counted = Instant::now();
            let mut reported = self.reported;
            self.tell(|recorder, told| recorder.progress(told, &mut reported));
            self.reported = reported;
        }
    }

    /// Tells what is known now.
    fn tell(&self, how: impl FnOnce(&dyn Recorder, &Told<'_>)) {
        let head = &self.head;
        let value = |name: &str| head.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        let grpc = head.grpc.then(|| Grpc {
            status: self.grpc_status,
            request_messages: self.request.as_ref().map_or(0, Kept::messages),
            response_messages: self.messages.count(),
        });
        let path = head.target(&head.path);
        let http = Http {
            method: head.method.as_str().as_bytes(),
            path: path.as_bytes(),
            authority: head.authority.as_bytes(),
            scheme: "http",
            version: version(head.version),
            status: self.status,
            forwarded_for: value("x-forwarded-for"),
            user_agent: value("user-agent"),
            request_id: value("x-request-id"),
            request_headers: &head.headers,
            response_headers: &self.answered,
            grpc,
        };
        let octets = |headers: &HeaderMap| {
            headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
        };
        let body = self.request.as_ref().map_or(0, Kept::octets);
        let told = Exchange {
            duration: self.started.elapsed(),
            http,
            received: Octets { body, head: octets(&head.headers) },
            sent: Octets { body: self.sent, head: octets(&self.answered) },
            flags: self.flags,
            details: self.details.as_ref(),
            upstream: Upstream {
                host: self.host,
                cluster: &self.cluster,
                local: None,
                service_time: self.service_time,
                transport_failure: &self.transport_failure,
                reused: self.reused,
                retries: self.retries,
            },
            route: &self.route,
            destination: self.destination.as_ref(),
            policy: &self.policy,
            trace: self.traced.map(|traced| traced.span),
            ..self.conn.exchange(self.wall, if head.grpc { Protocol::Grpc } else { Protocol::Http })
        };
        let told =
            Told { exchange: &told, outlet: &self.outlet, traced: self.traced.as_ref(), operation: "" };
        how(&*self.worker.recorder, &told);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.status == 0 && self.details.is_none() {
            // Nobody waits for the answer any more.
            self.flags |= ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION;
            self.details = Some(Details::DownstreamRemoteDisconnect);
        }
        self.tell(|recorder, told| recorder.finished(told, self.reported));
    }
}

const fn version(version: http::Version) -> Option<Version> {
    match version {
        http::Version::HTTP_10 => Some(Version::Http10),
        http::Version::HTTP_11 => Some(Version::Http11),
        http::Version::HTTP_2 => Some(Version::Http2),
        _ => None,
    }
}

/// An answer's body, which is counted, and after whose end its connection may serve again.
pub(crate) struct Watched {
    body: Body,
    report: Report,
    /// The connection it comes on.
    lease: Option<Lease>,
    /// Counted until then.
    under_way: Option<UnderWay>,
    /// Ready when it has taken too long.
    until: Option<Until>,
    ended: bool,
}

/// When there is no time left for an answer.
pub(crate) type Until = Pin<Box<dyn Future<Output = ()>>>;

impl Watched {
    pub(crate) fn new(body: Body, report: Report, lease: Option<Lease>, under_way: Option<UnderWay>) -> Self {
        let mut this = Self { ended: body.is_end_stream(), body, report, lease, under_way, until: None };
        if this.ended {
            this.end();
        }
        this
    }

    /// Breaks off then, unless it has ended.
    pub(crate) fn until(mut self, until: Option<Until>) -> Self {
        self.until = until;
        self
    }

    pub(crate) const fn body(&self) -> &Body {
        &self.body
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.until.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_ready()) {
            if let Some(under_way) = &self.under_way {
                under_way.tell(self.report.worker.shared.now(), Outcome::Failed);
            }
            self.broken(ResponseFlags::UPSTREAM_REQUEST_TIMEOUT, Details::ResponseTimeout);
            return Poll::Ready(Some(Err(BodyError::TooLong)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.report.passed(data);
                } else if let Some(trailers) = frame.trailers_ref()
                    && let Some(status) = grpc_status(trailers)
                {
                    self.report.grpc_status = Some(status);
                }
                // Whoever is told that nothing follows does not ask again.
                if self.body.is_end_stream() {
                    self.ended = true;
                    self.end();
                }
            }
            Some(Err(_)) => {
                let why = ResetReason::ConnectionTermination;
                let details = Details::UpstreamResetAfter(why, Arc::default());
                self.broken(ResponseFlags::UPSTREAM_CONNECTION_TERMINATION, details);
            }
            None => {
                self.ended = true;
                self.end();
            }
        }
        Poll::Ready(frame)
    }

    /// It has not come to its end.
    fn broken(&mut self, flag: ResponseFlags, details: Details) {
        (self.ended, self.until) = (true, None);
        self.report.flags |= flag;
        self.report.details = Some(details);
        self.lease = None;
        self.under_way = None;
    }

    fn end(&mut self) {
        self.until = None;
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        self.under_way = None;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended {
            self.report.flags |= ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION;
            self.report.details = Some(Details::DownstreamRemoteDisconnect);
        }
    }
}

/// `grpc-status`, if it is there and is one.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
