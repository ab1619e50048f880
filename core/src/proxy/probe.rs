//! The destinations of capture probes: connections that a pod is made to open, to see whether they reach its proxy.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where probes go, by IPv4 and IPv6: the discard port of addresses that nobody has (TEST-NET-1 of RFC 5737, the
/// discard-only prefix of RFC 6666), so that what is not captured comes to no harm.
pub const PROBES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)), 9),
];

/// Whether a captured connection is a probe: it has reached its end when it has come to the proxy, and is closed without a
/// word in logs and metrics.
#[must_use]
pub fn is_probe(destination: SocketAddr) -> bool {
    PROBES.contains(&destination)
}
