//! One chunk of the outbound queue: records one behind the other, written, sealed, closed or being filled.
use crate::buffer::{BufferPool, Chunk};
use crate::tls::{HEADROOM, MAX_PAYLOAD, TAILROOM, TlsError};

/// What a record costs beside its payload.
pub(super) const OVERHEAD: usize = HEADROOM + TAILROOM;
/// A record at the end of a chunk is not begun for less payload than this.
const LEAST_PAYLOAD: usize = 512;

/// A chunk laid out as `written … sealed … open`: octets that have left, sealed octets to be written, closed records of
/// plaintext, and the record being filled.
///
/// The length of a closed record waits in the place where its header will be.
#[derive(Debug)]
pub(super) struct Segment {
    chunk: Chunk,
    /// Octets that have left.
    written: usize,
    /// End of what is sealed.
    sealed: usize,
    /// Start of the record that is being filled.
    open: usize,
    /// Payload octets in it so far.
    len: usize,
}

impl Segment {
    pub(super) const fn new(chunk: Chunk) -> Self {
        Self { chunk, written: 0, sealed: 0, open: 0, len: 0 }
    }

    pub(super) fn give(self, pool: &mut BufferPool) {
        pool.give(self.chunk);
    }

    /// The most payload the record being filled can have; 0 when the chunk is used up.
    fn capacity(&self) -> usize {
        payload_at(self.chunk.len().saturating_sub(self.open))
    }

    /// Payload octets that still fit into the record being filled.
    pub(super) fn room(&self) -> usize {
        self.capacity().saturating_sub(self.len)
    }

    /// Payload octets that still fit into the chunk, over all its records.
    pub(super) fn rest(&self) -> usize {
        let capacity = self.capacity();
        let behind =
            self.chunk.len().saturating_sub(self.open).saturating_sub(OVERHEAD.saturating_add(capacity));
        let (full, tail) = (behind.checked_div(SLOT).unwrap_or(0), behind.checked_rem(SLOT).unwrap_or(0));
        self.room().saturating_add(full.saturating_mul(MAX_PAYLOAD)).saturating_add(payload_at(tail))
    }

    /// Sealed octets that have not left.
    pub(super) fn wire(&self) -> &[u8] {
        self.chunk.get(self.written..self.sealed).unwrap_or_default()
    }

    /// Whether it holds plaintext.
    pub(super) const fn has_plain(&self) -> bool {
        self.sealed < self.open || self.len > 0
    }

    /// Whether nothing in it waits for anything.
    pub(super) const fn is_done(&self) -> bool {
        self.written == self.open && self.len == 0
    }

    /// Marks up to `n` sealed octets as written; returns how many.
    pub(super) fn handle_written(&mut self, n: usize) -> usize {
        let taken = n.min(self.wire().len());
        self.written = self.written.saturating_add(taken);
        taken
    }

    /// Ends the record being filled, so that the next octet starts another.
    pub(super) fn close_record(&mut self) {
        let Ok(len) = u16::try_from(self.len) else { return };
        if len == 0 {
            return;
        }
        let end = self.open.saturating_add(HEADROOM);
        if let Some(place) = self.chunk.get_mut(end.saturating_sub(2)..end) {
            place.copy_from_slice(&len.to_be_bytes());
        }
        self.open = end.saturating_add(self.len).saturating_add(TAILROOM);
        self.len = 0;
    }

    /// Counts up to `n` octets of the payload area as filled, over as many records as that takes; returns how many.
    pub(super) fn advance(&mut self, n: usize) -> usize {
        let mut left = n;
        loop {
            let taken = left.min(self.room());
            if taken == 0 {
                return n.saturating_sub(left);
            }
            self.len = self.len.saturating_add(taken);
            left = left.saturating_sub(taken);
            if self.room() == 0 {
                self.close_record();
            }
        }
    }

    /// Where the next payload octet goes.
    fn at(&self) -> usize {
        self.open.saturating_add(HEADROOM).saturating_add(self.len)
    }

    /// Copies the front of `bytes` into the record being filled; returns how many.
    pub(super) fn lay(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        let at = self.at();
        if let (Some(area), Some(bytes)) =
            (self.chunk.get_mut(at..at.saturating_add(taken)), bytes.get(..taken))
        {
            area.copy_from_slice(bytes);
        }
        self.advance(taken)
    }

    /// The chunk from `gap` octets behind the next payload octet on, and how many payload octets its record has left.
    pub(super) fn areas(&mut self, gap: usize) -> (&mut [u8], usize) {
        let room = self.room().saturating_sub(gap);
        let at = self.at().saturating_add(gap);
        (self.chunk.get_mut(at..).unwrap_or_default(), room)
    }

    /// Where in the chunk the next payload octet goes, for [`patch`](Self::patch).
    pub(super) fn mark(&self) -> usize {
        self.at()
    }

    /// Sets `bits` in the octet at `at`.
    pub(super) fn patch(&mut self, at: usize, bits: u8) {
        if let Some(octet) = self.chunk.get_mut(at) {
            *octet |= bits;
        }
    }

    /// Hands each record of plaintext to `seal`, in order and once; returns payload and wire octets that were sealed.
    ///
    /// # Errors
    ///
    /// The first error of `seal`; that record and those behind it stay unsealed.
    pub(super) fn seal(
        &mut self,
        mut seal: impl FnMut(&mut [u8]) -> Result<(), TlsError>,
    ) -> Result<(usize, usize), TlsError> {
        self.close_record();
        let (mut plain, mut wire) = (0_usize, 0_usize);
        while self.sealed < self.open {
            let len = self.closed_len(self.sealed);
            let end = self.sealed.saturating_add(OVERHEAD).saturating_add(len);
            if let Some(record) = self.chunk.get_mut(self.sealed..end) {
                seal(record)?;
            }
            plain = plain.saturating_add(len);
            wire = wire.saturating_add(end.saturating_sub(self.sealed));
            self.sealed = end;
        }
        Ok((plain, wire))
    }

    /// Payload octets of the closed record at `start`.
    fn closed_len(&self, start: usize) -> usize {
        let end = start.saturating_add(HEADROOM);
        match self.chunk.get(end.saturating_sub(2)..end) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        }
    }

    /// The plaintext in it, record by record.
    pub(super) fn plain(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = self.sealed;
        let closed = core::iter::from_fn(move || {
            if at >= self.open {
                return None;
            }
            let (start, len) = (at.saturating_add(HEADROOM), self.closed_len(at));
            at = start.saturating_add(len).saturating_add(TAILROOM);
            self.chunk.get(start..start.saturating_add(len))
        });
        closed.chain(self.chunk.get(self.open.saturating_add(HEADROOM)..self.at()))
    }

    /// Throws the plaintext away; returns how many octets that was.
    pub(super) fn drop_plain(&mut self) -> usize {
        let octets = self.plain().map(<[u8]>::len).sum();
        (self.open, self.len) = (self.sealed, 0);
        octets
    }

    /// Appends octets that need no sealing; returns how many fitted.
    pub(super) fn push_sealed(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.chunk.len().saturating_sub(self.open));
        let end = self.open.saturating_add(taken);
        if let (Some(area), Some(bytes)) = (self.chunk.get_mut(self.open..end), bytes.get(..taken)) {
            area.copy_from_slice(bytes);
        }
        (self.sealed, self.open) = (end, end);
        taken
    }

    /// Moves the plaintext into `chunk`, which must not be smaller than this one: something must leave before it.
    pub(super) fn split_plain(&mut self, chunk: Chunk) -> Self {
        let mut split = Self::new(chunk);
        // A used-up chunk has no room for even the header of another record.
        let (start, end) = (self.sealed, if self.len > 0 { self.at() } else { self.open });
        if let Some(bytes) = self.chunk.get(start..end)
            && let Some(area) = split.chunk.get_mut(..bytes.len())
        {
            area.copy_from_slice(bytes);
        }
        split.open = self.open.saturating_sub(start);
        split.len = self.len;
        (self.open, self.len) = (self.sealed, 0);
        split
    }

    pub(super) const fn class(&self) -> crate::buffer::Class {
        self.chunk.class()
    }
}

const SLOT: usize = crate::buffer::RECORD_SLOT;

/// The payload of one record in `octets` octets of chunk.
fn payload_at(octets: usize) -> usize {
    match octets.saturating_sub(OVERHEAD) {
        ..LEAST_PAYLOAD => 0,
        room => room.min(MAX_PAYLOAD),
    }
}
