//! Decisions from manifests: `given YAML, request → then decision`.
mod attaching;
mod backends;
mod conformance;
mod connections;
mod filters;
mod matching;
mod policies;
mod timing;
mod transposed;

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::l7::{Action, Forward, Found, HeaderChanges, NoBackend, Persistence, RetryPolicy};
use adit_core::rng::Rng;

use super::status::{ConditionKind, Reason};
use super::testing::{Asked, objects};
use super::{Compiled, World, compile};

/// The namespace of the conformance suite's services, and of ours.
const NS: &str = "gateway-conformance-mesh";

/// The services of the conformance suite.
fn services() -> String {
    let ports = "[{name: http, port: 80, appProtocol: http, targetPort: 8080}, {name: http-alt, port: 8080, appProtocol: http}, \
                 {name: https, port: 443, targetPort: 8443}, {name: tcp, port: 9090}, {name: grpc, port: 7070}]";
    let service = |name: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {NS}}}, spec: {{ports: {ports}}}}}\n"
        )
    };
    ["echo", "echo-v1", "echo-v2"].map(service).concat()
}

/// A route of this kind for service `echo`; `spec`: what follows its parents, indented by two.
fn route(kind: &str, name: &str, spec: &str) -> String {
    let parent = "parentRefs: [{group: '', kind: Service, name: echo}]";
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {NS}}}\nspec:\n  {parent}\n{spec}\n"
    )
}

/// An `HTTPRoute` for service `echo` with these rules, one per line.
fn http(name: &str, rules: &str) -> String {
    let rules: String = rules.trim().lines().map(|rule| format!("  - {}\n", rule.trim())).collect();
    route("HTTPRoute", name, &format!("  rules:\n{rules}"))
}

/// What manifests come to.
#[derive(Clone, Debug)]
struct Given {
    compiled: Compiled,
}

/// Manifests beside the conformance suite's services.
fn given(manifests: &str) -> Given {
    alone(&format!("{}{manifests}", services()))
}

/// Manifests with nothing beside them.
fn alone(manifests: &str) -> Given {
    Given { compiled: compile(&objects(manifests), &World::new(NS, "waypoint")) }
}

impl Given {
    /// What is wrong, without that of [`given`].
    fn problems(&self) -> Vec<String> {
        self.compiled.problems.iter().map(ToString::to_string).collect()
    }

    /// Fails unless exactly one thing is wrong, and says this.
    fn one_problem(&self, said: &str) {
        let problems = self.problems();
        assert!(matches!(&problems[..], [one] if one.contains(said)), "{said}: {problems:#?}");
    }

    fn fine(self) -> Self {
        assert_eq!(self.problems(), [""; 0]);
        self
    }

    /// Accepted, ResolvedRefs and PartiallyInvalid of the first status of an object.
    fn status(&self, name: &str) -> (bool, Reason, Reason, bool) {
        let status = self.compiled.statuses.iter().find(|status| &*status.object.name == name).unwrap();
        let accepted = status.condition(ConditionKind::Accepted).unwrap();
        let resolved = status.condition(ConditionKind::ResolvedRefs);
        let partially = status.condition(ConditionKind::PartiallyInvalid).is_some();
        (accepted.holds, accepted.reason, resolved.map_or(Reason::ResolvedRefs, |it| it.reason), partially)
    }

    fn found(&self, to: &str, client: &str, asked: &Asked) -> Option<Option<Found<'_>>> {
        let (service, port) = to.split_once(':').unwrap_or((to, "80"));
        let service = World::new(NS, "waypoint").service(NS, service);
        let table = self.compiled.snapshot.frontends.table(&service, port.parse().unwrap(), Some(client))?;
        Some(table.find(asked))
    }

    /// What becomes of a request to service `echo`: see [`Given::ask_as`].
    fn ask(&self, asked: &Asked) -> String {
        self.ask_as("echo", NS, asked)
    }

    /// What becomes of a request of a client in namespace `client` to `to`, a service with or without port: `-` as there is no
    /// route, `404`, `500 WHY`, `STATUS LOCATION`, or `BACKEND:PORT PATH` with what of host and path is sent.
    fn ask_as(&self, to: &str, client: &str, asked: &Asked) -> String {
        let port: u16 = to.split_once(':').map_or(80, |(_, port)| port.parse().unwrap());
        let Some(found) = self.found(to, client, asked) else { return "-".to_owned() };
        let Some(found) = found else { return "404".to_owned() };
        match &found.rule.action {
            Action::Invalid(why) => format!("500 {why}"),
            Action::Direct(direct) => format!("{} direct", direct.status),
            Action::Redirect(redirect) => {
                let answer = redirect.location(asked, port, found.matched.path());
                format!("{} {}", answer.status, answer.location)
            }
            Action::Forward(forward) => {
                let path = match &forward.rewrite.path {
                    Some(rewrite) => rewrite.apply(&asked.path, found.matched.path()),
                    None => asked.path.as_str().into(),
                };
                let query = asked.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
                let host = forward.rewrite.hostname.as_deref().unwrap_or(&asked.authority);
                match forward.backends.draw(&mut Rng::new(1)) {
                    Ok((_, target)) => {
                        let name = target.service.hostname.split('.').next().unwrap();
                        let host = if host == "echo" { String::new() } else { format!(" host={host}") };
                        format!("{name}:{} {path}{query}{host}", target.port)
                    }
                    Err(why @ NoBackend::Weightless) => format!("500 {why}"),
                    Err(NoBackend::Invalid(why)) => format!("500 {why}"),
                }
            }
        }
    }

    /// The rule's forwarding of a request to `echo`.
    fn forward(&self, asked: &Asked) -> Forward {
        match self.found("echo", NS, asked).flatten().map(|found| found.rule.action.clone()) {
            Some(Action::Forward(forward)) => forward,
            other => panic!("{other:?}"),
        }
    }

    fn retry(&self) -> Arc<RetryPolicy> {
        self.forward(&get("/")).retry
    }

    fn persistence(&self) -> Option<Arc<Persistence>> {
        self.forward(&get("/")).persistence
    }

    /// The headers that the backend sees of a request to `echo`.
    fn seen(&self, asked: &Asked) -> Asked {
        let forward = self.forward(asked);
        let mut seen = asked.clone();
        forward.request.apply(&mut seen);
        let (backend, _) = forward.backends.draw(&mut Rng::new(1)).unwrap();
        backend.request.apply(&mut seen);
        seen
    }

    /// The headers that the client sees of an empty answer to a request.
    fn told(&self, to: &str, client: &str, asked: &Asked) -> Option<Asked> {
        let rule = self.found(to, client, asked)??.rule;
        let mut told = Asked::default();
        if let Action::Forward(forward) = &rule.action {
            let (backend, _) = forward.backends.draw(&mut Rng::new(1)).unwrap();
            backend.response.apply(&mut told);
        }
        HeaderChanges::apply(&rule.response, &mut told);
        Some(told)
    }

    /// How often each backend gets one of 10 000 requests to `echo`; `500` for none.
    fn shares(&self, asked: &Asked) -> BTreeMap<String, u32> {
        let (forward, mut rng) = (self.forward(asked), Rng::new(3));
        let mut shares = BTreeMap::new();
        for _ in 0..10_000 {
            let name = match forward.backends.draw(&mut rng) {
                Ok((_, target)) => target.service.hostname.split('.').next().unwrap().to_owned(),
                Err(_) => "500".to_owned(),
            };
            *shares.entry(name).or_default() += 1;
        }
        shares
    }
}

/// `GET` of a path and query at `echo`.
fn get(target: &str) -> Asked {
    Asked::get(target)
}
