//! Network namespaces: making sockets in a pod's, from a thread that lives in the node's.
//!
//! A socket belongs to the namespace in which it was made, for good; from then on any thread may bind, connect and use it.
//! So a thread enters a pod's namespace for the one call, and leaves it at once (datapath §1.2).
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};

/// A network namespace. It lives at least as long as this, or a clone.
#[derive(Clone, Debug)]
pub struct NetNs(Arc<OwnedFd>);

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The namespace the process was started in, which its threads live in.
static HOME: OnceLock<File> = OnceLock::new();

thread_local! {
    static AWAY: Cell<bool> = const { Cell::new(false) };
}

/// Brings the thread home, whatever happened meanwhile.
struct Away<'a>(&'a File);

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if let Err(error) = move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)) {
            // From here on this thread would do one pod's work in another's network.
            tracing::error!(%error, "cannot return to the node's network namespace: the process ends");
            eprintln!("cannot return to the node's network namespace: {error}");
            std::process::abort();
        }
        AWAY.set(false);
    }
}

impl NetNs {
    /// The namespace that `fd` refers to (`/proc/PID/ns/net`, or what a CNI agent sends).
    #[must_use]
    pub const fn new(fd: Arc<OwnedFd>) -> Self {
        Self(fd)
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn current() -> io::Result<Self> {
        let file = File::open("/proc/thread-self/ns/net")?;
        Ok(Self(Arc::new(file.into())))
    }

    /// Runs `call` with the calling thread in this namespace, and brings the thread home. Needs `CAP_SYS_ADMIN`. If the thread
    /// cannot be brought home the process aborts. `call` must not block, nor enter another.
    ///
    /// # Errors
    /// The namespace cannot be entered; `call` was not run.
    pub fn enter<T>(&self, call: impl FnOnce() -> T) -> io::Result<T> {
        if AWAY.get() {
            return Err(io::Error::other("the thread is in another network namespace already"));
        }
        // This thread is at home, wherever another may be at the moment.
        let home = match HOME.get() {
            Some(home) => home,
            None => {
                let file = File::open("/proc/thread-self/ns/net")?;
                HOME.get_or_init(|| file)
            }
        };
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
        AWAY.set(true);
        let _away = Away(home);
        Ok(call())
    }
}

/// A socket in `netns`, or where the thread lives.
pub(crate) fn socket(
    netns: Option<&NetNs>,
    domain: Domain,
    kind: Type,
    protocol: Protocol,
) -> io::Result<Socket> {
    let make = || Socket::new(domain, kind, Some(protocol));
    match netns {
        None => make(),
        Some(netns) => netns.enter(make)?,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::fs::MetadataExt;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn inode() -> u64 {
        std::fs::metadata("/proc/thread-self/ns/net").unwrap().st_ino()
    }

    /// Another namespace, where this process may make one.
    #[expect(deprecated, reason = "unsafe only with a flag about descriptors")]
    fn other() -> Option<NetNs> {
        let made = std::thread::spawn(|| {
            let flags = rustix::thread::UnshareFlags::NEWNET;
            rustix::thread::unshare(flags).ok().and_then(|()| NetNs::current().ok())
        });
        made.join().unwrap()
    }

    #[test]
    fn a_call_runs_elsewhere_and_the_thread_comes_home() {
        let Some(other) = other() else { return };
        let home = inode();
        let there = other.enter(inode).unwrap();
        assert_ne!(there, home);
        assert_eq!(inode(), home);
        // What is made there stays there: nothing is up in it, so that not even loopback is reached.
        let socket = socket(Some(&other), Domain::IPV4, Type::STREAM, Protocol::TCP).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = socket.connect(&listener.local_addr().unwrap().into()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
        // No call within a call: the way home would be the wrong one.
        assert!(other.enter(|| other.enter(inode)).unwrap().is_err());
        assert_eq!(inode(), home);
        let panicked = catch_unwind(AssertUnwindSafe(|| other.enter(|| panic!("on purpose"))));
        assert!(panicked.is_err());
        assert_eq!((inode(), other.enter(inode).unwrap()), (home, there));
    }

    #[test]
    fn what_is_no_namespace_is_not_entered() {
        let file = File::open("/proc/self/stat").unwrap();
        let none = NetNs::new(Arc::new(file.into()));
        let before = inode();
        assert!(none.enter(|| unreachable!()).is_err());
        assert_eq!(inode(), before);
    }
}
