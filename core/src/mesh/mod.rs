//! The mesh's tables: workloads, services and policies, immutable, with indexed look-ups (datapath §2.3).
//!
//! Entries have every field of `istio.workload` (interfaces §1.7) that bears on traffic or telemetry.

mod authorization;
mod gateway;
mod service;
mod tables;
mod workload;

pub use authorization::{
    Action, Authorization, Clause, Match, MatchList, PolicyName, Rule, Scope as PolicyScope, ServiceAccount,
    StringMatch, Unreadable,
};
pub use gateway::{GatewayAddress, GatewayTarget, WeightedWaypoint};
pub use service::{
    HealthPolicy, IpFamilies, LoadBalancing, LoadBalancingMode, NetworkAddress, NetworkCidr, RoutingScope,
    Service, ServiceName, Visibility,
};
pub use tables::{Mesh, MeshError};
pub use workload::{
    ApplicationProtocol, ApplicationTunnel, Health, Locality, NetworkMode, TunnelProtocol, Workload,
};
