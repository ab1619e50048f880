//! Load balancing over a service's endpoints (datapath §2.4).

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Rng;
use crate::mesh::{LoadBalancing, LoadBalancingMode, Mesh, RoutingScope, Service, Workload};

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

/// Draws an endpoint of `service` for a connection of `source` to service port `port`.
///
/// `None`: the service does not have this port, or no endpoint is left, or none has weight. Services in PASSTHROUGH
/// mode must not come here.
pub(super) fn pick<'a>(
    mesh: &'a Mesh,
    service: &Service,
    port: u16,
    source: &Workload,
    rng: &mut Rng,
) -> Option<Pick<'a>> {
    service.ports.get(&port)?;
    let endpoints = mesh.endpoints(&service.name);
    let reachable = endpoints
        .iter()
        .filter(|endpoint| !endpoint.addresses.is_empty())
        .filter_map(|endpoint| Some((endpoint, service.port_at(endpoint, port)?)));
    let eligible = prefer(&service.load_balancing, source, reachable.collect());
    let (workload, port) = draw(&eligible, rng)?;
    Some(Pick { workload, port, eligible: eligible.len(), of: endpoints.len() })
}

type Candidate<'a> = (&'a Arc<Workload>, u16);

/// Drops the candidates which the routing preferences rule out.
fn prefer<'a>(rules: &LoadBalancing, source: &Workload, mut all: Vec<Candidate<'a>>) -> Vec<Candidate<'a>> {
    let rank = |candidate: &Candidate<'_>| Rank::of(&rules.preferences, source, candidate.0);
    match rules.mode {
        LoadBalancingMode::Standard | LoadBalancingMode::Passthrough => {}
        LoadBalancingMode::Strict => all.retain(|c| rank(c).matched == rules.preferences.len()),
        LoadBalancingMode::Failover => {
            let best = all.iter().map(|c| rank(c).weighted).max();
            all.retain(|c| Some(rank(c).weighted) == best);
        }
    }
    all
}

/// How well an endpoint matches the preferences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rank {
    /// Preferences matched in order until the first mismatch.
    matched: usize,
    /// The same with the bonus for being in the client's network, if that is what counts first.
    weighted: usize,
}

impl Rank {
    fn of(preferences: &[RoutingScope], source: &Workload, endpoint: &Workload) -> Self {
        let (mut matched, mut bonus) = (0usize, 0usize);
        for (position, scope) in preferences.iter().enumerate() {
            let first_is_network = position == 0 && *scope == RoutingScope::Network;
            if same(*scope, source, endpoint) {
                matched = matched.saturating_add(1);
                if first_is_network {
                    // Any endpoint in the network outranks all outside it.
                    bonus = preferences.len().saturating_sub(1);
                }
            } else if !first_is_network {
                // Endpoints of other networks are still ranked by what follows.
                break;
            }
        }
        Self { matched, weighted: matched.saturating_add(bonus) }
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

/// Draws one candidate with a chance in proportion to its capacity.
fn draw<'a>(candidates: &[Candidate<'a>], rng: &mut Rng) -> Option<Candidate<'a>> {
    let weight = |candidate: &Candidate<'_>| u64::from(candidate.0.capacity);
    let total = candidates.iter().map(weight).fold(0u64, u64::saturating_add);
    let mut ticket = rng.below(total);
    for candidate in candidates {
        match ticket.checked_sub(weight(candidate)) {
            Some(rest) => ticket = rest,
            None => return Some(*candidate),
        }
    }
    None
}

#[cfg(test)]
mod tests;
