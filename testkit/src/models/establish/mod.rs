//! Model of establishment: two shipped `hbone::establish::Establish` machines, a client and a server, with symbolic TLS
//! and SETTINGS between them.
//!
//! Flights are marker octets in two queues; a certificate is good or bad; refusing one sends an alert. As in TLS 1.3 the
//! client is complete before the server has judged its certificate (RFC 8446 §4.4.4).
//!
//! Covered: certificates that come, fail or stay away at either end, dial results (late ones included), delivery of any
//! prefix of what is queued (so every split of every flight), each deadline, cancelling at either end, a cut wire, a
//! wire that falls silent, and the end of the stream behind whatever was queued.
//!
//! Left out: TLS and HTTP/2 themselves (scripted pairs and foreign peers), what happens to a tunnel after it was ready.
//! A server that sends SETTINGS before it has judged its client ("half-RTT data") defeats design D9: that is planted as
//! a fault here, and real peers have to be tested for it.
use adit_core::hbone::establish::EstablishLimits;
use adit_core::http2::Side;
use stateright::{Model, Property};
use std::time::Duration;

mod driver;
mod properties;

pub use driver::State;

/// Distinct, so that the deadline which fired can be told by the time.
const LIMITS: EstablishLimits = EstablishLimits {
    certificate: Duration::from_secs(2),
    dial: Duration::from_secs(3),
    handshake: Duration::from_secs(5),
};

/// The model; its space is small enough to need no bounds.
#[derive(Clone, Debug)]
pub struct EstablishModel {
    /// What is wrong with a driver or with the server.
    pub fault: Option<Fault>,
}

/// Which certificate the other end will refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certificates {
    /// None.
    Good,
    /// The client's.
    BadClient,
    /// The server's.
    BadServer,
}

/// A fault planted around the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The client's driver takes the end of its own TLS for readiness.
    ReadyAtTls,
    /// The server sends SETTINGS with its first flight.
    HalfRttSettings,
    /// The client's TLS accepts every certificate.
    SkipsVerification,
    /// The server's TLS accepts every certificate.
    ServerSkipsVerification,
    /// Deadlines pass without `handle_timeout`.
    IgnoresTimers,
    /// The handshake has no limit (ztunnel).
    NoHandshakeLimit,
    /// The client's driver starts a machine again after it has failed.
    StartsOver,
    /// The client's driver answers for the certificate before it has one.
    AnswersForCertificate,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Word about an end's own certificate.
    Certificate(Side, bool),
    /// The client's dial ends.
    Dialed(bool),
    /// This many of the octets under way to this end arrive.
    Deliver(Side, usize),
    /// This end notices that nothing more will arrive.
    Eof(Side),
    /// The wire is cut, and what was under way is lost.
    Cut,
    /// Nothing passes the wire any more, and neither end is told (a stalled peer, a NetworkPolicy).
    Silence,
    /// This end's owner gives up.
    Cancel(Side),
    /// The clock reaches the next deadline.
    Tick,
}

impl Model for EstablishModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let certificates = [Certificates::Good, Certificates::BadClient, Certificates::BadServer];
        certificates.map(|certificates| State::new(self.fault, certificates)).into()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(actions);
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
