//! Accepting: a budget per turn, and no failure that ends a listener.
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_core::proxy::{Listener, ProxyId};
use adit_core::time::Instant;
use rustix::io::Errno;

use super::Drive;
use crate::engine::Engine;
use crate::ports::{CertificateSource, Observer};
use crate::ready::{Key, Notifier};
use crate::runtime::{Clear, Readiness, Runtime};
use crate::socket::{Accepted, BACKLOG, BoundListener};
use crate::turns::{Place, Seat};

/// The first rest of a listener when the process has run out of something.
const FIRST_REST: Duration = Duration::from_millis(50);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// A listener, in the reactor while it is this shard's turn.
pub(super) struct ListenerSlot<Io> {
    proxy: ProxyId,
    bound: BoundListener,
    io: Option<Io>,
    notifier: Notifier,
    /// Until when it rests.
    until: Option<Instant>,
    /// How long it rests the next time.
    rest: Duration,
}

impl<Io: Readiness> ListenerSlot<Io> {
    pub(super) fn new(proxy: ProxyId, bound: BoundListener, notifier: Notifier) -> Self {
        Self { proxy, bound, io: None, notifier, until: None, rest: FIRST_REST }
    }

    /// Accepts a connection that waits; otherwise the listener's waker is left with the reactor, or with whoever has the
    /// turn.
    fn poll_accept<R: Runtime<Io = Io>>(&mut self, runtime: &R) -> Poll<io::Result<Accepted>> {
        let waker = self.notifier.waker();
        if self.bound.place().is_some_and(|place| !place.poll_turn(waker)) {
            self.io = None;
            return Poll::Pending;
        }
        let io = match &mut self.io {
            Some(io) => io,
            vacant => vacant.insert(runtime.register(self.bound.duplicate()?)?),
        };
        let mut cx = Context::from_waker(waker);
        loop {
            let guard = ready!(io.poll_readable(&mut cx))?;
            match self.bound.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear(),
                decided => return Poll::Ready(decided),
            }
        }
    }

    /// A connection was accepted: it has a seat, and the turn may pass on.
    fn seat(&mut self, now: Instant) -> Option<Seat> {
        let seat = self.bound.place()?.sit();
        self.pass_on(now);
        Some(seat)
    }

    /// Passes the turn on, if this shard has it and another should.
    pub(super) fn pass_on(&mut self, now: Instant) {
        if self.bound.place().is_some_and(|place| place.pass_on(now)) {
            self.io = None;
        }
    }

    /// The shards it is shared with.
    pub(super) fn place(&self) -> Option<&Arc<Place>> {
        self.bound.place()
    }

    /// Whose it is.
    pub(super) const fn proxy(&self) -> ProxyId {
        self.proxy
    }

    /// The end of its rest.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether a rest is over with `now`.
    pub(super) fn rested(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// Backs off; returns for how long.
    fn back_off(&mut self, now: Instant) -> Duration {
        let rest = self.rest;
        self.until = Some(now + rest);
        self.rest = rest.saturating_mul(2).min(LONGEST_REST);
        rest
    }
}

impl<Io> Drop for ListenerSlot<Io> {
    fn drop(&mut self) {
        if let Some(place) = self.bound.place() {
            place.leave();
        }
    }
}

/// Whether the process or the machine has run out of something, so that the next `accept` fails as well.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

impl<R, E, O, C> Drive<R, E, O, C>
where
    R: Runtime,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    /// Accepts what waits in the queues of all listeners, before they are closed: a connection in a queue that closes is reset.
    /// The last shard that does so leaves nothing behind.
    pub(super) fn empty_queues(&mut self) {
        let indices: Vec<u32> = self.listeners.keys().copied().collect();
        for index in indices {
            // Whoever connects all the time does not hold up the end.
            for _ in 0..BACKLOG {
                let Some(slot) = self.listeners.get_mut(&index) else { break };
                // Whoever's turn it is, and without asking the reactor, which may not have heard yet of what came last.
                let accepted = match slot.bound.accept() {
                    Ok(accepted) => accepted,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_exhaustion(&error) => break,
                    // One that is gone already says nothing of the next.
                    Err(_) => continue,
                };
                let listener = slot.bound.listener();
                let (proxy, seat) = (slot.proxy, slot.seat(self.now));
                self.accepted((proxy, listener), accepted, seat);
            }
        }
        self.stop_listening();
    }

    /// Closes all listeners, for good.
    pub(super) fn stop_listening(&mut self) {
        self.listeners.clear();
        self.stopped_listening = true;
    }

    /// Accepts what waits at listener `index`, within the budget.
    pub(super) fn accept(&mut self, index: u32) {
        for _ in 0..self.config.accept_budget {
            let Some(slot) = self.listeners.get_mut(&index) else { return };
            slot.notifier.taken();
            if slot.until.is_some() {
                return;
            }
            let Poll::Ready(accepted) = slot.poll_accept(&self.runtime) else { return };
            let listener = slot.bound.listener();
            match accepted {
                Ok(accepted) => {
                    slot.rest = FIRST_REST;
                    let (proxy, seat) = (slot.proxy, slot.seat(self.now));
                    self.accepted((proxy, listener), accepted, seat);
                }
                Err(error) => {
                    let rest = is_exhaustion(&error).then(|| slot.back_off(self.now));
                    tracing::warn!(?rest, "Failed TCP handshake {error}");
                    self.observer.accept_failed(listener, &error, rest);
                    if rest.is_some() {
                        return;
                    }
                }
            }
        }
        self.again.push_back(Key::Listener(index));
    }

    fn accepted(&mut self, (proxy, listener): (ProxyId, Listener), accepted: Accepted, seat: Option<Seat>) {
        let Accepted { fd, peer, local, original } = accepted;
        let transport = match self.register(fd) {
            Ok(transport) => transport,
            Err(error) => {
                tracing::warn!(%error, %peer, "dropping a connection: it cannot be watched");
                return;
            }
        };
        if let Some(id) = self.engine.handle_accepted(self.now, proxy, listener, peer, local, original) {
            self.admit(id, transport, seat);
        } else {
            // Refused; the shard may have something to say about that.
            drop(transport);
            self.settle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exhaustion_makes_a_listener_rest() {
        assert!(is_exhaustion(&Errno::MFILE.into()));
        assert!(is_exhaustion(&Errno::NOBUFS.into()));
        assert!(!is_exhaustion(&Errno::CONNABORTED.into()));
        assert!(!is_exhaustion(&Errno::PERM.into()));
    }
}
