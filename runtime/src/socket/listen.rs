//! Listening sockets: binding them, accepting from them, and where a captured connection was going.
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use adit_core::proxy::Listener;
use rustix::net::{SocketFlags, acceptfrom_with, sockopt};
use socket2::{Domain, Protocol, SockRef, Type};

use super::options::{clear_transparent, set_transparent};
use super::{NetNs, SocketOptions, Transparency, canonical, internet, local_addr, netns};
use crate::turns::{Crew, Place};

/// Our listen queue. Upstream's is 128, which a burst of connections overflows.
pub(crate) const BACKLOG: usize = 4096;
/// Connections a shard accepts before it is another one's turn (see [`crate::turns`]). A tunnel carries many and is a block
/// of its own.
const BLOCK: usize = 32;

/// The wildcard address: `[::]`, which also takes IPv4, or `0.0.0.0` without IPv6 (Istio: `IPV6_ENABLED`).
#[must_use]
pub fn wildcard(ipv6: bool, port: u16) -> SocketAddr {
    if ipv6 { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() }
}

/// A listener to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerSpec {
    /// What it is for.
    pub listener: Listener,
    /// Where. `[::]` is dual-stack.
    pub address: SocketAddr,
    /// Whether to preserve source addresses.
    pub transparency: Transparency,
    /// `SO_REUSEPORT`: several processes share the port (Istio: `INPOD_PORT_REUSE`). Failure only warns. Without it
    /// a second proxy on the port fails to start.
    pub reuse_port: bool,
}

/// Why a listener could not be bound.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to bind to address {address}: {error}")]
pub struct BindError {
    /// The address that was wanted.
    pub address: SocketAddr,
    /// What the system said. (Shared, for [`io::Error`] cannot be cloned.)
    #[source]
    pub error: Arc<io::Error>,
}

/// A listening socket.
#[derive(Debug)]
pub struct BoundListener {
    listener: Listener,
    fd: Arc<OwnedFd>,
    transparent: bool,
    destination: Option<SocketAddr>,
    /// Where shards take turns.
    place: Option<Arc<Place>>,
}

/// A connection as it was accepted; addresses are canonical (no v4-mapped IPv6).
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The socket, non-blocking.
    pub(crate) fd: OwnedFd,
    /// The real TCP peer.
    pub(crate) peer: SocketAddr,
    /// Our address on this connection.
    pub(crate) local: SocketAddr,
    /// Where the peer meant to go.
    pub(crate) original: SocketAddr,
}

impl ListenerSpec {
    /// Binds and listens, with `options` for all that will be accepted.
    ///
    /// # Errors
    /// With the text upstream has for it, when the socket cannot be made, marked or bound, or cannot be made
    /// transparent under [`Transparency::Force`].
    pub fn bind(&self, options: &SocketOptions) -> Result<BoundListener, BindError> {
        self.bind_in(None, options)
    }

    /// As [`bind`](Self::bind), in `netns`.
    ///
    /// # Errors
    /// As there, or the namespace cannot be entered.
    pub fn bind_in(
        &self,
        netns: Option<&NetNs>,
        options: &SocketOptions,
    ) -> Result<BoundListener, BindError> {
        self.try_bind(netns, options)
            .map_err(|error| BindError { address: self.address, error: Arc::new(error) })
    }

    fn try_bind(&self, netns: Option<&NetNs>, options: &SocketOptions) -> io::Result<BoundListener> {
        let kind = Type::STREAM.nonblocking();
        let socket = netns::socket(netns, Domain::for_address(self.address), kind, Protocol::TCP)?;
        if self.address.is_ipv6() {
            socket.set_only_v6(!self.address.ip().is_unspecified())?;
        }
        // What a process that is gone has left behind does not stand in the way (and what is accepted here will not stand
        // in the way of the next).
        socket.set_reuse_address(!self.reuse_port)?;
        if self.reuse_port
            && let Err(error) = socket.set_reuse_port(true)
        {
            tracing::warn!(%error, address = %self.address, "failed to set SO_REUSEPORT");
        }
        let transparent = self.prepare(&socket, options)?;
        socket.bind(&self.address.into())?;
        socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
        Ok(self.bound(socket.into(), transparent))
    }

    /// As [`bind`](Self::bind), with a socket that listens at this address already: another process's
    /// ([`crate::handover`]).
    ///
    /// # Errors
    /// The options cannot be set.
    pub fn adopt(&self, socket: OwnedFd, options: &SocketOptions) -> Result<BoundListener, BindError> {
        let prepare = || {
            rustix::io::ioctl_fionbio(&socket, true)?;
            let given = SockRef::from(&socket);
            // The process before us may have had other settings.
            SocketOptions::clear(&given);
            clear_transparent(&given);
            given.set_reuse_port(self.reuse_port)?;
            given.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
            self.prepare(&socket, options)
        };
        match prepare() {
            Ok(transparent) => Ok(self.bound(socket, transparent)),
            Err(error) => Err(BindError { address: self.address, error: Arc::new(error) }),
        }
    }

    /// Sets what all that will be accepted inherits; says whether it is transparent.
    fn prepare(&self, socket: &impl AsFd, options: &SocketOptions) -> io::Result<bool> {
        let socket = SockRef::from(socket);
        options.apply(&socket)?;
        Ok(match self.transparency {
            Transparency::Never => false,
            Transparency::Try => set_transparent(&socket, self.address.ip()).is_ok(),
            Transparency::Force => set_transparent(&socket, self.address.ip()).map(|()| true)?,
        })
    }

    fn bound(&self, fd: OwnedFd, transparent: bool) -> BoundListener {
        BoundListener {
            listener: self.listener,
            fd: Arc::new(fd),
            transparent,
            destination: None,
            place: None,
        }
    }
}

impl BoundListener {
    /// What it is for.
    #[must_use]
    pub fn listener(&self) -> Listener {
        self.listener
    }

    /// Whether source addresses can be preserved for what it accepts.
    #[must_use]
    pub fn is_transparent(&self) -> bool {
        self.transparent
    }

    /// Makes it an entry for `destination`: whatever connects here counts as captured on its way there, with no
    /// redirection in place.
    #[must_use]
    pub fn leading_to(mut self, destination: SocketAddr) -> Self {
        self.destination = Some(destination);
        self
    }

    /// Accepts one connection.
    pub(crate) fn accept(&self) -> io::Result<Accepted> {
        accept(self.fd.as_fd(), self.listener, self.transparent, self.destination)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.fd)
    }

    /// The socket, to be handed over ([`crate::handover`]); it listens as long as this is held.
    #[must_use]
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }

    /// One for each shard of `crew`, in order: they share the socket and take turns at accepting. While there is little
    /// to do, only shard `home` accepts.
    #[must_use]
    pub fn share(self, crew: &Arc<Crew>, home: usize) -> Vec<Self> {
        let block = match self.listener {
            Listener::InboundHbone => 1,
            Listener::Outbound | Listener::InboundPlain | Listener::Socks5 => BLOCK,
        };
        let share = |place| Self {
            listener: self.listener,
            fd: Arc::clone(&self.fd),
            transparent: self.transparent,
            destination: self.destination,
            place: Some(Arc::new(place)),
        };
        crew.places(home, block).map(share).collect()
    }

    pub(crate) fn place(&self) -> Option<&Arc<Place>> {
        self.place.as_ref()
    }

    /// A descriptor of the socket, for a reactor.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

/// Accepts one connection from `fd`; it was going to `destination`, if given.
fn accept(
    fd: BorrowedFd<'_>,
    listener: Listener,
    transparent: bool,
    destination: Option<SocketAddr>,
) -> io::Result<Accepted> {
    let (fd, peer) = acceptfrom_with(fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    // A peer that is gone already may have no address any more.
    let peer = peer.map_or_else(|| Err(io::ErrorKind::ConnectionAborted.into()), internet)?;
    let local = local_addr(&fd)?;
    let original = match (destination, listener) {
        (Some(destination), _) => destination,
        // HBONE peers address us, and a SOCKS client names its destination later.
        (None, Listener::InboundHbone | Listener::Socks5) => local,
        (None, Listener::Outbound | Listener::InboundPlain) => original(fd.as_fd()).unwrap_or_else(|error| {
            // With TPROXY the local address is the original one, and nothing is wrong.
            if !transparent {
                tracing::warn!(%error, %peer, "no original destination; taking the local address");
            }
            local
        }),
    };
    Ok(Accepted { fd, peer, local, original })
}

/// Where a redirected connection was going, IPv4 first.
fn original(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let v4 = || sockopt::ip_original_dst(fd).map(SocketAddr::V4);
    let v6 = || sockopt::ipv6_original_dst(fd).map(SocketAddr::V6);
    Ok(canonical(v4().or_else(|_| v6())?))
}

#[cfg(test)]
mod tests {
    use super::super::Keepalive;
    use super::*;
    use std::net::TcpStream;
    use std::time::Duration;

    fn spec(address: &str) -> ListenerSpec {
        ListenerSpec {
            listener: Listener::InboundPlain,
            address: address.parse().unwrap(),
            transparency: Transparency::Never,
            reuse_port: false,
        }
    }

    #[test]
    fn accepted_sockets_inherit_the_options_and_know_their_addresses() {
        let keepalive =
            Keepalive { time: Duration::from_secs(7), interval: Duration::from_secs(8), retries: 3 };
        let options =
            SocketOptions { keepalive: Some(keepalive), user_timeout: true, ..SocketOptions::default() };
        let bound = spec("127.0.0.1:0").bind(&options).unwrap();
        let address = bound.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();

        let accepted = accept(bound.fd.as_fd(), Listener::InboundPlain, true, None).unwrap();
        assert_eq!(accepted.peer, client.local_addr().unwrap());
        assert_eq!((accepted.local, accepted.original), (address, address));
        let socket = SockRef::from(&accepted.fd);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.time);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive.interval);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive.retries);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7 + 3 * 8)));
        assert!(socket.nonblocking().unwrap());
    }

    #[test]
    fn an_entry_leads_everything_to_its_destination() {
        let destination: SocketAddr = "240.240.0.1:80".parse().unwrap();
        let bound = spec("127.0.0.1:0").bind(&SocketOptions::default()).unwrap().leading_to(destination);
        let _client = TcpStream::connect(bound.local_addr().unwrap()).unwrap();
        let accepted = accept(bound.fd.as_fd(), Listener::Outbound, false, bound.destination).unwrap();
        assert_eq!(accepted.original, destination);
    }

    #[test]
    fn shares_are_of_one_socket_and_nobody_else_gets_the_address() {
        let options = SocketOptions::default();
        let shares = spec("127.0.0.1:0").bind(&options).unwrap().share(&Crew::new(2), 0);
        let address = shares[0].local_addr().unwrap();
        assert_eq!(shares[1].local_addr().unwrap(), address);
        let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        for (at, _client) in clients.iter().enumerate() {
            accept(shares[at % 2].fd.as_fd(), Listener::Outbound, false, None).unwrap();
        }
        // Else a proxy that is restarted finds its port taken by what its predecessor has left behind.
        assert!(SockRef::from(&shares[0].fd).reuse_address().unwrap());
        assert!(ListenerSpec { address, ..spec("127.0.0.1:0") }.bind(&options).is_err());
    }

    // datapath §1.8. Marks need `CAP_NET_ADMIN`; without it there is nothing to see.
    #[test]
    fn listeners_and_what_they_accept_carry_the_mark() {
        let options = SocketOptions { mark: Some(0x539), ..SocketOptions::default() };
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(bound) = spec(address).bind(&options) else { continue };
            assert_eq!(SockRef::from(&bound.fd).mark().unwrap(), 0x539, "{address}");
            let _client = TcpStream::connect(bound.local_addr().unwrap()).unwrap();
            let accepted = accept(bound.fd.as_fd(), Listener::InboundPlain, true, None).unwrap();
            assert_eq!(SockRef::from(&accepted.fd).mark().unwrap(), 0x539, "{address}");
        }
    }

    #[test]
    fn an_address_is_shared_with_another_process_that_asks_for_it_and_no_other() {
        let options = SocketOptions::default();
        let shared = |address| ListenerSpec { address, reuse_port: true, ..spec("127.0.0.1:0") };
        let first = shared("127.0.0.1:0".parse().unwrap()).bind(&options).unwrap();
        let address = first.local_addr().unwrap();
        assert!(SockRef::from(&first.fd).reuse_port().unwrap());
        // As if another process did; the listener that goes first frees nothing of the other's.
        let second = shared(address).bind(&options).unwrap();
        drop(first);
        TcpStream::connect(address).unwrap();
        assert!(ListenerSpec { address, ..spec("127.0.0.1:0") }.bind(&options).is_err());
        drop(second);
    }

    #[test]
    fn a_taken_address_is_an_error_with_upstreams_text() {
        let options = SocketOptions::default();
        let bound = spec("127.0.0.1:0").bind(&options).unwrap();
        let address = bound.local_addr().unwrap();
        let error = ListenerSpec { address, ..spec("127.0.0.1:0") }.bind(&options).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("failed to bind to address {address}: ")), "{text}");
    }

    #[test]
    fn a_wildcard_takes_both_families_and_shows_v4_peers_as_v4() {
        let Ok(bound) =
            (ListenerSpec { address: wildcard(true, 0), ..spec("[::]:0") }).bind(&SocketOptions::default())
        else {
            return; // a machine without IPv6
        };
        let port = bound.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let accepted = accept(bound.fd.as_fd(), Listener::InboundHbone, false, None).unwrap();
        assert_eq!(accepted.peer, client.local_addr().unwrap());
        assert_eq!(accepted.original, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
}
