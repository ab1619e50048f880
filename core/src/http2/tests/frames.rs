//! Frames one by one: RFC 9113 §3.4, §4, §5.5, §6 (h2spec generic/3, http2/3.5, 4.1–4.3, 5.5, 6.1–6.10, hpack).
use super::*;

#[test]
fn the_first_octets_of_a_server() {
    // RFC 9113 §3.4, §6.5.2; datapath §3.4.
    let mut server = Script::fresh(Side::Server, Config::server());
    let entries = [(1, 0), (3, 200), (4, 4 << 20), (5, 1 << 20), (6, 65_536)];
    server.has_sent(&[settings_of(&entries), window_update(0, (16 << 20) - 65_535)]);
}

#[test]
fn the_first_octets_of_a_client() {
    let mut connection = Connection::new(Side::Client, Config::client(), Instant::ZERO);
    let mut wire = vec![];
    assert_eq!(connection.poll_control(&mut wire), wire.len());
    let entries = [(1, 0), (2, 0), (4, 4 << 20), (5, 1 << 20), (6, 16_384)];
    let expected = [PREFACE.to_vec(), settings_of(&entries), window_update(0, (16 << 20) - 65_535)].concat();
    assert_eq!(wire, expected);
}

#[test]
fn the_preface_is_required() {
    // RFC 9113 §3.4 (h2spec http2/3.5).
    let mut server = Script::fresh(Side::Server, Config::server());
    assert_eq!(server.fails(b"GET / HTTP/1.1\r\n"), ConnectionError::Preface);
}

#[test]
fn settings_come_first() {
    // RFC 9113 §3.4 (h2spec generic/1, http2/3.5).
    for first in [ping(0, &[0; 8]), settings_ack(), window_update(0, 1), frame(0x42, 0, 0, b"x")] {
        let mut server = Script::fresh(Side::Server, Config::server());
        assert_eq!(server.fails(&[PREFACE, &first].concat()), ConnectionError::FirstFrame);
        let mut client = Script::fresh(Side::Client, Config::client());
        assert_eq!(client.fails(&first), ConnectionError::FirstFrame);
    }
}

#[test]
fn what_ends_a_connection() {
    // Each row: the rule of RFC 9113, the frames after a tunnel on stream 1 is up, the code of GOAWAY.
    use ErrorCode as C;
    let whole = block(CONNECT);
    let rows: Vec<(&str, Vec<Vec<u8>>, ErrorCode)> = vec![
        ("4.2 frame too long", vec![frame(0, 0, 1, &vec![0; (1 << 20) + 1])], C::FRAME_SIZE_ERROR),
        ("4.2 HEADERS too long", vec![frame(1, 4, 3, &vec![0; (1 << 20) + 1])], C::FRAME_SIZE_ERROR),
        ("4.3 invalid header block", vec![frame(1, 4, 3, &[0x20, 0x80])], C::COMPRESSION_ERROR),
        ("4.3 truncated header block", vec![frame(1, 4, 3, &whole[..whole.len() - 1])], C::COMPRESSION_ERROR),
        ("4.3 PRIORITY in a block", vec![frame(1, 0, 3, &whole), frame(2, 0, 3, &[0; 5])], C::PROTOCOL_ERROR),
        ("4.3 other HEADERS in a block", vec![frame(1, 0, 3, &whole), connect(5)], C::PROTOCOL_ERROR),
        (
            "5.5 unknown frame in a block",
            vec![frame(1, 0, 3, &whole), frame(0x42, 0, 0, b"")],
            C::PROTOCOL_ERROR,
        ),
        ("6.1 DATA on 0", vec![data(0, 0, b"x")], C::PROTOCOL_ERROR),
        ("6.1 padding too long", vec![data(1, PADDED, &[3, 0, 0])], C::PROTOCOL_ERROR),
        ("6.1 no room for the padding's length", vec![data(1, PADDED, &[])], C::FRAME_SIZE_ERROR),
        ("6.2 HEADERS on 0", vec![connect(0)], C::PROTOCOL_ERROR),
        ("6.2 padding too long", vec![frame(1, PADDED | 4, 3, &[200, 0, 0])], C::PROTOCOL_ERROR),
        ("6.2 no room for priority", vec![frame(1, PRIORITY | 4, 3, &[0; 4])], C::FRAME_SIZE_ERROR),
        ("6.3 PRIORITY on 0", vec![frame(2, 0, 0, &[0; 5])], C::PROTOCOL_ERROR),
        ("6.4 RST_STREAM on 0", vec![reset(0, C::CANCEL)], C::PROTOCOL_ERROR),
        ("6.4 RST_STREAM on idle", vec![reset(3, C::CANCEL)], C::PROTOCOL_ERROR),
        ("6.4 RST_STREAM length", vec![frame(3, 0, 1, &[0; 3])], C::FRAME_SIZE_ERROR),
        ("6.5 ACK with payload", vec![frame(4, ACK, 0, &[0; 6])], C::FRAME_SIZE_ERROR),
        ("6.5 SETTINGS on a stream", vec![frame(4, 0, 1, &[])], C::PROTOCOL_ERROR),
        ("6.5 SETTINGS length", vec![frame(4, 0, 0, &[0; 7])], C::FRAME_SIZE_ERROR),
        ("6.5.2 ENABLE_PUSH", vec![settings_of(&[(2, 2)])], C::PROTOCOL_ERROR),
        ("6.5.2 INITIAL_WINDOW_SIZE", vec![settings_of(&[(4, 1 << 31)])], C::FLOW_CONTROL_ERROR),
        ("6.5.2 MAX_FRAME_SIZE below", vec![settings_of(&[(5, 16_383)])], C::PROTOCOL_ERROR),
        ("6.5.2 MAX_FRAME_SIZE above", vec![settings_of(&[(5, 1 << 24)])], C::PROTOCOL_ERROR),
        ("6.6 PUSH_PROMISE", vec![frame(5, 4, 1, &[0, 0, 0, 2])], C::PROTOCOL_ERROR),
        ("6.7 PING on a stream", vec![frame(6, 0, 1, &[0; 8])], C::PROTOCOL_ERROR),
        ("6.7 PING length", vec![frame(6, 0, 0, &[0; 7])], C::FRAME_SIZE_ERROR),
        ("6.8 GOAWAY on a stream", vec![frame(7, 0, 1, &[0; 8])], C::PROTOCOL_ERROR),
        ("6.8 GOAWAY length", vec![frame(7, 0, 0, &[0; 7])], C::FRAME_SIZE_ERROR),
        ("6.8 GOAWAY raised", vec![goaway(0, C::NO_ERROR), goaway(2, C::NO_ERROR)], C::PROTOCOL_ERROR),
        ("6.9 WINDOW_UPDATE by 0", vec![window_update(0, 0)], C::PROTOCOL_ERROR),
        ("6.9 WINDOW_UPDATE length", vec![frame(8, 0, 1, &[0; 3])], C::FRAME_SIZE_ERROR),
        ("6.9 WINDOW_UPDATE on idle", vec![window_update(3, 1)], C::PROTOCOL_ERROR),
        ("6.9.1 connection window overflow", vec![window_update(0, 0x7fff_ffff)], C::FLOW_CONTROL_ERROR),
        (
            "6.9.2 SETTINGS overflow a stream window",
            vec![window_update(1, 0x7fff_0000), settings_of(&[(4, 0x7fff_ffff)])],
            C::FLOW_CONTROL_ERROR,
        ),
        ("6.10 CONTINUATION alone", vec![frame(9, 4, 1, &[])], C::PROTOCOL_ERROR),
        ("6.10 CONTINUATION after the end", vec![connect(3), frame(9, 4, 3, &[])], C::PROTOCOL_ERROR),
        (
            "6.10 CONTINUATION of another",
            vec![frame(1, 0, 3, &whole), frame(9, 4, 5, &[])],
            C::PROTOCOL_ERROR,
        ),
        ("6.10 CONTINUATION on 0", vec![frame(1, 0, 3, &whole), frame(9, 4, 0, &[])], C::PROTOCOL_ERROR),
        ("6.10 DATA in a block", vec![frame(1, 0, 3, &whole), data(1, 0, b"x")], C::PROTOCOL_ERROR),
    ];
    for (rule, wire, code) in rows {
        let error = Script::tunnel().feed(&wire.concat()).1.expect_err(rule);
        assert_eq!(error.code(), code, "{rule}: {error}");
        assert!(!error.is_attack(), "{rule}");
    }
}

#[test]
fn push_is_refused_by_clients() {
    // RFC 9113 §8.4: PUSH_PROMISE although ENABLE_PUSH is 0; a server cannot announce push either (§6.5.2).
    let promise = frame(5, END_HEADERS, 1, &[0, 0, 0, 2, 0x20]);
    assert_eq!(Script::client_tunnel().fails(&promise), ConnectionError::Push);
    assert_eq!(
        Script::client_tunnel().fails(&settings_of(&[(2, 1)])),
        ConnectionError::Setting { id: 2, value: 1 }
    );
}

#[test]
fn what_resets_a_stream() {
    use ErrorCode as C;
    for (wire, code) in [
        // RFC 9113 §6.3: PRIORITY length; §6.9: WINDOW_UPDATE by 0; §6.9.1: stream window overflow.
        (frame(2, 0, 1, &[0; 4]), C::FRAME_SIZE_ERROR),
        (window_update(1, 0), C::PROTOCOL_ERROR),
        (window_update(1, 0x7fff_ffff), C::FLOW_CONTROL_ERROR),
    ] {
        Script::tunnel().resets(&wire, 1, code);
    }
}

#[test]
fn what_is_ignored() {
    // RFC 9113 §5.5, §5.3.2, §6.5.2, §6.7: unknown frames, flags and settings, PRIORITY in any state.
    let mut server = Script::tunnel();
    for wire in [
        frame(0x42, 0xff, 0, b"whatever"),
        frame(0x42, 0, 1, b""),
        frame(0xff, 0, 99, &[7; 5_000]),
        frame(2, 0, 1, &[0, 0, 0, 1, 0]),
        frame(2, 0, 77, &[0; 5]),
        window_update(1 | 1 << 31, 1),
        frame(8, 0xff, 1, &[0x80, 0, 0, 1]),
    ] {
        assert_eq!(server.ok(&wire), []);
        server.has_sent(&[]);
    }
    assert_eq!(server.ok(&settings_of(&[(0xbeef, 1)])), []);
    server.has_sent(&[settings_ack()]);
    assert_eq!(server.ok(&ping(0xfe, b"12345678")), []);
    server.has_sent(&[ping(ACK, b"12345678")]);
}

#[test]
fn headers_may_be_padded_prioritised_and_continued() {
    // RFC 9113 §6.2, §6.10 (h2spec generic/3.10).
    let mut server = Script::server();
    let whole = block(CONNECT);
    let mut payload = vec![2, 0, 0, 0, 0, 16];
    payload.extend_from_slice(&whole);
    payload.extend_from_slice(&[0, 0]);
    let wire = frame(1, PADDED | PRIORITY | END_HEADERS, 1, &payload);
    assert_eq!(server.ok(&wire), [request(1, false)]);
    let (first, rest) = whole.split_at(3);
    let (second, third) = rest.split_at(5);
    let wire = [frame(1, END_STREAM, 3, first), frame(9, 0, 3, second), frame(9, 4, 3, third)].concat();
    assert_eq!(server.ok(&wire), [request(3, true)]);
}

#[test]
fn the_header_table_shrinks_when_the_peer_has_acknowledged_it() {
    // Design D2; RFC 9113 §6.5.3: entries may be indexed before the ACK, not after.
    let mut server = Script::fresh(Side::Server, Config::server());
    let indexing: Vec<u8> = [&[0x42, 7][..], b"CONNECT", &[0x41, 4], b"a:80"].concat();
    let from_table = [0xbf, 0xbe];
    let expected = fields(&[(":method", "CONNECT"), (":authority", "a:80")]);
    let wire =
        [PREFACE, &settings_of(&[]), &frame(1, 4, 1, &indexing), &frame(1, 4, 3, &from_table)].concat();
    let requests = server.ok(&wire);
    for (event, stream) in requests[1..].iter().zip([1, 3]) {
        let stream = StreamId(stream);
        assert_eq!(*event, Event::Request { stream, fields: expected.clone(), finished: false });
    }
    let wire = [settings_ack(), frame(1, 4, 5, &[&[0x20][..], &from_table].concat())].concat();
    assert!(matches!(server.fails(&wire), ConnectionError::Compression(_)));
}

#[test]
fn a_peer_that_shrinks_our_table_gets_the_update() {
    // RFC 7541 §4.2: at the start of the next block.
    let mut client = Script::client();
    client.ok(&settings_of(&[(settings::HEADER_TABLE_SIZE, 0)]));
    client.sent();
    client.connection.open(Instant::ZERO, &fields(CONNECT)).unwrap();
    assert_eq!(client.sent()[0].1[0], 0x20);
}

#[test]
fn long_requests_are_cut_to_the_peers_frame_size() {
    // RFC 9113 §4.2, §6.10.
    let mut client = Script::client();
    let long = "x".repeat(40_000);
    let list = [CONNECT, &[("baggage", &long)]].concat();
    client.connection.open(Instant::ZERO, &fields(&list)).unwrap();
    let shape: Vec<_> = client
        .sent()
        .iter()
        .map(|(header, _)| (header.kind, header.flags, header.length <= 16_384))
        .collect();
    assert_eq!(
        shape,
        [(Kind::Headers, 0, true), (Kind::Continuation, 0, true), (Kind::Continuation, END_HEADERS, true)]
    );
}

#[test]
fn every_error_has_a_label_of_its_own() {
    let labels = [
        ConnectionError::PingTimeout.reason(),
        ConnectionError::Push.reason(),
        ConnectionError::Exceeded(Budget::Pings).reason(),
        ConnectionError::Exceeded(Budget::Resets).reason(),
    ];
    assert_eq!(labels, ["ping_timeout", "push", "ping_flood", "reset_flood"]);
    assert_eq!(ConnectionError::Exceeded(Budget::Pings).code(), ErrorCode::ENHANCE_YOUR_CALM);
    assert!(ConnectionError::Exceeded(Budget::Pings).is_attack());
    assert_eq!(format!("{} {}", ErrorCode::CANCEL, ErrorCode(0x99)), "CANCEL error code 0x99");
}
