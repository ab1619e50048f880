//! One shard that serves several workloads, as in in-pod mode: each is itself, and one that goes leaves nothing behind.
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::mesh::Mesh;
use adit_core::proxy::observed::{Connection, Direction, Observed};
use adit_core::proxy::{Listener, LocalWorkload, ProxyId, Shard, ShardConfig};
use adit_core::route::RouteConfig;
use adit_core::time::Instant;
use adit_testkit::sim::mesh::{parse, room};
use adit_testkit::sim::{AppId, NodeId, Room, Script, Weather};

const WORKLOADS: &str = "
- {uid: a, name: a, namespace: ns, serviceAccount: one, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: b, name: b, namespace: ns, serviceAccount: two, workloadIps: [10.0.0.2], protocol: HBONE, services: {}}
- {uid: c, name: c, namespace: ns, serviceAccount: one, workloadIps: [10.0.0.3], protocol: HBONE, services: {}}
- {uid: d, name: d, namespace: ns, serviceAccount: three, workloadIps: [10.0.0.4], protocol: HBONE, services: {}}
";

/// `two` lets nobody in but `one`.
const ONE_ONLY: &str = "
- name: one-only
  namespace: ns
  scope: WorkloadSelector
  action: Allow
  rules: [[[{principals: [{Exact: cluster.local/ns/ns/sa/one}]}]]]
  dryRun: false
";

const A: ProxyId = ProxyId(1);
const B: ProxyId = ProxyId(2);
const C: ProxyId = ProxyId(3);

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn mesh(workloads: &str, policies: &str) -> Arc<Mesh> {
    parse(&format!("workloads: {workloads}\nservices: []\npolicies: {policies}\n"))
}

fn local(name: &str, account: &str) -> LocalWorkload {
    LocalWorkload { namespace: "ns".into(), name: name.into(), service_account: account.into() }
}

fn identity(account: &str) -> Identity {
    Identity::new("cluster.local", "ns", account).expect("a valid name")
}

/// A shard that serves nobody, in a room where `b` and `c` answer on port 80.
fn node_with(mesh: Arc<Mesh>) -> (Room, NodeId) {
    node_of(ShardConfig::new(None, RouteConfig::default(), 7), mesh)
}

fn node_of(config: ShardConfig, mesh: Arc<Mesh>) -> (Room, NodeId) {
    let shard = Shard::new(Arc::new(config), mesh, Instant::from_millis(1));
    let mut room = room(3, Weather::default());
    let node = room.add_node(shard, &[]);
    for address in ["10.0.0.2:80", "10.0.0.3:80"] {
        room.serve(addr(address), Script::echo());
    }
    (room, node)
}

fn node() -> (Room, NodeId) {
    node_with(mesh(WORKLOADS, "[]"))
}

fn add(room: &mut Room, node: NodeId, proxy: ProxyId) {
    let (name, account, ip) = match proxy {
        A => ("a", "one", "10.0.0.1:0"),
        B => ("b", "two", "10.0.0.2:0"),
        _ => ("c", "one", "10.0.0.3:0"),
    };
    room.add_proxy(node, proxy, local(name, account), addr(ip).ip());
}

/// `proxy` captures a connection of its workload to `to`.
fn connect(room: &mut Room, by: (NodeId, ProxyId), port: u16, to: &str, script: Script) -> AppId {
    let from = SocketAddr::new(addr(&format!("10.0.0.{}:0", by.1.0)).ip(), port);
    room.connect_by(by, Listener::Outbound, from, addr(to), script)
}

fn opened(room: &Room, node: NodeId, direction: Direction) -> Vec<Arc<Connection>> {
    let of = |observed: &Observed| match observed {
        Observed::ConnectionOpened(connection) if connection.direction == direction => {
            Some(Arc::clone(connection))
        }
        _ => None,
    };
    room.observed(node).iter().filter_map(of).collect()
}

fn early(room: &Room, node: NodeId) -> Vec<String> {
    let of = |observed: &Observed| match observed {
        Observed::EarlyDenied { error, .. } => Some(error.clone()),
        _ => None,
    };
    room.observed(node).iter().filter_map(of).collect()
}

#[test]
fn two_workloads_of_one_shard_meet_as_who_they_are() {
    let (mut room, node) = node();
    add(&mut room, node, A);
    add(&mut room, node, B);
    let app = connect(&mut room, (node, A), 40_000, "10.0.0.2:80", Script::send("ping"));
    room.run(100_000);
    assert_eq!(room.app(app).got(), b"ping");
    for direction in [Direction::Outbound, Direction::Inbound] {
        let [connection] = &opened(&room, node, direction)[..] else { panic!("{direction:?}") };
        assert_eq!(connection.source.identity, Some(identity("one")), "{direction:?}");
        assert_eq!(connection.destination.identity, Some(identity("two")), "{direction:?}");
        assert_eq!(connection.destination.workload.as_deref(), Some("b"), "{direction:?}");
    }
    assert_eq!(room.shard(node).census().credentials, 2);
}

#[test]
fn workloads_of_one_identity_share_a_certificate_and_no_tunnel() {
    let (mut room, node) = node();
    for proxy in [A, B, C] {
        add(&mut room, node, proxy);
    }
    for proxy in [A, C] {
        let from = SocketAddr::new(addr("10.9.9.9:0").ip(), 40_000);
        // The very same client address, as if both pods had it.
        room.connect_by((node, proxy), Listener::Outbound, from, addr("10.0.0.2:80"), Script::send("x"));
        room.run(100_000);
    }
    let census = room.shard(node).census();
    assert_eq!((census.credentials, census.pooled, census.tunnels), (2, 2, 4));
}

#[test]
fn policies_are_those_of_the_workload_that_is_called() {
    let of_b = WORKLOADS.replace(
        "workloadIps: [10.0.0.2], ",
        "workloadIps: [10.0.0.2], authorizationPolicies: [ns/one-only], ",
    );
    let (mut room, node) = node_with(mesh(&of_b, ONE_ONLY));
    for proxy in [A, B, C] {
        add(&mut room, node, proxy);
    }
    let hold = || Script { send: b"x".to_vec(), hold: true, ..Script::default() };
    let allowed = connect(&mut room, (node, A), 40_000, "10.0.0.2:80", Script::send("x"));
    let free = connect(&mut room, (node, B), 40_000, "10.0.0.3:80", hold());
    room.run(100_000);
    assert_eq!(room.app(allowed).got(), b"x");
    // Nobody may call `b` any more; what `c` has open is not its business.
    let live = connect(&mut room, (node, A), 40_001, "10.0.0.2:80", hold());
    room.run(100_000);
    let nobody = mesh(&of_b, &ONE_ONLY.replace("sa/one", "sa/nobody"));
    room.with(node, |shard, now| shard.handle_mesh(now, nobody));
    let refused = connect(&mut room, (node, A), 40_002, "10.0.0.2:80", Script::send("x"));
    room.run(100_000);
    assert!(room.app(live).saw_reset() && room.app(refused).got().is_empty());
    assert!(!room.app(free).saw_reset());
    room.release(free);
    room.run(100_000);
    assert_eq!(room.app(free).got(), b"x");
}

#[test]
fn a_proxy_that_goes_leaves_nothing_and_the_others_do_not_notice() {
    let (mut room, node) = node();
    add(&mut room, node, B);
    add(&mut room, node, C);
    let hold = |len| Script { send: vec![7; len], hold: true, ..Script::default() };
    let other = connect(&mut room, (node, C), 40_000, "10.0.0.2:80", hold(300_000));
    room.run(100_000);
    let settle = |room: &mut Room| {
        // Names that nobody has any more are forgotten after a second; nothing else is due so soon.
        room.run(100_000);
        room.forget_observed(node);
        assert!(room.wait(), "the trim");
    };
    settle(&mut room);
    let before = room.shard(node).census();

    for round in 0..3 {
        let proxy = ProxyId(10 + round);
        room.add_proxy(node, proxy, local("d", "three"), addr("10.0.0.4:0").ip());
        let by = (node, proxy);
        // One of each kind: through a tunnel, held up; inbound in plaintext; inbound that has said nothing.
        let live = room.connect_by(
            by,
            Listener::Outbound,
            addr("10.0.0.4:41000"),
            addr("10.0.0.2:80"),
            hold(3 << 20),
        );
        room.run(100_000);
        room.serve(addr("10.0.0.4:80"), Script::echo());
        let plain =
            room.connect_by(by, Listener::InboundPlain, addr("10.1.1.1:5"), addr("10.0.0.4:80"), hold(10));
        let silent = room.connect_by(
            by,
            Listener::InboundHbone,
            addr("10.1.1.1:6"),
            addr("10.0.0.4:15008"),
            Script { hold: true, ..Script::default() },
        );
        let into = connect(&mut room, (node, C), 42_000 + round as u16, "10.0.0.4:80", hold(10));
        room.run(100_000);
        let busy = room.shard(node).census();
        assert!(busy.connections >= before.connections + 3 && busy.handshakes == 1, "{busy:?}");
        room.remove_proxy(node, proxy);
        for app in [live, plain, silent, into] {
            room.release(app);
        }
        room.run(100_000);
        for app in [live, plain, silent, into] {
            assert!(room.app(app).saw_reset() || room.app(app).saw_fin(), "round {round}: {app:?} lives on");
        }
        settle(&mut room);
        assert_eq!(room.shard(node).census(), before, "round {round}");
        // Whatever is said late of it reaches nobody.
        let late =
            room.connect_by(by, Listener::Outbound, addr("10.0.0.4:43000"), addr("10.0.0.2:80"), hold(1));
        assert!(room.app(late).saw_reset());
    }
    room.release(other);
    room.run(100_000);
    assert_eq!(room.app(other).got().len(), 300_000);
}

#[test]
fn whoever_comes_before_the_tables_know_the_pod_waits_for_them() {
    let (mut room, node) = node_with(mesh("[]", "[]"));
    add(&mut room, node, A);
    add(&mut room, node, B);
    let plain = Script::send("plain");
    let from_outside = addr("10.7.7.7:4000");
    let out = connect(&mut room, (node, A), 40_000, "10.0.0.2:80", Script::send("out"));
    let inbound =
        room.connect_by((node, B), Listener::InboundPlain, from_outside, addr("10.0.0.2:80"), plain);
    room.run(100_000);
    assert!(room.app(out).got().is_empty() && room.app(inbound).got().is_empty());
    assert_eq!(room.shard(node).census().questions, 2);
    let known = mesh(WORKLOADS, "[]");
    room.with(node, |shard, now| shard.handle_mesh(now, known));
    room.run(100_000);
    assert_eq!((room.app(out).got(), room.app(inbound).got()), (&b"out"[..], &b"plain"[..]));
    assert_eq!(room.shard(node).census().questions, 0);
}

// datapath §5.2: 5 s. A pod is nobody but the workload of its name, namespace and service account.
#[test]
fn a_pod_that_the_tables_know_under_another_account_is_refused_after_a_while() {
    let (mut room, node) = node();
    room.add_proxy(node, A, local("a", "two"), addr("10.0.0.1:0").ip());
    let from_outside = addr("10.7.7.7:4000");
    let out = connect(&mut room, (node, A), 40_000, "10.0.0.2:80", Script::send("out"));
    let inbound = room.connect_by(
        (node, A),
        Listener::InboundPlain,
        from_outside,
        addr("10.0.0.1:80"),
        Script::send("x"),
    );
    room.run(100_000);
    while room.shard(node).census().questions > 0 && room.wait() {}
    let text = "failed to fetch information about local workload: two.ns (a)";
    assert_eq!(early(&room, node), [text, text]);
    assert!(room.app(out).got().is_empty() && room.app(inbound).got().is_empty());
    assert_eq!((room.shard(node).census().connections, room.sockets(node)), (0, 0));
    // An inbound tunnel has no certificate to show meanwhile.
    let peer = Script { hold: true, ..Script::default() };
    room.connect_by((node, A), Listener::InboundHbone, from_outside, addr("10.0.0.1:15008"), peer);
    while room.shard(node).tunnels() > 0 && room.wait() {}
    assert_eq!(early(&room, node).last().map(String::as_str), Some(&*format!("tls handshake error: {text}")));
}

/// Whoever has many clients, welcome or not, leaves room for the clients of others.
#[test]
fn a_crowd_before_one_workload_does_not_shut_out_the_others() {
    const LIMIT: usize = 12;
    let limited = || ShardConfig {
        max_handshakes: LIMIT,
        max_connections: LIMIT,
        ..ShardConfig::new(None, RouteConfig::default(), 7)
    };
    let (mut room, node) = node_of(limited(), mesh(WORKLOADS, "[]"));
    add(&mut room, node, B);
    let silent = || Script { hold: true, ..Script::default() };
    let crowd = |room: &mut Room, node, listener, to: &str| {
        for port in 0..20_u16 {
            room.connect_by(
                (node, B),
                listener,
                addr(&format!("10.9.9.9:{}", 1000 + port)),
                addr(to),
                silent(),
            );
        }
        room.run(100_000);
    };
    crowd(&mut room, node, Listener::InboundHbone, "10.0.0.2:15008");
    crowd(&mut room, node, Listener::InboundPlain, "10.0.0.2:80");
    let census = room.shard(node).census();
    assert_eq!((census.handshakes, census.connections), (LIMIT, LIMIT), "alone, it may have everything");

    let (mut room, node) = node_of(limited(), mesh(WORKLOADS, "[]"));
    for proxy in [A, B, C] {
        add(&mut room, node, proxy);
    }
    crowd(&mut room, node, Listener::InboundHbone, "10.0.0.2:15008");
    crowd(&mut room, node, Listener::InboundPlain, "10.0.0.2:80");
    let census = room.shard(node).census();
    assert_eq!((census.handshakes, census.connections), (LIMIT / 2, LIMIT / 2));
    let told = early(&room, node);
    let of = |text: &str| told.iter().filter(|error| error.contains(text)).count();
    assert_eq!(of("too many connections of this workload: others share the limit of 12"), 14);
    assert_eq!(of("too many tunnels or handshakes in progress to this workload"), 14);
    // Another workload is called, and calls, as if nobody were there.
    let app = connect(&mut room, (node, A), 40_000, "10.0.0.3:80", Script::send("x"));
    room.run(100_000);
    assert_eq!(room.app(app).got(), b"x");
    // Who goes gives everything back.
    room.remove_proxy(node, B);
    room.run(100_000);
    let census = room.shard(node).census();
    assert_eq!((census.handshakes, census.connections), (0, 0));
}
