//! `TLSRoute` and `TCPRoute`: rules for connections.
use std::sync::Arc;

use adit_core::l7::{Backends, ConnectionRoute, Kind, ServerName};
use serde::Deserialize;
use serde_json::Value;

use super::super::Object;
use super::super::problem::Problems;
use super::reading::{Context, Reading};
use super::requests::Read;
use super::{backends, parents};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    parent_refs: Vec<Value>,
    #[serde(default)]
    hostnames: Vec<String>,
    #[serde(default)]
    rules: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRule {
    #[serde(rename = "name")]
    _name: Option<String>,
    #[serde(default)]
    backend_refs: Vec<Value>,
}

/// Reads a route of `kind`. Where its rule is invalid, its connections are refused.
pub(super) fn read(
    kind: Kind,
    object: &Object,
    context: Context<'_>,
    problems: &mut Problems,
) -> Read<ConnectionRoute> {
    let mut reading = Reading::new(object, context, problems);
    let reading = &mut reading;
    let Some(spec) = reading.spec::<Spec>() else { return (None, Vec::new()) };
    let parents = parents::read(reading, &spec.parent_refs);
    reading.forget();
    let names = names(reading, kind, &spec.hostnames);
    if spec.rules.len() > 1 {
        reading.note(
            "spec.rules",
            "rules of connections have no conditions: the first one is for all, the others have no effect",
        );
    }
    let field = "spec.rules[0]";
    let raw = match spec.rules.first() {
        Some(value) => reading.read::<RawRule>(field, value),
        None => {
            reading.malformed("spec.rules", "is missing or empty: without a rule connections are refused");
            None
        }
    };
    let mut backends = match raw {
        Some(raw) => backends::read(reading, field, &raw.backend_refs),
        None => Backends::default(),
    };
    if reading.end_rule().is_some() {
        backends = Backends::default();
    }
    let id = object.id().route(kind);
    let route = ConnectionRoute { id, created: object.created, parents: parents.all(), names, backends };
    (Some(Arc::new(route)), parents.statuses(reading))
}

/// The server names of a `TLSRoute`; `None`: all. If all that were given are none, it is for nobody.
fn names(reading: &mut Reading<'_>, kind: Kind, hostnames: &[String]) -> Option<Vec<ServerName>> {
    if kind == Kind::Tcp {
        if !hostnames.is_empty() {
            reading.malformed("spec.hostnames", "a TCPRoute has none");
        }
        return None;
    }
    reading.limit("spec.hostnames", hostnames.len(), 16);
    if hostnames.is_empty() || hostnames.iter().any(|name| name == "*") {
        return None;
    }
    let mut names = Vec::new();
    for (index, hostname) in hostnames.iter().enumerate() {
        match ServerName::new(hostname) {
            Ok(name) => names.push(name),
            Err(error) => reading.malformed(&format!("spec.hostnames[{index}]"), error.to_string()),
        }
    }
    Some(names)
}
