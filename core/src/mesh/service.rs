//! A service: a hostname and virtual addresses in front of workloads (`istio.workload.Service`).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;

use super::{GatewayAddress, Health, WeightedWaypoint, Workload};
use crate::identity::Identity;

/// Key of a service, written `namespace/hostname`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Namespace that defines it.
    pub namespace: Arc<str>,
    /// Fully qualified name.
    pub hostname: Arc<str>,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}

/// An address and the network in which it is meaningful, written `network/address`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkAddress {
    /// Empty for a mesh of one network.
    pub network: Arc<str>,
    /// The address.
    pub address: IpAddr,
}

/// A range of virtual addresses in one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkCidr {
    /// Empty for a mesh of one network.
    pub network: Arc<str>,
    /// The range; a full-length prefix is one exact address.
    pub cidr: IpNet,
}

/// What routing compares between the client's workload and an endpoint (`LoadBalancing.Scope`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoutingScope {
    /// Same region.
    Region,
    /// Same zone (compared on its own, not within the region).
    Zone,
    /// Same subzone (compared on its own).
    Subzone,
    /// Same node.
    Node,
    /// Same cluster.
    Cluster,
    /// Same network.
    Network,
}

/// How an endpoint is chosen (`LoadBalancing.Mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadBalancingMode {
    /// Any endpoint (`UNSPECIFIED_MODE`).
    #[default]
    Standard,
    /// Only endpoints that match every preference.
    Strict,
    /// The endpoints that match most leading preferences.
    Failover,
    /// None: the connection goes to the address the client asked for, in plain TCP.
    Passthrough,
}

/// Which endpoints may be chosen (`LoadBalancing.HealthPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HealthPolicy {
    /// Healthy ones.
    #[default]
    OnlyHealthy,
    /// All of them.
    AllowAll,
}

/// How connections spread over a service's endpoints (`load_balancing`); the default is what a service without this
/// message gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancing {
    /// Most important first (`routing_preference`).
    pub preferences: Vec<RoutingScope>,
    /// What the preferences do.
    pub mode: LoadBalancingMode,
    /// Which endpoints may be chosen.
    pub health: HealthPolicy,
}

/// Address families in which a service's endpoints are dialled (`ip_families`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IpFamilies {
    /// No restriction.
    #[default]
    Automatic,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// Both.
    Dual,
}

impl IpFamilies {
    /// Whether an endpoint may be dialled at `address`.
    #[must_use]
    pub const fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Automatic | Self::Dual => true,
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }
}

/// Who may resolve and reach a service (`visibility`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everyone.
    #[default]
    Public,
    /// Clients of the service's own namespace.
    Namespace,
}

/// A hostname and virtual addresses in front of workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Key.
    pub name: ServiceName,
    /// Name of the object it was made from (`name`), for people.
    pub object_name: Arc<str>,
    /// Exact virtual addresses; empty for a headless service.
    pub addresses: Vec<NetworkAddress>,
    /// Ranges of virtual addresses, tried after exact ones.
    pub cidrs: Vec<NetworkCidr>,
    /// Service port → target port; 0 = named, each endpoint brings its own mapping.
    pub ports: BTreeMap<u16, u16>,
    /// Identities accepted besides the chosen workload's own (`subject_alt_names`).
    pub subject_alt_names: Vec<Identity>,
    /// The waypoint that speaks for it (`waypoint`).
    pub waypoint: Option<Arc<GatewayAddress>>,
    /// Waypoints that share its connections by weight (`weighted_waypoints`); `waypoint` counts when all weigh nothing.
    pub weighted_waypoints: Vec<WeightedWaypoint>,
    /// How connections spread over the endpoints.
    pub load_balancing: LoadBalancing,
    /// Families in which endpoints are dialled.
    pub ip_families: IpFamilies,
    /// Preferred by clients whose own namespace does not define the hostname or address.
    pub canonical: bool,
    /// Who may reach it.
    pub visibility: Visibility,
}

impl Service {
    /// A public service with no address, port or endpoint restriction; `object_name` is the hostname.
    #[must_use]
    pub fn new(name: ServiceName) -> Self {
        Self {
            object_name: Arc::clone(&name.hostname),
            name,
            addresses: Vec::new(),
            cidrs: Vec::new(),
            ports: BTreeMap::new(),
            subject_alt_names: Vec::new(),
            waypoint: None,
            weighted_waypoints: Vec::new(),
            load_balancing: LoadBalancing::default(),
            ip_families: IpFamilies::default(),
            canonical: false,
            visibility: Visibility::default(),
        }
    }

    /// Whether clients of `namespace` may know of it.
    #[must_use]
    pub fn is_visible_to(&self, namespace: &str) -> bool {
        match self.visibility {
            Visibility::Public => true,
            Visibility::Namespace => &*self.name.namespace == namespace,
        }
    }

    /// Whether its health policy lets `workload` be an endpoint now.
    #[must_use]
    pub fn accepts_health_of(&self, workload: &Workload) -> bool {
        self.load_balancing.health == HealthPolicy::AllowAll || workload.status == Health::Healthy
    }

    /// The port of `endpoint` behind service port `port`: the endpoint's own mapping, else the service's target
    /// (datapath §2.4, §5.3). `None` when neither names one.
    #[must_use]
    pub fn port_at(&self, endpoint: &Workload, port: u16) -> Option<u16> {
        let own = endpoint.services.get(&self.name).and_then(|ports| ports.get(&port));
        own.or_else(|| self.ports.get(&port)).copied().filter(|target| *target != 0)
    }
}
