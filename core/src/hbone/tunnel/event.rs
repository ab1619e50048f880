//! What a tunnel tells its owner.
use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use super::super::{ConnectRequest, ConnectResponse, RequestError};
use crate::http2::{ErrorCode, Initiator, StreamId};
use crate::identity::Identity;

/// What a tunnel tells its owner, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelEvent {
    /// TLS complete; the peer is known.
    Established {
        /// The verified identity of the peer.
        peer: Identity,
    },
    /// The peer's SETTINGS (first: the tunnel is ready; later: the limit changed).
    Limit {
        /// How many streams we may have open at once.
        streams: u32,
    },
    /// Server: a CONNECT arrived. `Err` requests have been answered already (400).
    Request {
        /// Its stream.
        stream: StreamId,
        /// What it asks for.
        request: Result<ConnectRequest, RequestError>,
    },
    /// Client: the answer. Non-200 leaves the stream dead (a `Closed` follows).
    Response {
        /// Its stream.
        stream: StreamId,
        /// Status and metadata.
        response: ConnectResponse,
    },
    /// `pieces(stream)` has become non-empty.
    Data {
        /// Its stream.
        stream: StreamId,
    },
    /// The peer finished its half; all its data is in `pieces` already.
    Finished {
        /// Its stream.
        stream: StreamId,
    },
    /// The peer, or this library on its own account, reset a stream; what had arrived before stays in `pieces` when the
    /// peer did it. A reset the owner asked for is not told.
    Reset {
        /// Its stream.
        stream: StreamId,
        /// Why.
        code: ErrorCode,
        /// Who.
        by: Initiator,
    },
    /// `lend_data` may answer again after it answered `None`.
    Writable {
        /// Its stream.
        stream: StreamId,
    },
    /// No new streams: the peer said GOAWAY or `close_notify`. Told once, however often the peer says so.
    GoAway,
    /// HTTP/2 is done with the stream and its place is free. What `pieces` still has stays until it is delivered or
    /// dropped with `reset`.
    Closed {
        /// Its stream.
        stream: StreamId,
    },
    /// Our drain is complete: no stream is left.
    Drained,
}

/// A queued event: small, because busy turns queue many.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Note {
    Established,
    Limit(u32),
    Request(StreamId, Box<Result<ConnectRequest, RequestError>>),
    Response(StreamId, Box<ConnectResponse>),
    Data(StreamId),
    Finished(StreamId),
    Reset(StreamId, ErrorCode, Initiator),
    Writable(StreamId),
    GoAway,
    Closed(StreamId),
    Drained,
}

impl Note {
    /// The event; `None` when the peer it tells of is unknown, which cannot be once TLS is complete.
    pub(super) fn into_event(self, peer: Option<&Identity>) -> Option<TunnelEvent> {
        Some(match self {
            Self::Established => TunnelEvent::Established { peer: peer?.clone() },
            Self::Limit(streams) => TunnelEvent::Limit { streams },
            Self::Request(stream, request) => TunnelEvent::Request { stream, request: *request },
            Self::Response(stream, response) => TunnelEvent::Response { stream, response: *response },
            Self::Data(stream) => TunnelEvent::Data { stream },
            Self::Finished(stream) => TunnelEvent::Finished { stream },
            Self::Reset(stream, code, by) => TunnelEvent::Reset { stream, code, by },
            Self::Writable(stream) => TunnelEvent::Writable { stream },
            Self::GoAway => TunnelEvent::GoAway,
            Self::Closed(stream) => TunnelEvent::Closed { stream },
            Self::Drained => TunnelEvent::Drained,
        })
    }
}
