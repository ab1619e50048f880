//! A shard that is a waypoint's: streams that end in its process, connections that begin there, and its drain, step by step.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::http2::ErrorCode;
use adit_core::mesh::Mesh;
use adit_core::proxy::shard::ShardConfig;
use adit_core::route::{Fronted, Towards};
use adit_testkit::sim::mesh::parse;
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::{END_HEADERS, END_STREAM, data, goaway, headers};

/// `server` is the waypoint of service `web` and of workload `pod`; `plain` has no proxy, `other` another waypoint.
fn mesh() -> Arc<Mesh> {
    parse(
        "
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {}}
- {uid: p, name: pod, namespace: ns, serviceAccount: pod, workloadIps: [10.0.0.3], protocol: HBONE,
   waypoint: {destination: /10.0.0.2, hboneMtlsPort: 15008}, services: {ns/web.ns.svc: {80: 8080}}}
- {uid: n, name: plain, namespace: ns, serviceAccount: plain, workloadIps: [10.0.0.4], protocol: TCP,
   services: {ns/web.ns.svc: {80: 8080}}}
services:
- {name: web, namespace: ns, hostname: web.ns.svc, vips: [/10.1.0.1], ports: {80: 8080},
   waypoint: {destination: /10.0.0.2, hboneMtlsPort: 15008}}
- {name: other, namespace: ns, hostname: other.ns.svc, vips: [/10.1.0.2], ports: {80: 8080},
   waypoint: {destination: /10.0.0.9, hboneMtlsPort: 15008}}
policies: []
",
    )
}

fn waypoint(change: impl Fn(&mut ShardConfig)) -> Intruder {
    let mut it = Intruder::client(|config| {
        config.waypoint = true;
        change(config);
    });
    it.hello(&[]);
    let now = it.now();
    it.shard.handle_mesh(now, mesh());
    it.pump();
    it
}

fn connect(it: &mut Intruder, stream: u32, authority: &str) {
    it.send(&headers(stream, END_HEADERS, &[(":method", "CONNECT"), (":authority", authority)]));
}

/// The status of the answer on `stream`, if there is one, as HPACK's static table or a literal has it.
fn answered(it: &Intruder, stream: u32) -> bool {
    it.frames().iter().any(|frame| frame.kind == 1 && frame.stream == stream)
}

fn towards(uid: &str, port: u16) -> Towards {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    Towards {
        workload: uid.into(),
        port,
        service: None,
        target: at("10.1.0.1:80"),
        client: at("10.0.0.1:999"),
    }
}

#[test]
fn streams_for_what_is_behind_it_end_in_the_process_and_no_others() {
    let mut it = waypoint(|_| {});
    for (stream, authority) in [
        (1, "10.1.0.1:80"),
        (3, "web.ns.svc:80"),
        (5, "10.0.0.3:9000"),
        (7, "10.1.0.2:80"),
        (9, "10.0.0.4:80"),
        (11, "127.0.0.1:15000"),
    ] {
        connect(&mut it, stream, authority);
        assert!(answered(&it, stream), "{authority}");
    }
    let targets: Vec<_> = it
        .delivered
        .iter()
        .map(|(_, delivered)| match &delivered.plan.target {
            Fronted::Service(service) => (service.object_name.to_string(), delivered.plan.port),
            Fronted::Workload(workload) => (workload.name.to_string(), delivered.plan.port),
        })
        .collect();
    assert_eq!(targets, [("web".to_owned(), 80), ("web".to_owned(), 80), ("pod".to_owned(), 9000)]);
    let (_, first) = &it.delivered[0];
    assert_eq!(
        (first.peer.service_account(), first.source.ip().to_string()),
        ("client", "10.0.0.1".to_owned())
    );
    assert_eq!(it.shard.connections(), 3, "what was refused has left nothing");
}

#[test]
fn octets_go_both_ways_and_ends_are_told() {
    let mut it = waypoint(|_| {});
    connect(&mut it, 1, "10.1.0.1:80");
    let (socket, _) = it.delivered[0];
    it.send(&data(1, 0, b"question"));
    assert_eq!(it.apps().find(|(id, _)| *id == socket).unwrap().1.got, b"question");
    assert_eq!(it.app_sends(socket, b"answer"), 6);
    assert!(
        it.frames().iter().any(|frame| frame.kind == 0 && frame.stream == 1 && frame.payload == b"answer")
    );
    it.send(&data(1, END_STREAM, b""));
    assert!(it.apps().find(|(id, _)| *id == socket).unwrap().1.fin);
}

#[test]
fn a_process_that_takes_no_more_refuses_the_stream() {
    let mut it = waypoint(|_| {});
    it.dials = false;
    connect(&mut it, 1, "10.1.0.1:80");
    assert!(answered(&it, 1));
    assert_eq!(it.shard.connections(), 0);
}

#[test]
fn a_connection_that_the_process_asks_for_is_told_of_once_it_is_open_or_cannot_be() {
    let mut it = waypoint(|_| {});
    let now = it.now();
    // To somebody without a proxy: a dial, which succeeds.
    let open = it.shard.handle_connect(now, &towards("n", 8080)).unwrap();
    it.pump();
    assert_eq!(it.opened, [(open, Ok(()))]);
    // To somebody unknown.
    let unknown = it.shard.handle_connect(now, &towards("nobody", 80)).unwrap();
    it.pump();
    let (socket, failed) = it.opened.pop().unwrap();
    assert!(socket == unknown && failed.unwrap_err().text.contains("nobody"));
    // To somebody who does not answer in time.
    it.dials = false;
    let late = it.shard.handle_connect(now, &towards("n", 8080)).unwrap();
    it.pump();
    assert_eq!(it.opened.len(), 1, "nothing is known of it yet");
    it.pass(Duration::from_secs(11));
    let (socket, failed) = it.opened.pop().unwrap();
    assert!(socket == late && failed.unwrap_err().text.contains("timed out"));
}

#[test]
fn while_it_drains_open_streams_still_get_connections() {
    let mut it = waypoint(|config| config.drain_grace = Duration::from_secs(60));
    connect(&mut it, 1, "10.1.0.1:80");
    let now = it.now();
    it.shard.drain(now);
    it.pump();
    let open = it.shard.handle_connect(now, &towards("n", 8080)).unwrap();
    it.pump();
    assert_eq!(it.opened, [(open, Ok(()))], "a request that has come is served");
    // By a tunnel as well: the pool has not taken leave yet.
    assert!(it.shard.handle_connect(now, &towards("p", 9000)).is_some());
    it.pump();
    assert_eq!(it.opened.len(), 1, "it waits for its tunnel: {:?}", it.opened);
}

#[test]
fn whoever_keeps_a_connection_hears_that_the_other_proxy_takes_leave() {
    for waypoint in [true, false] {
        let mut it = Intruder::server(|config| config.waypoint = waypoint);
        it.hello(&[(3, 100)]);
        it.send(&headers(1, END_HEADERS, &[(":status", "200")]));
        let (socket, _) = it.apps().next().unwrap();
        assert_eq!(it.leaving, []);
        it.send(&goaway(1, ErrorCode::NO_ERROR));
        // A node proxy keeps nothing: its connections are its applications'.
        assert_eq!(it.leaving, if waypoint { vec![socket] } else { Vec::new() });
        it.send(&data(1, 0, b"still under way"));
        assert_eq!(it.apps().next().unwrap().1.got, b"still under way");
    }
}
