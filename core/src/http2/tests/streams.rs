//! Stream states: RFC 9113 §5.1, §5.1.1, §5.1.2, §5.4 (h2spec generic/2, http2/5.1, 5.1.1, 5.1.2, 5.3.1, 5.4.1).
use super::*;

#[test]
fn idle_streams() {
    // RFC 9113 §5.1: anything but HEADERS and PRIORITY is an error of the connection.
    for wire in [data(1, 0, b"x"), reset(1, ErrorCode::CANCEL), window_update(1, 1)] {
        assert!(matches!(Script::server().fails(&wire), ConnectionError::IdleStream { .. }));
        assert!(matches!(Script::client().fails(&wire), ConnectionError::IdleStream { .. }));
    }
}

#[test]
fn identifiers() {
    // RFC 9113 §5.1.1.
    let even = Script::server().fails(&connect(2));
    assert_eq!(even, ConnectionError::IdleStream { kind: 1, stream: 2 });
    assert_eq!(even.code(), ErrorCode::PROTOCOL_ERROR);
    let lower = Script::server().fails(&[connect(5), connect(3)].concat());
    assert_eq!(lower, ConnectionError::StreamOrder(3));
    assert_eq!(lower.code(), ErrorCode::PROTOCOL_ERROR);
    // A server opens nothing, neither with its own nor with our identifiers.
    for stream in [1, 2] {
        let error = Script::client().fails(&headers(stream, 0, OK));
        assert_eq!(error, ConnectionError::IdleStream { kind: 1, stream });
    }
}

#[test]
fn half_closed_remote() {
    // RFC 9113 §5.1: DATA and HEADERS after END_STREAM are stream errors STREAM_CLOSED; window updates are fine.
    for wire in [data(1, 0, b"late"), data(1, END_STREAM, b""), headers(1, END_STREAM, &[("x", "y")])] {
        let mut server = Script::tunnel();
        assert_eq!(server.ok(&data(1, END_STREAM, b"")), [Event::Finished { stream: StreamId(1) }]);
        assert_eq!(server.ok(&[window_update(1, 1), frame(2, 0, 1, &[0; 5])].concat()), []);
        server.resets(&wire, 1, ErrorCode::STREAM_CLOSED);
    }
}

/// A server with stream 1 ended by both sides.
fn finished() -> Script {
    let mut server = Script::tunnel();
    server.ok(&data(1, END_STREAM, b""));
    assert!(server.connection.send_data(StreamId(1), 0, true).is_some());
    assert_eq!(server.drain(&[]), [Event::Closed { stream: StreamId(1) }]);
    assert_eq!(server.connection.open_streams(), 0);
    server
}

#[test]
fn closed_by_end_stream() {
    // RFC 9113 §5.1: DATA and HEADERS end the connection; WINDOW_UPDATE, RST_STREAM and PRIORITY do nothing.
    assert_eq!(finished().fails(&data(1, 0, b"x")), ConnectionError::StreamClosed(1));
    assert_eq!(finished().fails(&connect(1)), ConnectionError::StreamClosed(1));
    let mut server = finished();
    let harmless =
        [window_update(1, 1), window_update(1, 0), reset(1, ErrorCode::NO_ERROR), frame(2, 0, 1, &[0; 5])];
    assert_eq!(server.ok(&harmless.concat()), []);
    server.has_sent(&[]);
    server.goes_on();
}

#[test]
fn closed_by_the_peers_reset() {
    // RFC 9113 §5.1: DATA and HEADERS are stream errors STREAM_CLOSED.
    for wire in [data(1, 0, b"x"), headers(1, END_STREAM, &[("x", "y")])] {
        let mut server = Script::tunnel();
        assert_eq!(server.ok(&reset(1, ErrorCode::CANCEL)), by(1, ErrorCode::CANCEL, Initiator::Remote));
        assert_eq!(server.ok(&wire), []);
        server.has_sent(&[reset(1, ErrorCode::STREAM_CLOSED)]);
        assert_eq!(server.ok(&wire), [], "once is enough");
        server.has_sent(&[]);
    }
}

#[test]
fn closed_by_our_reset() {
    // RFC 9113 §5.1: what was in flight is ignored; header blocks are still decoded, DATA still counted.
    let mut server = Script::tunnel();
    server.connection.reset(Instant::ZERO, StreamId(1), ErrorCode::CONNECT_ERROR);
    server.has_sent(&[reset(1, ErrorCode::CONNECT_ERROR)]);
    assert_eq!(server.drain(&[]), by(1, ErrorCode::CONNECT_ERROR, Initiator::Local));
    let in_flight = [
        data(1, 0, b"in flight"),
        window_update(1, 7),
        headers(1, END_STREAM, &[("x", "y")]),
        reset(1, ErrorCode::CANCEL),
    ];
    assert_eq!(server.ok(&in_flight.concat()), []);
    server.has_sent(&[]);
    assert_eq!(server.connection.held(), 0);
    assert_eq!(server.ok(&connect(3)), [request(3, false)]);
}

#[test]
fn a_reset_in_the_middle_of_a_frame() {
    let mut server = Script::tunnel();
    let wire = data(1, END_STREAM, b"first second");
    let (first, second) = wire.split_at(9 + 5);
    let events = server.ok(first);
    assert_eq!(events, [Event::Data { stream: StreamId(1), start: 9, len: 5 }]);
    server.connection.reset(Instant::ZERO, StreamId(1), ErrorCode::CANCEL);
    server.sent();
    server.drain(&[]);
    assert_eq!(server.ok(second), []);
    assert_eq!(server.connection.held(), 5);
    server.connection.consume(StreamId(1), 5);
    assert_eq!(server.connection.held(), 0);
    server.goes_on();
}

#[test]
fn both_halves_must_end_before_a_slot_is_free() {
    let mut client = Script::client();
    client.ok(&settings_of(&[(3, 1)]));
    assert_eq!(client.open(), 1);
    assert!(client.connection.send_data(StreamId(1), 0, true).is_some());
    assert_eq!(client.connection.open(Instant::ZERO, &fields(CONNECT)), Err(OpenError::Full(1)));
    let answer = client.ok(&headers(1, END_STREAM, &[(":status", "503")]));
    let stream = StreamId(1);
    assert_eq!(
        answer,
        [Event::Response { stream, status: 503, fields: vec![], finished: true }, Event::Closed { stream }]
    );
    assert_eq!(client.open(), 3);
}

#[test]
fn a_server_refuses_above_its_limit() {
    // RFC 9113 §5.1.2: REFUSED_STREAM, and the owner never hears of it.
    let mut server = Script::ready(Side::Server, Config { max_concurrent_streams: 2, ..Config::server() });
    assert_eq!(server.ok(&[connect(1), connect(3)].concat()).len(), 2);
    assert_eq!(server.ok(&connect(5)), []);
    server.has_sent(&[reset(5, ErrorCode::REFUSED_STREAM)]);
    assert_eq!(server.ok(&data(5, END_STREAM, b"in flight")), []);
    server.ok(&reset(1, ErrorCode::CANCEL));
    assert_eq!(server.ok(&connect(7)), [request(7, false)]);
}

#[test]
fn open_respects_the_peers_limit() {
    // RFC 9113 §5.1.2; 100 are assumed before SETTINGS arrive (datapath §3.4).
    let mut client = Script::fresh(Side::Client, Config::client());
    assert_eq!(client.connection.peer_stream_limit(), 100);
    for _ in 0..100 {
        client.open();
    }
    assert_eq!(client.connection.open(Instant::ZERO, &fields(CONNECT)), Err(OpenError::Full(100)));
    assert_eq!(client.ok(&settings_of(&[(3, 101)])), [Event::Settings { max_concurrent_streams: 101 }]);
    client.open();
    assert_eq!(client.connection.open(Instant::ZERO, &fields(CONNECT)), Err(OpenError::Full(101)));
    client.ok(&settings_of(&[(3, 0)]));
    assert_eq!(client.connection.open(Instant::ZERO, &fields(CONNECT)), Err(OpenError::Full(0)));
    assert_eq!(client.connection.open_streams(), 101, "a lowered limit ends no stream");
}

#[test]
fn servers_do_not_open() {
    let refused = Script::server().connection.open(Instant::ZERO, &fields(CONNECT));
    assert_eq!(refused, Err(OpenError::NotClient));
}

#[test]
fn late_commands_are_ignored() {
    let mut server = finished();
    let gone = StreamId(1);
    server.connection.respond(Instant::ZERO, gone, 200, &[], false);
    server.connection.reset(Instant::ZERO, gone, ErrorCode::CANCEL);
    server.connection.consume(gone, 1_000_000);
    assert_eq!(server.connection.capacity(gone), 0);
    assert_eq!(server.connection.send_data(gone, 0, true), None);
    assert_eq!(server.drain(&[]), []);
    server.has_sent(&[]);
    let mut server = Script::tunnel();
    server.connection.respond(Instant::ZERO, StreamId(1), 503, &[], true);
    server.has_sent(&[]);
}

#[test]
fn a_requester_that_is_refused_may_go_on_until_it_is_stopped() {
    // RFC 9113 §8.1.
    let mut server = Script::server();
    server.ok(&connect(1));
    server.connection.respond(Instant::ZERO, StreamId(1), 401, &fields(&[("x", "y")]), true);
    let list: &[(&str, &str)] = &[(":status", "401"), ("x", "y")];
    let mut expected = vec![];
    hpack::encode(list.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), &mut expected);
    server.has_sent(&[frame(1, END_HEADERS | END_STREAM, 1, &expected)]);
    assert_eq!(server.connection.open_streams(), 1);
    server.connection.reset(Instant::ZERO, StreamId(1), ErrorCode::NO_ERROR);
    server.has_sent(&[reset(1, ErrorCode::NO_ERROR)]);
    assert_eq!(server.connection.open_streams(), 0);
}
