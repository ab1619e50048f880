//! What the applications at both ends of a stream do, and what they saw.
use adit_core::http2::{ErrorCode, Initiator};
use adit_core::time::Instant;
use adit_core::tls::Side;

/// What an application does when it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Shuts its half down.
    Finish,
    /// Resets the connection.
    Reset,
}

/// One application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// Octets it sends.
    pub send: usize,
    /// Most octets that its socket has ready at once.
    pub burst: usize,
    /// What it does then.
    pub ending: Ending,
    /// Most octets that its socket takes at once.
    pub read: usize,
    /// It reads nothing before this time.
    pub stalls_until: Instant,
}

impl Default for Script {
    /// Sends nothing and finishes; reads everything at once.
    fn default() -> Self {
        Self {
            send: 0,
            burst: usize::MAX,
            ending: Ending::Finish,
            read: usize::MAX,
            stalls_until: Instant::ZERO,
        }
    }
}

impl Script {
    /// Sends `octets` and finishes.
    #[must_use]
    pub fn sends(octets: usize) -> Self {
        Self { send: octets, ..Self::default() }
    }
}

/// One stream: both applications, and how the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamScript {
    /// Opened at this time.
    pub at: Instant,
    /// At the client.
    pub client: Script,
    /// At the server.
    pub server: Script,
    /// The server's answer; anything but 200 refuses.
    pub status: u16,
}

impl StreamScript {
    /// A stream opened at once and accepted.
    #[must_use]
    pub const fn new(client: Script, server: Script) -> Self {
        Self { at: Instant::ZERO, client, server, status: 200 }
    }
}

/// What one application saw of its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// Octets it sent.
    pub sent: usize,
    /// Octets it received; each was the one expected at its place.
    pub received: usize,
    /// How often it was told that the other half ended.
    pub finished: u32,
    /// Every reset it was told of.
    pub resets: Vec<(ErrorCode, Initiator)>,
    /// Client: the status of the answer.
    pub status: Option<u16>,
    /// How often it was told that the stream is gone.
    pub closed: u32,
    /// When the last octet or end arrived.
    pub last: Instant,
}

/// The octet that `side` of stream `index` sends at `offset`; neighbours in every dimension differ.
#[must_use]
pub fn octet(index: usize, side: Side, offset: usize) -> u8 {
    let side = if side == Side::Client { 0 } else { 97 };
    let mixed = (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
    (mixed as u8) ^ (index as u8).wrapping_mul(29) ^ side
}
