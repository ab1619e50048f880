//! Policies and live connections, on whole shards (datapath §6.5 and the last row of §6.7).
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::http2::ErrorCode;
use adit_core::http2::hpack::{Decoder, Limits};
use adit_core::mesh::Mesh;
use adit_core::proxy::observed::{Flag, Observed};
use adit_core::proxy::{Action, Listener, ProxyId, Shard, ShardConfig, SocketId};
use adit_core::time::Instant;
use adit_testkit::sim::mesh::{add, config, parse, room};
use adit_testkit::sim::{AppId, NodeId, Room, Script, Weather};
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::{connect, headers};

const CHANGED: &str = "connection closed due to policy change";
const OPEN: &str = "";
const NO_CLIENT: &str = "{name: p, namespace: ns, scope: Namespace, action: Deny, dryRun: false, rules: [[[{principals: [{Exact: cluster.local/ns/ns/sa/client}]}]]]}";
const STRICT: &str = "{name: p, namespace: ns, scope: Namespace, action: Deny, dryRun: false, rules: [[[{notPrincipals: [{Presence: []}]}]]]}";
const NOT_80: &str = "{name: p, namespace: ns, scope: Namespace, action: Deny, dryRun: false, rules: [[[{destinationPorts: [80]}]]]}";

/// Two workloads, and what the second one's policies are; `listed` are those it lists itself.
fn mesh_listing(policies: &str, listed: &str) -> Arc<Mesh> {
    parse(&format!(
        "
workloads:
- {{uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {{}}}}
- {{uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {{}}, authorizationPolicies: [{listed}]}}
services: []
policies: [{policies}]
"
    ))
}

fn mesh(policies: &str) -> Arc<Mesh> {
    mesh_listing(policies, "")
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

struct Pair {
    room: Room,
    client: NodeId,
    server: NodeId,
}

impl Pair {
    fn new(seed: u64, change: impl Fn(&mut ShardConfig)) -> Self {
        let mesh = mesh(OPEN);
        let mut room = room(seed, Weather::default());
        let (mut client, mut server) = (config("ns", "client", "client"), config("ns", "server", "server"));
        change(&mut client);
        change(&mut server);
        let client = add(&mut room, client, &mesh, addr("10.0.0.1:0").ip());
        let server = add(&mut room, server, &mesh, addr("10.0.0.2:0").ip());
        for port in [80, 81] {
            room.serve(SocketAddr::new(addr("10.0.0.2:0").ip(), port), Script::echo());
        }
        Self { room, client, server }
    }

    /// A connection that says hello, is answered, and stays open.
    fn open(&mut self, from: u16, to: &str) -> AppId {
        let script = Script { send: b"hello".to_vec(), ..Script::default() };
        let from = SocketAddr::new(addr("10.0.0.1:0").ip(), from);
        let app = self.room.connect(self.client, from, addr(to), script);
        self.settle(app)
    }

    /// The same without the client's proxy.
    fn open_plain(&mut self, from: &str, to: &str) -> AppId {
        let script = Script { send: b"hello".to_vec(), ..Script::default() };
        let listener = Listener::InboundPlain;
        let app = self.room.connect_to(self.server, listener, addr(from), addr(to), script);
        self.settle(app)
    }

    fn settle(&mut self, app: AppId) -> AppId {
        self.room.run(10_000);
        assert_eq!(self.room.app(app).got(), b"hello");
        app
    }

    fn push(&mut self, mesh: &Arc<Mesh>) {
        self.room.with(self.server, |shard, now| shard.handle_mesh(now, Arc::clone(mesh)));
        self.room.run(10_000);
    }

    fn is_cut(&self, app: AppId) -> bool {
        let app = self.room.app(app);
        app.saw_reset() || app.saw_fin()
    }
}

fn closed(observed: &[Observed]) -> Vec<(Flag, Option<&str>)> {
    let one = |observed| match observed {
        &Observed::ConnectionClosed { flag, ref error, .. } => Some((flag, error.as_deref())),
        _ => None,
    };
    observed.iter().filter_map(one).collect()
}

fn cut(observed: &[Observed]) -> Vec<String> {
    let one = |observed: &Observed| match observed {
        Observed::NoLongerAllowed { reason, .. } => Some(reason.to_string()),
        _ => None,
    };
    observed.iter().filter_map(one).collect()
}

#[test]
fn a_deny_that_arrives_cuts_the_stream_and_says_why() {
    let mut it = Pair::new(1, |_| {});
    let app = it.open(40_000, "10.0.0.2:80");
    it.push(&mesh(NO_CLIENT));
    assert!(it.room.app(app).saw_reset(), "what was cut must not look complete");
    let told = it.room.observed(it.server);
    assert_eq!(closed(told), [(Flag::Deny, Some(CHANGED))]);
    assert_eq!(cut(told), ["explicitly denied by: ns/p"]);
    assert_eq!(it.room.shard(it.server).connections(), 0);
    assert!(it.room.apps().iter().all(|app| app.saw_reset()), "the application is told as well");
    // The tunnel stays: it may serve who is allowed.
    assert_eq!((it.room.shard(it.server).tunnels(), it.room.sockets(it.server)), (1, 1));
    // A new connection is refused, and one is admitted once the policy has gone.
    let app = it.room.connect(it.client, addr("10.0.0.1:40001"), addr("10.0.0.2:80"), Script::send("x"));
    it.room.run(10_000);
    assert!(it.is_cut(app));
    it.push(&mesh(OPEN));
    it.open(40_002, "10.0.0.2:80");
}

#[test]
fn plaintext_is_cut_when_strict_arrives_and_hbone_goes_on() {
    let mut it = Pair::new(2, |_| {});
    let plain = it.open_plain("10.7.7.7:1", "10.0.0.2:80");
    let tunnelled = it.open(40_000, "10.0.0.2:80");
    it.push(&mesh(STRICT));
    assert!(it.room.app(plain).saw_reset());
    assert!(!it.is_cut(tunnelled));
    assert_eq!(closed(it.room.observed(it.server)), [(Flag::Deny, Some(CHANGED))]);
    assert_eq!(it.room.shard(it.server).connections(), 1);
}

#[test]
fn an_allow_that_arrives_cuts_whoever_it_does_not_name() {
    let mut it = Pair::new(3, |_| {});
    let (http, other) = (it.open(40_000, "10.0.0.2:80"), it.open(40_001, "10.0.0.2:81"));
    it.push(&mesh(
        "{name: p, namespace: ns, scope: Namespace, action: Allow, dryRun: false, rules: [[[{destinationPorts: [80]}]]]}",
    ));
    assert!(!it.is_cut(http) && it.is_cut(other));
    assert_eq!(cut(it.room.observed(it.server)), ["allow policies exist, but none allowed"]);
    // An ALLOW that goes again cuts nobody; one that is replaced by nothing at all admits everybody.
    it.push(&mesh(OPEN));
    assert!(!it.is_cut(http));
}

#[test]
fn only_who_is_meant_is_cut() {
    let mut it = Pair::new(4, |_| {});
    let (http, other) = (it.open(40_000, "10.0.0.2:80"), it.open(40_001, "10.0.0.2:81"));
    it.push(&mesh(NOT_80));
    assert!(it.is_cut(http) && !it.is_cut(other));
}

// datapath §6.5 [Q]: ztunnel waits for the next policy push.
#[test]
fn a_workload_that_lists_another_policy_is_enough() {
    let selector = STRICT.replace("Namespace", "WorkloadSelector");
    let mut it = Pair::new(5, |_| {});
    let plain = it.open_plain("10.7.7.7:1", "10.0.0.2:80");
    it.push(&mesh(&selector));
    assert!(!it.is_cut(plain), "nobody lists it");
    it.push(&mesh_listing(&selector, "ns/p"));
    assert!(it.is_cut(plain));
    assert_eq!(closed(it.room.observed(it.server)), [(Flag::Deny, Some(CHANGED))]);
}

#[test]
fn a_policy_that_changes_its_scope_cuts_who_came_under_it() {
    let mut it = Pair::new(6, |_| {});
    let plain = it.open_plain("10.7.7.7:1", "10.0.0.2:80");
    it.push(&mesh(&STRICT.replace("Namespace", "WorkloadSelector")));
    assert!(!it.is_cut(plain));
    it.push(&mesh(&STRICT.replace("Namespace", "Global")));
    assert!(it.is_cut(plain));
}

#[test]
fn policies_on_trial_cut_nobody() {
    let mut it = Pair::new(7, |_| {});
    let app = it.open(40_000, "10.0.0.2:80");
    it.push(&mesh(&NO_CLIENT.replace("dryRun: false", "dryRun: true")));
    assert!(!it.is_cut(app));
    // And new connections are told of.
    it.open(40_001, "10.0.0.2:80");
    let told = it.room.observed(it.server);
    assert_eq!(told.iter().filter(|told| matches!(told, Observed::DryRun { .. })).count(), 1);
}

#[test]
fn a_workload_that_has_gone_is_judged_as_it_was_last_known() {
    let mut it = Pair::new(8, |_| {});
    let (http, other) = (it.open(40_000, "10.0.0.2:80"), it.open(40_001, "10.0.0.2:81"));
    let gone = |policies: &str| parse(&format!("workloads: []\nservices: []\npolicies: [{policies}]\n"));
    it.push(&gone(OPEN));
    assert!(!it.is_cut(http) && !it.is_cut(other));
    it.push(&gone(NOT_80));
    assert!(it.is_cut(http) && !it.is_cut(other));
}

#[test]
fn with_resets_as_fin_the_end_looks_as_it_does_with_ztunnel() {
    let mut it = Pair::new(9, |config| config.resets_as_fin = true);
    let (stream, plain) = (it.open(40_000, "10.0.0.2:80"), it.open_plain("10.7.7.7:1", "10.0.0.2:80"));
    it.push(&mesh(NOT_80));
    for app in [stream, plain] {
        assert!(it.room.app(app).saw_fin() && !it.room.app(app).saw_reset());
    }
    assert_eq!(closed(it.room.observed(it.server)), [(Flag::Deny, Some(CHANGED)); 2]);
}

#[test]
fn a_drain_does_not_stop_the_judge() {
    let mut it = Pair::new(10, |_| {});
    let app = it.open(40_000, "10.0.0.2:80");
    it.room.with(it.server, |shard, now| shard.drain(now));
    it.room.run(10_000);
    assert!(!it.is_cut(app));
    it.push(&mesh(NO_CLIENT));
    assert!(it.is_cut(app) && closed(it.room.observed(it.server)) == [(Flag::Deny, Some(CHANGED))]);
}

// datapath §6.7: register/release counting, duplicate registrations, double close.
#[test]
fn equal_connections_are_counted_one_by_one_and_each_ends_once() {
    let mut it = Pair::new(11, |_| {});
    let twins: Vec<_> = (0..3).map(|_| it.open_plain("10.7.7.7:1", "10.0.0.2:80")).collect();
    // One ends by itself: it is done with, and the others are still watched.
    let script = Script::send("hello");
    let listener = Listener::InboundPlain;
    it.room.connect_to(it.server, listener, addr("10.7.7.7:1"), addr("10.0.0.2:80"), script);
    it.room.run(10_000);
    assert_eq!(it.room.shard(it.server).connections(), 3);
    it.push(&mesh(STRICT));
    it.push(&mesh(NOT_80));
    it.push(&mesh(STRICT));
    assert!(twins.iter().all(|&app| it.is_cut(app)));
    let told = it.room.observed(it.server);
    assert_eq!(closed(told), [&[(Flag::None, None)][..], &[(Flag::Deny, Some(CHANGED)); 3]].concat());
    assert_eq!((cut(told).len(), it.room.shard(it.server).connections()), (3, 0));
}

#[test]
fn a_connect_whose_dial_hangs_is_answered_401() {
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    it.dials = false;
    it.send(&connect(1));
    assert_eq!(it.shard.connections(), 1);
    it.shard.handle_mesh(Instant::from_millis(1), mesh(NO_CLIENT));
    it.pump();
    assert_eq!(it.shard.connections(), 0);
    let frames = it.frames();
    let answer = frames.iter().find(|frame| frame.kind == 1 && frame.stream == 1).expect("an answer");
    let limits = Limits { list_size: 1 << 16, fields: 100 };
    let fields =
        Decoder::new(4096).decode(&answer.payload, limits).expect("a good block").expect("a short one");
    assert_eq!(fields[0].value[..], *b"401");
    assert_eq!(closed(it.observed()), [(Flag::Deny, Some(CHANGED))]);
    assert!(it.apps().all(|(_, app)| app.closed.is_some()) && it.is_alive());
    // And one that is there already is reset as TCP would be.
    it.shard.handle_mesh(Instant::from_millis(1), mesh(OPEN));
    it.dials = true;
    it.send(&headers(3, 0, &[(":method", "CONNECT"), (":authority", "10.0.0.2:80")]));
    it.shard.handle_mesh(Instant::from_millis(1), mesh(NO_CLIENT));
    it.pump();
    let frames = it.frames();
    let reset = frames.iter().find(|frame| frame.kind == 3 && frame.stream == 3).expect("a reset");
    assert_eq!(reset.payload, ErrorCode::CONNECT_ERROR.0.to_be_bytes());
}

/// A shard with `count` plaintext connections whose dials have not ended yet.
fn crowd(count: u32) -> (Shard, Vec<SocketId>) {
    let config = config("ns", "server", "server");
    let mut shard = Shard::new(Arc::new(config), mesh(OPEN), Instant::ZERO);
    let (local, original) = (addr("10.0.0.2:15006"), addr("10.0.0.2:80"));
    let open = |n: u32| {
        let peer = SocketAddr::new([10, 8, (n >> 8) as u8, n as u8].into(), 1);
        shard
            .handle_accepted(Instant::ZERO, ProxyId::OWN, Listener::InboundPlain, peer, local, original)
            .expect("room")
    };
    let sockets = (0..count).map(open).collect();
    while shard.poll_action().is_some() {}
    (shard, sockets)
}

/// How many downstream sockets the shard closes.
fn closes(shard: &mut Shard, sockets: &[SocketId]) -> usize {
    let ours = |action: &Action| matches!(action, Action::Close { socket, .. } if sockets.contains(socket));
    std::iter::from_fn(|| shard.poll_action()).filter(ours).count()
}

#[test]
fn ten_thousand_connections_are_judged_again_a_slice_at_a_time() {
    let (mut shard, sockets) = crowd(10_000);
    let mut now = Instant::from_millis(1);
    shard.handle_mesh(now, mesh(NOT_80));
    let mut slices = vec![10_000 - shard.connections()];
    while shard.connections() > 0 {
        let before = shard.connections();
        // Other timers are seconds away.
        let at = shard.poll_timeout().expect("more to do");
        assert!(at.saturating_since(now).as_millis() == 1, "a pause in which others have their turn");
        now = at;
        shard.handle_timeout(now);
        slices.push(before - shard.connections());
    }
    assert!(slices.len() >= 10 && slices.iter().all(|&slice| slice <= 1_000), "{slices:?}");
    assert!(now.saturating_since(Instant::ZERO).as_millis() <= 100, "{now:?}");
    assert_eq!(closes(&mut shard, &sockets[..100]), 100);
}

#[test]
fn policies_that_never_rest_do_not_hide_the_last_connection() {
    // A policy on trial changes before every slice is done; everybody is judged all the same.
    let (mut shard, _) = crowd(3_000);
    let trial = |n: u32| {
        let trial =
            STRICT.replace("name: p", &format!("name: t{n}")).replace("dryRun: false", "dryRun: true");
        mesh(&format!("{NOT_80}, {trial}"))
    };
    for n in 0..6 {
        shard.handle_mesh(Instant::from_millis(1), trial(n));
    }
    assert_eq!(shard.connections(), 0);
}

#[test]
fn what_concerns_others_or_says_nothing_new_judges_nobody() {
    let (mut shard, _) = crowd(2_000);
    let elsewhere = NOT_80.replace("namespace: ns", "namespace: elsewhere");
    let due = |shard: &Shard| shard.poll_timeout().map(|at| at.saturating_since(Instant::ZERO).as_millis());
    for mesh in [mesh(OPEN), mesh(&elsewhere)] {
        shard.handle_mesh(Instant::ZERO, mesh);
        assert!(due(&shard).is_some_and(|due| due > 1), "a second slice was asked for");
    }
    shard.handle_mesh(Instant::ZERO, mesh(STRICT));
    assert_eq!(due(&shard), Some(1));
}

// interfaces §6: what `AUTHZ_POLICY_INFO_LOGGING` logs is told once per inbound connection, between its opening and its
// end, and by the destination's proxy alone.
#[test]
fn every_decision_is_told_with_what_it_rests_on() {
    let mut it = Pair::new(20, |_| {});
    it.open(40_000, "10.0.0.2:80");
    it.push(&mesh(NO_CLIENT));
    it.room.connect(it.client, addr("10.0.0.1:40001"), addr("10.0.0.2:80"), Script::send("x"));
    it.room.run(10_000);
    it.open_plain("10.7.7.7:1", "10.0.0.2:80");
    let told = |node| {
        let one = |observed: &Observed| match observed {
            Observed::Judged { connection, verdict } => Some((connection.id, verdict.to_string())),
            _ => None,
        };
        it.room.observed(node).iter().filter_map(one).collect::<Vec<_>>()
    };
    let said = ["no allow policies, allow", "deny policy match: ns/p (rule 0)", "no allow policies, allow"];
    assert_eq!(told(it.server), (1..).zip(said.map(str::to_owned)).collect::<Vec<_>>());
    assert_eq!(told(it.client), []);
}
