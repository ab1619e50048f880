//! One finished HTTP request or TCP connection at a waypoint, as plain data: what metrics, log lines and spans are made of.
//!
//! It borrows from whoever served the request, and is made on the spot when the request ends: nothing is copied for it.
//! Texts of the client's are octets, since headers are.
mod details;
mod flags;
mod headers;
mod peer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_core::hbone::TraceParent;
use adit_core::proxy::observed::ServiceLabels;

pub use self::details::{Details, ResetReason};
pub use self::flags::ResponseFlags;
pub use self::headers::{Headers, NoHeaders};
pub use self::peer::Peer;

/// What was spoken (`request_protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP, gRPC apart.
    Http,
    /// gRPC: the request's `content-type` begins with `application/grpc`.
    Grpc,
    /// Octets that nobody looked into, TLS passed through among them.
    Tcp,
}

impl Protocol {
    /// As metrics say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

/// The version of HTTP that the client spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// As log lines say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// How the client's connection was protected (`connection_security_policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Security {
    /// The client proved who it is, and so did we.
    MutualTls,
    /// It is known that it did not.
    None,
    /// Nothing is known.
    #[default]
    Unknown,
}

impl Security {
    /// As metrics say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MutualTls => "mutual_tls",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// Octets in one direction, as measured at the client's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Octets {
    /// Of the body; of a TCP connection: all.
    pub body: u64,
    /// Of headers, trailers and framing.
    pub head: u64,
}

impl Octets {
    /// All that was on the wire.
    #[must_use]
    pub const fn wire(self) -> u64 {
        self.body.saturating_add(self.head)
    }
}

/// The HTTP part of an exchange; all empty for a TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct Http<'a> {
    /// The method as it was written; empty when there was no request.
    pub method: &'a [u8],
    /// Path with query as the client sent it, before any rewriting.
    pub path: &'a [u8],
    /// `Host` or `:authority` as the client sent it.
    pub authority: &'a [u8],
    /// `http` or `https`; empty when unknown.
    pub scheme: &'a str,
    /// The version that the client spoke.
    pub version: Option<Version>,
    /// The status that the client was sent; 0 if there was none.
    pub status: u16,
    /// `x-forwarded-for` as it came.
    pub forwarded_for: &'a [u8],
    /// `user-agent`.
    pub user_agent: &'a [u8],
    /// `x-request-id`, the client's or ours.
    pub request_id: &'a [u8],
    /// The request's headers, as far as they are still known.
    pub request_headers: &'a dyn Headers,
    /// The answer's headers, likewise.
    pub response_headers: &'a dyn Headers,
    /// `Some` when it was gRPC.
    pub grpc: Option<Grpc>,
}

impl Default for Http<'_> {
    fn default() -> Self {
        Self {
            method: b"",
            path: b"",
            authority: b"",
            scheme: "",
            version: None,
            status: 0,
            forwarded_for: b"",
            user_agent: b"",
            request_id: b"",
            request_headers: &NoHeaders,
            response_headers: &NoHeaders,
            grpc: None,
        }
    }
}

/// What was seen of a gRPC call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Grpc {
    /// `grpc-status`, if it came.
    pub status: Option<u32>,
    /// Messages of the client's so far.
    pub request_messages: u64,
    /// Messages of the server's so far.
    pub response_messages: u64,
}

/// The server's side of an exchange; all empty when none was chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upstream<'a> {
    /// The endpoint (a pod's own address and target port).
    pub host: Option<SocketAddr>,
    /// The backend: service, port and subset, in our words.
    pub cluster: &'a str,
    /// Our end of the connection to it.
    pub local: Option<SocketAddr>,
    /// From the request's first octet sent on to the answer's head.
    pub service_time: Option<Duration>,
    /// Why the connection to it failed; empty when it did not.
    pub transport_failure: &'a str,
    /// The tunnel was there already.
    pub reused: bool,
    /// Attempts after the first.
    pub retries: u32,
}

/// The client's side of an exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Downstream<'a> {
    /// What it was connected to: the service's or the workload's address.
    pub local: Option<SocketAddr>,
    /// Who it is: the pod's address.
    pub remote: Option<SocketAddr>,
    /// The name its TLS asked for (TLS passed through); empty for none.
    pub server_name: &'a str,
}

/// Everything known about one HTTP request, or TCP connection, at a waypoint.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// When its first octet came.
    pub started: SystemTime,
    /// From then to its last.
    pub duration: Duration,
    /// What was spoken.
    pub protocol: Protocol,
    /// What is known of the HTTP in it.
    pub http: Http<'a>,
    /// What the client sent.
    pub received: Octets,
    /// What it was sent.
    pub sent: Octets,
    /// What was out of the ordinary.
    pub flags: ResponseFlags,
    /// Why the answer is what it is.
    pub details: Option<&'a Details>,
    /// Why the client's connection was ended by us; empty when it was not.
    pub termination: &'a str,
    /// The client's side.
    pub downstream: Downstream<'a>,
    /// The server's side.
    pub upstream: Upstream<'a>,
    /// The route's name; empty for none.
    pub route: &'a str,
    /// The client.
    pub source: Option<&'a Arc<Peer>>,
    /// The endpoint that was chosen.
    pub destination: Option<&'a Arc<Peer>>,
    /// The service that was addressed.
    pub service: Option<&'a Arc<ServiceLabels>>,
    /// How the client's connection was protected.
    pub security: Security,
    /// The policy that decided, `namespace/name`; empty for none.
    pub policy: &'a str,
    /// The request's own span.
    pub trace: Option<TraceParent>,
    /// The trace of the tunnel that it came through, as the node proxies' logs name it.
    pub connection: Option<TraceParent>,
}

impl Exchange<'_> {
    /// An exchange of which nothing is known but when it began and what was spoken.
    #[must_use]
    pub fn new(started: SystemTime, protocol: Protocol) -> Self {
        Self {
            started,
            duration: Duration::ZERO,
            protocol,
            http: Http::default(),
            received: Octets::default(),
            sent: Octets::default(),
            flags: ResponseFlags::NONE,
            details: None,
            termination: "",
            downstream: Downstream::default(),
            upstream: Upstream::default(),
            route: "",
            source: None,
            destination: None,
            service: None,
            security: Security::default(),
            policy: "",
            trace: None,
            connection: None,
        }
    }
}
