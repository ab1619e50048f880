//! The shard: what happened goes in (`handle_*`), what to do comes out (`poll_*`, `lend`, `wire`).
//!
//! # The driver's contract
//! After each `handle_*` or command: drain [`Shard::poll_urgent`] (write each socket named), then
//! [`Shard::poll_action`] and [`Shard::poll_observed`]. Once per turn of the event loop, when nothing is readable any
//! more, drain [`Shard::poll_deferred`] (tunnel sockets; one write each carries what a whole turn produced). Then wait
//! until a socket is ready or [`Shard::poll_timeout`] has come. A stale id, a spurious call and a late answer are harmless.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::buffer::BufferPool;
use crate::dns::NameScope;
use crate::drain::{Drain, DrainEvent};
use crate::identity::Identity;
use crate::mesh::Mesh;
use crate::pool::{Pool, TunnelId};
use crate::proxy::Observed;
use crate::proxy::slab::Slab;
use crate::rng::Rng;
use crate::time::Instant;
use crate::tls::TlsContext;

mod accept;
mod census;
mod config;
mod conns;
mod embedded;
mod endings;
mod inbound;
mod interned;
mod io;
mod nested;
mod outbound;
mod parties;
mod policies;
mod proxies;
mod report;
mod revocation;
mod rounds;
mod shares;
mod state;
mod tunnels;
mod waiting;
mod waits;

pub use census::Census;
pub use config::{LocalWorkload, ShardConfig};
pub use embedded::Delivered;
pub use io::Areas;
use parties::Parties;
use proxies::Proxies;
pub use proxies::ProxyId;
use revocation::Revocation;
use rounds::Rounds;
use shares::Usage;
use state::{Conn, ConnId, Loan, PoolKey, Socket, Timer, TunnelRef, TunnelSlot};
pub use state::{Failure, SocketId};
pub use waiting::Unanswered;
pub use waits::Ticket;
use waits::Waits;

/// Which listener accepted a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    /// 15001: captured outbound connections.
    Outbound,
    /// 15006: captured inbound plaintext.
    InboundPlain,
    /// 15008: HBONE.
    InboundHbone,
    /// 15080: SOCKS5.
    Socks5,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start connecting; answer with `handle_connected` or `handle_error`.
    Dial {
        /// For whom: the socket is made in that proxy's network namespace.
        proxy: ProxyId,
        /// The socket to be.
        socket: SocketId,
        /// Where to.
        to: SocketAddr,
        /// Bind to this address first, where the listener is transparent (datapath §5.6).
        source: Option<IpAddr>,
    },
    /// Join two new sockets to each other: what is written to one is read from the other. Neither is waited for.
    Join {
        /// Both ends.
        sockets: [SocketId; 2],
    },
    /// A stream that a peer has opened ends here: give its other end to whoever serves it, and answer with `handle_connected`,
    /// or with `handle_error` if nobody takes it.
    Deliver {
        /// The socket to be, which is none of the system's.
        socket: SocketId,
        /// What was asked for, and by whom.
        delivered: Box<Delivered>,
    },
    /// What `handle_connect` gave is open: what is written to it will be sent.
    Opened {
        /// Which socket.
        socket: SocketId,
    },
    /// What `handle_connect` gave could not be opened; `Close` follows.
    Failed {
        /// Which socket.
        socket: SocketId,
        /// Why.
        failure: Failure,
    },
    /// What `handle_connect` gave goes over a tunnel whose peer takes leave: what is under way goes on, for as long as that peer
    /// lets it; whoever keeps the connection for later shall take another one then.
    Leaving {
        /// Which socket.
        socket: SocketId,
    },
    /// Send FIN: `wire` has given everything.
    ShutdownWrite {
        /// Which socket.
        socket: SocketId,
    },
    /// Drop the socket; the id is dead from here on.
    Close {
        /// Which socket.
        socket: SocketId,
        /// The peer is to see RST (`SO_LINGER` 0).
        reset: bool,
    },
    /// Reading may succeed again after `lend` gave nothing.
    ResumeRead {
        /// Which socket.
        socket: SocketId,
    },
    /// Answer with `handle_certificate`, now or later.
    NeedCertificate {
        /// Whose.
        identity: Identity,
    },
    /// Look a host name up, A and AAAA; answer with `handle_resolved`, now or later, or not at all.
    Resolve {
        /// For whom.
        proxy: ProxyId,
        /// To be given with the answer.
        ticket: Ticket,
        /// The name; a dot at its end says that no search domain is meant.
        name: Arc<str>,
        /// By whose meaning.
        scope: NameScope,
    },
    /// Ask the control plane for what the tables lack; answer with `handle_demanded`, now or later, or not at all.
    Demand {
        /// To be given with the answer.
        ticket: Ticket,
        /// `network/ip` or `namespace/hostname` (interfaces §1.4).
        key: Arc<str>,
    },
    /// Close all listening sockets.
    StopListening,
    /// The drain is complete: the shard may be dropped.
    Drained,
}

/// What a system call said, reduced to what matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SocketError {
    /// ECONNRESET, EPIPE.
    #[error("connection reset by peer")]
    Reset,
    /// ECONNREFUSED.
    #[error("connection refused")]
    Refused,
    /// ETIMEDOUT.
    #[error("connection timed out")]
    TimedOut,
    /// EHOSTUNREACH, ENETUNREACH.
    #[error("no route to host")]
    Unreachable,
    /// Any other errno.
    #[error("os error {0}")]
    Other(i32),
}

/// The whole proxy for one core of the machine. Single-threaded; owns everything but the sockets.
pub struct Shard {
    config: Arc<ShardConfig>,
    mesh: Arc<Mesh>,
    proxies: Proxies,
    /// Which connections are to be judged again.
    judging: Rounds,
    revocation: Revocation,
    rng: Rng,
    buffers: BufferPool,
    /// What plain sockets are read into: a loan to nobody yet.
    scratch: Option<Box<Loan>>,
    sockets: Slab<SocketId, Socket>,
    conns: Slab<ConnId, Conn>,
    tunnels: Slab<TunnelRef, TunnelSlot>,
    pool: Pool<PoolKey, Failure>,
    pooled: BTreeMap<TunnelId, TunnelRef>,
    held: BTreeMap<Identity, usize>,
    held_total: usize,
    /// What all proxies together have.
    usage: Usage,
    tunnels_opened: u64,
    conns_opened: u64,
    parties: Parties,
    waits: Waits,
    timers: BTreeSet<(Instant, Timer)>,
    trim_at: Option<Instant>,
    drain: Drain,
    /// Connections that looked for their way when the drain began, and still do, and a waypoint's streams, whose requests need
    /// a way each: the pool drains after them.
    opening: Vec<ConnId>,
    /// Tunnels that may have events.
    dirty: VecDeque<TunnelRef>,
    /// The tunnel whose input buffer may still hold lent pieces.
    unsettled: Option<TunnelRef>,
    urgent: VecDeque<SocketId>,
    deferred: VecDeque<SocketId>,
    actions: VecDeque<Action>,
    observed: VecDeque<Observed>,
}

/// How often unused buffers are given back.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// Entries that a queue keeps room for between bursts.
const KEPT_QUEUE: usize = 64;

impl Shard {
    /// A shard that knows `mesh`. It asks for a certificate when it first needs one.
    #[must_use]
    pub fn new(config: Arc<ShardConfig>, mesh: Arc<Mesh>, now: Instant) -> Self {
        let mut shard = Self {
            rng: Rng::new(config.seed),
            buffers: BufferPool::new(config.max_free_buffers),
            pool: Pool::new(config.pool.clone()),
            mesh: Arc::default(),
            proxies: Proxies::default(),
            judging: Rounds::default(),
            revocation: Revocation::default(),
            scratch: None,
            sockets: Slab::default(),
            conns: Slab::default(),
            tunnels: Slab::default(),
            pooled: BTreeMap::new(),
            held: BTreeMap::new(),
            held_total: 0,
            usage: Usage::default(),
            tunnels_opened: 0,
            conns_opened: 0,
            parties: Parties::default(),
            waits: Waits::default(),
            timers: BTreeSet::new(),
            trim_at: None,
            drain: Drain::new(),
            opening: Vec::new(),
            dirty: VecDeque::new(),
            unsettled: None,
            urgent: VecDeque::new(),
            deferred: VecDeque::new(),
            actions: VecDeque::new(),
            observed: VecDeque::new(),
            config,
        };
        shard.mesh = mesh;
        if let Some(local) = shard.config.local.clone() {
            shard.add_proxy(now, ProxyId::OWN, local);
        }
        shard
    }

    // ---- handle

    /// The mesh changed: new connections see the new one. If the policies that bear on a workload of ours did, or which
    /// ones do, open inbound connections are judged again, and closed when they are allowed no more (datapath §6.5). Should
    /// it give a workload of ours another identity, the next tunnel asks for that one's certificate; live tunnels keep
    /// theirs, but outbound ones carry no new connection.
    pub fn handle_mesh(&mut self, now: Instant, mesh: Arc<Mesh>) {
        self.mesh = mesh;
        self.look_up_all(now);
        self.waits_mesh_changed(now);
        self.work(now);
    }

    /// The certificate for `identity` arrived or changed; live tunnels keep theirs, but end if the revocation lists that
    /// came with it revoke their peer's (datapath §4.5). Upon failure (`Err`: the text for
    /// logs) tunnels waiting for one fail, and the next tunnel asks again.
    pub fn handle_certificate(
        &mut self,
        now: Instant,
        identity: &Identity,
        certificate: Result<Arc<TlsContext>, Arc<str>>,
    ) {
        let Some(credential) = self.proxies.credential_mut(identity) else { return };
        credential.asked = false;
        let failure = match certificate {
            Ok(context) => {
                let lists = context.revocations().cloned();
                credential.context = Some(context);
                self.lists_came(now, lists);
                None
            }
            Err(text) => Some(text),
        };
        self.certificate_answered(now, identity, failure.as_deref());
        self.work(now);
    }

    /// Fires what is due. Call it whenever [`Shard::poll_timeout`] is not later than `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Conn(id) => self.conn_timeout(now, id),
                Timer::Tunnel(id) => self.tunnel_timeout(now, id),
            }
        }
        if self.judging.poll_timeout().is_some_and(|at| at <= now) {
            self.judge_again(now);
        }
        if self.revocation.rounds.poll_timeout().is_some_and(|at| at <= now) {
            self.check_tunnels(now);
        }
        self.waits_timeout(now);
        self.pool.handle_timeout(now);
        self.drain.handle_timeout(now);
        if self.trim_at.is_some_and(|at| at <= now) {
            self.trim_at = None;
            if let Some(loan) = self.scratch.take() {
                self.buffers.give(loan.chunk);
            }
            self.buffers.trim();
            self.parties.trim();
            self.revocation.issuers.trim();
            self.trim_queues();
        }
        self.work(now);
    }

    // ---- commands

    /// Stops gracefully: no new connections, GOAWAY to peers, live connections may end until the grace is over.
    pub fn drain(&mut self, now: Instant) {
        if !self.drain.is_open() {
            return;
        }
        self.actions.push_back(Action::StopListening);
        self.drain.begin(now, self.config.drain_grace, self.live());
        // What was accepted is served: the pool takes leave of its tunnels when all that look for one have theirs.
        let busy = |conn: &Conn| conn.needs_pool(self.config.waypoint);
        self.opening = self.conns.iter().filter(|(_, conn)| busy(conn)).map(|(id, _)| id).collect();
        if self.opening.is_empty() {
            self.pool.drain(now);
        }
        let tunnels: Vec<_> = self.tunnels.keys().collect();
        for id in tunnels {
            self.drain_tunnel(now, id);
        }
        self.work(now);
    }

    /// Ends everything at once.
    pub fn terminate(&mut self, now: Instant) {
        self.drain(now);
        let live = self.live();
        self.drain.force(now, live);
        self.work(now);
    }

    // ---- poll

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next thing to tell.
    #[must_use]
    pub fn poll_observed(&mut self) -> Option<Observed> {
        self.observed.pop_front()
    }

    /// When [`Shard::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.timers.first().map(|&(at, _)| at),
            self.pool.poll_timeout(),
            self.drain.poll_timeout(),
            self.judging.poll_timeout(),
            self.revocation.rounds.poll_timeout(),
            self.waits.poll_timeout(),
            self.trim_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    // ---- ask

    /// User connections alive now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Tunnels alive now, in either direction.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.tunnels.len()
    }

    /// Octets of buffers in use now.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffers.lent()
    }

    // ---- inside

    /// Runs everything that one input set in motion, to the end.
    fn work(&mut self, now: Instant) {
        loop {
            if let Some(id) = self.dirty.pop_front() {
                self.pump_tunnel(now, id);
            } else if let Some(event) = self.pool.poll_event() {
                self.handle_pool(now, event);
            } else if let Some(event) = self.drain.poll_event() {
                match event {
                    DrainEvent::Begin => {}
                    DrainEvent::Force => self.force(now),
                    DrainEvent::Done => self.actions.push_back(Action::Drained),
                }
            } else if self.has_opened_all() {
                self.pool.drain(now);
            } else {
                break;
            }
        }
        let grown = self.parties.wants_trim() || self.revocation.issuers.wants_trim();
        let loose = self.buffers.kept() > 0 || self.scratch.is_some() || grown;
        if self.trim_at.is_none() && loose {
            self.trim_at = Some(now + TRIM_INTERVAL);
        }
    }

    /// Whether the last of the connections that were opening when the drain began has found its way just now.
    fn has_opened_all(&mut self) -> bool {
        let waited = !self.opening.is_empty();
        // It is asked all the time: the first that is still opening is an answer.
        while let Some(&id) = self.opening.last() {
            if self.conns.get(id).is_some_and(|conn| conn.needs_pool(self.config.waypoint)) {
                return false;
            }
            self.opening.pop();
        }
        waited
    }

    /// Gives back what a burst has made of the queues.
    fn trim_queues(&mut self) {
        self.dirty.shrink_to(KEPT_QUEUE);
        self.urgent.shrink_to(KEPT_QUEUE);
        self.deferred.shrink_to(KEPT_QUEUE);
        self.actions.shrink_to(KEPT_QUEUE);
        self.observed.shrink_to(KEPT_QUEUE);
    }

    /// What a drain waits for.
    fn live(&self) -> usize {
        self.conns.len().saturating_add(self.tunnels.len())
    }

    fn told_live(&mut self, now: Instant) {
        let live = self.live();
        self.drain.handle_live(now, live);
    }

    /// Replaces what the timer table holds for `timer`.
    fn arm(
        timers: &mut BTreeSet<(Instant, Timer)>,
        armed: &mut Option<Instant>,
        at: Option<Instant>,
        timer: Timer,
    ) {
        if *armed == at {
            return;
        }
        if let Some(old) = armed.take() {
            timers.remove(&(old, timer));
        }
        if let Some(at) = at {
            timers.insert((at, timer));
        }
        *armed = at;
    }

    /// The drain's deadline has passed: what is left is broken off, and tunnels say so before they go.
    fn force(&mut self, now: Instant) {
        self.opening.clear();
        self.pool.drain(now);
        let conns: Vec<_> = self.conns.keys().collect();
        for id in conns {
            self.cut_conn(now, id, &report::drained());
        }
        let tunnels: Vec<_> = self.tunnels.keys().collect();
        for id in tunnels {
            self.close_tunnel(now, id, "drain", report::drained());
        }
    }
}
