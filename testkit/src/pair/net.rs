//! The network between two tunnels: latency, small socket buffers, arbitrary chunking, and a cable that can be cut.
use std::collections::VecDeque;
use std::time::Duration;

use adit_core::time::Instant;

/// A small deterministic generator (SplitMix64): everything a run chooses comes from its seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that always gives the same numbers for the same `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 1 to `most`.
    pub fn upto(&mut self, most: usize) -> usize {
        1 + usize::try_from(self.draw() >> 1).unwrap_or(usize::MAX) % most.max(1)
    }

    /// True once in `n` times; never for 0.
    pub fn once_in(&mut self, n: usize) -> bool {
        n > 0 && self.upto(n) == 1
    }
}

/// How reads cut what has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// As much as there is and fits.
    Whole,
    /// At most so many octets at a time; 1 is the hardest.
    Fixed(usize),
    /// From one octet to so many, at random.
    Random(usize),
}

/// The properties of both directions.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// One way.
    pub latency: Duration,
    /// Octets that may be under way: the socket buffers.
    pub buffer: usize,
    /// How reads cut the stream.
    pub chunks: Chunks,
    /// After so many octets in this direction (client to server, server to client) the connection breaks.
    pub cut: [Option<usize>; 2],
}

impl Default for Net {
    /// A millisecond, 1 MiB, whole chunks, never cut.
    fn default() -> Self {
        Self { latency: Duration::from_millis(1), buffer: 1 << 20, chunks: Chunks::Whole, cut: [None; 2] }
    }
}

/// One direction.
#[derive(Debug)]
pub(super) struct Wire {
    net: Net,
    cut: Option<usize>,
    flight: VecDeque<(Instant, Vec<u8>)>,
    /// Octets of the front chunk that were read.
    read: usize,
    under_way: usize,
    carried: usize,
    ended: bool,
}

impl Wire {
    pub(super) fn new(net: Net, cut: Option<usize>) -> Self {
        Self { net, cut, flight: VecDeque::new(), read: 0, under_way: 0, carried: 0, ended: false }
    }

    /// Takes octets of `slices` as far as the buffer has room, like a vectored write; returns how many.
    pub(super) fn write<'a>(&mut self, now: Instant, slices: impl Iterator<Item = &'a [u8]>) -> usize {
        let mut room = self.net.buffer.saturating_sub(self.under_way);
        let mut bytes = Vec::new();
        for slice in slices {
            let taken = room.min(slice.len());
            bytes.extend_from_slice(&slice[..taken]);
            room -= taken;
        }
        let n = bytes.len();
        if self.ended {
            // Written into a broken connection: gone.
            return n;
        }
        if let Some(cut) = self.cut.filter(|cut| self.carried + n > *cut) {
            bytes.truncate(cut - self.carried);
            self.ended = true;
        }
        self.carried += bytes.len();
        self.under_way += bytes.len();
        if !bytes.is_empty() {
            self.flight.push_back((now + self.net.latency, bytes));
        }
        n
    }

    /// Whether a read would give something now.
    pub(super) fn readable(&self, now: Instant) -> bool {
        self.flight.front().is_some_and(|(due, _)| *due <= now)
    }

    /// When the next octets arrive.
    pub(super) fn due(&self) -> Option<Instant> {
        self.flight.front().map(|(due, _)| *due)
    }

    /// Reads into `area` what has arrived, cut as the network likes.
    pub(super) fn read(&mut self, now: Instant, area: &mut [u8], rng: &mut Rng) -> usize {
        let most = match self.net.chunks {
            Chunks::Whole => area.len(),
            Chunks::Fixed(n) => n.min(area.len()),
            Chunks::Random(n) => rng.upto(n).min(area.len()),
        };
        let mut n = 0;
        while n < most
            && let Some((due, bytes)) = self.flight.front()
            && *due <= now
        {
            let rest = &bytes[self.read..];
            let taken = rest.len().min(most - n);
            area[n..n + taken].copy_from_slice(&rest[..taken]);
            n += taken;
            self.read += taken;
            if self.read == bytes.len() {
                self.flight.pop_front();
                self.read = 0;
            }
        }
        self.under_way -= n;
        n
    }

    /// The writer has closed its end; what is under way still arrives.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether everything was read and nothing follows.
    pub(super) fn at_end(&self) -> bool {
        self.ended && self.flight.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flight.is_empty()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.ended
    }
}
