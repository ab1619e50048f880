//! Load balancing over a service's endpoints (datapath §2.4).

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Reason;
use crate::mesh::{LoadBalancing, LoadBalancingMode, Mesh, RoutingScope, Service, Workload};
use crate::rng::Rng;

/// How the port of an endpoint is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortRule {
    /// The service must have the port, and it must lead somewhere.
    Standard,
    /// For waypoints: an endpoint whose application tunnel takes any port may also be reached at one that its service
    /// does not have, or has by name only.
    Waypoint,
}

/// One healthy endpoint of a service, as one client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// Who it is. Its chance is in proportion to its capacity.
    pub workload: &'a Arc<Workload>,
    /// Its port for what the client asked for; 0 with [`Standing::NoPort`].
    pub port: u16,
    /// How well it matches the service's routing preferences, as the service's mode counts that.
    pub rank: usize,
    /// Whether it may be drawn.
    pub standing: Standing,
}

/// Whether an endpoint may be drawn, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It may, by its capacity.
    Eligible,
    /// It has neither address nor hostname, nor a gateway in front of its network.
    Unreachable,
    /// It has no port for what is asked.
    NoPort,
    /// The routing preferences rule it out.
    NotPreferred,
}

/// The endpoint drawn for one connection.
#[derive(Debug)]
pub(super) struct Pick<'a> {
    pub(super) workload: &'a Arc<Workload>,
    /// Port of the workload.
    pub(super) port: u16,
    /// How many endpoints it was drawn from.
    pub(super) eligible: usize,
    /// How many endpoints the service has.
    pub(super) of: usize,
}

impl Pick<'_> {
    pub(super) fn reason(&self) -> Reason {
        Reason::Endpoint { uid: Arc::clone(&self.workload.uid), eligible: self.eligible, of: self.of }
    }
}

/// Draws an endpoint of `service` for a connection of `source` to service port `port`.
///
/// `None`: the service does not have this port, or no endpoint is left, or none has weight. Services in PASSTHROUGH
/// mode must not come here.
pub(super) fn pick<'a>(
    mesh: &'a Mesh,
    service: &Service,
    port: u16,
    source: &Workload,
    rule: PortRule,
    rng: &mut Rng,
) -> Option<Pick<'a>> {
    let mut endpoints = endpoints(mesh, service, port, source, rule);
    let of = endpoints.len();
    endpoints.retain(|endpoint| endpoint.standing == Standing::Eligible);
    let drawn = rng.weighted(&endpoints, |endpoint| u64::from(endpoint.workload.capacity))?;
    Some(Pick { workload: drawn.workload, port: drawn.port, eligible: endpoints.len(), of })
}

/// The endpoints of `service` that its health policy accepts, with what becomes of each when `source` connects to
/// service port `port`; ordered by uid.
#[must_use]
pub fn endpoints<'a>(
    mesh: &'a Mesh,
    service: &Service,
    port: u16,
    source: &Workload,
    rule: PortRule,
) -> Vec<Endpoint<'a>> {
    let rules = &service.load_balancing;
    let members = mesh.endpoints(&service.name).iter();
    let mut endpoints: Vec<_> =
        members.map(|workload| endpoint(service, workload, port, source, rule)).collect();
    let eligible = endpoints.iter().filter(|endpoint| endpoint.standing == Standing::Eligible);
    let required = match rules.mode {
        LoadBalancingMode::Standard | LoadBalancingMode::Passthrough => 0,
        LoadBalancingMode::Strict => rules.preferences.len(),
        LoadBalancingMode::Failover => eligible.map(|endpoint| endpoint.rank).max().unwrap_or(0),
    };
    for endpoint in &mut endpoints {
        if endpoint.standing == Standing::Eligible && endpoint.rank < required {
            endpoint.standing = Standing::NotPreferred;
        }
    }
    endpoints
}

/// `workload` as an endpoint, judged without regard to others and to its health.
pub(crate) fn endpoint<'a>(
    service: &Service,
    workload: &'a Arc<Workload>,
    port: u16,
    source: &Workload,
    rule: PortRule,
) -> Endpoint<'a> {
    let target = port_of(service, workload, port, rule);
    let standing = match target {
        _ if !is_reachable(workload, source) => Standing::Unreachable,
        None => Standing::NoPort,
        Some(_) => Standing::Eligible,
    };
    let rank = rank(&service.load_balancing, source, workload);
    Endpoint { workload, port: target.unwrap_or(0), rank, standing }
}

/// An endpoint without address can be dialled by its name, or through the gateway of its network.
fn is_reachable(endpoint: &Workload, source: &Workload) -> bool {
    !endpoint.addresses.is_empty()
        || !endpoint.hostname.is_empty()
        || (endpoint.network != source.network && endpoint.network_gateway.is_some())
}

fn port_of(service: &Service, endpoint: &Workload, port: u16, rule: PortRule) -> Option<u16> {
    let has_port = service.ports.contains_key(&port);
    match rule {
        PortRule::Standard => service.port_at(endpoint, port).filter(|_| has_port),
        PortRule::Waypoint => {
            let tunnel = endpoint.application_tunnel;
            let mapped = service.port_at(endpoint, port).filter(|_| has_port || tunnel.is_some());
            mapped.or_else(|| tunnel?.port.map(|_| port))
        }
    }
}

/// How well an endpoint matches the preferences: how many it matches in order until the first mismatch.
///
/// FAILOVER gives a network that is the first preference a bonus, so that any endpoint in the client's network
/// outranks all outside it; those are still ranked by what follows.
fn rank(rules: &LoadBalancing, source: &Workload, endpoint: &Workload) -> usize {
    let (mut matched, mut bonus) = (0usize, 0usize);
    for (position, scope) in rules.preferences.iter().enumerate() {
        let first_is_network = position == 0 && *scope == RoutingScope::Network;
        if same(*scope, source, endpoint) {
            matched = matched.saturating_add(1);
            if first_is_network {
                bonus = rules.preferences.len().saturating_sub(1);
            }
        } else if !first_is_network {
            break;
        }
    }
    match rules.mode {
        LoadBalancingMode::Failover => matched.saturating_add(bonus),
        LoadBalancingMode::Strict => matched,
        LoadBalancingMode::Standard | LoadBalancingMode::Passthrough => 0,
    }
}

fn same(scope: RoutingScope, source: &Workload, endpoint: &Workload) -> bool {
    match scope {
        RoutingScope::Region => source.locality.region == endpoint.locality.region,
        RoutingScope::Zone => source.locality.zone == endpoint.locality.zone,
        RoutingScope::Subzone => source.locality.subzone == endpoint.locality.subzone,
        RoutingScope::Node => source.node == endpoint.node,
        RoutingScope::Cluster => source.cluster == endpoint.cluster,
        RoutingScope::Network => source.network == endpoint.network,
    }
}

#[cfg(test)]
mod tests;
