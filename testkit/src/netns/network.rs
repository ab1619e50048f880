//! Hosts on one link: a namespace each, joined by a bridge in a namespace of its own.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::{HarnessError, Namespace, Result};

/// How long connections of [`Host::connect`] wait for octets.
const SILENCE: Duration = Duration::from_secs(15);

/// A bridge that hosts hang on. Nothing of it is seen outside.
#[derive(Debug)]
pub struct Network {
    number: u8,
    bridge: Namespace,
    hosts: u8,
}

/// A host with an IPv4 and an IPv6 address; everything it does not know it sends to the link.
#[derive(Debug)]
pub struct Host {
    namespace: Arc<Namespace>,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Network {
    /// An empty network.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn new() -> Result<Self> {
        Self::numbered(0)
    }

    /// An empty network, the addresses in which are not those of networks with another number.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn numbered(number: u8) -> Result<Self> {
        let bridge = Namespace::new("bridge")?;
        bridge.ip("link add bridge type bridge")?;
        bridge.ip("link set bridge up")?;
        Ok(Self { number, bridge, hosts: 0 })
    }

    /// Adds a host.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn host(&mut self, role: &str) -> Result<Host> {
        let host = self.attach(Arc::new(Namespace::new(role)?))?;
        // So that service addresses have a route, without which no packet comes as far as the rules.
        let device = self.device();
        host.namespace.ip(&format!("route add default dev {device}"))?;
        host.namespace.ip(&format!("-6 route add default dev {device}"))?;
        Ok(host)
    }

    /// Puts a host of another network on this one too, as which it is returned.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn join(&mut self, host: &Host) -> Result<Host> {
        self.attach(Arc::clone(&host.namespace))
    }

    /// The namespace of the bridge, through which every frame between hosts goes.
    #[must_use]
    pub fn bridge(&self) -> &Namespace {
        &self.bridge
    }

    fn device(&self) -> String {
        format!("eth{}", self.number)
    }

    fn attach(&mut self, namespace: Arc<Namespace>) -> Result<Host> {
        self.hosts += 1;
        let (net, number, device) = (self.number, self.hosts, self.device());
        let v4 = Ipv4Addr::new(10, 77, net, number);
        let v6 = Ipv6Addr::new(0xfd77, 0, 0, net.into(), 0, 0, 0, number.into());
        let bridge = self.bridge.name();
        namespace.ip(&format!("link add {device} type veth peer name port{number} netns {bridge}"))?;
        self.bridge.ip(&format!("link set port{number} master bridge up"))?;
        namespace.ip(&format!("link set {device} up"))?;
        namespace.ip(&format!("address add {v4}/24 dev {device}"))?;
        // Duplicate address detection would keep the address from being used for a second.
        namespace.ip(&format!("address add {v6}/64 dev {device} nodad"))?;
        Ok(Host { namespace, v4, v6 })
    }
}

impl Host {
    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its address of the wanted family.
    #[must_use]
    pub fn address(&self, ipv6: bool) -> IpAddr {
        if ipv6 { self.v6.into() } else { self.v4.into() }
    }

    /// Connects from it. Reading and writing are bounded in time.
    ///
    /// # Errors
    /// Nobody takes the connection.
    pub fn connect(&self, to: impl Into<SocketAddr>) -> Result<TcpStream> {
        let to = to.into();
        let connected = self.namespace.enter(|| {
            let stream = TcpStream::connect_timeout(&to, SILENCE)?;
            stream.set_read_timeout(Some(SILENCE))?;
            stream.set_write_timeout(Some(SILENCE))?;
            Ok(stream)
        })?;
        connected.map_err(HarnessError::io(format!("connecting to {to} from {}", self.namespace.name())))
    }
}
