//! What an application behind a stream does, and what it has seen.
use adit_core::hbone::{Baggage, ConnectRequest};
use adit_core::http2::{ErrorCode, Initiator};

/// What the applications of a server do for a request: a script behind a 200, or a status that refuses it.
pub type Answer = Box<dyn FnMut(&ConnectRequest) -> Result<Script, u16> + Send>;

/// What an application does on its stream.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Sent first.
    pub send: Vec<u8>,
    /// Half-close when everything has left.
    pub finish: bool,
    /// Send back whatever arrives, and half-close after the peer did.
    pub echo: bool,
    /// Read nothing until released.
    pub hold: bool,
    /// Metadata beside a server's 200.
    pub baggage: Option<Baggage>,
}

impl Script {
    /// Sends back what it gets.
    #[must_use]
    pub fn echo() -> Self {
        Self { echo: true, ..Self::default() }
    }

    /// Sends `octets` and half-closes.
    #[must_use]
    pub fn send(octets: impl Into<Vec<u8>>) -> Self {
        Self { send: octets.into(), finish: true, ..Self::default() }
    }
}

/// An application on its stream.
#[derive(Clone, Debug)]
pub struct Stream {
    script: Script,
    sent: usize,
    told: bool,
    /// What has arrived.
    pub got: Vec<u8>,
    /// The answer, on the client's side.
    pub status: Option<u16>,
    /// The peer half-closed.
    pub finished: bool,
    /// The stream was reset.
    pub reset: Option<(ErrorCode, Initiator)>,
    /// HTTP/2 is done with it.
    pub closed: bool,
}

impl Stream {
    pub(super) const fn new(script: Script) -> Self {
        Self {
            script,
            sent: 0,
            told: false,
            got: Vec::new(),
            status: None,
            finished: false,
            reset: None,
            closed: false,
        }
    }

    /// How many octets the tunnel has taken from it.
    #[must_use]
    pub const fn sent(&self) -> usize {
        self.sent
    }

    pub(super) fn to_send(&self) -> &[u8] {
        if self.reset.is_some() { &[] } else { &self.script.send[self.sent..] }
    }

    pub(super) const fn handle_sent(&mut self, n: usize) {
        self.sent += n;
    }

    /// True once, when it is time to half-close.
    pub(super) fn take_finish(&mut self) -> bool {
        self.script.finish && self.sent == self.script.send.len() && !std::mem::replace(&mut self.told, true)
    }

    pub(super) const fn holds(&self) -> bool {
        self.script.hold
    }

    pub(super) const fn release(&mut self) {
        self.script.hold = false;
    }

    pub(super) fn handle_octets(&mut self, octets: &[u8]) {
        self.got.extend_from_slice(octets);
        if self.script.echo {
            self.script.send.extend_from_slice(octets);
        }
    }

    pub(super) const fn handle_finished(&mut self) {
        self.finished = true;
        self.script.finish |= self.script.echo;
    }
}
