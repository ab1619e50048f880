//! HTTP/2 for tunnels (RFC 9113, 7541): understands everything a peer may send, sends only what CONNECT needs.
//!
//! [`Connection`] is the one machine of this room. It never sees payload: received DATA is reported as ranges of the
//! octets that were handed in, DATA to be sent is written by the caller behind a frame header from here.
use alloc::boxed::Box;
use alloc::vec::Vec;

pub use crate::tls::Side;

mod budgets;
mod closed;
mod config;
mod connection;
mod error;
mod flow;
mod frame;
mod headers;
pub mod hpack;
mod parser;
mod ping;
mod settings;
mod stream;
mod stream_map;
#[cfg(test)]
mod tests;

pub use budgets::{Allowance, Budget, Budgets};
pub use config::Config;
pub use connection::Connection;
pub use error::{ConnectionError, ErrorCode, OpenError};
pub(crate) use frame::PREFACE;
pub(crate) use headers::{are_all, is_token};
pub(crate) use stream_map::StreamMap;

/// Identifies a stream of one connection (RFC 9113 §5.1.1): odd when the client opened it; 0 is the connection itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct StreamId(pub u32);

impl StreamId {
    /// Stream 0, which carries frames that concern the whole connection.
    pub const CONNECTION: Self = Self(0);
    /// The largest identifier (31 bits).
    pub const MAX: Self = Self(0x7fff_ffff);

    /// Whether a client opens streams with this identifier.
    pub(crate) const fn is_client(self) -> bool {
        self.0 & 1 == 1
    }
}

/// A decoded or to-be-encoded header field. Names are lower case; pseudo-headers begin with ':'.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Field {
    /// The name, in lower case.
    pub name: Box<[u8]>,
    /// The value, without surrounding white space.
    pub value: Box<[u8]>,
}

impl Field {
    /// A field of copies of `name` and `value`.
    #[must_use]
    pub fn new(name: &[u8], value: &[u8]) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// Who caused a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Initiator {
    /// The owner of this connection asked for it.
    Local,
    /// This library answered a violation of the peer, or the peer's GOAWAY says the stream was never processed.
    Library,
    /// The peer sent RST_STREAM.
    Remote,
}

/// What the peer did, in the order in which it did it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Event {
    /// The peer's SETTINGS arrived (the first, or one that changed the limit): how many streams we may have open.
    Settings {
        /// SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §6.5.2); `u32::MAX` when the peer sets no limit.
        max_concurrent_streams: u32,
    },
    /// A request (server side), well-formed per RFC 9113 §8 and of any method; pseudo-headers come first in `fields`.
    /// One deviation: a CONNECT without `:authority` is reported too, so that it can be answered with 400.
    Request {
        /// The stream the peer opened.
        stream: StreamId,
        /// The whole header list, pseudo-headers included.
        fields: Vec<Field>,
        /// Whether the peer's half ended with it; no `Finished` follows then.
        finished: bool,
    },
    /// A final response (client side); 1xx are swallowed.
    Response {
        /// The stream that `open` gave.
        stream: StreamId,
        /// The status code, 200 to 999.
        status: u16,
        /// The header list without `:status`.
        fields: Vec<Field>,
        /// Whether the peer's half ended with it; no `Finished` follows then.
        finished: bool,
    },
    /// Payload at `start..start+len` of the bytes given to the running `handle_input`. Padding is credited already. The
    /// octets hold window until the caller hands them to [`Connection::consume`], delivered or dropped, exactly once.
    Data {
        /// The stream they belong to.
        stream: StreamId,
        /// Offset into the bytes given to `handle_input`.
        start: usize,
        /// Octets, never 0.
        len: usize,
    },
    /// The peer's half of the stream ended (END_STREAM on DATA or trailers).
    Finished {
        /// The stream.
        stream: StreamId,
    },
    /// The stream was reset; `Closed` follows at once.
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why (RFC 9113 §7).
        code: ErrorCode,
        /// By whom.
        by: Initiator,
    },
    /// Capacity rose from zero after [`Connection::capacity`] had answered 0.
    Writable {
        /// The stream.
        stream: StreamId,
    },
    /// Peer's GOAWAY. Streams above `last` that we opened were not processed: each also gets a
    /// `Reset(REFUSED_STREAM, Library)`.
    GoAway {
        /// The last stream of ours that the peer may have processed.
        last: StreamId,
        /// Why it goes away.
        code: ErrorCode,
    },
    /// Both halves of a stream are finished or it was reset; its slot is free. The last event of a stream.
    Closed {
        /// The stream.
        stream: StreamId,
    },
    /// Drain finished: the final GOAWAY is queued and no stream is left.
    Drained,
}
