//! Scripts and properties of the connection, and the harness they share.
use std::vec::Vec;
use std::{format, vec};

use super::frame::{ACK, END_HEADERS, END_STREAM, FrameHeader, HEADER, Kind, PADDED, PREFACE, PRIORITY};
use super::{
    Allowance, Budget, Budgets, Config, Connection, ConnectionError, ErrorCode, Event, Field, Initiator,
    OpenError, Side, StreamId, hpack, settings,
};
use crate::time::Instant;

mod attacks;
mod conformance;
mod flow;
mod frames;
mod hostile;
mod life;
mod messages;
mod pair;
mod streams;

/// A frame of any type.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut wire = vec![length[1], length[2], length[3], kind, flags];
    wire.extend_from_slice(&stream.to_be_bytes());
    wire.extend_from_slice(payload);
    wire
}

fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(0, flags, stream, payload)
}

fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(1, flags | END_HEADERS, stream, &block(fields))
}

/// A header block. It begins with the table size update that is due once we have announced a table of 0: `encode` always
/// begins so.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![];
    hpack::encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), &mut block);
    block
}

fn reset(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame(3, 0, stream, &code.0.to_be_bytes())
}

fn settings_of(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = entries
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(4, 0, 0, &payload)
}

fn settings_ack() -> Vec<u8> {
    frame(4, ACK, 0, &[])
}

fn ping(flags: u8, payload: &[u8; 8]) -> Vec<u8> {
    frame(6, flags, 0, payload)
}

fn goaway(last: u32, code: ErrorCode) -> Vec<u8> {
    frame(7, 0, 0, &[last.to_be_bytes(), code.0.to_be_bytes()].concat())
}

fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(8, 0, stream, &increment.to_be_bytes())
}

const CONNECT: &[(&str, &str)] = &[(":method", "CONNECT"), (":authority", "10.0.0.1:80")];
/// What makes PINGs unpredictable, were it not the same in every test.
const NONCE: [u8; 8] = *b"a nonce!";
const OK: &[(&str, &str)] = &[(":status", "200")];

/// A CONNECT request.
fn connect(stream: u32) -> Vec<u8> {
    headers(stream, 0, CONNECT)
}

fn fields(list: &[(&str, &str)]) -> Vec<Field> {
    list.iter().map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes())).collect()
}

fn request(stream: u32, finished: bool) -> Event {
    Event::Request { stream: StreamId(stream), fields: fields(CONNECT), finished }
}

fn by(stream: u32, code: ErrorCode, by: Initiator) -> [Event; 2] {
    let stream = StreamId(stream);
    [Event::Reset { stream, code, by }, Event::Closed { stream }]
}

/// One frame, for comparison.
type Shown = (FrameHeader, Vec<u8>);

fn cut(mut wire: &[u8]) -> Vec<Shown> {
    let mut frames = vec![];
    while let Some((head, rest)) = wire.split_first_chunk::<HEADER>() {
        let header = FrameHeader::parse(*head);
        let (payload, rest) = rest.split_at(header.length as usize);
        frames.push((header, payload.to_vec()));
        wire = rest;
    }
    assert!(wire.is_empty(), "half a frame was sent");
    frames
}

/// A connection of ours whose peer is the test.
#[derive(Clone, Debug)]
struct Script {
    connection: Connection,
    now: Instant,
    /// Content of the DATA reported so far.
    content: Vec<u8>,
}

impl Script {
    /// A fresh connection; nothing was exchanged.
    fn fresh(side: Side, config: Config) -> Self {
        Self { connection: Connection::new(side, config, Instant::ZERO), now: Instant::ZERO, content: vec![] }
    }

    /// A connection whose two SETTINGS were exchanged and acknowledged.
    fn ready(side: Side, config: Config) -> Self {
        let mut script = Self::fresh(side, config);
        let mut hello = if side == Side::Server { PREFACE.to_vec() } else { vec![] };
        hello.extend(settings_of(&[]));
        hello.extend(settings_ack());
        assert_eq!(script.ok(&hello), [Event::Settings { max_concurrent_streams: u32::MAX }]);
        script.sent();
        script
    }

    fn server() -> Self {
        Self::ready(Side::Server, Config::server())
    }

    fn client() -> Self {
        Self::ready(Side::Client, Config::client())
    }

    /// A server with stream 1 requested and answered with 200.
    fn tunnel() -> Self {
        let mut script = Self::server();
        script.ok(&connect(1));
        script.respond(1);
        script
    }

    /// A client with stream 1 opened and answered with 200.
    fn client_tunnel() -> Self {
        let mut script = Self::client();
        script.open();
        script.ok(&headers(1, 0, OK));
        script
    }

    fn open(&mut self) -> u32 {
        let stream = self.connection.open(self.now, &fields(CONNECT)).unwrap();
        self.sent();
        stream.0
    }

    fn respond(&mut self, stream: u32) {
        self.connection.respond(self.now, StreamId(stream), 200, &[], false);
        self.sent();
    }

    /// Gives `wire` to the connection, and to a copy of it octet by octet: both must come to the same.
    fn feed(&mut self, wire: &[u8]) -> (Vec<Event>, Result<(), ConnectionError>) {
        let mut copy = self.clone();
        let whole = self.connection.handle_input(self.now, wire);
        let events = self.drain(wire);
        let (mut slowly, mut slow_events) = (Ok(()), vec![]);
        for octet in wire.chunks(1) {
            slowly = copy.connection.handle_input(copy.now, octet);
            slow_events.extend(copy.drain(octet));
            if slowly.is_err() {
                break;
            }
        }
        assert_eq!(whole, slowly, "chunking changes the result");
        assert_eq!(self.content, copy.content, "chunking changes the content");
        let without_data = |events: &[Event]| -> Vec<Event> {
            events.iter().filter(|event| !matches!(event, Event::Data { .. })).cloned().collect()
        };
        assert_eq!(without_data(&events), without_data(&slow_events), "chunking changes the events");
        if whole.is_ok() {
            assert_eq!(self.connection, copy.connection, "chunking changes the state");
            let frozen = postcard::to_allocvec(&self.connection).unwrap();
            let thawed: Connection = postcard::from_bytes(&frozen).unwrap();
            assert_eq!(self.connection, thawed, "freezing changes the state");
        }
        (events, whole)
    }

    fn drain(&mut self, wire: &[u8]) -> Vec<Event> {
        self.connection.check();
        let mut events = vec![];
        while let Some(event) = self.connection.poll_event() {
            if let Event::Data { start, len, .. } = event {
                self.content.extend_from_slice(&wire[start..start + len]);
            }
            events.push(event);
        }
        events
    }

    /// The events that `wire`, which is in order, leads to.
    #[track_caller]
    fn ok(&mut self, wire: &[u8]) -> Vec<Event> {
        let (events, result) = self.feed(wire);
        assert_eq!(result, Ok(()));
        events
    }

    /// The error that `wire` leads to; GOAWAY with its code is the last thing sent, and all is over.
    #[track_caller]
    fn fails(&mut self, wire: &[u8]) -> ConnectionError {
        let error = self.feed(wire).1.expect_err("the connection goes on");
        self.is_over(&error);
        error
    }

    #[track_caller]
    fn is_over(&mut self, error: &ConnectionError) {
        let frames = self.sent();
        let (header, payload) = frames.last().expect("GOAWAY");
        assert_eq!(header.kind, Kind::GoAway);
        assert_eq!(payload[4..], error.code().0.to_be_bytes());
        assert!(self.connection.is_closed());
        assert_eq!(self.connection.open_streams(), 0);
        assert_eq!(self.connection.poll_timeout(), None);
        assert_eq!(self.connection.handle_input(self.now, b"ignored"), Ok(()));
        assert_eq!(self.connection.handle_timeout(Instant::FAR, NONCE), Ok(()));
        assert!(!self.connection.wants_control());
    }

    /// Frames queued since the last call.
    fn sent(&mut self) -> Vec<Shown> {
        let mut wire = vec![];
        self.connection.poll_control(&mut wire);
        assert!(!self.connection.wants_control());
        cut(wire.strip_prefix(PREFACE).unwrap_or(&wire))
    }

    #[track_caller]
    fn has_sent(&mut self, frames: &[Vec<u8>]) {
        assert_eq!(self.sent(), cut(&frames.concat()));
    }

    /// `wire` is a stream error: RST_STREAM with `code`, and the owner is told; the connection goes on.
    #[track_caller]
    fn resets(&mut self, wire: &[u8], stream: u32, code: ErrorCode) {
        let events = self.ok(wire);
        assert_eq!(events[events.len() - 2..], by(stream, code, Initiator::Library));
        self.has_sent(&[reset(stream, code)]);
        self.goes_on();
    }

    #[track_caller]
    fn goes_on(&mut self) {
        assert_eq!(self.ok(&ping(0, b"alive???")), []);
        self.has_sent(&[ping(ACK, b"alive???")]);
    }
}
