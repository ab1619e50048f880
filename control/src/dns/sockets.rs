//! The sockets of the DNS proxy: listening ones, and those that questions are relayed from.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Sockets that clients' questions come to.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For datagrams.
    pub udp: Vec<UdpSocket>,
    /// For connections.
    pub tcp: Vec<TcpListener>,
}

/// How listening sockets are made (datapath §1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenOptions {
    /// Mark of what they send (`SO_MARK`, needs `CAP_NET_ADMIN`): in a pod, redirection leaves it alone.
    pub mark: Option<u32>,
    /// `SO_REUSEPORT`: another process of the same user may listen there too.
    pub reuse_port: bool,
}

impl ListenOptions {
    /// Waiting TCP clients, as the standard library has it.
    const BACKLOG: i32 = 128;

    fn socket(self, address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if kind == Type::STREAM && !self.reuse_port {
            // What a process that is gone has left behind is not in the way.
            socket.set_reuse_address(true)?;
        }
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        socket.bind(&address.into())?;
        if kind == Type::STREAM {
            socket.listen(Self::BACKLOG)?;
        }
        Ok(socket)
    }
}

impl Listeners {
    /// Both kinds at `address`, in this thread's network namespace.
    ///
    /// # Errors
    /// It cannot be bound, or an option cannot be set; the text names the address.
    pub fn bind(address: SocketAddr, options: ListenOptions) -> io::Result<Self> {
        let socket = |kind, protocol, name: &str| {
            options.socket(address, kind, protocol).map_err(|error| {
                let text = format!("DNS proxy cannot listen on {address} ({name}): {error}");
                io::Error::new(error.kind(), text)
            })
        };
        let udp = socket(Type::DGRAM, Protocol::UDP, "UDP")?;
        let tcp = socket(Type::STREAM, Protocol::TCP, "TCP")?;
        Ok(Self { udp: vec![udp.into()], tcp: vec![tcp.into()] })
    }

    /// What `get` has for `port` of loopback: for IPv4, and for IPv6 where `ipv6` asks for it and the namespace has it.
    ///
    /// # Errors
    /// Those of `get`, but for an absent IPv6.
    pub fn on_loopback(
        port: u16,
        ipv6: bool,
        mut get: impl FnMut(SocketAddr) -> io::Result<Self>,
    ) -> io::Result<Self> {
        let mut listeners = get((Ipv4Addr::LOCALHOST, port).into())?;
        if ipv6 {
            match get((Ipv6Addr::LOCALHOST, port).into()) {
                Ok(six) => {
                    listeners.udp.extend(six.udp);
                    listeners.tcp.extend(six.tcp);
                }
                Err(error) if is_absent(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listeners)
    }
}

/// `EADDRNOTAVAIL`, and `EAFNOSUPPORT` where the kernel was built or booted without IPv6.
fn is_absent(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// Makes sockets to name servers. An implementation for another network namespace enters it for the call.
pub trait Egress: Send + Sync {
    /// A datagram socket, non-blocking, connected to `server` from a port that the kernel draws: with the message id, it
    /// is what somebody who forges responses must guess.
    ///
    /// # Errors
    /// What the kernel says.
    fn udp(&self, server: SocketAddr) -> io::Result<UdpSocket>;

    /// A stream socket, non-blocking, not connected yet, of the family of `server`.
    ///
    /// # Errors
    /// What the kernel says.
    fn tcp(&self, server: SocketAddr) -> io::Result<Socket>;
}

/// [`Egress`] in the thread's own network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direct {
    /// Mark of packets (`SO_MARK`, needs `CAP_NET_ADMIN`), so that redirection leaves them alone: else relayed questions
    /// come straight back. `None` where nothing redirects.
    pub mark: Option<u32>,
}

impl Direct {
    fn socket(self, server: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(server), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        Ok(socket)
    }
}

impl Egress for Direct {
    fn udp(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.socket(server, Type::DGRAM, Protocol::UDP)?;
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        socket.bind(&SocketAddr::new(any, 0).into())?;
        socket.connect(&server.into())?;
        Ok(socket.into())
    }

    fn tcp(&self, server: SocketAddr) -> io::Result<Socket> {
        self.socket(server, Type::STREAM, Protocol::TCP)
    }
}
