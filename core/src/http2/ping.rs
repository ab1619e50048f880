//! Liveness by PING (datapath §3.5): the first after an interval, then an interval after each answer.
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// The keep-alive clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Ping {
    state: State,
    /// How many were sent; mixed into the payload, so that a late answer is not taken for a current one even where nonces
    /// repeat, as those of symbolic sessions do.
    sent: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum State {
    Off,
    Resting { until: Instant },
    Waiting { until: Instant, payload: [u8; 8] },
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Send a PING with this payload.
    Send([u8; 8]),
    /// The peer is gone.
    Dead,
}

impl Ping {
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        Self { state: Self::rest(interval, now), sent: 0 }
    }

    fn rest(interval: Duration, now: Instant) -> State {
        if interval.is_zero() { State::Off } else { State::Resting { until: now + interval } }
    }

    /// A PING was answered; `false` when it is not the one that we wait for.
    pub(crate) fn answered(&mut self, answer: [u8; 8], interval: Duration, now: Instant) -> bool {
        if !matches!(self.state, State::Waiting { payload, .. } if payload == answer) {
            return false;
        }
        self.state = Self::rest(interval, now);
        true
    }

    /// What is due; `nonce` makes the payload unpredictable, so that a peer cannot answer what it has not read.
    pub(crate) fn poll(&mut self, timeout: Duration, nonce: [u8; 8], now: Instant) -> Due {
        match self.state {
            State::Resting { until } if until <= now => {
                self.sent = self.sent.wrapping_add(1);
                let payload = (u64::from_be_bytes(nonce) ^ self.sent).to_be_bytes();
                self.state = State::Waiting { until: now + timeout, payload };
                Due::Send(payload)
            }
            State::Waiting { until, .. } if until <= now => Due::Dead,
            State::Off | State::Resting { .. } | State::Waiting { .. } => Due::Nothing,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Off => None,
            State::Resting { until } | State::Waiting { until, .. } => Some(until),
        }
    }

    /// The clock was exchanged for another: what was being waited for is waited for anew.
    pub(crate) fn rebase(&mut self, interval: Duration, timeout: Duration, now: Instant) {
        self.state = match self.state {
            State::Off => State::Off,
            State::Resting { .. } => Self::rest(interval, now),
            State::Waiting { payload, .. } => State::Waiting { until: now + timeout, payload },
        };
    }
}
