//! Wire to application: records opened where they were read, pieces of them lent out, leftovers copied.
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::event::Note;
use super::pieces::Chain;
use super::stream::Stream;
use super::{Tunnel, TunnelError};
use crate::buffer::BufferPool;
use crate::hbone::{ConnectRequest, ConnectResponse};
use crate::http2::{Budget, ConnectionError, ErrorCode, Event, Field, Initiator, StreamId};
use crate::time::Instant;
use crate::tls::Input;

/// Octets of control frames that may wait for a peer that does not read.
pub(super) const MAX_CONTROL: usize = 256 << 10;

impl Tunnel {
    /// Where to read wire octets; never empty. What was lent before is settled first.
    pub fn lend_input(&mut self, pool: &mut BufferPool) -> &mut [u8] {
        self.copy_lent(pool);
        self.inbox.lend(pool)
    }

    /// `n` octets were read into the lent area. Lent pieces stay valid until [`settle`](Self::settle); when there are none
    /// the buffer goes back at once.
    ///
    /// # Errors
    ///
    /// The tunnel is over. What arrived before the fault is in `pieces` and events; an alert or GOAWAY is queued: flush,
    /// write what can be written, close.
    pub fn handle_input(&mut self, now: Instant, n: usize, pool: &mut BufferPool) -> Result<(), TunnelError> {
        self.now = now;
        self.inbox.handle_read(n);
        let result = match &self.life.failed {
            Some(error) => Err(error.clone()),
            None => self.handle_records(now).and_then(|()| self.check_unsent()),
        };
        if result.is_err() || self.life.ended {
            self.inbox.discard();
        }
        if self.pieces.octets() == 0 {
            self.inbox.settle(pool);
        }
        result
    }

    /// Control frames are small and leave every turn: that many unsent ones mean that the peer makes us answer and does
    /// not read the answers (CVE-2019-9517 and its kin). Applications stop at `max_queued`, so what the queue has above
    /// that are control frames too.
    fn check_unsent(&mut self) -> Result<(), TunnelError> {
        let queued = self.outbox.queued().saturating_sub(self.config.max_queued);
        let unsent = self.http2.control_octets().saturating_add(self.staged.len()).saturating_add(queued);
        if unsent <= MAX_CONTROL {
            return Ok(());
        }
        let error = ConnectionError::Exceeded(Budget::QueuedReplies);
        self.http2.close(error.code());
        Err(self.fail(error))
    }

    fn handle_records(&mut self, now: Instant) -> Result<(), TunnelError> {
        while !self.life.ended {
            let Some((start, record)) = self.inbox.next_record() else { return Ok(()) };
            match self.session.handle_record(record) {
                Ok(Input::Nothing) => {}
                Ok(Input::Established) => {
                    self.notes.push_back(Note::Established);
                    self.wake();
                }
                Ok(Input::Data(range)) => {
                    let base = start.saturating_add(range.start);
                    let result = match record.get(range) {
                        Some(plain) => self.http2.handle_input(now, plain),
                        None => Ok(()),
                    };
                    self.translate(base);
                    result.map_err(|error| self.fail(error))?;
                }
                Ok(Input::CloseNotify) => {
                    self.life.ended = true;
                    self.goes_away();
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
        Ok(())
    }

    /// The transport ended. Received pieces can still be delivered.
    pub fn handle_eof(&mut self, now: Instant) -> TunnelError {
        self.now = now;
        if let Some(error) = &self.life.failed {
            return error.clone();
        }
        // Whoever can cut the transport could pass off half an answer as a whole one (RFC 8446 §6.1); without streams
        // there is nothing to be cut, and many peers just hang up.
        let cut = !self.life.ended && self.http2.open_streams() > 0;
        self.life.failed.insert(if cut { TunnelError::Truncated } else { TunnelError::Closed }).clone()
    }

    /// Turns what HTTP/2 says into notes and pieces; `base` is where in the input chunk its input began.
    pub(super) fn translate(&mut self, base: usize) {
        while let Some(event) = self.http2.poll_event() {
            match event {
                Event::Data { stream, start, len } => {
                    self.handle_data(stream, base.saturating_add(start), len)
                }
                Event::Settings { max_concurrent_streams } => {
                    self.notes.push_back(Note::Limit(max_concurrent_streams))
                }
                Event::Request { stream, fields, finished } => self.handle_request(stream, &fields, finished),
                Event::Response { stream, status, fields, finished } => {
                    self.handle_response(stream, status, &fields, finished);
                }
                Event::Finished { stream } => {
                    if self.streams.contains_key(&stream) {
                        self.notes.push_back(Note::Finished(stream));
                    }
                }
                Event::Reset { stream, code, by } => {
                    if let Some(entry) = self.streams.get_mut(&stream) {
                        entry.state.finished = true;
                        self.notes.push_back(Note::Reset(stream, code, by));
                    }
                }
                Event::Writable { stream } => {
                    if self.streams.contains_key(&stream) {
                        self.notes.push_back(Note::Writable(stream));
                    }
                }
                Event::GoAway { .. } => self.goes_away(),
                Event::Closed { stream } => {
                    if let Some(entry) = self.streams.get_mut(&stream) {
                        (entry.state.closed, entry.state.finished) = (true, true);
                        self.forget_if_done(stream);
                    }
                    self.notes.push_back(Note::Closed(stream));
                }
                Event::Drained => self.notes.push_back(Note::Drained),
            }
        }
    }

    /// The peer takes no new streams. It may say so up to three times (RFC 9113 §6.8 warns first, `close_notify` comes last);
    /// for the owner that is one event.
    fn goes_away(&mut self) {
        if !core::mem::replace(&mut self.life.going_away, true) {
            self.notes.push_back(Note::GoAway);
        }
    }

    /// `len` octets of payload at `start` of the input chunk.
    fn handle_data(&mut self, stream: StreamId, start: usize, len: usize) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            // Its owner has dropped the stream: nobody will take these.
            self.http2.consume(stream, len);
            return;
        };
        if len > 0 {
            if entry.is_drained() {
                self.notes.push_back(Note::Data(stream));
            }
            self.pieces.push(&mut entry.lent, stream, start, len);
        }
    }

    fn handle_request(&mut self, stream: StreamId, fields: &[Field], finished: bool) {
        let request = ConnectRequest::from_fields(fields);
        let valid = request.is_ok();
        self.notes.push_back(Note::Request(stream, Box::new(request)));
        if valid {
            self.streams.insert(stream, Stream::new());
            if finished {
                self.notes.push_back(Note::Finished(stream));
            }
        } else {
            // No proxy in order sends such a thing: it counts as an attack much sooner than what policy refuses.
            self.refuse(stream, 400, Budget::Refused);
        }
    }

    fn handle_response(&mut self, stream: StreamId, status: u16, fields: &[Field], finished: bool) {
        if !self.streams.contains_key(&stream) {
            return;
        }
        let response = ConnectResponse::from_fields(status, fields);
        self.notes.push_back(Note::Response(stream, Box::new(response)));
        if status != 200 {
            // A refusal has no body that we would want, and our half must end as well.
            self.streams.remove(&stream);
            self.http2.reset(self.now, stream, ErrorCode::CANCEL);
            return;
        }
        if finished {
            self.notes.push_back(Note::Finished(stream));
        }
        self.send_finish(stream);
    }

    /// Copies what the applications have not taken out of the input buffer; call it after delivering.
    ///
    /// When slow applications hold more than [`max_held`](super::TunnelConfig::max_held) now, the streams that hold most
    /// are reset.
    pub fn settle(&mut self, pool: &mut BufferPool) {
        self.copy_lent(pool);
        self.inbox.settle(pool);
        self.pieces.shrink();
        if self.notes.is_empty() {
            self.notes.shrink_to(NOTES_KEPT);
        }
        while self.held > self.config.max_held && self.shed(pool) {}
    }

    /// Resets the stream that holds most memory for its slow application and drops what it holds; false when none does.
    pub fn shed(&mut self, pool: &mut BufferPool) -> bool {
        let most = self.streams.iter().max_by_key(|(_, entry)| entry.backlog.held());
        let Some((stream, _)) = most.filter(|(_, entry)| !entry.backlog.is_empty()) else { return false };
        self.notes.push_back(Note::Reset(stream, ErrorCode::ENHANCE_YOUR_CALM, Initiator::Library));
        self.reset(self.now, stream, ErrorCode::ENHANCE_YOUR_CALM, pool);
        true
    }

    /// Octets of memory held for slow applications.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// How many octets [`pieces`](Self::pieces) has.
    #[must_use]
    pub fn pending(&self, stream: StreamId) -> usize {
        self.streams.get(&stream).map_or(0, Stream::pending)
    }

    fn copy_lent(&mut self, pool: &mut BufferPool) {
        let Self { pieces, streams, inbox, held, .. } = self;
        for (stream, range) in pieces.drain() {
            let Some(entry) = streams.get_mut(&stream) else { continue };
            entry.lent = Chain::EMPTY;
            let before = entry.backlog.held();
            entry.backlog.append(inbox.get(range), pool);
            *held = held.saturating_add(entry.backlog.held().saturating_sub(before));
        }
    }

    /// Received octets of `stream` not yet delivered, in order.
    pub fn pieces(&self, stream: StreamId) -> impl Iterator<Item = &[u8]> {
        let entry = self.streams.get(&stream);
        entry
            .into_iter()
            .flat_map(|entry| entry.backlog.iter().chain(self.pieces.iter(entry.lent, &self.inbox)))
    }

    /// `n` octets of `pieces` have left downstream: window credit goes back.
    pub fn delivered(&mut self, stream: StreamId, n: usize, pool: &mut BufferPool) {
        let taken = self.take_pieces(stream, n, pool);
        if taken > 0 {
            self.http2.consume(stream, taken);
            self.forget_if_done(stream);
        }
    }

    /// Takes up to `n` octets off the front of `pieces`; returns how many.
    pub(super) fn take_pieces(&mut self, stream: StreamId, n: usize, pool: &mut BufferPool) -> usize {
        let Some(entry) = self.streams.get_mut(&stream) else { return 0 };
        let mut taken = 0;
        if !entry.backlog.is_empty() {
            let before = entry.backlog.held();
            taken = entry.backlog.advance(n, pool);
            self.held = self.held.saturating_sub(before.saturating_sub(entry.backlog.held()));
        }
        taken.saturating_add(self.pieces.advance(&mut entry.lent, n.saturating_sub(taken)))
    }

    /// Forgets a closed stream that has nothing left to deliver.
    fn forget_if_done(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(|entry| entry.state.closed && entry.is_drained()) {
            self.streams.remove(&stream);
        }
    }

    /// What has arrived of an incomplete record, and all undelivered octets of `stream` (for a freeze).
    pub(super) fn undelivered(&self, stream: StreamId) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.pieces(stream).for_each(|piece| bytes.extend_from_slice(piece));
        bytes
    }
}

/// Room for events that a tunnel keeps after a busy time.
const NOTES_KEPT: usize = 256;
