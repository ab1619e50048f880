//! Connections that wait for an answer from the outside: for the addresses of a name, or for what the tables lack. Each is
//! answered or ended exactly once, and nothing waits in vain.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::{NameError, NameScope};
use adit_core::http2::ErrorCode;
use adit_core::mesh::Mesh;
use adit_core::proxy::observed::Observed;
use adit_core::proxy::{Action, Listener, Shard, ShardConfig, SocketError, SocketId, Ticket, Unanswered};
use adit_core::time::Instant;
use adit_testkit::sim::mesh::{add, config, parse, room};
use adit_testkit::sim::{Script, Weather};
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::*;
use proptest::prelude::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A client at 10.0.0.1; behind the service at 10.1.0.1 a plain workload, behind that at 10.1.0.2 one in the mesh, both
/// with names and without addresses.
const NAMED: &str = "
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: o, name: out, namespace: ns, serviceAccount: out, hostname: out.example, workloadIps: [], services: {ns/out.example: {'80': 8080}}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, hostname: server.example, workloadIps: [], protocol: HBONE, services: {ns/in.example: {'80': 8080}}}
services:
- {name: out, namespace: ns, hostname: out.example, vips: [/10.1.0.1], ports: {'80': 8080}}
- {name: in, namespace: ns, hostname: in.example, vips: [/10.1.0.2], ports: {'80': 8080}}
policies: []
";

/// Only the client.
const ALONE: &str = "
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
services: []
policies: []
";

const START: Instant = Instant::from_millis(1);

fn shard(mesh: &str, change: impl FnOnce(&mut ShardConfig)) -> Shard {
    let mut config = config("ns", "client", "client");
    change(&mut config);
    Shard::new(Arc::new(config), parse(mesh), START)
}

fn on_demand(config: &mut ShardConfig) {
    config.on_demand = true;
}

/// A captured connection of the client's port `port` to `target`.
fn capture(shard: &mut Shard, port: u16, target: &str) -> Option<SocketId> {
    let target = addr(target);
    shard.handle_accepted(START, Listener::Outbound, SocketAddr::new(ip("10.0.0.1"), port), target, target)
}

fn actions(shard: &mut Shard) -> Vec<Action> {
    std::iter::from_fn(|| shard.poll_action()).collect()
}

fn dials(actions: &[Action]) -> Vec<String> {
    let dial = |action: &Action| match action {
        Action::Dial { to, .. } => Some(to.to_string()),
        _ => None,
    };
    actions.iter().filter_map(dial).collect()
}

/// What a shard asks for: tickets, and names or keys.
fn questions(shard: &mut Shard) -> Vec<(Ticket, String)> {
    let question = |action| match action {
        Action::Resolve { ticket, name, .. } => Some((ticket, name.to_string())),
        Action::Demand { ticket, key } => Some((ticket, key.to_string())),
        _ => None,
    };
    actions(shard).into_iter().filter_map(question).collect()
}

fn observed(shard: &mut Shard) -> Vec<Observed> {
    std::iter::from_fn(|| shard.poll_observed()).collect()
}

fn errors(shard: &mut Shard) -> Vec<String> {
    let error = |observed| match observed {
        Observed::ConnectionClosed { error: Some(error), .. } | Observed::EarlyDenied { error, .. } => {
            Some(error)
        }
        _ => None,
    };
    observed(shard).into_iter().filter_map(error).collect()
}

// ---- names

#[test]
fn a_named_workload_is_dialled_at_an_address_of_the_clients_family() {
    let mut shard = shard(NAMED, |_| {});
    capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    let asked = actions(&mut shard);
    let [Action::Resolve { ticket, name, scope: NameScope::Outside }] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(&**name, "out.example");
    assert!(observed(&mut shard).is_empty(), "where it goes is not known yet");
    shard.handle_resolved(START, *ticket, Ok(vec![ip("fd00::7"), ip("10.7.7.7")]));
    assert_eq!(dials(&actions(&mut shard)), ["10.7.7.7:8080"]);
    let told = observed(&mut shard);
    let [Observed::ConnectionOpened(opened), Observed::Resolved { connection, hostname }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((opened.destination.address, &**hostname), (Some(addr("10.7.7.7:8080")), "out.example"));
    assert!(Arc::ptr_eq(opened, connection));
    // Another family where there is no other.
    capture(&mut shard, 2, "10.1.0.1:80").expect("accepted");
    let [(ticket, _)] = questions(&mut shard)[..] else { panic!("asked anew: a shard remembers no answer") };
    shard.handle_resolved(START, ticket, Ok(vec![ip("fd00::7")]));
    assert_eq!(dials(&actions(&mut shard)), ["[fd00::7]:8080"]);
}

#[test]
fn those_who_need_the_same_name_share_a_question_and_its_failure() {
    let mut shard = shard(NAMED, |_| {});
    for port in 1..=3 {
        capture(&mut shard, port, "10.1.0.1:80").expect("accepted");
    }
    let asked = questions(&mut shard);
    assert_eq!(asked.len(), 1);
    shard.handle_resolved(START, asked[0].0, Err(NameError::NotFound));
    assert_eq!(
        errors(&mut shard),
        ["no ip addresses were resolved for workload: o (no such name (NXDOMAIN))"; 3]
    );
    assert_eq!(shard.connections(), 0);
    // The same answer again, or another, is late.
    shard.handle_resolved(START, asked[0].0, Ok(vec![ip("10.7.7.7")]));
    assert_eq!(dials(&actions(&mut shard)), [] as [&str; 0]);
    capture(&mut shard, 4, "10.1.0.1:80").expect("accepted");
    let again = questions(&mut shard)[0].0;
    assert_ne!(again, asked[0].0);
    shard.handle_resolved(START, again, Ok(vec![]));
    assert!(errors(&mut shard)[0].ends_with("(the name has no A or AAAA record)"));
}

#[test]
fn a_client_that_goes_waits_no_longer() {
    let mut shard = shard(NAMED, |_| {});
    let socket = capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    let ticket = questions(&mut shard)[0].0;
    shard.handle_error(START, socket, SocketError::Reset);
    assert_eq!(
        (shard.connections(), errors(&mut shard)),
        (0, vec!["io error: connection reset by peer".into()])
    );
    shard.handle_resolved(START, ticket, Ok(vec![ip("10.7.7.7")]));
    assert_eq!(dials(&actions(&mut shard)), [] as [&str; 0]);
}

#[test]
fn a_name_is_waited_for_until_its_deadline() {
    let mut shard = shard(NAMED, |config| config.resolve_timeout = Duration::from_secs(3));
    capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    let ticket = questions(&mut shard)[0].0;
    shard.handle_timeout(START + Duration::from_millis(2_999));
    assert_eq!(shard.connections(), 1);
    assert!(shard.poll_timeout().is_some_and(|at| at <= START + Duration::from_secs(3)));
    shard.handle_timeout(START + Duration::from_secs(3));
    assert_eq!(shard.connections(), 0);
    assert!(errors(&mut shard)[0].contains("no answer in time"));
    shard.handle_resolved(START, ticket, Ok(vec![ip("10.7.7.7")]));
    assert_eq!(dials(&actions(&mut shard)), [] as [&str; 0]);
}

#[test]
fn questions_are_bounded() {
    let mut shard = shard(NAMED, |config| config.max_questions = 1);
    capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    assert!(capture(&mut shard, 2, "10.1.0.2:80").is_none());
    assert!(errors(&mut shard)[0].contains("too many names"));
    assert_eq!((shard.connections(), questions(&mut shard).len()), (1, 1));
}

#[test]
fn a_named_workload_of_the_mesh_is_reached_through_a_tunnel() {
    let mut room = room(5, Weather::default());
    let mesh = parse(NAMED);
    let client = add(&mut room, config("ns", "client", "client"), &mesh, ip("10.0.0.1"));
    add(&mut room, config("ns", "server", "server"), &mesh, ip("10.0.0.2"));
    room.name("server.example", &[ip("10.0.0.2")]);
    room.serve(addr("10.0.0.2:8080"), Script::echo());
    let app = room.connect(client, addr("10.0.0.1:40000"), addr("10.1.0.2:80"), Script::send("hello"));
    room.run(100_000);
    assert_eq!(room.app(app).got(), b"hello");
    assert_eq!(room.asked(), ["server.example"]);
}

// ---- SOCKS5 with a name

/// A SOCKS5 client that asks for `name` on port 80.
fn socks(shard: &mut Shard, from: &str, name: &str) -> SocketId {
    let (from, to) = (addr(from), addr("10.0.0.1:15080"));
    let socket = shard.handle_accepted(START, Listener::Socks5, from, to, to).expect("accepted");
    let length = u8::try_from(name.len()).expect("short");
    let hello = [&[5, 1, 0, 5, 1, 0, 3, length][..], name.as_bytes(), &[0, 80]].concat();
    let mut rest = &hello[..];
    while !rest.is_empty() {
        let mut lent = shard.lend(socket).expect("the handshake is read");
        let area = lent.iter_mut().next().expect("an area");
        let n = area.len().min(rest.len());
        area[..n].copy_from_slice(&rest[..n]);
        rest = &rest[n..];
        shard.handle_read(START, socket, n);
        assert!(n > 0, "the handshake is not over");
    }
    socket
}

/// What a shard writes to its sockets.
fn written(shard: &mut Shard) -> Vec<u8> {
    let mut octets = vec![];
    while let Some(socket) = shard.poll_urgent() {
        let wire: Vec<u8> = shard.wire(socket).flatten().copied().collect();
        shard.handle_written(START, socket, wire.len());
        octets.extend(wire);
    }
    octets
}

const CHOSEN: &[u8] = &[5, 0];
const SUCCESS: &[u8] = &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

#[test]
fn a_socks_client_may_name_its_target() {
    for (from, dialled) in [("10.0.0.1:1", "10.7.7.7:80"), ("[fd00::1]:1", "[fd00::7]:80")] {
        let mut shard = shard(ALONE, |_| {});
        let socket = socks(&mut shard, from, "Web.Example");
        let asked = actions(&mut shard);
        let resolve = asked.iter().find_map(|action| match action {
            Action::Resolve { ticket, name, scope } => Some((*ticket, name.to_string(), *scope)),
            _ => None,
        });
        let (ticket, name, scope) = resolve.expect("asked");
        assert_eq!((name.as_str(), scope), ("web.example", NameScope::Workload));
        assert_eq!(written(&mut shard), CHOSEN, "no success before there is an address");
        assert!(shard.lend(socket).is_none(), "what follows waits for its target");
        shard.handle_resolved(START, ticket, Ok(vec![ip("fd00::7"), ip("10.7.7.7")]));
        assert_eq!(written(&mut shard), SUCCESS);
        assert_eq!(dials(&actions(&mut shard)), [dialled]);
    }
}

#[test]
fn a_socks_client_is_told_that_there_is_no_such_host() {
    for (error, code) in [(NameError::NotFound, 4), (NameError::NoResolver, 8)] {
        let mut shard = shard(ALONE, |_| {});
        socks(&mut shard, "10.0.0.1:1", "web.example");
        let ticket = questions(&mut shard)[0].0;
        written(&mut shard);
        shard.handle_resolved(START, ticket, Err(error));
        assert_eq!(written(&mut shard)[..2], [5, code]);
        assert_eq!(errors(&mut shard), [format!("socks: web.example cannot be resolved: {error}")]);
        assert_eq!(shard.connections(), 0, "it ends when the refusal is written");
    }
    // Nobody answers.
    let mut shard = shard(ALONE, |_| {});
    socks(&mut shard, "10.0.0.1:1", "web.example");
    written(&mut shard);
    shard.handle_timeout(START + Duration::from_secs(10));
    assert_eq!((written(&mut shard)[..2] == [5, 4], shard.connections()), (true, 0));
}

// ---- what the tables lack

/// [`ALONE`], and a plain workload at 10.0.0.5.
fn found() -> Arc<Mesh> {
    let workload = "workloads:
- {uid: p, name: pod, namespace: ns, serviceAccount: pod, workloadIps: [10.0.0.5], services: {}}";
    parse(&ALONE.replace("workloads:", workload))
}

#[test]
fn nothing_is_asked_for_unless_discovery_is_on_demand() {
    let mut shard = shard(ALONE, |_| {});
    capture(&mut shard, 1, "10.0.0.5:80").expect("accepted");
    assert_eq!(dials(&actions(&mut shard)), ["10.0.0.5:80"]);
}

#[test]
fn an_unknown_target_is_asked_for_once_and_decided_then() {
    let mut shard = shard(ALONE, on_demand);
    for port in 1..=3 {
        capture(&mut shard, port, "10.0.0.5:80").expect("accepted");
    }
    capture(&mut shard, 4, "10.0.0.6:80").expect("accepted");
    let asked = questions(&mut shard);
    let [(five, ref key), (six, ref other)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!((key.as_str(), other.as_str()), ("/10.0.0.5", "/10.0.0.6"));
    // Not there: it is passed through, and nothing is asked again.
    shard.handle_demanded(START, six, Ok(()));
    assert_eq!(dials(&actions(&mut shard)), ["10.0.0.6:80"]);
    // There: who waits need not wait for the answer when the tables have come, and the answer is late then.
    shard.handle_mesh(START, found());
    assert_eq!(dials(&actions(&mut shard)).len(), 3);
    let names: Vec<_> = observed(&mut shard)
        .into_iter()
        .filter_map(|observed| match observed {
            Observed::ConnectionOpened(opened) => Some(opened.destination.workload.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(names, [None, Some("pod".into()), Some("pod".into()), Some("pod".into())]);
    shard.handle_demanded(START, five, Ok(()));
    assert_eq!((actions(&mut shard), shard.connections()), (vec![], 4));
}

#[test]
fn what_nobody_speaks_for_is_not_sent_in_plaintext() {
    let cases = [
        Some(Unanswered::NoSource),
        Some(Unanswered::Rejected),
        Some(Unanswered::Refused("no".into())),
        None,
    ];
    for answer in cases {
        let mut shard = shard(ALONE, on_demand);
        capture(&mut shard, 1, "10.0.0.5:80").expect("accepted");
        let ticket = questions(&mut shard)[0].0;
        match &answer {
            Some(error) => shard.handle_demanded(START, ticket, Err(error.clone())),
            None => {
                shard.handle_timeout(START + Duration::from_millis(4_999));
                assert_eq!(shard.connections(), 1);
                shard.handle_timeout(START + Duration::from_secs(5));
            }
        }
        let error = answer.unwrap_or(Unanswered::TimedOut(Duration::from_secs(5)));
        assert_eq!(errors(&mut shard), [error.to_string()]);
        let left = actions(&mut shard);
        assert!(matches!(left[..], [Action::Close { .. }]), "{left:?}");
    }
    // Nor when too many are asked for.
    let mut shard = shard(ALONE, |config| (config.on_demand, config.max_questions) = (true, 1));
    capture(&mut shard, 1, "10.0.0.5:80").expect("accepted");
    assert!(capture(&mut shard, 2, "10.0.0.6:80").is_none());
    assert_eq!(errors(&mut shard), [Unanswered::Full.to_string()]);
}

#[test]
fn a_chain_is_followed_and_each_link_asked_for_once() {
    let mut shard = shard(ALONE, on_demand);
    capture(&mut shard, 1, "10.0.0.5:80").expect("accepted");
    let behind = |more: &str| {
        parse(&ALONE.replace(
            "workloads:",
            &format!(
                "workloads:
- {{uid: p, name: pod, namespace: ns, serviceAccount: pod, workloadIps: [10.0.0.5], services: {{}}, protocol: HBONE, waypoint: {{destination: /10.0.0.9, hboneMtlsPort: 15008}}}}{more}"
            ),
        ))
    };
    let (ticket, _) = questions(&mut shard)[0];
    shard.handle_mesh(START, behind(""));
    shard.handle_demanded(START, ticket, Ok(()));
    let asked = questions(&mut shard);
    let [(ticket, ref key)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(key, "/10.0.0.9");
    // The tables change meanwhile, and say nothing about it.
    shard.handle_mesh(START, behind(""));
    assert!(questions(&mut shard).is_empty());
    shard.handle_demanded(START, ticket, Ok(()));
    assert!(questions(&mut shard).is_empty(), "a key is asked for once by a connection");
    let error = errors(&mut shard).concat();
    assert!(error.starts_with("unknown waypoint: waypoint ") && !error.contains("control plane"), "{error}");
    // Unanswered, the text says so too.
    capture(&mut shard, 2, "10.0.0.5:80").expect("accepted");
    let ticket = questions(&mut shard)[0].0;
    shard.handle_demanded(START, ticket, Err(Unanswered::GivenUp));
    let error = errors(&mut shard).concat();
    assert!(error.starts_with("unknown waypoint: ") && error.contains("gave the question up"), "{error}");
}

#[test]
fn an_inbound_plaintext_client_is_looked_up_for_the_log() {
    for answered in [true, false] {
        let mut shard = shard(ALONE, on_demand);
        let (from, to) = (addr("10.0.0.5:1"), addr("10.0.0.1:80"));
        shard.handle_accepted(START, Listener::InboundPlain, from, to, to).expect("accepted");
        let (ticket, key) = questions(&mut shard).remove(0);
        assert_eq!(key, "/10.0.0.5");
        if answered {
            shard.handle_mesh(START, found());
        } else {
            shard.handle_demanded(START, ticket, Err(Unanswered::GivenUp));
        }
        assert_eq!(dials(&actions(&mut shard)), ["10.0.0.1:80"], "with or without a name");
        let told = observed(&mut shard);
        let [Observed::ConnectionOpened(opened)] = &told[..] else { panic!("{told:?}") };
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
    let denial = |observed| match observed {
        &Observed::EarlyDenied { ref error, .. } => Some(error.as_str()),
        _ => None,
    };
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
    assert!(it.shard.handle_accepted(now, Listener::Outbound, addr("10.0.0.2:1"), target, target).is_some());
    it.pump();
    assert_eq!(keys(&it)[2], "/10.9.9.9");
}

#[test]
fn a_drain_ends_who_waits_when_its_grace_is_over() {
    let mut shard = shard(NAMED, on_demand);
    capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    capture(&mut shard, 2, "10.0.0.5:80").expect("accepted");
    shard.drain(START);
    assert_eq!(shard.connections(), 2, "they may still be answered");
    shard.terminate(START);
    assert_eq!(shard.connections(), 0);
    assert_eq!(errors(&mut shard), ["connection closed due to connection drain"; 2]);
    assert!(actions(&mut shard).contains(&Action::Drained));
}

proptest! {
    /// However answers, tables, clients' ends and time come: whoever was taken is dialled or ended exactly once, and in the
    /// end nobody waits.
    #[test]
    fn everybody_is_dialled_or_ended_once(
        calls in prop::collection::vec((0..8_u8, 0..6_u16, any::<bool>()), 1..80),
        most in 1..4_usize,
    ) {
        let mut shard = shard(NAMED, |config| (config.on_demand, config.max_questions) = (true, most));
        let (mut now, mut taken, mut refused, mut port) = (START, 0, 0, 0);
        let (mut tickets, mut sockets) = (Vec::new(), Vec::new());
        let (mut dialled, mut gone) = (0, 0);
        let count = |shard: &mut Shard, tickets: &mut Vec<_>, dialled: &mut usize| {
            for action in actions(shard) {
                match action {
                    Action::Resolve { ticket, .. } => tickets.push((ticket, true)),
                    Action::Demand { ticket, .. } => tickets.push((ticket, false)),
                    Action::Dial { .. } => *dialled += 1,
                    _ => {}
                }
            }
        };
        for (kind, which, yes) in calls {
            let target = ["10.1.0.1:80", "10.0.0.5:80", "10.0.0.6:80", "10.0.0.7:80", "10.0.0.8:80", "10.0.0.9:80"];
            match kind {
                0..=3 => {
                    port += 1;
                    taken += 1;
                    match capture(&mut shard, port, target[usize::from(which)]) {
                        Some(socket) => sockets.push(socket),
                        None => refused += 1,
                    }
                }
                4 if !tickets.is_empty() => {
                    let (ticket, name) = tickets[usize::from(which) % tickets.len()];
                    let ends = if yes { Ok(vec![ip("10.7.7.7")]) } else { Err(NameError::NotFound) };
                    if name {
                        shard.handle_resolved(now, ticket, ends);
                    } else {
                        shard.handle_demanded(now, ticket, if yes { Ok(()) } else { Err(Unanswered::GivenUp) });
                    }
                }
                5 if !sockets.is_empty() => {
                    let socket = sockets.swap_remove(usize::from(which) % sockets.len());
                    shard.handle_error(now, socket, SocketError::Reset);
                }
                6 => {
                    now = now + Duration::from_secs(u64::from(which));
                    shard.handle_timeout(now);
                }
                7 if yes => shard.handle_mesh(now, found()),
                _ => {}
            }
            count(&mut shard, &mut tickets, &mut dialled);
        }
        now = now + Duration::from_secs(10);
        shard.handle_timeout(now);
        count(&mut shard, &mut tickets, &mut dialled);
        // Dials have a deadline of their own.
        shard.handle_timeout(now + Duration::from_secs(10));
        for observed in observed(&mut shard) {
            match observed {
                Observed::ConnectionClosed { .. } | Observed::EarlyDenied { .. } => gone += 1,
                _ => {}
            }
        }
        prop_assert_eq!(gone, taken, "each has one end");
        prop_assert!(dialled + refused <= taken);
        prop_assert_eq!(shard.connections(), 0);
    }
}
