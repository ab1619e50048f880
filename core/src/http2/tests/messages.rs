//! Requests, responses and trailers on streams: RFC 9113 §8 (h2spec generic/4, http2/7, 8.1, 8.1.2.x, 8.2).
use super::*;

const GET: &[(&str, &str)] = &[(":method", "GET"), (":scheme", "https"), (":path", "/")];

#[test]
fn any_method_is_reported() {
    let mut server = Script::server();
    let events = server.ok(&headers(1, END_STREAM, GET));
    assert_eq!(events, [Event::Request { stream: StreamId(1), fields: fields(GET), finished: true }]);
}

#[test]
fn a_malformed_request_is_reset_unseen() {
    // RFC 9113 §8.1.1 (h2spec http2/8.1.2.x).
    for bad in [&[("X", "upper")][..], &[(":late", "x")], &[("connection", "close")], &[("", "empty name")]] {
        let mut server = Script::server();
        assert_eq!(server.ok(&headers(1, 0, &[GET, bad].concat())), []);
        server.has_sent(&[reset(1, ErrorCode::PROTOCOL_ERROR)]);
        assert_eq!(server.ok(&data(1, END_STREAM, b"in flight")), []);
        assert_eq!(server.ok(&connect(3)), [request(3, false)]);
    }
}

#[test]
fn a_header_list_over_the_limit_costs_the_stream_only() {
    // RFC 9113 §10.5.1; CVE-2026-47774: every field counts with 32 octets more.
    let config = Config { max_header_list_size: 200, ..Config::server() };
    let mut server = Script::ready(Side::Server, config);
    let at_limit = 200 - (7 + 7 + 32) - (10 + 11 + 32) - (1 + 32);
    let exact = "v".repeat(at_limit);
    assert_eq!(server.ok(&headers(1, 0, &[CONNECT, &[("x", &exact)]].concat())).len(), 1);
    let over = "v".repeat(at_limit + 1);
    assert_eq!(server.ok(&headers(3, 0, &[CONNECT, &[("x", &over)]].concat())), []);
    server.has_sent(&[reset(3, ErrorCode::ENHANCE_YOUR_CALM)]);
    assert_eq!(server.ok(&connect(5)), [request(5, false)]);
}

#[test]
fn too_many_fields_cost_the_stream_only() {
    let budgets = Budgets { header_fields: 4, ..Budgets::default() };
    let mut server = Script::ready(Side::Server, Config { budgets, ..Config::server() });
    let crumbs = [("cookie", "a"); 3];
    assert_eq!(server.ok(&headers(1, 0, &[CONNECT, &crumbs[..2]].concat())).len(), 1);
    assert_eq!(server.ok(&headers(3, 0, &[CONNECT, &crumbs].concat())), []);
    server.has_sent(&[reset(3, ErrorCode::ENHANCE_YOUR_CALM)]);
}

#[test]
fn responses() {
    let stream = StreamId(1);
    let mut client = Script::client();
    client.open();
    let wire = headers(1, 0, &[(":status", "200"), ("baggage", "k=v")]);
    let list = fields(&[("baggage", "k=v")]);
    assert_eq!(client.ok(&wire), [Event::Response { stream, status: 200, fields: list, finished: false }]);
}

#[test]
fn informational_responses_are_swallowed() {
    // RFC 9113 §8.1.
    let mut client = Script::client();
    client.open();
    assert_eq!(client.ok(&headers(1, 0, &[(":status", "103"), ("link", "x")])), []);
    assert_eq!(client.ok(&headers(1, 0, OK)).len(), 1);
    let mut client = Script::client();
    client.open();
    client.resets(&headers(1, END_STREAM, &[(":status", "100")]), 1, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn malformed_responses() {
    // RFC 9113 §8.3.2; DATA before the response is malformed too (§8.1).
    for wire in [
        headers(1, 0, &[]),
        headers(1, 0, &[(":status", "abc")]),
        headers(1, 0, &[("x", "y"), (":status", "200")]),
        headers(1, 0, &[(":status", "101")]),
        data(1, 0, b"no headers yet"),
    ] {
        let mut client = Script::client();
        client.open();
        client.resets(&wire, 1, ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn trailers_end_the_peers_half() {
    // RFC 9113 §8.1 (h2spec generic/4).
    let finished = [Event::Finished { stream: StreamId(1) }];
    assert_eq!(Script::tunnel().ok(&headers(1, END_STREAM, &[("x", "y")])), finished);
    assert_eq!(Script::client_tunnel().ok(&headers(1, END_STREAM, &[("grpc-status", "0")])), finished);
}

#[test]
fn malformed_trailers() {
    // RFC 9113 §8.1: without END_STREAM, or with a pseudo-header.
    Script::tunnel().resets(&headers(1, 0, &[("x", "y")]), 1, ErrorCode::PROTOCOL_ERROR);
    Script::tunnel().resets(&headers(1, END_STREAM, OK), 1, ErrorCode::PROTOCOL_ERROR);
    Script::client_tunnel().resets(&headers(1, 0, OK), 1, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn content_length_must_match() {
    // RFC 9113 §8.1.1 (h2spec http2/8.1.2.6).
    let post = [GET, &[("content-length", "4")]].concat();
    let mut server = Script::server();
    server.ok(&[headers(1, 0, &post), data(1, 0, b"12"), data(1, END_STREAM, b"34")].concat());
    assert_eq!(server.connection.open_streams(), 1);
    for wire in [data(1, END_STREAM, b"123"), data(1, 0, b"12345"), headers(1, END_STREAM, &[("x", "y")])] {
        let mut server = Script::server();
        server.ok(&headers(1, 0, &post));
        server.resets(&wire, 1, ErrorCode::PROTOCOL_ERROR);
        server.connection.consume(StreamId(1), 5);
    }
    let mut server = Script::server();
    assert_eq!(server.ok(&headers(1, END_STREAM, &post)), []);
    server.has_sent(&[reset(1, ErrorCode::PROTOCOL_ERROR)]);
    // A tunnel has no content, whatever the header says (RFC 9110 §9.3.6).
    let mut client = Script::client();
    client.open();
    client.ok(&headers(1, 0, &[(":status", "200"), ("content-length", "1")]));
    assert_eq!(client.ok(&data(1, END_STREAM, b"longer")).len(), 2);
}

#[test]
fn reset_codes_are_passed_on() {
    // RFC 9113 §7 (h2spec http2/7): unknown codes too.
    for code in [ErrorCode::NO_ERROR, ErrorCode::CONNECT_ERROR, ErrorCode(0xff)] {
        assert_eq!(Script::tunnel().ok(&reset(1, code)), by(1, code, Initiator::Remote));
        let last = StreamId(0);
        assert_eq!(Script::tunnel().ok(&goaway(0, code)), [Event::GoAway { last, code }]);
    }
}

#[test]
fn headers_data_and_reset_stay_in_order() {
    // h2 0.4.x regressions: HEADERS before RST; END_STREAM then RST keeps the data.
    let mut server = Script::server();
    let stream = StreamId(1);
    let wire = [connect(1), data(1, END_STREAM, b"early"), reset(1, ErrorCode::CANCEL)].concat();
    let events = server.feed(&wire).0;
    assert!(matches!(events[0], Event::Request { finished: false, .. }));
    assert!(matches!(events[1], Event::Data { len: 5, .. }));
    assert_eq!(events[2], Event::Finished { stream });
    assert_eq!(events[3..], by(1, ErrorCode::CANCEL, Initiator::Remote));
    assert_eq!(server.content, b"early");
    assert_eq!(server.connection.held(), 5, "held until it is consumed");
    server.connection.consume(stream, 5);
    assert_eq!(server.connection.held(), 0);
}
