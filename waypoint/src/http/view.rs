//! A request as decisions see it, and headers as filters change them.
use adit_core::identity::Identity;
use adit_core::l7::{self, Scheme};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The head of a request, cleaned: what all decisions, attempts and records are made from.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// `Host` or `:authority`.
    pub(crate) authority: Box<str>,
    /// Normalised, without query.
    pub(crate) path: Box<str>,
    pub(crate) query: Option<Box<str>>,
    pub(crate) headers: HeaderMap,
    /// `application/grpc`, and what begins so.
    pub(crate) grpc: bool,
}

impl Head {
    /// Path and query as they are sent.
    pub(crate) fn target(&self, path: &str) -> String {
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// Says how it came, and takes off what the proxies on the way have seen to.
    pub(crate) fn forwarded(&mut self) {
        self.headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
        self.headers.remove(header::EXPECT);
    }

    /// Names who calls, to whoever has asked for that; `own` is who says so (waypoint.md §22.4).
    pub(crate) fn vouch(&mut self, own: &Identity, client: &Identity) {
        if let Ok(value) = HeaderValue::from_str(&format!("By={own};URI={client}")) {
            self.headers.insert(CLIENT_CERT, value);
        }
    }
}

impl l7::Request for Head {
    fn method(&self) -> &str {
        self.method.as_str()
    }

    /// TLS of the application's own is passed through unseen, so that no request is in it.
    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
    }
}

/// Headers that filters change. What is no header (a resource may say anything) is left out; whoever reads resources has
/// said so already.
pub(crate) struct Changed<'a>(pub(crate) &'a mut HeaderMap);

fn pair(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((name.parse().ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
}

impl l7::Headers for Changed<'_> {
    fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    fn set(&mut self, name: &str, value: &str) {
        if let Some((name, value)) = pair(name, value) {
            self.0.insert(name, value);
        }
    }

    fn append(&mut self, name: &str, value: &str) {
        if let Some((name, value)) = pair(name, value) {
            self.0.append(name, value);
        }
    }
}
