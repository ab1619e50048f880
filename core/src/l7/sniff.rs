//! What a connection speaks, by its first octets, where nobody has declared it (waypoint.md §5.2).
use crate::http2::{PREFACE, is_token};

/// What the first octets of a client say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sniffed {
    /// A request line of HTTP/1 (RFC 9112 §3), or the beginning of one.
    Http1,
    /// The preface of HTTP/2 (RFC 9113 §3.4).
    Http2,
    /// Neither.
    Tcp,
    /// It may be any of these yet.
    More,
}

const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH "];

/// The longest request line, in octets, that is waited for where the method is not a common one.
const LONGEST_LINE: usize = 8192;

/// Looks at what has come so far, from the first octet on. With `LONGEST_LINE` octets it is decided.
#[must_use]
pub fn sniff(octets: &[u8]) -> Sniffed {
    if octets.starts_with(PREFACE) {
        return Sniffed::Http2;
    }
    if PREFACE.starts_with(octets) {
        return Sniffed::More;
    }
    if METHODS.iter().any(|method| octets.starts_with(method)) {
        return Sniffed::Http1;
    }
    // Methods of an application's own: only the end of the line tells them from any other text.
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let whole = line.len() < octets.len();
    let method = line.iter().take_while(|octet| is_token(**octet)).count();
    match line.get(method) {
        None if !whole && method < LONGEST_LINE => Sniffed::More,
        Some(b' ') if method > 0 => {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match whole {
                true if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") => Sniffed::Http1,
                false if octets.len() < LONGEST_LINE => Sniffed::More,
                true | false => Sniffed::Tcp,
            }
        }
        _ => Sniffed::Tcp,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_octets_tell() {
        for (octets, expected) in [
            (&b""[..], Sniffed::More),
            (b"PRI", Sniffed::More),
            (PREFACE, Sniffed::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Sniffed::Http2),
            (b"GET /", Sniffed::Http1),
            (b"GET", Sniffed::More),
            (b"PROPFIND /a HTTP/1.1\r\n", Sniffed::Http1),
            (b"PROPFIND /a HTTP/1.1", Sniffed::More),
            (b"PROPFIND /a HTTP/3\r\n", Sniffed::Tcp),
            (b"PRINT it\n", Sniffed::Tcp),
            (b"\x16\x03\x01", Sniffed::Tcp),
            (b"*1\r\n$4\r\nPING\r\n", Sniffed::Tcp),
            (b" GET / HTTP/1.1\r\n", Sniffed::Tcp),
            (b"EHLO\r\n", Sniffed::Tcp),
        ] {
            assert_eq!(sniff(octets), expected, "{:?}", alloc::string::String::from_utf8_lossy(octets));
        }
        assert_eq!(sniff(&vec![b'a'; LONGEST_LINE]), Sniffed::Tcp);
        assert_eq!(sniff(&[b"X ", &vec![b'a'; LONGEST_LINE][..]].concat()), Sniffed::Tcp);
    }

    proptest! {
        /// More octets never change what is decided.
        #[test]
        fn a_decision_stands(start in select(), more in prop::collection::vec(any::<u8>(), 0..40)) {
            let first = sniff(&start);
            let all = [start, more].concat();
            if first != Sniffed::More {
                prop_assert_eq!(sniff(&all), first);
            }
        }
    }

    fn select() -> impl Strategy<Value = Vec<u8>> {
        prop::sample::select(vec![
            "",
            "P",
            "PRI * ",
            "GET /x",
            "FOO / HTTP/1.1\r\n",
            "FOO",
            "x y",
            "\n",
            "a\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec())
    }
}
