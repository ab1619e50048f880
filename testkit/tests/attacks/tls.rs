//! Security §2 as far as it concerns a tunnel: handshakes, identities, records, key updates.
use std::time::Duration;

use adit_core::proxy::observed::{Flag, Observed};
use adit_core::proxy::{Listener, ProxyId};
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::*;

fn denied(it: &Intruder) -> Vec<&str> {
    let errors = it.observed().iter().filter_map(|observed| match observed {
        Observed::EarlyDenied { error, .. } => Some(error.as_str()),
        _ => None,
    });
    errors.collect()
}

/// A shard, and a raw transport to its HBONE port that `octets` are sent over; the reason it gives.
fn raw(octets: &[u8]) -> Vec<String> {
    let mut it = Intruder::stranger();
    it.send_raw(octets);
    it.pass(Duration::from_secs(2));
    assert!(!it.is_alive(), "still open");
    assert_eq!((it.shard.tunnels(), it.shard.buffered()), (0, 0));
    denied(&it).into_iter().map(ToOwned::to_owned).collect()
}

#[test]
fn who_does_not_speak_tls_is_told_apart() {
    let errors = raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(errors[0].contains("does not speak TLS"), "{errors:?}");
    let errors = raw(&[22, 3, 1, 0xff, 0xff]);
    assert!(errors[0].contains("longer than TLS allows"), "{errors:?}");
    let errors = raw(&[&[22, 3, 1, 0, 4][..], &[0xff; 4]].concat());
    assert!(errors[0].starts_with("tls handshake error"), "{errors:?}");
}

#[test]
fn handshakes_that_stall_or_never_end_are_cut() {
    // A record one octet at a time, and a ClientHello without end: a deadline, and a bound on octets.
    let mut it = Intruder::stranger();
    for octet in [22, 3, 1, 1, 0, 1, 0] {
        it.send_raw(&[octet]);
        it.pass(Duration::from_secs(1));
    }
    assert!(it.is_alive());
    it.pass(Duration::from_secs(4));
    assert!(!it.is_alive());
    assert_eq!(it.shard.tunnels(), 0);

    let mut it = Intruder::stranger();
    // ClientHello of 16 MiB, in fragments.
    let mut fragment = vec![22, 3, 1, 0x40, 0];
    fragment.extend([1, 0xff, 0xff, 0xff]);
    fragment.resize(5 + 16_384, 0);
    let mut records = 0;
    while it.is_alive() && records < 100 {
        it.send_raw(&fragment);
        fragment[5..9].fill(0);
        records += 1;
    }
    assert!(records < 20, "{records} records of a ClientHello were taken");
    assert!(it.peak() < 1 << 20, "{}", it.peak());
}

#[test]
fn another_identity_than_the_expected_one_gets_nothing() {
    // The server is of our trust domain and has a good certificate, but it is somebody else's.
    let it = Intruder::server_named("mallory", |_| {});
    assert!(!it.is_alive());
    let closed = it.observed().iter().find_map(|observed| match observed {
        Observed::ConnectionClosed { flag, error, .. } => Some((*flag, error.clone().unwrap_or_default())),
        _ => None,
    });
    let (flag, error) = closed.expect("the connection was closed");
    assert_eq!(flag, Flag::TlsFailure);
    assert!(error.contains("spiffe://cluster.local/ns/ns/sa/server"), "{error}");
    assert_eq!(it.shard.connections(), 0);
}

#[test]
fn a_foreign_root_is_refused() {
    let it = Intruder::stranger_with_certificate();
    assert!(!it.is_alive());
    assert!(denied(&it).iter().any(|error| error.starts_with("tls handshake error")), "{:?}", denied(&it));
    assert!(!it.observed().iter().any(|observed| matches!(observed, Observed::TunnelOpened { .. })));
}

#[test]
fn key_updates_are_few_or_an_attack() {
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    let mut updates = 0;
    while it.update_key() && updates < 100 {
        updates += 1;
    }
    assert_eq!(it.ended(), Some(("key_update_flood", true)));
    assert!((20..=40).contains(&updates), "{updates}");
    // With data between them they are ordinary.
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    it.send(&connect(1));
    for _ in 0..100 {
        assert!(it.update_key());
        // rustls has a budget of its own for our answers, which octets from us give back.
        it.send(&ping(0));
        for _ in 0..20 {
            it.send(&data(1, 0, &[7; 100]));
        }
    }
    assert!(it.is_alive());
}

#[test]
fn tampered_records_end_the_tunnel() {
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    it.send(&connect(1));
    it.send_raw(&[&[23, 3, 3, 0, 40][..], &[7; 40]].concat());
    assert_eq!(it.ended(), Some(("bad_record", false)));
    assert_eq!(it.shard.connections(), 0);
}

#[test]
fn a_cut_transport_is_no_end_in_order() {
    // RFC 8446 §6.1: without close_notify what came may be half of it.
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    it.send(&connect(1));
    it.send(&data(1, 0, b"half an ans"));
    it.hang_up();
    assert_eq!(it.ended(), Some(("truncated", false)));
    let app = it.apps().next().expect("an application").1.clone();
    assert_eq!(
        (app.fin, app.closed),
        (false, Some(true)),
        "the application must not take it for a whole one"
    );
}

#[test]
fn one_failed_accept_does_not_cost_the_next() {
    // tonic CVE-2024-47609.
    let mut it = Intruder::stranger();
    it.send_raw(b"garbage");
    let (peer, local) = ("10.0.0.1:1".parse().expect("one"), "10.0.0.2:15008".parse().expect("one"));
    let now = it.now();
    for _ in 0..50 {
        assert!(
            it.shard.handle_accepted(now, ProxyId::OWN, Listener::InboundHbone, peer, local, local).is_some()
        );
    }
}
