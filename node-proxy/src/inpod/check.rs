//! What shared mode needs of the system, tried before anything else (interfaces §3.2).
use std::io;

use adit_runtime::NetNs;
use socket2::{Domain, Protocol, Socket, Type};

/// What the system does not let us do.
#[derive(Debug, thiserror::Error)]
pub enum CapabilityError {
    /// Entering network namespaces.
    #[error(
        "network namespaces of pods cannot be entered: {0}; shared mode needs CAP_SYS_ADMIN (or set PROXY_MODE=dedicated)"
    )]
    Netns(#[source] io::Error),
    /// Marking packets.
    #[error(
        "packets cannot be marked with {mark}: {error}; shared mode needs CAP_NET_ADMIN (or set PROXY_MODE=dedicated)"
    )]
    Mark {
        /// `SO_MARK`.
        mark: u32,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Tries both in our own namespace.
pub(crate) fn check(mark: Option<u32>) -> Result<(), CapabilityError> {
    let own = NetNs::current().map_err(CapabilityError::Netns)?;
    let marked = own.enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        mark.map_or(Ok(()), |mark| socket.set_mark(mark))
    });
    let mark = mark.unwrap_or_default();
    marked.map_err(CapabilityError::Netns)?.map_err(|error| CapabilityError::Mark { mark, error })
}
