//! Application to wire: streams opened, answered, fed and ended; records sealed and written.
use alloc::vec::Vec;

use super::event::Note;
use super::outbox::FRAME_HEADER;
use super::stream::Stream;
use super::{Lend, Tunnel, TunnelError};
use crate::buffer::BufferPool;
use crate::hbone::{Baggage, ConnectRequest, ConnectResponse};
use crate::http2::{Budget, ErrorCode, OpenError, StreamId};
use crate::time::Instant;
use crate::tls::MAX_PAYLOAD;

impl Tunnel {
    // --- streams

    /// Opens a stream for `request`. Allowed before TLS is complete: the first request then rides behind the client's
    /// last flight (design D9).
    ///
    /// # Errors
    ///
    /// The peer allows no further stream now, or none any more.
    pub fn open(&mut self, now: Instant, request: &ConnectRequest) -> Result<StreamId, OpenError> {
        self.now = now;
        if self.life.ended || self.life.closing || self.life.failed.is_some() {
            return Err(OpenError::GoingAway);
        }
        let stream = self.http2.open_with(now, request.lines().iter())?;
        self.streams.insert(stream, Stream::new());
        Ok(stream)
    }

    /// Answers a request with 200; the stream carries octets from here on.
    pub fn accept(&mut self, now: Instant, stream: StreamId, baggage: Option<Baggage>) {
        self.now = now;
        if self.streams.contains_key(&stream) {
            let fields = ConnectResponse { status: 200, baggage }.to_fields();
            self.http2.respond(now, stream, 200, &fields, false);
            self.send_finish(stream);
        }
    }

    /// Answers a request with an error `status` and ends the stream; what came with it is dropped.
    pub fn reject(&mut self, now: Instant, stream: StreamId, status: u16, pool: &mut BufferPool) {
        self.now = now;
        if self.streams.contains_key(&stream) {
            let left = self.take_pieces(stream, usize::MAX, pool);
            self.http2.consume(stream, left);
            self.streams.remove(&stream);
            self.refuse(stream, status, Budget::Denied);
        }
    }

    /// Answers with `status`, at the cost of the peer's `budget`.
    pub(super) fn refuse(&mut self, stream: StreamId, status: u16, budget: Budget) {
        let fields = ConnectResponse { status, baggage: None }.to_fields();
        self.http2.refuse(self.now, stream, status, &fields, budget);
    }

    /// Where to read application octets for `stream`: `None` while window or queue is full or TLS is not complete (a
    /// `Writable` follows), or the stream cannot send any more.
    ///
    /// Lending without committing is cheap and needs no call to undo it.
    pub fn lend_data(&mut self, stream: StreamId, pool: &mut BufferPool) -> Option<Lend<'_>> {
        if self.life.closing || self.life.failed.is_some() {
            return None;
        }
        let least = self.least_room();
        let entry = self.streams.get_mut(&stream).filter(|entry| !entry.state.finished)?;
        let room = self.config.max_queued.saturating_sub(self.outbox.queued());
        if room < least || !self.session.is_established() {
            if !core::mem::replace(&mut entry.state.blocked, true) {
                self.blocked.push_back(stream);
            }
            return None;
        }
        let records = entry.state.batch.class().slots().min(self.config.max_batch).max(1);
        let budget = records.saturating_mul(MAX_PAYLOAD).saturating_sub(FRAME_HEADER);
        let want = self.http2.capacity(stream).min(budget).min(room);
        if want == 0 {
            return None;
        }
        self.lay_control(pool);
        Some(self.outbox.lend(stream, want, pool))
    }

    /// `n` > 0 octets were read into what `lend_data` lent, just before.
    pub fn commit_data(&mut self, stream: StreamId, n: usize) {
        let Some(loan) = self.outbox.take_loan().filter(|loan| loan.stream == stream && n > 0) else {
            return;
        };
        let Some(entry) = self.streams.get_mut(&stream).filter(|entry| !entry.state.finished) else { return };
        let n = n.min(loan.octets);
        entry.state.batch.after_read(n, loan.octets);
        // None: the stream ended, or lost its window, between the two calls. Then its octets have nowhere to go.
        if let Some(header) = self.http2.send_data(stream, n, false) {
            self.outbox.commit(stream, header, n);
        }
    }

    /// Ends our half (END_STREAM): on the DATA frame laid last if it is this stream's, else on an empty one. While the
    /// request is not answered it waits for the answer.
    pub fn finish(&mut self, stream: StreamId) {
        let Some(entry) = self.streams.get_mut(&stream).filter(|entry| !entry.state.finished) else { return };
        (entry.state.finished, entry.state.finish_due) = (true, true);
        self.send_finish(stream);
    }

    /// Sends the end that [`finish`](Self::finish) asked for, if HTTP/2 lets it.
    pub(super) fn send_finish(&mut self, stream: StreamId) {
        let Some(entry) = self.streams.get_mut(&stream).filter(|entry| entry.state.finish_due) else {
            return;
        };
        // What HTTP/2 has queued so far (the answer's HEADERS, say) stays before the frame.
        self.http2.poll_control(&mut self.staged);
        let Some(header) = self.http2.send_data(stream, 0, true) else { return };
        entry.state.finish_due = false;
        if !self.outbox.finish_last(stream) {
            self.staged.extend_from_slice(&header);
        }
    }

    /// Resets `stream` and drops what it has received; also how to drop what a closed stream has left.
    pub fn reset(&mut self, now: Instant, stream: StreamId, code: ErrorCode, pool: &mut BufferPool) {
        self.now = now;
        let left = self.take_pieces(stream, usize::MAX, pool);
        if let Some(entry) = self.streams.remove(&stream) {
            self.http2.consume(stream, left);
            if !entry.state.closed {
                self.http2.reset(now, stream, code);
            }
        }
    }

    /// Room in the queue for less than this is not worth a read. Never more than half of it, so that who waits can go on
    /// as soon as half of the queue has left.
    fn least_room(&self) -> usize {
        MAX_PAYLOAD.min(self.config.max_queued.div_ceil(2))
    }

    /// Owes no stream a `Writable` any more.
    pub(super) fn wake(&mut self) {
        while let Some(stream) = self.blocked.pop_front() {
            if let Some(entry) = self.streams.get_mut(&stream).filter(|entry| entry.state.blocked) {
                entry.state.blocked = false;
                self.notes.push_back(Note::Writable(stream));
            }
        }
    }

    // --- transport

    /// Lays queued control frames at the cursor.
    fn lay_control(&mut self, pool: &mut BufferPool) {
        if self.http2.wants_control() {
            self.http2.poll_control(&mut self.staged);
        }
        if !self.staged.is_empty() {
            self.outbox.append(&self.staged, pool);
            self.staged.clear();
            self.staged.shrink_to(STAGED_KEPT);
        }
    }

    /// Packs queued control frames and DATA into records and seals them; afterwards `wire` has all there is to send.
    /// Also gives back what was lent and not used.
    ///
    /// # Errors
    ///
    /// The session cannot seal any more: the tunnel is over.
    pub fn flush(&mut self, now: Instant, pool: &mut BufferPool) -> Result<(), TunnelError> {
        self.now = now;
        self.transmit(pool);
        let result =
            if self.session.is_established() && !self.is_broken() { self.seal(pool) } else { Ok(()) };
        self.outbox.trim(pool);
        result
    }

    fn seal(&mut self, pool: &mut BufferPool) -> Result<(), TunnelError> {
        if self.life.closed {
            // close_notify has gone: nothing may follow it.
            self.outbox.drop_plain();
            return Ok(());
        }
        self.lay_control(pool);
        let session = &mut self.session;
        self.outbox.seal(|record| session.seal(record)).map_err(|error| self.fail(error))?;
        if self.life.closing {
            // Behind everything else: it says that nothing follows (RFC 8446 §6.1).
            self.life.closed = true;
            self.session.close();
            self.transmit(pool);
        }
        Ok(())
    }

    /// Moves what TLS itself has to say to the queue.
    fn transmit(&mut self, pool: &mut BufferPool) {
        if self.session.wants_transmit() {
            let mut records = Vec::new();
            self.session.poll_transmit(&mut records);
            self.outbox.push_sealed(&records, pool);
        }
    }

    /// Sealed octets not yet written, in order; at most 64 slices.
    pub fn wire(&self) -> impl Iterator<Item = &[u8]> {
        self.outbox.wire()
    }

    /// `n` octets of `wire` were written. Write again while `wire` is not empty.
    pub fn handle_written(&mut self, n: usize, pool: &mut BufferPool) {
        self.outbox.handle_written(n, pool);
        let half_empty = self.outbox.queued() <= self.config.max_queued >> 1;
        if !self.blocked.is_empty() && half_empty && self.session.is_established() {
            self.wake();
        }
    }

    /// Whether TLS failed: nothing can be sealed any more, and nothing but the alert leaves.
    const fn is_broken(&self) -> bool {
        matches!(self.life.failed, Some(TunnelError::Tls(_)))
    }

    /// Whether `flush` has something to do or `wire` something to give.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.outbox.has_wire()
            || self.session.wants_transmit()
            || self.outbox.has_spares()
            || self.session.is_established()
                && !self.is_broken()
                && !self.life.closed
                && (self.outbox.has_plain()
                    || !self.staged.is_empty()
                    || self.http2.wants_control()
                    || self.life.closing)
    }
}

/// Room for control frames that a tunnel keeps; WINDOW_UPDATEs and PINGs fit.
const STAGED_KEPT: usize = 256;
