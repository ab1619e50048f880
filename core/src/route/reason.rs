//! Why a plan came out as it did, in words for people.

use alloc::sync::Arc;
use core::fmt;

use crate::mesh::{GatewayAddress, ServiceName};

use super::gateway::Named;

/// Why a plan came out as it did; plans list them in the order of decision (design D10).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing is known about the target's address.
    NotInMesh,
    /// The target is a virtual address of this service, or was asked for by its hostname.
    Service(ServiceName),
    /// The address is a workload's as well, and that decides which waypoint speaks for it.
    AddressOfWorkloadToo(Arc<str>),
    /// The service asks that its traffic goes where the client sent it.
    Passthrough,
    /// This endpoint was drawn.
    Endpoint {
        /// Its uid.
        uid: Arc<str>,
        /// How many it was drawn from.
        eligible: usize,
        /// How many healthy endpoints the service has.
        of: usize,
    },
    /// The service has no endpoint for this port, but a workload owns the very address.
    ServiceWithoutEndpoint,
    /// The target is the address of this workload.
    Workload(Arc<str>),
    /// One of the service's weighted waypoints was drawn.
    WaypointDrawn {
        /// Its weight.
        weight: u32,
        /// The sum of all weights.
        of: u64,
    },
    /// No waypoint of the service's weighted set has any weight, so its plain one counts.
    WaypointsWeighNothing,
    /// The service's waypoint speaks for it.
    ServiceWaypoint(Arc<GatewayAddress>),
    /// The workload's waypoint speaks for it to clients which address it directly.
    WorkloadWaypoint(Arc<GatewayAddress>),
    /// The client is that waypoint itself.
    FromWaypoint,
    /// A reference to a gateway is the hostname of this workload.
    GatewayWorkload(Arc<str>),
    /// A workload is in another network.
    OtherNetwork {
        /// Its uid.
        uid: Arc<str>,
        /// Its network.
        network: Arc<str>,
    },
    /// The way there is this gateway, with a tunnel in a tunnel.
    NetworkGateway(Arc<GatewayAddress>),
    /// The workload has no address: its name is to be resolved first.
    Resolve(Arc<str>),
    /// The target is the address the connection was made to.
    OwnAddress,
    /// The target is the hostname of the workload itself.
    OwnHostname,
    /// The workload's application tunnel takes any address.
    AnyAddress,
    /// The workload is a waypoint of the service whose address is asked for.
    WaypointOfService(ServiceName),
    /// The workload is a waypoint of the workload whose address is asked for.
    WaypointOfWorkload(Arc<str>),
    /// The port was translated.
    PortMapped {
        /// Asked for.
        from: u16,
        /// Used.
        to: u16,
    },
    /// The workload's application tunnel fixes the port.
    ApplicationTunnel {
        /// The port used.
        port: u16,
    },
    /// The application is told who calls, in a PROXY header.
    ProxyHeader,
    /// The endpoint speaks HBONE.
    Hbone,
    /// The endpoint has no proxy: plain TCP.
    PlainEndpoint,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInMesh => f.write_str("the address belongs to nothing in the mesh: passed through"),
            Self::Service(name) => write!(f, "the target is service {name}"),
            Self::AddressOfWorkloadToo(uid) => {
                write!(
                    f,
                    "the address is that of workload {uid} too, so the service's waypoint does not count"
                )
            }
            Self::Passthrough => f.write_str("the service is in PASSTHROUGH mode: passed through"),
            Self::Endpoint { uid, eligible, of } => {
                write!(f, "endpoint {uid} drawn from {eligible} eligible of {of}")
            }
            Self::ServiceWithoutEndpoint => {
                f.write_str("the service has no endpoint for this port, but the address is a workload's")
            }
            Self::Workload(uid) => write!(f, "the address is that of workload {uid}"),
            Self::WaypointDrawn { weight, of } => {
                write!(f, "one of its weighted waypoints drawn, of weight {weight} in {of}")
            }
            Self::WaypointsWeighNothing => f.write_str("all of its weighted waypoints weigh nothing"),
            Self::ServiceWaypoint(gateway) => {
                write!(f, "waypoint {} speaks for the service", Named(gateway))
            }
            Self::WorkloadWaypoint(gateway) => {
                write!(f, "waypoint {} speaks for the workload", Named(gateway))
            }
            Self::FromWaypoint => f.write_str("the client is the workload's waypoint: sent on directly"),
            Self::GatewayWorkload(uid) => write!(f, "that is the hostname of workload {uid}"),
            Self::OtherNetwork { uid, network } => write!(f, "{uid} is in network {network:?}"),
            Self::NetworkGateway(gateway) => {
                write!(f, "reached through network gateway {}, tunnel in tunnel", Named(gateway))
            }
            Self::Resolve(hostname) => write!(f, "it has no address: {hostname} is to be resolved"),
            Self::OwnAddress => f.write_str("the target is the address connected to"),
            Self::OwnHostname => f.write_str("the target is the workload's own hostname"),
            Self::AnyAddress => {
                f.write_str("the workload has an application tunnel, which takes any address")
            }
            Self::WaypointOfService(name) => write!(f, "the workload is a waypoint of service {name}"),
            Self::WaypointOfWorkload(uid) => write!(f, "the workload is a waypoint of workload {uid}"),
            Self::PortMapped { from, to } => write!(f, "port {from} maps to {to}"),
            Self::ApplicationTunnel { port } => write!(f, "the application tunnel uses port {port}"),
            Self::ProxyHeader => f.write_str("the application is told the client in a PROXY header"),
            Self::Hbone => f.write_str("it speaks HBONE"),
            Self::PlainEndpoint => f.write_str("it has no proxy: plain TCP"),
        }
    }
}
