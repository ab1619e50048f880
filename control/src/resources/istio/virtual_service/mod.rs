//! `VirtualService`: Istio's own routes, for services whose routes are not written as Gateway API's (waypoint.md §14).
mod actions;
mod extras;
mod matches;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adit_core::l7::upstream::Destinations;
use adit_core::l7::{Frontends, Kind, Parent, Route, RouteMatch, Rule};
use adit_core::mesh::ServiceName;

use self::actions::Context;
use super::super::gateway::ISTIO_GROUP;
use super::super::services::Services;
use super::super::{ObjectName, Objects, Problems, Severity, World};
use super::values::{Reader, is_exported};

/// Rules in their order, with the port that each is for, if it is for one.
type Rules = Vec<(Option<u16>, Rule)>;

/// Translates all `VirtualService`s for services of their own namespaces.
pub(in super::super) fn translate(
    objects: &Objects,
    world: &World,
    services: &Services,
    destinations: &Destinations,
    problems: &mut Problems,
) -> Vec<Arc<Route>> {
    let context = Context { world, services, destinations };
    let (mut taken, mut routes) = (BTreeMap::new(), Vec::new());
    for object in objects.by_age(ISTIO_GROUP, "VirtualService") {
        let Some(spec) = object.spec::<spec::Spec>(problems) else { continue };
        let mut reader = Reader { object, problems };
        if !is_exported(&spec.export_to, &object.namespace, world) {
            continue;
        }
        if !spec.gateways.is_empty() && spec.gateways.iter().all(|gateway| gateway != "mesh") {
            let text = "a waypoint is part of mesh alone; this VirtualService is for gateways and has no effect here";
            reader.tell(Severity::Note, "spec.gateways", text);
            continue;
        }
        let id = object.id().route(Kind::Virtual);
        let services = hosts(&mut reader, &context, &spec.hosts, &mut taken);
        let rules = rules(&mut reader, &context, &spec);
        // A port that some match names has rules of its own; there those for all ports stand among them, in their order.
        let named: BTreeSet<u16> = rules.iter().filter_map(|(port, _)| *port).collect();
        for port in [None].into_iter().chain(named.into_iter().map(Some)) {
            let here = rules.iter().filter(|(of, _)| of.is_none() || *of == port);
            let rules: Vec<_> = here.map(|(_, rule)| rule.clone()).collect();
            let parents = services.iter().map(|service| Parent { service: service.clone(), port });
            // Without any rule nothing is routed, rather than everything refused.
            if !rules.is_empty() && !services.is_empty() {
                let parents = parents.collect();
                routes.push(Arc::new(Route { id: id.clone(), created: object.created, parents, rules }));
            }
        }
    }
    routes
}

/// Tells of `VirtualService`s that have no effect, as routes of Gateway API are for the same service.
pub(in super::super) fn give_way(frontends: &Frontends, problems: &mut Problems) {
    for conflict in frontends.conflicts().filter(|conflict| conflict.route.kind == Kind::Virtual) {
        let (route, parent) = (&conflict.route, &conflict.parent);
        let object = ObjectName {
            group: ISTIO_GROUP.into(),
            kind: "VirtualService".into(),
            namespace: Arc::clone(&route.namespace),
            name: Arc::clone(&route.name),
        };
        let port = parent.port.map(|port| format!(" port {port}")).unwrap_or_default();
        let text = format!(
            "{}{port} has a {}, which goes before it; this has no effect there",
            parent.service.hostname, conflict.winner
        );
        problems.push(object, "spec.hosts", Severity::Conflict, text);
    }
}

/// The services that it is for.
fn hosts(
    reader: &mut Reader<'_>,
    context: &Context<'_>,
    hosts: &[String],
    taken: &mut BTreeMap<ServiceName, String>,
) -> Vec<ServiceName> {
    let mut services = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let field = format!("spec.hosts[{index}]");
        if host.contains('*') {
            let text = "at a waypoint each service is named; a wildcard is for none";
            reader.unsupported(&field, text);
            continue;
        }
        let service = actions::service(host, &reader.object.namespace, context);
        if service.namespace != reader.object.namespace {
            let text = format!(
                "{host} is a service of namespace {}: put the VirtualService there",
                service.namespace
            );
            reader.unsupported(&field, text);
            continue;
        }
        if let Some(first) = taken.get(&service) {
            let text = format!("{first} is for this host and older; it alone counts");
            reader.tell(Severity::Conflict, &field, text);
            continue;
        }
        taken.insert(service.clone(), reader.object.id().to_string());
        services.push(service);
    }
    services
}

fn rules(reader: &mut Reader<'_>, context: &Context<'_>, spec: &spec::Spec) -> Rules {
    let text = "routes of connections are read from TLSRoute and TCPRoute; these have no effect";
    reader.unless_absent(spec.tls.as_ref(), "spec.tls", text);
    reader.unless_absent(spec.tcp.as_ref(), "spec.tcp", text);
    let mut rules = Vec::new();
    for (index, rule) in spec.http.iter().enumerate() {
        let field = format!("spec.http[{index}]");
        let changes = actions::headers(reader, &format!("{field}.headers"), rule.headers.as_ref());
        let response = changes.response.clone();
        let cors =
            rule.cors_policy.as_ref().map(|cors| extras::cors(reader, &format!("{field}.corsPolicy"), cors));
        let action = actions::read(reader, context, &field, rule, changes);
        let mut found = Vec::new();
        for (index, one) in rule.r#match.iter().enumerate() {
            found.extend(matches::read(reader, &format!("{field}.match[{index}]"), one));
        }
        if rule.r#match.is_empty() {
            found.extend(matches::read(reader, &field, &spec::Match::default()));
        }
        for found in found {
            let name = match (&rule.name, &found.name) {
                (Some(rule), Some(own)) => Some(format!("{rule}.{own}")),
                (one, other) => one.as_ref().or(other.as_ref()).cloned(),
            };
            let action = actions::fit_rewrite(&action, found.matched.path());
            let matches: Vec<RouteMatch> = vec![found.matched];
            let (name, response, cors) = (name.map(Into::into), response.clone(), cors.clone());
            rules.push((found.port, Rule { name, matches, response, cors, action }));
        }
    }
    rules
}
