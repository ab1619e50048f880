//! Keepalive, for dialled sockets that last.
//!
//! Most connections end long before the first probe is due, but would all pay four system calls and a timer for it. So it
//! is asked for when a connection has lasted a moment. (What is accepted has inherited it from its listener.)
use std::mem;
use std::time::Duration;

use adit_core::proxy::{ProxyId, SocketId};
use adit_core::time::Instant;

/// How long a connection lasts at least until it gets its keepalive; at most twice that.
const MOMENT: Duration = Duration::from_secs(1);

/// Sockets that were dialled lately, gone or not: stale ids find nothing.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    /// Since the last tick.
    young: Vec<(ProxyId, SocketId)>,
    /// Since the tick before that.
    old: Vec<(ProxyId, SocketId)>,
    tick: Option<Instant>,
}

impl Lasting {
    /// A socket was dialled for `proxy`.
    pub(super) fn handle_dialled(&mut self, now: Instant, proxy: ProxyId, id: SocketId) {
        self.young.push((proxy, id));
        self.tick.get_or_insert(now + MOMENT);
    }

    /// The sockets that get their keepalive now, if they are still there.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<(ProxyId, SocketId)> {
        if self.tick.is_none_or(|tick| tick > now) {
            return Vec::new();
        }
        let due = mem::replace(&mut self.old, mem::take(&mut self.young));
        self.tick = (!self.old.is_empty()).then(|| now + MOMENT);
        due
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_comes_up_once_after_a_moment_and_before_two() {
        let id = |index| SocketId { index, generation: 0 };
        let own = |index| (ProxyId::OWN, id(index));
        let at = |millis| Instant::from_millis(millis);
        let mut lasting = Lasting::default();
        assert_eq!(lasting.poll_timeout(), None);
        lasting.handle_dialled(at(0), ProxyId::OWN, id(0));
        lasting.handle_dialled(at(900), ProxyId::OWN, id(1));
        assert_eq!(lasting.handle_timeout(at(999)), []);
        assert_eq!(lasting.handle_timeout(at(1000)), []);
        lasting.handle_dialled(at(1100), ProxyId::OWN, id(2));
        assert_eq!(lasting.poll_timeout(), Some(at(2000)));
        assert_eq!(lasting.handle_timeout(at(2000)), [own(0), own(1)]);
        assert_eq!(lasting.handle_timeout(at(3000)), [own(2)]);
        assert_eq!(lasting.poll_timeout(), None);
    }
}
