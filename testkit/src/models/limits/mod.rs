//! Model of `l7::rate::LocalLimits` as the threads of a waypoint share it: workers whose requests go by the configuration that
//! was in force when they came, time, and configurations that follow each other.
//!
//! A waypoint keeps all buckets behind one lock, and reads the clock while it holds it (`waypoint/src/shared.rs`): a step is
//! what happens between two locks. Between its coming and its turn a request may wait for as long as it takes (an authorizer,
//! keys), so any number of configurations may have come meanwhile.
//!
//! Covered: limits that become wider, narrower or faster, that go and come back, and forgetting what was counted for them at
//! any time after that; clients of their own buckets and in the common one.
//!
//! Left out: what a key is made of, several limits in one policy (tests beside the code).
use std::time::Duration;

use adit_core::l7::Rate;
use stateright::{Model, Property};

mod driver;
mod properties;

pub use driver::State;

/// The model; its fields bound it.
#[derive(Clone, Debug)]
pub struct LimitsModel {
    /// Threads.
    pub workers: usize,
    /// Clients.
    pub clients: u8,
    /// How many of them have a bucket of their own.
    pub max_keys: usize,
    /// Requests of all clients together.
    pub requests: u8,
    /// How far time goes, in seconds.
    pub seconds: u8,
    /// The limits that configurations may have; the first is in force at first. `None`: the configuration has no limit.
    pub limits: &'static [Option<Limit>],
    /// How often another configuration may come.
    pub changes: u8,
    /// What is wrong with the driver.
    pub fault: Option<Fault>,
}

/// A limit: so many at once, and one more after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Requests at once.
    pub burst: u32,
    /// Seconds until there is one more.
    pub seconds: u8,
}

impl Limit {
    fn rate(self) -> Rate {
        let fill_interval = Duration::from_secs(self.seconds.into());
        Rate { max_tokens: self.burst, tokens_per_fill: 1, fill_interval }
    }
}

/// A fault planted in the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Each worker has buckets of its own.
    SharesNothing,
    /// A worker takes from a copy, and puts it back at its next step: there is no lock.
    TakesFromACopy,
    /// At each change all that was counted is forgotten.
    ForgetsAtEachChange,
    /// Each configuration has a name of its own for the limit.
    NamesVersions,
    /// Time is told as twice what it is.
    HurriesTheClock,
    /// All clients are told as one.
    MergesClients,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A request of this client comes to the first worker that has nothing to do.
    Come(u8),
    /// It is the turn of this worker's request.
    Take(usize),
    /// This worker puts back what it took from: only where there is no lock.
    PutBack(usize),
    /// A second passes.
    Tick,
    /// The configuration with this limit comes into force.
    Change(usize),
    /// What is counted for limits that are gone is forgotten, as is done some time after each change.
    Forget,
}

impl Model for LimitsModel {
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
