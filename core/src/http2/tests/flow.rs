//! Flow control both ways: RFC 9113 §5.2, §6.9 (h2spec http2/6.9, 6.9.1, 6.9.2) and h2's regressions about it.
use super::*;

const ONE: StreamId = StreamId(1);
const THREE: StreamId = StreamId(3);

/// Windows small enough to be used up: 100 octets per stream, 65 535 for the connection.
fn small() -> Config {
    Config { initial_window: 100, connection_window: 65_535, ..Config::server() }
}

/// A tunnel that may send `window` octets per stream.
fn sender(window: u32) -> Script {
    let mut server = Script::server();
    server.ok(&[settings_of(&[(4, window)]), connect(1), connect(3)].concat());
    server.respond(1);
    server.respond(3);
    server
}

fn header(stream: StreamId, len: u32, flags: u8) -> Option<[u8; HEADER]> {
    Some(FrameHeader { length: len, kind: Kind::Data, flags, stream }.encode())
}

#[test]
fn capacity_is_the_least_of_three() {
    let mut server = sender(100);
    assert_eq!(server.connection.capacity(ONE), 100);
    server.ok(&settings_of(&[(4, 1_000_000)]));
    assert_eq!(server.connection.capacity(ONE), 16_384, "the peer's frame size");
    server.ok(&settings_of(&[(5, 1 << 20)]));
    assert_eq!(server.connection.capacity(ONE), 65_535, "the connection window");
    assert_eq!(server.connection.send_data(ONE, 65_535, false), header(ONE, 65_535, 0));
    assert_eq!(server.connection.capacity(THREE), 0);
}

#[test]
fn nothing_is_sent_beyond_capacity() {
    let mut server = sender(100);
    assert_eq!(server.connection.send_data(ONE, 101, false), None);
    assert_eq!(server.connection.send_data(ONE, 0, false), None, "an empty frame says nothing");
    assert_eq!(server.connection.send_data(ONE, 100, false), header(ONE, 100, 0));
    assert_eq!(server.connection.send_data(ONE, 1, false), None);
    assert_eq!(server.connection.send_data(ONE, 0, true), header(ONE, 0, END_STREAM), "END needs no window");
    assert_eq!(server.connection.send_data(ONE, 0, true), None, "but only once");
}

#[test]
fn no_data_before_the_answer() {
    // Datapath §3.10: a client's octets wait for the 200; a server has no HEADERS to follow yet.
    let mut client = Script::client();
    client.open();
    assert_eq!(client.connection.capacity(ONE), 0);
    assert_eq!(client.connection.send_data(ONE, 1, false), None);
    let events = client.ok(&headers(1, 0, OK));
    assert_eq!(events[1..], [Event::Writable { stream: ONE }]);
    assert!(client.connection.capacity(ONE) > 0);

    let mut server = Script::server();
    server.ok(&connect(1));
    assert_eq!(server.connection.capacity(ONE), 0);
    server.respond(1);
    assert_eq!(server.drain(&[]), [Event::Writable { stream: ONE }]);

    let mut refused = Script::client();
    refused.open();
    refused.ok(&headers(1, 0, &[(":status", "503")]));
    assert_eq!(refused.connection.capacity(ONE), 0, "no tunnel, no data");
}

#[test]
fn data_before_our_answer_is_held_inside_the_window() {
    let mut server = Script::ready(Side::Server, small());
    let events = server.ok(&[connect(1), data(1, 0, &[7; 100])].concat());
    assert!(matches!(events[1], Event::Data { len: 100, .. }));
    assert_eq!(server.connection.held(), 100);
    server.resets(&data(1, 0, b"x"), 1, ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn a_stream_waits_for_its_own_window() {
    // RFC 9113 §6.9.2; h2: no wake-up with zero capacity, none missed.
    let mut server = sender(0);
    assert_eq!(server.connection.capacity(ONE), 0);
    assert_eq!(server.ok(&window_update(3, 5)), [], "it did not ask");
    assert_eq!(server.ok(&window_update(0, 5)), [], "this is not what it waits for");
    assert_eq!(server.ok(&window_update(1, 5)), [Event::Writable { stream: ONE }]);
    assert_eq!(server.ok(&window_update(1, 5)), [], "told once");
    assert_eq!(server.connection.capacity(ONE), 10);
}

#[test]
fn a_lowered_initial_window_may_go_below_zero() {
    // RFC 9113 §6.9.2 (h2spec http2/6.9.2).
    let mut server = sender(100);
    server.connection.send_data(ONE, 60, false).unwrap();
    server.ok(&settings_of(&[(4, 10)]));
    assert_eq!(server.connection.capacity(ONE), 0);
    assert_eq!(server.connection.capacity(THREE), 10);
    assert_eq!(server.ok(&window_update(1, 50)), [], "exactly zero");
    assert_eq!(server.ok(&settings_of(&[(4, 11)])), [Event::Writable { stream: ONE }]);
    assert_eq!(server.connection.capacity(ONE), 1);
}

#[test]
fn waiting_streams_take_turns() {
    let mut server = sender(1 << 20);
    server.ok(&connect(5));
    server.respond(5);
    let five = StreamId(5);
    server.ok(&settings_of(&[(5, 1 << 20)]));
    server.connection.send_data(ONE, 65_535, false).unwrap();
    let mut order = vec![];
    for stream in [THREE, five, ONE] {
        assert_eq!(server.connection.capacity(stream), 0);
    }
    for _ in 0..2 {
        for _ in 0..3 {
            let events = server.ok(&window_update(0, 10));
            // The first of the queue takes all there is; the others ask again.
            for (index, event) in events.iter().enumerate() {
                let Event::Writable { stream } = *event else { panic!("{event:?}") };
                match server.connection.capacity(stream) {
                    0 => assert_ne!(index, 0),
                    capacity => {
                        order.push(stream.0);
                        server.connection.send_data(stream, capacity, false).unwrap();
                    }
                }
            }
            // Who sent wants more and joins the end.
            let last = StreamId(*order.last().unwrap());
            assert_eq!(server.connection.capacity(last), 0);
        }
    }
    assert_eq!(order, [3, 5, 1, 3, 5, 1]);
}

#[test]
fn a_closed_stream_leaves_the_queue() {
    let mut server = sender(0);
    assert_eq!(server.connection.capacity(ONE), 0);
    assert_eq!(server.connection.capacity(THREE), 0);
    server.ok(&reset(1, ErrorCode::CANCEL));
    server.connection.send_data(THREE, 0, true).unwrap();
    server.connection.check();
    assert_eq!(server.ok(&settings_of(&[(4, 5)])), []);
}

#[test]
fn credit_goes_back_at_half_the_window() {
    let mut server = Script::ready(Side::Server, small());
    server.ok(&[connect(1), data(1, 0, &[7; 100])].concat());
    server.connection.consume(ONE, 49);
    server.has_sent(&[]);
    server.connection.consume(ONE, 1);
    server.has_sent(&[window_update(1, 50)]);
    assert_eq!(server.ok(&data(1, 0, &[7; 50])).len(), 1);
    server.connection.consume(ONE, usize::MAX);
    server.has_sent(&[window_update(1, 100)]);
    assert_eq!(server.connection.held(), 0);
}

#[test]
fn the_connection_is_credited_whatever_became_of_the_stream() {
    // h2 0.4.x: capacity returned on cancel, on reset, for data in flight; the family behind style §4.5's stall.
    let mut config = small();
    config.initial_window = 65_535;
    let mut server = Script::ready(Side::Server, config);
    let half = 65_535 / 2;
    server.ok(&[connect(1), data(1, 0, &vec![7; half])].concat());
    server.connection.reset(Instant::ZERO, ONE, ErrorCode::CANCEL);
    server.sent();
    server.drain(&[]);
    assert_eq!(server.connection.held(), half);
    server.connection.consume(ONE, half);
    server.has_sent(&[window_update(0, half as u32)]);
    assert_eq!(server.ok(&data(1, 0, &vec![7; half])), [], "in flight");
    server.has_sent(&[window_update(0, half as u32)]);
}

#[test]
fn padding_counts_and_is_credited_at_once() {
    // RFC 9113 §6.9: the whole payload counts.
    let mut server = Script::ready(Side::Server, small());
    server.ok(&connect(1));
    server.respond(1);
    let padded = |content: usize, padding: u8| {
        let mut payload = vec![padding];
        payload.extend(vec![7; content]);
        payload.extend(vec![0; padding.into()]);
        data(1, PADDED, &payload)
    };
    let events = server.ok(&padded(30, 69));
    assert!(matches!(events[..], [Event::Data { len: 30, .. }]));
    server.has_sent(&[window_update(1, 70)]);
    assert_eq!(server.connection.held(), 30);
    server.resets(&padded(30, 50), 1, ErrorCode::FLOW_CONTROL_ERROR);
    server.connection.consume(ONE, 30);
    assert_eq!(server.connection.held(), 0);
}

#[test]
fn the_connection_window_ends_the_connection() {
    // RFC 9113 §6.9.1.
    let mut config = small();
    config.initial_window = 1 << 20;
    let mut server = Script::ready(Side::Server, config);
    server.ok(&[connect(1), data(1, 0, &vec![7; 65_535])].concat());
    assert_eq!(server.fails(&data(1, 0, b"x")), ConnectionError::FlowControl);
}

#[test]
fn a_smaller_window_of_ours_holds_from_the_acknowledgement_on() {
    // RFC 9113 §6.5.3, §6.9.2; h2: SETTINGS applied on ACK only.
    let mut server = Script::fresh(Side::Server, small());
    server.ok(&[PREFACE, &settings_of(&[]), &connect(1), &data(1, 0, &[7; 1_000])].concat());
    server.sent();
    assert_eq!(server.ok(&settings_ack()), []);
    server.connection.consume(ONE, 1_000);
    server.has_sent(&[window_update(1, 1_000)]);
    assert_eq!(server.ok(&data(1, 0, &[7; 100])).len(), 1);
    server.resets(&data(1, 0, b"x"), 1, ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn credit_for_a_stream_that_never_was_is_nobodys() {
    let mut server = Script::ready(Side::Server, small());
    server.ok(&[connect(1), data(1, 0, &[7; 100])].concat());
    server.connection.consume(StreamId(15), 100);
    assert_eq!(server.connection.held(), 100);
    server.connection.check();
}

#[test]
fn an_ended_stream_gets_no_credit_of_its_own() {
    let mut server = Script::ready(Side::Server, small());
    server.ok(&[connect(1), data(1, END_STREAM, &[7; 100])].concat());
    server.connection.consume(ONE, 100);
    server.has_sent(&[]);
    assert_eq!(server.connection.held(), 0);
}

#[test]
fn empty_data_is_not_reported() {
    let mut server = Script::tunnel();
    assert_eq!(server.ok(&data(1, 0, b"")), []);
    assert_eq!(server.ok(&data(1, PADDED, &[3, 0, 0, 0])), []);
    assert_eq!(server.ok(&data(1, END_STREAM, b"")), [Event::Finished { stream: ONE }]);
}

/// A connection window that is wide enough to be divided, and what of it is kept for rations; one ration.
const WIDE: u32 = 1 << 20;
const RESERVE: u32 = WIDE / 8;
const RATION: u32 = RESERVE / 256;

/// Streams whose readers have stopped use up what they may of a wide connection window.
#[test]
fn slow_streams_leave_a_ration_for_every_other() {
    let mut server = sender(WIDE);
    server.ok(&[settings_of(&[(5, WIDE)]), window_update(0, WIDE - 65_535)].concat());
    assert_eq!(server.connection.capacity(ONE), (WIDE - RESERVE) as usize);
    server.connection.send_data(ONE, (WIDE - RESERVE) as usize, false).unwrap();
    assert_eq!(server.connection.capacity(ONE), 0, "the rest is for others");
    assert_eq!(server.connection.send_data(ONE, 1, false), None);

    for stream in (3..).step_by(2).take(256) {
        let stream = StreamId(stream);
        if stream > THREE {
            // One of our own tunnels has fewer; here each slot is used again.
            if stream.0 > 5 {
                server.connection.reset(server.now, StreamId(stream.0 - 2), ErrorCode::CANCEL);
                server.drain(&[]);
            }
            server.ok(&connect(stream.0));
            server.respond(stream.0);
        }
        assert_eq!(server.connection.capacity(stream), RATION as usize);
        server.connection.send_data(stream, RATION as usize, false).unwrap();
        assert_eq!(server.connection.capacity(stream), 0);
    }
    let last = StreamId(1 + 2 * 256);
    // Credit for the stream alone is a new ration, as far as there is window; credit for the connection is for rations
    // first.
    assert_eq!(server.ok(&window_update(last.0, RATION)), []);
    assert_eq!(server.ok(&window_update(0, 10)), [Event::Writable { stream: last }]);
    assert_eq!(server.connection.capacity(last), 10);
    assert_eq!(server.ok(&window_update(0, RESERVE - 10)), [], "not a slow one's yet");
    let freed = server.ok(&window_update(0, 1));
    assert_eq!(freed, [Event::Writable { stream: ONE }, Event::Writable { stream: THREE }]);
    assert_eq!(server.connection.capacity(ONE), 1);
}

#[test]
fn what_slow_readers_hold_does_not_lock_up_the_credit_of_others() {
    let config = Config { initial_window: WIDE, connection_window: WIDE, ..Config::server() };
    let mut server = Script::ready(Side::Server, config);
    server.ok(&[connect(1), connect(3), connect(5)].concat());
    let send = |server: &mut Script, stream, len: u32| {
        let wire = data(stream, 0, &vec![7; len as usize]);
        server.connection.handle_input(server.now, &wire).unwrap();
        server.drain(&wire);
    };
    // Delivered long ago, and too little for a credit of its own: it goes back when the window becomes scarce.
    send(&mut server, 5, 1_000);
    server.connection.consume(StreamId(5), 1_000);
    // More than half of the window is never owed.
    send(&mut server, 1, WIDE / 4 * 3 - 1_001);
    server.has_sent(&[]);
    send(&mut server, 3, 1);
    server.has_sent(&[window_update(5, 1_000)]);
    // What others take still comes back, in portions.
    let portion = WIDE / 64;
    send(&mut server, 3, portion);
    server.connection.consume(THREE, (portion - 1_001) as usize);
    server.has_sent(&[window_update(3, portion - 1_001)]);
    server.connection.consume(THREE, 1);
    server.has_sent(&[window_update(0, portion)]);
}
