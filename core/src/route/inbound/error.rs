//! Why inbound connections are refused, and how peers are told.

use alloc::sync::Arc;
use core::net::IpAddr;

/// Why an inbound connection is refused; the texts are those operators match on (interfaces §6.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// The CONNECT target is an address that is not this workload's, nor of anything it is the waypoint of.
    #[error("ip mismatch: {connected} != {authority}")]
    IpMismatch {
        /// The address the tunnel was accepted on.
        connected: IpAddr,
        /// The address asked for.
        authority: IpAddr,
    },
    /// The target is one of this proxy's own ports.
    #[error("attempted recursive call to ourselves")]
    Recursive,
    /// No service of this hostname is known (or visible to this workload's namespace).
    #[error("no service or workload for hostname: {0}")]
    UnknownHost(Arc<str>),
    /// The service has no such port, or it is a named one which this workload does not map.
    #[error("requested service {host}:{port} found, but cannot resolve port")]
    UnresolvedPort {
        /// The hostname asked for.
        host: Arc<str>,
        /// The port asked for.
        port: u16,
    },
    /// The application wants to be told the address asked for, and the service has none.
    #[error("requested service {0} found, but has no IP addresses")]
    NoAddress(Arc<str>),
}

impl AdmitError {
    /// The status with which a CONNECT is answered (datapath §3.3).
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::IpMismatch { .. } => 400,
            Self::Recursive | Self::UnknownHost(_) | Self::UnresolvedPort { .. } | Self::NoAddress(_) => 503,
        }
    }
}
