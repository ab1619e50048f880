//! Asking others whether a request may pass (CUSTOM policies, waypoint.md §11.11–11.12): what they are asked, and what their
//! answers mean. Pure: whoever has connections carries the messages.
//!
//! ```text
//!   Question ──▶ grpc::request ──▶ POST /envoy.service.auth.v3.Authorization/Check ──▶ grpc::answer ──┐
//!        └─────▶ http::request ──▶ the request's own method and path, no body of its own ──▶ http::answer ──▶ Answer
//! ```
pub mod grpc;
pub mod http;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use adit_core::identity::Identity;
use adit_core::l7::authz::Provider;
use adit_core::time::UnixTime;
use bytes::Bytes;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// When it came.
    pub time: UnixTime,
    /// Who calls.
    pub source: Option<&'a Identity>,
    /// From where.
    pub source_address: SocketAddr,
    /// Who we are.
    pub own: Option<&'a Identity>,
    /// What was asked for.
    pub destination: SocketAddr,
    /// Name in the client's own TLS greeting.
    pub sni: Option<&'a str>,
    /// The request; `None`: it is no HTTP.
    pub http: Option<HttpQuestion<'a>>,
}

/// A request that is asked about.
#[derive(Clone, Debug)]
pub struct HttpQuestion<'a> {
    /// Its method.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `Host` or `:authority`.
    pub authority: &'a str,
    /// Path and query, as the backend would get them.
    pub path: &'a str,
    /// Its headers, without `Host`.
    pub headers: &'a HeaderMap,
    /// Such as `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'a str,
    /// As much of the body as the provider is shown ([`Provider::body`]).
    pub body: Option<Body>,
}

/// The beginning of a body, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Its octets.
    pub octets: Bytes,
    /// There is more of it.
    pub partial: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request may go on, changed like this.
    Allow(Box<Changes>),
    /// It may not, and its client gets this.
    Deny(Box<Denied>),
    /// There is no answer, or none that makes sense. What follows is said by [`Answer::settled`].
    Failed(String),
}

/// What the client of a refused request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// For the access log: `ext_authz_denied` or `ext_authz_error`; the response flag is `UAEX`.
    pub details: &'static str,
}

impl Denied {
    /// A refusal by an authorizer. It does not look like success, or like an answer that is still to come.
    fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Box<Self> {
        let status = if status.as_u16() < 300 { StatusCode::FORBIDDEN } else { status };
        Box::new(Self { status, headers, body, details: "ext_authz_denied" })
    }
}

/// Changes of a request that may pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Headers of the request that go.
    pub remove: Vec<HeaderName>,
    /// Headers for the backend.
    pub request: Vec<Change>,
    /// Headers for the client, on the backend's answer.
    pub response: Vec<Change>,
    /// Query parameters that have this value then.
    pub query_set: Vec<(String, String)>,
    /// Query parameters that go.
    pub query_remove: Vec<String>,
}

/// A change of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub how: How,
    /// Its name.
    pub name: HeaderName,
    /// The value.
    pub value: HeaderValue,
}

/// How a header is changed (`HeaderAppendAction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// One more value.
    Append,
    /// If there is none.
    AddIfAbsent,
    /// In place of those that are there.
    Overwrite,
    /// In place of those that are there; if there are none, nothing.
    OverwriteIfThere,
}

impl Change {
    /// Does it.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let (name, value) = (self.name.clone(), self.value.clone());
        match (self.how, headers.contains_key(&name)) {
            (How::Append, _) => {
                headers.append(name, value);
            }
            (How::AddIfAbsent, true) | (How::OverwriteIfThere, false) => {}
            (How::AddIfAbsent, false) | (How::Overwrite, _) | (How::OverwriteIfThere, true) => {
                headers.insert(name, value);
            }
        }
    }
}

impl Changes {
    /// Changes the request for the backend.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for change in &self.request {
            change.apply(headers);
        }
    }

    /// The query that the backend gets, of a request that has this one.
    #[must_use]
    pub fn query(&self, query: Option<&str>) -> Option<String> {
        let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_owned();
        let gone = |pair: &str| {
            let name = name(pair);
            self.query_remove.contains(&name) || self.query_set.iter().any(|(set, _)| *set == name)
        };
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        let mut left: Vec<String> = pairs.filter(|pair| !gone(pair)).map(str::to_owned).collect();
        left.extend(self.query_set.iter().map(|(name, value)| format!("{name}={value}")));
        (!left.is_empty()).then(|| left.join("&"))
    }
}

impl Answer {
    /// What is done where there was no answer: the request passes, if the provider is configured so (`failOpen`), or is refused
    /// with the status of the configuration (`statusOnError`).
    ///
    /// # Errors
    /// The request is refused.
    pub fn settled(self, provider: &Provider) -> Result<Changes, Box<Denied>> {
        match self {
            Self::Allow(changes) => Ok(*changes),
            Self::Deny(denied) => Err(denied),
            Self::Failed(_) if provider.fail_open => Ok(Changes::default()),
            Self::Failed(_) => Err(Box::new(Denied {
                status: StatusCode::from_u16(provider.status_on_error).unwrap_or(StatusCode::FORBIDDEN),
                headers: HeaderMap::new(),
                body: Bytes::new(),
                details: "ext_authz_error",
            })),
        }
    }
}

/// Says whether the body that an authorizer is shown is all of it.
const PARTIAL: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");

/// Headers that say how a message is framed, or where it goes: nobody else's to change.
const OURS: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// A header that an authorizer may change.
fn theirs(name: &HeaderName) -> bool {
    !OURS.contains(&name.as_str())
}

/// Whether something can be in a query as it stands.
fn in_query(text: &str) -> bool {
    let uri = format!("/?{text}");
    !text.contains(['&', '#', '?']) && uri.parse::<Uri>().is_ok()
}
