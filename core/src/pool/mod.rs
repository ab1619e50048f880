//! Which tunnel carries which stream: dial, lease, drain. Sees ids and counts, never bytes.
//!
//! The owner reports what happened to tunnels (`handle_*`), asks for leases ([`Pool::acquire`]) and does what
//! [`Pool::poll_event`] says. Rules that hold at all times:
//!
//! - A tunnel is shared only by streams whose keys are equal in full.
//! - A key has at most one dial in flight. Whoever waits for the key shares it, and shares its failure.
//! - Somebody waits for a key only while a dial for it is in flight, so nobody waits for ever.
//! - A tunnel never carries more leases than `min(config.max_streams, what the peer allows now)`, and is used again as
//!   soon as it is below that. The oldest tunnel with room is preferred, so that younger ones fall idle.
//!
//! Every operation costs O(log n) for each request that it answers.
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::identity::{Identity, IdentitySet};
use crate::time::Instant;

mod index;
#[cfg(test)]
mod tests;

use index::{KeyState, Up};

/// What must be equal for two streams to share a tunnel; compared in full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelKey {
    /// The workload on whose behalf the tunnel is dialled; its certificate is shown to the peer.
    pub source: Identity,
    /// Who the peer may be. A set: the order in which the control plane lists identities does not split the pool.
    pub expected: IdentitySet,
    /// Where the tunnel is dialled to.
    pub destination: SocketAddr,
    /// The local address the transport is bound to, when the source address is preserved.
    pub source_ip: Option<IpAddr>,
}

/// One wish for a lease, named by the owner; unique while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One tunnel, named by the pool; never used twice in a pool's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(pub u64);

/// What bounds a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolConfig {
    /// Most leases per tunnel, whatever the peer allows (`POOL_MAX_STREAMS_PER_CONNECTION`, 100). 0 counts as 1.
    pub max_streams: u32,
    /// How long a tunnel without leases is kept (`POOL_UNUSED_RELEASE_TIMEOUT`, 5 min).
    pub idle: Duration,
    /// Most tunnels, dials in flight included, over all keys. The tunnel that has been idle longest makes room.
    pub max_tunnels: usize,
}

/// What the owner must do, or may tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PoolEvent<K, E> {
    /// Establish `tunnel`; answer with [`Pool::handle_dialed`].
    Dial {
        /// The name of the tunnel to be.
        tunnel: TunnelId,
        /// What it is for.
        key: K,
    },
    /// A lease: one stream on `tunnel`, counted already. Give it back with [`Pool::release`].
    Granted {
        /// Who asked.
        request: RequestId,
        /// Where the stream goes.
        tunnel: TunnelId,
    },
    /// The request got no lease and waits no longer.
    Refused {
        /// Who asked.
        request: RequestId,
        /// Why not.
        error: Refused<E>,
    },
    /// Close this tunnel, or give up dialling it; the pool has forgotten it.
    Close {
        /// Which one.
        tunnel: TunnelId,
        /// Why.
        reason: CloseReason,
    },
    /// The drain is complete: no tunnel is left. Announced once.
    Drained,
}

/// Why the pool gave up a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// No lease for [`PoolConfig::idle`].
    Idle,
    /// Idle, and room was needed under [`PoolConfig::max_tunnels`].
    Evicted,
    /// It was going away ([`Pool::handle_goaway`]) and its last lease has ended.
    GoAway,
    /// The peer's first SETTINGS allow no stream at all.
    NoStreams,
    /// The pool drains.
    Draining,
}

impl CloseReason {
    /// A stable name for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::GoAway => "goaway",
            Self::NoStreams => "no_streams",
            Self::Draining => "drain",
        }
    }
}

/// Why a request got no lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refused<E> {
    /// The dial that the request waited for failed.
    #[error("{0}")]
    Dial(E),
    /// The pool drains.
    #[error("pool draining")]
    Draining,
    /// A further tunnel is needed, [`PoolConfig::max_tunnels`] is reached, and none of them is idle.
    #[error("too many tunnels are open: raise the limit or reduce the number of distinct peers")]
    Full,
    /// The peer's first SETTINGS allow no stream at all.
    #[error("the peer allows no streams (SETTINGS_MAX_CONCURRENT_STREAMS is 0)")]
    NoStreams,
}

/// The pool. `K` is the key ([`TunnelKey`] in the shard), `E` the dial error which every waiter gets a clone of.
///
/// Late and unknown ids are ignored throughout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pool<K, E> {
    config: PoolConfig,
    next: u64,
    tunnels: BTreeMap<TunnelId, Tunnel<K>>,
    keys: BTreeMap<K, KeyState>,
    /// Whoever waits: the key, and the place in that key's queue.
    waiting: BTreeMap<RequestId, (K, u64)>,
    /// Tunnels without leases, by the deadline at which they are closed.
    idle: BTreeSet<(Instant, TunnelId)>,
    phase: Phase,
    /// Bounded by the answers that one call gives; the owner drains it after every call.
    events: VecDeque<PoolEvent<K, E>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Tunnel<K> {
    key: K,
    /// `None` while it is being dialled.
    up: Option<Up>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Open,
    Draining,
    Drained,
}

impl<K: Ord + Clone, E: Clone> Pool<K, E> {
    /// An empty pool.
    #[must_use]
    pub const fn new(config: PoolConfig) -> Self {
        Self {
            config,
            next: 0,
            tunnels: BTreeMap::new(),
            keys: BTreeMap::new(),
            waiting: BTreeMap::new(),
            idle: BTreeSet::new(),
            phase: Phase::Open,
            events: VecDeque::new(),
        }
    }

    // ---- handle

    /// The dial of `tunnel` ended: with the number of streams the peer allows, or in failure.
    ///
    /// Report success only once the peer's SETTINGS have arrived (design D9). A failure reaches everybody who waits for
    /// the key; whoever asks afterwards dials anew.
    pub fn handle_dialed(&mut self, now: Instant, tunnel: TunnelId, result: Result<u32, E>) {
        let Some(entry) = self.tunnels.get_mut(&tunnel) else { return };
        if entry.up.is_some() {
            return;
        }
        let key = entry.key.clone();
        if let Some(state) = self.keys.get_mut(&key) {
            state.dial = None;
        }
        match result {
            Ok(0) => {
                self.close(tunnel, CloseReason::NoStreams);
                self.refuse_all(&key, &Refused::NoStreams);
            }
            Ok(limit) => {
                entry.up = Some(Up::new(limit));
                self.settle(now, tunnel);
                self.serve(now, &key);
            }
            Err(error) => {
                self.tunnels.remove(&tunnel);
                self.refuse_all(&key, &Refused::Dial(error));
            }
        }
    }

    /// The peer changed the number of streams it allows on `tunnel`.
    ///
    /// Below the current leases it cuts none, but none is added until enough have ended.
    pub fn handle_limit(&mut self, now: Instant, tunnel: TunnelId, limit: u32) {
        let Some((key, up)) = self.up_mut(tunnel) else { return };
        up.limit = limit;
        let key = key.clone();
        self.settle(now, tunnel);
        self.serve(now, &key);
    }

    /// `tunnel` takes no new streams: the peer said GOAWAY, or the owner retires it because its certificate changed.
    ///
    /// Its leases go on; after the last of them it is closed. A dial in flight is not affected: GOAWAY cannot precede
    /// SETTINGS (RFC 9113 §3.4), so it is never known before [`Pool::handle_dialed`].
    pub fn handle_goaway(&mut self, now: Instant, tunnel: TunnelId) {
        let Some((_, up)) = self.up_mut(tunnel) else { return };
        up.going_away = true;
        self.settle(now, tunnel);
    }

    /// `tunnel` is gone, and every lease on it. Whoever waits for a dial that is gone without a result gets a new one.
    pub fn handle_closed(&mut self, now: Instant, tunnel: TunnelId) {
        let Some(entry) = self.tunnels.get(&tunnel) else { return };
        let key = entry.key.clone();
        self.forget(tunnel);
        self.serve(now, &key);
        self.finish_drain();
    }

    /// Closes the tunnels whose idle deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(deadline, tunnel)) = self.idle.first() {
            if deadline > now {
                break;
            }
            self.close(tunnel, CloseReason::Idle);
        }
    }

    // ---- command

    /// Asks for a lease on a tunnel for `key`. The answer is one `Granted` or `Refused`, now or later.
    ///
    /// A request id that already waits is ignored.
    pub fn acquire(&mut self, now: Instant, request: RequestId, key: K) {
        if self.phase != Phase::Open {
            self.events.push_back(PoolEvent::Refused { request, error: Refused::Draining });
            return;
        }
        if self.waiting.contains_key(&request) {
            return;
        }
        if let Some(tunnel) = self.keys.get(&key).and_then(KeyState::at_once) {
            // Most find a tunnel that is there already, and need not queue for it.
            return self.grant(now, request, tunnel);
        }
        let place = self.keys.entry(key.clone()).or_default().enqueue(request);
        self.waiting.insert(request, (key.clone(), place));
        self.serve(now, &key);
    }

    /// `request` waits no longer; it gets no answer. One that was granted already has to be released instead.
    ///
    /// A dial nobody waits for any more goes on, and its tunnel is pooled. That is on purpose: a client that gives up and
    /// tries again finds the handshake where it was, instead of starting it anew each time and never getting through.
    /// There is one such dial per key at most, it counts under [`PoolConfig::max_tunnels`], and its owner's deadlines end
    /// it ([`EstablishLimits`](crate::hbone::establish::EstablishLimits): 10 s for each of its phases).
    pub fn cancel(&mut self, _now: Instant, request: RequestId) {
        let Some((key, place)) = self.waiting.remove(&request) else { return };
        if let Some(state) = self.keys.get_mut(&key) {
            state.queue.remove(&place);
        }
        self.tidy(&key);
    }

    /// A granted stream on `tunnel` ended.
    pub fn release(&mut self, now: Instant, tunnel: TunnelId) {
        let Some((key, up)) = self.up_mut(tunnel) else { return };
        let Some(leases) = up.leases.checked_sub(1) else { return };
        up.leases = leases;
        let key = key.clone();
        self.settle(now, tunnel);
        self.serve(now, &key);
    }

    /// Graceful stop: refuses whoever waits or comes later, closes dials and idle tunnels at once and every other
    /// tunnel after its last lease. `Drained` follows when none is left. A second call changes nothing.
    pub fn drain(&mut self, now: Instant) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Draining;
        for (request, _) in core::mem::take(&mut self.waiting) {
            self.events.push_back(PoolEvent::Refused { request, error: Refused::Draining });
        }
        self.keys.clear();
        let all: Vec<_> = self.tunnels.iter().map(|(id, tunnel)| (*id, tunnel.up.is_some())).collect();
        for (tunnel, is_up) in all {
            if is_up {
                self.settle(now, tunnel);
            } else {
                self.close(tunnel, CloseReason::Draining);
            }
        }
        self.finish_drain();
    }

    // ---- poll

    /// The next thing to do or tell; drain it after every handle and command.
    #[must_use = "an event not acted on is a lease or a tunnel lost"]
    pub fn poll_event(&mut self) -> Option<PoolEvent<K, E>> {
        self.events.pop_front()
    }

    /// When to call [`Pool::handle_timeout`]: the earliest idle deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.idle.first().map(|(deadline, _)| *deadline)
    }

    // ---- ask

    /// Tunnels that are up or being dialled.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.tunnels.len()
    }

    /// Requests without an answer yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Leases out on `tunnel`; 0 when there is no such tunnel.
    #[must_use]
    pub fn leases(&self, tunnel: TunnelId) -> u32 {
        self.tunnels.get(&tunnel).and_then(|entry| entry.up.as_ref()).map_or(0, |up| up.leases)
    }
}
