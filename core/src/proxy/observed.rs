//! What a shard shows to the outside: one stream of events which logs, metrics and tests read.
use alloc::string::String;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::ops::Deref;
use core::time::Duration;

use crate::hbone::{Authority, TraceParent};
use crate::identity::Identity;
use crate::mesh::Service;
use crate::policy::{DenyReason, DryRun, Verdict};

mod traffic;

pub use traffic::Traffic;

/// Which way a connection goes, seen from the workload this proxy stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the local workload.
    Inbound,
    /// From the local workload.
    Outbound,
}
/// Response flags (datapath §8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    /// `-`: it went well.
    None,
    /// `DENY`: a policy refused it.
    Deny,
    /// `CONNECT`: the other end could not be reached, or whatever has no flag of its own.
    Connect,
    /// `TLS_FAILURE`.
    TlsFailure,
    /// `H2_HANDSHAKE_FAILURE`: HTTP/2 failed, in the handshake or on the stream.
    Http2HandshakeFailure,
    /// `NETWORK_POLICY`: the HBONE port did not answer in time.
    NetworkPolicy,
    /// `IDENTITY_ERROR`: there is no certificate.
    IdentityError,
    /// `CERT_REVOKED`: the peer's certificate was revoked.
    CertRevoked,
}

impl Flag {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Deny,
        Self::Connect,
        Self::TlsFailure,
        Self::Http2HandshakeFailure,
        Self::NetworkPolicy,
        Self::IdentityError,
        Self::CertRevoked,
    ];
}

/// One side of a connection as the access log names it (interfaces §6.2); dereferences to its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// `addr`.
    pub address: Option<SocketAddr>,
    /// Who it is; shared by the connections of one shard that have the same party.
    pub names: Arc<Names>,
}

impl Party {
    /// The party called `names` at `address`.
    #[must_use]
    pub fn new(address: Option<SocketAddr>, names: Names) -> Self {
        Self { address, names: Arc::new(names) }
    }
}

impl Deref for Party {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.names
    }
}

/// Who one side of a connection is, as far as is known (interfaces §6.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Names {
    /// `workload`: the pod's name.
    pub workload: Option<Arc<str>>,
    /// `namespace`.
    pub namespace: Option<Arc<str>>,
    /// Only with mutual TLS.
    pub identity: Option<Identity>,
    /// `cluster`.
    pub cluster: Option<Arc<str>>,
    /// What metrics say beyond that.
    pub labels: Labels,
}
/// What metrics say about one side beside what the access log says (interfaces §5.1); empty texts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// `*_workload`: the name of the pod's owner.
    pub workload: Option<Arc<str>>,
    /// `*_canonical_service`.
    pub canonical_service: Option<Arc<str>>,
    /// `*_canonical_revision` and `*_version`.
    pub revision: Option<Arc<str>>,
    /// `*_app`.
    pub app: Option<Arc<str>>,
    /// `*_region`.
    pub region: Option<Arc<str>>,
    /// `*_zone`.
    pub zone: Option<Arc<str>>,
    /// The identity that the tables give it, whether or not it was proven; `destination_principal`.
    pub principal: Option<Identity>,
}
/// The service a connection was meant for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceLabels {
    /// `dst.service` and `destination_service`.
    pub hostname: Arc<str>,
    /// `destination_service_name`: the name of its object.
    pub name: Arc<str>,
    /// `destination_service_namespace`.
    pub namespace: Arc<str>,
}

impl ServiceLabels {
    /// Those of `service`.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        Self {
            hostname: Arc::clone(&service.name.hostname),
            name: Arc::clone(&service.object_name),
            namespace: Arc::clone(&service.name.namespace),
        }
    }
}
/// How the octets of a connection cross the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// As they are.
    Tcp,
    /// In a tunnel.
    Hbone,
    /// In a tunnel inside the tunnel to a gateway of another network.
    DoubleHbone,
}
/// Everything the access log says about one connection (interfaces §6.2), both when it opens and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Counts connections of this shard from 1.
    pub id: u64,
    /// Which way it goes.
    pub direction: Direction,
    /// The client.
    pub source: Party,
    /// What it was connected to.
    pub destination: Party,
    /// `dst.hbone_addr`: the CONNECT authority; `None` for plaintext.
    pub hbone_authority: Option<Authority>,
    /// The service it was meant for.
    pub service: Option<ServiceLabels>,
    /// How it crosses the network.
    pub carrier: Carrier,
    /// Outbound: the address the client asked for, before routing. Inbound: the address it was sent on to.
    pub target: Option<SocketAddr>,
    /// Inbound: the host that the client's proxy says was asked for (`forwarded`).
    pub forwarded_host: Option<Arc<str>>,
    /// The trace this connection belongs to.
    pub trace: Option<TraceParent>,
    /// Octets so far; may be read at any time, from any thread.
    pub traffic: Traffic,
}
/// What happened, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// A connection is known, and about to be dialled; exactly one `ConnectionClosed` follows. One through the gateway of
    /// another network ([`Carrier::DoubleHbone`]) is told of when its CONNECT was answered, which says who is behind the
    /// gateway; or, as one to the gateway, right before its end.
    ConnectionOpened(Arc<Connection>),
    /// A connection ended.
    ConnectionClosed {
        /// What was said when it opened.
        connection: Arc<Connection>,
        /// Octets sent, from this proxy's workload's point of view.
        bytes_sent: u64,
        /// Octets received, likewise.
        bytes_received: u64,
        /// From capture to end.
        duration: Duration,
        /// The error text operators match on (interfaces §6.4), `None` when it went well.
        error: Option<String>,
        /// The flag for metrics.
        flag: Flag,
    },
    /// What the policies say of a new inbound connection (datapath §6.4).
    Judged {
        /// The connection it is about.
        connection: Arc<Connection>,
        /// The decision, and which rule it rests on.
        verdict: Verdict,
    },
    /// The name of a connection's destination was looked up, with whatever success (datapath §2.5).
    Resolved {
        /// The connection; already open, unless it goes through the gateway of another network.
        connection: Arc<Connection>,
        /// The name.
        hostname: Arc<str>,
    },
    /// What a policy on trial (`dryRun`) would have said about a connection; nothing follows from it.
    DryRun {
        /// The connection it is about.
        connection: Arc<Connection>,
        /// The policy's say.
        said: DryRun,
    },
    /// The policies have changed, and this connection is allowed no more: it is being closed.
    NoLongerAllowed {
        /// The connection; its `ConnectionClosed` follows.
        connection: Arc<Connection>,
        /// Why.
        reason: DenyReason,
    },
    /// Refused before enough context existed: logged as WARN "connection failed".
    EarlyDenied {
        /// The client.
        source: Option<SocketAddr>,
        /// What it wanted.
        destination: Option<SocketAddr>,
        /// Which way.
        direction: Direction,
        /// Why.
        error: String,
        /// The flag for metrics.
        flag: Flag,
    },
    /// A tunnel is ready for streams.
    TunnelOpened {
        /// Counts tunnels of this shard from 1.
        id: u64,
        /// Outbound: we dialled it.
        direction: Direction,
        /// Verified by mTLS.
        peer: Identity,
        /// The other proxy's address.
        address: SocketAddr,
    },
    /// `reason` is a stable label (budget name, "goaway", "idle", "tls", …); `attack` when a budget was exceeded.
    TunnelClosed {
        /// As when it was opened.
        id: u64,
        /// As when it was opened.
        direction: Direction,
        /// The label.
        reason: &'static str,
        /// A budget was exceeded.
        attack: bool,
        /// How many streams it carried.
        streams_served: u64,
    },
}
