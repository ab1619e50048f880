//! What the applications at both ends of a stream do, and what they saw.
use std::sync::OnceLock;

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

/// Octets in which any two near places look different, in a cycle of a prime length.
fn noise() -> &'static [u8] {
    const CYCLE: u32 = 65_521;
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| (0..CYCLE).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect())
}

/// What `side` of stream `index` sends from `offset` on, as slices without end; streams and sides differ.
fn payload(index: usize, side: Side, offset: usize) -> impl Iterator<Item = &'static [u8]> {
    let noise = noise();
    let side = if side == Side::Client { 0 } else { 31_337 };
    let start = (offset + index * 7_919 + side) % noise.len();
    std::iter::once(&noise[start..]).chain(std::iter::repeat(noise))
}

/// Writes what `side` of stream `index` sends at `offset` into `area`.
pub fn fill(index: usize, side: Side, offset: usize, mut area: &mut [u8]) {
    for octets in payload(index, side, offset) {
        let n = octets.len().min(area.len());
        let (now, later) = area.split_at_mut(n);
        now.copy_from_slice(&octets[..n]);
        area = later;
        if area.is_empty() {
            return;
        }
    }
}

/// Whether `octets` are what `side` of stream `index` sends at `offset`.
#[must_use]
pub fn matches(index: usize, side: Side, offset: usize, mut octets: &[u8]) -> bool {
    for expected in payload(index, side, offset) {
        let n = expected.len().min(octets.len());
        if octets[..n] != expected[..n] {
            return false;
        }
        octets = &octets[n..];
        if octets.is_empty() {
            break;
        }
    }
    true
}
