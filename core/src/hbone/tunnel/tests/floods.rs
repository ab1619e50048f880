//! What a peer can make a tunnel do again and again: refusals, and answers that nobody reads.
use std::sync::Arc;
use std::vec::Vec;

use super::super::Stream;
use super::super::inward::MAX_CONTROL;
use super::two::{Half, NOW, fresh, request, settle};
use crate::hbone::{Tunnel, TunnelConfig, TunnelError, TunnelEvent};
use crate::http2::{Allowance, Budget, ConnectionError, ErrorCode, Field};

const THREE: Allowance = Allowance { burst: 3, per_second: 0 };

fn exceeded(budget: Budget) -> TunnelError {
    TunnelError::Http2(ConnectionError::Exceeded(budget))
}

/// A pair whose server allows only three of `refused` and `denied`.
fn strict() -> (Half, Half) {
    let mut config = TunnelConfig::server();
    (config.http2.budgets.refused, config.http2.budgets.denied) = (THREE, THREE);
    let (mut client, mut server) = fresh(TunnelConfig::client(), config);
    settle(&mut client, &mut server);
    client.events();
    server.events();
    (client, server)
}

#[test]
fn malformed_connects_have_a_budget() {
    let (mut client, mut server) = strict();
    let bad = [Field::new(b":method", b"CONNECT"), Field::new(b":authority", b"no port")];
    for _ in 0..4 {
        let stream = client.tunnel.http2.open(NOW, &bad).unwrap();
        client.tunnel.streams.insert(stream, Stream::new());
        settle(&mut client, &mut server);
        assert!(matches!(
            server.events()[..],
            [TunnelEvent::Request { request: Err(_), .. }, TunnelEvent::Closed { .. }]
        ));
    }
    let _ = client.tunnel.open(NOW, &request()).unwrap();
    let error = server.input(&client.output()).unwrap_err();
    assert_eq!(
        (&error, error.reason(), error.is_attack()),
        (&exceeded(Budget::Refused), "refused_flood", true)
    );
    client.input(&server.output()).unwrap();
    assert!(client.events().contains(&TunnelEvent::GoAway));
}

#[test]
fn what_the_owner_refuses_has_a_budget_of_its_own_and_outlives_a_hand_over() {
    let (mut client, mut server) = strict();
    for _ in 0..4 {
        let stream = client.tunnel.open(NOW, &request()).unwrap();
        settle(&mut client, &mut server);
        server.tunnel.reject(NOW, stream, 401, &mut server.pool);
        settle(&mut client, &mut server);
        server.events();
    }
    let frozen = server.tunnel.freeze(&mut server.pool).unwrap();
    let config = Arc::new(TunnelConfig::server());
    server.tunnel = Tunnel::thaw_symbolic(&frozen, config, NOW, &mut server.pool).unwrap();
    let _ = client.tunnel.open(NOW, &request()).unwrap();
    let error = server.input(&client.output()).unwrap_err();
    assert_eq!((&error, error.reason()), (&exceeded(Budget::Denied), "denied_flood"));
}

/// Less than the default, which takes long to fill with answers.
const MAX_QUEUED: usize = 64 << 10;

/// Opens streams that the server answers and the client ends, while the server's answers are not read, until the server has
/// had enough: how many streams, and how many octets it has queued then. `each` is what the server's owner does at the end
/// of a turn.
fn unread(mut each: impl FnMut(&mut Half)) -> (usize, usize) {
    const TURN: usize = 90;
    let config = TunnelConfig { max_queued: MAX_QUEUED, ..TunnelConfig::server() };
    let (mut client, mut server) = fresh(TunnelConfig::client(), config);
    settle(&mut client, &mut server);
    for turn in 0..1_000 {
        let streams: Vec<_> = (0..TURN).map(|_| client.tunnel.open(NOW, &request()).unwrap()).collect();
        let mut result = server.input(&client.output());
        for &stream in &streams {
            server.tunnel.accept(NOW, stream, None);
            client.tunnel.reset(NOW, stream, ErrorCode::CANCEL, &mut client.pool);
        }
        result = result.and_then(|()| server.input(&client.output()));
        client.events();
        server.events();
        each(&mut server);
        if let Err(error) = result {
            assert_eq!((&error, error.reason()), (&exceeded(Budget::QueuedReplies), "peer_does_not_read"));
            let tunnel = &server.tunnel;
            let octets = tunnel.http2.control_octets() + tunnel.staged.len() + tunnel.buffered();
            return (turn * TURN, octets);
        }
    }
    panic!("answers are queued without end");
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    // CVE-2019-9517: answers to requests are no "replies", so their octets are counted. Whether or not they are sealed.
    let (streams, octets) = unread(|_| {});
    assert!(streams > 10_000, "cut after {streams}");
    assert!(octets <= MAX_CONTROL + 5_000, "{octets}");
    let most = MAX_QUEUED + MAX_CONTROL;
    let (_, octets) = unread(|server| server.tunnel.flush(NOW, &mut server.pool).unwrap());
    assert!(octets <= most + most / 10, "{octets}");
}
