//! Resources of the Gateway API, as a mesh has them (GAMMA): routes attach to services.
mod backend_tls;
mod backends;
mod class;
mod connections;
mod cors;
mod duration;
mod filters;
mod headers;
mod matches;
mod parents;
mod reading;
mod requests;
mod sessions;
mod targets;
mod timing;
mod traffic_policy;

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::l7::upstream::RetryShare;
use adit_core::l7::{BackendTlsRules, Frontends, Kind, Parent, Route, RouteId};
use adit_core::mesh::ServiceName;

use self::reading::Context;
use super::problem::{Problems, Severity};
use super::services::Services;
use super::status::{Condition, ConditionKind, Reason, Status};
use super::{Objects, World};

/// The group of the Gateway API.
pub(super) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// Its group for what is not settled yet.
pub(super) const EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";
/// Istio's group for traffic.
pub(super) const ISTIO_GROUP: &str = "networking.istio.io";
/// The group of services of several clusters.
const MCS_GROUP: &str = "multicluster.x-k8s.io";

/// What these resources come to.
#[derive(Debug, Default)]
pub(super) struct Translated {
    pub(super) frontends: Frontends,
    pub(super) backend_tls: BackendTlsRules,
    pub(super) retry_budgets: BTreeMap<ServiceName, RetryShare>,
    /// Whether backends are told who calls.
    pub(super) client_identity: bool,
    pub(super) statuses: Vec<Status>,
}

/// A route's kind, what is said of it, and the parents that it is said of.
type Told = (Kind, Status, Vec<Parent>);

/// Translates them. `others` are rules of Istio's own resources, which give way to these.
pub(super) fn translate(
    objects: &Objects,
    world: &World,
    services: &Services,
    others: Vec<Arc<Route>>,
    problems: &mut Problems,
) -> Translated {
    let context = Context { objects, world, services };
    let mut told: Vec<Told> = Vec::new();
    let (mut requests, mut connections) = (Vec::new(), Vec::new());
    for (kind, name) in [(Kind::Http, "HTTPRoute"), (Kind::Grpc, "GRPCRoute")] {
        for object in objects.of(GATEWAY_GROUP, name) {
            let (route, statuses) = requests::read(kind, object, context, problems);
            requests.extend(route);
            told.extend(statuses.into_iter().map(|(status, parents)| (kind, status, parents)));
        }
    }
    for (kind, name) in [(Kind::Tls, "TLSRoute"), (Kind::Tcp, "TCPRoute")] {
        for object in objects.of(GATEWAY_GROUP, name) {
            let (route, statuses) = connections::read(kind, object, context, problems);
            connections.extend(route);
            told.extend(statuses.into_iter().map(|(status, parents)| (kind, status, parents)));
        }
    }
    requests.extend(others);
    let frontends = Frontends::new(requests, connections);
    conflicts(&frontends, &mut told, problems);
    let mut statuses: Vec<Status> = told.into_iter().map(|(_, status, _)| status).collect();
    let backend_tls = backend_tls::translate(context, problems, &mut statuses);
    let retry_budgets = traffic_policy::translate(context, problems, &mut statuses);
    let client_identity = class::check(context, problems, &mut statuses);
    for object in objects.of(GATEWAY_GROUP, "ReferenceGrant") {
        let text = "has no effect: routes of a mesh may refer to backends of any namespace without a grant";
        problems.push(object.id(), "spec", Severity::Note, text);
    }
    Translated { frontends, backend_tls, retry_budgets, client_identity, statuses }
}

/// Tells the routes that lose against ones of a more specific kind.
fn conflicts(frontends: &Frontends, told: &mut [Told], problems: &mut Problems) {
    let mut by_route: BTreeMap<RouteId, Vec<&mut Told>> = BTreeMap::new();
    for entry in told {
        by_route.entry(entry.1.object.route(entry.0)).or_default().push(entry);
    }
    for conflict in frontends.conflicts() {
        let Some(entries) = by_route.get_mut(&conflict.route) else { continue };
        let place = match conflict.parent.port {
            Some(port) => format!("port {port} of {}", conflict.parent.service),
            None => format!("{}", conflict.parent.service),
        };
        let text = format!("a {} is there for {place} as well and goes before it", conflict.winner);
        if let Some((_, status, _)) = entries.first() {
            problems.push(status.object.clone(), "spec.parentRefs", Severity::Conflict, text.clone());
        }
        for (_, status, _) in entries.iter_mut().filter(|(_, _, parents)| parents.contains(&conflict.parent))
        {
            let (kind, reason, message) = (ConditionKind::Accepted, Reason::Conflicted, text.clone());
            status.set(Condition { kind, holds: false, reason, message });
        }
    }
}
