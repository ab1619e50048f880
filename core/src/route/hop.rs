//! The next peer of an outbound connection, as a value.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::RouteError;
use crate::hbone::Authority;
use crate::identity::{Identity, IdentitySet};
use crate::pool::TunnelKey;
use crate::rng::Rng;

/// The next peer of an outbound connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Plain TCP.
    Plain {
        /// The address to dial.
        to: SocketAddr,
    },
    /// A stream in a tunnel: to the destination's own proxy, or to a waypoint.
    Hbone {
        /// The other proxy.
        dial: SocketAddr,
        /// The CONNECT target.
        authority: Authority,
        /// Who the other proxy may be.
        expected: IdentitySet,
    },
    /// A stream in a tunnel to the gateway of another network, and in that stream a tunnel of its own (datapath §2.7).
    /// The inner tunnel carries this one connection and is not pooled.
    DoubleHbone {
        /// The gateway.
        dial: SocketAddr,
        /// Who the gateway may be.
        gateway: IdentitySet,
        /// The CONNECT target of both tunnels: the service's hostname and port, never an address.
        authority: Authority,
        /// Who may be at the inner tunnel's end: the service's alternative names only, so that nobody is when it has none.
        expected: IdentitySet,
    },
    /// A name must be resolved first; [`Resolve::resolved`] then gives the hop.
    Resolve(Box<Resolve>),
}

impl Hop {
    /// Which pooled tunnel carries the hop for a client at `client` that is `source`; `None` where none does, or the
    /// address is not known yet.
    #[must_use]
    pub fn tunnel_key(&self, source: Identity, client: IpAddr) -> Option<TunnelKey> {
        match self {
            Self::Plain { .. } | Self::Resolve(_) => None,
            Self::Hbone { dial, expected, .. } => Some(tunnel_key(source, client, *dial, expected.clone())),
            Self::DoubleHbone { dial, gateway, .. } => {
                Some(tunnel_key(source, client, *dial, gateway.clone()))
            }
        }
    }
}

/// The pooled tunnel to `dial`, where `expected` must answer, for a client at `client` that is `source`.
pub(crate) const fn tunnel_key(
    source: Identity,
    client: IpAddr,
    dial: SocketAddr,
    expected: IdentitySet,
) -> TunnelKey {
    TunnelKey { source, expected, destination: dial, source_ip: Some(client) }
}

/// A hop to a workload that has a hostname and no address (datapath §2.5). All choices but that of the address have
/// been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// The name to look up, A and AAAA.
    pub hostname: Arc<str>,
    /// The workload whose name it is.
    pub workload: Arc<str>,
    /// Answers of this address's family are preferred.
    pub near: IpAddr,
    pub(super) then: Shape,
}

impl Resolve {
    /// The hop to one of `answers`: any of the preferred family, else any.
    ///
    /// # Errors
    /// [`RouteError::NotResolved`] when there is no answer.
    pub fn resolved(&self, answers: &[IpAddr], rng: &mut Rng) -> Result<Hop, RouteError> {
        let answers: Vec<IpAddr> = answers.iter().map(IpAddr::to_canonical).collect();
        let near: Vec<IpAddr> =
            answers.iter().copied().filter(|answer| answer.is_ipv4() == self.near.is_ipv4()).collect();
        let candidates = if near.is_empty() { answers } else { near };
        let address = rng.weighted(&candidates, |_| 1);
        let address = address.ok_or_else(|| RouteError::NotResolved(Arc::clone(&self.workload)))?;
        Ok(self.then.clone().at(*address))
    }
}

/// A hop but for its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Plain {
        port: u16,
    },
    /// To the workload's own proxy.
    Direct {
        hbone_port: u16,
        port: u16,
        expected: IdentitySet,
    },
    /// To somebody who knows what to do with `authority`.
    Waypoint {
        port: u16,
        authority: Authority,
        expected: IdentitySet,
    },
    Gateway {
        port: u16,
        gateway: IdentitySet,
        authority: Authority,
        expected: IdentitySet,
    },
}

impl Shape {
    pub(super) fn at(self, address: IpAddr) -> Hop {
        let at = |port| SocketAddr::new(address, port);
        match self {
            Self::Plain { port } => Hop::Plain { to: at(port) },
            Self::Direct { hbone_port, port, expected } => {
                Hop::Hbone { dial: at(hbone_port), authority: Authority::Address(at(port)), expected }
            }
            Self::Waypoint { port, authority, expected } => {
                Hop::Hbone { dial: at(port), authority, expected }
            }
            Self::Gateway { port, gateway, authority, expected } => {
                Hop::DoubleHbone { dial: at(port), gateway, authority, expected }
            }
        }
    }
}
