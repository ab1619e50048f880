//! What expressions of `Telemetry` get to know of an exchange.
use std::net::SocketAddr;

use adit_core::l7::telemetry::{Attribute, Attributes, PeerField, Side, Value};

use super::record::{Exchange, Peer, Security};

fn shown(address: Option<SocketAddr>) -> Value<'static> {
    address.map_or(Value::Absent, |address| Value::made(address.to_string()))
}

fn port(address: Option<SocketAddr>) -> Value<'static> {
    address.map_or(Value::Absent, |address| Value::Int(address.port().into()))
}

fn identity(peer: Option<&Peer>) -> Value<'static> {
    let principal = peer.and_then(|peer| peer.principal.as_ref());
    principal.map_or(Value::Absent, |principal| Value::made(principal.to_string()))
}

fn header(value: Option<&[u8]>) -> Value<'_> {
    // A header may be there and empty.
    value.map_or(Value::Absent, |value| Value::Text(value.into()))
}

fn of_peer(peer: Option<&Peer>, field: PeerField) -> Value<'_> {
    let Some(known) = peer else { return Value::Absent };
    Value::text(match field {
        PeerField::Identity => return identity(peer),
        PeerField::Name => known.instance.as_bytes(),
        PeerField::Namespace => known.namespace.as_bytes(),
        PeerField::Workload => known.workload.as_bytes(),
        PeerField::Kind => known.workload_type.map_or(&b""[..], |kind| kind.as_str().as_bytes()),
        PeerField::App => known.app.as_bytes(),
        PeerField::Version => known.version.as_bytes(),
        PeerField::Service => known.canonical_service.as_bytes(),
        PeerField::Revision => known.canonical_revision.as_bytes(),
        PeerField::Cluster => known.cluster.as_bytes(),
    })
}

impl Exchange<'_> {
    /// The path without query, and the query.
    fn path_and_query(&self) -> (&[u8], &[u8]) {
        match self.http.path.iter().position(|octet| *octet == b'?') {
            Some(at) => (&self.http.path[..at], &self.http.path[at + 1..]),
            None => (self.http.path, b""),
        }
    }

    fn peer(&self, side: Side) -> Option<&Peer> {
        match side {
            Side::Downstream => self.source.map(|peer| &**peer),
            Side::Upstream => self.destination.map(|peer| &**peer),
        }
    }
}

impl Attributes for Exchange<'_> {
    fn get<'a>(&'a self, attribute: &'a Attribute) -> Value<'a> {
        let (http, upstream, downstream) = (&self.http, &self.upstream, &self.downstream);
        match attribute {
            Attribute::RequestMethod => Value::text(http.method),
            Attribute::RequestPath => Value::text(http.path),
            Attribute::RequestUrlPath => Value::text(self.path_and_query().0),
            Attribute::RequestQuery => Value::text(self.path_and_query().1),
            Attribute::RequestHost => Value::text(http.authority),
            Attribute::RequestScheme => Value::text(http.scheme.as_bytes()),
            Attribute::RequestProtocol => {
                http.version.map_or(Value::Absent, |version| Value::text(version.as_str().as_bytes()))
            }
            Attribute::RequestUserAgent => Value::text(http.user_agent),
            Attribute::RequestId => Value::text(http.request_id),
            Attribute::RequestSize => Value::count(self.received.body),
            Attribute::RequestTotalSize => Value::count(self.received.wire()),
            Attribute::RequestDuration => {
                Value::Duration(i64::try_from(self.duration.as_nanos()).unwrap_or(i64::MAX))
            }
            Attribute::ResponseCode => match http.status {
                0 => Value::Absent,
                status => Value::Int(status.into()),
            },
            Attribute::ResponseCodeDetails => {
                self.details.map_or(Value::Absent, |details| Value::made(details.to_string()))
            }
            Attribute::ResponseFlags => Value::Int(self.flags.bits().into()),
            Attribute::ResponseGrpcStatus => match http.grpc.and_then(|grpc| grpc.status) {
                None => Value::Absent,
                Some(status) => Value::Int(status.into()),
            },
            Attribute::ResponseSize => Value::count(self.sent.body),
            Attribute::ResponseTotalSize => Value::count(self.sent.wire()),
            Attribute::SourceAddress => shown(downstream.remote),
            Attribute::SourcePort => port(downstream.remote),
            Attribute::SourcePrincipal | Attribute::ConnectionUriSanPeerCertificate => {
                identity(self.peer(Side::Downstream))
            }
            Attribute::DestinationAddress => shown(downstream.local),
            Attribute::DestinationPort => port(downstream.local),
            Attribute::ConnectionMtls => match self.security {
                Security::MutualTls => Value::Bool(true),
                Security::None => Value::Bool(false),
                Security::Unknown => Value::Absent,
            },
            Attribute::ConnectionRequestedServerName => Value::text(downstream.server_name.as_bytes()),
            Attribute::ConnectionTerminationDetails => Value::text(self.termination.as_bytes()),
            Attribute::UpstreamAddress => shown(upstream.host),
            Attribute::UpstreamPort => port(upstream.host),
            Attribute::UpstreamTransportFailureReason => Value::text(upstream.transport_failure.as_bytes()),
            Attribute::ClusterName => Value::text(upstream.cluster.as_bytes()),
            Attribute::RouteName => Value::text(self.route.as_bytes()),
            Attribute::RequestHeader(name) => header(http.request_headers.get(name)),
            Attribute::ResponseHeader(name) => header(http.response_headers.get(name)),
            Attribute::Peer(side, field) => of_peer(self.peer(*side), *field),
        }
    }
}
