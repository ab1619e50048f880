//! The state of the relay model: the shipped relay, its driver, and what each end knows.
use std::collections::BTreeSet;

use adit_core::proxy::relay::{End, Outcome, Relay, RelayEvent};
use adit_core::time::Instant;

use super::{Action, Fault, IDLE, RelayModel};

const ENDS: [End; 2] = [End::Downstream, End::Upstream];

/// The machine, and what an honest outsider knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    relay: Relay,
    now: Instant,
    downstream: Ghost,
    upstream: Ghost,
    pub(super) done: Option<Outcome>,
    pub(super) wrong: BTreeSet<Wrong>,
    pub(super) seen: BTreeSet<Seen>,
}

/// One end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Ghost {
    sent: u64,
    /// Octets of this end on their way to the other.
    on_the_way: u64,
    life: Life,
    was_finished: bool,
    was_reset: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Life {
    #[default]
    Open,
    Finished,
    Gone,
    Reset,
}

/// What a step must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Wrong {
    FinishedTooEarly,
    ToldTwice,
    AfterDone,
    OctetLost,
    ResetSwallowed,
}

/// What some step must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Seen {
    CompleteWithOctetsBothWays,
    DeliveredAfterGone,
    ResetWithOctetsOnTheWay,
    CallAfterDone,
}

impl Ghost {
    /// Takes what is delivered to it.
    const fn takes(self) -> bool {
        matches!(self.life, Life::Open | Life::Finished) && !self.was_reset
    }

    const fn said_all(self) -> bool {
        !matches!(self.life, Life::Open)
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            relay: Relay::new(Instant::ZERO, IDLE),
            now: Instant::ZERO,
            downstream: Ghost::default(),
            upstream: Ghost::default(),
            done: None,
            wrong: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    // ---- what can happen

    pub(super) fn actions(&self, model: &RelayModel, actions: &mut Vec<Action>) {
        for end in ENDS {
            let ghost = self.ghost(end);
            // The owner asks the relay before it reads.
            if ghost.life == Life::Open && !ghost.was_reset && self.relay.is_open(end) {
                if ghost.sent < model.octets {
                    actions.push(Action::Data(end));
                }
                actions.push(Action::Finish(end));
            }
            if ghost.on_the_way > 0 && self.ghost(end.other()).takes() {
                actions.push(Action::Deliver(end));
            }
            // These need no read, and may come late.
            if ghost.takes() {
                actions.extend([Action::Gone(end), Action::Reset(end)]);
            }
        }
        if model.fault != Some(Fault::IgnoresTimers) && self.relay.poll_timeout().is_some() {
            actions.push(Action::Tick);
        }
    }

    // ---- what then happens

    pub(super) fn step(&mut self, fault: Option<Fault>, action: Action) {
        self.wrong.clear();
        self.seen.clear();
        if self.done.is_some() {
            self.seen.insert(Seen::CallAfterDone);
        }
        let now = self.now;
        match action {
            Action::Data(end) => self.data(fault, end),
            Action::Deliver(end) => {
                self.ghost_mut(end).on_the_way -= 1;
                if self.ghost(end).life == Life::Gone {
                    self.seen.insert(Seen::DeliveredAfterGone);
                }
                let told_before =
                    [Fault::ForgetsDelivery, Fault::ReportsDeliveryTooEarly, Fault::ForgetsOctets];
                if !fault.is_some_and(|fault| told_before.contains(&fault)) {
                    self.relay.handle_delivered(now, end, 1);
                }
            }
            Action::Finish(end) => {
                self.ghost_mut(end).life = Life::Finished;
                match fault {
                    Some(Fault::HidesFinish) => {}
                    Some(Fault::TakesFinishForGone) => self.relay.handle_gone(now, end),
                    _ => self.relay.handle_finished(now, end),
                }
            }
            Action::Gone(end) => {
                self.ghost_mut(end).life = Life::Gone;
                self.ghost_mut(end.other()).on_the_way = 0;
                if fault == Some(Fault::TakesGoneForFinish) {
                    self.relay.handle_finished(now, end);
                } else {
                    self.relay.handle_gone(now, end);
                }
            }
            Action::Reset(end) => return self.reset(fault, end),
            Action::Tick => {
                self.now = self.relay.poll_timeout().expect("a tick needs a deadline");
                self.relay.handle_timeout(self.now);
            }
        }
        self.pump(fault);
    }

    fn data(&mut self, fault: Option<Fault>, end: End) {
        let ghost = self.ghost_mut(end);
        ghost.sent += 1;
        ghost.on_the_way += 1;
        if fault != Some(Fault::ForgetsOctets) {
            self.relay.handle_data(self.now, end, 1);
        }
        if fault == Some(Fault::ReportsDeliveryTooEarly) {
            self.relay.handle_delivered(self.now, end, 1);
        }
    }

    fn reset(&mut self, fault: Option<Fault>, end: End) {
        let must_tell = self.done.is_none() && self.ghost(end.other()).takes();
        let octets = self.downstream.on_the_way + self.upstream.on_the_way;
        self.ghost_mut(end).life = Life::Reset;
        if fault == Some(Fault::TakesResetForGone) {
            self.relay.handle_gone(self.now, end);
        } else {
            self.relay.handle_reset(self.now, end);
        }
        self.pump(fault);
        if must_tell && !self.ghost(end.other()).was_reset {
            self.wrong.insert(Wrong::ResetSwallowed);
        }
        if must_tell && octets > 0 {
            self.seen.insert(Seen::ResetWithOctetsOnTheWay);
        }
        self.downstream.on_the_way = 0;
        self.upstream.on_the_way = 0;
    }

    // ---- what the machine asks for

    fn pump(&mut self, fault: Option<Fault>) {
        if fault == Some(Fault::ActsOnACopyToo) {
            let mut copy = self.relay.clone();
            while let Some(event) = copy.poll_event() {
                self.on_event(event);
            }
        }
        while let Some(event) = self.relay.poll_event() {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: RelayEvent) {
        if self.done.is_some() {
            self.wrong.insert(Wrong::AfterDone);
        }
        match event {
            RelayEvent::Finish(end) => {
                let (ghost, source) = (self.ghost(end), self.ghost(end.other()));
                if source.on_the_way > 0 || !source.said_all() {
                    self.wrong.insert(Wrong::FinishedTooEarly);
                }
                if ghost.was_finished || !ghost.takes() {
                    self.wrong.insert(Wrong::ToldTwice);
                }
                self.ghost_mut(end).was_finished = true;
            }
            RelayEvent::Reset(end) => {
                if !self.ghost(end).takes() {
                    self.wrong.insert(Wrong::ToldTwice);
                }
                self.ghost_mut(end).was_reset = true;
            }
            RelayEvent::Done(outcome) => {
                self.done = Some(outcome);
                if outcome == Outcome::Complete {
                    self.check_complete();
                }
            }
        }
    }

    fn check_complete(&mut self) {
        for end in ENDS {
            let (ghost, sink) = (self.ghost(end), self.ghost(end.other()));
            if (ghost.on_the_way > 0 && sink.takes()) || self.relay.total(end) != ghost.sent {
                self.wrong.insert(Wrong::OctetLost);
            }
        }
        if self.downstream.sent > 0 && self.upstream.sent > 0 {
            self.seen.insert(Seen::CompleteWithOctetsBothWays);
        }
    }

    // ---- asks, of the ghost alone

    const fn ghost(&self, end: End) -> Ghost {
        match end {
            End::Downstream => self.downstream,
            End::Upstream => self.upstream,
        }
    }

    const fn ghost_mut(&mut self, end: End) -> &mut Ghost {
        match end {
            End::Downstream => &mut self.downstream,
            End::Upstream => &mut self.upstream,
        }
    }

    /// An end has got all there is to come, and was not told.
    pub(super) fn an_end_is_left_waiting(&self) -> bool {
        self.done.is_none()
            && ENDS.iter().any(|&end| {
                let (ghost, source) = (self.ghost(end), self.ghost(end.other()));
                ghost.takes() && !ghost.was_finished && source.said_all() && source.on_the_way == 0
            })
    }

    /// Half-closed, and nothing would ever end it.
    pub(super) fn half_closed_without_deadline(&self) -> bool {
        let half = self.downstream.said_all() || self.upstream.said_all();
        self.done.is_none() && half && self.relay.poll_timeout().is_none()
    }

    /// Nothing is left that must happen (with `timers`: not even a deadline), and yet it is not done.
    pub(super) fn hangs(&self, timers: bool) -> bool {
        let pending =
            ENDS.iter().any(|&end| self.ghost(end).on_the_way > 0 && self.ghost(end.other()).takes());
        let half = self.downstream.said_all() || self.upstream.said_all();
        let both = self.downstream.said_all() && self.upstream.said_all();
        self.done.is_none() && !pending && (both || (half && !timers))
    }
}
