//! What a shard does when a peer, a limit or a change of who we are stands in a connection's way: it asks again where
//! nothing was lost, says why where it gives up, and waits for nothing that will not come.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::http2::ErrorCode;
use adit_core::identity::Identity;
use adit_core::proxy::observed::Observed;
use adit_core::proxy::{Action, Listener, ProxyId, Shard, SocketError};
use adit_core::time::Instant;
use adit_core::tls::RecordMode;
use adit_testkit::sim::mesh::{add, config, parse, room};
use adit_testkit::sim::{Script, Weather};
use adit_testkit::wire::frames::*;
use adit_testkit::wire::{Authority, Intruder};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Why connections ended that did not end well.
fn errors(observed: &[Observed]) -> Vec<&str> {
    observed
        .iter()
        .filter_map(|observed| match observed {
            Observed::ConnectionClosed { error: Some(error), .. } | Observed::EarlyDenied { error, .. } => {
                Some(error.as_str())
            }
            _ => None,
        })
        .collect()
}

/// Streams on which the shard asked for a connection.
fn asked(it: &Intruder) -> Vec<u32> {
    it.frames().iter().filter(|frame| frame.kind == 1).map(|frame| frame.stream).collect()
}

const OK: &[(&str, &str)] = &[(":status", "200")];

#[test]
fn a_refused_connect_is_asked_again() {
    let mut it = Intruder::server(|_| {});
    it.hello(&[(3, 100)]);
    assert_eq!(asked(&it), [1]);
    it.send(&reset(1, ErrorCode::REFUSED_STREAM));
    assert_eq!(asked(&it), [1, 3]);
    it.send(&[headers(3, 0, OK), data(3, 0, b"at last")].concat());
    assert_eq!(it.apps().next().expect("the application").1.got, b"at last");
    assert_eq!(errors(it.observed()), [] as [&str; 0]);
}

#[test]
fn a_connect_above_the_last_stream_of_a_goaway_goes_to_another_tunnel() {
    let mut it = Intruder::server(|_| {});
    it.hello(&[(3, 100)]);
    it.send(&goaway(0, ErrorCode::NO_ERROR));
    assert_eq!(errors(it.observed()), [] as [&str; 0], "the application was turned away");
    assert_eq!((it.shard.connections(), it.shard.tunnels()), (1, 1), "a new tunnel is dialled");
    it.pass(Duration::from_secs(11));
    // Here nobody answers the second dial.
    assert!(errors(it.observed())[0].contains("connection timed out"), "{:?}", it.observed());
}

#[test]
fn a_live_stream_that_is_refused_is_not_asked_again() {
    let mut it = Intruder::server(|_| {});
    it.hello(&[(3, 100)]);
    it.send(&headers(1, 0, OK));
    it.send(&reset(1, ErrorCode::REFUSED_STREAM));
    assert_eq!(asked(&it), [1]);
    assert_eq!(it.apps().next().expect("the application").1.closed, Some(true));
}

/// datapath §3.8. Orderly ends and what applications reset are no errors; anything else is, with its direction.
#[test]
fn the_log_says_when_a_proxy_breaks_a_live_stream_off() {
    let text = |direction, code| format!("{direction}: io error: stream reset by the peer: {code}");
    for code in [
        ErrorCode::NO_ERROR,
        ErrorCode::CANCEL,
        ErrorCode::STREAM_CLOSED,
        ErrorCode::CONNECT_ERROR,
        ErrorCode::INTERNAL_ERROR,
        ErrorCode::REFUSED_STREAM,
        ErrorCode(0x77),
    ] {
        for resets_as_fin in [false, true] {
            let mut it = Intruder::server(|config| config.resets_as_fin = resets_as_fin);
            it.hello(&[(3, 100)]);
            it.send(&headers(1, 0, OK));
            it.send(&reset(1, code));
            let broken =
                matches!(code, ErrorCode::INTERNAL_ERROR | ErrorCode::REFUSED_STREAM | ErrorCode(0x77));
            let expected: Vec<_> = broken.then(|| text("receive", code)).into_iter().collect();
            assert_eq!(errors(it.observed()), expected, "{code}");
            assert_eq!(it.shard.connections(), 0, "{code}");
        }
    }
    // The server had said all it had to say: what broke is the way there.
    let mut it = Intruder::server(|_| {});
    it.hello(&[(3, 100)]);
    it.send(&[headers(1, 0, OK), data(1, END_STREAM, b"bye")].concat());
    it.send(&reset(1, ErrorCode::INTERNAL_ERROR));
    assert_eq!(errors(it.observed()), [text("send", ErrorCode::INTERNAL_ERROR)]);
    // Inbound the peer is the client's side.
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    it.send(&connect(1));
    it.send(&reset(1, ErrorCode::INTERNAL_ERROR));
    assert_eq!(errors(it.observed()), [text("send", ErrorCode::INTERNAL_ERROR)]);
}

#[test]
fn a_peer_that_refuses_for_ever_is_asked_four_times() {
    let mut it = Intruder::server(|_| {});
    it.hello(&[(3, 100)]);
    for stream in (1..40).step_by(2) {
        it.send(&reset(stream, ErrorCode::REFUSED_STREAM));
        if it.shard.connections() == 0 {
            break;
        }
    }
    assert_eq!(asked(&it), [1, 3, 5, 7]);
    assert_eq!(errors(it.observed()), ["h2 failed: stream reset by the peer: REFUSED_STREAM"]);
}

#[test]
fn asking_again_does_not_begin_a_new_deadline() {
    let mut it = Intruder::server(|config| config.connect_timeout = Duration::from_secs(4));
    it.hello(&[(3, 100)]);
    it.pass(Duration::from_secs(3));
    it.send(&reset(1, ErrorCode::REFUSED_STREAM));
    it.pass(Duration::from_millis(900));
    assert_eq!(it.shard.connections(), 1);
    it.pass(Duration::from_millis(200));
    assert_eq!(errors(it.observed()), ["no answer to CONNECT within 4 s"]);
    // The same while it waits for a tunnel.
    let mut it = Intruder::server(|config| config.connect_timeout = Duration::from_secs(4));
    it.hello(&[(3, 100)]);
    it.pass(Duration::from_secs(3));
    it.send(&goaway(0, ErrorCode::NO_ERROR));
    it.pass(Duration::from_millis(1_100));
    assert_eq!(errors(it.observed()), ["no answer to CONNECT within 4 s"]);
}

#[test]
fn a_connection_whose_octets_were_shed_ends_though_resets_are_fins() {
    let mut it = Intruder::client(|config| {
        config.resets_as_fin = true;
        config.max_held_per_identity = 10_000;
    });
    it.hello(&[]);
    it.send(&connect(1));
    it.apps_read = false;
    // Two reads, so that the first cannot be served from the input buffer.
    it.send(&data(1, 0, &[7; 100]));
    it.send(&data(1, 0, &vec![7; 16_000]));
    let shed = |f: &Frame| f.kind == 3 && f.payload == ErrorCode::ENHANCE_YOUR_CALM.0.to_be_bytes();
    assert!(it.frames().iter().any(shed), "nothing was shed");
    assert_eq!(it.shard.connections(), 0, "the connection waits for octets that were dropped");
    assert_eq!(it.apps().next().expect("an application").1.closed, Some(false));
    assert_eq!(errors(it.observed()), ["send: io error: stream reset here: ENHANCE_YOUR_CALM"]);
}

#[test]
fn more_connections_than_allowed_are_turned_away() {
    let mut it = Intruder::client(|config| config.max_connections = 2);
    it.hello(&[]);
    for stream in [1, 3, 5] {
        it.send(&connect(stream));
    }
    assert_eq!((it.apps().count(), it.shard.connections()), (2, 2));
    let refused = it.frames().iter().any(|f| f.kind == 1 && f.stream == 5 && f.flags & END_STREAM != 0);
    assert!(refused, "the third was not answered");
    assert_eq!(errors(it.observed()), ["too many connections: the limit of 2 is reached"]);
    // Captured ones count as well, in either direction.
    let (now, peer, target) = (it.now(), addr("10.0.0.2:40000"), addr("10.9.9.9:80"));
    for listener in [Listener::Outbound, Listener::InboundPlain, Listener::Socks5] {
        assert_eq!(it.shard.handle_accepted(now, ProxyId::OWN, listener, peer, target, target), None);
    }
    it.pump();
    assert_eq!(errors(it.observed()).len(), 4);
    // One that ends makes room.
    it.send(&reset(1, ErrorCode::CONNECT_ERROR));
    it.send(&connect(7));
    assert_eq!((it.apps().count(), it.shard.connections()), (3, 2));
}

#[test]
fn a_dial_nobody_waits_for_any_more_goes_on_until_its_deadline() {
    let mut it = Intruder::server(|_| {});
    assert_eq!((it.shard.connections(), it.shard.tunnels()), (1, 1));
    let (app, now) = (it.apps().next().expect("the application").0, it.now());
    it.shard.handle_error(now, app, SocketError::Reset);
    it.pump();
    assert_eq!((it.shard.connections(), it.shard.tunnels()), (0, 1));
    // Whoever comes next shares it.
    it.capture(40_001);
    assert_eq!((it.shard.connections(), it.shard.tunnels()), (1, 1));
    it.pass(Duration::from_secs(11));
    assert_eq!((it.shard.connections(), it.shard.tunnels(), it.shard.buffered()), (0, 0, 0));
}

fn mesh(trust_domain: &str) -> String {
    format!(
        "workloads:
- {{uid: c, name: client, namespace: ns, serviceAccount: client, trustDomain: {trust_domain}, workloadIps: [10.0.0.1], protocol: HBONE, services: {{}}}}
- {{uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {{}}}}
services: []
policies: []
"
    )
}

/// What a shard asks for, observations left aside.
fn actions(shard: &mut Shard) -> Vec<Action> {
    std::iter::from_fn(|| shard.poll_action()).collect()
}

#[test]
fn another_identity_asks_for_another_certificate() {
    let (old, new) = ("spiffe://cluster.local/ns/ns/sa/client", "spiffe://other/ns/ns/sa/client");
    let needs = |identity: &str| {
        let identity: Identity = identity.parse().expect("an identity");
        Action::NeedCertificate { identity }
    };
    let now = Instant::from_millis(1);
    let mut shard =
        Shard::new(Arc::new(config("ns", "client", "client")), parse(&mesh("cluster.local")), now);
    let connect = |shard: &mut Shard, port| {
        let from = SocketAddr::new(addr("10.0.0.1:0").ip(), port);
        let to = addr("10.0.0.2:80");
        shard.handle_accepted(now, ProxyId::OWN, Listener::Outbound, from, to, to).expect("accepted");
        actions(shard)
    };
    let inbound = |shard: &mut Shard| {
        let (from, to) = (addr("10.0.0.2:50000"), addr("10.0.0.1:15008"));
        shard.handle_accepted(now, ProxyId::OWN, Listener::InboundHbone, from, to, to).expect("accepted");
        actions(shard)
    };
    assert_eq!(connect(&mut shard, 1), [needs(old)]);
    assert_eq!(inbound(&mut shard), []);
    shard.handle_mesh(now, parse(&mesh("other")));
    // Who waited outbound was somebody else; the inbound tunnel waits for the new certificate.
    let said: Vec<_> = std::iter::from_fn(|| shard.poll_observed()).collect();
    assert_eq!(errors(&said), ["identity error: the local workload's identity has changed"]);
    assert!(actions(&mut shard).contains(&needs(new)));
    assert_eq!((shard.connections(), shard.tunnels()), (0, 1));
    assert_eq!(connect(&mut shard, 2), [], "asked for already");

    // A late answer for the old identity changes nothing.
    let context = Authority::new().context("client", RecordMode::InPlace);
    shard.handle_certificate(now, &old.parse().expect("an identity"), Ok(Arc::clone(&context)));
    assert_eq!(actions(&mut shard), []);
    shard.handle_certificate(now, &new.parse().expect("an identity"), Ok(context));
    assert!(matches!(
        actions(&mut shard)[..],
        [Action::ResumeRead { .. }, Action::Dial { .. }] | [Action::Dial { .. }, ..]
    ));

    // The same mesh again, or one without us, is no change.
    shard.handle_mesh(now, parse(&mesh("other")));
    shard.handle_mesh(now, Arc::default());
    shard.handle_mesh(now, parse(&mesh("other")));
    assert_eq!(actions(&mut shard), []);
}

#[test]
fn a_tunnel_of_the_old_identity_lives_on_but_takes_no_new_connection() {
    let mut room = room(31, Weather::default());
    let mesh_of = |domain: &str| parse(&mesh(domain));
    let client =
        add(&mut room, config("ns", "client", "client"), &mesh_of("cluster.local"), addr("10.0.0.1:0").ip());
    add(&mut room, config("ns", "server", "server"), &mesh_of("cluster.local"), addr("10.0.0.2:0").ip());
    room.serve(addr("10.0.0.2:80"), Script::echo());
    let script = Script { send: vec![5; 300_000], hold: true, ..Script::default() };
    let live = room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:80"), script);
    room.run(100_000);
    let changed = mesh_of("other");
    room.with(client, |shard, now| shard.handle_mesh(now, changed));
    let next = room.connect(client, addr("10.0.0.1:40001"), addr("10.0.0.2:80"), Script::send("x"));
    room.release(live);
    room.run(100_000);
    assert_eq!(room.app(live).got().len(), 300_000);
    // It went by a tunnel of its own, as somebody whom the server does not know.
    assert!(room.app(next).got().is_empty());
    assert_eq!(errors(room.observed(client)), ["tls error: peer ended TLS with alert access_denied (49)"]);
}
