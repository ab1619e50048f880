//! A pod and a host outside of it, whose listeners say which of them took a connection.
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use adit_node::capture::{Choice, Options, Request};
use adit_testkit::netns::{Host, Namespace, Network, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The mark of the proxy's own sockets.
pub(crate) const MARK: u32 = 1337;
/// Where applications listen.
pub(crate) const APP: u16 = 8080;
/// A port of nothing in particular, by UDP.
pub(crate) const OTHER: u16 = 5000;
/// Name servers.
pub(crate) const DNS: u16 = 53;
/// How long an answer may take; where none is expected, the tests do not wait.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const FAMILIES: [bool; 2] = [false, true];
pub(crate) const BACKENDS: [Choice; 2] = [Choice::Iptables, Choice::Nftables];

/// A pod, and a host outside of it; not captured yet.
pub(crate) struct World {
    pub(crate) pod: Host,
    pub(crate) outside: Host,
    _network: Network,
}

impl World {
    /// Starts all listeners. They end with the process: the threads hold their namespaces for as long.
    pub(crate) fn new() -> Result<Self> {
        let mut network = Network::new()?;
        let (pod, outside) = (network.host("pod")?, network.host("outside")?);
        for port in [15001, 15006, 15008, APP, DNS] {
            listen(&pod, port)?;
        }
        // As the DNS proxy does: answers must come from where the question was sent to.
        for loopback in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            answer(&pod, SocketAddr::new(loopback, 15053))?;
        }
        answer(&pod, (Ipv6Addr::UNSPECIFIED, OTHER).into())?;
        listen(&pod, 15053)?;
        for port in [APP, DNS] {
            listen(&outside, port)?;
        }
        for port in [DNS, OTHER] {
            answer(&outside, (Ipv6Addr::UNSPECIFIED, port).into())?;
        }
        Ok(Self { pod, outside, _network: network })
    }

    /// The file of the pod's namespace.
    pub(crate) fn netns(&self) -> PathBuf {
        netns(self.pod.namespace())
    }

    pub(crate) fn to_outside(&self, ipv6: bool, port: u16) -> SocketAddr {
        SocketAddr::new(self.outside.address(ipv6), port)
    }

    pub(crate) fn to_pod(&self, ipv6: bool, port: u16) -> SocketAddr {
        SocketAddr::new(self.pod.address(ipv6), port)
    }
}

/// The file of a namespace.
pub(crate) fn netns(namespace: &Namespace) -> PathBuf {
    PathBuf::from("/run/netns").join(namespace.name())
}

/// Rules by `backend`, with DNS capture.
pub(crate) fn request(backend: Choice) -> Request {
    Request { options: Options { dns: true, ..Options::default() }, backend, ipv4_only: false }
}

/// Takes connections to `port`, and says so on each.
pub(crate) fn listen(host: &Host, port: u16) -> Result<()> {
    let listener =
        host.namespace().enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("a port"))?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A probe, or a client that went away, needs no answer.
            let _ = stream.and_then(|mut stream| stream.write_all(port.to_string().as_bytes()));
        }
    });
    Ok(())
}

/// Answers datagrams to `address` with the number of its port.
fn answer(host: &Host, address: SocketAddr) -> Result<()> {
    let socket = host.namespace().enter(|| UdpSocket::bind(address).expect("a port"))?;
    thread::spawn(move || {
        while let Ok((_, peer)) = socket.recv_from(&mut [0; 64]) {
            let _ = socket.send_to(address.port().to_string().as_bytes(), peer);
        }
    });
    Ok(())
}

/// How to connect.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct As {
    /// With this mark.
    pub(crate) mark: Option<u32>,
    /// Under this address.
    pub(crate) source: Option<IpAddr>,
}

/// A socket of the proxy.
pub(crate) const PROXY: As = As { mark: Some(MARK), source: None };
/// One of an application.
pub(crate) const APPLICATION: As = As { mark: None, source: None };

/// The port of the listener that took a connection from `host` to `to`.
pub(crate) fn tcp(host: &Host, to: SocketAddr, by: As) -> Result<io::Result<u16>> {
    host.namespace().enter(|| {
        let socket = socket(to, by, Type::STREAM, Protocol::TCP)?;
        socket.connect_timeout(&SockAddr::from(to), PATIENCE)?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        said.parse().map_err(io::Error::other)
    })
}

/// The port of the socket that answered a datagram from `host` to `to`, which must seem to come from there.
pub(crate) fn udp(host: &Host, to: SocketAddr, by: As) -> Result<io::Result<u16>> {
    host.namespace().enter(|| {
        let socket = UdpSocket::from(socket(to, by, Type::DGRAM, Protocol::UDP)?);
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(to)?;
        socket.send(b"?")?;
        let mut said = [0; 16];
        let length = socket.recv(&mut said)?;
        String::from_utf8_lossy(said.get(..length).unwrap_or_default()).parse().map_err(io::Error::other)
    })
}

fn socket(to: SocketAddr, by: As, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
    if let Some(mark) = by.mark {
        socket.set_mark(mark)?;
    }
    if let Some(source) = by.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}
