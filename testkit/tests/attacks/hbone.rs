//! What is special to HBONE: CONNECT only, answers of §3.3, and what a reset means to the application behind it (§3.8).
use adit_core::http2::ErrorCode;
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::*;

fn server() -> Intruder {
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    it
}

/// The `:status` of the answer on `stream`, which says nothing else and ends the stream.
#[track_caller]
fn status(it: &Intruder, stream: u32) -> String {
    let frames = it.frames();
    let answer = frames.iter().find(|frame| frame.kind == 1 && frame.stream == stream).expect("an answer");
    let mut decoder = adit_core::http2::hpack::Decoder::new(4096);
    let limits = adit_core::http2::hpack::Limits { list_size: 1 << 16, fields: 100 };
    let fields = decoder.decode(&answer.payload, limits).expect("a good block").expect("a short one");
    assert_eq!(fields.len(), 1, "{fields:?}");
    assert_eq!(answer.flags & END_STREAM, END_STREAM);
    String::from_utf8_lossy(&fields[0].value).into_owned()
}

#[test]
fn anything_but_connect_is_answered_400() {
    let mut it = server();
    let requests: [&[(&str, &str)]; 5] = [
        &[(":method", "GET"), (":scheme", "https"), (":authority", "10.0.0.2:80"), (":path", "/")],
        &[(":method", "POST"), (":scheme", "https"), (":authority", "10.0.0.2:80"), (":path", "/")],
        &[(":method", "CONNECT"), (":authority", "10.0.0.2")],
        &[(":method", "CONNECT"), (":authority", "10.0.0.2:0")],
        &[(":method", "CONNECT"), (":authority", "10.0.0.9:80")],
    ];
    for (stream, request) in (1..).step_by(2).zip(requests) {
        it.send(&headers(stream, 0, request));
        assert_eq!(status(&it, stream), "400", "{request:?}");
    }
    assert!(it.is_alive());
    assert_eq!((it.apps().count(), it.shard.connections()), (0, 0));
}

#[test]
fn calls_to_our_own_ports_are_refused() {
    let mut it = server();
    for (stream, port) in [(1, 15_008), (3, 15_006), (5, 15_001)] {
        let authority = format!("10.0.0.2:{port}");
        it.send(&headers(stream, 0, &[(":method", "CONNECT"), (":authority", &authority)]));
        assert_eq!(status(&it, stream), "503", "{port}");
    }
    assert_eq!(it.apps().count(), 0);
}

#[test]
fn extended_connect_is_not_on_offer() {
    // RFC 8441: without SETTINGS_ENABLE_CONNECT_PROTOCOL the request is malformed or refused; nothing is dialled.
    let mut it = server();
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "10.0.0.2:80"),
        (":path", "/"),
    ];
    it.send(&headers(1, 0, &fields));
    assert!(it.is_alive());
    assert_eq!((it.apps().count(), it.shard.connections()), (0, 0));
}

#[test]
fn smuggled_header_octets_never_reach_a_decision() {
    // RFC 9113 §8.2.1: a request with such a field is malformed, whatever else it says.
    let mut it = server();
    let bad = [
        ("x\ny", "1"),
        ("x", "a\r\nb: c"),
        ("X", "1"),
        ("connection", "upgrade"),
        ("transfer-encoding", "chunked"),
        ("", "x"),
    ];
    for (stream, field) in (1..).step_by(2).zip(bad) {
        it.send(&headers(stream, 0, &[CONNECT, &[field]].concat()));
        let reset =
            it.frames().iter().any(|f| f.kind == 3 && f.stream == stream && f.payload == [0, 0, 0, 1]);
        assert!(reset, "{field:?}");
    }
    assert_eq!((it.apps().count(), it.shard.connections()), (0, 0));
}

#[test]
fn trailers_are_bounded_and_end_the_half() {
    let mut it = server();
    it.send(&connect(1));
    it.send(&[data(1, 0, b"x"), headers(1, END_STREAM, &[("x", "y")])].concat());
    let app = it.apps().next().expect("an application").1.clone();
    assert_eq!((app.got.as_slice(), app.fin), (&b"x"[..], true));
    it.send(&connect(3));
    // Under the limit as sent, over it as a list (RFC 9113 §6.5.2).
    let value = "y".repeat(520);
    let block = block(&vec![("x", value.as_str()); 120]);
    let (first, rest) = block.split_at(60_000);
    it.send(&[frame(1, END_STREAM, 3, first), frame(9, END_HEADERS, 3, rest)].concat());
    assert!(
        it.frames().iter().any(|f| f.kind == 3 && f.stream == 3) || !it.is_alive(),
        "trailers of size were taken"
    );
}

/// What the application sees of a stream that the peer reset with `code`.
fn after_reset(code: ErrorCode, resets_as_fin: bool) -> (bool, Option<bool>) {
    let mut it = Intruder::client(|config| config.resets_as_fin = resets_as_fin);
    it.hello(&[]);
    it.send(&connect(1));
    it.send(&data(1, 0, b"before"));
    it.send(&reset(1, code));
    let app = it.apps().next().expect("an application").1.clone();
    assert_eq!(app.got, b"before");
    (app.fin, app.closed)
}

#[test]
fn resets_become_fin_or_rst_by_their_code() {
    // Design §3: NO_ERROR and CANCEL are FIN as upstream's are, others RST; a setting makes all FIN.
    for code in [ErrorCode::NO_ERROR, ErrorCode::CANCEL] {
        let (fin, closed) = after_reset(code, false);
        assert!(fin || closed == Some(false), "{code}: {fin} {closed:?}");
        assert_ne!(closed, Some(true), "{code}");
    }
    for code in [ErrorCode::CONNECT_ERROR, ErrorCode::STREAM_CLOSED, ErrorCode::INTERNAL_ERROR, ErrorCode(99)]
    {
        assert_eq!(after_reset(code, false).1, Some(true), "{code}");
        assert_ne!(after_reset(code, true).1, Some(true), "{code}");
    }
}

#[test]
fn a_reset_application_is_a_connect_error() {
    // RFC 9113 §8.5.
    let mut it = server();
    it.send(&connect(1));
    let (socket, now) = (it.apps().next().expect("an application").0, it.now());
    it.shard.handle_error(now, socket, adit_core::proxy::SocketError::Reset);
    it.pump();
    let frames = it.frames();
    let reset = frames.iter().find(|frame| frame.kind == 3 && frame.stream == 1).expect("RST_STREAM");
    assert_eq!(reset.payload, ErrorCode::CONNECT_ERROR.0.to_be_bytes());
}

#[test]
fn events_after_the_end_are_ignored() {
    // Envoy CVE-2026-47205, -48090: late calls with ids that are gone.
    let mut it = server();
    it.send(&connect(1));
    let (socket, now) = (it.apps().next().expect("an application").0, it.now());
    it.send(&data(0, 0, b"violation"));
    assert!(!it.is_alive());
    it.shard.handle_eof(now, socket);
    it.shard.handle_error(now, socket, adit_core::proxy::SocketError::Reset);
    it.shard.handle_written(now, socket, 7);
    it.shard.handle_read(now, socket, 7);
    it.shard.handle_writable(now, socket);
    it.shard.handle_connected(now, socket);
    assert!(it.shard.lend(socket).is_none());
    it.pump();
    assert_eq!((it.shard.connections(), it.shard.tunnels()), (0, 0));
}
