//! Which endpoints of a service may take a connection, and where each would be dialled (datapath §2.4, §2.5).

use std::net::{IpAddr, SocketAddr};

use adit_core::mesh::{Health, HealthPolicy, IpFamilies, LoadBalancingMode, RoutingScope, Service, Workload};

/// One workload that may take the connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    /// Who.
    pub uid: String,
    /// Where it listens, or `None` when it has no address of an allowed family.
    pub at: Option<SocketAddr>,
    /// Relative chance; 0 is never taken.
    pub weight: u32,
}

/// Everybody who may take a connection of `source` to `target`, an address of `service`; ordered by uid.
#[must_use]
pub fn eligible(
    workloads: &[Workload],
    service: &Service,
    source: &Workload,
    target: SocketAddr,
) -> Vec<Choice> {
    // 1. The service must have the port.
    if !service.ports.contains_key(&target.port()) {
        return vec![];
    }
    // 2. Its endpoints, unless they are ill and that matters.
    let all_accepted = service.load_balancing.health == HealthPolicy::AllowAll;
    let mut candidates = vec![];
    for workload in workloads {
        let named = workload.services.keys().any(|name| *name == service.name);
        let well = workload.status == Health::Healthy;
        if !named || !(well || all_accepted) {
            continue;
        }
        // 3. It can be reached somehow.
        let abroad = workload.network != source.network;
        let gateway = abroad && workload.network_gateway.is_some();
        if workload.addresses.is_empty() && workload.hostname.is_empty() && !gateway {
            continue;
        }
        // 4. Its own port, else the service's, unless that is a name.
        let own = workload.services.get(&service.name).and_then(|ports| ports.get(&target.port())).copied();
        let port = own.unwrap_or_else(|| service.ports[&target.port()]);
        if port != 0 {
            candidates.push((workload, port));
        }
    }
    // 5. The preferences.
    let wanted = &service.load_balancing.preferences;
    let kept: Vec<_> = match service.load_balancing.mode {
        LoadBalancingMode::Standard => candidates,
        LoadBalancingMode::Strict => candidates
            .into_iter()
            .filter(|(w, _)| wanted.iter().all(|scope| same(*scope, source, w)))
            .collect(),
        LoadBalancingMode::Failover => {
            let best = candidates.iter().map(|(w, _)| rank(wanted, source, w)).max();
            candidates.into_iter().filter(|(w, _)| Some(rank(wanted, source, w)) == best).collect()
        }
        LoadBalancingMode::Passthrough => vec![],
    };
    let mut choices: Vec<_> = kept
        .into_iter()
        .map(|(workload, port)| Choice {
            uid: workload.uid.to_string(),
            at: address(workload, service, target.ip()).map(|ip| SocketAddr::new(ip, port)),
            weight: workload.capacity,
        })
        .collect();
    choices.sort();
    choices
}

/// Whether the network comes first is what counts first; then how many preferences are matched before one is not.
fn rank(wanted: &[RoutingScope], source: &Workload, workload: &Workload) -> (bool, usize) {
    let leading =
        |scopes: &[RoutingScope]| scopes.iter().take_while(|scope| same(**scope, source, workload)).count();
    match wanted {
        [RoutingScope::Network, rest @ ..] => (same(RoutingScope::Network, source, workload), leading(rest)),
        all => (false, leading(all)),
    }
}

fn same(scope: RoutingScope, a: &Workload, b: &Workload) -> bool {
    let part = |w: &Workload| match scope {
        RoutingScope::Region => w.locality.region.to_string(),
        RoutingScope::Zone => w.locality.zone.to_string(),
        RoutingScope::Subzone => w.locality.subzone.to_string(),
        RoutingScope::Node => w.node.to_string(),
        RoutingScope::Cluster => w.cluster.to_string(),
        RoutingScope::Network => w.network.to_string(),
    };
    part(a) == part(b)
}

/// The address asked for; else the first of an allowed family, of the target's family if there is one.
fn address(workload: &Workload, service: &Service, target: IpAddr) -> Option<IpAddr> {
    if workload.addresses.contains(&target) {
        return Some(target);
    }
    let mut allowed = workload.addresses.clone();
    match service.ip_families {
        IpFamilies::Ipv4 => allowed.retain(IpAddr::is_ipv4),
        IpFamilies::Ipv6 => allowed.retain(IpAddr::is_ipv6),
        IpFamilies::Automatic | IpFamilies::Dual => {}
    }
    // A stable sort: the target's family first.
    allowed.sort_by_key(|address| address.is_ipv4() != target.is_ipv4());
    allowed.first().copied()
}
