//! Model of `proxy::relay::Relay`: two ends, each of which may send, finish, go or reset at any moment.
//!
//! Covered: half-close in every order with octets still on their way, an end that goes without an error while octets go
//! both ways, resets at any point, the idle deadline of a half-closed relay, calls that come after it is done.
//!
//! Left out: the octets themselves and their order (tests of `Tunnel` and `Shard`), back-pressure (the flow model).
use std::time::Duration;

use adit_core::proxy::relay::End;
use stateright::{Model, Property};

mod driver;
mod properties;

pub use driver::State;

/// How long a half-closed relay may be silent.
const IDLE: Duration = Duration::from_secs(300);

/// The model; `octets` bounds it.
#[derive(Clone, Debug)]
pub struct RelayModel {
    /// How many octets each end may send.
    pub octets: u64,
    /// What is wrong with the driver.
    pub fault: Option<Fault>,
}

/// A fault planted in the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Octets are reported as delivered when they are read.
    ReportsDeliveryTooEarly,
    /// Deliveries are not reported.
    ForgetsDelivery,
    /// What is read is not reported.
    ForgetsOctets,
    /// That an end finished is not reported.
    HidesFinish,
    /// An end that finished is reported as gone.
    TakesFinishForGone,
    /// An end that is gone is reported as finished.
    TakesGoneForFinish,
    /// A reset is reported as an end that is gone (ztunnel: RST becomes FIN).
    TakesResetForGone,
    /// No timer is armed.
    IgnoresTimers,
    /// What a copy of the relay asks for is done as well (a hand-over in which both processes go on).
    ActsOnACopyToo,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// One octet is read from this end.
    Data(End),
    /// One octet that came from this end reaches the other.
    Deliver(End),
    /// This end finishes its half.
    Finish(End),
    /// This end goes without an error.
    Gone(End),
    /// This end resets.
    Reset(End),
    /// The clock reaches the deadline.
    Tick,
}

impl Model for RelayModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(self, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.step(self.fault, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
