//! Where requests and connections go (`backendRefs`), and who gets copies of requests (`RequestMirror`).
use std::sync::Arc;

use adit_core::l7::{Backend, Backends, Fraction, Mirror, Target};
use adit_core::mesh::ServiceName;
use serde::Deserialize;
use serde_json::Value;

use super::super::services::Presence;
use super::super::status::Reason;
use super::filters;
use super::reading::Reading;
use super::{ISTIO_GROUP, MCS_GROUP};

/// A reference to a backend.
#[derive(Deserialize)]
struct Reference {
    group: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: String,
    port: Option<i64>,
    weight: Option<i64>,
    filters: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MirrorFilter {
    backend_ref: Value,
    percent: Option<i64>,
    fraction: Option<FractionOf>,
}

#[derive(Deserialize)]
struct FractionOf {
    numerator: i64,
    denominator: Option<i64>,
}

/// The greatest weight of the API.
const MAX_WEIGHT: i64 = 1_000_000;

/// Reads the `backendRefs` of a rule. A reference that cannot be honoured keeps its share, which fails.
pub(super) fn read(reading: &mut Reading<'_>, rule: &str, references: &[Value]) -> Backends {
    reading.limit(&format!("{rule}.backendRefs"), references.len(), 16);
    let mut backends = Vec::new();
    for (index, value) in references.iter().enumerate() {
        let field = format!("{rule}.backendRefs[{index}]");
        let Some(reference) = reading.read::<Reference>(&field, value) else { continue };
        let weight = match reference.weight.unwrap_or(1) {
            weight @ 0..=MAX_WEIGHT => u32::try_from(weight).unwrap_or_default(),
            weight => {
                let text = format!("{weight} is no weight: expected 0 to {MAX_WEIGHT}");
                reading.malformed(&format!("{field}.weight"), text);
                continue;
            }
        };
        let target = target(reading, &field, &reference).map_err(|(reason, why)| {
            reading.unresolved(&field, reason, &why);
            Arc::from(why)
        });
        let named = format!("{field}.filters");
        let filters = filters::of_backend(reading, &named, reference.filters.as_deref().unwrap_or_default());
        let (target, request, response) = match filters {
            Ok((request, response)) => (target, request, response),
            // Not sent without what the filter would have done.
            Err(why) => (Err(why.into()), Default::default(), Default::default()),
        };
        backends.push(Backend { target, subset: None, weight, request, response });
    }
    Backends(backends)
}

/// What a reference is to, or why to nothing.
fn target(reading: &mut Reading<'_>, field: &str, to: &Reference) -> Result<Target, (Reason, String)> {
    let context = reading.context;
    let namespace = to.namespace.as_deref().unwrap_or(&reading.object.namespace);
    let (group, kind) = (to.group.as_deref().unwrap_or_default(), to.kind.as_deref().unwrap_or("Service"));
    let dotted = to.name.contains('.');
    let service = match (group, kind) {
        ("" | "core", "Service") if !dotted => context.world.service(namespace, &to.name),
        (MCS_GROUP, "ServiceImport") if !dotted => ServiceName {
            namespace: namespace.into(),
            hostname: format!("{}.{namespace}.svc.clusterset.local", to.name).into(),
        },
        // The service of this name, whoever defines it.
        (ISTIO_GROUP, "Hostname") => {
            context.services.named(&to.name.to_ascii_lowercase(), namespace, context.world)
        }
        ("" | "core", "Service") | (MCS_GROUP, "ServiceImport") => {
            let text =
                format!("{:?} is no name of a {kind}: it has none of the dots of a host name", to.name);
            return Err((Reason::BackendNotFound, text));
        }
        _ => {
            let text = format!(
                "{kind} of group {group:?} can be no backend: expected a Service, a ServiceImport or Istio's Hostname"
            );
            return Err((Reason::InvalidKind, text));
        }
    };
    let port = to.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let Some(port) = port else {
        return Err((Reason::BackendNotFound, "port is missing or none: expected 1 to 65535".to_owned()));
    };
    match context.services.presence(&service, Some(port)) {
        Presence::External => {
            let text = format!(
                "{kind} {namespace}/{} stands for a name elsewhere (ExternalName) and can be no backend",
                to.name
            );
            return Err((Reason::InvalidKind, text));
        }
        // The mesh's tables decide: what is given here may be old, or not all.
        Presence::Missing => {
            let text = format!("no {kind} {namespace}/{} with port {port} is among the resources", to.name);
            reading.unresolved(field, Reason::BackendNotFound, text);
        }
        Presence::There | Presence::Unknown => {}
    }
    Ok(Target { service, port })
}

/// Reads a `requestMirror`. One that leads nowhere is left out, and the rule is none the worse.
pub(super) fn mirror(reading: &mut Reading<'_>, field: &str, value: &Value) -> Option<Mirror> {
    let filter: MirrorFilter = reading.read(field, value)?;
    let fraction = fraction(reading, field, &filter)?;
    let field = format!("{field}.backendRef");
    let reference: Reference = reading.read(&field, &filter.backend_ref)?;
    if reference.weight.is_some() || reference.filters.is_some() {
        reading.malformed(&field, "a mirror has neither weight nor filters");
    }
    match target(reading, &field, &reference) {
        Ok(target) => Some(Mirror { target, subset: None, fraction }),
        Err((reason, why)) => {
            reading.unresolved(&field, reason, format!("{why}; nothing is mirrored"));
            None
        }
    }
}

fn fraction(reading: &mut Reading<'_>, field: &str, filter: &MirrorFilter) -> Option<Fraction> {
    match (filter.percent, &filter.fraction) {
        (None, None) => Some(Fraction::ALL),
        (Some(percent @ 0..=100), None) => {
            Some(Fraction { numerator: u32::try_from(percent).ok()?, denominator: 100 })
        }
        (None, Some(FractionOf { numerator, denominator })) => {
            let denominator = denominator.unwrap_or(100);
            if *numerator < 0 || denominator < 1 || *numerator > denominator {
                let text = format!("{numerator}/{denominator} is no fraction between 0 and 1");
                reading.malformed(&format!("{field}.fraction"), text);
                return None;
            }
            let part = |n: i64| u32::try_from(n).ok();
            Some(Fraction { numerator: part(*numerator)?, denominator: part(denominator)? })
        }
        (Some(_), Some(_)) => {
            reading.malformed(field, "percent and fraction are both there: expected one of them");
            None
        }
        (Some(percent), None) => {
            reading.malformed(&format!("{field}.percent"), format!("{percent} is not within 0 to 100"));
            None
        }
    }
}
