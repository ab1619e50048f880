//! Where a connection goes: outbound plan (datapath §2.2–2.5) and inbound admission (§5.2–5.4, 5.7), each with its
//! reasons.

mod balance;
mod inbound;
mod outbound;
mod rng;

pub use inbound::{AdmitError, InboundPlan, admit_hbone, admit_plain, destination_service};
pub use outbound::{Hop, OutboundPlan, RouteError, outbound};
pub use rng::Rng;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::mesh::ServiceName;

/// The ports that plans must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Where other proxies accept HBONE: 15008 unless configured (tests and demos beside a real installation).
    pub hbone_port: u16,
    /// Ports on which this proxy itself listens; calls to them would loop (datapath §1.6).
    pub illegal_ports: Vec<u16>,
}

impl Default for RouteConfig {
    /// The ports of Istio: HBONE on 15008; 15008, 15006 and 15001 illegal.
    fn default() -> Self {
        Self { hbone_port: 15008, illegal_ports: alloc::vec![15008, 15006, 15001] }
    }
}

impl RouteConfig {
    /// Whether `port` is one of this proxy's own.
    pub(crate) fn is_illegal(&self, port: u16) -> bool {
        self.illegal_ports.contains(&port)
    }
}

/// Why a plan came out as it did; plans list them in the order of decision (design D10).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing is known about the target's address.
    NotInMesh,
    /// The target is a virtual address of this service, or was asked for by its hostname.
    Service(ServiceName),
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
    /// The target is the address the connection was made to.
    OwnAddress,
    /// The workload's application tunnel takes any address.
    AnyAddress,
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
            Self::Passthrough => f.write_str("the service is in PASSTHROUGH mode: passed through"),
            Self::Endpoint { uid, eligible, of } => {
                write!(f, "endpoint {uid} drawn from {eligible} eligible of {of}")
            }
            Self::ServiceWithoutEndpoint => {
                f.write_str("the service has no endpoint for this port, but the address is a workload's")
            }
            Self::Workload(uid) => write!(f, "the address is that of workload {uid}"),
            Self::OwnAddress => f.write_str("the target is the address connected to"),
            Self::AnyAddress => {
                f.write_str("the workload has an application tunnel, which takes any address")
            }
            Self::PortMapped { from, to } => write!(f, "port {from} maps to {to}"),
            Self::ApplicationTunnel { port } => write!(f, "the application tunnel uses port {port}"),
            Self::Hbone => f.write_str("it speaks HBONE"),
            Self::PlainEndpoint => f.write_str("it has no proxy: plain TCP"),
        }
    }
}
