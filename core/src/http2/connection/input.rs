//! What the peer sent: every frame but header blocks and DATA is handled here (RFC 9113 §6).
use alloc::vec::Vec;

use super::Connection;
use crate::http2::closed::Ending;
use crate::http2::frame::{self, ACK, FrameHeader, Kind, PADDED};
use crate::http2::parser::{Cursor, Item, Parser};
use crate::http2::stream::Half;
use crate::http2::{Budget, ConnectionError, ErrorCode, Event, Initiator, Side, StreamId, settings};
use crate::time::Instant;

/// Octets of GOAWAY that matter; debug data follows.
const GOAWAY_HEAD: u32 = 8;

impl Connection {
    /// Takes all of `bytes` (any chunking). Drain events before the next call: `Data` ranges point into `bytes`.
    ///
    /// # Errors
    /// Why the connection must end. GOAWAY is queued: send what `poll_control` gives, then close the transport.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.observe(now);
        if self.closed {
            return Ok(());
        }
        if let Some(budget) = self.overdrawn {
            return self.fail_on_error(Err(ConnectionError::Exceeded(budget)));
        }
        let mut parser = core::mem::take(&mut self.parser);
        let result = self.read(&mut parser, bytes);
        parser.settle();
        self.parser = parser;
        self.fail_on_error(result)
    }

    fn read(&mut self, parser: &mut Parser, bytes: &[u8]) -> Result<(), ConnectionError> {
        let mut cursor = Cursor::new(bytes);
        while let Some(item) = parser.next(&mut cursor)? {
            match item {
                Item::Header(header) => {
                    let take = self.admit(header)?;
                    parser.accept(take);
                }
                Item::Control(header, payload) => self.control_frame(header, payload)?,
                Item::DataBegin { header, octets, padding } => self.data_begins(header, octets, padding)?,
                Item::Data { header, start, len } => self.data_arrives(header.stream, start, len),
                Item::DataEnd(header) => self.data_ends(header)?,
            }
            if self.replies > self.config.budgets.queued_replies {
                return Err(ConnectionError::Exceeded(Budget::QueuedReplies));
            }
        }
        Ok(())
    }

    /// Judges a frame by its header alone; says how many octets of its payload are wanted.
    fn admit(&mut self, header: FrameHeader) -> Result<u32, ConnectionError> {
        let FrameHeader { length, kind, stream, .. } = header;
        let limit = self.config.max_frame_size;
        if length > limit {
            return Err(ConnectionError::FrameTooLong { length, limit });
        }
        if !self.peer.arrived && (kind != Kind::Settings || header.has(ACK)) {
            return Err(ConnectionError::FirstFrame);
        }
        let continues = kind == Kind::Continuation;
        let expected = self.block.as_ref().map(|block| block.stream);
        if continues != expected.is_some() || expected.is_some_and(|expected| expected != stream) {
            return Err(ConnectionError::Continuation);
        }
        check_place(header)?;
        match kind {
            Kind::Data if header.has(PADDED) => at_least(header, 1),
            Kind::Data => Ok(0),
            Kind::Headers | Kind::Continuation => self.admit_fragment(header),
            Kind::Priority => self.admit_priority(header),
            Kind::ResetStream | Kind::WindowUpdate => {
                exactly(header, 4)?;
                if stream != StreamId::CONNECTION && self.is_idle(stream) {
                    return Err(ConnectionError::IdleStream { kind: kind.wire(), stream: stream.0 });
                }
                Ok(4)
            }
            Kind::Settings => self.admit_settings(header),
            Kind::PushPromise => Err(ConnectionError::Push),
            Kind::Ping => exactly(header, 8),
            Kind::GoAway => at_least(header, GOAWAY_HEAD),
            Kind::Unknown(_) => self.charge(Budget::UnknownFrames).map(|()| 0),
        }
    }

    /// PRIORITY is ignored (RFC 9113 §5.3.2), its length is not (§6.3).
    fn admit_priority(&mut self, header: FrameHeader) -> Result<u32, ConnectionError> {
        self.charge(Budget::Priority)?;
        if header.length == 5 {
            return Ok(0);
        }
        if !self.streams.contains_key(&header.stream) {
            // There is no stream to reset.
            return exactly(header, 5);
        }
        self.stream_error(header.stream, ErrorCode::FRAME_SIZE_ERROR).map(|()| 0)
    }

    fn admit_settings(&mut self, header: FrameHeader) -> Result<u32, ConnectionError> {
        if header.has(ACK) {
            return exactly(header, 0);
        }
        let entry = u32::try_from(settings::ENTRY).unwrap_or(u32::MAX);
        let (entries, rest) = (header.length.checked_div(entry), header.length.checked_rem(entry));
        if rest != Some(0) {
            return Err(wrong_length(header));
        }
        if entries.is_none_or(|entries| entries > self.config.budgets.settings_entries) {
            return Err(ConnectionError::Exceeded(Budget::SettingsEntries));
        }
        self.charge(Budget::Settings)?;
        Ok(header.length)
    }

    fn control_frame(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), ConnectionError> {
        match header.kind {
            Kind::Headers | Kind::Continuation => self.fragment(header, payload),
            Kind::ResetStream => self.reset_received(header.stream, ErrorCode(number(payload))),
            Kind::Settings if header.has(ACK) => self.settings_acknowledged(),
            Kind::Settings => self.settings_received(payload),
            Kind::Ping => self.ping_received(header, payload),
            Kind::GoAway => self.goaway_received(payload),
            // The reserved bit is ignored (RFC 9113 §6.9).
            Kind::WindowUpdate => self.window_update(header.stream, number(payload) & StreamId::MAX.0),
            // Refused, or skipped, by `admit`.
            Kind::Data | Kind::Priority | Kind::PushPromise | Kind::Unknown(_) => Ok(()),
        }
    }

    fn reset_received(&mut self, stream: StreamId, code: ErrorCode) -> Result<(), ConnectionError> {
        if let Some(known) = self.streams.get(&stream) {
            // Cancelling what we have not answered yet costs us work (CVE-2023-44487); later it is ordinary.
            if known.send == Half::AwaitHeaders {
                self.charge(Budget::Resets)?;
            }
            self.end_by_reset(stream, code, Initiator::Remote);
            return Ok(());
        }
        match self.endings.get(stream) {
            // It crossed ours, or tidies up behind END_STREAM.
            Some(Ending::ResetByUs | Ending::Finished) => {
                self.endings.remember(stream, Ending::ResetByPeer);
                Ok(())
            }
            Some(Ending::ResetByPeer) | None => self.charge(Budget::StrayFrames),
        }
    }

    fn settings_received(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        let new = self.peer.updated(payload, self.side)?;
        let old = core::mem::replace(&mut self.peer, new);
        if old.initial_window != self.peer.initial_window {
            for stream in self.streams.values_mut() {
                stream
                    .send_window
                    .shift(old.initial_window, self.peer.initial_window)
                    .map_err(|_| ConnectionError::WindowOverflow)?;
            }
            self.wake_all();
        }
        self.replies = self.replies.saturating_add(1);
        frame::push_settings_ack(&mut self.control);
        let max_concurrent_streams = self.peer.max_concurrent_streams;
        if !old.arrived || old.max_concurrent_streams != max_concurrent_streams {
            self.events.push_back(Event::Settings { max_concurrent_streams });
        }
        Ok(())
    }

    /// What we announced is in force from here on (RFC 9113 §6.5.3).
    fn settings_acknowledged(&mut self) -> Result<(), ConnectionError> {
        if self.settings_due.take().is_none() {
            return self.charge(Budget::StrayFrames);
        }
        self.hpack.set_max_table_size(0);
        let size = self.initial_receive_window();
        for stream in self.streams.values_mut() {
            stream.receive_window.resize(size);
        }
        Ok(())
    }

    fn ping_received(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), ConnectionError> {
        let payload = <[u8; 8]>::try_from(payload).map_err(|_| wrong_length(header))?;
        if header.has(ACK) {
            let ours = self.ping.answered(payload, self.config.ping_interval, self.now)
                || self.drain_ping_answered(payload);
            return if ours { Ok(()) } else { self.charge(Budget::StrayFrames) };
        }
        self.charge(Budget::Pings)?;
        self.replies = self.replies.saturating_add(1);
        frame::push_ping(&mut self.control, payload, true);
        Ok(())
    }

    fn goaway_received(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        let (last, code) = payload.split_at_checked(4).unwrap_or_default();
        let (last, code) = (StreamId(number(last) & StreamId::MAX.0), ErrorCode(number(code)));
        if let Some(before) = self.peer_goaway.replace(last) {
            self.charge(Budget::StrayFrames)?;
            if last > before {
                return Err(ConnectionError::GoAwayRaised { from: before.0, to: last.0 });
            }
        }
        self.events.push_back(Event::GoAway { last, code });
        // `last` speaks of streams that we opened; those of the peer live on (RFC 9113 §6.8).
        if self.side == Side::Client {
            let refused: Vec<StreamId> = self.streams.above(last).collect();
            for stream in refused {
                self.end_by_reset(stream, ErrorCode::REFUSED_STREAM, Initiator::Library);
            }
        }
        Ok(())
    }

    fn window_update(&mut self, stream: StreamId, increment: u32) -> Result<(), ConnectionError> {
        self.charge(Budget::WindowUpdates)?;
        if stream == StreamId::CONNECTION {
            if increment == 0 {
                return Err(ConnectionError::ZeroIncrement);
            }
            self.send_window.grow(increment).map_err(|_| ConnectionError::WindowOverflow)?;
            self.send_size = self.send_size.max(self.send_window.available());
            self.wake_all();
            return Ok(());
        }
        // The peer may not know yet that the stream is closed.
        let Some(known) = self.streams.get_mut(&stream) else { return Ok(()) };
        if increment == 0 {
            return self.stream_error(stream, ErrorCode::PROTOCOL_ERROR);
        }
        if known.send_window.grow(increment).is_err() {
            return self.stream_error(stream, ErrorCode::FLOW_CONTROL_ERROR);
        }
        self.wake(stream);
        Ok(())
    }
}

/// Frames of streams do not come on stream 0, frames of the connection come nowhere else (RFC 9113 §6).
fn check_place(header: FrameHeader) -> Result<(), ConnectionError> {
    let on_connection = header.stream == StreamId::CONNECTION;
    let right = match header.kind {
        Kind::Data | Kind::Headers | Kind::Priority | Kind::ResetStream | Kind::Continuation => {
            !on_connection
        }
        Kind::Settings | Kind::Ping | Kind::GoAway => on_connection,
        Kind::PushPromise | Kind::WindowUpdate | Kind::Unknown(_) => true,
    };
    if right {
        return Ok(());
    }
    Err(ConnectionError::WrongStream { kind: header.kind.wire(), stream: header.stream.0 })
}

pub(super) fn wrong_length(header: FrameHeader) -> ConnectionError {
    ConnectionError::FrameLength { kind: header.kind.wire(), length: header.length }
}

fn exactly(header: FrameHeader, length: u32) -> Result<u32, ConnectionError> {
    if header.length == length { Ok(length) } else { Err(wrong_length(header)) }
}

fn at_least(header: FrameHeader, length: u32) -> Result<u32, ConnectionError> {
    if header.length >= length { Ok(length) } else { Err(wrong_length(header)) }
}

/// Four octets as a number; `admit` made sure there are four.
fn number(octets: &[u8]) -> u32 {
    <[u8; 4]>::try_from(octets).map_or(0, u32::from_be_bytes)
}
