//! The `forwarded` header (RFC 7239; datapath §3.1).
use alloc::string::String;
use alloc::sync::Arc;
use core::net::SocketAddr;

use super::Authority;
use super::authority::fmt_address;
use super::baggage::visible;
use crate::http2::is_token;

/// Who opened the user connection, and which host it meant. Unproven: good for telemetry, never for policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Forwarded {
    /// `for`: the user connection's source.
    pub source: Option<SocketAddr>,
    /// `host`: the intended service.
    pub host: Option<Arc<str>>,
}

impl Forwarded {
    /// Parses any octets. Only the first element counts, the one nearest to the user; in it the first `for` with an
    /// address and port, and the first `host` that is not empty. Other parameters, escapes in quoted strings, and what is
    /// malformed are passed over; `None` when nothing is left.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut rest = visible(value)?;
        let mut forwarded = Self { source: None, host: None };
        loop {
            let (pair, end) = split_pair(rest);
            forwarded.take(pair);
            match end {
                Some((';', after)) => rest = after,
                Some(_) | None => break,
            }
        }
        (forwarded.source.is_some() || forwarded.host.is_some()).then_some(forwarded)
    }

    fn take(&mut self, pair: &str) {
        let Some((name, value)) = pair.split_once('=') else { return };
        let (name, value) = (name.trim_ascii(), value.trim_ascii());
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').unwrap_or_default(),
            None => value,
        };
        if value.is_empty() || value.contains(['"', '\\']) {
            return;
        }
        if name.eq_ignore_ascii_case("for") && self.source.is_none() {
            if let Ok(Authority::Address(source)) = Authority::parse(value.as_bytes()) {
                self.source = Some(source);
            }
        } else if name.eq_ignore_ascii_case("host") && self.host.is_none() {
            self.host = Some(value.into());
        }
    }

    /// The header's value: `for="IP:PORT"` and `host=NAME`, each if present, with `;` between; so it may be empty.
    ///
    /// A host that is no token (RFC 7239 §4) is quoted; one that would need escapes is left out.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// As [`encode`](Self::encode), behind what is in `out`.
    pub(super) fn write(&self, out: &mut String) {
        if let Some(source) = &self.source {
            out.push_str("for=\"");
            // Writing to a String cannot fail.
            let _ = fmt_address(source, out);
            out.push('"');
        }
        let host = self.host.as_deref().filter(|host| is_carried(host));
        if let Some(host) = host {
            let separator = if self.source.is_none() { "" } else { ";" };
            let quote = if host.bytes().all(is_token) { "" } else { "\"" };
            for part in [separator, "host=", quote, host, quote] {
                out.push_str(part);
            }
        }
    }
}

/// The text up to the first `;` or `,` outside quotes, and that character with what follows it.
fn split_pair(text: &str) -> (&str, Option<(char, &str)>) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' | ',' if !quoted => {
                let (pair, rest) = text.split_at_checked(at).unwrap_or((text, ""));
                return (pair, rest.strip_prefix(c).map(|rest| (c, rest)));
            }
            _ => {}
        }
    }
    (text, None)
}

fn is_carried(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddrV6};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn forwarded(source: Option<&str>, host: Option<&str>) -> Forwarded {
        Forwarded { source: source.map(|s| s.parse().unwrap()), host: host.map(Into::into) }
    }

    #[test]
    fn as_istio_writes_it() {
        for (text, source, host) in [
            (r#"for="10.0.0.1:1234""#, Some("10.0.0.1:1234"), None),
            (r#"for="[2001:db8::1]:1234""#, Some("[2001:db8::1]:1234"), None),
            (
                r#"for="10.0.0.1:1234";host=a.b.svc.cluster.local"#,
                Some("10.0.0.1:1234"),
                Some("a.b.svc.cluster.local"),
            ),
            ("host=a.b", None, Some("a.b")),
            (r#"host="a.b:80""#, None, Some("a.b:80")),
        ] {
            let expected = forwarded(source, host);
            assert_eq!(expected.encode(), text);
            assert_eq!(Forwarded::parse(text.as_bytes()), Some(expected));
        }
        assert_eq!(forwarded(None, None).encode(), "");
    }

    #[test]
    fn as_others_may_write_it() {
        let both = Some(forwarded(Some("10.0.0.1:1"), Some("h")));
        for (text, expected) in [
            (r#"For="10.0.0.1:1";HOST="h""#, both.clone()),
            (r#" host=h ; by=x; proto=http ;for=10.0.0.1:1 "#, both.clone()),
            (r#"for="10.0.0.1:1";host=h, for="10.0.0.2:2";host=i"#, both.clone()),
            (r#"for=unknown;for="10.0.0.1:1";for="10.0.0.2:2";host=;host=h;host=i"#, both.clone()),
            (r#"x="a;host=no,\";for=\"";host=h;for="10.0.0.1:1""#, both.clone()),
            (r#"for="[::ffff:10.0.0.1]:1";host=h"#, both),
            ("for=10.0.0.1;host=h", Some(forwarded(None, Some("h")))),
            ("for=_hidden;host=h", Some(forwarded(None, Some("h")))),
        ] {
            assert_eq!(Forwarded::parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn unusable_is_none() {
        for text in [
            &b""[..],
            b"host",
            b"host=",
            b"host=\"\"",
            b"host=\"h",
            b"host=\"",
            b"host=h\"",
            b"host=\"a\\\"b\"",
            b"host=h\xc3\xa9",
            b"host=h\0",
            b"for=\"10.0.0.1\"",
            b"for=\"[fe80::1%1]:80\"",
            b"by=\"10.0.0.1:80\"",
            b",host=h",
        ] {
            assert_eq!(Forwarded::parse(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn nothing_can_be_smuggled_in_a_host() {
        for host in ["", "a\"b", "a\\b", "a\r\nb", "a b", "é"] {
            assert_eq!(forwarded(None, Some(host)).encode(), "", "{host:?}");
        }
        assert_eq!(forwarded(None, Some("a;for=b,c")).encode(), r#"host="a;for=b,c""#);
        let local = SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, 3).into();
        assert_eq!(Forwarded { source: Some(local), host: None }.encode(), r#"for="[fe80::1]:80""#);
    }

    proptest! {
        #[test]
        fn any_octets_parse_or_not_and_what_parses_is_stable(
            value in prop_oneof![
                any::<Vec<u8>>(),
                r#"((for|host|x)="?[a-z0-9.:,;"\\ ]{0,12}"?[;,]?){0,4}"#.prop_map(String::into_bytes),
            ],
        ) {
            if let Some(parsed) = Forwarded::parse(&value) {
                let again = Forwarded::parse(parsed.encode().as_bytes());
                // A host with spaces is read, but not written.
                prop_assert!(again == Some(parsed.clone()) || parsed.host.is_some_and(|h| h.contains([' ', '\t'])));
            }
        }

        #[test]
        fn round_trip(source: Option<(IpAddr, u16)>, host in prop::option::of("[!#-\\[\\]-~]{1,20}")) {
            let source = source.map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port.max(1)));
            let forwarded = Forwarded { source, host: host.map(Into::into) };
            let expected = (forwarded.source.is_some() || forwarded.host.is_some()).then(|| forwarded.clone());
            prop_assert_eq!(Forwarded::parse(forwarded.encode().as_bytes()), expected);
        }
    }
}
