//! HTTP/2 for tunnels (RFC 9113, 7541): understands everything a peer may send, sends only what CONNECT needs.
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use crate::time::Instant;
pub use crate::tls::Side;

pub mod hpack;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct StreamId(pub u32);

/// RFC 9113 §7 error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ErrorCode(pub u32);
impl ErrorCode {
    pub const NO_ERROR: Self = Self(0x0);
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    pub const INTERNAL_ERROR: Self = Self(0x2);
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    pub const STREAM_CLOSED: Self = Self(0x5);
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    pub const REFUSED_STREAM: Self = Self(0x7);
    pub const CANCEL: Self = Self(0x8);
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    pub const CONNECT_ERROR: Self = Self(0xa);
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);
}

impl core::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        todo!()
    }
}

/// A decoded or to-be-encoded header field. Names are lower case; pseudo-headers begin with ':'.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Field {
    pub name: Box<[u8]>,
    pub value: Box<[u8]>,
}

/// Limits and settings of one connection; defaults per datapath §3.4 and design D2.
#[derive(Clone, Debug)]
pub struct Config {
    pub initial_window: u32,
    pub connection_window: u32,
    pub max_frame_size: u32,
    pub max_header_list_size: u32,
    /// Announced by servers only.
    pub max_concurrent_streams: u32,
    /// What a client assumes until the peer's SETTINGS arrive.
    pub assumed_peer_streams: u32,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub budgets: Budgets,
}
/// Allowances for every peer-driven repeatable action (design §6); refilled by time.
#[derive(Clone, Debug)]
pub struct Budgets {
    // the owner of this room completes it
}

/// Who caused a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Initiator {
    /// The owner of this connection asked for it.
    Local,
    /// This library answered a violation of the peer.
    Library,
    Remote,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Event {
    /// The peer's SETTINGS arrived (first or changed): how many streams we may have open.
    Settings {
        max_concurrent_streams: u32,
    },
    /// A request (server side). Well-formed per RFC 9113 §8; may be any method.
    Request {
        stream: StreamId,
        fields: Vec<Field>,
        finished: bool,
    },
    /// A final response (client side); 1xx are swallowed.
    Response {
        stream: StreamId,
        status: u16,
        fields: Vec<Field>,
        finished: bool,
    },
    /// Payload at `start..start+len` of the bytes given to the running `handle_input`. Padding is already credited.
    Data {
        stream: StreamId,
        start: usize,
        len: usize,
    },
    /// The peer's half of the stream ended (END_STREAM on DATA or trailers).
    Finished {
        stream: StreamId,
    },
    Reset {
        stream: StreamId,
        code: ErrorCode,
        by: Initiator,
    },
    /// Capacity rose from zero (or from below what a refused `capacity` call saw).
    Writable {
        stream: StreamId,
    },
    /// Peer's GOAWAY. Streams above `last` that we opened were not processed: each also gets a Reset(REFUSED_STREAM, Library).
    GoAway {
        last: StreamId,
        code: ErrorCode,
    },
    /// Both halves of a stream are finished or it was reset; its slot is free.
    Closed {
        stream: StreamId,
    },
    /// Server drain finished: final GOAWAY sent and no stream left.
    Drained,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("the peer allows no more than {0} streams")]
    Full(u32),
    #[error("the connection is going away")]
    GoingAway,
}

/// Why the connection must end. Has `code()` (GOAWAY code) and `reason()` (metric label).
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    #[error("no answer to PING")]
    PingTimeout,
    // the owner completes it: who is to blame, which code, which named reason
}

/// One HTTP/2 connection, either side; holds no payload.
#[derive(Clone, Debug)]
pub struct Connection {
    _private: (),
}

impl Connection {
    /// Queues preface (client), SETTINGS and the connection WINDOW_UPDATE.
    pub fn new(side: Side, config: Config, now: Instant) -> Self {
        todo!()
    }
    // --- handle
    /// Takes all of `bytes` (any chunking). Drain events before the next call: `Data` ranges point into `bytes`.
    /// On error GOAWAY is queued; send what `poll_control` gives, then close the transport.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) -> Result<(), ConnectionError> {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        todo!()
    }
    // --- command
    /// Client: opens a CONNECT stream; HEADERS without END_STREAM are queued.
    pub fn open(&mut self, now: Instant, fields: &[Field]) -> Result<StreamId, OpenError> {
        todo!()
    }
    /// Server: answers a request; with `finish` END_STREAM rides on the HEADERS.
    pub fn respond(&mut self, now: Instant, stream: StreamId, status: u16, fields: &[Field], finish: bool) {
        todo!()
    }
    /// Octets that one DATA frame on `stream` may carry now: min(stream window, connection window, peer's max frame).
    /// When it is 0, `Writable` will follow.
    pub fn capacity(&mut self, stream: StreamId) -> usize {
        todo!()
    }
    /// The caller puts a DATA frame of `len` ≤ capacity octets on the wire right behind what `poll_control` has given so far;
    /// this is its header. Windows are charged. `finish` sets END_STREAM (len may be 0 then).
    pub fn send_data(&mut self, stream: StreamId, len: usize, finish: bool) -> [u8; 9] {
        todo!()
    }
    /// Queues RST_STREAM; unread data of the stream is credited to the connection window by the caller's `consume`-less close.
    pub fn reset(&mut self, now: Instant, stream: StreamId, code: ErrorCode) {
        todo!()
    }
    /// `len` octets of DATA of `stream` have left for good downstream: credit goes back (WINDOW_UPDATE at half window).
    /// Works for closed streams too (connection credit).
    pub fn consume(&mut self, stream: StreamId, len: usize) {
        todo!()
    }
    /// Two-step GOAWAY for servers; a client refuses further `open`s and sends GOAWAY.
    pub fn drain(&mut self, now: Instant) {
        todo!()
    }
    /// Queues GOAWAY(code) at once and stops taking input.
    pub fn close(&mut self, code: ErrorCode) {
        todo!()
    }
    // --- poll
    /// Appends queued control frames (preface, SETTINGS, HEADERS, …); whole frames, in order; returns octets appended.
    pub fn poll_control(&mut self, out: &mut Vec<u8>) -> usize {
        todo!()
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    // --- ask
    pub fn wants_control(&self) -> bool {
        todo!()
    }
    pub fn open_streams(&self) -> usize {
        todo!()
    }
    pub fn peer_stream_limit(&self) -> u32 {
        todo!()
    }
}
