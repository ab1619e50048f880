//! `HTTPRoute` and `GRPCRoute`: rules for requests.
use std::sync::Arc;

use adit_core::l7::{Action, Faults, Forward, Kind, Parent, Route, Rule};
use serde::Deserialize;
use serde_json::Value;

use super::super::Object;
use super::super::problem::Problems;
use super::super::status::Status;
use super::reading::{Context, Reading};
use super::{backends, filters, matches, parents, sessions, timing};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    parent_refs: Vec<Value>,
    #[serde(default)]
    hostnames: Vec<String>,
    rules: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRule {
    name: Option<String>,
    #[serde(default)]
    matches: Vec<Value>,
    #[serde(default)]
    filters: Vec<Value>,
    #[serde(default)]
    backend_refs: Vec<Value>,
    timeouts: Option<Value>,
    retry: Option<Value>,
    session_persistence: Option<Value>,
}

/// A route, and what is said of it for each of its parents.
pub(super) type Read<T> = (Option<Arc<T>>, Vec<(Status, Vec<Parent>)>);

/// Matches of all rules together (Gateway API: `HTTPRouteSpec.rules`).
const MAX_MATCHES: usize = 128;

/// Reads a route of `kind`.
pub(super) fn read(
    kind: Kind,
    object: &Object,
    context: Context<'_>,
    problems: &mut Problems,
) -> Read<Route> {
    let mut reading = Reading::new(object, context, problems);
    let reading = &mut reading;
    let Some(spec) = reading.spec::<Spec>() else { return (None, Vec::new()) };
    let parents = parents::read(reading, &spec.parent_refs);
    if !spec.hostnames.is_empty() {
        reading.note("spec.hostnames", "have no effect in a mesh: the address that was asked for chooses the service, not the Host header");
    }
    // A reference that makes no sense is no rule's fault.
    reading.forget();
    let values = spec.rules.unwrap_or_else(|| vec![Value::Object(serde_json::Map::new())]);
    let mut total = 0;
    let mut rules = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        if index >= 16 {
            reading.malformed(&field, "a route has at most 16 rules");
        }
        let mut rule = rule(reading, kind, &field, value);
        total += rule.matches.len();
        if total > MAX_MATCHES {
            reading.malformed(&field, format!("all rules together have more than {MAX_MATCHES} matches"));
        }
        if let Some(why) = reading.end_rule() {
            rule.action = Action::Invalid(why);
        }
        rules.push(rule);
    }
    let id = object.id().route(kind);
    let route = Route { id, created: object.created, parents: parents.all(), rules };
    (Some(Arc::new(route)), parents.statuses(reading))
}

fn rule(reading: &mut Reading<'_>, kind: Kind, field: &str, value: &Value) -> Rule {
    let raw: RawRule = reading.read(field, value).unwrap_or_else(|| {
        // It is invalid; for which requests, may be readable all the same.
        let matches = value.get("matches").and_then(Value::as_array).cloned();
        RawRule { matches: matches.unwrap_or_default(), ..RawRule::default() }
    });
    let grpc = kind == Kind::Grpc;
    if grpc && (raw.timeouts.is_some() || raw.retry.is_some()) {
        reading.malformed(field, "a GRPCRoute has neither timeouts nor retry");
    }
    let matches = match grpc {
        true => matches::grpc(reading, field, &raw.matches),
        false => matches::http(reading, field, &raw.matches),
    };
    let of = if grpc { filters::Of::Grpc } else { filters::Of::Http { matches: &matches } };
    let filters = filters::read(reading, field, &raw.filters, of);
    let retry = timing::read(reading, field, raw.timeouts.as_ref(), raw.retry.as_ref());
    let persistence = raw.session_persistence.as_ref();
    let persistence = persistence.and_then(|value| sessions::read(reading, field, value));
    let backends = backends::read(reading, field, &raw.backend_refs);
    let action = match filters.redirect {
        Some(redirect) => {
            if !backends.0.is_empty() {
                reading
                    .incompatible(&format!("{field}.backendRefs"), "a rule that redirects has no backends");
            }
            let idle = raw.timeouts.is_some() || raw.retry.is_some() || persistence.is_some();
            if idle || filters.request.is_some() {
                reading.note(field, "nothing is sent on from here: timeouts, retry, sessionPersistence and changes of request headers have no effect beside RequestRedirect");
            }
            Action::Redirect(redirect)
        }
        None => Action::Forward(Forward {
            request: filters.request.unwrap_or_default(),
            rewrite: filters.rewrite.unwrap_or_default(),
            faults: Faults::default(),
            mirrors: filters.mirrors,
            backends,
            retry,
            persistence,
        }),
    };
    let response = filters.response.unwrap_or_default();
    Rule { name: raw.name.map(Into::into), matches, response, cors: filters.cors, action }
}
