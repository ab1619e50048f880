//! The pool's bookkeeping: who waits for a key, which tunnels have room, which are idle.
use alloc::collections::{BTreeMap, BTreeSet};

use super::{CloseReason, Phase, Pool, PoolEvent, Refused, RequestId, Tunnel, TunnelId};
use crate::time::Instant;

/// An established tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Up {
    /// What the peer allows now.
    pub(super) limit: u32,
    pub(super) leases: u32,
    /// No new leases; closed after the last one.
    pub(super) going_away: bool,
    /// When it is closed unless a lease comes first; set exactly while it stands in `Pool::idle`.
    idle_until: Option<Instant>,
}

impl Up {
    pub(super) const fn new(limit: u32) -> Self {
        Self { limit, leases: 0, going_away: false, idle_until: None }
    }
}

/// What is known about one key. Dropped when it says nothing; full tunnels are not listed here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyState {
    /// The one dial in flight.
    pub(super) dial: Option<TunnelId>,
    /// Who waits, in the order of arrival.
    pub(super) queue: BTreeMap<u64, RequestId>,
    /// Tunnels below their limit.
    roomy: BTreeSet<TunnelId>,
}

impl KeyState {
    /// Puts `request` at the end of the queue and returns its place. Places restart when the queue runs empty.
    pub(super) fn enqueue(&mut self, request: RequestId) -> u64 {
        let place = self.queue.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        self.queue.insert(place, request);
        place
    }

    /// The tunnel of a request that comes now, if nobody is before it and one has room.
    pub(super) fn at_once(&self) -> Option<TunnelId> {
        self.roomy.first().filter(|_| self.queue.is_empty()).copied()
    }

    fn is_empty(&self) -> bool {
        self.dial.is_none() && self.queue.is_empty() && self.roomy.is_empty()
    }
}

impl<K: Ord + Clone, E: Clone> Pool<K, E> {
    pub(super) fn up_mut(&mut self, tunnel: TunnelId) -> Option<(&K, &mut Up)> {
        let Tunnel { key, up } = self.tunnels.get_mut(&tunnel)?;
        Some((key, up.as_mut()?))
    }

    /// Brings the indices in line with what has changed on an established tunnel; closes it if nothing keeps it.
    pub(super) fn settle(&mut self, now: Instant, tunnel: TunnelId) {
        let Some(Tunnel { key, up: Some(up) }) = self.tunnels.get_mut(&tunnel) else { return };
        if up.leases == 0 {
            let reason = match self.phase {
                Phase::Open if up.going_away => Some(CloseReason::GoAway),
                Phase::Open => None,
                Phase::Draining | Phase::Drained => Some(CloseReason::Draining),
            };
            if let Some(reason) = reason {
                return self.close(tunnel, reason);
            }
            if up.idle_until.is_none() {
                let deadline = now + self.config.idle;
                up.idle_until = Some(deadline);
                self.idle.insert((deadline, tunnel));
            }
        } else if let Some(deadline) = up.idle_until.take() {
            self.idle.remove(&(deadline, tunnel));
        }
        let limit = up.limit.min(self.config.max_streams.max(1));
        if self.phase == Phase::Open && !up.going_away && up.leases < limit {
            match self.keys.get_mut(key) {
                Some(state) => state.roomy.insert(tunnel),
                None => self.keys.entry(key.clone()).or_default().roomy.insert(tunnel),
            };
        } else if let Some(state) = self.keys.get_mut(key) {
            state.roomy.remove(&tunnel);
            let key = key.clone();
            self.tidy(&key);
        }
    }

    /// Grants leases to whoever waits for `key`, first come first served; if some remain, sees to it that a dial is in
    /// flight for them, or refuses them.
    pub(super) fn serve(&mut self, now: Instant, key: &K) {
        while let Some((request, tunnel)) = self.next_match(key) {
            self.waiting.remove(&request);
            self.grant(now, request, tunnel);
        }
        let must_dial =
            self.keys.get(key).is_some_and(|state| state.dial.is_none() && !state.queue.is_empty());
        if must_dial {
            if self.make_room() {
                self.dial(key);
            } else {
                self.refuse_all(key, &Refused::Full);
            }
        }
        self.tidy(key);
    }

    /// Gives `request` a lease on `tunnel`, which has room.
    pub(super) fn grant(&mut self, now: Instant, request: RequestId, tunnel: TunnelId) {
        if let Some((_, up)) = self.up_mut(tunnel) {
            up.leases = up.leases.saturating_add(1);
        }
        self.settle(now, tunnel);
        self.events.push_back(PoolEvent::Granted { request, tunnel });
    }

    /// Takes the next waiter off the queue if there is a tunnel for it.
    fn next_match(&mut self, key: &K) -> Option<(RequestId, TunnelId)> {
        let state = self.keys.get_mut(key)?;
        let tunnel = *state.roomy.first()?;
        let (_, request) = state.queue.pop_first()?;
        Some((request, tunnel))
    }

    /// Whether one more tunnel is allowed; closes the longest idle one if that helps.
    fn make_room(&mut self) -> bool {
        if self.tunnels.len() < self.config.max_tunnels {
            return true;
        }
        let Some(&(_, tunnel)) = self.idle.first() else { return false };
        self.close(tunnel, CloseReason::Evicted);
        self.tunnels.len() < self.config.max_tunnels
    }

    fn dial(&mut self, key: &K) {
        let tunnel = TunnelId(self.next);
        self.next = self.next.saturating_add(1);
        self.tunnels.insert(tunnel, Tunnel { key: key.clone(), up: None });
        self.keys.entry(key.clone()).or_default().dial = Some(tunnel);
        self.events.push_back(PoolEvent::Dial { tunnel, key: key.clone() });
    }

    /// Everybody who waits for `key` hears the same.
    pub(super) fn refuse_all(&mut self, key: &K, error: &Refused<E>) {
        if let Some(state) = self.keys.get_mut(key) {
            for (_, request) in core::mem::take(&mut state.queue) {
                self.waiting.remove(&request);
                self.events.push_back(PoolEvent::Refused { request, error: error.clone() });
            }
        }
        self.tidy(key);
    }

    /// Takes `tunnel` out of every index.
    pub(super) fn forget(&mut self, tunnel: TunnelId) {
        let Some(Tunnel { key, up }) = self.tunnels.remove(&tunnel) else { return };
        if let Some(deadline) = up.and_then(|up| up.idle_until) {
            self.idle.remove(&(deadline, tunnel));
        }
        if let Some(state) = self.keys.get_mut(&key) {
            state.roomy.remove(&tunnel);
            if state.dial == Some(tunnel) {
                state.dial = None;
            }
        }
        self.tidy(&key);
    }

    pub(super) fn close(&mut self, tunnel: TunnelId, reason: CloseReason) {
        self.forget(tunnel);
        self.events.push_back(PoolEvent::Close { tunnel, reason });
        self.finish_drain();
    }

    /// Announces the end of the drain when nothing is left.
    pub(super) fn finish_drain(&mut self) {
        if self.phase == Phase::Draining && self.tunnels.is_empty() {
            self.phase = Phase::Drained;
            self.events.push_back(PoolEvent::Drained);
        }
    }

    pub(super) fn tidy(&mut self, key: &K) {
        if self.keys.get(key).is_some_and(KeyState::is_empty) {
            self.keys.remove(key);
        }
    }
}
