//! What a shard shows to the outside: one stream of events which logs, metrics and tests read.
use alloc::string::String;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;

use crate::hbone::{Authority, TraceParent};
use crate::identity::Identity;
use crate::policy::DryRun;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Inbound,
    Outbound,
}
/// Response flags (datapath §8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    None,
    Deny,
    Connect,
    TlsFailure,
    Http2HandshakeFailure,
    NetworkPolicy,
    IdentityError,
    CertRevoked,
}
/// One side of a connection as the access log names it (interfaces §6.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    pub address: Option<SocketAddr>,
    pub workload: Option<Arc<str>>,
    pub namespace: Option<Arc<str>>,
    /// Only with mutual TLS.
    pub identity: Option<Identity>,
    pub cluster: Option<Arc<str>>,
}
/// Everything the access log says about one connection (interfaces §6.2), both when it opens and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub id: u64,
    pub direction: Direction,
    pub source: Party,
    pub destination: Party,
    pub hbone_authority: Option<Authority>,
    pub service: Option<Arc<str>>,
    pub trace: Option<TraceParent>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    ConnectionOpened(Arc<Connection>),
    ConnectionClosed {
        connection: Arc<Connection>,
        bytes_sent: u64,
        bytes_received: u64,
        duration: Duration,
        /// The error text operators match on (interfaces §6.4), `None` when it went well.
        error: Option<String>,
        flag: Flag,
    },
    /// What a policy on trial (`dryRun`) would have said about a connection; nothing follows from it.
    DryRun {
        /// The connection it is about.
        connection: Arc<Connection>,
        /// The policy's say.
        said: DryRun,
    },
    /// Refused before enough context existed: logged as WARN "connection failed".
    EarlyDenied {
        source: Option<SocketAddr>,
        destination: Option<SocketAddr>,
        direction: Direction,
        error: String,
    },
    TunnelOpened {
        id: u64,
        direction: Direction,
        peer: Identity,
        address: SocketAddr,
    },
    /// `reason` is a stable label (budget name, "goaway", "idle", "tls", …); `attack` when a budget was exceeded.
    TunnelClosed {
        id: u64,
        direction: Direction,
        reason: &'static str,
        attack: bool,
        streams_served: u64,
    },
}
