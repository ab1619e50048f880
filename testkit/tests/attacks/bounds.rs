//! Every deadline and every cap that can be configured, at exactly what it is set to, on a whole shard.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::http2::ErrorCode;
use adit_core::proxy::observed::Observed;
use adit_core::proxy::{Action, Listener, ProxyId, Shard, ShardConfig};
use adit_core::time::Instant;
use adit_core::tls::RecordMode;
use adit_testkit::sim::mesh::{config, parse};
use adit_testkit::wire::frames::*;
use adit_testkit::wire::{Authority, Intruder};

/// What each deadline is set to; all others stay at their defaults, which are longer.
const WAIT: Duration = Duration::from_secs(3);
const ALMOST: Duration = WAIT.saturating_sub(Duration::from_millis(1));

/// `waits` holds until [`WAIT`] is over, and no longer.
fn ends_in_time(it: &mut Intruder, what: &str, waits: impl Fn(&Intruder) -> bool) {
    it.pass(ALMOST);
    assert!(waits(it), "{what} ended before its deadline");
    it.pass(WAIT - ALMOST);
    assert!(!waits(it), "{what} outlived its deadline");
}

fn errors(observed: &[Observed]) -> Vec<&str> {
    let error = |observed| match observed {
        &Observed::ConnectionClosed { error: Some(ref error), .. } => Some(error.as_str()),
        _ => None,
    };
    observed.iter().filter_map(error).collect()
}

#[test]
fn tls_and_settings_of_a_client() {
    // TLS is complete; SETTINGS never come.
    let mut it = Intruder::client(|config| config.establish.handshake = WAIT);
    ends_in_time(&mut it, "the handshake", Intruder::is_alive);
    assert_eq!(it.shard.tunnels(), 0);
}

#[test]
fn tls_and_settings_of_a_server() {
    let mut it = Intruder::server(|config| config.establish.handshake = WAIT);
    ends_in_time(&mut it, "the handshake", Intruder::is_alive);
    assert!(it.apps().all(|(_, app)| app.closed.is_some()), "the application still waits");
    assert_eq!((it.shard.tunnels(), it.shard.connections()), (0, 0));
}

#[test]
fn the_answer_to_connect() {
    let mut it = Intruder::server(|config| config.connect_timeout = WAIT);
    it.hello(&[]);
    ends_in_time(&mut it, "the CONNECT", |it| it.shard.connections() == 1);
    assert_eq!(errors(it.observed()), ["no answer to CONNECT within 3 s"]);
    assert!(it.is_alive(), "the tunnel lives on");
}

#[test]
fn the_dial_of_an_application_behind_a_tunnel() {
    let mut it = Intruder::client(|config| config.dial_timeout = WAIT);
    it.hello(&[]);
    it.dials = false;
    it.send(&connect(1));
    ends_in_time(&mut it, "the dial", |it| it.shard.connections() == 1);
    assert!(it.frames().iter().any(|frame| frame.kind == 1), "the peer was not answered");
    assert!(it.is_alive(), "the tunnel lives on");
}

#[test]
fn half_closed_silence() {
    let mut it = Intruder::client(|config| config.half_closed_idle = WAIT);
    it.hello(&[]);
    it.send(&connect(1));
    it.pass(WAIT * 2);
    assert_eq!(it.shard.connections(), 1, "an open connection may be silent for ever");
    it.send(&data(1, END_STREAM, b"no more of me"));
    it.pass(ALMOST);
    let app = it.apps().next().expect("an application").0;
    assert_eq!(it.app_sends(app, b"still talking"), 13);
    ends_in_time(&mut it, "the silence", |it| it.shard.connections() == 1);
    assert_eq!(errors(it.observed()), ["half-closed and silent for 3 s"]);
}

// ---- what ends before there is a tunnel: the shard alone

const MESH: &str = r"
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {}}
- {uid: o, name: other, namespace: ns, serviceAccount: other, workloadIps: [10.0.0.3], protocol: HBONE, services: {}}
services: []
policies: []
";

const START: Instant = Instant::from_millis(1);

fn shard(change: impl FnOnce(&mut ShardConfig)) -> Shard {
    let mut config = config("ns", "client", "client");
    change(&mut config);
    Shard::new(Arc::new(config), parse(MESH), START)
}

/// Whether a connection to `target` is taken.
fn capture(shard: &mut Shard, target: &str) -> bool {
    let (peer, target): (SocketAddr, SocketAddr) =
        ("10.0.0.1:40000".parse().expect("one"), target.parse().expect("an address"));
    shard.handle_accepted(START, ProxyId::OWN, Listener::Outbound, peer, target, target).is_some()
}

/// Gives out certificates; returns the ports that were dialled.
fn dials(shard: &mut Shard, authority: &Authority) -> Vec<u16> {
    let mut dialled = vec![];
    while let Some(action) = shard.poll_action() {
        match action {
            Action::NeedCertificate { identity } => {
                let context = authority.context("client", RecordMode::InPlace);
                shard.handle_certificate(START, &identity, Ok(context));
            }
            Action::Dial { to, .. } => dialled.push(to.port()),
            _ => {}
        }
    }
    dialled
}

/// The one connection lives until [`WAIT`] is over; why it ended.
fn ends_alone(shard: &mut Shard) -> String {
    shard.handle_timeout(START + ALMOST);
    assert_eq!(shard.connections(), 1, "it ended before its deadline");
    shard.handle_timeout(START + WAIT);
    assert_eq!((shard.connections(), shard.tunnels()), (0, 0), "it outlived its deadline");
    let observed: Vec<_> = std::iter::from_fn(|| shard.poll_observed()).collect();
    errors(&observed).concat()
}

#[test]
fn our_own_certificate() {
    let mut shard = shard(|config| config.establish.certificate = WAIT);
    assert!(capture(&mut shard, "10.0.0.2:80"));
    assert!(ends_alone(&mut shard).contains("certificate"));
}

#[test]
fn the_dial_of_a_tunnel() {
    let mut shard = shard(|config| config.establish.dial = WAIT);
    assert!(capture(&mut shard, "10.0.0.2:80"));
    assert_eq!(dials(&mut shard, &Authority::new()), [15_008]);
    let error = ends_alone(&mut shard);
    assert!(error.starts_with("connection timed out") && error.contains("15008"), "{error}");
}

#[test]
fn the_dial_of_a_plain_address() {
    let mut shard = shard(|config| config.dial_timeout = WAIT);
    assert!(capture(&mut shard, "203.0.113.1:81"));
    assert_eq!(dials(&mut shard, &Authority::new()), [81]);
    assert!(!ends_alone(&mut shard).is_empty());
}

#[test]
fn tunnels_we_open() {
    let mut shard = shard(|config| config.pool.max_tunnels = 1);
    let taken = ["10.0.0.2:80", "10.0.0.2:81", "10.0.0.3:80"].map(|target| capture(&mut shard, target));
    assert_eq!(taken, [true, true, false], "the third needs a second tunnel");
    assert_eq!(dials(&mut shard, &Authority::new()), [15_008], "one tunnel for the first two");
    assert_eq!((shard.connections(), shard.tunnels()), (2, 1));
    let observed: Vec<_> = std::iter::from_fn(|| shard.poll_observed()).collect();
    assert_eq!(errors(&observed).len(), 1, "{observed:?}");
}

// ---- caps

#[test]
fn handshakes_in_progress() {
    let mut it = Intruder::client(|config| config.max_handshakes = 2);
    it.hello(&[]);
    let (peer, local) = ("10.0.0.1:1".parse().expect("one"), "10.0.0.2:15008".parse().expect("one"));
    let now = it.now();
    let accepted = (0..5)
        .filter(|_| {
            it.shard.handle_accepted(now, ProxyId::OWN, Listener::InboundHbone, peer, local, local).is_some()
        })
        .count();
    assert_eq!(accepted, 2, "a tunnel that is up is no handshake");
}

/// Streams that slow applications had to give up, when 100 of them were sent 40 kB each.
fn shed(change: impl Fn(&mut ShardConfig)) -> usize {
    let mut it = Intruder::client(change);
    it.hello(&[]);
    it.apps_read = false;
    for n in 0..100 {
        it.send(&connect(1 + 2 * n));
        // Two reads, so that the first cannot be served from the input buffer.
        it.send(&data(1 + 2 * n, 0, &[7; 100]));
        it.send(&data(1 + 2 * n, 0, &vec![7; 40_000]));
    }
    assert!(it.is_alive());
    let code = ErrorCode::ENHANCE_YOUR_CALM.0.to_be_bytes();
    let frames = it.frames();
    let streams: BTreeSet<_> =
        frames.iter().filter(|f| f.kind == 3 && f.payload == code).map(|f| f.stream).collect();
    streams.len()
}

#[test]
fn octets_held_for_slow_applications() {
    type Change = fn(&mut ShardConfig);
    let caps: [(&str, Change); 3] = [
        ("tunnel", |config| {
            let mut server = (*config.server).clone();
            server.max_held = 1 << 20;
            config.server = Arc::new(server);
        }),
        ("identity", |config| config.max_held_per_identity = 1 << 20),
        ("process", |config| config.max_held = 1 << 20),
    ];
    assert_eq!(shed(|_| {}), 0, "4 MB are within all caps");
    for (of, change) in caps {
        let streams = shed(change);
        assert!((50..90).contains(&streams), "cap of one {of}: {streams} streams were shed");
    }
}
