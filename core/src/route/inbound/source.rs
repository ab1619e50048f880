//! Which source address the application is shown (datapath §5.6).

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Which source address the application is shown, where the listener is transparent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShownSource {
    /// The client's: bind to it before connecting.
    Client(IpAddr),
    /// The proxy's own.
    Own(OwnSource),
}

/// Why an application is not shown the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnSource {
    /// The workload calls itself: answers to its own address would not come back to the proxy.
    SelfCall,
    /// The application is dialled in the other address family.
    OtherFamily,
    /// The application is told the address in a PROXY header, and dialled on loopback.
    Announced,
}

impl ShownSource {
    /// For a connection of `client` that is dialled to `to`.
    #[must_use]
    pub fn of(client: SocketAddr, to: SocketAddr) -> Self {
        let (client, to) = (client.ip().to_canonical(), to.ip().to_canonical());
        if client == to {
            Self::Own(OwnSource::SelfCall)
        } else if client.is_ipv4() != to.is_ipv4() {
            Self::Own(OwnSource::OtherFamily)
        } else {
            Self::Client(client)
        }
    }

    /// The address to bind to, if any.
    #[must_use]
    pub const fn bind(self) -> Option<IpAddr> {
        match self {
            Self::Client(address) => Some(address),
            Self::Own(_) => None,
        }
    }
}

impl fmt::Display for ShownSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(address) => write!(f, "the client's address {address}"),
            Self::Own(OwnSource::SelfCall) => f.write_str("the proxy's own: the workload calls itself"),
            Self::Own(OwnSource::OtherFamily) => {
                f.write_str("the proxy's own: the application is of the other address family")
            }
            Self::Own(OwnSource::Announced) => {
                f.write_str("the proxy's own: the PROXY header says the client's")
            }
        }
    }
}
