//! What a peer can make a tunnel do again and again: refusals, and answers that nobody reads.
use std::sync::Arc;

use super::super::Stream;
use super::super::inward::MAX_CONTROL;
use super::two::{Half, NOW, established, fresh, open, request, settle};
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
    (client.events(), server.events());
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
        assert!(matches!(server.events()[..], [TunnelEvent::Request { request: Err(_), .. }, TunnelEvent::Closed { .. }]));
    }
    let _ = client.tunnel.open(NOW, &request()).unwrap();
    let error = server.input(&client.output()).unwrap_err();
    assert_eq!((&error, error.reason(), error.is_attack()), (&exceeded(Budget::Refused), "refused_flood", true));
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

/// Opens streams that the server answers and the client ends, while the server's answers are not read; how many until
/// the server has had enough. `each` is what the server's owner does at the end of a turn.
fn unread(mut each: impl FnMut(&mut Half)) -> (usize, usize) {
    let (mut client, mut server) = established();
    for n in 0..100_000 {
        let stream = client.tunnel.open(NOW, &request()).unwrap();
        let mut result = server.input(&client.output());
        server.tunnel.settle(&mut server.pool);
        server.tunnel.accept(NOW, stream, None);
        client.tunnel.reset(NOW, stream, ErrorCode::CANCEL, &mut client.pool);
        result = result.and_then(|()| server.input(&client.output()));
        server.tunnel.settle(&mut server.pool);
        client.events();
        server.events();
        each(&mut server);
        if let Err(error) = result {
            assert_eq!((&error, error.reason()), (&exceeded(Budget::QueuedReplies), "peer_does_not_read"));
            return (n, server.tunnel.http2.control_octets() + server.tunnel.staged.len() + server.tunnel.buffered());
        }
    }
    panic!("answers are queued without end");
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    // CVE-2019-9517: answers to requests are no "replies", so their octets are counted. Whether or not they are sealed.
    let (streams, octets) = unread(|_| {});
    assert!(streams > 10_000, "cut after {streams}");
    assert!(octets <= MAX_CONTROL + 1_000, "{octets}");
    let most = TunnelConfig::server().max_queued + MAX_CONTROL;
    let (_, octets) = unread(|server| server.tunnel.flush(NOW, &mut server.pool).unwrap());
    assert!(octets <= most + most / 10, "{octets}");
}

#[test]
fn whoever_reads_is_never_cut_for_the_octets_of_answers() {
    let (mut client, mut server) = established();
    for _ in 0..30_000 {
        let stream = open(&mut client, &mut server);
        client.tunnel.reset(NOW, stream, ErrorCode::CANCEL, &mut client.pool);
    }
}
