//! What shared mode needs of the kernel, asked for at startup rather than when the first pod comes (interfaces §3.2).

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};

/// Why pods cannot be served from here.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PodAccessError {
    /// Listeners are made in the network namespaces of pods.
    #[error(
        "cannot enter network namespaces: {0}; shared mode needs the capability SYS_ADMIN (securityContext of the container)"
    )]
    Enter(Arc<io::Error>),
    /// Unmarked, our own packets would be captured again.
    #[error(
        "cannot mark sockets with {mark:#x}: {error}; shared mode needs the capability NET_ADMIN (securityContext of the container)"
    )]
    Mark {
        /// The mark (`PACKET_MARK`).
        mark: u32,
        /// What the system said. (Shared, for [`io::Error`] cannot be cloned.)
        error: Arc<io::Error>,
    },
}

/// Enters the network namespace that the calling thread is in already, and marks a socket.
///
/// # Errors
/// One of the two is not allowed: no pod could be served, so do not start.
pub fn check_pod_access(mark: u32) -> Result<(), PodAccessError> {
    enter_own().map_err(|error| PodAccessError::Enter(Arc::new(error)))?;
    marked(mark).map_err(|error| PodAccessError::Mark { mark, error: Arc::new(error) })
}

fn enter_own() -> io::Result<()> {
    let own = File::open("/proc/thread-self/ns/net")?;
    Ok(move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network))?)
}

fn marked(mark: u32) -> io::Result<()> {
    Socket::new(Domain::IPV4, Type::STREAM, None)?.set_mark(mark)
}

#[cfg(test)]
mod tests {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;

    /// What the check says to a thread that may do only `left` of what this process may; `None` when it may not itself.
    fn with(left: CapabilitySet) -> Option<String> {
        let checked = std::thread::spawn(move || {
            let mut sets = capabilities(None).unwrap();
            if !sets.effective.contains(CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN) {
                return None;
            }
            sets.effective &= left;
            set_capabilities(None, sets).unwrap();
            Some(check_pod_access(0x539).map_or_else(|error| error.to_string(), |()| String::new()))
        });
        checked.join().unwrap()
    }

    #[test]
    fn the_missing_capability_is_named() {
        let Some(all) = with(CapabilitySet::all()) else { return };
        assert_eq!(all, "");
        let why = "Operation not permitted (os error 1)";
        let needs = "(securityContext of the container)";
        let enter = format!(
            "cannot enter network namespaces: {why}; shared mode needs the capability SYS_ADMIN {needs}"
        );
        assert_eq!(with(CapabilitySet::NET_ADMIN).as_ref(), Some(&enter));
        let mark = format!(
            "cannot mark sockets with 0x539: {why}; shared mode needs the capability NET_ADMIN {needs}"
        );
        assert_eq!(with(CapabilitySet::SYS_ADMIN).as_ref(), Some(&mark));
    }
}
