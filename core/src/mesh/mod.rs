//! The mesh's tables: workloads, services and policies, immutable, with indexed look-ups (datapath §2.3).
//!
//! Entries say what *local mode* can carry today: there are no waypoints, network gateways, workloads known by
//! hostname alone, or PROXY application tunnels yet, so there are no types for them. Whoever fills the tables must
//! refuse input that asks for them.

mod authorization;
mod service;
mod tables;
mod workload;

pub use authorization::{
    Action, Authorization, Clause, Match, PolicyName, Rule, Scope as PolicyScope, ServiceAccount, StringMatch,
};
pub use service::{
    HealthPolicy, IpFamilies, LoadBalancing, LoadBalancingMode, NetworkAddress, NetworkCidr, RoutingScope,
    Service, ServiceName, Visibility,
};
pub use tables::{Mesh, MeshError};
pub use workload::{ApplicationTunnel, Health, Locality, NetworkMode, TunnelProtocol, Workload};
