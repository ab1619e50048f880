//! Hosts on one link: a namespace each, joined by a bridge in a namespace of its own.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Namespace, Result};

/// A bridge that hosts hang on. Nothing of it is seen outside.
#[derive(Debug)]
pub struct Network {
    bridge: Namespace,
    hosts: u8,
}

/// A host with an IPv4 and an IPv6 address; everything it does not know it sends to the link.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Network {
    /// An empty network.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn new() -> Result<Self> {
        let bridge = Namespace::new("bridge")?;
        bridge.ip("link add bridge type bridge")?;
        bridge.ip("link set bridge up")?;
        Ok(Self { bridge, hosts: 0 })
    }

    /// Adds a host.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn host(&mut self, role: &str) -> Result<Host> {
        self.hosts += 1;
        let number = self.hosts;
        let v4 = Ipv4Addr::new(10, 77, 0, number);
        let v6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into());
        let namespace = Namespace::new(role)?;
        let bridge = self.bridge.name();
        namespace.ip(&format!("link add eth0 type veth peer name port{number} netns {bridge}"))?;
        self.bridge.ip(&format!("link set port{number} master bridge up"))?;
        namespace.ip("link set eth0 up")?;
        namespace.ip(&format!("address add {v4}/24 dev eth0"))?;
        // Duplicate address detection would keep the address from being used for a second.
        namespace.ip(&format!("address add {v6}/64 dev eth0 nodad"))?;
        // So that service addresses have a route, without which no packet comes as far as the rules.
        namespace.ip("route add default dev eth0")?;
        namespace.ip("-6 route add default dev eth0")?;
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
}
