//! Whole shards on the simulated network: the life of connections and tunnels from capture to the access log.
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::proxy::observed::{Direction, Flag, Observed};
use adit_core::proxy::{Listener, ProxyId, ShardConfig};
use adit_testkit::sim::mesh::{add, config, parse, room};
use adit_testkit::sim::{NodeId, Room, Script, Weather};

const MESH: &str = r#"
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {}}
services: []
policies: []
"#;

const DENY: &str = r#"
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {}}
services: []
policies:
- name: no-client
  namespace: ns
  scope: Namespace
  action: Deny
  rules: [[[{principals: [{Exact: cluster.local/ns/ns/sa/client}]}]]]
  dryRun: false
"#;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

struct Pair {
    room: Room,
    client: NodeId,
    server: NodeId,
}

fn pair_with(yaml: &str, seed: u64, weather: Weather, change: impl Fn(&mut ShardConfig)) -> Pair {
    let mesh = parse(yaml);
    let mut room = room(seed, weather);
    let (mut client, mut server) = (config("ns", "client", "client"), config("ns", "server", "server"));
    change(&mut client);
    change(&mut server);
    let client = add(&mut room, client, &mesh, addr("10.0.0.1:0").ip());
    let server = add(&mut room, server, &mesh, addr("10.0.0.2:0").ip());
    room.serve(addr("10.0.0.2:80"), Script::echo());
    Pair { room, client, server }
}

fn pair(seed: u64) -> Pair {
    pair_with(MESH, seed, Weather::default(), |_| {})
}

fn closed(observed: &[Observed]) -> Vec<(Flag, Option<String>, u64, u64)> {
    observed
        .iter()
        .filter_map(|observed| match observed {
            Observed::ConnectionClosed { flag, error, bytes_sent, bytes_received, .. } => {
                Some((*flag, error.clone(), *bytes_sent, *bytes_received))
            }
            _ => None,
        })
        .collect()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn a_probe_of_capture_is_closed_without_a_word() {
    let Pair { mut room, client, .. } = pair(9);
    for probe in adit_core::proxy::probe::PROBES {
        let from = SocketAddr::new(addr("10.0.0.1:0").ip(), 40_000);
        let accepted = room.with(client, |shard, now| {
            shard.handle_accepted(now, ProxyId::OWN, Listener::Outbound, from, addr("127.0.0.1:15001"), probe)
        });
        assert_eq!(accepted, None);
    }
    room.run(1_000);
    assert!(room.observed(client).is_empty() && room.sockets(client) == 0);
}

#[test]
fn octets_go_there_and_back_through_one_tunnel_and_leave_nothing_behind() {
    // The last: long enough for reads as large as they get (datapath §3.11: past both resize thresholds).
    for (seed, chunk, len) in
        [(1, 64 << 10, 300_000), (2, 1, 3_000), (3, 100, 40_000), (4, 2_559, 200_000), (5, 1 << 20, 3 << 20)]
    {
        let weather = Weather { chunk, ..Weather::default() };
        let Pair { mut room, client, server } = pair_with(MESH, seed, weather, |_| {});
        let sent = pattern(len);
        let apps: Vec<_> = (0..3)
            .map(|i| {
                let from = SocketAddr::new(addr("10.0.0.1:0").ip(), 40_000 + i);
                room.connect(client, from, addr("10.0.0.2:80"), Script::send(sent.clone()))
            })
            .collect();
        room.run(1_000_000);
        for app in apps {
            let app = room.app(app);
            assert!(
                app.got() == sent && app.saw_fin() && !app.saw_reset(),
                "seed {seed}: {} octets",
                app.got().len()
            );
        }
        let good = vec![(Flag::None, None, len as u64, len as u64); 3];
        assert_eq!((closed(room.observed(client)), closed(room.observed(server))), (good.clone(), good));
        assert_eq!((room.shard(client).connections(), room.shard(server).connections()), (0, 0));
        assert_eq!((room.sockets(client), room.sockets(server)), (1, 1), "only the tunnel is left");
        for node in [client, server] {
            let opened =
                room.observed(node).iter().filter(|o| matches!(o, Observed::TunnelOpened { .. })).count();
            assert_eq!(opened, 1);
        }
    }
}

// datapath §3.11: 100 sources, 100 connections.
#[test]
fn each_source_address_has_a_tunnel_of_its_own() {
    let Pair { mut room, client, server } = pair(16);
    for round in 0..3 {
        for host in 0..100 {
            let from = SocketAddr::new([10, 8, 0, host].into(), 40_000 + round);
            room.connect(client, from, addr("10.0.0.2:80"), Script::send("x"));
        }
        room.run(1_000_000);
    }
    assert_eq!((room.shard(client).tunnels(), room.shard(server).tunnels()), (100, 100));
    assert_eq!(closed(room.observed(client)), vec![(Flag::None, None, 1, 1); 300]);
}

#[test]
fn identities_are_those_of_both_certificates() {
    let Pair { mut room, client, server } = pair(5);
    room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:80"), Script::send("x"));
    room.run(10_000);
    let Some(Observed::ConnectionOpened(seen)) =
        room.observed(server).iter().find(|o| matches!(o, Observed::ConnectionOpened(_)))
    else {
        panic!("the server saw no connection: {:?}", room.observed(server));
    };
    assert_eq!(seen.direction, Direction::Inbound);
    let name = |party: &adit_core::proxy::observed::Party| party.identity.as_ref().map(ToString::to_string);
    assert_eq!(name(&seen.source).as_deref(), Some("spiffe://cluster.local/ns/ns/sa/client"));
    assert_eq!(name(&seen.destination).as_deref(), Some("spiffe://cluster.local/ns/ns/sa/server"));
}

#[test]
fn a_denied_call_is_closed_and_both_sides_say_why() {
    let Pair { mut room, client, server } = pair_with(DENY, 6, Weather::default(), |_| {});
    let app = room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:80"), Script::send("secret"));
    room.run(10_000);
    assert!(room.app(app).saw_fin() || room.app(app).saw_reset());
    assert_eq!(room.apps().len(), 1, "the server application was never reached");
    let text = "connection closed due to policy rejection: explicitly denied by: ns/no-client";
    assert_eq!(closed(room.observed(server)), vec![(Flag::Deny, Some(text.into()), 0, 0)]);
    let text = "http status: 401 Unauthorized";
    assert_eq!(closed(room.observed(client)), vec![(Flag::Connect, Some(text.into()), 0, 0)]);
}

#[test]
fn an_unknown_address_is_passed_through_in_plaintext() {
    let Pair { mut room, client, .. } = pair(7);
    room.serve(addr("10.9.9.9:443"), Script::echo());
    let app =
        room.connect(client, addr("10.0.0.1:40000"), addr("10.9.9.9:443"), Script::send(pattern(700_000)));
    room.run(100_000);
    assert!(room.app(app).got() == pattern(700_000) && room.app(app).saw_fin());
    assert_eq!(room.sockets(client), 0);
}

#[test]
fn plaintext_to_a_workload_arrives_on_its_plain_port() {
    let Pair { mut room, server, .. } = pair(8);
    let app = room.connect_to(
        server,
        Listener::InboundPlain,
        addr("10.7.7.7:1"),
        addr("10.0.0.2:80"),
        Script::send("hi"),
    );
    room.run(10_000);
    assert_eq!(room.app(app).got(), b"hi");
    assert_eq!(closed(room.observed(server)), vec![(Flag::None, None, 2, 2)]);
}

#[test]
fn a_refused_application_dial_is_answered_503() {
    let Pair { mut room, client, server } = pair(9);
    let app = room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:81"), Script::send("x"));
    room.run(10_000);
    assert!(room.app(app).saw_fin() || room.app(app).saw_reset());
    assert_eq!(closed(room.observed(server))[0].1.as_deref(), Some("connection failed: connection refused"));
    assert_eq!(closed(room.observed(client))[0].1.as_deref(), Some("http status: 503 Service Unavailable"));
}

#[test]
fn a_failed_dial_reaches_every_waiter() {
    let Pair { mut room, client, server } = pair(10);
    room.kill(server);
    let apps: Vec<_> = (0..5)
        .map(|i| {
            let from = SocketAddr::new(addr("10.0.0.1:0").ip(), 40_000 + i);
            room.connect(client, from, addr("10.0.0.2:80"), Script::send("x"))
        })
        .collect();
    room.run(10_000);
    for app in apps {
        assert!(room.app(app).saw_fin() || room.app(app).saw_reset());
    }
    assert_eq!(closed(room.observed(client)).len(), 5);
}

#[test]
fn a_reset_stays_a_reset_and_a_setting_makes_it_a_fin() {
    for (as_fin, seed) in [(false, 11), (true, 12)] {
        let Pair { mut room, client, .. } =
            pair_with(MESH, seed, Weather::default(), |config| config.resets_as_fin = as_fin);
        room.serve(addr("10.0.0.2:80"), Script { reset_after: Some(3), ..Script::default() });
        let script = Script { send: b"abc".to_vec(), ..Script::default() };
        let app = room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:80"), script);
        room.run(10_000);
        assert_eq!((room.app(app).saw_reset(), room.app(app).saw_fin()), (!as_fin, as_fin));
    }
}

#[test]
fn a_dead_proxy_ends_every_connection_of_the_other() {
    for who in [0, 1] {
        let Pair { mut room, client, server } = pair(13);
        let script = Script { send: b"hello".to_vec(), ..Script::default() };
        let app = room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:80"), script);
        room.run(10_000);
        assert_eq!(room.app(app).got(), b"hello");
        let (dead, alive) = if who == 0 { (client, server) } else { (server, client) };
        room.kill(dead);
        room.run(10_000);
        assert_eq!((room.shard(alive).connections(), room.sockets(alive)), (0, 0));
        assert!(room.apps().iter().all(|app| app.saw_reset() || app.saw_fin()));
    }
}

#[test]
fn a_drain_lets_connections_end_and_then_is_complete() {
    let Pair { mut room, client, server } = pair(14);
    let script = Script { send: b"hello".to_vec(), ..Script::default() };
    let app = room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:80"), script);
    room.run(10_000);
    room.with(server, |shard, now| shard.drain(now));
    room.run(10_000);
    assert!(!room.is_drained(server) && !room.app(app).saw_fin());
    // The grace ends: what is left is cut.
    while !room.is_drained(server) {
        assert!(room.wait());
    }
    assert_eq!((room.shard(server).connections(), room.shard(server).tunnels()), (0, 0));
    assert!(closed(room.observed(server))[0].1.as_deref().is_some_and(|text| text.contains("drain")));
    // Neither application takes it for an orderly end, and the other proxy was told.
    room.run(10_000);
    assert!(room.apps().iter().all(|app| app.saw_reset() && !app.saw_fin()));
    let closed = room.observed(client).iter().find_map(|observed| match observed {
        Observed::TunnelClosed { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(closed, Some("goaway"));
}

#[test]
fn what_was_accepted_before_a_drain_is_served() {
    let Pair { mut room, client, .. } = pair(16);
    let script = Script { send: b"hello".to_vec(), finish: true, ..Script::default() };
    let app = room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:80"), script);
    // Nothing is dialled yet when the proxy is told to end: the tunnel has yet to be made.
    room.with(client, |shard, now| shard.drain(now));
    room.run(10_000);
    assert_eq!(room.app(app).got(), b"hello");
    assert!(room.app(app).saw_fin() && !room.app(app).saw_reset());
    assert!(room.is_drained(client), "and then nothing is left");
}

#[test]
fn an_idle_tunnel_is_closed_and_every_buffer_given_back() {
    let Pair { mut room, client, server } = pair(15);
    room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:80"), Script::send(pattern(100_000)));
    room.run(100_000);
    for _ in 0..10_000 {
        if room.shard(client).tunnels() == 0 && room.shard(server).tunnels() == 0 {
            break;
        }
        assert!(room.wait());
    }
    assert_eq!((room.shard(client).tunnels(), room.shard(server).tunnels()), (0, 0));
    assert_eq!((room.sockets(client), room.sockets(server)), (0, 0));
    assert_eq!((room.shard(client).buffered(), room.shard(server).buffered()), (0, 0));
}

#[test]
fn a_tunnel_keeps_the_reason_it_is_closed_for_when_the_peer_hangs_up_first() {
    let Pair { mut room, client, server } = pair(20);
    room.connect(client, addr("10.0.0.1:40000"), addr("10.0.0.2:80"), Script::send("x"));
    room.run(10_000);
    // GOAWAY and close_notify wait for the turn's end, and the reset comes first.
    room.with(client, |shard, now| shard.drain(now));
    room.kill(server);
    room.run(10_000);
    let reasons: Vec<_> = room
        .observed(client)
        .iter()
        .filter_map(|observed| match observed {
            Observed::TunnelClosed { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, ["drain"]);
}

#[test]
fn an_outbound_port_that_was_called_by_its_own_name_does_not_call_itself() {
    let Pair { mut room, client, .. } = pair(21);
    let own = addr("10.0.0.1:15001");
    let app = room.connect(client, addr("10.9.9.9:4711"), own, Script::send("x"));
    room.run(10_000);
    assert!(room.app(app).saw_reset() || room.app(app).saw_fin());
    let denied = |observed: &Observed| matches!(observed, Observed::EarlyDenied { error, .. } if error.contains("recursive"));
    assert!(room.observed(client).iter().any(denied), "{:?}", room.observed(client));
}

#[test]
fn streams_that_were_given_up_leave_the_tunnel_its_window() {
    // With resets passed on as FIN, a client that goes away in mid-download must not pin the connection window.
    let Pair { mut room, client, server } =
        pair_with(MESH, 22, Weather::default(), |config| config.resets_as_fin = true);
    room.serve(addr("10.0.0.2:80"), Script { send: pattern(6 << 20), finish: true, ..Script::default() });
    for port in 0..8 {
        let script = Script { reset_after: Some(1000), ..Script::default() };
        room.connect(
            client,
            SocketAddr::new(addr("10.0.0.1:0").ip(), 41_000 + port),
            addr("10.0.0.2:80"),
            script,
        );
        room.run(1_000_000);
    }
    let app = room.connect(client, addr("10.0.0.1:42000"), addr("10.0.0.2:80"), Script::default());
    room.run(1_000_000);
    assert_eq!(room.app(app).got().len(), 6 << 20);
    let _ = server;
}

/// `slow` clients that read nothing of a long answer fill what they can of their tunnel; then others come.
fn slow_readers_stop_nobody_else(slow: u16) {
    const ANSWER: usize = 1 << 20;
    // An eighth of the usual windows, in the usual proportions.
    let windows = |config: &mut ShardConfig| {
        for tunnel in [&mut config.client, &mut config.server] {
            let http2 = &mut Arc::make_mut(tunnel).http2;
            (http2.initial_window, http2.connection_window) = (512 << 10, 2 << 20);
        }
    };
    let weather = Weather { capacity: 32 << 10, ..Weather::default() };
    let Pair { mut room, client, .. } = pair_with(MESH, slow.into(), weather, windows);
    let from = |port| SocketAddr::new(addr("10.0.0.1:0").ip(), port);
    let (echo, answer) = (addr("10.0.0.2:80"), addr("10.0.0.2:81"));
    let holding = Script { hold: true, ..Script::default() };
    room.serve(answer, Script { send: pattern(ANSWER), ..Script::default() });
    let held: Vec<_> =
        (0..slow).map(|n| room.connect(client, from(40_000 + n), answer, holding.clone())).collect();
    room.run(1_000_000);

    // One octet there and back, a short message, and many times what is kept for each stream.
    for (port, len) in (50_000..).zip([1, 4_000, 100_000]) {
        let sent = pattern(len);
        let app = room.connect(client, from(port), echo, Script::send(sent.clone()));
        room.run(1_000_000);
        let app = room.app(app);
        assert!(app.got() == sent && app.saw_fin(), "{slow} slow: {} of {len} octets", app.got().len());
    }
    // Newcomers that are slow as well leave room for the next.
    for port in 51_000..51_030 {
        room.connect(client, from(port), answer, holding.clone());
    }
    room.run(1_000_000);
    let last = room.connect(client, from(52_000), echo, Script::send(pattern(4_000)));
    room.run(1_000_000);
    assert!(room.app(last).got() == pattern(4_000), "{slow} slow, and 30 more");
    assert_eq!(room.shard(client).tunnels(), 1);

    // Nothing was lost on the way.
    for app in held.into_iter().take(2) {
        room.release(app);
        room.run(1_000_000);
        assert!(room.app(app).got() == pattern(ANSWER), "{} octets", room.app(app).got().len());
    }
}

#[test]
fn a_few_slow_readers_stop_nobody_else() {
    slow_readers_stop_nobody_else(5);
}

#[test]
fn many_slow_readers_stop_nobody_else() {
    slow_readers_stop_nobody_else(30);
}
