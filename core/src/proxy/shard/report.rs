//! What a shard says about connections: access-log parties and the error texts operators match on (interfaces §6.2–6.4).
use alloc::string::ToString;
use alloc::sync::Arc;
use core::fmt::Display;
use core::net::SocketAddr;
use core::time::Duration;

use super::LocalWorkload;
use super::outbound::dialled;
use super::parties::Parties;
use super::shares::Full;
use super::state::Failure;
use crate::hbone::{Baggage, ConnectRequest, TraceParent, TunnelError};
use crate::http2::{ErrorCode, Initiator, OpenError};
use crate::identity::Identity;
use crate::mesh::{Service, Workload};
use crate::policy::DenyReason;
use crate::proxy::observed::{
    Carrier, Connection, Direction, Flag, Labels, Names, Observed, Party, ServiceLabels, Traffic,
};
use crate::route::{Hop, InboundPlan, OutboundPlan};
use crate::tls::{TlsError, VerifyError};

/// What is said of a workload that has proven to be `identity`.
pub(super) fn names(workload: &Workload, identity: Option<Identity>) -> Names {
    Names {
        workload: Some(Arc::clone(&workload.name)),
        namespace: Some(Arc::clone(&workload.namespace)),
        identity,
        cluster: Some(Arc::clone(&workload.cluster)),
        labels: Labels {
            workload: Some(Arc::clone(&workload.workload_name)),
            canonical_service: Some(Arc::clone(&workload.canonical_name)),
            revision: Some(Arc::clone(&workload.canonical_revision)),
            app: Some(Arc::clone(&workload.canonical_name)),
            region: Some(Arc::clone(&workload.locality.region)),
            zone: Some(Arc::clone(&workload.locality.zone)),
            principal: Some(workload.identity()),
        },
    }
}

/// Whoever is not in the tables, as its proxy describes it (datapath §5.5).
fn described(baggage: &Baggage) -> Names {
    Names {
        workload: baggage.service_name.clone().or_else(|| baggage.workload_name.clone()),
        namespace: baggage.namespace.clone(),
        identity: None,
        cluster: baggage.cluster.clone(),
        labels: Labels {
            workload: baggage.workload_name.clone(),
            canonical_service: baggage.service_name.clone(),
            revision: baggage.service_version.clone(),
            // Not the service's name: dashboards know it so from upstream.
            app: baggage.workload_name.clone(),
            region: baggage.region.clone(),
            zone: baggage.zone.clone(),
            principal: None,
        },
    }
}

/// Whoever is behind a gateway: as its proxy describes it, and who it proved to be (datapath §2.7). What it does not say
/// is unknown; what the tables know is about the gateway.
pub(super) fn behind_gateway(baggage: Option<&Baggage>, identity: Identity) -> Names {
    let said = baggage.map(described).unwrap_or_default();
    Names {
        workload: said.labels.workload.clone(),
        identity: Some(identity.clone()),
        labels: Labels { principal: Some(identity), ..said.labels },
        ..said
    }
}

/// A captured connection of the local workload.
pub(super) fn outbound(
    parties: &mut Parties,
    local: &Arc<Workload>,
    peer: SocketAddr,
    target: SocketAddr,
    plan: &OutboundPlan,
    trace: TraceParent,
) -> Connection {
    let (address, hbone_authority) = dialled(&plan.hop);
    let mut proven = |workload: &Arc<Workload>| {
        let identity = workload.identity_ref();
        parties.of(workload, Some(identity).filter(|_| !matches!(plan.hop, Hop::Plain { .. })))
    };
    let source = Party { address: Some(peer), names: proven(local) };
    let names = match &plan.destination {
        Some(workload) => proven(workload),
        None => parties.share(Names::default()),
    };
    let destination = Party { address, names };
    let carrier = match &plan.hop {
        Hop::Plain { .. } => Carrier::Tcp,
        Hop::Hbone { .. } | Hop::Resolve(_) => Carrier::Hbone,
        Hop::DoubleHbone { .. } => Carrier::DoubleHbone,
    };
    Connection {
        id: 0,
        direction: Direction::Outbound,
        source,
        destination,
        hbone_authority,
        service: plan.service.as_deref().map(ServiceLabels::of),
        carrier,
        target: Some(target),
        forwarded_host: None,
        trace: Some(trace),
        traffic: Traffic::default(),
    }
}

/// A plaintext connection to the local workload.
pub(super) fn inbound_plain(
    parties: &mut Parties,
    local: &Arc<Workload>,
    source: Option<&Arc<Workload>>,
    peer: SocketAddr,
    plan: &InboundPlan,
) -> Connection {
    Connection {
        id: 0,
        direction: Direction::Inbound,
        source: Party {
            address: Some(peer),
            names: match source {
                Some(workload) => parties.of(workload, None),
                None => parties.share(Names::default()),
            },
        },
        destination: Party { address: Some(plan.destination), names: parties.of(local, None) },
        hbone_authority: None,
        service: plan.service.as_deref().map(ServiceLabels::of),
        carrier: Carrier::Tcp,
        target: Some(plan.to),
        forwarded_host: None,
        trace: None,
        traffic: Traffic::default(),
    }
}

/// A stream of an inbound tunnel. Baggage fills in only what the look-up by address did not (datapath §5.5).
pub(super) fn inbound_hbone(
    parties: &mut Parties,
    local: &Arc<Workload>,
    (source, baggage): (Option<&Arc<Workload>>, Option<&Baggage>),
    identity: &Identity,
    (peer, connected): (SocketAddr, SocketAddr),
    request: &ConnectRequest,
    (plan, service): (&InboundPlan, Option<&Service>),
) -> Connection {
    let from = match source {
        Some(workload) => parties.of(workload, Some(identity)),
        None => {
            let described = baggage.map(described).unwrap_or_default();
            parties.share(Names { identity: Some(identity.clone()), ..described })
        }
    };
    let to = parties.of(local, Some(local.identity_ref()));
    Connection {
        id: 0,
        direction: Direction::Inbound,
        source: Party { address: Some(peer), names: from },
        destination: Party { address: Some(connected), names: to },
        hbone_authority: Some(request.authority.clone()),
        service: service.map(ServiceLabels::of),
        carrier: Carrier::Hbone,
        target: Some(plan.to),
        forwarded_host: request.forwarded.as_ref().and_then(|forwarded| forwarded.host.clone()),
        trace: request.traceparent,
        traffic: Traffic::default(),
    }
}

pub(super) fn no_local_workload(local: &LocalWorkload) -> Failure {
    Failure::new(Flag::Connect, format_args!("failed to fetch information about local workload: {local}"))
}

pub(super) fn denied(reason: &DenyReason) -> Failure {
    Failure::new(Flag::Deny, format_args!("connection closed due to policy rejection: {reason}"))
}

pub(super) fn no_longer_allowed() -> Failure {
    Failure::new(Flag::Deny, "connection closed due to policy change")
}

/// The peer of a live tunnel is on a new revocation list.
pub(super) fn revoked() -> Failure {
    Failure::new(Flag::CertRevoked, "connection closed: peer certificate revoked by CRL")
}

pub(super) fn drained() -> Failure {
    Failure::new(Flag::Connect, "connection closed due to connection drain")
}

pub(super) fn closed() -> Failure {
    Failure::new(Flag::Connect, "h2 failed: the tunnel was closed")
}

pub(super) fn too_many_sockets() -> Failure {
    Failure::new(Flag::Connect, "connection failed: too many sockets")
}

pub(super) fn socks_ended() -> Failure {
    Failure::new(Flag::Connect, "the SOCKS5 client did not finish its request")
}

pub(super) fn idle(after: Duration) -> Failure {
    Failure::new(Flag::Connect, format_args!("half-closed and silent for {} s", after.as_secs()))
}

pub(super) fn no_answer(after: Duration) -> Failure {
    Failure::new(Flag::Connect, format_args!("no answer to CONNECT within {} s", after.as_secs()))
}

/// CONNECT could not be sent.
pub(super) fn not_opened(error: OpenError) -> Failure {
    Failure::new(Flag::Http2HandshakeFailure, format_args!("h2 failed: {error}"))
}

pub(super) fn stream_reset(code: ErrorCode) -> Failure {
    Failure::new(Flag::Http2HandshakeFailure, format_args!("h2 failed: stream reset by the peer: {code}"))
}

/// A stream was reset while octets flowed, from the server if `receiving`. What ends in good order (NO_ERROR, CANCEL and
/// STREAM_CLOSED) is no error, and neither is what the application at the other end has reset (CONNECT_ERROR, RFC 9113
/// §8.5), as its RST is none on a plain socket (datapath §3.8).
pub(super) fn broken_off(code: ErrorCode, by: Initiator, receiving: bool) -> Option<Failure> {
    if matches!(
        code,
        ErrorCode::NO_ERROR | ErrorCode::CANCEL | ErrorCode::STREAM_CLOSED | ErrorCode::CONNECT_ERROR
    ) {
        return None;
    }
    let direction = if receiving { "receive" } else { "send" };
    let by = match by {
        Initiator::Remote => "by the peer",
        Initiator::Library | Initiator::Local => "here",
    };
    Some(Failure::new(Flag::Connect, format_args!("{direction}: io error: stream reset {by}: {code}")))
}

pub(super) fn dial_timeout(port: u16) -> Failure {
    Failure::new(
        Flag::NetworkPolicy,
        format_args!(
            "connection timed out, maybe a NetworkPolicy is blocking HBONE port {port}: deadline has elapsed"
        ),
    )
}

/// A CONNECT answered with another status than 200.
pub(super) fn status(code: u16) -> Failure {
    let phrase = match code {
        400 => " Bad Request",
        401 => " Unauthorized",
        403 => " Forbidden",
        404 => " Not Found",
        429 => " Too Many Requests",
        500 => " Internal Server Error",
        502 => " Bad Gateway",
        503 => " Service Unavailable",
        504 => " Gateway Timeout",
        _ => "",
    };
    Failure::new(Flag::Connect, format_args!("http status: {code}{phrase}"))
}

/// A tunnel that failed; before it was ready an HTTP/2 fault is one of the handshake.
pub(super) fn tunnel_error(error: &TunnelError, ready: bool) -> Failure {
    match error {
        TunnelError::Tls(TlsError::Peer(VerifyError::Revoked)) => Failure::new(Flag::CertRevoked, error),
        TunnelError::Tls(_) => Failure::new(Flag::TlsFailure, error),
        TunnelError::Http2(inner) if !ready => {
            Failure::new(Flag::Http2HandshakeFailure, format_args!("http2 handshake failed: {inner}"))
        }
        TunnelError::Http2(_) => Failure::new(Flag::Http2HandshakeFailure, error),
        TunnelError::Truncated | TunnelError::Closed | TunnelError::Frozen => {
            Failure::new(Flag::Connect, format_args!("io error: {error}"))
        }
    }
}

/// An inbound tunnel that never became one.
pub(super) fn handshake_denied(
    peer: SocketAddr,
    local: SocketAddr,
    error: &dyn Display,
    flag: Flag,
) -> Observed {
    Observed::EarlyDenied {
        source: Some(peer),
        destination: Some(local),
        direction: Direction::Inbound,
        error: alloc::format!("tls handshake error: {error}"),
        flag,
    }
}

/// A tunnel that was to be dialled for who we are no more.
pub(super) fn identity_changed() -> Failure {
    Failure::new(Flag::IdentityError, "identity error: the local workload's identity has changed")
}

/// A user connection refused because there are too many.
pub(super) fn too_many_connections(
    direction: Direction,
    source: SocketAddr,
    destination: SocketAddr,
    limit: usize,
    full: Full,
) -> Observed {
    Observed::EarlyDenied {
        source: Some(source),
        destination: Some(destination),
        direction,
        error: match full {
            Full::All => alloc::format!("too many connections: the limit of {limit} is reached"),
            Full::Share => {
                alloc::format!("too many connections of this workload: others share the limit of {limit}")
            }
        },
        flag: Flag::Connect,
    }
}

/// An inbound tunnel refused because there are too many.
pub(super) fn overloaded(peer: SocketAddr, local: SocketAddr, full: Full) -> Observed {
    Observed::EarlyDenied {
        source: Some(peer),
        destination: Some(local),
        direction: Direction::Inbound,
        error: match full {
            Full::All => "too many tunnels or handshakes in progress".to_string(),
            Full::Share => {
                "too many tunnels or handshakes in progress to this workload: others share the limit"
                    .to_string()
            }
        },
        flag: Flag::Connect,
    }
}
