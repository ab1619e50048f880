//! The outbound queue: frames laid where records will be, sealed in place once and in order, kept until written.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::lend::Lend;
use super::segment::Segment;
use crate::buffer::{BufferPool, Class};
use crate::http2::StreamId;
use crate::tls::TlsError;

/// Octets of an HTTP/2 frame header.
pub(super) const FRAME_HEADER: usize = 9;
/// Where the flags stand in a frame header.
const FLAGS: usize = 4;
/// DATA's END_STREAM (RFC 9113 §6.1).
const END_STREAM: u8 = 0x1;

/// What was lent last and not committed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loan {
    pub(super) stream: StreamId,
    pub(super) octets: usize,
}

/// The DATA header laid last, as long as it is not sealed.
#[derive(Clone, Copy, Debug)]
struct LastData {
    stream: StreamId,
    segment: usize,
    flags: usize,
}

/// Chunks in wire order with one cursor: everything before it is laid, the chunks behind it are empty.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    segments: VecDeque<Segment>,
    /// The segment being filled; `segments.len()` when there is none.
    cursor: usize,
    /// Octets of plaintext.
    plain: usize,
    /// Sealed octets that have not left.
    sealed: usize,
    loan: Option<Loan>,
    last_data: Option<LastData>,
}

impl Outbox {
    /// Octets that wait to leave, sealed or not.
    pub(super) const fn queued(&self) -> usize {
        self.plain.saturating_add(self.sealed)
    }

    /// Whether there is plaintext to seal.
    pub(super) const fn has_plain(&self) -> bool {
        self.plain > 0
    }

    /// Whether it holds chunks that nothing was put in.
    pub(super) fn has_spares(&self) -> bool {
        self.segments.back().is_some_and(Segment::is_done)
    }

    /// Appends plaintext, packed behind what is there.
    pub(super) fn append(&mut self, mut bytes: &[u8], pool: &mut BufferPool) {
        self.loan = None;
        while !bytes.is_empty() {
            let Some(segment) = self.segments.get_mut(self.cursor) else {
                self.segments.push_back(Segment::new(pool.take(Class::for_payload(bytes.len()))));
                continue;
            };
            let taken = segment.lay(bytes);
            if taken == 0 {
                self.next_segment();
            }
            self.plain = self.plain.saturating_add(taken);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// Leaves a used-up segment behind.
    fn next_segment(&mut self) {
        if let Some(segment) = self.segments.get_mut(self.cursor) {
            segment.close_record();
            self.cursor = self.cursor.saturating_add(1);
        }
    }

    /// Lends up to `want` octets of payload area behind a gap for the header of their DATA frame.
    ///
    /// What the chunk at the cursor has left is used first, so that small frames pack. When that is less than half of what
    /// is wanted, a further chunk is put behind it, so that a message does not need a second read.
    pub(super) fn lend(&mut self, stream: StreamId, want: usize, pool: &mut BufferPool) -> Lend<'_> {
        if let Some(segment) = self.segments.get_mut(self.cursor)
            && segment.room() <= FRAME_HEADER
        {
            // The header must not be torn, and at least one octet must follow it.
            segment.close_record();
            if segment.room() == 0 {
                self.next_segment();
            }
        }
        let (rest, one_area) = match self.segments.get(self.cursor) {
            Some(segment) => {
                let rest = segment.rest();
                (rest.saturating_sub(FRAME_HEADER), rest == segment.room())
            }
            None => {
                self.segments.push_back(Segment::new(
                    pool.take(Class::for_payload(want.saturating_add(FRAME_HEADER))),
                ));
                (self.segments.back().map_or(0, Segment::rest).saturating_sub(FRAME_HEADER), false)
            }
        };
        let behind = self.cursor.saturating_add(1);
        // Only where the front is one area, so that there are never more than 64 of them.
        let spans = one_area && rest.saturating_mul(2) < want;
        if spans {
            let class = Class::for_payload(want.saturating_sub(rest));
            // A spare that an earlier loan left may be too small now.
            match self.segments.get_mut(behind) {
                Some(spare) if spare.class() < class => {
                    core::mem::replace(spare, Segment::new(pool.take(class))).give(pool);
                }
                Some(_) => {}
                None => self.segments.push_back(Segment::new(pool.take(class))),
            }
        }
        let mut after = self.segments.range_mut(self.cursor.min(self.segments.len())..);
        let front = after.next();
        let back = if spans { after.next() } else { None };
        let total = want.min(rest.saturating_add(back.as_ref().map_or(0, |spare| spare.rest())));
        self.loan = Some(Loan { stream, octets: total });
        Lend::new(
            front.map(|segment| segment.areas(FRAME_HEADER)).unwrap_or_default(),
            rest,
            back.map(|segment| segment.areas(0)),
            total,
        )
    }

    /// Ends the loan and tells what it was.
    pub(super) const fn take_loan(&mut self) -> Option<Loan> {
        self.loan.take()
    }

    /// `n` octets were read into what was lent; `header` is that of their DATA frame.
    pub(super) fn commit(&mut self, stream: StreamId, header: [u8; FRAME_HEADER], n: usize) {
        let mut left = n;
        if let Some(segment) = self.segments.get_mut(self.cursor) {
            let flags = segment.mark().saturating_add(FLAGS);
            self.last_data = Some(LastData { stream, segment: self.cursor, flags });
            segment.lay(&header);
        }
        while left > 0 {
            let Some(segment) = self.segments.get_mut(self.cursor) else { break };
            let taken = segment.advance(left);
            left = left.saturating_sub(taken);
            if left > 0 {
                self.next_segment();
            }
        }
        self.plain = self.plain.saturating_add(FRAME_HEADER).saturating_add(n.saturating_sub(left));
    }

    /// Sets END_STREAM on the frame laid last, when that is DATA of `stream` and not sealed yet.
    pub(super) fn finish_last(&mut self, stream: StreamId) -> bool {
        let Some(last) = self.last_data.filter(|last| last.stream == stream) else { return false };
        let Some(segment) = self.segments.get_mut(last.segment) else { return false };
        segment.patch(last.flags, END_STREAM);
        true
    }

    /// Puts octets that need no sealing before all plaintext and behind all that is sealed.
    pub(super) fn push_sealed(&mut self, mut bytes: &[u8], pool: &mut BufferPool) {
        self.loan = None;
        self.last_data = None;
        self.sealed = self.sealed.saturating_add(bytes.len());
        let plain = self.segments.iter().position(Segment::has_plain);
        // Where the next chunk of these octets goes.
        let mut at = match plain {
            Some(first) => match self.segments.get_mut(first).filter(|segment| !segment.wire().is_empty()) {
                Some(segment) => {
                    let plain = segment.split_plain(pool.take(segment.class()));
                    let at = first.saturating_add(1);
                    self.segments.insert(at, plain);
                    self.cursor = self.cursor.saturating_add(1);
                    at
                }
                None => first,
            },
            None => match self.segments.get_mut(self.cursor) {
                Some(segment) => {
                    let taken = segment.push_sealed(bytes);
                    bytes = bytes.get(taken..).unwrap_or_default();
                    self.cursor.saturating_add(1)
                }
                None => self.segments.len(),
            },
        };
        while !bytes.is_empty() {
            let mut segment = Segment::new(pool.take(Class::for_octets(bytes.len())));
            let taken = segment.push_sealed(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
            self.segments.insert(at, segment);
            // Frames go on in what the last chunk has left, unless there are some already.
            self.cursor = if plain.is_some() { self.cursor.saturating_add(1) } else { at };
            at = at.saturating_add(1);
        }
    }

    /// Seals all plaintext, in order.
    ///
    /// # Errors
    ///
    /// Those of `seal`; what it refused stays unsealed.
    pub(super) fn seal(
        &mut self,
        mut seal: impl FnMut(&mut [u8]) -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        self.last_data = None;
        for segment in self.segments.iter_mut().filter(|segment| segment.has_plain()) {
            let (plain, sealed) = segment.seal(&mut seal)?;
            self.plain = self.plain.saturating_sub(plain);
            self.sealed = self.sealed.saturating_add(sealed);
        }
        Ok(())
    }

    /// Sealed octets not yet written, in order, at most 64 slices.
    pub(super) fn wire(&self) -> impl Iterator<Item = &[u8]> {
        self.segments.iter().map(Segment::wire).filter(|bytes| !bytes.is_empty()).take(64)
    }

    /// Whether `wire` has something.
    pub(super) const fn has_wire(&self) -> bool {
        self.sealed > 0
    }

    /// `n` octets of `wire` have left; chunks with nothing left in them go back.
    pub(super) fn handle_written(&mut self, n: usize, pool: &mut BufferPool) {
        let mut left = n;
        while left > 0 {
            let Some(segment) = self.segments.front_mut() else { break };
            let taken = segment.handle_written(left);
            left = left.saturating_sub(taken);
            self.sealed = self.sealed.saturating_sub(taken);
            if !segment.is_done() || !self.pop_done(pool) {
                break;
            }
        }
    }

    /// Gives the first segment back, unless it is on loan.
    fn pop_done(&mut self, pool: &mut BufferPool) -> bool {
        if self.cursor == 0 && self.loan.is_some() {
            return false;
        }
        if let Some(segment) = self.segments.pop_front() {
            segment.give(pool);
        }
        self.cursor = self.cursor.saturating_sub(1);
        if let Some(last) = &mut self.last_data {
            last.segment = last.segment.saturating_sub(1);
        }
        true
    }

    /// Gives back the chunks nothing was put in, and ends a loan.
    pub(super) fn trim(&mut self, pool: &mut BufferPool) {
        self.loan = None;
        while self.has_spares() {
            if let Some(spare) = self.segments.pop_back() {
                spare.give(pool);
            }
        }
        self.cursor = self.cursor.min(self.segments.len());
    }

    /// Throws away what is not sealed.
    pub(super) fn drop_plain(&mut self) {
        for segment in &mut self.segments {
            segment.drop_plain();
        }
        (self.plain, self.loan, self.last_data) = (0, None, None);
    }

    /// Gives everything back.
    pub(super) fn clear(&mut self, pool: &mut BufferPool) {
        for segment in self.segments.drain(..) {
            segment.give(pool);
        }
        *self = Self::default();
    }

    /// Copies of what is sealed and of what is not.
    pub(super) fn contents(&self) -> (Vec<u8>, Vec<u8>) {
        let mut sealed = Vec::with_capacity(self.sealed);
        let mut plain = Vec::with_capacity(self.plain);
        for segment in &self.segments {
            sealed.extend_from_slice(segment.wire());
            segment.plain().for_each(|bytes| plain.extend_from_slice(bytes));
        }
        (sealed, plain)
    }
}
