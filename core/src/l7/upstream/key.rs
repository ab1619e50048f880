//! The key of a request, by which requests that belong together go to one endpoint (Istio: `consistentHash`).
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::l7::facts::{cookies, header, parameter};
use crate::l7::{KeyHash, Request};
use crate::rng::Rng;

/// Where the key is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// `httpHeaderName`, in lower case.
    Header(Box<str>),
    /// `httpCookie`.
    Cookie(CookieKey),
    /// `useSourceIp`.
    SourceIp,
    /// `httpQueryParameterName`.
    Query(Box<str>),
}

/// A cookie that is the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CookieKey {
    /// Its name.
    pub name: Box<str>,
    /// For which paths a new one is; empty: as the client thinks.
    pub path: Box<str>,
    /// How long a new one is kept; zero: until the client ends. `None`: no cookie is made.
    pub ttl: Option<Duration>,
    /// Further attributes of a new one, with their values, if they have any.
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

/// A cookie that a client is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshCookie {
    /// The key of this request already.
    pub key: KeyHash,
    /// The header `set-cookie` of the answer.
    pub set_cookie: String,
}

impl KeySource {
    /// The key of `request`, if it has one. `client` is where it comes from.
    #[must_use]
    pub fn key(&self, request: &impl Request, client: Option<IpAddr>) -> Option<KeyHash> {
        let hash = |octets: &[u8]| KeyHash::default().with(octets);
        match self {
            Self::Header(name) => header(request, name).map(|value| hash(&value)),
            Self::Cookie(cookie) => cookie_value(request, &cookie.name).map(hash),
            Self::SourceIp => client.map(|ip| match ip.to_canonical() {
                IpAddr::V4(ip) => hash(&ip.octets()),
                IpAddr::V6(ip) => hash(&ip.octets()),
            }),
            Self::Query(name) => parameter(request.query(), name).map(|value| hash(&value)),
        }
    }

    /// A key for a request that has none, if one is to be made: the client brings it again.
    #[must_use]
    pub fn fresh(&self, rng: &mut Rng) -> Option<FreshCookie> {
        let Self::Cookie(CookieKey { name, path, ttl: Some(ttl), attributes }) = self else { return None };
        let value = format!("{:016x}", rng.next_u64());
        let key = KeyHash::default().with(value.as_bytes());
        let mut set_cookie = format!("{name}=\"{value}\"");
        if !ttl.is_zero() {
            set_cookie.push_str(&format!("; Max-Age={}", ttl.as_secs()));
        }
        if !path.is_empty() {
            set_cookie.push_str(&format!("; Path={path}"));
        }
        for (name, value) in attributes {
            let is = if value.is_empty() { "" } else { "=" };
            set_cookie.push_str(&format!("; {name}{is}{value}"));
        }
        set_cookie.push_str("; HttpOnly");
        Some(FreshCookie { key, set_cookie })
    }
}

/// The value of the first cookie of this name, without quotes (RFC 6265 §4.2.1).
fn cookie_value<'a>(request: &'a impl Request, name: &str) -> Option<&'a [u8]> {
    let value = cookies(request, name).next()?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::l7::tests::Asked;

    fn cookie(ttl: Option<u64>) -> KeySource {
        let ttl = ttl.map(Duration::from_secs);
        KeySource::Cookie(CookieKey { name: "user".into(), path: "/".into(), ttl, attributes: vec![] })
    }

    #[test]
    fn each_source_gives_the_key_that_is_there() {
        let asked =
            Asked::get("/?a=%31&user=q").with("x-user", "h").with("cookie", "user2=x; user=\"c\"; user=d");
        let ip = Some("::ffff:10.0.0.1".parse().unwrap());
        for (source, expected) in [
            (KeySource::Header("x-user".into()), Some(&b"h"[..])),
            (KeySource::Header("x-other".into()), None),
            (KeySource::Query("user".into()), Some(b"q")),
            (KeySource::Query("a".into()), Some(b"1")),
            (KeySource::Query("b".into()), None),
            (cookie(None), Some(b"c")),
            (KeySource::SourceIp, Some(&[10, 0, 0, 1])),
        ] {
            let key = source.key(&asked, ip);
            assert_eq!(key, expected.map(|octets| KeyHash::default().with(octets)), "{source:?}");
        }
        assert_eq!(cookie(None).key(&Asked::get("/"), ip), None);
        assert_eq!(KeySource::SourceIp.key(&asked, None), None);
    }

    #[test]
    fn a_cookie_that_is_made_is_the_key_of_the_next_request() {
        let mut rng = Rng::new(1);
        let FreshCookie { key, set_cookie } = cookie(Some(60)).fresh(&mut rng).unwrap();
        let (pair, rest) = set_cookie.split_once("; ").unwrap();
        assert_eq!(rest, "Max-Age=60; Path=/; HttpOnly");
        assert_eq!(cookie(Some(60)).key(&Asked::get("/").with("cookie", pair), None), Some(key));
        let session = cookie(Some(0)).fresh(&mut rng).unwrap().set_cookie;
        assert!(!session.contains("Max-Age"), "{session}");
        assert_eq!(cookie(None).fresh(&mut rng), None);
        assert_eq!(KeySource::SourceIp.fresh(&mut rng), None);
        let attributes = vec![("SameSite".into(), "Strict".into()), ("Secure".into(), "".into())];
        let odd = CookieKey { name: "n".into(), path: "".into(), ttl: Some(Duration::ZERO), attributes };
        let odd = KeySource::Cookie(odd).fresh(&mut rng).unwrap().set_cookie;
        assert!(odd.ends_with("\"; SameSite=Strict; Secure; HttpOnly"), "{odd}");
    }
}
