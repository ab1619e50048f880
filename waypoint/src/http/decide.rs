//! What becomes of a request: the rule for it, and what that says.
use std::sync::Arc;

use adit_control::ext_authz::{Change, How};
use adit_core::l7::upstream::NoEndpoint;
use adit_core::l7::{
    Action, Backend, Backends, Cors, Found, HeaderChanges, Injected, Mirror, NoBackend, PathMatch,
    PathRewrite, Persistence, RetryPolicy, Rewrite, RouteId, Rule, Session, Target,
};
use adit_core::route::Fronted;
use adit_core::time::UnixTime;
use adit_ops::l7::{Details, ResponseFlags};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::local::Local;
use super::view::{Changed, Head};
use crate::conn::Conn;
use crate::route::{Now, Pool, Unroutable};
use crate::worker::Worker;

/// Where a request goes, and how.
pub(crate) struct Plan {
    pub(crate) pool: Pool,
    pub(crate) target: Option<Target>,
    pub(crate) retry: Arc<RetryPolicy>,
    /// Path and query, and host, as the endpoint is asked.
    pub(crate) path: String,
    pub(crate) host: Option<Box<str>>,
    pub(crate) request: Vec<HeaderChanges>,
    pub(crate) mirrors: Vec<Mirror>,
    /// Faults that befall it.
    pub(crate) injected: Injected,
    /// The session that it belongs to, or begins.
    pub(crate) sticky: Option<Sticky>,
    /// Headers that others have the backend told.
    pub(crate) more: Vec<(HeaderName, HeaderValue)>,
}

/// A client that is to stay with its endpoint.
pub(crate) struct Sticky {
    pub(crate) persistence: Arc<Persistence>,
    pub(crate) session: Option<Session>,
    /// The endpoint's uid, if the session's is still there.
    pub(crate) with: Option<Arc<str>>,
}

/// What is done to whatever is answered, ours included.
#[derive(Default)]
pub(crate) struct Finish {
    response: Vec<HeaderChanges>,
    cors: Vec<(&'static str, String)>,
    cookie: Option<String>,
    /// What others have the client told.
    told: Vec<Change>,
}

impl Finish {
    /// The client is told these headers.
    pub(crate) fn tell<'a>(&mut self, headers: impl Iterator<Item = (&'a str, &'a str)>) {
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (name.parse(), HeaderValue::from_str(value)) {
                self.told.push(Change { how: How::Append, name, value });
            }
        }
    }

    /// The client is told these changes.
    pub(crate) fn extend(&mut self, changes: Vec<Change>) {
        self.told.extend(changes);
    }

    /// The client is given this cookie.
    pub(crate) fn cookie(&mut self, set_cookie: String) {
        self.cookie = Some(set_cookie);
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        let mut changed = Changed(headers);
        for changes in &self.response {
            changes.apply(&mut changed);
        }
        for (name, value) in &self.cors {
            use adit_core::l7::Headers as _;
            changed.set(name, value);
        }
        for change in &self.told {
            change.apply(changed.0);
        }
        if let Some(cookie) = &self.cookie {
            use adit_core::l7::Headers as _;
            changed.append("set-cookie", cookie);
        }
    }
}

/// A decision, and the name of the route that it rests on.
pub(crate) struct Decision {
    pub(crate) outcome: Result<Plan, Local>,
    pub(crate) finish: Finish,
    pub(crate) route: Arc<str>,
    /// The route's own name, and its rule's.
    pub(crate) matched: Option<(RouteId, Option<Arc<str>>)>,
}

/// Decides about a request.
pub(crate) fn decide(worker: &Worker, now: &Now, conn: &Conn, head: &Head) -> Decision {
    let mut finish = Finish::default();
    let service = match &conn.target {
        Fronted::Workload(workload) => {
            let plan =
                plan(Pool::Workload(Arc::clone(workload), conn.port), None, &worker.default_retry, head);
            return Decision { outcome: Ok(plan), finish, route: "default".into(), matched: None };
        }
        Fronted::Service(service) => service,
    };
    let table = now.snapshot().frontends.table(&service.name, conn.port, Some(conn.namespace()));
    let Some(table) = table else {
        let target = Target { service: service.name.clone(), port: conn.port };
        let outcome = pooled(worker, now, &target, None)
            .map(|pool| plan(pool, Some(target), &worker.default_retry, head));
        return Decision { outcome, finish, route: "default".into(), matched: None };
    };
    let Some(found) = table.find(head) else {
        let local = Local::new(404, ResponseFlags::NO_ROUTE_FOUND, Details::RouteNotFound, "");
        return Decision { outcome: Err(local), finish, route: "-".into(), matched: None };
    };
    let route = name(&found);
    finish.response.push(found.rule.response.clone());
    let outcome = match &found.rule.cors {
        Some(cors) => match preflight(cors, head) {
            Some(local) => Err(local),
            None => {
                finish.cors = cors.answer(head);
                act(worker, now, conn, head, &found, &mut finish)
            }
        },
        None => act(worker, now, conn, head, &found, &mut finish),
    };
    let matched = Some((found.route.id.clone(), found.rule.name.clone()));
    Decision { outcome, finish, route, matched }
}

/// `namespace.name.rule`, as Istio names the routes it makes of Gateway API's.
pub(crate) fn name(found: &Found<'_>) -> Arc<str> {
    let id = &found.route.id;
    if let Some(name) = &found.rule.name {
        return format!("{}.{}.{name}", id.namespace, id.name).into();
    }
    let number = found.route.rules.iter().position(|rule: &Rule| std::ptr::eq(rule, found.rule));
    format!("{}.{}.{}", id.namespace, id.name, number.unwrap_or_default()).into()
}

fn preflight(cors: &Cors, head: &Head) -> Option<Local> {
    let preflight = cors.preflight(head)?;
    let local = Local::new(200, ResponseFlags::NONE, Details::CorsResponse, "");
    Some(preflight.headers.iter().fold(local, |local, (name, value)| local.with(name, value)))
}

fn act(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    head: &Head,
    found: &Found<'_>,
    finish: &mut Finish,
) -> Result<Plan, Local> {
    let direct = |status, text: &str| {
        Local::new(status, ResponseFlags::NONE, Details::DirectResponse, text.to_owned())
    };
    match &found.rule.action {
        Action::Invalid(_) => Err(direct(500, "")),
        Action::Direct(answer) => {
            let body = bytes::Bytes::copy_from_slice(&answer.body);
            Err(Local::new(answer.status, ResponseFlags::NONE, Details::DirectResponse, body))
        }
        Action::Redirect(redirect) => {
            let to = redirect.location(head, conn.port, found.matched.path());
            Err(direct(to.status, "").with("location", &to.location))
        }
        Action::Forward(forward) => {
            let (backend, target) = draw(worker, &forward.backends)?;
            // A VirtualService may leave the port out, which is the one that was asked.
            let target = target.at(conn.port);
            let pool = pooled(worker, now, &target, backend.subset.as_ref())?;
            let injected = worker.draw(|rng| forward.faults.draw(rng));
            let sticky = forward.persistence.as_ref().map(|it| sticky(worker, now, head, it, &target));
            finish.response.insert(0, backend.response.clone());
            let mut plan = plan(pool, Some(target), &forward.retry, head);
            rewrite(&mut plan, &forward.rewrite, head, found.matched.path());
            (plan.injected, plan.sticky) = (injected, sticky);
            plan.request = vec![forward.request.clone(), backend.request];
            plan.mirrors = forward
                .mirrors
                .iter()
                .filter(|mirror| worker.draw(|rng| mirror.fraction.draw(rng)))
                .map(|mirror| Mirror { target: mirror.target.at(conn.port), ..mirror.clone() })
                .collect();
            Ok(plan)
        }
    }
}

fn draw(worker: &Worker, backends: &Backends) -> Result<(Backend, Target), Local> {
    let drawn =
        worker.draw(|rng| backends.draw(rng).map(|(backend, target)| (backend.clone(), target.clone())));
    drawn.map_err(|error| {
        let (flags, details) = match &error {
            NoBackend::Invalid(_) => (ResponseFlags::NO_CLUSTER_FOUND, Details::ClusterNotFound),
            NoBackend::Weightless => (ResponseFlags::NONE, Details::DirectResponse),
        };
        Local::new(500, flags, details, "")
    })
}

fn pooled(worker: &Worker, now: &Now, target: &Target, subset: Option<&Arc<str>>) -> Result<Pool, Local> {
    Pool::of(worker, now, target, subset).map_err(|error| unroutable(&error))
}

/// The session of a request. Its endpoint is looked for among those behind the target, as the token names it by a hash.
fn sticky(
    worker: &Worker,
    now: &Now,
    head: &Head,
    persistence: &Arc<Persistence>,
    target: &Target,
) -> Sticky {
    let key = &worker.shared.session_key;
    let session = persistence.session(head, wall(), key);
    let with = session.and_then(|session| {
        let mut members = now.mesh.members(&target.service).iter();
        members.find(|member| session.is_with(key, target, &member.uid)).map(|member| Arc::clone(&member.uid))
    });
    Sticky { persistence: Arc::clone(persistence), session, with }
}

/// The wall clock, as sessions know time.
pub(crate) fn wall() -> UnixTime {
    adit_runtime::wall_clock()
}

/// The answer where there is nobody to ask.
pub(crate) fn unroutable(error: &Unroutable) -> Local {
    let (status, flags, details) = match error {
        Unroutable::Service(_) | Unroutable::Port(..) => {
            (500, ResponseFlags::NO_CLUSTER_FOUND, Details::ClusterNotFound)
        }
        Unroutable::Endpoint(NoEndpoint::Overflow(_)) => {
            let details = Details::UpstreamResetBefore(adit_ops::l7::ResetReason::Overflow, Arc::default());
            (503, ResponseFlags::UPSTREAM_OVERFLOW, details)
        }
        Unroutable::Endpoint(_) | Unroutable::Ourselves | Unroutable::Subset(..) => {
            (503, ResponseFlags::NO_HEALTHY_UPSTREAM, Details::NoHealthyUpstream)
        }
        Unroutable::NoRoute(_) => (404, ResponseFlags::NO_ROUTE_FOUND, Details::RouteNotFound),
    };
    let text = match error {
        Unroutable::Endpoint(NoEndpoint::Overflow(_)) => {
            "upstream connect error or disconnect/reset before headers. reset reason: overflow"
        }
        Unroutable::Endpoint(_) | Unroutable::Ourselves | Unroutable::Subset(..) => "no healthy upstream",
        _ => "",
    };
    let local = Local::new(status, flags, details, text);
    match error {
        Unroutable::Endpoint(NoEndpoint::Overflow(_)) => local.with("x-envoy-overloaded", "true"),
        _ => local,
    }
}

fn plan(pool: Pool, target: Option<Target>, retry: &Arc<RetryPolicy>, head: &Head) -> Plan {
    let (path, retry) = (head.target(&head.path), Arc::clone(retry));
    Plan {
        pool,
        target,
        retry,
        path,
        host: None,
        request: Vec::new(),
        mirrors: Vec::new(),
        injected: Injected::default(),
        sticky: None,
        more: Vec::new(),
    }
}

fn rewrite(plan: &mut Plan, rewrite: &Rewrite, head: &Head, matched: &PathMatch) {
    if let Some(path) = &rewrite.path {
        let path: &PathRewrite = path;
        plan.path = head.target(&path.apply(&head.path, matched));
    }
    plan.host.clone_from(&rewrite.hostname);
}
