//! One user connection's two byte directions: half-close each way, resets, counters; never the bytes themselves.
//!
//! ```text
//!            octets            source ended,        sink told
//!            may come          octets pending       (FIN / END_STREAM)
//!   flow:    Open ───────────▶ Ending ────────────▶ Ended
//!              └───────────────nothing pending──────────▲
//! ```
//! A relay has two flows, downstream → upstream and back; it is done when both have ended or either end was aborted.
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// The two ends of a relayed connection (Envoy's words): where it came from and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum End {
    /// The side that opened the connection.
    Downstream,
    /// The side that was dialled.
    Upstream,
}

impl End {
    /// The opposite end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Downstream => Self::Upstream,
            Self::Upstream => Self::Downstream,
        }
    }
}

/// What the owner of a [`Relay`] must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelayEvent {
    /// Half-close this end: everything for it has been delivered.
    Finish(End),
    /// Abort this end: the other was reset, or waited too long.
    Reset(End),
    /// Both ends have been told all there is to tell; said once.
    Done(Outcome),
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Both directions were finished.
    Complete,
    /// An end was reset.
    Reset(End),
    /// Half-closed and silent for too long.
    Idle,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum FlowState {
    #[default]
    Open,
    Ending,
    Ended,
}

/// Octets on their way from one end to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Flow {
    state: FlowState,
    pending: u64,
    total: u64,
}

/// What is known and still to be said about one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct EndState {
    /// Takes and gives nothing any more.
    gone: bool,
    finish: bool,
    reset: bool,
}

/// The relay of one connection. See the module for its states.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Relay {
    /// Downstream → upstream.
    forth: Flow,
    /// Upstream → downstream.
    back: Flow,
    downstream: EndState,
    upstream: EndState,
    outcome: Option<Outcome>,
    announced: bool,
    last: Instant,
    idle: Duration,
}

impl Relay {
    /// A relay whose both directions are open. `idle`: how long it may stay half-closed without a single octet.
    #[must_use]
    pub fn new(now: Instant, idle: Duration) -> Self {
        Self {
            forth: Flow::default(),
            back: Flow::default(),
            downstream: EndState::default(),
            upstream: EndState::default(),
            outcome: None,
            announced: false,
            last: now,
            idle,
        }
    }

    // --- handle

    /// `octets` were read from `from` and are on their way to the other end.
    pub fn handle_data(&mut self, now: Instant, from: End, octets: u64) {
        self.last = self.last.max(now);
        let flow = self.flow_mut(from);
        if flow.state == FlowState::Open {
            flow.pending = flow.pending.saturating_add(octets);
            flow.total = flow.total.saturating_add(octets);
        }
    }

    /// `octets` that came from `from` have been delivered to the other end.
    pub fn handle_delivered(&mut self, now: Instant, from: End, octets: u64) {
        self.last = self.last.max(now);
        let flow = self.flow_mut(from);
        flow.pending = flow.pending.saturating_sub(octets);
        if flow.state == FlowState::Ending && flow.pending == 0 {
            self.end_flow(from);
        }
    }

    /// `from` finished its half: FIN or END_STREAM. What it sent before is still delivered.
    pub fn handle_finished(&mut self, now: Instant, from: End) {
        self.last = self.last.max(now);
        let flow = self.flow_mut(from);
        if flow.state == FlowState::Open {
            flow.state = FlowState::Ending;
            if flow.pending == 0 {
                self.end_flow(from);
            }
        }
    }

    /// `from` is gone without an error (a stream reset with NO_ERROR or CANCEL, as upstream's ztunnel ends one):
    /// what it sent is still delivered and then finished; what is on its way to it is dropped.
    pub fn handle_gone(&mut self, now: Instant, from: End) {
        self.end_mut(from).gone = true;
        let toward = self.flow_mut(from.other());
        toward.state = FlowState::Ended;
        toward.pending = 0;
        self.handle_finished(now, from);
        self.conclude();
    }

    /// `from` was aborted (TCP RST, RST_STREAM with an error, a socket error): the other end is aborted too.
    pub fn handle_reset(&mut self, now: Instant, from: End) {
        self.last = self.last.max(now);
        self.abort(Outcome::Reset(from), &[from.other()]);
        self.end_mut(from).gone = true;
    }

    /// Ends a connection that has been half-closed and silent for too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.abort(Outcome::Idle, &[End::Downstream, End::Upstream]);
        }
    }

    // --- poll

    /// What to do next; drain after each call above.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        for end in [End::Downstream, End::Upstream] {
            let state = self.end_mut(end);
            if core::mem::take(&mut state.reset) {
                state.finish = false;
                return Some(RelayEvent::Reset(end));
            }
            if core::mem::take(&mut state.finish) {
                return Some(RelayEvent::Finish(end));
            }
        }
        match self.outcome {
            Some(outcome) if !self.announced => {
                self.announced = true;
                Some(RelayEvent::Done(outcome))
            }
            _ => None,
        }
    }

    /// When [`Relay::handle_timeout`] is due: only while half-closed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let half = self.forth.state != FlowState::Open || self.back.state != FlowState::Open;
        (half && self.outcome.is_none()).then(|| self.last + self.idle)
    }

    // --- ask

    /// Octets read from `from` so far.
    #[must_use]
    pub fn total(&self, from: End) -> u64 {
        match from {
            End::Downstream => self.forth.total,
            End::Upstream => self.back.total,
        }
    }

    /// Octets read from `from` which the other end has not taken yet.
    #[must_use]
    pub fn pending(&self, from: End) -> u64 {
        match from {
            End::Downstream => self.forth.pending,
            End::Upstream => self.back.pending,
        }
    }

    /// Whether `from` may still send.
    #[must_use]
    pub fn is_open(&self, from: End) -> bool {
        self.outcome.is_none()
            && match from {
                End::Downstream => self.forth.state == FlowState::Open,
                End::Upstream => self.back.state == FlowState::Open,
            }
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    // --- inside

    fn flow_mut(&mut self, from: End) -> &mut Flow {
        match from {
            End::Downstream => &mut self.forth,
            End::Upstream => &mut self.back,
        }
    }

    fn end_mut(&mut self, end: End) -> &mut EndState {
        match end {
            End::Downstream => &mut self.downstream,
            End::Upstream => &mut self.upstream,
        }
    }

    fn end_flow(&mut self, from: End) {
        self.flow_mut(from).state = FlowState::Ended;
        let sink = self.end_mut(from.other());
        if !sink.gone && self.outcome.is_none() {
            self.end_mut(from.other()).finish = true;
        }
        self.conclude();
    }

    fn conclude(&mut self) {
        if self.outcome.is_none()
            && self.forth.state == FlowState::Ended
            && self.back.state == FlowState::Ended
        {
            self.outcome = Some(Outcome::Complete);
        }
    }

    fn abort(&mut self, outcome: Outcome, told: &[End]) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = Some(outcome);
        for flow in [&mut self.forth, &mut self.back] {
            flow.state = FlowState::Ended;
            flow.pending = 0;
        }
        for &end in told {
            let state = self.end_mut(end);
            state.reset = !state.gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    const NOW: Instant = Instant::ZERO;
    const IDLE: Duration = Duration::from_secs(300);

    fn drain(relay: &mut Relay) -> Vec<RelayEvent> {
        core::iter::from_fn(|| relay.poll_event()).collect()
    }

    #[test]
    fn half_close_waits_for_pending_octets_and_both_ends_are_told_once() {
        let mut relay = Relay::new(NOW, IDLE);
        relay.handle_data(NOW, End::Downstream, 10);
        relay.handle_finished(NOW, End::Downstream);
        assert_eq!(drain(&mut relay), vec![]);
        relay.handle_delivered(NOW, End::Downstream, 10);
        assert_eq!(drain(&mut relay), vec![RelayEvent::Finish(End::Upstream)]);
        relay.handle_finished(NOW, End::Downstream);
        assert_eq!(drain(&mut relay), vec![]);
        relay.handle_finished(NOW, End::Upstream);
        let end = vec![RelayEvent::Finish(End::Downstream), RelayEvent::Done(Outcome::Complete)];
        assert_eq!(drain(&mut relay), end);
        assert_eq!((relay.total(End::Downstream), relay.total(End::Upstream)), (10, 0));
    }

    #[test]
    fn a_reset_end_aborts_the_other_and_only_the_other() {
        let mut relay = Relay::new(NOW, IDLE);
        relay.handle_data(NOW, End::Upstream, 3);
        relay.handle_reset(NOW, End::Upstream);
        let end = vec![RelayEvent::Reset(End::Downstream), RelayEvent::Done(Outcome::Reset(End::Upstream))];
        assert_eq!(drain(&mut relay), end);
        relay.handle_reset(NOW, End::Downstream);
        relay.handle_timeout(Instant::FAR);
        assert_eq!(drain(&mut relay), vec![]);
    }

    #[test]
    fn a_gone_end_still_has_its_octets_delivered() {
        let mut relay = Relay::new(NOW, IDLE);
        relay.handle_data(NOW, End::Upstream, 5);
        relay.handle_data(NOW, End::Downstream, 7);
        relay.handle_gone(NOW, End::Upstream);
        assert_eq!(drain(&mut relay), vec![]);
        relay.handle_delivered(NOW, End::Upstream, 5);
        let end = vec![RelayEvent::Finish(End::Downstream), RelayEvent::Done(Outcome::Complete)];
        assert_eq!(drain(&mut relay), end);
    }

    #[test]
    fn half_closed_silence_ends_it_and_any_octet_puts_it_off() {
        let mut relay = Relay::new(NOW, IDLE);
        assert_eq!(relay.poll_timeout(), None);
        relay.handle_finished(NOW, End::Downstream);
        assert_eq!(drain(&mut relay), vec![RelayEvent::Finish(End::Upstream)]);
        let later = NOW + Duration::from_secs(200);
        relay.handle_data(later, End::Upstream, 1);
        relay.handle_delivered(later, End::Upstream, 1);
        relay.handle_timeout(NOW + IDLE);
        assert_eq!(drain(&mut relay), vec![]);
        relay.handle_timeout(later + IDLE);
        let end = vec![
            RelayEvent::Reset(End::Downstream),
            RelayEvent::Reset(End::Upstream),
            RelayEvent::Done(Outcome::Idle),
        ];
        assert_eq!(drain(&mut relay), end);
    }
}
