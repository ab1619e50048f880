//! The endpoints a decision had to choose from, with weight and rank.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::Serialize;

use crate::mesh::{GatewayAddress, LoadBalancingMode, Mesh, Service, Workload};
use crate::route::{self, Endpoint, PortRule, Reason, Standing};

/// The endpoints of one service, for one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSet {
    /// `namespace/hostname`.
    pub service: String,
    /// The service port asked for.
    pub port: u16,
    /// `Standard`, `Strict`, `Failover` or `Passthrough`.
    pub mode: String,
    /// The routing preferences, most important first.
    pub preferences: Vec<String>,
    /// Ordered by uid.
    pub endpoints: Vec<EndpointLine>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointLine {
    /// Uid of the workload.
    pub workload: String,
    /// Its port; 0 if it has none for this.
    pub port: u16,
    /// Its capacity: its chance relative to other eligible ones.
    pub weight: u32,
    /// How well it matches the preferences.
    pub rank: usize,
    /// Whether it may be drawn, or why not.
    pub standing: &'static str,
}

/// The sets that the decision with these `reasons` looked at.
pub(super) fn drawn_from(
    mesh: &Mesh,
    source: &Workload,
    target: SocketAddr,
    reasons: &[Reason],
) -> Vec<EndpointSet> {
    let behind_waypoint = reasons.iter().any(|reason| matches!(reason, Reason::ServiceWaypoint(_)));
    let through = |gateway: &GatewayAddress, rule| {
        let service = route::service_of(mesh, gateway, &source.namespace)?;
        Some((service, gateway.hbone_port, rule))
    };
    let drawn = reasons.iter().filter_map(|reason| {
        if let Reason::ServiceWaypoint(gateway) | Reason::WorkloadWaypoint(gateway) = reason {
            through(gateway, PortRule::Waypoint)
        } else if let Reason::NetworkGateway(gateway) = reason {
            through(gateway, PortRule::Standard)
        } else if let Reason::Service(name) = reason
            && !behind_waypoint
        {
            Some((mesh.service(name)?, target.port(), PortRule::Standard))
        } else {
            None
        }
    });
    drawn
        .filter(|(service, ..)| service.load_balancing.mode != LoadBalancingMode::Passthrough)
        .map(|(service, port, rule)| set(mesh, source, service, port, rule))
        .collect()
}

fn set(mesh: &Mesh, source: &Workload, service: &Service, port: u16, rule: PortRule) -> EndpointSet {
    let rules = &service.load_balancing;
    let preferences = rules.preferences.iter().map(|scope| alloc::format!("{scope:?}")).collect();
    let mut endpoints: Vec<_> =
        route::endpoints(mesh, service, port, source, rule).iter().map(line).collect();
    // The health policy keeps these out before anything else is looked at.
    let kept_out = mesh.members(&service.name).iter().filter(|member| !service.accepts_health_of(member));
    endpoints.extend(kept_out.map(|workload| EndpointLine {
        standing: "unhealthy",
        ..line(&route::endpoint(service, workload, port, source, rule))
    }));
    endpoints.sort_by(|a, b| a.workload.cmp(&b.workload));
    EndpointSet {
        service: service.name.to_string(),
        port,
        mode: alloc::format!("{:?}", rules.mode),
        preferences,
        endpoints,
    }
}

fn line(endpoint: &Endpoint<'_>) -> EndpointLine {
    EndpointLine {
        workload: endpoint.workload.uid.to_string(),
        port: endpoint.port,
        weight: endpoint.workload.capacity,
        rank: endpoint.rank,
        standing: match endpoint.standing {
            Standing::Eligible if endpoint.workload.capacity == 0 => "no weight",
            Standing::Eligible => "eligible",
            Standing::Unreachable => "no address",
            Standing::NoPort => "no port",
            Standing::NotPreferred => "not preferred",
        },
    }
}
