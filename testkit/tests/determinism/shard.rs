//! A whole shard: services with several endpoints, policies, half-closes, resets, a drain. No TLS, whose key exchange
//! must not be the same twice.
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::proxy::{Listener, Shard};
use adit_core::time::Instant;
use adit_testkit::sim::mesh::{config, parse};
use adit_testkit::sim::{Room, Script, Weather};

use super::Digest;

const MESH: &str = r#"
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: a, name: a, namespace: ns, workloadIps: [10.0.1.1], services: {"ns/web.ns": {80: 8080}}, capacity: 3}
- {uid: b, name: b, namespace: ns, workloadIps: [10.0.1.2], services: {"ns/web.ns": {80: 8080}}}
- {uid: d, name: d, namespace: ns, workloadIps: [10.0.1.3], services: {"ns/web.ns": {80: 8081}}}
services:
- {name: web, namespace: ns, hostname: web.ns, vips: [/10.9.9.9], ports: {80: 8080}}
policies:
- name: not-from-b
  namespace: ns
  scope: Namespace
  action: Deny
  rules: [[[{sourceIps: [10.0.1.2/32]}]]]
"#;

/// Runs connections through a shard and writes down what both sides saw.
pub(crate) fn run(seed: u64, digest: &mut Digest) {
    let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    let no_certificates = Box::new(|_: &_| Err(Arc::from("no certificates in this test")));
    let mut room = Room::new(seed, Weather { capacity: 20_000, chunk: 3_000 }, no_certificates);
    let mut settings = config("ns", "client", "client");
    settings.seed = seed;
    let shard = Shard::new(Arc::new(settings), parse(MESH), Instant::from_millis(1));
    let node = room.add_node(shard, &[(address("10.0.0.1:15006"), Listener::InboundPlain)]);
    for server in ["10.0.1.1:8080", "10.0.1.2:8080", "10.0.1.3:8081", "10.0.0.1:7"] {
        room.serve(address(server), Script::echo());
    }
    for connection in 0..40u16 {
        let length = usize::from(connection) * 997;
        let reset_after = (connection % 7 == 3).then_some(length / 2);
        let script = Script { reset_after, ..Script::send(vec![connection.to_le_bytes()[0]; length]) };
        let from = SocketAddr::new(address("10.0.0.1:0").ip(), 40_000 + connection);
        room.connect(node, from, address("10.9.9.9:80"), script.clone());
        let other = if connection % 2 == 0 { "10.0.1.2:50000" } else { "10.0.1.3:50000" };
        room.connect_to(node, Listener::InboundPlain, address(other), address("10.0.0.1:7"), script);
        room.run(200_000);
    }
    room.with(node, |shard, now| shard.drain(now));
    while room.wait() {}
    assert!(room.is_drained(node));
    digest.said(&room.observed(node));
    for app in room.apps() {
        digest.octets(app.got());
        digest.said(&(app.saw_fin(), app.saw_reset()));
    }
}
