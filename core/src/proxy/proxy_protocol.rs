//! The PROXY protocol header, version 2, with which an application is told who calls it (datapath §5.4).
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt> §2.2.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::identity::Identity;

/// What every header of version 2 begins with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The TLV that carries the client's SPIFFE identity as text; of the range for custom use (§2.2.7).
pub const TLV_IDENTITY: u8 = 0xD0;

/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header for a connection from `source` to `destination`; IPv4-mapped addresses are IPv4. Addresses of two
/// families cannot be written: such a header has none, and only says who calls.
#[must_use]
pub fn header(source: SocketAddr, destination: SocketAddr, identity: Option<&Identity>) -> Vec<u8> {
    let mut body = Vec::new();
    let family = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            body.extend_from_slice(&from.octets());
            body.extend_from_slice(&to.octets());
            TCP_OVER_IPV4
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            body.extend_from_slice(&from.octets());
            body.extend_from_slice(&to.octets());
            TCP_OVER_IPV6
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => UNSPECIFIED,
    };
    if family != UNSPECIFIED {
        body.extend_from_slice(&source.port().to_be_bytes());
        body.extend_from_slice(&destination.port().to_be_bytes());
    }
    if let Some(identity) = identity {
        let text = identity.to_string();
        // `Identity::MAX_LENGTH` is far below what the length field holds.
        if let Ok(length) = u16::try_from(text.len()) {
            body.push(TLV_IDENTITY);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(text.as_bytes());
        }
    }
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut header = Vec::with_capacity(body.len().saturating_add(16));
    header.extend_from_slice(&SIGNATURE);
    header.extend_from_slice(&[VERSION_AND_COMMAND, family]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&body);
    header
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::string::String;
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    /// What a receiver reads: addresses, if any, and TLVs.
    type Read = (Option<(SocketAddr, SocketAddr)>, Vec<(u8, Vec<u8>)>);

    /// A receiver, written from the specification; `None` where it would refuse.
    fn read(header: &[u8]) -> Option<Read> {
        let rest = header.strip_prefix(&SIGNATURE)?;
        let (&[command, family, high, low], body) = rest.split_first_chunk::<4>()?;
        if command != 0x21 || body.len() != usize::from(u16::from_be_bytes([high, low])) {
            return None;
        }
        let port = |at: &[u8]| u16::from_be_bytes([at[0], at[1]]);
        let (addresses, mut tlvs) = match family {
            0x00 => (None, body),
            0x11 => {
                let (at, tlvs) = body.split_at_checked(12)?;
                let ip = |at: &[u8]| IpAddr::from(<[u8; 4]>::try_from(at).unwrap());
                let ends = (
                    SocketAddr::new(ip(&at[..4]), port(&at[8..])),
                    SocketAddr::new(ip(&at[4..8]), port(&at[10..])),
                );
                (Some(ends), tlvs)
            }
            0x21 => {
                let (at, tlvs) = body.split_at_checked(36)?;
                let ip = |at: &[u8]| IpAddr::from(<[u8; 16]>::try_from(at).unwrap());
                let ends = (
                    SocketAddr::new(ip(&at[..16]), port(&at[32..])),
                    SocketAddr::new(ip(&at[16..32]), port(&at[34..])),
                );
                (Some(ends), tlvs)
            }
            _ => return None,
        };
        let mut found = Vec::new();
        while !tlvs.is_empty() {
            let (&[kind, high, low], rest) = tlvs.split_first_chunk::<3>()?;
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
            found.push((kind, value.to_vec()));
            tlvs = rest;
        }
        Some((addresses, found))
    }

    #[test]
    fn the_octets_of_an_ipv4_header_with_identity() {
        let identity = Identity::new("td", "ns", "sa").unwrap();
        let header =
            header("10.0.0.1:4660".parse().unwrap(), "10.1.0.2:80".parse().unwrap(), Some(&identity));
        let mut expected = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x26".to_vec();
        expected.extend_from_slice(&[10, 0, 0, 1, 10, 1, 0, 2, 0x12, 0x34, 0, 80]);
        expected.extend_from_slice(b"\xd0\x00\x17spiffe://td/ns/ns/sa/sa");
        assert_eq!(header, expected);
    }

    #[test]
    fn the_longest_identity_fits() {
        let account: String = "s".repeat(Identity::MAX_LENGTH - "spiffe://td/ns/ns/sa/".len());
        let identity = Identity::new("td", "ns", &account).unwrap();
        let header = header("[::1]:1".parse().unwrap(), "[::2]:2".parse().unwrap(), Some(&identity));
        let (_, tlvs) = read(&header).unwrap();
        assert_eq!(tlvs, vec![(TLV_IDENTITY, identity.to_string().into_bytes())]);
        assert!(header.len() <= crate::buffer::Class::Record.octets());
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        let v4 = any::<Ipv4Addr>().prop_map(IpAddr::V4);
        let mapped = any::<Ipv4Addr>().prop_map(|ip| IpAddr::V6(ip.to_ipv6_mapped()));
        let v6 = any::<Ipv6Addr>().prop_map(IpAddr::V6);
        (prop_oneof![v4, mapped, v6], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn a_receiver_reads_what_was_said(from in address(), to in address(), account in "[a-z]{0,40}") {
            let identity = Identity::new("td", "ns", &account).ok();
            let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
            let (canonical_from, canonical_to) = (canonical(from), canonical(to));
            let (addresses, tlvs) = read(&header(from, to, identity.as_ref())).unwrap();
            let same_family = canonical_from.is_ipv4() == canonical_to.is_ipv4();
            prop_assert_eq!(addresses, same_family.then_some((canonical_from, canonical_to)));
            let said: Vec<_> =
                identity.iter().map(|identity| (TLV_IDENTITY, identity.to_string().into_bytes())).collect();
            prop_assert_eq!(tlvs, said);
        }
    }
}
