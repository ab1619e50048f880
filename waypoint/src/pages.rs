//! Admin pages that only a waypoint has: `/explain`, `/clusters`, `/keys`, `/routes`; all others are those of every process.
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use adit_control::jwks::SourceState;
use adit_control::resources::{Loaded, ObjectName};
use adit_core::l7::Target;
use adit_core::l7::jwt::KeySource;
use adit_ops::http::{Body, Handler, Request, Response};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::explain::{self, Question, Tables};
use crate::route::settle;
use crate::shared::Shared;

/// What the first page says of these.
pub const LISTED: &[(&str, &str)] = &[
    (
        "explain",
        "?to=HOST:PORT&amp;method=&amp;path=&amp;host=&amp;header=name: value&amp;from=namespace/account: what becomes of a request, as JSON",
    ),
    ("clusters", "services that requests have gone to: endpoints, what is under way, ejections, as JSON"),
    ("keys", "issuers of tokens: how many keys are there, when they were fetched, what went wrong, as JSON"),
    ("routes", "what is wrong with manifests, and the status of each resource, as JSON"),
];

/// The admin pages of a waypoint.
pub struct Pages<H> {
    others: H,
    manifests: watch::Receiver<Loaded>,
    shared: Arc<OnceLock<Arc<Shared>>>,
}

impl<H: Handler> Pages<H> {
    /// These pages before those of `others`. `shared` may be filled in later.
    pub const fn new(
        others: H,
        manifests: watch::Receiver<Loaded>,
        shared: Arc<OnceLock<Arc<Shared>>>,
    ) -> Self {
        Self { others, manifests, shared }
    }

    fn of(&self, page: impl FnOnce(&Shared) -> Response) -> Response {
        match self.shared.get() {
            Some(shared) => page(shared),
            None => Response::text(503, "the waypoint has not begun yet: it waits for the mesh's tables\n"),
        }
    }
}

impl<H: Handler> Handler for Pages<H> {
    fn answer(&self, request: &Request) -> Response {
        match request.target.path.as_str() {
            "/explain" => self.of(|shared| explain(shared, request)),
            "/clusters" => self.of(|shared| json_page(&clusters(shared))),
            "/keys" => self.of(|shared| json_page(&keys(&shared.keys.states(), Instant::now()))),
            "/routes" => json_page(&routes(&self.manifests.borrow())),
            _ => self.others.answer(request),
        }
    }
}

/// What `shared` says to the question in a query; status 400 with a text if there is no answer.
fn explain(shared: &Shared, request: &Request) -> Response {
    let told = Question::from_query(&request.target.query)
        .map_err(|error| error.to_string())
        .and_then(|question| shared.explain(&question).map_err(|error| error.to_string()));
    match told {
        Ok(report) => json_page(&report),
        Err(why) => Response::text(400, format!("{why}\n")),
    }
}

fn json_page(what: &impl Serialize) -> Response {
    match serde_json::to_vec(what) {
        Ok(text) => Response::ok("application/json", Body::Whole(text.into())),
        Err(error) => Response::text(500, format!("{error}\n")),
    }
}

impl Shared {
    /// What would become of a request now, and why.
    ///
    /// # Errors
    /// It is for nobody here, or is none.
    pub fn explain(&self, question: &Question) -> Result<explain::Report, explain::NoAnswer> {
        let mesh = self.tables.current();
        let local = self.local.found_in(&mesh).ok_or(explain::NoAnswer::Ourselves)?;
        let snapshot = Arc::clone(&self.in_force.borrow().snapshot);
        let tables = Tables {
            snapshot: &snapshot,
            mesh: &mesh,
            local,
            normalization: self.settings.normalization,
            keys: &self.keys,
            clusters: &self.clusters,
            now: self.now(),
            time: adit_runtime::wall_clock(),
        };
        explain::answer(&tables, question)
    }
}

/// The clusters that requests have gone to, in order of their names.
fn clusters(shared: &Shared) -> Vec<explain::ClusterReport> {
    let (mesh, now) = (shared.tables.current(), shared.now());
    let snapshot = Arc::clone(&shared.in_force.borrow().snapshot);
    let report = |(key, cluster): (crate::shared::ClusterKey, crate::shared::ClusterRef)| {
        let target = Target { service: key.service.clone(), port: key.port };
        // What the mesh or the manifests no longer have, no request goes to.
        let (_, settled) = settle(&snapshot, &mesh, &target, key.subset.as_ref()).ok()?;
        let view = cluster.with(|cluster| cluster.view(now));
        Some(explain::cluster_report(now, &key, snapshot.protocols.of(&target), &settled, view))
    };
    let mut all: Vec<_> = shared.clusters.all().into_iter().filter_map(report).collect();
    all.sort_by(|one, two| one.name.cmp(&two.name));
    all
}

/// What is known of the keys that tokens are judged by.
fn keys(states: &[SourceState], now: Instant) -> Vec<Value> {
    let of = |state: &SourceState| {
        let (kind, name) = match &state.source {
            KeySource::Inline(_) => ("jwks", None),
            KeySource::Uri { url, .. } => ("jwksUri", Some(url)),
            KeySource::Discovery { issuer, .. } => ("issuer", Some(issuer)),
            KeySource::Unusable(why) => ("none", Some(why)),
        };
        json!({
            "kind": kind,
            "source": name,
            "keys": state.keys,
            "fetched": state.fetched,
            "failed": state.failed,
            "secondsSinceFetched": state.last.map(|last| now.saturating_duration_since(last).as_secs()),
            "lastError": state.error,
        })
    };
    states.iter().map(of).collect()
}

fn object(name: &ObjectName) -> Value {
    let ObjectName { group, kind, namespace, name } = name;
    json!({ "group": group, "kind": kind, "namespace": namespace, "name": name })
}

/// What manifests come to.
fn routes(loaded: &Loaded) -> Value {
    let problems = loaded.compiled.problems.iter().map(|problem| {
        json!({
            "object": object(&problem.object),
            "field": problem.field,
            "text": problem.text,
            "severity": format!("{:?}", problem.severity),
        })
    });
    let files = loaded.files.iter().map(
        |problem| json!({ "file": problem.file, "text": problem.error.to_string(), "kept": problem.kept }),
    );
    let statuses = loaded.compiled.statuses.iter().map(|status| {
        let parent = status.parent.as_ref().map(|parent| {
            json!({ "object": object(&parent.object), "sectionName": parent.section, "port": parent.port })
        });
        let conditions = status.conditions.iter().map(|condition| {
            json!({
                "type": condition.kind.to_string(),
                "status": if condition.holds { "True" } else { "False" },
                "reason": condition.reason.to_string(),
                "message": condition.message,
            })
        });
        json!({
            "object": object(&status.object),
            "generation": status.generation,
            "parent": parent,
            "conditions": conditions.collect::<Vec<_>>(),
        })
    });
    json!({
        "problems": problems.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
        "cluster": loaded.sources.iter().map(|problem| json!({ "of": problem.of, "text": problem.text })).collect::<Vec<_>>(),
        "statuses": statuses.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_keys_it_is_told_where_they_are_from_and_how_old() {
        let now = Instant::now();
        let timeout = KeySource::TIMEOUT;
        let state = |source, last| SourceState {
            source,
            keys: 2,
            fetched: 3,
            failed: 1,
            last,
            error: Some("status 500".to_owned()),
        };
        let states = [
            state(KeySource::Uri { url: "https://a/keys".into(), timeout }, Some(now)),
            state(KeySource::Discovery { issuer: "https://b".into(), timeout }, None),
        ];
        let told = keys(&states, now + Duration::from_secs(90));
        let expected = json!({
            "kind": "jwksUri", "source": "https://a/keys", "keys": 2, "fetched": 3, "failed": 1,
            "secondsSinceFetched": 90, "lastError": "status 500",
        });
        assert_eq!(told[0], expected);
        assert_eq!((&told[1]["kind"], &told[1]["secondsSinceFetched"]), (&json!("issuer"), &Value::Null));
    }
}
