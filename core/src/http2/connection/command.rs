//! What the owner wants: open, answer and reset streams.
use alloc::vec::Vec;

use super::Connection;
use super::life::Drain;
use crate::http2::stream::{Half, Stream};
use crate::http2::{Budget, ErrorCode, Field, Initiator, OpenError, Side, StreamId, frame, hpack};
use crate::time::Instant;

/// Octets that a header block of ours mostly fits into.
const USUAL_BLOCK: usize = 384;

impl Connection {
    /// Client: opens a CONNECT stream; HEADERS without END_STREAM are queued. `fields` is the whole header list,
    /// pseudo-headers first.
    ///
    /// # Errors
    /// [`OpenError`] says whether another connection is needed. Nothing is queued then.
    pub fn open(&mut self, now: Instant, fields: &[Field]) -> Result<StreamId, OpenError> {
        self.open_with(now, fields.iter().map(|field| (&*field.name, &*field.value)))
    }

    /// [`open`](Self::open) with names and values.
    pub(crate) fn open_with<'a>(
        &mut self,
        now: Instant,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<StreamId, OpenError> {
        self.observe(now);
        if self.side != Side::Client {
            return Err(OpenError::NotClient);
        }
        let stream = StreamId(self.next_local);
        if self.closed || self.drain != Drain::No || self.peer_goaway.is_some() || stream > StreamId::MAX {
            return Err(OpenError::GoingAway);
        }
        let limit = self.peer.max_concurrent_streams;
        if u32::try_from(self.streams.len()).is_ok_and(|open| open >= limit) {
            return Err(OpenError::Full(limit));
        }
        self.next_local = self.next_local.saturating_add(2);
        let (send, receive) = self.new_windows();
        self.streams.insert(stream, Stream::opened(send, receive));
        self.push_headers(stream, false, fields);
        Ok(stream)
    }

    /// Server: answers a request with a final `status` (200 to 999) and `fields` without pseudo-headers; with `finish`
    /// END_STREAM rides on the HEADERS. Ignored when the stream is gone or was answered before.
    ///
    /// A refused client may go on sending; `reset` with NO_ERROR afterwards tells it to stop (RFC 9113 §8.1) and frees the
    /// slot.
    pub fn respond(&mut self, now: Instant, stream: StreamId, status: u16, fields: &[Field], finish: bool) {
        self.observe(now);
        let Some(known) = self.streams.get_mut(&stream).filter(|known| known.send == Half::AwaitHeaders)
        else {
            return;
        };
        known.send = if finish { Half::Ended } else { Half::Open };
        known.established = true;
        if finish && let Some(ticket) = known.ticket.take() {
            self.waiting.remove(&ticket);
        }
        let digits = [100, 10, 1].map(|place: u16| {
            let digit = status.checked_div(place).unwrap_or(0).checked_rem(10).unwrap_or(0);
            b'0'.saturating_add(u8::try_from(digit).unwrap_or(0))
        });
        let fields = fields.iter().map(|field| (&*field.name, &*field.value));
        let all = core::iter::once((&b":status"[..], &digits[..])).chain(fields);
        self.push_headers(stream, finish, all);
        self.wake(stream);
        self.remove_if_over(stream);
    }

    /// Server: answers a request with an error `status` and asks the client to stop sending (RFC 9113 §8.1: an early answer
    /// is followed by RST_STREAM(NO_ERROR)). Charged to `budget`; a command cannot fail, so a peer that has used it up is
    /// cut at its next octet.
    pub(crate) fn refuse(
        &mut self,
        now: Instant,
        stream: StreamId,
        status: u16,
        fields: &[Field],
        budget: Budget,
    ) {
        self.respond(now, stream, status, fields, true);
        self.reset(now, stream, ErrorCode::NO_ERROR);
        if self.charge(budget).is_err() {
            self.overdrawn.get_or_insert(budget);
        }
    }

    /// Queues RST_STREAM and frees the stream's slot: `Reset(Local)` and `Closed` follow. Octets of it that were reported
    /// and not consumed still hold connection window; `consume` them when they are dropped. Ignored when it is gone.
    pub fn reset(&mut self, now: Instant, stream: StreamId, code: ErrorCode) {
        self.observe(now);
        if self.streams.contains_key(&stream) {
            frame::push_reset(&mut self.control, stream, code);
            self.end_by_reset(stream, code, Initiator::Local);
        }
    }

    fn push_headers<'a>(
        &mut self,
        stream: StreamId,
        finish: bool,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        let mut block = Vec::with_capacity(USUAL_BLOCK);
        hpack::encode(fields, &mut block);
        let max_frame = usize::try_from(self.peer.max_frame_size).unwrap_or(usize::MAX);
        frame::push_headers(&mut self.control, stream, finish, &block, max_frame);
    }
}
