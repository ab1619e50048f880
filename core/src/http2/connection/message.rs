//! Header blocks: collecting, decoding, and what they mean for a stream (RFC 9113 §4.3, §8.1).
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Connection;
use super::input::wrong_length;
use crate::http2::closed::Ending;
use crate::http2::flow::{DEFAULT_WINDOW, ReceiveWindow, SendWindow};
use crate::http2::frame::{END_HEADERS, END_STREAM, FrameHeader, Kind, PADDED, PRIORITY};
use crate::http2::stream::{Half, Stream};
use crate::http2::{Budget, ConnectionError, ErrorCode, Event, Field, Side, StreamId, headers, hpack};

/// A header block that is not complete yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) stream: StreamId,
    finished: bool,
    octets: Vec<u8>,
    continuations: u32,
}

impl Connection {
    /// HEADERS or CONTINUATION: bounds the block before any of it is stored.
    pub(super) fn admit_fragment(&mut self, header: FrameHeader) -> Result<u32, ConnectionError> {
        let budgets = &self.config.budgets;
        let mut collected = 0;
        if let Some(block) = &mut self.block {
            collected = u32::try_from(block.octets.len()).unwrap_or(u32::MAX);
            block.continuations = block.continuations.saturating_add(1);
            if block.continuations > budgets.continuations {
                return Err(ConnectionError::Exceeded(Budget::Continuations));
            }
        }
        if header.length.saturating_add(collected) > budgets.header_octets {
            return Err(ConnectionError::Exceeded(Budget::HeaderOctets));
        }
        let stream = header.stream;
        let opens = self.side == Side::Server && stream.is_client();
        if header.kind == Kind::Headers && self.is_idle(stream) && !opens {
            return Err(ConnectionError::IdleStream { kind: header.kind.wire(), stream: stream.0 });
        }
        Ok(header.length)
    }

    pub(super) fn fragment(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), ConnectionError> {
        let fragment = if header.kind == Kind::Headers { unwrap_headers(header, payload)? } else { payload };
        let complete = header.has(END_HEADERS);
        if fragment.is_empty() && !complete {
            self.charge(Budget::EmptyFrames)?;
        }
        match self.block.take() {
            None if complete => self.block_complete(header.stream, header.has(END_STREAM), fragment),
            None => {
                self.block = Some(Block {
                    stream: header.stream,
                    finished: header.has(END_STREAM),
                    octets: fragment.into(),
                    continuations: 0,
                });
                Ok(())
            }
            Some(mut block) => {
                block.octets.extend_from_slice(fragment);
                if complete {
                    return self.block_complete(block.stream, block.finished, &block.octets);
                }
                self.block = Some(block);
                Ok(())
            }
        }
    }

    /// Decodes the block whatever becomes of it: the compression state must follow the peer's.
    fn block_complete(
        &mut self,
        stream: StreamId,
        finished: bool,
        block: &[u8],
    ) -> Result<(), ConnectionError> {
        let limits = hpack::Limits {
            list_size: usize::try_from(self.config.max_header_list_size).unwrap_or(usize::MAX),
            fields: usize::try_from(self.config.budgets.header_fields).unwrap_or(usize::MAX),
        };
        let fields = self.hpack.decode(block, limits)?;
        match self.streams.get(&stream).map(|known| known.receive) {
            Some(Half::AwaitHeaders) => self.response_received(stream, fields, finished),
            Some(Half::Open) => self.trailers_received(stream, fields, finished),
            Some(Half::Ended) => self.stream_error(stream, ErrorCode::STREAM_CLOSED),
            None if self.side == Side::Server && stream > self.last_peer => {
                self.request_received(stream, fields, finished)
            }
            None => self.late_block(stream),
        }
    }

    fn request_received(
        &mut self,
        stream: StreamId,
        fields: Option<Vec<Field>>,
        finished: bool,
    ) -> Result<(), ConnectionError> {
        if self.drain.is_final() {
            // Our GOAWAY said that this one is not processed; the client tries elsewhere (RFC 9113 §6.8).
            return self.charge(Budget::StrayFrames);
        }
        self.last_peer = stream;
        let limit = usize::try_from(self.config.max_concurrent_streams).unwrap_or(usize::MAX);
        if self.streams.len() >= limit {
            return self.reset_unseen(stream, ErrorCode::REFUSED_STREAM);
        }
        let Some(fields) = fields else { return self.reset_unseen(stream, ErrorCode::ENHANCE_YOUR_CALM) };
        let Ok(request) = headers::request(&fields) else {
            return self.reset_unseen(stream, ErrorCode::PROTOCOL_ERROR);
        };
        let (send, receive) = self.new_windows();
        let mut new = Stream::requested(send, receive, finished);
        new.content_left = request.content_length;
        if finished && !new.content_complete() {
            return self.reset_unseen(stream, ErrorCode::PROTOCOL_ERROR);
        }
        self.streams.insert(stream, new);
        self.events.push_back(Event::Request { stream, fields, finished });
        Ok(())
    }

    /// Resets a stream that the owner never saw.
    fn reset_unseen(&mut self, stream: StreamId, code: ErrorCode) -> Result<(), ConnectionError> {
        self.charge(Budget::Refused)?;
        self.stream_error(stream, code)
    }

    fn response_received(
        &mut self,
        stream: StreamId,
        fields: Option<Vec<Field>>,
        finished: bool,
    ) -> Result<(), ConnectionError> {
        let Some(mut fields) = fields else {
            return self.stream_error(stream, ErrorCode::ENHANCE_YOUR_CALM);
        };
        let Ok(response) = headers::response(&mut fields) else {
            return self.stream_error(stream, ErrorCode::PROTOCOL_ERROR);
        };
        let status = response.status;
        if status < 200 {
            // Another response follows, so this cannot be the end (RFC 9113 §8.1).
            return if finished {
                self.stream_error(stream, ErrorCode::PROTOCOL_ERROR)
            } else {
                self.charge(Budget::StrayFrames)
            };
        }
        let Some(known) = self.streams.get_mut(&stream) else { return Ok(()) };
        known.content_left = response.content_length;
        if finished && !known.content_complete() {
            return self.stream_error(stream, ErrorCode::PROTOCOL_ERROR);
        }
        known.established = status < 300;
        known.receive = if finished { Half::Ended } else { Half::Open };
        self.events.push_back(Event::Response { stream, status, fields, finished });
        self.wake(stream);
        self.remove_if_over(stream);
        Ok(())
    }

    /// Trailers end the peer's half. On a CONNECT that RFC 9113 §8.5 would let us reset for them; they do no harm.
    fn trailers_received(
        &mut self,
        stream: StreamId,
        fields: Option<Vec<Field>>,
        finished: bool,
    ) -> Result<(), ConnectionError> {
        let Some(fields) = fields else { return self.stream_error(stream, ErrorCode::ENHANCE_YOUR_CALM) };
        if !finished || headers::trailers(&fields).is_err() {
            return self.stream_error(stream, ErrorCode::PROTOCOL_ERROR);
        }
        self.peer_finished(stream)
    }

    /// END_STREAM behind the headers.
    pub(super) fn peer_finished(&mut self, stream: StreamId) -> Result<(), ConnectionError> {
        let Some(known) = self.streams.get_mut(&stream).filter(|known| known.receive == Half::Open) else {
            return Ok(());
        };
        if !known.content_complete() {
            return self.stream_error(stream, ErrorCode::PROTOCOL_ERROR);
        }
        known.receive = Half::Ended;
        self.events.push_back(Event::Finished { stream });
        self.remove_if_over(stream);
        Ok(())
    }

    /// HEADERS for a stream that is closed.
    fn late_block(&mut self, stream: StreamId) -> Result<(), ConnectionError> {
        match self.endings.get(stream) {
            Some(Ending::Finished) => Err(ConnectionError::StreamClosed(stream.0)),
            Some(Ending::ResetByPeer) => self.stream_error(stream, ErrorCode::STREAM_CLOSED),
            Some(Ending::ResetByUs) => self.charge(Budget::StrayFrames),
            // Skipped when a higher one was opened, which closed it (RFC 9113 §5.1.1).
            None if self.side == Side::Server => Err(ConnectionError::StreamOrder(stream.0)),
            None => self.charge(Budget::StrayFrames),
        }
    }

    /// What a new stream begins with.
    pub(super) fn new_windows(&self) -> (SendWindow, ReceiveWindow) {
        let receive = ReceiveWindow::new(self.initial_receive_window());
        (SendWindow::new(self.peer.initial_window), receive)
    }

    /// Until our SETTINGS are acknowledged the peer may still count from the default (RFC 9113 §6.9.2).
    pub(super) fn initial_receive_window(&self) -> u32 {
        let announced = self.config.initial_window;
        if self.settings_due.is_some() { announced.max(DEFAULT_WINDOW) } else { announced }
    }
}

/// HEADERS without padding and priority (RFC 9113 §6.2).
fn unwrap_headers(header: FrameHeader, payload: &[u8]) -> Result<&[u8], ConnectionError> {
    let (mut rest, mut padding) = (payload, 0);
    if header.has(PADDED) {
        let (&length, behind) = rest.split_first().ok_or_else(|| wrong_length(header))?;
        (rest, padding) = (behind, usize::from(length));
    }
    if header.has(PRIORITY) {
        rest = rest.split_at_checked(5).ok_or_else(|| wrong_length(header))?.1;
    }
    let keep = rest.len().checked_sub(padding).ok_or(ConnectionError::Padding)?;
    Ok(rest.split_at_checked(keep).map_or(rest, |(fragment, _)| fragment))
}
