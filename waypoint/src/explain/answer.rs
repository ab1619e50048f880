//! The answer to a question: the functions that decide about requests, asked one after another as traffic asks them.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use adit_control::jwks::Jwks;
use adit_core::hbone::Authority;
use adit_core::identity::{Identity, IdentityError};
use adit_core::l7::authz::{self, Connection, Denial, Http, Subject, Verdict as Judged};
use adit_core::l7::jwt::{Authenticated, JwtError};
use adit_core::l7::{Action, Found, Normalization, Protocol, Snapshot};
use adit_core::mesh::{Mesh, Service, Workload};
use adit_core::route::{FrontError, FrontPlan, Fronted, front};
use adit_core::time::{Instant, UnixTime};
use http::{Version, header};

use super::forward::Forwarder;
use super::question::{Caller, Question};
use super::report::{
    Answer, Authorization, Field, Outcome, Policy, Report, Routing, Seen, Token, Tried, Verdict,
};
use super::{fields, protocol};
use crate::http::{Changed, Head, clean_request, route_name, strip_request};
use crate::shared::Clusters;

/// What is decided by: the same of a waypoint that runs and of files.
pub(crate) struct Tables<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) mesh: &'a Arc<Mesh>,
    /// The waypoint's own workload.
    pub(crate) local: &'a Arc<Workload>,
    pub(crate) normalization: Normalization,
    pub(crate) keys: &'a Jwks,
    /// What is known of endpoints; of files: nothing.
    pub(crate) clusters: &'a Clusters,
    pub(crate) now: Instant,
    pub(crate) time: UnixTime,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The mesh does not know the waypoint (any more).
    #[error("the mesh does not know this waypoint's own workload")]
    Ourselves,
    /// What the request is for is nothing of this waypoint's.
    #[error("{0}")]
    Target(#[from] FrontError),
    /// No service has this name.
    #[error(
        "the mesh has no service {0:?}: give name.namespace, a whole hostname, or an address; the waypoint must stand in front \
         of it"
    )]
    Service(String),
    /// What was asked about can be no request.
    #[error("this can be no request: {0}")]
    Request(#[from] http::Error),
    /// Who calls can have no identity.
    #[error("from: {0}")]
    Caller(#[from] IdentityError),
}

/// Who calls.
pub(crate) struct Client {
    pub(crate) identity: Option<Identity>,
    pub(crate) address: IpAddr,
    pub(crate) remote: IpAddr,
}

impl Client {
    fn namespace(&self) -> Option<&str> {
        self.identity.as_ref().map(Identity::namespace)
    }
}

/// A report in the making.
pub(crate) struct Making<'a> {
    pub(crate) tables: &'a Tables<'a>,
    pub(crate) client: Client,
    pub(crate) head: Head,
    pub(crate) port: u16,
    pub(crate) auth: Option<Authenticated>,
    pub(crate) report: Report,
}

/// What becomes of the request that is asked about.
///
/// # Errors
/// It is for nobody here, or is none.
pub(crate) fn answer(tables: &Tables<'_>, question: &Question) -> Result<Report, NoAnswer> {
    let plan = plan(tables, question)?;
    let (client, note) = client(tables, question)?;
    let (mut head, refused) = clean_request(parts(question)?, tables.normalization);
    let asked = head.path.clone();
    let given = question.path.split('?').next().unwrap_or_default();
    strip_request(&mut head.headers);
    head.forwarded();
    if let Some(identity) = client.identity.as_ref().filter(|_| tables.snapshot.client_identity) {
        head.vouch(tables.local.identity_ref(), identity);
    }
    let remote = authz::client_ip(&head, client.address, tables.snapshot.trusted_hops);
    let client = Client { remote, ..client };
    let speaks = tables.snapshot.protocol(&plan.target, plan.port);
    let (target, is_workload) = match &plan.target {
        Fronted::Service(service) => (service.name.to_string(), false),
        Fronted::Workload(workload) => (workload.uid.to_string(), true),
    };
    let request = Seen {
        waypoint: tables.local.uid.to_string(),
        target,
        is_workload,
        port: plan.port,
        protocol: protocol(speaks).to_owned(),
        source: client.identity.as_ref().map(ToString::to_string),
        address: client.address.to_string(),
        method: head.method.to_string(),
        host: head.authority.to_string(),
        path: asked.to_string(),
        path_given: (*asked != *given).then(|| given.to_owned()),
        query: head.query.as_deref().map(str::to_owned),
        headers: fields(&head.headers),
    };
    let verdict = Verdict { outcome: Outcome::Refused, status: None, text: String::new() };
    let (token, authorization, route, forward, answer) = Default::default();
    let notes = note.into_iter().collect();
    let report = Report { verdict, request, token, authorization, route, forward, answer, notes };
    let mut making = Making { tables, client, head, port: plan.port, auth: None, report };
    if let Err(refused) = refused {
        making.refuse(refused.status.as_u16(), refused.text);
    } else if matches!(speaks, Protocol::Tls | Protocol::Tcp | Protocol::Udp) {
        let text = format!(
            "the port carries {}: no request is looked at there (appProtocol or the port's name says so, or its number)",
            protocol(speaks)
        );
        making.end(Outcome::Refused, None, text);
    } else {
        making.decide(&plan);
    }
    Ok(making.report)
}

/// Whom the request is for, as a CONNECT would ask for it: a service by its address, if it has one.
fn plan(tables: &Tables<'_>, question: &Question) -> Result<FrontPlan, NoAnswer> {
    let mesh = tables.mesh;
    let authority = match &question.to {
        Authority::Address(_) => question.to.clone(),
        Authority::Host { host, port } => {
            let service = named(mesh, host, question, tables.local);
            let service = service.ok_or_else(|| NoAnswer::Service(host.to_string()))?;
            let own = service.addresses.iter().find(|address| *address.network == *mesh.network());
            match own {
                Some(own) => Authority::Address(SocketAddr::new(own.address, *port)),
                None => Authority::Host { host: Arc::clone(&service.name.hostname), port: *port },
            }
        }
    };
    Ok(front(mesh, tables.local, &authority)?)
}

/// The service of a whole hostname, of `name.namespace` or `name.namespace.svc`, or of a name in the caller's namespace.
fn named<'a>(mesh: &'a Mesh, host: &str, question: &Question, local: &Workload) -> Option<&'a Arc<Service>> {
    let namespace = match &question.from {
        Some(Caller::Identity(identity)) => identity.namespace(),
        Some(Caller::Account { namespace, .. }) => namespace,
        None => &local.namespace,
    };
    if let Some(service) = mesh.service_by_hostname(host, namespace) {
        return Some(service);
    }
    let short = host.strip_suffix(".svc").unwrap_or(host);
    let (name, namespace) = short.split_once('.').unwrap_or((short, namespace));
    mesh.services().find(|service| *service.object_name == *name && *service.name.namespace == *namespace)
}

/// Who calls, and what is taken for granted of them.
fn client(tables: &Tables<'_>, question: &Question) -> Result<(Client, Option<String>), NoAnswer> {
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let client = |identity, address| Client { identity, address, remote: address };
    let identity = match &question.from {
        None => {
            let note = "nobody is said to call (--from): no policy knows its identity, and routes are those for everybody";
            return Ok((client(None, unknown), Some(note.to_owned())));
        }
        Some(Caller::Identity(identity)) => identity.clone(),
        Some(Caller::Account { namespace, account }) => {
            Identity::new(tables.local.identity_ref().trust_domain(), namespace, account)?
        }
    };
    let known = tables.mesh.workloads().filter(|workload| *workload.identity_ref() == identity);
    let address = known.into_iter().find_map(|workload| workload.addresses.first().copied());
    Ok(match address {
        Some(address) => (client(Some(identity), address), None),
        None => {
            let note =
                format!("no workload of {identity} has an address: policies are asked as for {unknown}");
            (client(Some(identity), unknown), Some(note))
        }
    })
}

/// The request as it would come.
fn parts(question: &Question) -> Result<http::request::Parts, NoAnswer> {
    let host = question.host.clone().unwrap_or_else(|| match &question.to {
        Authority::Host { host, port: 80 } => host.to_string(),
        other => other.to_string(),
    });
    let request = http::Request::builder()
        .method(question.method.as_str())
        .uri(question.path.as_str())
        .version(Version::HTTP_11)
        .header(header::HOST, host);
    let headers = question.headers.iter().filter(|it| it.name != "host");
    let request = headers.fold(request, |request, it| request.header(&it.name, &it.value));
    Ok(request.body(())?.into_parts().0)
}

impl Making<'_> {
    pub(crate) fn end(&mut self, outcome: Outcome, status: Option<u16>, text: impl Into<String>) {
        self.report.verdict = Verdict { outcome, status, text: text.into() };
    }

    pub(crate) fn refuse(&mut self, status: u16, why: impl std::fmt::Display) {
        self.end(Outcome::Refused, Some(status), format!("refused with status {status}: {why}"));
    }

    /// In the order of traffic: authorizers, token, policies, route (waypoint.md §6.1).
    fn decide(&mut self, plan: &FrontPlan) {
        let snapshot = self.tables.snapshot;
        let service = plan.target.service().map(|service| &**service);
        let destination =
            plan.address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, plan.port)));
        let policies = snapshot.policies.of(service);
        let before = policies.explain(&self.subject(destination));
        let mut authorization = Authorization {
            ask: Vec::new(),
            policies: Vec::new(),
            audit: None,
            on_trial: Vec::new(),
            denied: false,
            decision: String::new(),
        };
        match before.custom {
            Ok(asked) => authorization.ask = asked.iter().map(ToString::to_string).collect(),
            Err(denial) => {
                authorization.policies = before.consulted.iter().map(policy).collect();
                (authorization.denied, authorization.decision) = (true, denial.to_string());
                self.report.authorization = Some(authorization);
                return self.refuse(Denial::STATUS, denial);
            }
        }
        if !authorization.ask.is_empty() {
            let asked = authorization.ask.join(", ");
            self.report.notes.push(format!(
                "{asked} must agree first, and may change the request: that is not asked here"
            ));
        }
        if let Err((status, why)) = self.token(service) {
            return self.refuse(status, why);
        }
        let after = policies.explain(&self.subject(destination));
        // CUSTOM rules are looked at before the token is, all others after.
        let consulted = before.consulted.iter().zip(&after.consulted);
        let consulted =
            consulted.map(|(before, after)| if before.action == "CUSTOM" { before } else { after });
        authorization.policies = consulted.map(policy).collect();
        authorization.audit = after.decision.audit.as_ref().map(ToString::to_string);
        let trial = after.decision.on_trial;
        authorization.on_trial =
            trial.tags().into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        authorization.on_trial.extend(trial.other.map(|by| format!("{by} matches")));
        (authorization.denied, authorization.decision) = match &after.decision.verdict {
            Judged::Allow { by: Some(by) } => (false, format!("allowed by {by}")),
            Judged::Allow { by: None } => (false, "allowed: no ALLOW policy bears on it".to_owned()),
            Judged::Deny(denial) => (true, denial.to_string()),
        };
        self.report.authorization = Some(authorization);
        match after.decision.verdict {
            Judged::Deny(denial) => self.refuse(Denial::STATUS, denial),
            Judged::Allow { .. } => self.route(&plan.target),
        }
    }

    fn subject(&self, destination: SocketAddr) -> Subject<'_, Head> {
        let Client { identity, address, remote } = &self.client;
        let connection = Connection {
            source: identity.as_ref(),
            source_ip: address.to_canonical(),
            destination,
            sni: None,
        };
        let http = Http { request: &self.head, remote_ip: *remote, auth: self.auth.as_ref() };
        Subject::http(connection, http)
    }

    /// Looks at the request's tokens; what a valid one changes is changed.
    fn token(&mut self, service: Option<&Service>) -> Result<(), (u16, String)> {
        let rules = self.tables.snapshot.authentications.of(service);
        if rules.is_empty() {
            return Ok(());
        }
        let issuers = rules.rules().map(|rule| rule.issuer.to_string()).collect();
        let judged = rules.judge(&self.head, self.tables.time, self.tables.keys);
        let mut token = Token { issuers, principal: None, refused: None };
        let told = match judged {
            Ok(outcome) => {
                let query = outcome.changes.query(self.head.query.as_deref());
                let query = query.map(|query| query.into_owned().into_boxed_str());
                outcome.changes.apply(&mut Changed(&mut self.head.headers));
                self.head.query = query;
                token.principal = outcome.auth.as_ref().and_then(Authenticated::principal);
                self.auth = outcome.auth;
                Ok(())
            }
            Err(refusal) => {
                if refusal.error == JwtError::NotFetched {
                    let note = "keys of issuers are fetched by a waypoint that runs: ask one (--admin)";
                    self.report.notes.push(note.to_owned());
                }
                token.refused = Some(refusal.to_string());
                Err((refusal.status(), refusal.to_string()))
            }
        };
        self.report.token = Some(token);
        told
    }

    fn route(&mut self, target: &Fronted) {
        let tables = self.tables;
        let service = match target {
            Fronted::Workload(workload) => {
                self.report.route = Some(Routing::default());
                return Forwarder::new(self, None).workload(workload);
            }
            Fronted::Service(service) => service,
        };
        let frontends = &tables.snapshot.frontends;
        let Some(table) = frontends.table(&service.name, self.port, self.client.namespace()) else {
            self.report.route = Some(Routing::default());
            return Forwarder::new(self, Some(service)).service();
        };
        let name = |found: &Found<'_>| route_name(found).to_string();
        let mut routing = Routing { has_routes: true, ..Routing::default() };
        let mut right = None;
        for (found, checked) in table.explain(&self.head) {
            routing.tried.push(Tried {
                route: found.route.id.to_string(),
                rule: name(&found),
                path: found.matched.path().to_string(),
                why_not: checked.as_ref().err().map(ToString::to_string),
            });
            if checked.is_ok() {
                right = Some(found);
            }
        }
        routing.found = right.as_ref().map(name);
        self.report.route = Some(routing);
        match right {
            Some(found) => self.act(service, &found),
            None => self.refuse(404, "no rule of the port's routes is for it"),
        }
    }

    fn act(&mut self, service: &Arc<Service>, found: &Found<'_>) {
        if let Some(cors) = &found.rule.cors
            && let Some(preflight) = cors.preflight(&self.head)
        {
            let headers = preflight.headers.iter().map(|(name, value)| field(name, value)).collect();
            return self.answered("CORS preflight", 200, headers, String::new());
        }
        match &found.rule.action {
            Action::Invalid(why) => self.refuse(500, format!("the rule cannot be done: {why}")),
            Action::Direct(answer) => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                self.answered("direct answer", answer.status, Vec::new(), body);
            }
            Action::Redirect(redirect) => {
                let to = redirect.location(&self.head, self.port, found.matched.path());
                self.answered("redirect", to.status, vec![field("location", &to.location)], String::new());
            }
            Action::Forward(forward) => Forwarder::new(self, Some(service)).forward(found, forward),
        }
    }

    fn answered(&mut self, kind: &str, status: u16, headers: Vec<Field>, body: String) {
        let location = headers.iter().find(|it| it.name == "location");
        let location = location.map_or_else(String::new, |it| format!(" to {}", it.value));
        self.end(Outcome::Answered, Some(status), format!("answered with status {status}: {kind}{location}"));
        self.report.answer = Some(Answer { kind: kind.to_owned(), status, headers, body });
    }
}

fn policy(consulted: &authz::Consulted) -> Policy {
    Policy {
        name: consulted.policy.to_string(),
        action: consulted.action.to_owned(),
        targets: consulted.targets.iter().map(ToString::to_string).collect(),
        on_trial: consulted.dry_run,
        matched: consulted.matched,
    }
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.to_owned(), value: value.to_owned() }
}
