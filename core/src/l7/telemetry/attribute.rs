//! What expressions can ask about an exchange, and the values they compute with (Envoy: attributes; waypoint.md §18.5).
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

/// The type of a value; known of every expression before it is ever computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// An integer.
    Int,
    /// Octets, mostly text.
    Text,
    /// A time span.
    Duration,
}

impl Type {
    /// As it is named in errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Text => "string",
            Self::Duration => "duration",
        }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// There is none: no such header, no answer yet. What is computed from it is absent too, as an error is in CEL.
    Absent,
    /// A truth.
    Bool(bool),
    /// A number.
    Int(i64),
    /// Octets; a peer's word, maybe.
    Text(Cow<'a, [u8]>),
    /// Nanoseconds.
    Duration(i64),
}

impl<'a> Value<'a> {
    /// Octets that are there already; none are absent.
    #[must_use]
    pub const fn text(octets: &'a [u8]) -> Self {
        match octets.is_empty() {
            true => Self::Absent,
            false => Self::Text(Cow::Borrowed(octets)),
        }
    }

    /// A text made for this.
    #[must_use]
    pub fn made(text: String) -> Self {
        Self::Text(Cow::Owned(text.into_bytes()))
    }

    /// A number that has no sign; beyond the greatest there is, that.
    #[must_use]
    pub fn count(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// As a text: what a label or a tag with this value says. `None` when absent.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Bool(truth) => Some(truth.to_string()),
            Self::Int(number) => Some(number.to_string()),
            Self::Text(octets) => Some(String::from_utf8_lossy(octets).into_owned()),
            Self::Duration(nanos) => {
                let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
                let text = format!("{seconds}.{rest:09}");
                Some(format!("{}s", text.trim_end_matches('0').trim_end_matches('.')))
            }
        }
    }
}

/// Which end of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// `downstream_peer`: the client.
    Downstream,
    /// `upstream_peer`: the endpoint.
    Upstream,
}

/// What is known of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerField {
    /// `name`: of the pod.
    Name,
    /// `namespace`.
    Namespace,
    /// `workload`: the pod's owner.
    Workload,
    /// `type` of the owner.
    Kind,
    /// `app`.
    App,
    /// `version`.
    Version,
    /// `service`: the canonical service.
    Service,
    /// `revision`: the canonical revision.
    Revision,
    /// `cluster`.
    Cluster,
    /// `identity`: `spiffe://…`.
    Identity,
}

macro_rules! attributes {
    ($($(#[$doc:meta])* $name:ident = $path:literal, $kind:ident;)+) => {
        /// Something about an exchange that expressions can ask for.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Attribute {
            $($(#[$doc])* $name,)+
            /// `request.headers['…']`, the name in lower case.
            RequestHeader(
                /// The name.
                Box<str>,
            ),
            /// `response.headers['…']`, the name in lower case.
            ResponseHeader(
                /// The name.
                Box<str>,
            ),
            /// `downstream_peer.…` and `upstream_peer.…`.
            Peer(
                /// Whose.
                Side,
                /// What.
                PeerField,
            ),
        }

        impl Attribute {
            /// The attribute of a path such as `request.method`; headers are none, as they have brackets.
            #[must_use]
            pub fn of(path: &str) -> Option<Self> {
                match path {
                    $($path => Some(Self::$name),)+
                    _ => Self::peer(path),
                }
            }

            /// What it gives, where it gives anything.
            #[must_use]
            pub const fn kind(&self) -> Type {
                match self {
                    $(Self::$name => Type::$kind,)+
                    Self::RequestHeader(_) | Self::ResponseHeader(_) | Self::Peer(..) => Type::Text,
                }
            }
        }
    };
}

attributes! {
    /// The method.
    RequestMethod = "request.method", Text;
    /// Path with query.
    RequestPath = "request.path", Text;
    /// Path without query.
    RequestUrlPath = "request.url_path", Text;
    /// Query.
    RequestQuery = "request.query", Text;
    /// `Host` or `:authority`.
    RequestHost = "request.host", Text;
    /// `http` or `https`.
    RequestScheme = "request.scheme", Text;
    /// `HTTP/1.1` or `HTTP/2`.
    RequestProtocol = "request.protocol", Text;
    /// `user-agent`.
    RequestUserAgent = "request.useragent", Text;
    /// `x-request-id`.
    RequestId = "request.id", Text;
    /// Octets of the body.
    RequestSize = "request.size", Int;
    /// Octets of body and head.
    RequestTotalSize = "request.total_size", Int;
    /// How long all took.
    RequestDuration = "request.duration", Duration;
    /// The status; absent when there was none.
    ResponseCode = "response.code", Int;
    /// Why.
    ResponseCodeDetails = "response.code_details", Text;
    /// Response flags as bits.
    ResponseFlags = "response.flags", Int;
    /// `grpc-status`; absent when there was none.
    ResponseGrpcStatus = "response.grpc_status", Int;
    /// Octets of the body.
    ResponseSize = "response.size", Int;
    /// Octets of body and head.
    ResponseTotalSize = "response.total_size", Int;
    /// The client's address and port.
    SourceAddress = "source.address", Text;
    /// The client's port.
    SourcePort = "source.port", Int;
    /// The client's identity, `spiffe://…`.
    SourcePrincipal = "source.principal", Text;
    /// The address and port it was connected to.
    DestinationAddress = "destination.address", Text;
    /// The port it was connected to.
    DestinationPort = "destination.port", Int;
    /// Whether the client proved its identity.
    ConnectionMtls = "connection.mtls", Bool;
    /// The name that its TLS asked for.
    ConnectionRequestedServerName = "connection.requested_server_name", Text;
    /// The client's identity.
    ConnectionUriSanPeerCertificate = "connection.uri_san_peer_certificate", Text;
    /// Why its connection was ended.
    ConnectionTerminationDetails = "connection.termination_details", Text;
    /// The endpoint's address and port.
    UpstreamAddress = "upstream.address", Text;
    /// The endpoint's port.
    UpstreamPort = "upstream.port", Int;
    /// Why the connection to it failed.
    UpstreamTransportFailureReason = "upstream.transport_failure_reason", Text;
    /// The backend.
    ClusterName = "xds.cluster_name", Text;
    /// The route.
    RouteName = "xds.route_name", Text;
}

impl Attribute {
    fn peer(path: &str) -> Option<Self> {
        let (side, field) = path.split_once('.')?;
        let side = match side {
            "downstream_peer" => Side::Downstream,
            "upstream_peer" => Side::Upstream,
            _ => return None,
        };
        let field = match field {
            "name" => PeerField::Name,
            "namespace" => PeerField::Namespace,
            "workload" => PeerField::Workload,
            "type" => PeerField::Kind,
            "app" => PeerField::App,
            "version" => PeerField::Version,
            "service" => PeerField::Service,
            "revision" => PeerField::Revision,
            "cluster" => PeerField::Cluster,
            "identity" => PeerField::Identity,
            _ => return None,
        };
        Some(Self::Peer(side, field))
    }
}

/// Who can answer about an exchange.
pub trait Attributes {
    /// The value of an attribute: of its [`kind`](Attribute::kind), or absent.
    fn get<'a>(&'a self, attribute: &'a Attribute) -> Value<'a>;
}
