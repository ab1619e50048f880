//! Frame headers (RFC 9113 §4.1) and the few frames that we send.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ErrorCode, StreamId};

/// Octets of a frame header.
pub(crate) const HEADER: usize = 9;
/// What a client sends before its SETTINGS (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// END_STREAM on DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 0x1;
/// ACK on SETTINGS and PING.
pub(crate) const ACK: u8 = 0x1;
/// END_HEADERS on HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 0x4;
/// PADDED on DATA and HEADERS.
pub(crate) const PADDED: u8 = 0x8;
/// PRIORITY on HEADERS.
pub(crate) const PRIORITY: u8 = 0x20;

/// Frame types (RFC 9113 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Kind {
    Data,
    Headers,
    Priority,
    ResetStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown(u8),
}

impl Kind {
    const fn from_wire(kind: u8) -> Self {
        match kind {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 => Self::Priority,
            0x3 => Self::ResetStream,
            0x4 => Self::Settings,
            0x5 => Self::PushPromise,
            0x6 => Self::Ping,
            0x7 => Self::GoAway,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            other => Self::Unknown(other),
        }
    }

    pub(crate) const fn wire(self) -> u8 {
        match self {
            Self::Data => 0x0,
            Self::Headers => 0x1,
            Self::Priority => 0x2,
            Self::ResetStream => 0x3,
            Self::Settings => 0x4,
            Self::PushPromise => 0x5,
            Self::Ping => 0x6,
            Self::GoAway => 0x7,
            Self::WindowUpdate => 0x8,
            Self::Continuation => 0x9,
            Self::Unknown(other) => other,
        }
    }
}

/// The nine octets in front of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FrameHeader {
    /// Octets of payload; 24 bits on the wire.
    pub(crate) length: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) stream: StreamId,
}

impl FrameHeader {
    /// Reads a header; the reserved bit of the stream identifier is ignored (RFC 9113 §4.1).
    pub(crate) const fn parse(octets: [u8; HEADER]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = octets;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::from_wire(kind),
            flags,
            stream: StreamId(u32::from_be_bytes([s0 & 0x7f, s1, s2, s3])),
        }
    }

    pub(crate) const fn encode(self) -> [u8; HEADER] {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.0.to_be_bytes();
        [l0, l1, l2, self.kind.wire(), self.flags, s0, s1, s2, s3]
    }

    pub(crate) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn push(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: StreamId, payload: &[u8]) {
    // Callers keep payloads below the peer's maximum frame size, so the length always fits.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&FrameHeader { length, kind, flags, stream }.encode());
    out.extend_from_slice(payload);
}

/// SETTINGS with `entries`.
pub(crate) fn push_settings(out: &mut Vec<u8>, entries: &[(u16, u32)]) {
    let mut payload = Vec::with_capacity(entries.len().saturating_mul(6));
    for (id, value) in entries {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    push(out, Kind::Settings, 0, StreamId::CONNECTION, &payload);
}

/// The acknowledgement of SETTINGS.
pub(crate) fn push_settings_ack(out: &mut Vec<u8>) {
    push(out, Kind::Settings, ACK, StreamId::CONNECTION, &[]);
}

/// PING, or with `ack` the answer to one.
pub(crate) fn push_ping(out: &mut Vec<u8>, payload: [u8; 8], ack: bool) {
    push(out, Kind::Ping, if ack { ACK } else { 0 }, StreamId::CONNECTION, &payload);
}

/// RST_STREAM.
pub(crate) fn push_reset(out: &mut Vec<u8>, stream: StreamId, code: ErrorCode) {
    push(out, Kind::ResetStream, 0, stream, &code.0.to_be_bytes());
}

/// WINDOW_UPDATE of a stream, or of the connection.
pub(crate) fn push_window_update(out: &mut Vec<u8>, stream: StreamId, increment: u32) {
    push(out, Kind::WindowUpdate, 0, stream, &increment.to_be_bytes());
}

/// GOAWAY without debug data: the peer is shown the class of an error, not the rule.
pub(crate) fn push_goaway(out: &mut Vec<u8>, last: StreamId, code: ErrorCode) {
    let [a, b, c, d] = last.0.to_be_bytes();
    let [e, f, g, h] = code.0.to_be_bytes();
    push(out, Kind::GoAway, 0, StreamId::CONNECTION, &[a, b, c, d, e, f, g, h]);
}

/// HEADERS with `block`, and CONTINUATIONs for what `max_frame` leaves over.
pub(crate) fn push_headers(
    out: &mut Vec<u8>,
    stream: StreamId,
    end_stream: bool,
    block: &[u8],
    max_frame: usize,
) {
    let mut flags = if end_stream { END_STREAM } else { 0 };
    let mut kind = Kind::Headers;
    let mut rest = block;
    loop {
        let (now, later) = rest.split_at_checked(max_frame.max(1)).unwrap_or((rest, &[]));
        if later.is_empty() {
            push(out, kind, flags | END_HEADERS, stream, now);
            return;
        }
        push(out, kind, flags, stream, now);
        (kind, flags, rest) = (Kind::Continuation, 0, later);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        let header = FrameHeader {
            length: 0x12_3456,
            kind: Kind::Unknown(0xfe),
            flags: 0xa5,
            stream: StreamId(0x7f01_0203),
        };
        assert_eq!(FrameHeader::parse(header.encode()), header);
        for kind in 0..=255 {
            assert_eq!(Kind::from_wire(kind).wire(), kind);
        }
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        // RFC 9113 §4.1.
        let header = FrameHeader::parse([0, 0, 0, 0, 0, 0x80, 0, 0, 1]);
        assert_eq!(header.stream, StreamId(1));
    }

    #[test]
    fn a_long_block_is_continued() {
        // RFC 9113 §4.3: END_STREAM rides on HEADERS, END_HEADERS on the last frame.
        let mut out = vec![];
        push_headers(&mut out, StreamId(3), true, &[7; 25], 10);
        let (first, rest) = out.split_at(19);
        let (second, third) = rest.split_at(19);
        assert_eq!(first[..9], [0, 0, 10, 1, END_STREAM, 0, 0, 0, 3]);
        assert_eq!(second[..9], [0, 0, 10, 9, 0, 0, 0, 0, 3]);
        assert_eq!(third[..9], [0, 0, 5, 9, END_HEADERS, 0, 0, 0, 3]);
        let mut whole = vec![];
        push_headers(&mut whole, StreamId(3), false, &[7; 10], 10);
        assert_eq!(whole.len(), 19);
    }
}
