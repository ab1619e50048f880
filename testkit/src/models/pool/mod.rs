//! Model of `pool::Pool` under `drain::Drain`, both as shipped, with a driver that does what they ask.
//!
//! Covered: every order of asking, cancelling, releasing, dial results (any of some limits, failure, a result that
//! comes after the pool gave the dial up), SETTINGS that change the limit while leases are out, GOAWAY, broken tunnels,
//! graceful stop with its deadline, certificate rotation (requests move to a new key while the old key's tunnels go
//! away), idle deadlines, and the cap on tunnels; each fault with a small budget.
//!
//! Left out: large counts and long histories (property test beside `Pool`), what a tunnel does with a lease (tests of
//! `Tunnel` and `Shard`), several shards.
use std::time::Duration;

use adit_core::pool::TunnelId;
use stateright::{Model, Property};

mod driver;
mod properties;

pub use driver::State;

/// Idle time of the modelled pool.
const IDLE: Duration = Duration::from_secs(10);
/// Grace of the modelled drain; longer than idle so that idle deadlines can come first.
const GRACE: Duration = Duration::from_secs(25);

/// Bounds of one search.
#[derive(Clone, Debug)]
pub struct PoolModel {
    /// How many leases are asked for in all. They are asked for in the order of their numbers, which loses nothing:
    /// numbers mean nothing to the pool.
    pub requests: usize,
    /// Different keys, 0-based.
    pub keys: u8,
    /// `PoolConfig::max_streams`.
    pub max_streams: u32,
    /// `PoolConfig::max_tunnels`.
    pub max_tunnels: usize,
    /// What a peer's SETTINGS may say.
    pub limits: &'static [u32],
    /// How often each fault of the world may strike.
    pub budget: Budget,
    /// Whether the owner may begin a graceful stop.
    pub drain: bool,
    /// Whether the certificate may change once: requests use key 0 before and key 1 afterwards.
    pub rotation: bool,
    /// What is wrong with the driver.
    pub fault: Option<Fault>,
}

/// How often each fault of the world may strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Failed dials.
    pub failures: u8,
    /// Broken tunnels.
    pub crashes: u8,
    /// GOAWAYs of the peer.
    pub goaways: u8,
    /// Changed limits.
    pub settings: u8,
}

/// A fault planted in the driver; each is named after what the driver does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Of several refusals at once only the first is passed on (ztunnel: a failed dial reaches the winner only).
    PassesOnOneRefusal,
    /// A limit of n is told as n + 1 (capacity compared with ≤).
    TellsLimitPlusOne,
    /// Later SETTINGS are not told.
    HidesSettings,
    /// Different keys are told as one (a key compared by its hash).
    MergesKeys,
    /// Equal keys are told as different (ztunnel: order of expected identities).
    SplitsKeys,
    /// A dial is reported as done when it is asked for.
    ReportsDialAtOnce,
    /// GOAWAY is not told.
    HidesGoAway,
    /// A cancelled request is not told.
    HidesCancel,
    /// A lease is given back twice.
    ReleasesTwice,
    /// A lease is never given back.
    ForgetsRelease,
    /// A request is held back until the next one has been handed over.
    HandsOverNewestFirst,
    /// No timer is armed.
    IgnoresTimers,
    /// The stop is not told to the pool.
    HidesDrain,
    /// A tunnel is reported as gone when it begins to drain.
    ReportsGoneTooEarly,
    /// One tunnel more than configured is allowed.
    AllowsOneTunnelMore,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The next request asks for a lease for this key.
    Acquire(u8),
    /// This request gives up waiting.
    Cancel(usize),
    /// This request's stream ends.
    Release(usize),
    /// A dial succeeds and the peer's SETTINGS allow this many streams.
    Dialed(TunnelId, u32),
    /// A dial fails.
    DialFailed(TunnelId),
    /// A dial that the pool has given up succeeds.
    DialedLate(TunnelId),
    /// SETTINGS on an established tunnel.
    Settings(TunnelId, u32),
    /// The peer goes away.
    GoAway(TunnelId),
    /// The tunnel breaks.
    Crash(TunnelId),
    /// The certificate changes.
    Rotate,
    /// The owner stops.
    Drain,
    /// The clock reaches the next deadline.
    Tick,
}

impl Model for PoolModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(self, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.step(self, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}
