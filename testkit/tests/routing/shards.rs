//! Whole shards: a captured waypoint whose application is told who calls, and names that nobody resolves yet.
use std::net::SocketAddr;
use std::time::Duration;

use adit_core::proxy::SocketId;
use adit_core::proxy::observed::Observed;
use adit_core::proxy::proxy_protocol::SIGNATURE;
use adit_testkit::sim::mesh::{add, config, parse, room};
use adit_testkit::sim::{NodeId, Room, Script, Weather};
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::{END_STREAM, connect, data};

const MESH: &str = r#"
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE,
   services: {ns/web: {}}}
- {uid: w, name: waypoint, namespace: ns, serviceAccount: waypoint, workloadIps: [10.0.0.100], protocol: HBONE,
   services: {ns/waypoint: {}}, applicationTunnel: {protocol: PROXY, port: 15088}}
- {uid: n, name: named, namespace: ns, workloadIps: [], hostname: named.example, services: {ns/named: {}}}
services:
- {name: web, namespace: ns, hostname: web, vips: [/10.1.0.1], ports: {80: 8080},
   waypoint: {destination: ns/waypoint, hboneMtlsPort: 15008}}
- {name: waypoint, namespace: ns, hostname: waypoint, vips: [], ports: {15008: 15008}}
- {name: named, namespace: ns, hostname: named, vips: [/10.1.0.3], ports: {80: 80}}
policies: []
"#;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The proxies of `client` and `waypoint`; the waypoint's application listens where `serve` says.
fn world(serve: Option<&str>, weather: Weather) -> (Room, NodeId, NodeId) {
    let mesh = parse(MESH);
    let mut room = room(11, weather);
    let client = add(&mut room, config("ns", "client", "client"), &mesh, addr("10.0.0.1:0").ip());
    let waypoint = add(&mut room, config("ns", "waypoint", "waypoint"), &mesh, addr("10.0.0.100:0").ip());
    if let Some(address) = serve {
        room.serve(addr(address), Script::echo());
    }
    (room, client, waypoint)
}

fn call(room: &mut Room, node: NodeId, target: &str, octets: &[u8]) -> Vec<u8> {
    let app = room.connect(node, addr("10.0.0.1:40000"), addr(target), Script::send(octets));
    room.run(1_000_000);
    assert_eq!(room.shard(node).connections(), 0, "the connection is still there");
    room.app(app).got().to_vec()
}

fn errors(room: &Room, node: NodeId) -> Vec<&str> {
    room.observed(node)
        .iter()
        .filter_map(|observed| match observed {
            Observed::ConnectionClosed { error: Some(error), .. } | Observed::EarlyDenied { error, .. } => {
                Some(error.as_str())
            }
            _ => None,
        })
        .collect()
}

/// Who the waypoint's proxy saw.
fn peer(room: &Room, node: NodeId) -> SocketAddr {
    let opened = room.observed(node).iter().find_map(|observed| match observed {
        Observed::ConnectionOpened(connection) => connection.source.address,
        _ => None,
    });
    opened.expect("a connection")
}

/// What the header says behind its first 16 octets: from `peer` to 10.1.0.1:80, and the client's identity.
fn told(peer: SocketAddr) -> Vec<u8> {
    let std::net::IpAddr::V4(ip) = peer.ip() else { panic!("{peer}") };
    let identity = b"spiffe://cluster.local/ns/ns/sa/client";
    let addresses = [ip.octets(), [10, 1, 0, 1]].concat();
    let ports = [peer.port().to_be_bytes(), 80u16.to_be_bytes()].concat();
    [&addresses, &ports, &[0xd0, 0, identity.len() as u8][..], identity].concat()
}

#[test]
fn an_application_is_told_who_calls_before_the_first_octet() {
    // One octet at a time too, through sockets that block in the middle of the header.
    for (chunk, capacity) in [(64 << 10, 64 << 10), (1, 64 << 10), (1, 16)] {
        let octets = b"hello waypoint";
        let weather = Weather { chunk, capacity };
        let (mut room, client, waypoint) = world(Some("127.0.0.1:15088"), weather);
        let echoed = call(&mut room, client, "10.1.0.1:80", octets);
        assert!(errors(&room, client).is_empty() && errors(&room, waypoint).is_empty());
        let got = room.apps().last().expect("the application").got();
        assert_eq!(got, echoed, "it echoes what it was sent, header and all");
        assert_eq!((&got[..12], &got[12..14]), (&SIGNATURE[..], &[0x21, 0x11][..]));
        let length = usize::from(u16::from_be_bytes([got[14], got[15]]));
        let (header, rest) = got[16..].split_at(length);
        assert_eq!(header, told(peer(&room, waypoint)));
        assert_eq!(rest, octets);
        // The header is not the user's: it is not counted.
        let sent = room.observed(waypoint).iter().find_map(|observed| match observed {
            Observed::ConnectionClosed { bytes_sent, bytes_received, .. } => {
                Some((*bytes_sent, *bytes_received))
            }
            _ => None,
        });
        let (echo, octets) = (echoed.len() as u64, octets.len() as u64);
        assert!(sent == Some((echo, octets)) || sent == Some((octets, echo)), "{sent:?}");
    }
}

const PROXIED: &str = r#"
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {},
   applicationTunnel: {protocol: PROXY}}
services: []
policies: []
"#;

/// A client of a workload that takes PROXY headers but does not read yet. It does not wait for 200 either.
fn eager(sends: &[u8]) -> (Intruder, SocketId) {
    let mut it = Intruder::client(|_| {});
    let now = it.now();
    it.shard.handle_mesh(now, parse(PROXIED));
    it.hello(&[]);
    it.apps_read = false;
    it.send(&[connect(1), data(1, END_STREAM, sends)].concat());
    let socket = it.apps().next().expect("the application").0;
    (it, socket)
}

fn answers(it: &Intruder) -> usize {
    it.frames().iter().filter(|frame| frame.kind == 1).count()
}

#[test]
fn nothing_goes_on_before_the_header_has_left() {
    for sends in [&b"eager"[..], b""] {
        let (mut it, socket) = eager(sends);
        let app = it.apps().next().expect("the application").1;
        assert_eq!((answers(&it), app.got.len(), app.fin), (0, 0, false), "it was blocked");
        it.apps_read = true;
        let now = it.now();
        it.shard.handle_writable(now, socket);
        it.pump();
        let app = it.apps().next().expect("the application").1;
        let header = 16 + told(addr("10.0.0.1:40000")).len();
        assert_eq!((&app.got[..12], &app.got[header..]), (&SIGNATURE[..], sends));
        assert_eq!((answers(&it), app.fin), (1, true));
    }
}

#[test]
fn an_application_that_never_takes_the_header_is_a_503() {
    let (mut it, _) = eager(b"x");
    it.pass(Duration::from_secs(11));
    assert_eq!((answers(&it), it.shard.connections()), (1, 0));
    let error = it.observed().iter().find_map(|observed| match observed {
        Observed::ConnectionClosed { error, .. } => error.clone(),
        _ => None,
    });
    assert_eq!(error.as_deref(), Some("connection failed: connection timed out"));
}

#[test]
fn an_application_that_is_not_there_is_a_503() {
    let (mut room, client, waypoint) = world(None, Weather::default());
    call(&mut room, client, "10.1.0.1:80", b"x");
    assert_eq!(errors(&room, client), ["http status: 503 Service Unavailable"]);
    assert_eq!(errors(&room, waypoint), ["connection failed: connection refused"]);
}

#[test]
fn a_name_has_no_address_when_nobody_knows_it() {
    let (mut room, client, _) = world(None, Weather::default());
    call(&mut room, client, "10.1.0.3:80", b"x");
    let expected = "no ip addresses were resolved for workload: n (no such name (NXDOMAIN))";
    assert_eq!(errors(&room, client), [expected]);
}
