//! The CONNECT target: `ip:port`, `[v6]:port` or `hostname:port` (datapath §3.1, §5.3).
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str;

/// Where a CONNECT asks to be taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Authority {
    /// An address. IPv4-mapped IPv6 addresses are parsed as the IPv4 address they stand for, so that no policy and no
    /// comparison sees one host under two names.
    Address(SocketAddr),
    /// A host name, in lower case when parsed, and its port.
    Host {
        /// The name, without a final dot.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
}

/// Why a text is no authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// There is no `:` with a port behind the host.
    #[error("authority has no port, expected HOST:PORT")]
    NoPort,
    /// The port is no number from 1 to 65535.
    #[error("port of the authority must be a number from 1 to 65535")]
    Port,
    /// There is nothing in front of the port.
    #[error("authority has no host, expected HOST:PORT")]
    NoHost,
    /// The host is neither an address nor a name.
    #[error("host of the authority must be an IPv4 address, an IPv6 address in brackets, or a DNS name")]
    Host,
}

impl Authority {
    /// Longest host name, in octets (RFC 1035 §2.3.4, as text).
    pub const MAX_HOST: usize = 253;

    /// Parses any octets. User, path, zone and percent-encoding are not part of an authority here.
    ///
    /// # Errors
    /// Any [`AuthorityError`].
    pub fn parse(text: &[u8]) -> Result<Self, AuthorityError> {
        let text = str::from_utf8(text).map_err(|_| AuthorityError::Host)?;
        if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(AuthorityError::Host)?;
            let port = port(rest.strip_prefix(':').ok_or(AuthorityError::NoPort)?)?;
            let ip: Ipv6Addr = host.parse().map_err(|_| AuthorityError::Host)?;
            return Ok(Self::Address(SocketAddr::new(ip.to_canonical(), port)));
        }
        let (host, digits) = text.rsplit_once(':').ok_or(AuthorityError::NoPort)?;
        let port = port(digits)?;
        if host.is_empty() {
            return Err(AuthorityError::NoHost);
        }
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            return Ok(Self::Address(SocketAddr::new(IpAddr::V4(ip), port)));
        }
        if !is_host_name(host) {
            return Err(AuthorityError::Host);
        }
        Ok(Self::Host { host: host.to_ascii_lowercase().into(), port })
    }

    /// Appends its text.
    pub(super) fn write(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Address(address) => fmt_address(address, out),
            Self::Host { host, port } => {
                out.push_str(host);
                fmt_port(*port, out)
            }
        };
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Host { port, .. } => *port,
        }
    }
}

/// Only digits: [`u16::from_str`](str::FromStr) would let a sign pass.
fn port(digits: &str) -> Result<u16, AuthorityError> {
    if !(1..=5).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AuthorityError::Port);
    }
    digits.parse().ok().filter(|&port| port != 0).ok_or(AuthorityError::Port)
}

/// Dot-separated labels of 1 to 63 letters, digits, `-` and `_`. A name whose last label is a number is none: it would be
/// a misspelt IPv4 address, which resolvers read in more than one way.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    text.len() <= Authority::MAX_HOST
        && text.split('.').all(is_label)
        && !text.rsplit('.').next().is_some_and(is_number)
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => fmt_address(address, f),
            Self::Host { host, port } => {
                f.write_str(host)?;
                fmt_port(*port, f)
            }
        }
    }
}

/// `ip:port` or `[v6]:port`. Unlike `SocketAddr`'s own text never with a zone, which means nothing to another host.
pub(super) fn fmt_address(address: &SocketAddr, f: &mut impl fmt::Write) -> fmt::Result {
    match address.ip() {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            fmt_decimal(first.into(), f)?;
            for octet in rest {
                f.write_char('.')?;
                fmt_decimal(octet.into(), f)?;
            }
        }
        IpAddr::V6(ip) => write!(f, "[{ip}]")?,
    }
    fmt_port(address.port(), f)
}

fn fmt_port(port: u16, f: &mut impl fmt::Write) -> fmt::Result {
    f.write_char(':')?;
    fmt_decimal(port, f)
}

/// As `write!` does it, in a tenth of the time: every connection has two addresses in its request.
fn fmt_decimal(number: u16, f: &mut impl fmt::Write) -> fmt::Result {
    let places = [10_000_u16, 1_000, 100, 10].into_iter().skip_while(|place| number < *place);
    for place in places.chain([1]) {
        let digit = number.checked_div(place).unwrap_or(0).checked_rem(10).unwrap_or(0);
        f.write_char(char::from_digit(digit.into(), 10).unwrap_or('0'))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::net::SocketAddrV6;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn host(host: &str, port: u16) -> Authority {
        Authority::Host { host: host.into(), port }
    }

    #[test]
    fn the_three_forms() {
        for (text, expected) in [
            ("1.2.3.4:80", Authority::Address("1.2.3.4:80".parse().unwrap())),
            ("[::1]:65535", Authority::Address("[::1]:65535".parse().unwrap())),
            ("[2001:db8::1]:15008", Authority::Address("[2001:db8::1]:15008".parse().unwrap())),
            ("server.default.svc.cluster.local:80", host("server.default.svc.cluster.local", 80)),
            ("a_b-c:1", host("a_b-c", 1)),
            ("1.2.3.4.example:80", host("1.2.3.4.example", 80)),
        ] {
            let parsed = Authority::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed, expected);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn one_host_has_one_spelling() {
        let v4 = Authority::Address("1.2.3.4:80".parse().unwrap());
        assert_eq!(Authority::parse(b"[::ffff:1.2.3.4]:80"), Ok(v4.clone()));
        assert_eq!(Authority::parse(b"1.2.3.4:00080"), Ok(v4));
        assert_eq!(Authority::parse(b"Example.COM:80"), Ok(host("example.com", 80)));
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        use AuthorityError::{Host, NoHost, NoPort, Port};
        for (text, reason) in [
            (&b""[..], NoPort),
            (b"1.2.3.4", NoPort),
            (b"host", NoPort),
            (b"[::1]", NoPort),
            (b"[::1]80", NoPort),
            (b"host:", Port),
            (b"host:0", Port),
            (b"host:65536", Port),
            (b"host:000080", Port),
            (b"host:+80", Port),
            (b"host:http", Port),
            (b"host:80/", Port),
            (b"[::1]:0", Port),
            (b":80", NoHost),
            (b"::1:80", Host),
            (b"[::1:80", Host),
            (b"[]:80", Host),
            (b"[1.2.3.4]:80", Host),
            (b"[fe80::1%1]:80", Host),
            (b"[fe80::1%25eth0]:80", Host),
            (b"user@host:80", Host),
            (b"http://host:80", Host),
            (b"a..b:80", Host),
            (b".a:80", Host),
            (b"a.:80", Host),
            (b"a b:80", Host),
            (b"*.example.com:80", Host),
            (b"ho%73t:80", Host),
            (b"h\xffst:80", Host),
            ("höst:80".as_bytes(), Host),
            (b"host\0:80", Host),
            (b"1.2.3.256:80", Host),
            (b"1.2.3:80", Host),
            (b"01.2.3.4:80", Host),
            (b"2130706433:80", Host),
        ] {
            assert_eq!(Authority::parse(text), Err(reason), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn lengths_at_the_limit_and_one_above() {
        let of = |lengths: &[usize]| {
            let name = lengths.iter().map(|&n| "a".repeat(n)).collect::<Vec<_>>().join(".");
            Authority::parse(format!("{name}:80").as_bytes())
        };
        assert!(of(&[63]).is_ok());
        assert_eq!(of(&[64]), Err(AuthorityError::Host));
        assert!(of(&[63, 63, 63, 61]).is_ok());
        assert_eq!(of(&[63, 63, 63, 62]), Err(AuthorityError::Host));
    }

    #[test]
    fn zone_of_a_local_address_is_not_written() {
        let local = SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 7, 3);
        assert_eq!(Authority::Address(local.into()).to_string(), "[fe80::1]:80");
    }

    proptest! {
        #[test]
        fn any_octets_parse_or_not_and_what_parses_is_stable(
            text in prop_oneof![
                any::<Vec<u8>>(),
                r"[\[\]a-zA-Z0-9.:%_-]{0,12}:[0-9]{0,6}".prop_map(String::into_bytes),
                r"\[[0-9a-f:.]{0,20}\]:[0-9]{1,5}".prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(authority) = Authority::parse(&text) {
                prop_assert_ne!(authority.port(), 0);
                prop_assert_eq!(Authority::parse(authority.to_string().as_bytes()), Ok(authority));
            }
        }

        #[test]
        fn every_address_round_trips(ip: IpAddr, port in 1u16..) {
            let address = SocketAddr::new(ip.to_canonical(), port);
            let text = Authority::Address(address).to_string();
            prop_assert_eq!(&text, &address.to_string());
            prop_assert_eq!(Authority::parse(text.as_bytes()), Ok(Authority::Address(address)));
        }
    }
}
