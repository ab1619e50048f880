//! Model of flow control: two whole `http2::Connection`s, a client that sends and a server that receives, joined by two
//! queues of real frames.
//!
//! Covered: every interleaving of sending, delivery, reading by slow applications, credit on its way back, a stream that
//! the receiver or the sender resets while DATA is in flight, a window that SETTINGS make negative (RFC 9113 §6.9.2),
//! senders that are parked without window and woken.
//!
//! Left out: chunks that are not whole frames, and arithmetic at full width (properties beside the code); padding;
//! headers (the exchange of preface, SETTINGS and CONNECT is done before the first step).
//!
//! RFC 9113 §6.9.2 starts every connection window at 65 535 octets, so frames are large: the window holds two of them,
//! and a stream may fill it alone.
use adit_core::http2::StreamId;
use stateright::{Model, Property};

mod driver;
mod properties;
mod setup;

pub use driver::State;

/// The most octets of one DATA frame, and of one read.
pub const FRAME: u32 = 32_768;
/// What the server lets the connection send at once, and each of its streams.
pub const WINDOW: u32 = 65_535;

/// Bounds of one search.
#[derive(Clone, Debug)]
pub struct FlowModel {
    /// How many octets each stream has to send.
    pub octets: &'static [u32],
    /// How many streams the server may reset.
    pub server_resets: u8,
    /// How many streams the client may reset.
    pub client_resets: u8,
    /// Whether the server may lower its SETTINGS_INITIAL_WINDOW_SIZE to half, once.
    pub lowers_window: bool,
    /// What is wrong with an owner of a connection, or with the wire.
    pub fault: Option<Fault>,
}

/// A fault planted around the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// DATA for a stream that the receiver has reset never reaches the machine, so that nobody credits it.
    DropsDataOfResetStreams,
    /// The receiver's owner does not give back what it held of a stream that was reset.
    ForgetsHeldOfResetStreams,
    /// The receiver's owner gives credit on arrival instead of delivery.
    CreditsOnArrival,
    /// The receiver's owner gives credit twice for streams that are over.
    CreditsTwice,
    /// The sender's owner writes DATA frames without asking for capacity.
    IgnoresCapacity,
    /// The sender's owner does not hear that it may send again.
    MissesWritable,
    /// Every WINDOW_UPDATE of a connection is lost.
    LosesConnectionCredit,
    /// DATA frames are lost, except each stream's last.
    LosesData,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The client sends what it may of this stream, up to one frame.
    Send(StreamId),
    /// The oldest frame under way reaches the server.
    ToServer,
    /// The oldest frame under way reaches the client.
    ToClient,
    /// The application behind the server takes up to one frame of this stream.
    Read(StreamId),
    /// The server resets this stream.
    ServerResets(StreamId),
    /// The client resets this stream.
    ClientResets(StreamId),
    /// The server lowers its initial window.
    LowerWindow,
}

impl Model for FlowModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
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
        properties::all(self)
    }
}
