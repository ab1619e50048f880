//! `FaultPolicy`: delays and refusals put in on purpose, for some requests and until a time (waypoint.md §15.3).
use std::sync::Arc;

use adit_core::l7::{Abort, FaultPolicy, Faults, Fraction, Scoped, TextMatch};
use adit_core::time::UnixTime;
use serde::Deserialize;

use super::super::istio::values::{GoDuration, Reader, per_cent};
use super::super::services::Services;
use super::super::{Severity, World};
use super::rate_limit::{ConditionSpec, of_headers};
use super::target::{self, TargetRef};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    target_refs: Vec<TargetRef>,
    delay: Option<Delay>,
    abort: Option<AbortSpec>,
    #[serde(default)]
    when: When,
    expires: String,
}

#[derive(Deserialize)]
struct Delay {
    duration: GoDuration,
    percentage: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AbortSpec {
    http_status: Option<u16>,
    grpc_status: Option<u16>,
    percentage: f64,
}

#[derive(Default, Deserialize)]
struct When {
    #[serde(default)]
    headers: Vec<ConditionSpec>,
    #[serde(default)]
    principals: Vec<String>,
}

/// Reads one. What makes no sense makes it none at all: a fault for more requests than were meant is an outage.
pub(super) fn read(
    reader: &mut Reader<'_>,
    world: &World,
    services: &Services,
    scoped: &mut Scoped<FaultPolicy>,
) {
    let object = reader.object;
    let before = reader.problems.count();
    let Some(spec) = object.spec::<Spec>(reader.problems) else { return };
    let scopes = target::scopes(reader, world, services, &spec.target_refs);
    let headers = of_headers(reader, "spec.when.headers", &spec.when.headers);
    let expires = spec.expires.parse::<jiff::Timestamp>();
    if expires.is_err() {
        let text = format!("{:?} is no time: expected one such as 2026-01-31T12:00:00Z", spec.expires);
        reader.tell(Severity::Malformed, "spec.expires", text);
    }
    let abort = spec.abort.as_ref().and_then(|it| match (it.http_status, it.grpc_status) {
        (Some(status @ 200..=599), None) => {
            Some((Abort::Status(status), fraction(reader, "spec.abort", it.percentage)?))
        }
        (None, Some(status @ 1..=16)) => {
            Some((Abort::Grpc(status), fraction(reader, "spec.abort", it.percentage)?))
        }
        _ => {
            let text = "expected one of httpStatus (200 to 599) and grpcStatus (1 to 16)";
            reader.tell(Severity::Malformed, "spec.abort", text);
            None
        }
    });
    let delay = spec.delay.as_ref();
    let delay = delay.and_then(|it| Some((it.duration.0, fraction(reader, "spec.delay", it.percentage)?)));
    if spec.delay.is_none() && spec.abort.is_none() {
        reader.tell(Severity::Malformed, "spec", "neither delay nor abort is there");
    }
    let (Some(headers), Ok(expires)) = (headers, expires) else { return };
    if reader.problems.count() > before {
        return;
    }
    let policy = Arc::new(FaultPolicy {
        name: format!("{}/{}", object.namespace, object.name).into(),
        faults: Faults { delay, abort },
        headers,
        principals: spec.when.principals.iter().map(|it| TextMatch::Exact(it.as_str().into())).collect(),
        expires: UnixTime(u64::try_from(expires.as_second()).unwrap_or_default()),
    });
    for scope in scopes {
        scoped.insert(scope, Arc::clone(&policy));
    }
}

fn fraction(reader: &mut Reader<'_>, field: &str, percent: f64) -> Option<Fraction> {
    let fraction = per_cent(percent);
    if fraction.is_none() {
        let text = format!("{percent} is no percentage: expected 0 to 100");
        reader.tell(Severity::Malformed, &format!("{field}.percentage"), text);
    }
    fraction
}
