//! What a shard keeps per socket, per connection and per tunnel.
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;

use super::ProxyId;
use super::waiting::Wait;
use crate::buffer::Chunk;
use crate::hbone::establish::Establish;
use crate::hbone::{Authority, ConnectRequest, Tunnel};
use crate::http2::{StreamId, StreamMap};
use crate::identity::{Identity, IdentitySet};
use crate::policy::Facts;
use crate::pool::{RequestId, TunnelId, TunnelKey};
use crate::proxy::observed::{Carrier, Connection, Direction, Flag};
use crate::proxy::relay::{End, Relay};
use crate::proxy::slab::slab_key;
use crate::proxy::socks::Socks5;
use crate::time::Instant;
use crate::tls::{PeerChain, TlsContext};

slab_key! {
    /// A socket the shard knows. Stale ids are ignored everywhere.
    pub SocketId
}
slab_key! {
    /// One user connection.
    pub(in crate::proxy::shard) ConnId
}
slab_key! {
    /// One tunnel, from before its dial until its socket is gone.
    pub(in crate::proxy::shard) TunnelRef
}

impl From<ConnId> for RequestId {
    fn from(id: ConnId) -> Self {
        Self((u64::from(id.generation) << 32) | u64::from(id.index))
    }
}

impl ConnId {
    /// The connection that asked the pool under this id.
    pub(super) fn of(request: RequestId) -> Self {
        // Both halves fit by construction.
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self { index: half(request.0), generation: half(request.0 >> 32) }
    }
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// One end of a user connection.
    App { conn: ConnId, end: End },
    /// The transport of a tunnel.
    Tunnel(TunnelRef),
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) role: Role,
    /// Accepted, or its dial succeeded.
    pub(super) connected: bool,
    /// `lend` said no: `ResumeRead` is owed when that changes.
    pub(super) read_paused: bool,
    /// The last write would have blocked.
    pub(super) write_blocked: bool,
    /// In the urgent or the deferred list already.
    pub(super) listed: bool,
    /// Somebody in this process waits to hear whether what it asked for is open.
    pub(super) awaited: bool,
}

impl Socket {
    pub(super) fn new(role: Role, connected: bool) -> Self {
        Self { role, connected, read_paused: false, write_blocked: false, listed: false, awaited: false }
    }
}

/// Octets on their way between two plain sockets, or a reply of our own to one. Boxed wherever it is kept, because hardly
/// any connection has one at any time.
#[derive(Debug)]
pub(super) struct Loan {
    pub(super) chunk: Chunk,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Octets of the user's, known to the relay; otherwise our own (a SOCKS reply).
    pub(super) relayed: bool,
}

impl Loan {
    pub(super) fn bytes(&self) -> &[u8] {
        self.chunk.get(self.start..self.end).unwrap_or_default()
    }
}

/// How one end of a user connection is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attach {
    /// Not (or no longer) there.
    None,
    Socket(SocketId),
    Stream(TunnelRef, StreamId),
}

/// ```text
/// accepted ─▶ Socks ─▶ Leasing ─▶ Asking ─▶ Relaying     outbound through a tunnel
///       └────────┴────────┴─▶ Dialing ───────▲           plain, and every inbound connection
/// ```
/// Before `Leasing` and `Dialing` there may be any number of `Waiting`.
#[derive(Debug)]
pub(super) enum Phase {
    /// Talking SOCKS5 with the client.
    Socks(Box<Socks5>),
    /// Waiting for an answer from the outside, to be decided about again.
    Waiting(Box<Wait>),
    /// Waiting for the pool to grant a stream.
    Leasing(Box<Lease>),
    /// CONNECT sent, no answer yet. The lease is kept to ask again with, should the peer not have looked at the request.
    Asking(Box<Lease>),
    /// The other end's TCP connection is being made.
    Dialing,
    /// Octets flow.
    Relaying,
}

// Whoever waits does so in a box: the others must not pay for it.
const _: () = assert!(size_of::<Phase>() <= 2 * size_of::<usize>());

/// What streams must have in common to share a tunnel: it belongs to one proxy, whoever else may be alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PoolKey {
    pub(super) proxy: ProxyId,
    pub(super) tunnel: TunnelKey,
}

/// What a connection asked the pool for, and what it will say on the stream.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) key: PoolKey,
    pub(super) request: ConnectRequest,
    /// How often it asked again after a peer had refused to look at the request.
    pub(super) retries: u8,
}

#[derive(Debug)]
pub(super) struct Conn {
    /// Whose it is.
    pub(super) proxy: ProxyId,
    pub(super) phase: Phase,
    pub(super) relay: Relay,
    pub(super) downstream: Attach,
    pub(super) upstream: Attach,
    pub(super) report: Option<Arc<Connection>>,
    pub(super) opened: Instant,
    /// Of the running phase.
    pub(super) deadline: Option<Instant>,
    /// What the timer table holds for this connection.
    pub(super) armed: Option<Instant>,
    /// Octets for the upstream socket.
    pub(super) forth: Option<Box<Loan>>,
    /// Octets for the downstream socket.
    pub(super) back: Option<Box<Loan>>,
    /// Inbound: what the policies judged it by, and will again when they change.
    pub(super) judged: Option<Box<Judged>>,
    /// Why it failed, when something other than the relay's outcome is to be reported.
    pub(super) failure: Option<Box<Failure>>,
    /// Its part in double HBONE, if any.
    pub(super) nested: Option<Nested>,
}

// There are very many: whoever needs more for hardly any of them puts it in a box.
const _: () = assert!(size_of::<Conn>() <= 224);

/// What a connection has to do with an inner tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nested {
    /// The tunnel is there for this connection alone.
    Inner(TunnelRef),
    /// The tunnel's transport is this connection.
    Carrier(TunnelRef),
}

/// [`Facts`] that outlive the moment.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) source: Option<Identity>,
    pub(super) source_address: SocketAddr,
    pub(super) destination: SocketAddr,
}

impl Judged {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            source: self.source.as_ref(),
            source_address: self.source_address,
            destination: self.destination,
        }
    }
}

impl Conn {
    /// What it waits for, if it waits for a stream.
    pub(super) fn lease(&self) -> Option<&Lease> {
        match &self.phase {
            Phase::Leasing(lease) => Some(lease),
            Phase::Socks(_) | Phase::Waiting(_) | Phase::Asking(_) | Phase::Dialing | Phase::Relaying => None,
        }
    }

    /// Whether it still looks for its way.
    pub(super) fn is_opening(&self) -> bool {
        !matches!(self.phase, Phase::Relaying)
    }

    /// Whether it may yet need a tunnel of the pool: it looks for its way, or it is a stream to a `waypoint`, on which requests
    /// may come.
    pub(super) fn needs_pool(&self, waypoint: bool) -> bool {
        self.is_opening() || (waypoint && matches!(self.downstream, Attach::Stream(..)))
    }

    /// Whether its opening has not been told: only the answer to a CONNECT says who is behind a gateway, and what was
    /// told does not change.
    pub(super) fn is_untold(&self) -> bool {
        !matches!(self.phase, Phase::Relaying)
            && self.report.as_ref().is_some_and(|report| report.carrier == Carrier::DoubleHbone)
    }

    pub(super) fn attach(&self, end: End) -> Attach {
        match end {
            End::Downstream => self.downstream,
            End::Upstream => self.upstream,
        }
    }

    pub(super) fn attach_mut(&mut self, end: End) -> &mut Attach {
        match end {
            End::Downstream => &mut self.downstream,
            End::Upstream => &mut self.upstream,
        }
    }

    /// `octets` came from `from`: tells the relay, and whoever watches.
    pub(super) fn data(&mut self, now: Instant, from: End, octets: u64) {
        self.relay.handle_data(now, from, octets);
        if let Some(report) = &self.report {
            report.traffic.set(self.relay.total(End::Downstream), self.relay.total(End::Upstream));
        }
    }

    /// Whether both sides have said all they had to say: what is left is to deliver it.
    pub(super) fn only_delivers(&self) -> bool {
        matches!(self.phase, Phase::Relaying)
            && !self.relay.is_open(End::Downstream)
            && !self.relay.is_open(End::Upstream)
    }

    /// Octets waiting to be written to `end`.
    pub(super) fn loan_to(&self, end: End) -> Option<&Loan> {
        match end {
            End::Downstream => self.back.as_deref(),
            End::Upstream => self.forth.as_deref(),
        }
    }

    /// Octets waiting to be written to `end`.
    pub(super) fn loan_to_mut(&mut self, end: End) -> &mut Option<Box<Loan>> {
        match end {
            End::Downstream => &mut self.back,
            End::Upstream => &mut self.forth,
        }
    }
}

/// Why something failed, as the access log says it: a flag and the text operators match on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// Response flag (datapath §8.5).
    pub flag: Flag,
    /// Error text (interfaces §6.4).
    pub text: Arc<str>,
}

impl Failure {
    pub(super) fn new(flag: Flag, text: impl core::fmt::Display) -> Self {
        use alloc::string::ToString;
        Self { flag, text: Arc::from(text.to_string()) }
    }
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.text)
    }
}

pub(super) struct TunnelSlot {
    pub(super) id: u64,
    /// Whose it is.
    pub(super) proxy: ProxyId,
    pub(super) direction: Direction,
    pub(super) socket: Option<SocketId>,
    /// The other proxy.
    pub(super) remote: SocketAddr,
    /// Inbound only: the address the peer connected to.
    pub(super) local: SocketAddr,
    pub(super) establish: Establish,
    pub(super) context: Option<Arc<TlsContext>>,
    /// The peer's, once ready, where revocation is checked.
    pub(super) chain: Option<Box<PeerChain>>,
    /// Outbound only: how the pool knows it.
    pub(super) pooled: Option<(TunnelId, PoolKey)>,
    /// Inner tunnels only: whom it serves.
    pub(super) sole: Option<Box<Sole>>,
    pub(super) tunnel: Option<Box<Tunnel>>,
    pub(super) streams: StreamMap<ConnId>,
    pub(super) served: u64,
    /// Ready, and said so.
    pub(super) ready: bool,
    /// Octets it held when last looked at.
    pub(super) held: usize,
    /// Set once it is ending: why, and until when its last octets may be written.
    pub(super) closing: Option<Closing>,
    pub(super) armed: Option<Instant>,
    /// In the list of tunnels whose events are to be drained.
    pub(super) dirty: bool,
}

/// How a tunnel ends.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    pub(super) reason: &'static str,
    pub(super) attack: bool,
    pub(super) until: Instant,
    pub(super) failure: Failure,
}

/// What an inner tunnel is for.
#[derive(Debug)]
pub(super) struct Sole {
    /// The one connection it serves.
    pub(super) user: ConnId,
    /// Who may be at its other end.
    pub(super) expected: IdentitySet,
    /// How it gets its transport.
    pub(super) outer: Lease,
}

impl TunnelSlot {
    /// Who may be at the other end, if it is us who called.
    pub(super) fn expected(&self) -> Option<&IdentitySet> {
        let pooled = self.pooled.as_ref().map(|(_, key)| &key.tunnel.expected);
        pooled.or_else(|| self.sole.as_ref().map(|sole| &sole.expected))
    }

    /// Whether it is dialled on behalf of somebody else than `identity`.
    pub(super) fn is_of_another(&self, identity: Option<&Identity>) -> bool {
        self.pooled.as_ref().is_some_and(|(_, key)| Some(&key.tunnel.source) != identity)
    }

    pub(super) fn peer(&self) -> Option<&Identity> {
        self.tunnel.as_ref().and_then(|tunnel| tunnel.peer())
    }
}

/// What is due for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Conn(ConnId),
    Tunnel(TunnelRef),
}

/// A stream's request, as the owner of an inbound tunnel got it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) tunnel: TunnelRef,
    pub(super) stream: StreamId,
    pub(super) authority: Authority,
}
