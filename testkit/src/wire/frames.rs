//! HTTP/2 frames written by hand, right and wrong ones, and read back (RFC 9113 §4, §6).
use adit_core::http2::{ErrorCode, hpack};

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// END_STREAM of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// ACK of SETTINGS and PING.
pub const ACK: u8 = 1;
/// END_HEADERS of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// PADDED of DATA and HEADERS.
pub const PADDED: u8 = 8;
/// A CONNECT to the application that [`Intruder`](super::Intruder)'s shard stands for.
pub const CONNECT: &[(&str, &str)] = &[(":method", "CONNECT"), (":authority", "10.0.0.2:80")];

/// A frame of any type.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut wire = vec![length[1], length[2], length[3], kind, flags];
    wire.extend_from_slice(&stream.to_be_bytes());
    wire.extend_from_slice(payload);
    wire
}

/// DATA.
#[must_use]
pub fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(0, flags, stream, payload)
}

/// HEADERS with a whole block.
#[must_use]
pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(1, flags | END_HEADERS, stream, &block(fields))
}

/// A header block that uses no table.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![];
    hpack::encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), &mut block);
    block
}

/// A CONNECT request.
#[must_use]
pub fn connect(stream: u32) -> Vec<u8> {
    headers(stream, 0, CONNECT)
}

/// RST_STREAM.
#[must_use]
pub fn reset(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame(3, 0, stream, &code.0.to_be_bytes())
}

/// SETTINGS.
#[must_use]
pub fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = entries
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(4, 0, 0, &payload)
}

/// PING.
#[must_use]
pub fn ping(flags: u8) -> Vec<u8> {
    frame(6, flags, 0, b"intruder")
}

/// GOAWAY.
#[must_use]
pub fn goaway(last: u32, code: ErrorCode) -> Vec<u8> {
    frame(7, 0, 0, &[last.to_be_bytes(), code.0.to_be_bytes()].concat())
}

/// WINDOW_UPDATE.
#[must_use]
pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(8, 0, stream, &increment.to_be_bytes())
}

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream.
    pub stream: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

/// The whole frames in `wire`, behind a client's preface if there is one.
#[must_use]
pub fn cut(wire: &[u8]) -> Vec<Frame> {
    let mut wire = wire.strip_prefix(PREFACE).unwrap_or(wire);
    let mut frames = vec![];
    while let Some((&[a, b, c, kind, flags, d, e, f, g], rest)) = wire.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        let stream = u32::from_be_bytes([d, e, f, g]);
        frames.push(Frame { kind, flags, stream, payload: payload.to_vec() });
        wire = rest;
    }
    frames
}
