//! PING, time-outs, GOAWAY, draining and closing: RFC 9113 §5.4.1, §6.7, §6.8; datapath §3.5.
use super::*;

impl Script {
    fn at(&mut self, seconds: u64) -> Result<(), ConnectionError> {
        self.now = Instant::from_millis(seconds * 1_000);
        self.connection.handle_timeout(self.now, NONCE)
    }

    fn due(&self) -> Option<u64> {
        self.connection.poll_timeout().map(|at| at.as_nanos() / 1_000_000_000)
    }

    /// The payload of the one PING that was sent.
    #[track_caller]
    fn pinged(&mut self) -> [u8; 8] {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!((sent[0].0.kind, sent[0].0.flags), (Kind::Ping, 0));
        <[u8; 8]>::try_from(&sent[0].1[..]).unwrap()
    }
}

#[test]
fn keep_alive() {
    // Datapath §3.5: after 10 s, then 10 s after each answer.
    let mut server = Script::server();
    assert_eq!(server.due(), Some(10));
    server.at(9).unwrap();
    server.has_sent(&[]);
    server.at(10).unwrap();
    let first = server.pinged();
    assert_eq!(server.due(), Some(30));
    server.now = Instant::from_millis(13_000);
    server.ok(&ping(ACK, &first));
    assert_eq!(server.due(), Some(23));
    server.at(23).unwrap();
    let second = server.pinged();
    assert_ne!(first, second);
    server.ok(&ping(ACK, &first));
    assert_eq!(server.due(), Some(43), "an old answer is none");
    server.at(42).unwrap();
    let error = server.at(43).unwrap_err();
    assert_eq!(error, ConnectionError::PingTimeout);
    assert_eq!(error.code(), ErrorCode::NO_ERROR);
    server.is_over(&error);
}

#[test]
fn only_who_has_read_a_ping_can_answer_it() {
    // The payload is the nonce's: neither what earlier PINGs said nor their number tells the next.
    let mut server = Script::server();
    let mut other = server.clone();
    server.at(10).unwrap();
    other.now = Instant::from_millis(10_000);
    other.connection.handle_timeout(other.now, *b"another!").unwrap();
    let (right, wrong) = (server.pinged(), other.pinged());
    assert_ne!(right, wrong);
    let mut guesses = vec![wrong, [0; 8], *b"live\0\0\0\x01", *b"draining"];
    guesses.extend((0..64).map(|bit| (u64::from_be_bytes(right) ^ 1 << bit).to_be_bytes()));
    for guess in guesses {
        assert_eq!(server.ok(&ping(ACK, &guess)), []);
        assert_eq!(server.due(), Some(30), "{guess:?}");
    }
    // Nor does an answer count that came before its PING.
    let mut early = other.clone();
    early.ok(&ping(ACK, &wrong));
    assert_eq!(early.due(), Some(20));
    early.ok(&ping(ACK, &right));
    early.at(20).unwrap();
    assert_eq!(early.due(), Some(40));
    server.ok(&ping(ACK, &right));
    assert_eq!(server.due(), Some(20));
}

#[test]
fn no_interval_no_ping() {
    let config = Config { ping_interval: core::time::Duration::ZERO, ..Config::client() };
    let client = Script::ready(Side::Client, config);
    assert_eq!(client.due(), None);
}

#[test]
fn settings_must_be_acknowledged() {
    // RFC 9113 §6.5.3.
    let mut client = Script::fresh(Side::Client, Config::client());
    client.ok(&settings_of(&[]));
    client.at(10).unwrap();
    client.sent();
    assert_eq!(client.due(), Some(20));
    let error = client.at(20).unwrap_err();
    assert_eq!(error, ConnectionError::SettingsTimeout);
    client.is_over(&error);
}

#[test]
fn settings_are_announced_when_they_matter() {
    let mut client = Script::fresh(Side::Client, Config::client());
    let limit = |max_concurrent_streams| Event::Settings { max_concurrent_streams };
    assert_eq!(client.ok(&settings_of(&[(3, 7)])), [limit(7)]);
    assert_eq!(client.ok(&settings_of(&[(3, 7), (4, 9)])), []);
    assert_eq!(client.ok(&settings_of(&[])), []);
    assert_eq!(client.ok(&settings_of(&[(3, 8)])), [limit(8)]);
    assert_eq!(client.connection.peer_stream_limit(), 8);
}

#[test]
fn a_server_drains_in_two_steps() {
    // RFC 9113 §6.8: a warning first, so that requests in flight are not lost.
    let mut server = Script::tunnel();
    server.connection.drain(server.now);
    let sent = server.sent();
    let expected = [goaway(0x7fff_ffff, ErrorCode::NO_ERROR), ping(0, b"draining")].concat();
    assert_eq!(sent, cut(&expected));
    assert_eq!(server.ok(&connect(3)), [request(3, false)], "in flight");
    server.connection.drain(server.now);
    server.has_sent(&[]);
    assert_eq!(server.ok(&ping(ACK, b"draining")), []);
    server.has_sent(&[goaway(3, ErrorCode::NO_ERROR)]);
    // Requests above the final GOAWAY, and all that belongs to them, are ignored; header state is kept.
    let ignored = [connect(5), data(5, 0, b"x"), window_update(5, 1), reset(5, ErrorCode::CANCEL)].concat();
    assert_eq!(server.ok(&ignored), []);
    server.has_sent(&[]);
    assert_eq!(server.connection.held(), 0);
    assert_eq!(server.ok(&reset(1, ErrorCode::CANCEL)).len(), 2);
    let stream = StreamId(3);
    server.connection.respond(server.now, stream, 503, &[], true);
    server.sent();
    assert_eq!(
        server.ok(&data(3, END_STREAM, b"")),
        [Event::Finished { stream }, Event::Closed { stream }, Event::Drained]
    );
    server.goes_on();
}

#[test]
fn an_idle_server_is_drained_when_the_ping_is_answered() {
    let mut server = Script::server();
    server.connection.drain(server.now);
    assert_eq!(server.drain(&[]), []);
    assert_eq!(server.ok(&ping(ACK, b"draining")), [Event::Drained]);
    assert_eq!(server.ok(&ping(ACK, b"draining")), []);
}

#[test]
fn a_drain_does_not_wait_for_ever() {
    // Go CVE-2022-27664: the warning's PING has a deadline.
    let mut server = Script::server();
    server.connection.drain(server.now);
    server.at(10).unwrap();
    server.sent();
    assert_eq!(server.due(), Some(20));
    assert_eq!(server.at(20), Err(ConnectionError::PingTimeout));
}

#[test]
fn a_client_drains() {
    let mut client = Script::client_tunnel();
    client.connection.drain(client.now);
    client.has_sent(&[goaway(0, ErrorCode::NO_ERROR)]);
    assert_eq!(client.connection.open(client.now, &[]), Err(OpenError::GoingAway));
    assert_eq!(client.ok(&data(1, 0, b"goes on")).len(), 1);
    let events = client.ok(&reset(1, ErrorCode::CANCEL));
    assert_eq!(events.last(), Some(&Event::Drained));
}

#[test]
fn goaway_refuses_what_was_not_processed() {
    // RFC 9113 §6.8; h2: capacity returned after GOAWAY, no hang.
    let mut client = Script::client();
    for _ in 0..3 {
        client.open();
    }
    client.ok(&headers(1, 0, OK));
    let warning = Event::GoAway { last: StreamId::MAX, code: ErrorCode::NO_ERROR };
    assert_eq!(client.ok(&goaway(0x7fff_ffff, ErrorCode::NO_ERROR)), [warning]);
    assert_eq!(client.connection.open(client.now, &[]), Err(OpenError::GoingAway));
    let mut expected = vec![Event::GoAway { last: StreamId(1), code: ErrorCode::NO_ERROR }];
    expected.extend(by(3, ErrorCode::REFUSED_STREAM, Initiator::Library));
    expected.extend(by(5, ErrorCode::REFUSED_STREAM, Initiator::Library));
    assert_eq!(client.ok(&frame(7, 0, 0, b"\0\0\0\x01\0\0\0\0debug data")), expected);
    client.has_sent(&[]);
    assert_eq!(client.connection.open_streams(), 1);
    assert_eq!(client.ok(&data(1, 0, b"lives on")).len(), 1);
    assert_eq!(client.ok(&[data(3, 0, b"too late"), headers(5, 0, OK)].concat()), []);
    client.goes_on();
}

#[test]
fn the_peers_streams_survive_its_goaway() {
    // h2 0.4.x: a client's GOAWAY speaks of our streams, of which there are none.
    let mut server = Script::tunnel();
    let code = ErrorCode::NO_ERROR;
    assert_eq!(server.ok(&goaway(0, code)), [Event::GoAway { last: StreamId(0), code }]);
    assert_eq!(server.ok(&data(1, 0, b"lives on")).len(), 1);
    assert_eq!(server.ok(&connect(3)), [request(3, false)]);
}

#[test]
fn close_says_so_and_forgets_everything() {
    let mut server = Script::tunnel();
    server.connection.close(ErrorCode::CANCEL);
    server.connection.close(ErrorCode::INTERNAL_ERROR);
    server.has_sent(&[goaway(1, ErrorCode::CANCEL)]);
    assert_eq!(server.connection.open_streams(), 0);
    assert_eq!(server.ok(&connect(3)), []);
    server.connection.drain(server.now);
    server.connection.consume(StreamId(1), 1);
    assert_eq!(server.connection.send_data(StreamId(1), 0, true), None);
    server.has_sent(&[]);
    let mut client = Script::client();
    client.connection.close(ErrorCode::NO_ERROR);
    assert_eq!(client.connection.open(client.now, &[]), Err(OpenError::GoingAway));
}

#[test]
fn data_before_an_error_is_still_there() {
    let mut server = Script::tunnel();
    let wire = [data(1, 0, b"before"), frame(6, 0, 0, b"short")].concat();
    let (events, result) = server.feed(&wire);
    assert!(result.is_err());
    assert!(matches!(events[..], [Event::Data { len: 6, .. }]));
    assert_eq!(server.content, b"before");
}

#[test]
fn another_clock() {
    // Design D11: the next process counts from elsewhere.
    let mut server = Script::server();
    server.at(10).unwrap();
    server.sent();
    server.connection.drain(server.now);
    server.connection.rebase(Instant::ZERO);
    assert_eq!(server.due(), Some(20));
    server.at(19).unwrap();
    let mut resting = Script::server();
    resting.at(5).unwrap();
    resting.connection.rebase(Instant::from_millis(1_000_000));
    assert_eq!(resting.due(), Some(1_010));
    let mut fresh = Script::fresh(
        Side::Client,
        Config { ping_interval: Config::client().ping_timeout * 9, ..Config::client() },
    );
    fresh.connection.rebase(Instant::from_millis(7_000));
    assert_eq!(fresh.due(), Some(27));
}

#[test]
fn time_does_not_go_back() {
    let mut server = Script::server();
    server.at(10).unwrap();
    server.pinged();
    server.at(3).unwrap();
    assert_eq!(server.due(), Some(30));
}
