//! The one connection to the agent: when it is made, and how long to wait after one that failed (interfaces §3.2).

use core::time::Duration;

use crate::rng::Rng;
use crate::time::Instant;

/// One attempt at a connection; whatever is said about an earlier one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// The first delay when no connection can be made.
const CONNECT: Duration = Duration::from_millis(20);
/// The first delay when the agent goes away without having told its pods.
const ANNOUNCE: Duration = Duration::from_millis(5);
/// No delay exceeds it.
const LONGEST: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The driver shall connect.
    Wanted,
    /// There is none until then.
    Waiting(Instant),
    /// The driver connects.
    Connecting,
    /// The driver says hello.
    Greeting,
    /// The agent may speak.
    Open {
        /// It has told of all its pods.
        snapshot: bool,
    },
    /// There will never be another.
    Over,
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    id: ConnectionId,
    state: State,
    connect: Duration,
    announce: Duration,
    rng: Rng,
}

impl Link {
    /// Wanted at once.
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            id: ConnectionId(0),
            state: State::Wanted,
            connect: CONNECT,
            announce: ANNOUNCE,
            rng: Rng::new(seed),
        }
    }

    /// A connection to make now.
    pub(super) fn poll_connect(&mut self) -> Option<ConnectionId> {
        if self.state != State::Wanted {
            return None;
        }
        self.state = State::Connecting;
        self.id = ConnectionId(self.id.0.wrapping_add(1));
        Some(self.id)
    }

    /// Whether that was news.
    pub(super) fn connected(&mut self, id: ConnectionId) -> bool {
        let news = self.id == id && self.state == State::Connecting;
        if news {
            self.connect = CONNECT;
            self.state = State::Greeting;
        }
        news
    }

    /// The agent may speak now.
    pub(super) fn greeted(&mut self, id: ConnectionId) {
        if self.id == id && self.state == State::Greeting {
            self.state = State::Open { snapshot: false };
        }
    }

    /// The connection is over; how far it had come decides when the next is made.
    pub(super) fn closed(&mut self, now: Instant, id: ConnectionId) {
        if self.id != id {
            return;
        }
        self.state = match self.state {
            State::Connecting => {
                let delay = self.connect;
                self.connect = LONGEST.min(delay.saturating_mul(2));
                State::Waiting(now + delay)
            }
            State::Greeting | State::Open { snapshot: false } => {
                let delay = self.announce;
                self.announce = LONGEST.min(delay.saturating_mul(2));
                State::Waiting(now + self.jittered(delay))
            }
            State::Open { snapshot: true } => State::Wanted,
            state @ (State::Wanted | State::Waiting(_) | State::Over) => state,
        };
    }

    /// The snapshot is complete.
    pub(super) fn snapshot(&mut self) {
        if let State::Open { snapshot } = &mut self.state {
            *snapshot = true;
            self.announce = ANNOUNCE;
        }
    }

    /// No connection any more; the present one, if any.
    pub(super) fn end(&mut self) -> Option<ConnectionId> {
        let live = matches!(self.state, State::Connecting | State::Greeting | State::Open { .. });
        self.state = State::Over;
        live.then_some(self.id)
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        if let State::Waiting(until) = self.state
            && until <= now
        {
            self.state = State::Wanted;
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(until) => Some(until),
            State::Wanted | State::Connecting | State::Greeting | State::Open { .. } | State::Over => None,
        }
    }

    /// The connection on which the agent may speak.
    pub(super) fn open(&self) -> Option<ConnectionId> {
        matches!(self.state, State::Open { .. }).then_some(self.id)
    }

    /// Hello is still to be said on `id`.
    pub(super) fn greets(&self, id: ConnectionId) -> bool {
        self.id == id && self.state == State::Greeting
    }

    /// The agent has told of all its pods on a connection that lives.
    pub(super) fn has_snapshot(&self) -> bool {
        self.state == State::Open { snapshot: true }
    }

    /// 80 to 120 % of `delay`, so that agent and proxies of a node that start together do not stay in step.
    fn jittered(&mut self, delay: Duration) -> Duration {
        let fifth = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX).checked_div(5).unwrap_or(0);
        let spread = self.rng.below(fifth.saturating_mul(2).saturating_add(1));
        let least = delay.saturating_sub(Duration::from_nanos(fifth));
        least.saturating_add(Duration::from_nanos(spread)).min(LONGEST)
    }
}
