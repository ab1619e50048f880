//! The mesh's tables: workloads, services and policies, fed by changes, with indexed look-ups (datapath §2.3).
//!
//! One owner applies changes to a [`Mesh`] and hands copies out, which are as cheap as a pointer and never change: what
//! a copy has in common with later ones is shared.
//!
//! Entries have every field of `istio.workload` (interfaces §1.7) that bears on traffic or telemetry.

mod authorization;
mod endpoints;
mod entries;
mod gateway;
mod index;
mod interner;
mod keyed;
mod memberships;
mod service;
mod tables;
mod workload;

pub use authorization::{
    Action, Authorization, Clause, Match, MatchList, PolicyName, Rule, Scope as PolicyScope, ServiceAccount,
    StringMatch, Unreadable,
};
pub use endpoints::{EndpointIter, Endpoints};
pub use gateway::{GatewayAddress, GatewayTarget, WeightedWaypoint};
pub use memberships::{Memberships, PortMap};
pub use service::{
    HealthPolicy, IpFamilies, LoadBalancing, LoadBalancingMode, NetworkAddress, NetworkCidr, RoutingScope,
    Service, ServiceName, Visibility,
};
pub use tables::{Change, Mesh, MeshError};
pub use workload::{
    ApplicationProtocol, ApplicationTunnel, Common, Health, Locality, NetworkMode, TunnelProtocol, Workload,
};
