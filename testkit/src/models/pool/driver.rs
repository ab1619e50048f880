//! The state of the pool model: the shipped machines, the driver around them, and the ghost.
use std::collections::{BTreeMap, BTreeSet};

use adit_core::drain::{Drain, DrainEvent};
use adit_core::pool::{CloseReason, Pool, PoolConfig, PoolEvent, Refused, RequestId, TunnelId};
use adit_core::time::Instant;

use super::{Action, Budget, Fault, GRACE, IDLE, PoolModel};

/// The machines, and what an honest outsider knows about them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pool: Pool<u16, ()>,
    drain: Drain,
    now: Instant,
    /// By number; a request that has not asked yet is absent.
    requests: Vec<Request>,
    tunnels: BTreeMap<TunnelId, Tunnel>,
    rotated: bool,
    budget: Budget,
    /// How often the pool has announced the end of the drain.
    drained: u8,
    /// What [`Fault::HandsOverNewestFirst`] holds back.
    held_back: Option<usize>,
    /// What the newest step was found to do; forgotten at the next, so that history does not multiply states.
    pub(super) wrong: BTreeSet<Wrong>,
    pub(super) seen: BTreeSet<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Request {
    Waiting(u8),
    Holding(TunnelId),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tunnel {
    key: u8,
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Life {
    Dialing,
    /// Given up by the pool while it was dialled; the dial's result may still come.
    Abandoned,
    Up {
        limit: u32,
        going_away: bool,
    },
}

/// What a step must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Wrong {
    OverLimit,
    AcrossKeys,
    NotUp,
    AnsweredTwice,
    OutOfOrder,
    DialAfterDrain,
    LeaseCut,
    DrainedEarlyOrTwice,
    FailureKept,
    FullTooEarly,
}

/// What some step must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Seen {
    Shared,
    GrantedByRelease,
    FailureShared,
    GrantedBySettings,
    RefusedDraining,
    RefusedFull,
    RefusedNoStreams,
    ClosedIdle,
    ClosedEvicted,
    ClosedGoAway,
    CutByForce,
    LateDialIgnored,
    NewKeyBesideOldLease,
}

impl State {
    pub(super) fn new(model: &PoolModel) -> Self {
        let more = usize::from(model.fault == Some(Fault::AllowsOneTunnelMore));
        let config =
            PoolConfig { max_streams: model.max_streams, idle: IDLE, max_tunnels: model.max_tunnels + more };
        Self {
            pool: Pool::new(config),
            drain: Drain::new(),
            now: Instant::ZERO,
            requests: Vec::new(),
            tunnels: BTreeMap::new(),
            rotated: false,
            budget: model.budget,
            drained: 0,
            held_back: None,
            wrong: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    // ---- what can happen

    pub(super) fn actions(&self, model: &PoolModel, actions: &mut Vec<Action>) {
        if self.requests.len() < model.requests {
            if model.rotation {
                actions.push(Action::Acquire(u8::from(self.rotated)));
            } else {
                actions.extend((0..model.keys).map(Action::Acquire));
            }
        }
        for (number, request) in self.requests.iter().enumerate() {
            match request {
                Request::Waiting(_) => actions.push(Action::Cancel(number)),
                Request::Holding(_) => actions.push(Action::Release(number)),
                Request::Over => {}
            }
        }
        for (id, tunnel) in &self.tunnels {
            self.tunnel_actions(model, *id, tunnel.life, actions);
        }
        if model.rotation && !self.rotated {
            actions.push(Action::Rotate);
        }
        if model.drain && self.drain.is_open() {
            actions.push(Action::Drain);
        }
        if self.deadline(model).is_some() {
            actions.push(Action::Tick);
        }
    }

    fn tunnel_actions(&self, model: &PoolModel, id: TunnelId, life: Life, actions: &mut Vec<Action>) {
        match life {
            Life::Dialing => {
                actions.extend(model.limits.iter().map(|limit| Action::Dialed(id, *limit)));
                if self.budget.failures > 0 {
                    actions.push(Action::DialFailed(id));
                }
            }
            Life::Abandoned => actions.push(Action::DialedLate(id)),
            Life::Up { limit, going_away } => {
                if self.budget.settings > 0 {
                    let others = model.limits.iter().filter(|other| **other != limit);
                    actions.extend(others.map(|other| Action::Settings(id, *other)));
                }
                if self.budget.goaways > 0 && !going_away {
                    actions.push(Action::GoAway(id));
                }
                if self.budget.crashes > 0 {
                    actions.push(Action::Crash(id));
                }
            }
        }
    }

    // ---- what then happens

    pub(super) fn step(&mut self, model: &PoolModel, action: Action) {
        self.wrong.clear();
        self.seen.clear();
        let fault = model.fault;
        match action {
            Action::Acquire(key) => {
                self.requests.push(Request::Waiting(key));
                self.hand_over(fault, self.requests.len() - 1);
            }
            Action::Cancel(number) => {
                self.requests[number] = Request::Over;
                if fault != Some(Fault::HidesCancel) {
                    self.pool.cancel(self.now, request_id(number));
                }
            }
            Action::Release(number) => self.release(fault, number),
            Action::Dialed(tunnel, limit) => self.dialed(fault, tunnel, limit),
            Action::DialFailed(tunnel) => return self.dial_failed(model, tunnel),
            Action::DialedLate(tunnel) => {
                self.tunnels.remove(&tunnel);
                let before = self.pool.clone();
                self.pool.handle_dialed(self.now, tunnel, Ok(2));
                if self.pool == before {
                    self.seen.insert(Seen::LateDialIgnored);
                }
            }
            Action::Settings(tunnel, limit) => self.settings(fault, tunnel, limit),
            Action::GoAway(tunnel) => {
                self.budget.goaways -= 1;
                self.go_away(fault, tunnel);
            }
            Action::Crash(tunnel) => {
                self.budget.crashes -= 1;
                self.crash(tunnel);
            }
            Action::Rotate => {
                self.rotated = true;
                for tunnel in self.up_tunnels().collect::<Vec<_>>() {
                    self.go_away(fault, tunnel);
                }
            }
            Action::Drain => self.drain.begin(self.now, GRACE, self.pool.tunnels()),
            Action::Tick => {
                self.now = self.deadline(model).expect("a tick needs a deadline");
                self.pool.handle_timeout(self.now);
                self.drain.handle_timeout(self.now);
            }
        }
        let granted = self.pump(model);
        match action {
            Action::Release(_) if granted > 0 => _ = self.seen.insert(Seen::GrantedByRelease),
            Action::Settings(..) if granted > 0 => _ = self.seen.insert(Seen::GrantedBySettings),
            _ => {}
        }
    }

    fn hand_over(&mut self, fault: Option<Fault>, number: usize) {
        if fault == Some(Fault::HandsOverNewestFirst) {
            let Some(held) = self.held_back.take() else {
                self.held_back = Some(number);
                return;
            };
            self.acquire(fault, number);
            self.acquire(fault, held);
        } else {
            self.acquire(fault, number);
        }
    }

    fn acquire(&mut self, fault: Option<Fault>, number: usize) {
        let Request::Waiting(key) = self.requests[number] else { return };
        let told = match fault {
            Some(Fault::MergesKeys) => 0,
            // Distinct per request, and still the key in the low part.
            Some(Fault::SplitsKeys) => u16::try_from(number).expect("few requests") * 256 + u16::from(key),
            _ => u16::from(key),
        };
        self.pool.acquire(self.now, request_id(number), told);
    }

    fn release(&mut self, fault: Option<Fault>, number: usize) {
        let Request::Holding(tunnel) = std::mem::replace(&mut self.requests[number], Request::Over) else {
            return;
        };
        let times = match fault {
            Some(Fault::ReleasesTwice) => 2,
            Some(Fault::ForgetsRelease) => 0,
            _ => 1,
        };
        for _ in 0..times {
            self.pool.release(self.now, tunnel);
        }
    }

    fn dialed(&mut self, fault: Option<Fault>, tunnel: TunnelId, limit: u32) {
        let Some(ghost) = self.tunnels.get_mut(&tunnel) else { return };
        ghost.life = Life::Up { limit, going_away: false };
        let key = ghost.key;
        let told = if fault == Some(Fault::TellsLimitPlusOne) { limit + 1 } else { limit };
        self.pool.handle_dialed(self.now, tunnel, Ok(told));
        if self.rotated && key == 0 {
            // Its certificate is the old one: it serves those who waited for it, and nobody else.
            self.pump_events(fault);
            self.go_away(fault, tunnel);
        }
    }

    fn dial_failed(&mut self, model: &PoolModel, tunnel: TunnelId) {
        self.budget.failures -= 1;
        let Some(ghost) = self.tunnels.remove(&tunnel) else { return };
        let waiting = self.waiting(ghost.key).count();
        self.pool.handle_dialed(self.now, tunnel, Err(()));
        self.pump(model);
        if self.waiting(ghost.key).next().is_some() {
            self.wrong.insert(Wrong::FailureKept);
        }
        if waiting > 1 {
            self.seen.insert(Seen::FailureShared);
        }
    }

    fn settings(&mut self, fault: Option<Fault>, tunnel: TunnelId, new: u32) {
        self.budget.settings -= 1;
        if let Some(Tunnel { life: Life::Up { limit, .. }, .. }) = self.tunnels.get_mut(&tunnel) {
            *limit = new;
        }
        if fault != Some(Fault::HidesSettings) {
            self.pool.handle_limit(self.now, tunnel, new);
        }
    }

    fn go_away(&mut self, fault: Option<Fault>, tunnel: TunnelId) {
        if let Some(Tunnel { life: Life::Up { going_away, .. }, .. }) = self.tunnels.get_mut(&tunnel) {
            *going_away = true;
        }
        if fault != Some(Fault::HidesGoAway) {
            self.pool.handle_goaway(self.now, tunnel);
        }
    }

    /// The tunnel is gone; whoever held a lease still gives it back, as owners do while they tidy up.
    fn crash(&mut self, tunnel: TunnelId) {
        self.tunnels.remove(&tunnel);
        self.pool.handle_closed(self.now, tunnel);
        for request in &mut self.requests {
            if *request == Request::Holding(tunnel) {
                *request = Request::Over;
                self.pool.release(self.now, tunnel);
            }
        }
    }

    // ---- what the machines ask for

    /// Does what both machines ask until they ask no more; returns how many leases were granted.
    fn pump(&mut self, model: &PoolModel) -> usize {
        let mut granted = 0;
        loop {
            granted += self.pump_events(model.fault);
            self.drain.handle_live(self.now, self.pool.tunnels());
            match self.drain.poll_event() {
                Some(DrainEvent::Begin) => {
                    if model.fault != Some(Fault::HidesDrain) {
                        self.pool.drain(self.now);
                    }
                    if model.fault == Some(Fault::ReportsGoneTooEarly) {
                        for tunnel in self.up_tunnels().collect::<Vec<_>>() {
                            self.pool.handle_closed(self.now, tunnel);
                        }
                    }
                }
                Some(DrainEvent::Force) => {
                    for tunnel in self.up_tunnels().collect::<Vec<_>>() {
                        self.seen.insert(Seen::CutByForce);
                        self.crash(tunnel);
                    }
                }
                Some(DrainEvent::Done) => {}
                None => return granted,
            }
        }
    }

    fn pump_events(&mut self, fault: Option<Fault>) -> usize {
        let (mut granted, mut refused) = (0, 0);
        while let Some(event) = self.pool.poll_event() {
            match event {
                PoolEvent::Dial { tunnel, key } => self.on_dial(fault, tunnel, key),
                PoolEvent::Granted { request, tunnel } => {
                    granted += 1;
                    self.on_granted(request, tunnel);
                }
                PoolEvent::Refused { request, error } => {
                    refused += 1;
                    if refused == 1 || fault != Some(Fault::PassesOnOneRefusal) {
                        self.on_refused(request, &error);
                    }
                }
                PoolEvent::Close { tunnel, reason } => self.on_close(tunnel, reason),
                PoolEvent::Drained => {
                    self.drained += 1;
                    if self.drained > 1 || self.open_tunnels() > 0 {
                        self.wrong.insert(Wrong::DrainedEarlyOrTwice);
                    }
                }
            }
        }
        granted
    }

    fn on_dial(&mut self, fault: Option<Fault>, tunnel: TunnelId, key: u16) {
        if !self.drain.is_open() {
            self.wrong.insert(Wrong::DialAfterDrain);
        }
        let key = u8::try_from(key % 256).expect("keys are small");
        self.tunnels.insert(tunnel, Tunnel { key, life: Life::Dialing });
        if fault == Some(Fault::ReportsDialAtOnce) {
            self.pool.handle_dialed(self.now, tunnel, Ok(2));
        }
    }

    fn on_granted(&mut self, request: RequestId, tunnel: TunnelId) {
        let number = number_of(request);
        let Some(Request::Waiting(key)) = self.requests.get(number).copied() else {
            self.wrong.insert(Wrong::AnsweredTwice);
            return;
        };
        if self.waiting(key).next() != Some(number) {
            self.wrong.insert(Wrong::OutOfOrder);
        }
        match self.tunnels.get(&tunnel) {
            Some(Tunnel { key: theirs, .. }) if *theirs != key => _ = self.wrong.insert(Wrong::AcrossKeys),
            Some(Tunnel { life: Life::Up { limit, going_away: false }, .. }) => {
                if self.leases(tunnel) >= *limit {
                    self.wrong.insert(Wrong::OverLimit);
                }
            }
            Some(_) | None => _ = self.wrong.insert(Wrong::NotUp),
        }
        if self.leases(tunnel) > 0 {
            self.seen.insert(Seen::Shared);
        }
        self.requests[number] = Request::Holding(tunnel);
        let beside_old = self.tunnels.iter().any(|(id, other)| other.key != key && self.leases(*id) > 0);
        if self.rotated && key == 1 && beside_old {
            self.seen.insert(Seen::NewKeyBesideOldLease);
        }
    }

    fn on_refused(&mut self, request: RequestId, error: &Refused<()>) {
        match self.requests.get_mut(number_of(request)) {
            Some(request @ Request::Waiting(_)) => *request = Request::Over,
            Some(_) | None => _ = self.wrong.insert(Wrong::AnsweredTwice),
        }
        match error {
            Refused::Draining => _ = self.seen.insert(Seen::RefusedDraining),
            Refused::NoStreams => _ = self.seen.insert(Seen::RefusedNoStreams),
            Refused::Full => {
                self.seen.insert(Seen::RefusedFull);
                let idle = self.up_tunnels().any(|id| self.leases(id) == 0);
                if idle {
                    self.wrong.insert(Wrong::FullTooEarly);
                }
            }
            _ => {}
        }
    }

    fn on_close(&mut self, tunnel: TunnelId, reason: CloseReason) {
        if self.leases(tunnel) > 0 {
            self.wrong.insert(Wrong::LeaseCut);
        }
        match self.tunnels.get_mut(&tunnel) {
            Some(Tunnel { life: life @ Life::Dialing, .. }) => *life = Life::Abandoned,
            Some(_) | None => _ = self.tunnels.remove(&tunnel),
        }
        match reason {
            CloseReason::Idle => _ = self.seen.insert(Seen::ClosedIdle),
            CloseReason::Evicted => _ = self.seen.insert(Seen::ClosedEvicted),
            CloseReason::GoAway => _ = self.seen.insert(Seen::ClosedGoAway),
            CloseReason::NoStreams | CloseReason::Draining => {}
        }
    }

    // ---- asks, of the ghost alone

    fn deadline(&self, model: &PoolModel) -> Option<Instant> {
        if model.fault == Some(Fault::IgnoresTimers) {
            return None;
        }
        self.pool.poll_timeout().into_iter().chain(self.drain.poll_timeout()).min()
    }

    fn waiting(&self, key: u8) -> impl Iterator<Item = usize> {
        let waits = move |request: &Request| *request == Request::Waiting(key);
        self.requests.iter().enumerate().filter(move |(_, request)| waits(request)).map(|(number, _)| number)
    }

    fn leases(&self, tunnel: TunnelId) -> u32 {
        let held = self.requests.iter().filter(|request| **request == Request::Holding(tunnel)).count();
        u32::try_from(held).expect("few requests")
    }

    fn up_tunnels(&self) -> impl Iterator<Item = TunnelId> {
        let is_up = |tunnel: &Tunnel| matches!(tunnel.life, Life::Up { .. });
        self.tunnels.iter().filter(move |(_, tunnel)| is_up(tunnel)).map(|(id, _)| *id)
    }

    pub(super) fn open_tunnels(&self) -> usize {
        self.tunnels.values().filter(|tunnel| tunnel.life != Life::Abandoned).count()
    }

    pub(super) fn anybody_waits(&self) -> bool {
        self.requests.iter().any(|request| matches!(request, Request::Waiting(_)))
    }

    /// Nothing is left that must happen: no dial, no lease, no timer.
    pub(super) fn is_quiet(&self, model: &PoolModel) -> bool {
        let holds = self.requests.iter().any(|request| matches!(request, Request::Holding(_)));
        let dials = self.tunnels.values().any(|tunnel| tunnel.life == Life::Dialing);
        !holds && !dials && self.deadline(model).is_none()
    }

    /// Somebody waits although a tunnel for the key has room.
    pub(super) fn room_is_unused(&self, model: &PoolModel) -> bool {
        self.tunnels.iter().any(|(id, tunnel)| match tunnel.life {
            Life::Up { limit, going_away: false } => {
                self.leases(*id) < limit.min(model.max_streams) && self.waiting(tunnel.key).next().is_some()
            }
            Life::Up { .. } | Life::Dialing | Life::Abandoned => false,
        })
    }

    pub(super) fn dials_twice_for_a_key(&self) -> bool {
        let mut dialing = BTreeSet::new();
        self.tunnels.values().any(|tunnel| tunnel.life == Life::Dialing && !dialing.insert(tunnel.key))
    }

    pub(super) fn leases_exceed_a_lowered_limit(&self) -> bool {
        self.tunnels.iter().any(|(id, tunnel)| match tunnel.life {
            Life::Up { limit, .. } => self.leases(*id) > limit,
            Life::Dialing | Life::Abandoned => false,
        })
    }

    pub(super) fn stops(&self) -> bool {
        !self.drain.is_open()
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.drain.is_done() && self.drained == 1
    }
}

const fn request_id(number: usize) -> RequestId {
    RequestId(number as u64)
}

fn number_of(request: RequestId) -> usize {
    usize::try_from(request.0).expect("few requests")
}
