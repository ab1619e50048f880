//! What inbound decisions lack.
use adit_core::http2::ErrorCode;
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::*;

use super::*;

#[test]
fn an_inbound_plaintext_client_is_looked_up_for_the_log() {
    for answered in [true, false] {
        let mut shard = shard(ALONE, on_demand);
        let (from, to) = (addr("10.0.0.5:1"), addr("10.0.0.1:80"));
        shard.handle_accepted(START, ProxyId::OWN, Listener::InboundPlain, from, to, to).expect("accepted");
        let (ticket, key) = questions(&mut shard).remove(0);
        assert_eq!(key, "/10.0.0.5");
        if answered {
            shard.handle_mesh(START, found());
        } else {
            shard.handle_demanded(START, ticket, Err(Unanswered::GivenUp));
        }
        assert_eq!(dials(&actions(&mut shard)), ["10.0.0.1:80"], "with or without a name");
        let told = observed(&mut shard);
        let [Observed::ConnectionOpened(opened), ..] = &told[..] else { panic!("{told:?}") };
        assert_eq!(opened.source.workload.is_some(), answered);
    }
}

/// A hostile client of a server which knows only itself, with its SETTINGS exchanged.
fn careful_server() -> Intruder {
    let mut it = Intruder::client(on_demand);
    let server = ALONE.replace("client", "server").replace("10.0.0.1", "10.0.0.2");
    let now = it.now();
    it.shard.handle_mesh(now, parse(&server));
    it.hello(&[]);
    it
}

fn connect_to(stream: u32, authority: &str) -> Vec<u8> {
    headers(stream, 0, &[(":method", "CONNECT"), (":authority", authority)])
}

/// The status with which `stream` was answered.
fn answered(it: &Intruder, stream: u32) -> bool {
    it.frames().iter().any(|frame| frame.kind == 1 && frame.stream == stream)
}

fn keys(it: &Intruder) -> Vec<&str> {
    it.asked.iter().map(|(_, key)| key.as_str()).collect()
}

fn denials(it: &Intruder) -> Vec<&str> {
    fn denial(observed: &Observed) -> Option<&str> {
        match observed {
            Observed::EarlyDenied { error, .. } => Some(error.as_str()),
            _ => None,
        }
    }
    it.observed().iter().filter_map(denial).collect()
}

const KNOWN: &str = "
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {far/web.far.svc.x: {'80': 8080}}}
services:
- {name: web, namespace: far, hostname: web.far.svc.x, vips: [/10.1.0.1], ports: {'80': 8080}}
policies: []
";

#[test]
fn an_inbound_stream_waits_for_its_client() {
    for known in [true, false] {
        let mut it = careful_server();
        it.send(&connect(1));
        it.send(&connect(3));
        assert_eq!(keys(&it), ["/10.0.0.1"], "both wait for the same");
        it.send(&data(1, 0, b"early"));
        assert_eq!((it.apps().count(), it.shard.connections()), (0, 2));
        let (now, ticket) = (it.now(), it.asked[0].0);
        if known {
            it.shard.handle_mesh(now, parse(KNOWN));
        } else {
            it.shard.handle_demanded(now, ticket, Ok(()));
        }
        it.pump();
        assert_eq!((it.apps().count(), keys(&it).len()), (2, 1));
        assert!(it.apps().any(|(_, app)| app.got == b"early") && answered(&it, 1) && answered(&it, 3));
        let named = it.observed().iter().filter(|observed| match observed {
            Observed::ConnectionOpened(opened) => opened.source.workload.is_some(),
            _ => false,
        });
        assert_eq!(named.count(), if known { 2 } else { 0 });
    }
}

#[test]
fn a_connect_by_hostname_waits_for_the_service() {
    let mut it = careful_server();
    it.send(&connect_to(1, "web.far.svc.x:80"));
    assert_eq!(keys(&it), ["far/web.far.svc.x"]);
    let (now, ticket) = (it.now(), it.asked[0].0);
    it.shard.handle_mesh(now, parse(KNOWN));
    it.pump();
    assert_eq!((it.apps().count(), keys(&it).len()), (1, 1), "the client came with the service");
    it.shard.handle_demanded(now, ticket, Ok(()));
    it.pump();
    assert_eq!(it.shard.connections(), 1);

    // There is none: it is refused as it would be at once, after one question.
    let mut it = careful_server();
    it.send(&connect_to(1, "web.far.svc.x:80"));
    let (now, ticket) = (it.now(), it.asked[0].0);
    it.shard.handle_demanded(now, ticket, Ok(()));
    it.pump();
    assert_eq!((keys(&it).len(), it.shard.connections(), answered(&it, 1)), (1, 0, true));
    assert_eq!(denials(&it), ["no service or workload for hostname: web.far.svc.x"]);
    assert!(it.is_alive(), "the tunnel lives on");
    // Or nobody says so in time.
    it.send(&connect_to(3, "10.9.9.9:80"));
    assert_eq!(keys(&it)[1], "/10.9.9.9");
    it.pass(Duration::from_millis(4_999));
    assert!(!answered(&it, 3));
    it.pass(Duration::from_millis(1));
    assert!(answered(&it, 3));
    assert_eq!(denials(&it)[1], "ip mismatch: 10.0.0.2 != 10.9.9.9");
}

#[test]
fn a_stream_that_ends_waits_no_longer() {
    let mut it = careful_server();
    it.send(&connect(1));
    it.send(&connect(3));
    it.send(&reset(1, ErrorCode::CANCEL));
    assert_eq!((it.shard.connections(), denials(&it).len()), (1, 1));
    let (now, ticket) = (it.now(), it.asked[0].0);
    it.hang_up();
    assert_eq!((it.shard.connections(), denials(&it).len()), (0, 2));
    it.shard.handle_demanded(now, ticket, Ok(()));
    it.pump();
    assert_eq!(it.apps().count(), 0);
}

#[test]
fn a_peer_that_asks_for_many_names_leaves_the_application_its_share() {
    let mut it = Intruder::client(|config| (config.on_demand, config.max_questions) = (true, 2));
    it.hello(&[]);
    for (stream, host) in [(1, "a"), (3, "b"), (5, "c")] {
        it.send(&connect_to(stream, &format!("{host}.example:80")));
    }
    assert_eq!(keys(&it), ["ns/a.example", "ns/b.example"]);
    assert_eq!(denials(&it), ["no service or workload for hostname: c.example"]);
    let (now, target) = (it.now(), addr("10.9.9.9:80"));
    assert!(
        it.shard
            .handle_accepted(now, ProxyId::OWN, Listener::Outbound, addr("10.0.0.2:1"), target, target)
            .is_some()
    );
    it.pump();
    assert_eq!(keys(&it)[2], "/10.9.9.9");
}
