//! What h2spec (generic, http2) and the changelog of the `h2` crate ask and the other files do not; see
//! docs/security-tests.md for where the rest is.
use super::*;

const ONE: StreamId = StreamId(1);

#[test]
fn message_exchanges() {
    // h2spec generic/4: GET, HEAD, OPTIONS, POST with and without trailers. The owner of a tunnel refuses what is no
    // CONNECT; HTTP/2 itself takes all of them.
    let target = [(":scheme", "https"), (":authority", "a"), (":path", "/")];
    for (method, body, trailers) in [
        ("GET", false, false),
        ("HEAD", false, false),
        ("OPTIONS", false, false),
        ("POST", true, false),
        ("POST", true, true),
    ] {
        let mut server = Script::server();
        let list = [&[(":method", method)], &target[..]].concat();
        let events = server.ok(&headers(1, if body { 0 } else { END_STREAM }, &list));
        assert_eq!(
            events,
            [Event::Request { stream: ONE, fields: fields(&list), finished: !body }],
            "{method}"
        );
        if body {
            let mut wire = data(1, if trailers { 0 } else { END_STREAM }, b"body");
            if trailers {
                wire.extend(headers(1, END_STREAM, &[("x-trailer", "y")]));
            }
            assert_eq!(server.ok(&wire).last(), Some(&Event::Finished { stream: ONE }));
            server.connection.consume(ONE, 4);
        }
        server.connection.respond(server.now, ONE, 400, &[], true);
        assert_eq!(server.drain(&[]), [Event::Closed { stream: ONE }]);
        server.goes_on_after_answer();
    }
}

impl Script {
    #[track_caller]
    fn goes_on_after_answer(&mut self) {
        self.sent();
        self.goes_on();
    }
}

#[test]
fn a_frame_of_exactly_the_limit() {
    // h2spec http2/4.2: SETTINGS_MAX_FRAME_SIZE is legal, one octet more is not (frames.rs).
    let config = Config { max_frame_size: 16_384, ..Config::server() };
    let mut server = Script::ready(Side::Server, config.clone());
    server.ok(&connect(1));
    assert_eq!(server.ok(&data(1, 0, &[7; 16_384])).len(), 1);
    assert_eq!(
        server.fails(&data(1, 0, &[7; 16_385])),
        ConnectionError::FrameTooLong { length: 16_385, limit: 16_384 }
    );
    let mut server = Script::ready(Side::Server, config);
    let wire = |octets: usize| headers(1, 0, &[CONNECT, &[("x", &*"v".repeat(octets))]].concat());
    let wire = wire(16_000 + 16_384 + HEADER - wire(16_000).len());
    assert_eq!(wire.len(), HEADER + 16_384);
    assert_eq!(server.ok(&wire).len(), 1);
}

#[test]
fn continuation_wherever_it_has_no_place() {
    // h2spec http2/5.1 (idle, half-closed, closed) and 6.10: always an error of the connection.
    let alone = frame(9, END_HEADERS, 1, &block(&[("x", "y")]));
    let idle = Script::server();
    let mut half_closed = Script::tunnel();
    half_closed.ok(&data(1, END_STREAM, b""));
    let mut closed = Script::tunnel();
    closed.ok(&reset(1, ErrorCode::CANCEL));
    let mut after_data = Script::tunnel();
    after_data.ok(&data(1, 0, b"x"));
    let mut after_continuation = Script::server();
    let whole = block(CONNECT);
    after_continuation.ok(&[frame(1, 0, 1, &whole[..3]), frame(9, END_HEADERS, 1, &whole[3..])].concat());
    for mut script in [idle, half_closed, closed, after_data, after_continuation] {
        let error = script.fails(&alone);
        assert_eq!((&error, error.code()), (&ConnectionError::Continuation, ErrorCode::PROTOCOL_ERROR));
    }
}

#[test]
fn priorities_mean_nothing() {
    // RFC 9113 §5.3.2. Deviation from h2spec http2/5.3.1, which asks RFC 7540's error for a stream that depends on itself.
    let mut server = Script::server();
    let priority = |dependency: u32, weight: u8| [&dependency.to_be_bytes()[..], &[weight]].concat();
    let payload = [priority(1, 16), block(CONNECT)].concat();
    assert_eq!(server.ok(&frame(1, PRIORITY | END_HEADERS, 1, &payload)), [request(1, false)]);
    for payload in [priority(1, 0), priority(0, 255), priority(9, 15), priority(9 | 1 << 31, 15)] {
        // h2spec generic/3.3: weight 1 and 256, a dependency, an exclusive one; on idle, open and closed streams.
        for stream in [1, 3, 77] {
            assert_eq!(server.ok(&frame(2, 0, stream, &payload)), []);
        }
    }
    server.has_sent(&[]);
    server.ok(&reset(1, ErrorCode::CANCEL));
    assert_eq!(server.ok(&frame(2, 0, 1, &priority(0, 1))), []);
    assert_eq!(server.ok(&connect(3)), [request(3, false)], "PRIORITY on it did not open it");
}

#[test]
fn acknowledgements_are_not_answered() {
    // h2spec http2/6.5.3, 6.7.
    let mut server = Script::server();
    assert_eq!(server.ok(&[ping(ACK, b"unasked!"), settings_ack()].concat()), []);
    server.has_sent(&[]);
}

#[test]
fn settings_are_applied_in_their_order() {
    // h2spec http2/6.5.3: of two values for one setting the last counts, and one ACK answers both.
    let mut server = Script::server();
    server.ok(&connect(1));
    server.respond(1);
    server.ok(&settings_of(&[(4, 100), (4, 1)]));
    server.has_sent(&[settings_ack()]);
    assert_eq!(server.connection.capacity(ONE), 1);
    // h2spec http2/6.9.1: with a window of one octet, one octet is sent.
    assert!(server.connection.send_data(ONE, 2, false).is_none());
    assert!(server.connection.send_data(ONE, 1, false).is_some());
    assert_eq!(server.connection.capacity(ONE), 0);
}

#[test]
fn half_closed_streams_take_resets() {
    // h2spec generic/2: RST_STREAM and WINDOW_UPDATE on a half-closed (remote) stream.
    let mut server = Script::tunnel();
    server.ok(&data(1, END_STREAM, b""));
    assert_eq!(server.ok(&window_update(1, 100)), []);
    assert_eq!(server.ok(&reset(1, ErrorCode::CANCEL)), by(1, ErrorCode::CANCEL, Initiator::Remote));
    server.has_sent(&[]);
    server.goes_on();
}

#[test]
fn our_headers_leave_before_our_reset() {
    // h2 0.4.x: a reset overtook the HEADERS it belongs to, and the peer saw an idle stream.
    let mut client = Script::client();
    let stream = client.connection.open(client.now, &fields(CONNECT)).unwrap();
    client.connection.reset(client.now, stream, ErrorCode::CANCEL);
    client.has_sent(&[connect(1), reset(1, ErrorCode::CANCEL)]);
    let mut server = Script::server();
    server.ok(&connect(1));
    server.connection.respond(server.now, ONE, 200, &[], false);
    server.connection.reset(server.now, ONE, ErrorCode::NO_ERROR);
    let kinds: Vec<Kind> = server.sent().iter().map(|(header, _)| header.kind).collect();
    assert_eq!(kinds, [Kind::Headers, Kind::ResetStream]);
}

#[test]
fn credit_of_streams_that_goaway_refused_comes_back() {
    // h2 0.4.x: capacity returned after GOAWAY.
    let config = Config { connection_window: 65_535, ..Config::client() };
    let mut client = Script::ready(Side::Client, config);
    client.open();
    client.open();
    client.ok(&headers(3, 0, OK));
    let half = vec![7; 16_384];
    client.ok(&[data(3, 0, &half), data(3, 0, &half)].concat());
    assert_eq!(client.ok(&goaway(1, ErrorCode::NO_ERROR)).len(), 3);
    assert_eq!(client.connection.held(), 32_768);
    client.sent();
    client.connection.consume(StreamId(3), 32_768);
    client.has_sent(&[window_update(0, 32_768)]);
    client.connection.check();
}

#[test]
fn trailers_do_not_swallow_a_wake_up() {
    // h2 0.4.x: a peer that ends its half with trailers while our half waits for window still wakes it.
    let mut server = Script::server();
    server.ok(&[settings_of(&[(4, 0)]), connect(1)].concat());
    server.respond(1);
    assert_eq!(server.connection.capacity(ONE), 0);
    assert_eq!(server.ok(&headers(1, END_STREAM, &[("x", "y")])), [Event::Finished { stream: ONE }]);
    assert_eq!(server.ok(&window_update(1, 9)), [Event::Writable { stream: ONE }]);
    assert_eq!(server.connection.capacity(ONE), 9);
}

#[test]
fn nothing_is_due_for_nothing() {
    // h2 0.4.x: a busy loop on a write of 0. An empty input, an empty frame, credit for nothing: no event, no output.
    let mut server = Script::tunnel();
    let before = server.connection.clone();
    assert_eq!(server.ok(b""), []);
    server.connection.consume(ONE, 0);
    assert!(server.connection.send_data(ONE, 0, false).is_none());
    assert_eq!(server.connection.handle_timeout(server.now, NONCE), Ok(()));
    assert_eq!(server.connection, before);
    assert!(!server.connection.wants_control());
}
