//! What a policy of ours is for (`targetRefs`): services, ports, routes and rules of the policy's own namespace.
use std::sync::Arc;

use adit_core::l7::{Kind, RouteId, Scope};
use serde::Deserialize;

use super::super::gateway::{GATEWAY_GROUP, ISTIO_GROUP};
use super::super::istio::values::Reader;
use super::super::services::{Presence, Services};
use super::super::{Severity, World};

/// One of the targets.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetRef {
    #[serde(default)]
    group: String,
    kind: String,
    name: String,
    /// Of a service a port, by number or name; of a route a rule, by name.
    section_name: Option<String>,
}

/// Reads them.
pub(super) fn scopes(
    reader: &mut Reader<'_>,
    world: &World,
    services: &Services,
    targets: &[TargetRef],
) -> Vec<Scope> {
    if targets.is_empty() {
        let text = "targetRefs is empty: name a Service or a route, or the policy has no effect";
        reader.tell(Severity::Malformed, "spec.targetRefs", text);
    }
    let mut scopes = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        let scope = match (&*target.group, &*target.kind) {
            ("" | "core", "Service") => service(reader, &field, world, services, target),
            (GATEWAY_GROUP, "HTTPRoute") => Some(route(reader, Kind::Http, target)),
            (GATEWAY_GROUP, "GRPCRoute") => Some(route(reader, Kind::Grpc, target)),
            (ISTIO_GROUP, "VirtualService") => Some(route(reader, Kind::Virtual, target)),
            (group, kind) => {
                let text = format!(
                    "{kind} of group {group:?} can be no target: expected Service, HTTPRoute, GRPCRoute or VirtualService"
                );
                reader.unsupported(&field, text);
                None
            }
        };
        scopes.extend(scope.filter(|scope| !scopes.contains(scope)));
    }
    scopes
}

fn route(reader: &Reader<'_>, kind: Kind, target: &TargetRef) -> Scope {
    let namespace = Arc::clone(&reader.object.namespace);
    let id = RouteId { kind, namespace, name: target.name.as_str().into() };
    Scope::Route(id, target.section_name.as_deref().map(Into::into))
}

fn service(
    reader: &mut Reader<'_>,
    field: &str,
    world: &World,
    services: &Services,
    target: &TargetRef,
) -> Option<Scope> {
    let service = world.service(&reader.object.namespace, &target.name);
    let port = match &target.section_name {
        None => None,
        Some(text) => match text.parse::<u16>().ok().or_else(|| services.port(&service, text)) {
            Some(port) => Some(port),
            None => {
                let text =
                    format!("{text:?} is no number, and no Service is given that has a port of this name");
                reader.tell(Severity::Unresolved, &format!("{field}.sectionName"), text);
                return None;
            }
        },
    };
    if services.presence(&service, port) == Presence::Missing {
        let text = format!("no Service {} with such a port is among the resources", target.name);
        reader.tell(Severity::Unresolved, field, text);
    }
    Some(Scope::Service(service, port))
}
