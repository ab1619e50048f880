//! DATA in both directions, and the windows that govern it (RFC 9113 §5.2, §6.1, §6.9).
use alloc::vec::Vec;

use super::Connection;
use crate::http2::budgets::TINY;
use crate::http2::closed::Ending;
use crate::http2::flow::Shares;
use crate::http2::frame::{self, END_STREAM, FrameHeader, Kind};
use crate::http2::stream::Half;
use crate::http2::{Budget, ConnectionError, ErrorCode, Event, StreamId};

impl Connection {
    // --- command

    /// Octets that one DATA frame on `stream` may carry now: min(stream window, connection window, peer's max frame). Of
    /// a wide connection window the last eighth is left to streams that have little outstanding, so that slow readers of
    /// other streams never use up all of it. When it is 0, `Writable` will follow unless the stream ends first. It is 0 on a client until a 2xx arrived, on a
    /// server until `respond` was called, and for streams that are closed or that we finished.
    pub fn capacity(&mut self, stream: StreamId) -> usize {
        let (shares, initial) = self.shares();
        let Some(known) = self.streams.get_mut(&stream).filter(|known| known.send != Half::Ended) else {
            return 0;
        };
        let capacity = known.sendable(shares, initial).min(self.peer.max_frame_size);
        if capacity == 0 && known.ticket.is_none() {
            known.ticket = Some(self.next_ticket);
            self.waiting.insert(self.next_ticket, stream);
            self.next_ticket = self.next_ticket.wrapping_add(1);
        }
        usize::try_from(capacity).unwrap_or(usize::MAX)
    }

    /// The caller puts a DATA frame of `len` ≤ `capacity` octets on the wire right behind what `poll_control` has given so
    /// far (drain that first: the stream's HEADERS may be in it); this is its header. Windows are charged. `finish` sets
    /// END_STREAM; `len` may be 0 then, whatever the capacity.
    ///
    /// `None`, and nothing is charged, when the frame must not be sent: the stream is closed, finished or not yet answered,
    /// `len` exceeds the capacity (SETTINGS may have lowered it since it was asked), or there is nothing to say.
    #[must_use]
    pub fn send_data(&mut self, stream: StreamId, len: usize, finish: bool) -> Option<[u8; frame::HEADER]> {
        let (shares, initial) = self.shares();
        let length = u32::try_from(len).ok()?;
        let known = self.streams.get_mut(&stream).filter(|known| known.send == Half::Open)?;
        let capacity = known.sendable(shares, initial).min(self.peer.max_frame_size);
        if length > capacity || (length == 0 && !finish) {
            return None;
        }
        known.send_window.spend(length);
        self.send_window.spend(length);
        self.spending.earn_window_updates(&self.config.budgets, length);
        let mut flags = 0;
        if finish {
            flags = END_STREAM;
            known.send = Half::Ended;
            if let Some(ticket) = known.ticket.take() {
                self.waiting.remove(&ticket);
            }
            self.remove_if_over(stream);
        }
        Some(FrameHeader { length, kind: Kind::Data, flags, stream }.encode())
    }

    /// `len` octets of DATA of `stream` have left for good downstream, or were dropped: credit goes back (WINDOW_UPDATE at
    /// half window, in smaller portions while the connection's window is scarce). For streams that are closed the
    /// connection is credited. Ignored for streams that never were.
    pub fn consume(&mut self, stream: StreamId, len: usize) {
        if self.closed || self.is_idle(stream) {
            return;
        }
        let mut len = u32::try_from(len).unwrap_or(u32::MAX);
        if let Some(known) = self.streams.get_mut(&stream) {
            len = known.receive_window.release(len);
        }
        self.receive_window.release(len);
        self.give_credit(stream);
    }

    // --- handle

    /// Charges a whole DATA frame to the windows, padding included, and gives the padding back at once.
    pub(super) fn data_begins(
        &mut self,
        header: FrameHeader,
        octets: u32,
        padding: u32,
    ) -> Result<(), ConnectionError> {
        let FrameHeader { stream, length, .. } = header;
        if !header.has(END_STREAM) && octets < TINY {
            self.charge(if octets == 0 { Budget::EmptyFrames } else { Budget::TinyData })?;
        }
        if self.is_idle(stream) {
            return Err(ConnectionError::IdleStream { kind: header.kind.wire(), stream: stream.0 });
        }
        let was_scarce = self.receive_window.is_scarce();
        self.receive_window.charge(length).map_err(|_| ConnectionError::FlowControl)?;
        self.receive_window.release(padding);
        if !was_scarce && self.receive_window.is_scarce() {
            self.settle_credit();
        }
        let Some(known) = self.streams.get_mut(&stream) else {
            return self.late_data(stream);
        };
        let half = known.receive;
        let fault = match half {
            Half::AwaitHeaders => Some(ErrorCode::PROTOCOL_ERROR),
            Half::Ended => Some(ErrorCode::STREAM_CLOSED),
            Half::Open if known.receive_window.charge(length).is_err() => Some(ErrorCode::FLOW_CONTROL_ERROR),
            Half::Open if !known.count_content(octets) => Some(ErrorCode::PROTOCOL_ERROR),
            Half::Open => None,
        };
        if let Some(code) = fault {
            return self.stream_error(stream, code);
        }
        known.receive_window.release(padding);
        self.give_credit(stream);
        Ok(())
    }

    /// DATA for a closed stream. Its octets find no stream below, so they are credited as they arrive.
    fn late_data(&mut self, stream: StreamId) -> Result<(), ConnectionError> {
        match self.endings.get(stream) {
            Some(Ending::Finished) => Err(ConnectionError::StreamClosed(stream.0)),
            Some(Ending::ResetByPeer) => self.stream_error(stream, ErrorCode::STREAM_CLOSED),
            Some(Ending::ResetByUs) | None => Ok(()),
        }
    }

    pub(super) fn data_arrives(&mut self, stream: StreamId, start: usize, len: u32) {
        if self.streams.get(&stream).is_some_and(|known| known.receive == Half::Open) {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            self.events.push_back(Event::Data { stream, start, len });
        } else {
            self.receive_window.release(len);
            self.give_credit(stream);
        }
    }

    pub(super) fn data_ends(&mut self, header: FrameHeader) -> Result<(), ConnectionError> {
        if header.has(END_STREAM) { self.peer_finished(header.stream) } else { Ok(()) }
    }

    /// Queues the WINDOW_UPDATEs that are due, of the connection and of `stream`.
    fn give_credit(&mut self, stream: StreamId) {
        if let Some(increment) = self.receive_window.credit(self.receive_window.portion()) {
            frame::push_window_update(&mut self.control, StreamId::CONNECTION, increment);
        }
        if let Some(known) = self.streams.get_mut(&stream).filter(|known| known.receive == Half::Open) {
            let portion = self.receive_window.portion_of_stream(&known.receive_window);
            if let Some(increment) = known.receive_window.credit(portion) {
                frame::push_window_update(&mut self.control, stream, increment);
            }
        }
    }

    /// The window has become scarce: streams whose octets were all delivered may not look to the sender as if they
    /// were slow. What is owed to each goes back, also to those that have nothing to deliver now.
    fn settle_credit(&mut self) {
        let streams: Vec<StreamId> = self.streams.keys().collect();
        for stream in streams {
            self.give_credit(stream);
        }
    }

    /// How streams share the send window, and the window each of them began with.
    pub(super) fn shares(&self) -> (Shares, u32) {
        (Shares::new(self.send_window, self.send_size), self.peer.initial_window)
    }

    /// Tells the owner of `stream` that it can send, if it waits for that and now can.
    pub(super) fn wake(&mut self, stream: StreamId) {
        let (shares, initial) = self.shares();
        if let Some(known) = self.streams.get_mut(&stream).filter(|known| known.sendable(shares, initial) > 0)
            && let Some(ticket) = known.ticket.take()
        {
            self.waiting.remove(&ticket);
            self.events.push_back(Event::Writable { stream });
        }
    }

    /// Tells all that wait and can send now, longest waiting first. Who then finds the connection window used up goes to
    /// the end of the queue, so everybody's turn comes.
    pub(super) fn wake_all(&mut self) {
        if self.send_window.available() == 0 {
            return;
        }
        let (shares, initial) = self.shares();
        let Self { streams, waiting, events, .. } = self;
        waiting.retain(|_, stream| match streams.get_mut(stream) {
            Some(known) if known.sendable(shares, initial) > 0 => {
                known.ticket = None;
                events.push_back(Event::Writable { stream: *stream });
                false
            }
            Some(_) => true,
            None => false,
        });
    }
}
