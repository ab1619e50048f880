//! Graceful stop: open, graceful until a deadline, forced, done.
//!
//! A machine of counts: it knows how many things are open, not which. The owner closes its listeners and tells its
//! tunnels on [`DrainEvent::Begin`], ends what is left on [`DrainEvent::Force`], and is finished at
//! [`DrainEvent::Done`]. Each is told at most once, in this order.
use core::time::Duration;

use alloc::collections::VecDeque;

use crate::time::Instant;

/// What the owner must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DrainEvent {
    /// Stop accepting, say GOAWAY, let old work finish.
    Begin,
    /// The deadline passed with work left: end it now.
    Force,
    /// Nothing is left.
    Done,
}

/// The stop of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Drain {
    state: State,
    /// At most the three events there are.
    events: VecDeque<DrainEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Open,
    Graceful { until: Instant },
    Forced,
    Done,
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// Open: nothing stops yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Open, events: VecDeque::new() }
    }

    // ---- handle

    /// `live` things are open now. Needed only once the drain has begun; ignored before.
    pub fn handle_live(&mut self, _now: Instant, live: usize) {
        match self.state {
            State::Graceful { .. } | State::Forced if live == 0 => self.enter(State::Done, DrainEvent::Done),
            State::Open | State::Graceful { .. } | State::Forced | State::Done => {}
        }
    }

    /// Forces what is left once the grace is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Graceful { until } if until <= now => self.enter(State::Forced, DrainEvent::Force),
            State::Open | State::Graceful { .. } | State::Forced | State::Done => {}
        }
    }

    // ---- command

    /// Begins; a second call changes nothing. `live` is what is open now. Without grace the force follows at once.
    pub fn begin(&mut self, now: Instant, grace: Duration, live: usize) {
        if self.state != State::Open {
            return;
        }
        self.enter(State::Graceful { until: now + grace }, DrainEvent::Begin);
        self.handle_live(now, live);
        self.handle_timeout(now);
    }

    /// Ends the grace now, beginning first if need be; for a second signal, or for the immediate mode.
    pub fn force(&mut self, now: Instant, live: usize) {
        self.begin(now, Duration::ZERO, live);
        if let State::Graceful { .. } = self.state {
            self.enter(State::Forced, DrainEvent::Force);
        }
    }

    // ---- poll

    /// The next thing to do; drain it after every handle and command.
    #[must_use = "a stop not acted on never ends"]
    pub fn poll_event(&mut self) -> Option<DrainEvent> {
        self.events.pop_front()
    }

    /// When to call [`Drain::handle_timeout`]: the end of the grace.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Graceful { until } => Some(until),
            State::Open | State::Forced | State::Done => None,
        }
    }

    // ---- ask

    /// Whether new work may still be taken.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether everything has ended.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn enter(&mut self, state: State, event: DrainEvent) {
        self.state = state;
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const T0: Instant = Instant::ZERO;
    const GRACE: Duration = Duration::from_secs(25);

    fn drained(drain: &mut Drain) -> Vec<DrainEvent> {
        std::iter::from_fn(|| drain.poll_event()).collect()
    }

    fn begun(live: usize) -> Drain {
        let mut drain = Drain::new();
        assert!(drain.is_open());
        drain.begin(T0, GRACE, live);
        assert!(!drain.is_open());
        drain
    }

    #[test]
    fn idle_owner_is_done_at_once() {
        let mut drain = begun(0);
        assert_eq!(drained(&mut drain), [DrainEvent::Begin, DrainEvent::Done]);
        assert!(drain.is_done());
        assert_eq!(drain.poll_timeout(), None);
    }

    #[test]
    fn graceful_end_needs_no_force() {
        let mut drain = begun(2);
        assert_eq!(drained(&mut drain), [DrainEvent::Begin]);
        assert_eq!(drain.poll_timeout(), Some(T0 + GRACE));
        drain.handle_live(T0, 1);
        drain.handle_timeout(T0 + Duration::from_secs(24));
        assert_eq!(drained(&mut drain), []);
        drain.handle_live(T0, 0);
        assert_eq!(drained(&mut drain), [DrainEvent::Done]);
        drain.handle_timeout(T0 + GRACE);
        drain.handle_live(T0, 0);
        assert_eq!(drained(&mut drain), []);
    }

    #[test]
    fn deadline_forces_what_is_left() {
        let mut drain = begun(1);
        drain.handle_timeout(T0 + GRACE);
        assert_eq!(drained(&mut drain), [DrainEvent::Begin, DrainEvent::Force]);
        assert_eq!(drain.poll_timeout(), None);
        drain.handle_live(T0 + GRACE, 0);
        assert_eq!(drained(&mut drain), [DrainEvent::Done]);
    }

    #[test]
    fn no_grace_forces_at_once() {
        let mut drain = Drain::new();
        drain.begin(T0, Duration::ZERO, 3);
        assert_eq!(drained(&mut drain), [DrainEvent::Begin, DrainEvent::Force]);
    }

    #[test]
    fn force_cuts_the_grace_short_once() {
        let mut drain = begun(1);
        drain.force(T0, 1);
        drain.force(T0, 1);
        drain.begin(T0, GRACE, 1);
        assert_eq!(drained(&mut drain), [DrainEvent::Begin, DrainEvent::Force]);
        let mut open = Drain::new();
        open.force(T0, 1);
        assert_eq!(drained(&mut open), [DrainEvent::Begin, DrainEvent::Force]);
        let mut idle = Drain::new();
        idle.force(T0, 0);
        assert_eq!(drained(&mut idle), [DrainEvent::Begin, DrainEvent::Done]);
    }

    #[test]
    fn counts_mean_nothing_while_open() {
        let mut drain = Drain::new();
        drain.handle_live(T0, 0);
        drain.handle_timeout(Instant::FAR);
        assert_eq!((drained(&mut drain), drain.is_open()), (Vec::new(), true));
    }
}
