//! Proxies that stand in front of others: waypoints and network gateways (`istio.workload.GatewayAddress`).

use alloc::sync::Arc;

use super::{NetworkAddress, ServiceName};

/// What a gateway is reached by (`GatewayAddress.destination`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatewayTarget {
    /// A service or a workload of this hostname, resolved in the tables.
    Hostname(ServiceName),
    /// An address: that of a service or of a workload, or of nothing in the tables (a gateway of another network).
    Address(NetworkAddress),
}

/// Where a waypoint or a network gateway is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayAddress {
    /// What it is reached by.
    pub target: GatewayTarget,
    /// The port on which it accepts HBONE (`hbone_mtls_port`).
    pub hbone_port: u16,
}

/// One of several waypoints that share a service's connections (`WeightedWaypoint`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightedWaypoint {
    /// Where it is.
    pub gateway: Arc<GatewayAddress>,
    /// Its part of the connections, relative to the others; 0 takes none.
    pub weight: u32,
}
