//! Handing listening sockets to the process that comes after this one, so that an upgrade refuses no connection.
//!
//! Closing a listening socket resets every connection that waits in its queue, also where another process listens on the
//! same port (`SO_REUSEPORT`): each socket has a queue of its own. So the new process does not bind, it asks the old one for
//! its sockets; from then on both have the same queue, and the old one may stop at any time.
//!
//! ```text
//!   old process                                             new process
//!   Estate ◀── add / remove ── its listeners
//!     │
//!   prepare, serve ◀───────────────────────────────────────── Predecessor::meet
//!     │                                                       prepare, serve: it is the one to meet from now on
//!     │  ◀─────────────── which sockets of this namespace? ── Predecessor::sockets
//!     └──────────────────── their addresses, descriptors ──▶ Inherited ── take(address) ──▶ listeners
//! ```
//!
//! Both sides check that the other runs as the same user (`SO_PEERCRED`); the path is for that user alone.
mod client;
mod server;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_core::inpod::NetnsId;
use serde::{Deserialize, Serialize};

pub use client::{Inherited, Predecessor};
pub use server::{Prepared, prepare};

/// What a socket is, as far as both processes must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// A TCP listener at this address.
    Tcp(SocketAddr),
    /// A UDP socket at this address.
    Udp(SocketAddr),
}

/// The sockets that a successor may have. Clones are the same estate.
#[derive(Clone, Debug)]
pub struct Estate {
    /// `None`: closed.
    sockets: Arc<Mutex<Option<Sockets>>>,
}

type Sockets = BTreeMap<(NetnsId, Endpoint), Arc<OwnedFd>>;

impl Default for Estate {
    fn default() -> Self {
        Self::new()
    }
}

impl Estate {
    /// An empty estate.
    #[must_use]
    pub fn new() -> Self {
        Self { sockets: Arc::new(Mutex::new(Some(Sockets::new()))) }
    }

    /// A successor may have this socket, which stays open as long as it is listed here. A closed estate takes none.
    pub fn add(&self, namespace: NetnsId, endpoint: Endpoint, socket: Arc<OwnedFd>) {
        if let Some(sockets) = &mut *self.sockets() {
            sockets.insert((namespace, endpoint), socket);
        }
    }

    /// What was in this namespace is no longer to be had.
    pub fn remove(&self, namespace: NetnsId) {
        if let Some(sockets) = &mut *self.sockets() {
            sockets.retain(|(at, _), _| *at != namespace);
        }
    }

    /// Nothing is to be had from now on; to be called before listeners close, or their ports stay open.
    pub fn close(&self) {
        *self.sockets() = None;
    }

    /// What there is in a namespace.
    fn of(&self, namespace: NetnsId) -> Vec<(Endpoint, Arc<OwnedFd>)> {
        let sockets = self.sockets();
        let here = sockets.iter().flatten().filter(|((at, _), _)| *at == namespace);
        here.map(|((_, endpoint), socket)| (*endpoint, Arc::clone(socket))).collect()
    }

    fn sockets(&self) -> MutexGuard<'_, Option<Sockets>> {
        // Whole between any two statements.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why sockets cannot be handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The path where a successor would ask.
    #[error(
        "{}: cannot listen for the proxy that comes next: {cause}; choose a directory that exists and that this user may write to", path.display()
    )]
    Listen {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Somebody else answers at the path.
    #[error("{}: belongs to user {uid}, not to user {own}; sockets are taken from the same user only", path.display())]
    Stranger {
        /// The path.
        path: PathBuf,
        /// Who that is.
        uid: u32,
        /// Who we are.
        own: u32,
    },
    /// The conversation broke off, or made no sense.
    #[error("{}: the proxy before this one does not hand over its sockets: {cause}", path.display())]
    Ask {
        /// The path.
        path: PathBuf,
        /// What went wrong.
        #[source]
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::PermissionsExt as _;

    const HERE: NetnsId = NetnsId { device: 4, inode: 1 };

    fn listener() -> (SocketAddr, Arc<OwnedFd>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (listener.local_addr().unwrap(), Arc::new(listener.into()))
    }

    fn path(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("adit-handover-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory.join("handover.sock")
    }

    fn meet(path: &std::path::Path) -> Predecessor {
        Predecessor::meet(path).unwrap()
    }

    fn clean(path: &std::path::Path) {
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn sockets_come_with_what_waits_in_their_queues() {
        let (path, estate) = (path("queue"), Estate::new());
        let listeners: Vec<_> = (0..100).map(|_| listener()).collect();
        for (address, socket) in &listeners {
            estate.add(HERE, Endpoint::Tcp(*address), Arc::clone(socket));
        }
        let (elsewhere, other) = listener();
        estate.add(NetnsId { inode: 2, ..HERE }, Endpoint::Tcp(elsewhere), other);
        prepare(&path).unwrap().serve(estate.clone()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let waiting: Vec<_> =
            listeners.iter().map(|(address, _)| TcpStream::connect(address).unwrap()).collect();
        let mut inherited = meet(&path).sockets(HERE).unwrap();
        // The old process goes.
        estate.close();
        estate.add(HERE, Endpoint::Tcp(elsewhere), listener().1);
        let addresses: Vec<_> = listeners.into_iter().map(|(address, _)| address).collect();
        assert!(inherited.take(Endpoint::Tcp(elsewhere)).is_none());
        assert!(inherited.take(Endpoint::Udp(addresses[0])).is_none());
        for (address, waits) in addresses.into_iter().zip(waiting) {
            let socket = TcpListener::from(inherited.take(Endpoint::Tcp(address)).expect("handed over"));
            assert_eq!(socket.accept().unwrap().1, waits.local_addr().unwrap());
            assert!(inherited.take(Endpoint::Tcp(address)).is_none(), "once");
        }
        assert!(meet(&path).sockets(HERE).unwrap().is_empty());
        clean(&path);
    }

    #[test]
    fn the_newest_is_the_one_to_ask() {
        let path = path("newest");
        let (old, new) = (Estate::new(), Estate::new());
        let (address, socket) = listener();
        prepare(&path).unwrap().serve(old).unwrap();
        new.add(HERE, Endpoint::Tcp(address), socket);
        let met = meet(&path);
        let ahead = prepare(&path).unwrap();
        assert!(meet(&path).sockets(HERE).unwrap().is_empty(), "it is not there yet");
        ahead.serve(new.clone()).unwrap();
        assert!(met.sockets(HERE).unwrap().is_empty(), "the conversation is with the one that was met");
        assert!(meet(&path).sockets(HERE).unwrap().take(Endpoint::Tcp(address)).is_some());
        new.remove(HERE);
        assert!(meet(&path).sockets(HERE).unwrap().is_empty());
        clean(&path);
    }

    #[test]
    fn nobody_there_is_no_error_and_nonsense_is() {
        let path = path("nobody");
        assert!(meet(&path).sockets(HERE).unwrap().is_empty());
        let stream = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = Predecessor::meet(&path).unwrap_err();
        assert!(matches!(error, HandoverError::Ask { .. }), "of another kind: {error}");
        drop(stream);
        assert!(meet(&path).sockets(HERE).unwrap().is_empty(), "left behind by one that was killed");
        fs::remove_file(&path).unwrap();
        let silent = wire::listen(&path).unwrap();
        let met = Predecessor::meet_patiently(&path, std::time::Duration::from_millis(50)).unwrap();
        let error = met.sockets(HERE).unwrap_err();
        assert!(error.to_string().contains("does not hand over"), "{error}");
        assert!(met.sockets(HERE).unwrap().is_empty(), "not asked again");
        drop(silent);
        let missing = path.with_file_name("no/such/directory");
        assert!(matches!(prepare(&missing), Err(HandoverError::Listen { .. })));
        clean(&path);
    }
}
