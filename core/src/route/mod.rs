//! Where a connection goes: outbound plan (datapath §2.2–2.7) and inbound admission (§5.2–5.7), each with its reasons.

mod balance;
mod front;
mod gateway;
mod hop;
mod inbound;
mod missing;
mod outbound;
mod reason;

pub(crate) use balance::endpoint;
pub use balance::{Endpoint, PortRule, Standing, endpoints};
pub use front::{FrontError, FrontPlan, Fronted, front};
pub(crate) use gateway::{Named, service_of};
pub(crate) use hop::tunnel_key;
pub use hop::{Hop, Resolve};
pub use inbound::{
    AdmitError, InboundPlan, OwnSource, ShownSource, admit_hbone, admit_plain, destination_service,
};
pub use missing::Missing;
pub use outbound::{OutboundPlan, RouteError, Towards, outbound};
pub(crate) use outbound::{outbound_told, towards};
pub use reason::Reason;

use alloc::vec::Vec;

/// The ports and switches that plans must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Where other proxies accept HBONE: 15008 unless configured (tests and demos beside a real installation).
    pub hbone_port: u16,
    /// Ports on which this proxy itself listens; calls to them would loop (datapath §1.6).
    pub illegal_ports: Vec<u16>,
    /// `LOCALHOST_APP_TUNNEL`: an application that is told about connections in a PROXY header is dialled on loopback
    /// (datapath §5.4).
    pub localhost_app_tunnel: bool,
}

impl Default for RouteConfig {
    /// The ports of Istio: HBONE on 15008; 15008, 15006 and 15001 illegal. Application tunnels on loopback.
    fn default() -> Self {
        Self {
            hbone_port: 15008,
            illegal_ports: alloc::vec![15008, 15006, 15001],
            localhost_app_tunnel: true,
        }
    }
}

impl RouteConfig {
    /// Whether `port` is one of this proxy's own.
    pub(crate) fn is_illegal(&self, port: u16) -> bool {
        self.illegal_ports.contains(&port)
    }
}
