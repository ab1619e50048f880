//! Revocation lists and live tunnels, on whole shards (datapath §4.5, §4.6): what is cut, how, and what is not.
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::mesh::Mesh;
use adit_core::proxy::observed::{Direction, Flag, Observed};
use adit_core::time::UnixTime;
use adit_core::tls::Revocations;
use adit_testkit::pki::{Ca, Issued};
use adit_testkit::sim::mesh::{add, config, parse};
use adit_testkit::sim::{AppId, NodeId, Room, Script, Weather};
use rustls::pki_types::CertificateDer;

/// What operators match on.
const CUT: &str = "connection closed: peer certificate revoked by CRL";
/// The same certificate at the next handshake.
const REFUSED: &str = "peer certificate revoked by CRL";
/// The label of tunnels.
const REASON: &str = "certificate_revoked";

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn identity(name: &str) -> Identity {
    Identity::new("cluster.local", "ns", name).expect("an identity")
}

fn mesh() -> Arc<Mesh> {
    parse(
        "
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: o, name: other, namespace: ns, serviceAccount: other, workloadIps: [10.0.0.3], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {}}
services: []
policies: []
",
    )
}

/// Two clients and a server, all of which check revocation.
struct World {
    room: Room,
    client: NodeId,
    other: NodeId,
    server: NodeId,
    issued: Issued,
}

impl World {
    /// Everybody's certificate is `root`'s, and trusted are `root` and `also`.
    fn new(root: &Ca, also: &[&Ca]) -> Self {
        Self::in_weather(root, also, Weather::default())
    }

    fn in_weather(root: &Ca, also: &[&Ca], weather: Weather) -> Self {
        let issued = Issued::new();
        for name in ["client", "other", "server"] {
            let mut credentials = root.credentials(&identity(name), 2040);
            credentials.roots.extend(also.iter().map(|ca| ca.certificate().clone()));
            issued.certify(credentials);
        }
        let mut room = Room::new(1, weather, issued.certificates());
        let mesh = mesh();
        let mut node = |name: &str, ip: &str| {
            let ip = addr(ip).ip();
            room.serve(SocketAddr::new(ip, 80), Script::echo());
            add(&mut room, config("ns", name, name), &mesh, ip)
        };
        let (client, other) = (node("client", "10.0.0.1:0"), node("other", "10.0.0.3:0"));
        let server = node("server", "10.0.0.2:0");
        Self { room, client, other, server, issued }
    }

    fn leaf(&self, name: &str) -> CertificateDer<'static> {
        self.issued.leaf(&identity(name))
    }

    /// A connection that says hello, is answered, and stays open.
    fn open(&mut self, from: &str, to: &str) -> AppId {
        let app = self.start(from, to);
        self.room.run(10_000);
        assert_eq!(self.room.app(app).got(), b"hello");
        app
    }

    fn start(&mut self, from: &str, to: &str) -> AppId {
        let node = match from.split(':').next() {
            Some("10.0.0.3") => self.other,
            _ => self.client,
        };
        let script = Script { send: b"hello".to_vec(), ..Script::default() };
        self.room.connect(node, addr(from), addr(to), script)
    }

    /// A node gets these lists with its certificate.
    fn push(&mut self, node: NodeId, name: &str, list: &[u8]) {
        self.push_lists(node, name, Revocations::parse(list).expect("a list"));
    }

    fn push_lists(&mut self, node: NodeId, name: &str, lists: Revocations) {
        let identity = identity(name);
        let context = self.issued.check_by(&identity, lists);
        self.room.with(node, |shard, now| shard.handle_certificate(now, &identity, Ok(context)));
        self.room.run(10_000);
    }

    fn is_cut(&self, app: AppId) -> bool {
        let app = self.room.app(app);
        assert!(!app.saw_fin(), "what was cut must not look complete");
        app.saw_reset()
    }

    fn endings(&self, node: NodeId) -> Vec<(Flag, String)> {
        let one = |observed: &Observed| match observed {
            Observed::ConnectionClosed { flag, error, .. } => {
                Some((*flag, error.clone().unwrap_or_default()))
            }
            _ => None,
        };
        self.room.observed(node).iter().filter_map(one).collect()
    }

    fn tunnels_closed(&self, node: NodeId) -> Vec<(Direction, &'static str, bool)> {
        let one = |observed: &Observed| match observed {
            Observed::TunnelClosed { direction, reason, attack, .. } => Some((*direction, *reason, *attack)),
            _ => None,
        };
        self.room.observed(node).iter().filter_map(one).collect()
    }
}

fn cut() -> (Flag, String) {
    (Flag::CertRevoked, CUT.to_owned())
}

// §4.6: revoked client, live inbound connection cut on reload with `CERT_REVOKED`.
#[test]
fn live_inbound_connection_is_cut_when_its_client_is_revoked() {
    let ca = Ca::new();
    let mut it = World::new(&ca, &[]);
    let (app, other) = (it.open("10.0.0.1:1", "10.0.0.2:80"), it.open("10.0.0.3:1", "10.0.0.2:80"));
    let list = ca.crl(&[&it.leaf("client")]);
    it.push(it.server, "server", &list);
    assert!(it.is_cut(app) && !it.is_cut(other));
    assert_eq!(it.endings(it.server), [cut()]);
    assert_eq!(it.tunnels_closed(it.server), [(Direction::Inbound, REASON, false)]);
    assert_eq!((it.room.shard(it.server).tunnels(), it.room.shard(it.client).tunnels()), (1, 0));
    // The application behind the server's proxy is told as well.
    assert_eq!(it.room.apps().iter().filter(|app| app.saw_reset()).count(), 2);
    // And the client comes no more, while the other one does.
    let again = it.start("10.0.0.1:2", "10.0.0.2:80");
    it.room.run(10_000);
    assert_eq!(it.room.app(again).got(), b"");
    it.open("10.0.0.3:2", "10.0.0.2:80");
    let refused = |told: &&Observed| matches!(told, Observed::EarlyDenied { error, flag: Flag::CertRevoked, .. } if error.contains(REFUSED));
    assert_eq!(it.room.observed(it.server).iter().filter(refused).count(), 1);
}

// §4.6: revoked server leaf, live outbound connection cut on reload with `CERT_REVOKED`.
#[test]
fn live_outbound_connection_is_cut_when_its_server_is_revoked() {
    let ca = Ca::new();
    let mut it = World::new(&ca, &[]);
    let (app, other) = (it.open("10.0.0.1:1", "10.0.0.2:80"), it.open("10.0.0.1:1", "10.0.0.3:80"));
    let list = ca.crl(&[&it.leaf("server")]);
    it.push(it.client, "client", &list);
    assert!(it.is_cut(app) && !it.is_cut(other));
    assert_eq!(it.endings(it.client), [cut()]);
    assert_eq!(it.tunnels_closed(it.client), [(Direction::Outbound, REASON, false)]);
    // The next connection dials anew, and is refused by the handshake.
    let again = it.start("10.0.0.1:2", "10.0.0.2:80");
    it.room.run(10_000);
    assert_eq!(it.room.app(again).got(), b"");
    let endings = it.endings(it.client);
    let [_, (Flag::CertRevoked, text)] = &endings[..] else { panic!("{endings:?}") };
    assert!(text.contains(REFUSED), "{text}");
}

// §4.6: revoked intermediate; through two levels, the whole subtree and nothing beside it.
#[test]
fn revoked_intermediate_cuts_its_live_subtree() {
    let ca = Ca::new();
    let upper = ca.intermediate("upper");
    let (lower, sibling) = (upper.intermediate("lower"), ca.intermediate("sibling"));
    let mut it = World::new(&ca, &[]);
    it.issued.certify(lower.credentials(&identity("client"), 2040));
    it.issued.certify(sibling.credentials(&identity("other"), 2040));
    let (app, other) = (it.open("10.0.0.1:1", "10.0.0.2:80"), it.open("10.0.0.3:1", "10.0.0.2:80"));
    it.push(it.server, "server", &upper.crl(&[]));
    assert!(!it.is_cut(app));
    it.push(it.server, "server", &ca.crl(&[upper.certificate()]));
    assert!(it.is_cut(app) && !it.is_cut(other));
    assert_eq!(it.endings(it.server), [cut()]);
}

// §4.6: DN collision between two CAs only drops the revoked subtree.
#[test]
fn name_collision_of_two_authorities_cuts_only_the_revoked_subtree() {
    let (ca, twin) = (Ca::named("twin"), Ca::named("twin"));
    let mut it = World::new(&ca, &[&twin]);
    let mut credentials = twin.credentials(&identity("other"), 2040);
    credentials.roots.push(ca.certificate().clone());
    it.issued.certify(credentials);
    let (app, other) = (it.open("10.0.0.1:1", "10.0.0.2:80"), it.open("10.0.0.3:1", "10.0.0.2:80"));
    let both = [it.leaf("client"), it.leaf("other")];
    let list = ca.crl(&both.iter().collect::<Vec<_>>());
    it.push(it.server, "server", &list);
    assert!(it.is_cut(app), "its authority has revoked it");
    assert!(!it.is_cut(other), "its serial number is on a list of another authority with the same name");
}

// §4.6: junk intermediate in presented chain ignored.
#[test]
fn revoked_junk_beside_the_chain_cuts_nobody() {
    let ca = Ca::new();
    let junk = ca.intermediate("junk");
    let mut it = World::new(&ca, &[]);
    let mut credentials = ca.credentials(&identity("client"), 2040);
    credentials.chain.push(junk.certificate().clone());
    it.issued.certify(credentials);
    let app = it.open("10.0.0.1:1", "10.0.0.2:80");
    it.push(it.server, "server", &ca.crl(&[junk.certificate()]));
    assert!(!it.is_cut(app));
    it.push(it.server, "server", &ca.crl(&[&it.leaf("client")]));
    assert!(it.is_cut(app));
}

// §4.6: expired-since-established cert not cut; but when it is revoked, having expired does not save it.
#[test]
fn certificate_that_expired_since_is_cut_only_when_revoked() {
    let (ca, namesake) = (Ca::new(), Ca::new());
    let mut it = World::new(&ca, &[]);
    it.issued.certify(ca.credentials(&identity("client"), 2027));
    let app = it.open("10.0.0.1:1", "10.0.0.2:80");
    it.issued.ports.clock.set(UnixTime(2_000_000_000));
    // A list that makes us look: it is in the name of the issuer, and has the number.
    let list = namesake.crl(&[&it.leaf("client")]);
    it.push(it.server, "server", &list);
    assert!(!it.is_cut(app));
    let list = ca.crl(&[&it.leaf("client")]);
    it.push(it.server, "server", &list);
    assert!(it.is_cut(app));
    assert_eq!(it.endings(it.server), [cut()]);
}

// §4.4, §4.6: a bundle that has changed bears on new tunnels alone; only lists cut.
#[test]
fn new_roots_cut_nobody() {
    let (old, new) = (Ca::named("old"), Ca::named("new"));
    let mut it = World::new(&old, &[]);
    let app = it.open("10.0.0.1:1", "10.0.0.2:80");
    it.issued.certify(new.credentials(&identity("server"), 2040));
    it.push(it.server, "server", &new.crl(&[]));
    assert!(!it.is_cut(app));
    // Whom the old authority has revoked is still cut, although the new bundle does not know it.
    let list = old.crl(&[&it.leaf("client")]);
    it.push(it.server, "server", &list);
    assert!(it.is_cut(app));
}

// §4.5: a failed reload keeps the old set; here, lists that cannot be read from the start refuse new peers only.
#[test]
fn lists_that_cannot_be_read_cut_nobody_and_admit_nobody() {
    let ca = Ca::new();
    let mut it = World::new(&ca, &[]);
    let app = it.open("10.0.0.1:1", "10.0.0.2:80");
    it.push_lists(it.server, "server", Revocations::missing("it is nonsense".into()));
    assert!(!it.is_cut(app));
    let refused = it.start("10.0.0.3:1", "10.0.0.2:80");
    it.room.run(10_000);
    assert_eq!(it.room.app(refused).got(), b"");
}

// §4.5: an idle tunnel ends too, and its peer is told that it was in good order.
#[test]
fn idle_tunnel_of_a_revoked_peer_ends() {
    let ca = Ca::new();
    let mut it = World::new(&ca, &[]);
    let app = it.room.connect(it.client, addr("10.0.0.1:1"), addr("10.0.0.2:80"), Script::send("x"));
    it.room.run(10_000);
    assert!(it.room.app(app).saw_fin());
    assert_eq!(it.room.shard(it.server).tunnels(), 1);
    let list = ca.crl(&[&it.leaf("client")]);
    it.push(it.server, "server", &list);
    assert_eq!(it.tunnels_closed(it.server), [(Direction::Inbound, REASON, false)]);
    assert_eq!(it.room.shard(it.client).tunnels(), 0);
    assert_eq!(it.room.sockets(it.server), 0);
}

// §4.5: a reload racing with a handshake is re-checked. Whenever the list comes, the client has nothing in the end.
#[test]
fn list_that_comes_during_a_handshake_is_asked_afterwards() {
    let ca = Ca::new();
    let (mut late, mut live) = (0, 0);
    for turns in 0..60 {
        let weather = Weather { chunk: 300, ..Weather::default() };
        let mut it = World::in_weather(&ca, &[], weather);
        let app = it.start("10.0.0.1:1", "10.0.0.2:80");
        for _ in 0..turns {
            it.room.turn();
        }
        let opened = |told: &&Observed| matches!(told, Observed::TunnelOpened { .. });
        let ready = it.room.observed(it.server).iter().filter(opened).count();
        let handshaking = it.room.shard(it.server).tunnels() > 0 && ready == 0;
        let list = ca.crl(&[&it.leaf("client")]);
        it.push(it.server, "server", &list);
        assert!(it.is_cut(app), "after {turns} turns");
        assert_eq!((it.room.shard(it.server).tunnels(), it.room.shard(it.server).connections()), (0, 0));
        assert_eq!(it.room.observed(it.server).iter().filter(opened).count(), ready, "after {turns} turns");
        (late, live) = (late + u32::from(handshaking), live + u32::from(ready > 0));
    }
    assert!(late > 2 && live > 2, "{late} during a handshake, {live} after it");
}

// Hundreds of tunnels are looked at by slices; no change of the lists meanwhile keeps any of them from its turn.
#[test]
fn many_tunnels_are_cut_by_slices() {
    const TUNNELS: usize = 100;
    let ca = Ca::new();
    let mut it = World::new(&ca, &[]);
    // A tunnel carries the connections of one source address.
    let apps: Vec<_> = (0..TUNNELS).map(|n| it.start(&format!("10.1.0.{n}:1"), "10.0.0.2:80")).collect();
    it.room.run(100_000);
    let other = it.open("10.0.0.3:1", "10.0.0.2:80");
    assert_eq!(it.room.shard(it.server).tunnels(), TUNNELS + 1);
    let list = ca.crl(&[&it.leaf("client")]);
    it.push(it.server, "server", &list);
    let left = it.room.shard(it.server).tunnels();
    assert!((2..=TUNNELS).contains(&left), "{left} left after the first slice");
    while it.room.shard(it.server).tunnels() > 1 {
        it.push(it.server, "server", &list);
        assert!(it.room.wait());
    }
    assert!(apps.iter().all(|app| it.is_cut(*app)) && !it.is_cut(other));
    assert_eq!(it.endings(it.server), vec![cut(); TUNNELS]);
}
