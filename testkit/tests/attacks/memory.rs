//! Security §1, memory: slow readers on every side, windows thrown open, limits of tunnels and identities.
use std::sync::Arc;
use std::time::Duration;

use adit_core::http2::ErrorCode;
use adit_core::proxy::observed::Observed;
use adit_core::proxy::{ProxyId, ShardConfig};
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::*;

fn tunnel(change: impl Fn(&mut ShardConfig)) -> Intruder {
    let mut it = Intruder::client(change);
    it.hello(&[]);
    it.send(&connect(1));
    it
}

#[test]
fn a_peer_that_does_not_read_replies() {
    // CVE-2019-9514, CVE-2019-9517: replies are not queued without end.
    let mut it = tunnel(|config| {
        let mut server = (*config.server).clone();
        server.http2.budgets.pings.burst = 1_000_000;
        config.server = Arc::new(server);
    });
    it.reads = false;
    let mut pings = 0;
    while it.send(&ping(0)) && pings < 5_000 {
        pings += 1;
        if it.ended().is_some() {
            break;
        }
        it.pass(Duration::from_millis(1));
    }
    // Its GOAWAY cannot be written either: the grace ends.
    it.pass(Duration::from_secs(2));
    assert_eq!(it.ended(), Some(("peer_does_not_read", true)));
    assert!(it.peak() < 1 << 20, "{}", it.peak());
}

#[test]
fn a_peer_that_does_not_read_answers() {
    // CVE-2019-9517: answers to requests are no replies in the sense of `queued_replies`; their octets are bounded.
    let mut it = tunnel(|_| {});
    it.reads = false;
    for turn in 0..300 {
        let streams = (0..100).map(|n| 3 + 2 * (100 * turn + n));
        let requests: Vec<u8> = streams.clone().flat_map(connect).collect();
        let ends: Vec<u8> = streams.flat_map(|stream| reset(stream, ErrorCode::CANCEL)).collect();
        it.send(&requests);
        it.send(&ends);
    }
    // Its GOAWAY cannot be written either: the grace ends.
    it.pass(Duration::from_secs(2));
    assert_eq!(it.ended(), Some(("peer_does_not_read", true)));
    assert!(it.peak() < 2 << 20, "{}", it.peak());
    assert_eq!((it.shard.connections(), it.shard.tunnels(), it.shard.buffered()), (0, 0, 0));
}

#[test]
fn a_peer_that_answers_pings_it_has_not_read() {
    // The payload cannot be guessed, so silence is found out: not by the pattern of an earlier PING, nor by another's.
    let acknowledge = |payload: &[u8]| frame(6, ACK, 0, payload);
    let payload = |it: &Intruder| it.frames().iter().rfind(|f| f.kind == 6).expect("a PING").payload.clone();
    let mut it = tunnel(|_| {});
    it.pass(Duration::from_secs(11));
    let first = payload(&it);
    it.send(&acknowledge(&first));
    it.reads = false;
    let mut guess = u64::from_be_bytes(first[..].try_into().expect("8 octets"));
    for _ in 0..40 {
        guess += 1;
        it.send(
            &[acknowledge(&first), acknowledge(&guess.to_be_bytes()), acknowledge(b"live\0\0\0\x02")]
                .concat(),
        );
        it.pass(Duration::from_secs(1));
    }
    assert_eq!(it.ended(), Some(("ping_timeout", false)));
    let mut other = tunnel(|_| {});
    other.pass(Duration::from_secs(11));
    assert_ne!(first, payload(&other));
}

#[test]
fn a_peer_that_does_not_read_what_it_asked_for() {
    // CVE-2016-1546, CVE-2019-9517, CVE-2020-12604: windows wide open, transport shut.
    let mut it = tunnel(|_| {});
    it.send(&[window_update(0, 0x7fff_0000 - 65_535), window_update(1, 0x7fff_0000 - 65_535)].concat());
    it.reads = false;
    let app = it.apps().next().expect("an application").0;
    let taken = it.app_sends(app, &vec![7; 64 << 20]);
    assert!(taken < 3 << 20, "{taken} octets were taken from the application");
    assert!(it.peak() < 4 << 20, "{}", it.peak());
    // And it is found out: it cannot answer a PING that it does not read.
    it.pass(Duration::from_secs(60));
    assert_eq!(it.ended(), Some(("ping_timeout", false)));
    assert_eq!((it.shard.connections(), it.shard.buffered()), (0, 0));
}

#[test]
fn an_application_that_does_not_read() {
    // The window is not given back: going on resets the stream, once, and what still comes for it is dropped as it comes.
    let mut it = tunnel(|_| {});
    it.apps_read = false;
    let full = data(1, 0, &vec![7; 16_384]);
    for _ in 0..2_000 {
        assert!(it.send(&full), "{:?}", it.ended());
    }
    let resets: Vec<_> = it.frames().into_iter().filter(|frame| frame.kind == 3).collect();
    assert_eq!(resets.len(), 1);
    assert_eq!(resets[0].payload, ErrorCode::FLOW_CONTROL_ERROR.0.to_be_bytes());
    it.apps_read = true;
    it.send(&connect(3));
    it.send(&data(3, 0, b"others live on"));
    assert!(it.apps().any(|(_, app)| app.got == b"others live on"));
    assert!(it.peak() < 6 << 20, "{}", it.peak());
    it.pass(Duration::from_secs(60));
    assert_eq!(it.shard.buffered(), 0);
}

#[test]
fn what_a_stream_holds_goes_with_it() {
    // CVE-2025-53020: memory is given back per stream, not when the connection ends.
    let mut it = tunnel(|_| {});
    it.apps_read = false;
    for n in 0..60 {
        let stream = 3 + 2 * n;
        it.send(&connect(stream));
        for _ in 0..20 {
            it.send(&data(stream, 0, &[7; 16_384]));
        }
        it.send(&reset(stream, ErrorCode::CONNECT_ERROR));
    }
    assert!(it.is_alive(), "{:?}", it.ended());
    assert!(it.peak() < 3 << 20, "{} of {}", it.peak(), 60 * 20 * 16_384);
    assert!(it.shard.buffered() < 1 << 20, "{}", it.shard.buffered());
}

#[test]
fn crumbs_on_many_streams_are_held_within_the_identitys_share() {
    let mut it = tunnel(|config| config.max_held_per_identity = 1 << 20);
    it.apps_read = false;
    for n in 0..100 {
        it.send(&connect(3 + 2 * n));
        // Two reads, so that the first cannot be served from the input buffer.
        it.send(&data(3 + 2 * n, 0, &[7; 100]));
        it.send(&data(3 + 2 * n, 0, &vec![7; 40_000]));
    }
    assert!(it.is_alive());
    assert!(it.peak() < 6 << 20, "{}", it.peak());
    let shed = it
        .frames()
        .iter()
        .filter(|f| f.kind == 3 && f.payload == ErrorCode::ENHANCE_YOUR_CALM.0.to_be_bytes())
        .count();
    assert!(shed > 50, "{shed} streams were shed");
}

#[test]
fn early_data_is_held_inside_the_window_and_not_forwarded_before_the_200() {
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    it.dials = false;
    it.send(&connect(1));
    for _ in 0..100 {
        it.send(&data(1, 0, &vec![7; 16_384]));
    }
    assert!(it.is_alive());
    let (socket, app) = it.apps().next().expect("an application");
    assert!(app.got.is_empty(), "octets left before the 200");
    assert!(it.frames().iter().all(|frame| frame.kind != 1), "no answer yet");
    let now = it.now();
    it.shard.handle_connected(now, socket);
    it.pump();
    assert_eq!(it.apps().next().expect("an application").1.got.len(), 100 * 16_384);
}

#[test]
fn more_tunnels_and_handshakes_than_allowed_are_turned_away() {
    // CVE-2020-8663, and handshakes that never come to an end.
    let mut it = Intruder::client(|config| config.max_inbound_tunnels = 3);
    it.hello(&[]);
    let (peer, local) = ("10.0.0.1:1".parse().expect("one"), "10.0.0.2:15008".parse().expect("one"));
    let listener = adit_core::proxy::Listener::InboundHbone;
    let now = it.now();
    let accepted = (0..10)
        .filter(|_| it.shard.handle_accepted(now, ProxyId::OWN, listener, peer, local, local).is_some())
        .count();
    assert_eq!(accepted, 2);
    it.pump();
    let refused = it
        .observed()
        .iter()
        .filter(|o| matches!(o, Observed::EarlyDenied { error, .. } if error.starts_with("too many")));
    assert_eq!(refused.count(), 8);
    // They say nothing: their deadline frees the places.
    it.pass(Duration::from_secs(11));
    let now = it.now();
    assert!(it.shard.handle_accepted(now, ProxyId::OWN, listener, peer, local, local).is_some());
}

#[test]
fn a_peer_that_ignores_a_drain_is_cut_off() {
    // CVE-2022-27664.
    let mut it = tunnel(|_| {});
    let now = it.now();
    it.shard.drain(now);
    it.pump();
    assert!(it.send(&data(1, 0, b"still here")));
    it.pass(Duration::from_secs(10));
    assert!(!it.is_alive());
    assert_eq!((it.shard.connections(), it.shard.tunnels(), it.shard.buffered()), (0, 0, 0));
}

#[test]
fn a_server_that_allows_no_stream_and_goes_away() {
    // CVE-2021-32780: the odd order must not hang whoever waits.
    let mut it = Intruder::server(|_| {});
    it.hello(&[(3, 0)]);
    it.send(&goaway(0, ErrorCode::NO_ERROR));
    it.pass(Duration::from_secs(60));
    assert_eq!(it.shard.connections(), 0, "the application still waits");
    assert!(it.apps().all(|(_, app)| app.closed.is_some()));
}

#[test]
fn a_server_that_never_answers() {
    let mut it = Intruder::server(|_| {});
    it.hello(&[]);
    assert_eq!(it.frames().iter().filter(|frame| frame.kind == 1).count(), 1, "the CONNECT arrived");
    it.pass(Duration::from_secs(21));
    assert_eq!(it.shard.connections(), 0);
}
