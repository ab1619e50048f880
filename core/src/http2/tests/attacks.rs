//! Every row of security §1 that applies to HTTP/2: at the limit all is well, one more ends the connection by name.
use super::*;

const THREE: Allowance = Allowance { burst: 3, per_second: 1 };

/// No budget but those a test sets can be the reason.
fn plenty() -> Budgets {
    let all = Allowance { burst: 1_000_000, per_second: 0 };
    Budgets {
        pings: all,
        settings: all,
        resets: all,
        refused: all,
        denied: all,
        empty_frames: all,
        tiny_data: all,
        window_updates: all,
        priority: all,
        unknown_frames: all,
        stray_frames: all,
        ..Budgets::default()
    }
}

/// A tunnel on stream 1 under `budgets`.
fn tunnel(budgets: Budgets) -> Script {
    let mut server =
        Script::ready(Side::Server, Config { budgets, max_concurrent_streams: 5, ..Config::server() });
    server.ok(&connect(1));
    server.respond(1);
    server
}

/// `step(n)` may happen three times, not a fourth; a second later once more.
#[track_caller]
fn is_limited(budget: Budget, set: impl Fn(&mut Budgets), step: impl Fn(u32) -> Vec<u8>) {
    let mut budgets = plenty();
    set(&mut budgets);
    let mut server = tunnel(budgets);
    for n in 0..3 {
        server.ok(&step(n));
        server.sent();
    }
    let mut later = server.clone();
    let error = server.fails(&step(3));
    assert_eq!(error, ConnectionError::Exceeded(budget));
    assert_eq!(error.code(), ErrorCode::ENHANCE_YOUR_CALM);
    later.now = Instant::from_millis(1_000);
    later.ok(&step(3));
    later.sent();
    assert_eq!(later.fails(&step(4)), ConnectionError::Exceeded(budget));
}

#[test]
fn ping_flood() {
    // CVE-2019-9512.
    is_limited(Budget::Pings, |budgets| budgets.pings = THREE, |_| ping(0, b"floodfld"));
}

#[test]
fn settings_flood() {
    // CVE-2019-9515, CVE-2018-11763.
    let allowance = Allowance { burst: 4, ..THREE };
    is_limited(Budget::Settings, |budgets| budgets.settings = allowance, |_| settings_of(&[]));
}

#[test]
fn settings_entries() {
    // CVE-2020-11080.
    let mut server = tunnel(Budgets::default());
    server.ok(&settings_of(&[(0x99, 1); 32]));
    server.sent();
    let error = server.fails(&settings_of(&[(0x99, 1); 33]));
    assert_eq!(error, ConnectionError::Exceeded(Budget::SettingsEntries));
}

#[test]
fn rapid_reset() {
    // CVE-2023-44487, CVE-2023-26964: opened and cancelled before we answered.
    let step = |n| [connect(3 + 2 * n), reset(3 + 2 * n, ErrorCode::CANCEL)].concat();
    is_limited(Budget::Resets, |budgets| budgets.resets = THREE, step);
}

#[test]
fn resets_of_answered_streams_are_ordinary() {
    // Security §1: 10 000 short connections ended by RST never cut a tunnel.
    let mut connection = tunnel(Budgets { resets: THREE, ..Budgets::default() }).connection;
    let mut wire = vec![];
    for n in 1..=10_000 {
        let stream = 1 + 2 * n;
        connection.handle_input(Instant::ZERO, &connect(stream)).unwrap();
        connection.respond(Instant::ZERO, StreamId(stream), 200, &[], false);
        connection.handle_input(Instant::ZERO, &reset(stream, ErrorCode::CANCEL)).unwrap();
        wire.clear();
        connection.poll_control(&mut wire);
        while connection.poll_event().is_some() {}
    }
    assert_eq!(connection.open_streams(), 1);
}

#[test]
fn made_you_reset() {
    // CVE-2025-8671, RUSTSEC-2024-0003: resets that we are made to send count in the same counter, answered or not.
    for violation in [0, 1, 2] {
        let step = |n| {
            let stream = 3 + 2 * n;
            let violation = match violation {
                0 => window_update(stream, 0),
                1 => window_update(stream, 0x7fff_ffff),
                _ => headers(stream, 0, &[("not", "trailers")]),
            };
            [connect(stream), violation].concat()
        };
        is_limited(Budget::Resets, |budgets| budgets.resets = THREE, step);
    }
    let mixed = |n: u32| {
        let stream = 3 + 2 * n;
        let cancel = reset(stream, ErrorCode::CANCEL);
        [connect(stream), if n.is_multiple_of(2) { cancel } else { window_update(stream, 0) }].concat()
    };
    is_limited(Budget::Resets, |budgets| budgets.resets = THREE, mixed);
}

#[test]
fn refused_requests() {
    // Malformed requests, and those above the stream limit.
    let malformed = |n| headers(3 + 2 * n, 0, &[("x", "no pseudo-headers")]);
    is_limited(Budget::Refused, |budgets| budgets.refused = THREE, malformed);
    let mut server = tunnel(Budgets { refused: THREE, ..plenty() });
    for stream in [3, 5, 7, 9, 11, 13, 15] {
        server.ok(&connect(stream));
    }
    assert_eq!(server.connection.open_streams(), 5);
    assert_eq!(server.fails(&connect(17)), ConnectionError::Exceeded(Budget::Refused));
}

#[test]
fn refused_connects() {
    // What is well-formed HTTP/2 and answered with an error: malformed as a CONNECT, or not allowed by the owner.
    for budget in [Budget::Refused, Budget::Denied] {
        let mut server = tunnel(Budgets { refused: THREE, denied: THREE, ..plenty() });
        let refuse = |server: &mut Script, stream| {
            server.ok(&connect(stream));
            server.connection.refuse(server.now, StreamId(stream), 400, &[], budget);
            assert_eq!(server.drain(&[]).len(), 2, "Reset and Closed");
        };
        for stream in [3, 5, 7] {
            refuse(&mut server, stream);
        }
        server.sent();
        server.goes_on();
        let mut later = server.clone();
        later.now = Instant::from_millis(1_000);
        refuse(&mut later, 9);
        later.sent();
        later.goes_on();
        refuse(&mut server, 9);
        assert_eq!(server.fails(&ping(0, b"one more")), ConnectionError::Exceeded(budget));
    }
}

#[test]
fn empty_frames() {
    // CVE-2019-9518, RUSTSEC-2026-0258: DATA without content, also when it is all padding; empty fragments.
    let set = |budgets: &mut Budgets| budgets.empty_frames = THREE;
    is_limited(Budget::EmptyFrames, set, |_| data(1, 0, b""));
    is_limited(Budget::EmptyFrames, set, |_| data(1, PADDED, &[2, 0, 0]));
    let fragments = |n| if n == 0 { frame(1, 0, 3, b"") } else { frame(9, 0, 3, b"") };
    is_limited(Budget::EmptyFrames, set, fragments);
}

#[test]
fn tiny_data() {
    // CVE-2019-9511, CVE-2020-12603.
    is_limited(Budget::TinyData, |budgets| budgets.tiny_data = THREE, |_| data(1, 0, &[7; 63]));
    let mut server = tunnel(Budgets { tiny_data: THREE, ..plenty() });
    for _ in 0..100 {
        server.ok(&data(1, 0, &[7; 64]));
    }
}

#[test]
fn priority_flood() {
    // CVE-2019-9513.
    is_limited(Budget::Priority, |budgets| budgets.priority = THREE, |n| frame(2, 0, 9 + n, &[0; 5]));
}

#[test]
fn unknown_frame_flood() {
    is_limited(Budget::UnknownFrames, |budgets| budgets.unknown_frames = THREE, |_| frame(0x42, 0, 0, b"x"));
}

#[test]
fn frames_that_change_nothing() {
    let set = |budgets: &mut Budgets| budgets.stray_frames = THREE;
    is_limited(Budget::StrayFrames, set, |_| ping(ACK, b"not ours"));
    is_limited(Budget::StrayFrames, set, |_| settings_ack());
    let mut server = tunnel(Budgets { stray_frames: THREE, ..plenty() });
    // The first RST_STREAM ends the stream and the first GOAWAY is news; the rest is not.
    server.ok(&[reset(1, ErrorCode::CANCEL), goaway(0, ErrorCode::NO_ERROR)].concat());
    server.ok(&[reset(1, ErrorCode::CANCEL), reset(1, ErrorCode::CANCEL)].concat());
    server.ok(&goaway(0, ErrorCode::NO_ERROR));
    assert_eq!(server.fails(&goaway(0, ErrorCode::NO_ERROR)), ConnectionError::Exceeded(Budget::StrayFrames));
}

#[test]
fn endless_informational_responses() {
    let budgets = Budgets { stray_frames: THREE, ..plenty() };
    let mut client = Script::ready(Side::Client, Config { budgets, ..Config::client() });
    client.open();
    for _ in 0..3 {
        client.ok(&headers(1, 0, &[(":status", "103")]));
    }
    let error = client.fails(&headers(1, 0, &[(":status", "103")]));
    assert_eq!(error, ConnectionError::Exceeded(Budget::StrayFrames));
}

#[test]
fn window_update_flood() {
    is_limited(Budget::WindowUpdates, |budgets| budgets.window_updates = THREE, |_| window_update(0, 1));
    // Closed streams are no way around it.
    let mut server = tunnel(Budgets { window_updates: THREE, ..plenty() });
    server.ok(&reset(1, ErrorCode::CANCEL));
    server.ok(&window_update(1, 1).repeat(3));
    let error = server.fails(&window_update(1, 1));
    assert_eq!(error, ConnectionError::Exceeded(Budget::WindowUpdates));
}

#[test]
fn credit_for_what_we_sent_is_no_flood() {
    // Go returns credit every 4 KiB, on stream and connection.
    let allowance = Allowance { burst: 40, per_second: 0 };
    let mut server = tunnel(Budgets { window_updates: allowance, ..plenty() });
    for _ in 0..100 {
        server.connection.send_data(StreamId(1), 16_384, false).unwrap();
        let credit = [window_update(1, 4_096), window_update(0, 4_096)].concat();
        server.ok(&credit.repeat(4));
    }
    // 36 were earned by the last frame, 8 were used since.
    server.ok(&window_update(1, 1).repeat(32));
    let error = server.fails(&window_update(1, 1));
    assert_eq!(error, ConnectionError::Exceeded(Budget::WindowUpdates));
}

#[test]
fn continuation_flood() {
    // CVE-2024-27316, RUSTSEC-2024-0332 and kin.
    let mut server = tunnel(Budgets { continuations: 3, ..plenty() });
    server.ok(&frame(1, 0, 3, &block(CONNECT)[..1]));
    for octet in 1..4 {
        server.ok(&frame(9, 0, 3, &block(CONNECT)[octet..=octet]));
    }
    let error = server.fails(&frame(9, END_HEADERS, 3, &block(CONNECT)[4..]));
    assert_eq!(error, ConnectionError::Exceeded(Budget::Continuations));
    let mut server = tunnel(Budgets { continuations: 3, ..plenty() });
    server.ok(&frame(1, 0, 3, &block(CONNECT)[..1]));
    server.ok(&frame(9, 0, 3, &block(CONNECT)[1..2]));
    server.ok(&frame(9, 0, 3, &block(CONNECT)[2..3]));
    assert_eq!(server.ok(&frame(9, END_HEADERS, 3, &block(CONNECT)[3..])), [request(3, false)]);
}

#[test]
fn header_octets_before_decoding() {
    let whole = block(CONNECT);
    let budgets = Budgets { header_octets: u32::try_from(whole.len()).unwrap(), ..plenty() };
    let mut server = tunnel(budgets);
    assert_eq!(server.ok(&frame(1, END_HEADERS, 3, &whole)), [request(3, false)]);
    let (first, rest) = whole.split_at(2);
    let wire = [frame(1, 0, 5, first), frame(9, END_HEADERS, 5, rest)].concat();
    assert_eq!(server.ok(&wire), [request(5, false)]);
    let over = [rest, b"x"].concat();
    let wire = [frame(1, 0, 7, first), frame(9, END_HEADERS, 7, &over)].concat();
    assert_eq!(server.clone().fails(&wire), ConnectionError::Exceeded(Budget::HeaderOctets));
    let error = server.fails(&frame(1, END_HEADERS, 7, &[first, &over].concat()));
    assert_eq!(error, ConnectionError::Exceeded(Budget::HeaderOctets));
}

#[test]
fn a_peer_that_does_not_read() {
    // CVE-2019-9514, -9517: the queue of replies is bounded; taking them off makes room.
    let mut server = tunnel(Budgets { queued_replies: 3, ..plenty() });
    let three = [ping(0, b"1       "), settings_of(&[]), ping(0, b"3       ")].concat();
    server.ok(&three);
    assert_eq!(server.sent().len(), 3);
    server.ok(&three);
    let error = server.fails(&[connect(3), window_update(3, 0)].concat());
    assert_eq!(error, ConnectionError::Exceeded(Budget::QueuedReplies));
}

#[test]
fn late_data_cannot_be_answered_for_ever() {
    // Each DATA for a stream the peer reset is an error, but one RST_STREAM is all we send.
    let mut server = tunnel(Budgets { resets: THREE, ..plenty() });
    server.ok(&reset(1, ErrorCode::CANCEL));
    server.ok(&data(1, 0, &[7; 100]).repeat(50));
    server.has_sent(&[reset(1, ErrorCode::STREAM_CLOSED)]);
    assert_eq!(server.connection.held(), 0);
}

#[test]
fn the_stream_table_is_bounded_and_empties() {
    // CVE-2023-35945: RST then GOAWAY leaves nothing behind.
    let mut server = Script::server();
    let requests: Vec<u8> = (0..200).flat_map(|n| connect(1 + 2 * n)).collect();
    assert_eq!(server.ok(&requests).len(), 200);
    server.ok(&connect(401));
    assert_eq!(server.connection.open_streams(), 200);
    let resets: Vec<u8> = (0..200).flat_map(|n| reset(1 + 2 * n, ErrorCode::CANCEL)).collect();
    server.ok(&resets[..13 * 199]);
    server.ok(&goaway(0, ErrorCode::NO_ERROR));
    server.connection.close(ErrorCode::NO_ERROR);
    assert_eq!(server.connection.open_streams(), 0);
}
