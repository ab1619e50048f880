//! Double HBONE with whole shards (datapath §2.7): a client's proxy, a gateway of its network, and, behind that, the
//! proxy of a workload in another network.
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::hbone::baggage::WorkloadType;
use adit_core::identity::Identity;
use adit_core::mesh::{
    GatewayAddress, GatewayTarget, Mesh, NetworkAddress, Service, ServiceName, TunnelProtocol, Workload,
};
use adit_core::proxy::observed::{Connection, Flag, Labels, Names, Observed};
use adit_core::proxy::{Listener, Shard, ShardConfig};
use adit_core::time::Instant;
use adit_core::tls::Revocations;
use adit_ops::metrics::{Bounds, Metrics};
use adit_testkit::pki::{Ca, Issued};
use adit_testkit::sim::mesh::{add, config, room};
use adit_testkit::sim::{NodeId, Room, Script, Weather};

/// The service, as the client dials it.
const VIP: &str = "10.96.0.1:80";
/// Where the gateway's application, which is the far proxy, is found.
const BEHIND: &str = "10.0.0.2:9999";

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn workload(name: &str, address: &str, network: &str) -> Workload {
    let identity = Identity::new("cluster.local", "shop", name).expect("an identity");
    let mut workload = Workload::new(name, name, identity);
    workload.workload_name = name.into();
    workload.workload_type = WorkloadType::Deployment;
    workload.addresses = vec![addr(address).ip()];
    workload.network = network.into();
    workload.protocol = TunnelProtocol::Hbone;
    workload
}

/// The service `web`, port 80, at `target` on `endpoint`.
fn behind_service(endpoint: &mut Workload, target: u16) -> Service {
    let name = ServiceName { namespace: "shop".into(), hostname: "web.shop.svc".into() };
    let mut service = Service::new(name.clone());
    service.ports.insert(80, target);
    endpoint.services.insert(name, [(80, target)].into());
    service
}

fn mesh(network: &str, workloads: Vec<Workload>, services: Vec<Service>) -> Arc<Mesh> {
    Arc::new(Mesh::new(network.into(), workloads, services, vec![]).expect("a mesh"))
}

/// How the far workload names its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gateway {
    /// By the address of the gateway's workload.
    Address,
    /// By the hostname of a service in front of it, whose port 15009 leads to 15008.
    Service,
    /// The same, and the gateway's workload has a hostname in place of an address.
    Named,
}

/// The hostname of a gateway without an address.
const GATEWAY: &str = "gateway.example";

struct World {
    room: Room,
    client: NodeId,
    gateway: NodeId,
    server: NodeId,
}

/// `alternative`: whom the service says may answer inside.
fn world(seed: u64, weather: Weather, alternative: Option<&str>) -> World {
    world_in(room(seed, weather), alternative)
}

fn world_in(room: Room, alternative: Option<&str>) -> World {
    world_by(Gateway::Address, room, alternative)
}

fn world_by(named: Gateway, room: Room, alternative: Option<&str>) -> World {
    world_with(named, room, alternative, |_| {})
}

/// `tweak` changes how the far proxy is configured.
fn world_with(
    named: Gateway,
    mut room: Room,
    alternative: Option<&str>,
    tweak: impl FnOnce(&mut ShardConfig),
) -> World {
    let config = |name: &str, network: &str| {
        let mut config = config("shop", name, name);
        config.network = network.into();
        config
    };
    let mut far = workload("server", "10.0.0.3:0", "n2");
    let mut service = behind_service(&mut far, 8080);
    let near = NetworkAddress { network: "n1".into(), address: addr("10.0.0.2:0").ip() };
    let name = ServiceName { namespace: "shop".into(), hostname: "gateway.shop.svc".into() };
    let (target, hbone_port) = match named {
        Gateway::Address => (GatewayTarget::Address(near), 15_008),
        Gateway::Service | Gateway::Named => (GatewayTarget::Hostname(name.clone()), 15_009),
    };
    far.network_gateway = Some(Arc::new(GatewayAddress { target, hbone_port }));
    let mut gateways = Service::new(name.clone());
    gateways.ports.insert(15_009, 15_008);
    let mut near = workload("gateway", "10.0.0.2:0", "n1");
    near.services.insert(name, [(15_009, 15_008)].into());
    if named == Gateway::Named {
        near.addresses.clear();
        near.hostname = GATEWAY.into();
        room.name(GATEWAY, &[addr("10.0.0.2:0").ip()]);
    }
    service.addresses = vec![NetworkAddress { network: "n1".into(), address: addr(VIP).ip() }];
    service.subject_alt_names = alternative
        .map(|name| Identity::new("cluster.local", "shop", name).expect("an identity"))
        .into_iter()
        .collect();
    let seen = mesh("n1", vec![workload("client", "10.0.0.1:0", "n1"), near, far], vec![service, gateways]);
    let client = add(&mut room, config("client", "n1"), &seen, addr("10.0.0.1:0").ip());

    let mut own = workload("gateway", "10.0.0.2:0", "n1");
    let service = behind_service(&mut own, addr(BEHIND).port());
    let seen = mesh("n1", vec![own], vec![service]);
    let gateway = add(&mut room, config("gateway", "n1"), &seen, addr("10.0.0.2:0").ip());

    // What its own network knows of it; the client's knows less.
    let mut own = workload("server", "10.0.0.3:0", "n2");
    own.workload_name = "web-v2".into();
    own.canonical_name = "web".into();
    own.canonical_revision = "v2".into();
    own.cluster = "far".into();
    own.locality.region = "eu".into();
    own.locality.zone = "eu-1".into();
    let service = behind_service(&mut own, 8080);
    // Whoever comes through the gateway has its address, or one that means somebody else here.
    let stranger = workload("stranger", "10.0.0.1:0", "n2");
    let seen = mesh("n2", vec![own, stranger], vec![service]);
    let mut config = config("server", "n2");
    tweak(&mut config);
    let shard = Shard::new(Arc::new(config), seen, Instant::from_millis(1));
    let server = room.add_node(shard, &[(addr(BEHIND), Listener::InboundHbone)]);
    room.serve(addr("10.0.0.2:8080"), Script::echo());
    World { room, client, gateway, server }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn endings(observed: &[Observed]) -> Vec<(Flag, Option<String>)> {
    observed
        .iter()
        .filter_map(|observed| match observed {
            Observed::ConnectionClosed { flag, error, .. } => Some((*flag, error.clone())),
            _ => None,
        })
        .collect()
}

fn tunnels_opened(observed: &[Observed]) -> usize {
    observed.iter().filter(|observed| matches!(observed, Observed::TunnelOpened { .. })).count()
}

#[test]
fn a_connection_crosses_networks_in_a_tunnel_within_a_tunnel() {
    for (seed, chunk, len) in [(1, 64 << 10, 300_000), (2, 7, 300), (3, 100, 40_000), (4, 1 << 20, 3 << 20)] {
        let weather = Weather { chunk, ..Weather::default() };
        let World { mut room, client, gateway, server } = world(seed, weather, Some("server"));
        let sent = pattern(len);
        let app = room.connect(client, addr("10.0.0.1:40000"), addr(VIP), Script::send(sent.clone()));
        room.run(2_000_000);
        assert!(room.app(app).got() == sent, "seed {seed}: {} of {len} octets", room.app(app).got().len());
        assert!(room.app(app).saw_fin(), "seed {seed}");
        for node in [client, gateway, server] {
            assert_eq!(endings(room.observed(node)), [(Flag::None, None)], "seed {seed}, {node:?}");
            assert_eq!(room.shard(node).connections(), 0, "seed {seed}, {node:?}");
        }
        // The inner tunnel has gone with its connection; the outer one waits for the next.
        assert_eq!(room.shard(client).tunnels(), 1, "seed {seed}");
        assert_eq!(room.shard(server).tunnels(), 0, "seed {seed}");
        assert_eq!(room.shard(client).buffered(), 0, "seed {seed}");
    }
}

#[test]
fn a_gateway_may_be_a_service_that_maps_its_port() {
    let World { mut room, client, gateway, server } =
        world_by(Gateway::Service, room(5, Weather::default()), Some("server"));
    let app = room.connect(client, addr("10.0.0.1:40000"), addr(VIP), Script::send(pattern(5_000)));
    room.run(2_000_000);
    assert!(room.app(app).got() == pattern(5_000), "{:?}", room.observed(client));
    for node in [client, gateway, server] {
        assert_eq!(endings(room.observed(node)), [(Flag::None, None)], "{node:?}");
    }
}

/// What is told of the only connection of `node`, which has ended: it opens once and, as the same, closes once.
fn connection(room: &Room, node: NodeId) -> Arc<Connection> {
    let told = room.observed(node).iter().filter(|observed| {
        matches!(observed, Observed::ConnectionOpened(_) | Observed::ConnectionClosed { .. })
    });
    let told: Vec<_> = told.collect();
    let [Observed::ConnectionOpened(opened), Observed::ConnectionClosed { connection, .. }] = told[..] else {
        panic!("{told:?}")
    };
    assert!(Arc::ptr_eq(opened, connection));
    Arc::clone(opened)
}

/// Who the source of the only connection of `node` is said to be.
fn source(room: &Room, node: NodeId) -> Option<String> {
    connection(room, node).source.labels.workload.as_deref().map(ToOwned::to_owned)
}

fn identity(name: &str) -> Identity {
    Identity::new("cluster.local", "shop", name).expect("an identity")
}

// datapath §3.11, §5.5. What a proxy sees of the header is how it names the source.
#[test]
fn only_the_inner_request_says_which_network_it_comes_from() {
    let World { mut room, client, gateway, server } = world(6, Weather::default(), Some("server"));
    room.connect(client, addr("10.0.0.1:40000"), addr(VIP), Script::send("x"));
    room.run(2_000_000);
    // The room's tunnels come from the address that they go to: here that of the gateway itself.
    assert_eq!(source(&room, gateway).as_deref(), Some("gateway"), "looked up by address");
    assert_eq!(source(&room, server).as_deref(), Some("client"), "taken from the baggage");
}

// datapath §2.7. The tables of the client know of the gateway only; the names are the far proxy's own.
#[test]
fn the_destination_is_who_answers_behind_the_gateway() {
    let World { mut room, client, .. } = world(21, Weather::default(), Some("server"));
    room.connect(client, addr("10.0.0.1:40000"), addr(VIP), Script::send("x"));
    room.run(2_000_000);
    let connection = connection(&room, client);
    assert_eq!(connection.destination.address, Some(addr("10.0.0.2:15008")), "what was dialled");
    let said = Labels {
        workload: Some("web-v2".into()),
        canonical_service: Some("web".into()),
        revision: Some("v2".into()),
        app: Some("web-v2".into()),
        region: Some("eu".into()),
        zone: Some("eu-1".into()),
        principal: Some(identity("server")),
    };
    let names = Names {
        workload: Some("web-v2".into()),
        namespace: Some("shop".into()),
        identity: Some(identity("server")),
        cluster: Some("far".into()),
        labels: said,
    };
    assert_eq!(*connection.destination.names, names);
    assert_eq!(connection.traffic.forth(), 1);
    let metrics = Metrics::new("test", Bounds::default());
    for observed in room.observed(client) {
        metrics.observe(observed);
    }
    let text = metrics.text();
    for series in ["opened_total", "closed_total"] {
        let series = format!("istio_tcp_connections_{series}{{");
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(&series)).collect();
        let [line] = lines[..] else { panic!("{lines:?}") };
        assert!(
            line.contains(
                "destination_workload=\"web-v2\",destination_canonical_service=\"web\",\
                 destination_canonical_revision=\"v2\",destination_workload_namespace=\"shop\",\
                 destination_principal=\"spiffe://cluster.local/ns/shop/sa/server\",destination_app=\"web-v2\",\
                 destination_version=\"v2\",destination_cluster=\"far\""
            ),
            "{line}"
        );
    }
    // It was told of no sooner than when both tunnels were there.
    let at = |which: fn(&Observed) -> bool| room.observed(client).iter().rposition(which).expect("told");
    let opened = at(|observed| matches!(observed, Observed::ConnectionOpened(_)));
    assert!(opened > at(|observed| matches!(observed, Observed::TunnelOpened { .. })));
}

#[test]
fn a_gateway_whose_name_is_looked_up_is_told_of_before_the_connection() {
    let World { mut room, client, .. } =
        world_by(Gateway::Named, room(24, Weather::default()), Some("server"));
    let app = room.connect(client, addr("10.0.0.1:40000"), addr(VIP), Script::send("x"));
    room.run(2_000_000);
    assert_eq!(room.app(app).got(), b"x");
    let told = room.observed(client).iter().position(|observed| match observed {
        Observed::Resolved { connection: asking, hostname } => {
            assert_eq!((asking.id, &**hostname), (connection(&room, client).id, GATEWAY));
            assert_eq!(asking.destination.identity, Some(identity("gateway")));
            true
        }
        _ => false,
    });
    let opened = room.observed(client).iter().position(|o| matches!(o, Observed::ConnectionOpened(_)));
    assert!(told.is_some() && told < opened, "{told:?}, {opened:?}");
    assert_eq!(connection(&room, client).destination.identity, Some(identity("server")));
}

#[test]
fn without_baggage_the_far_end_has_the_identity_that_it_proved_and_no_name() {
    let room = room(22, Weather::default());
    let World { mut room, client, .. } =
        world_with(Gateway::Address, room, Some("server"), |far| far.baggage = false);
    room.connect(client, addr("10.0.0.1:40000"), addr(VIP), Script::send("x"));
    room.run(2_000_000);
    let server = Some(identity("server"));
    let labels = Labels { principal: server.clone(), ..Labels::default() };
    let nameless = Names { identity: server, labels, ..Names::default() };
    assert_eq!(*connection(&room, client).destination.names, nameless);
}

#[test]
fn what_fails_before_the_far_end_answers_was_a_connection_to_the_gateway() {
    let no_gateway = |room: &mut Room, gateway, _| room.kill(gateway);
    let no_server = |room: &mut Room, _, server| room.kill(server);
    let nobody_known = |room: &mut Room, _, server| {
        room.with(server, |shard, now| shard.handle_mesh(now, mesh("n2", vec![], vec![])));
    };
    type Spoil = fn(&mut Room, NodeId, NodeId);
    let cases: [(&str, Spoil); 3] = [
        ("connection failed: ", no_gateway),
        ("http status: 503 Service Unavailable", no_server),
        ("http status: 503 Service Unavailable", nobody_known),
    ];
    for (case, (start, spoil)) in cases.into_iter().enumerate() {
        let World { mut room, client, gateway, server } = world(23, Weather::default(), Some("server"));
        spoil(&mut room, gateway, server);
        room.connect(client, addr("10.0.0.1:40000"), addr(VIP), Script::send("x"));
        room.run(2_000_000);
        // Who does not know itself waits for the tables before it says no.
        while endings(room.observed(client)).is_empty() && room.wait() {}
        let [(_, Some(text))] = &endings(room.observed(client))[..] else { panic!("case {case}") };
        assert!(text.starts_with(start), "case {case}: {text}");
        let destination = connection(&room, client).destination.clone();
        assert_eq!(destination.labels.workload.as_deref(), Some("gateway"), "case {case}");
        assert_eq!(destination.identity, Some(identity("gateway")), "case {case}");
        assert_eq!(room.shard(client).connections(), 0, "case {case}");
    }
}

#[test]
fn connections_share_the_outer_tunnel_and_nothing_else() {
    let World { mut room, client, gateway, server } = world(7, Weather::default(), Some("server"));
    let sent = pattern(5_000);
    let apps: Vec<_> = (0..5)
        .map(|n| {
            room.connect(
                client,
                SocketAddr::new(addr("10.0.0.1:0").ip(), 40_000 + n),
                addr(VIP),
                Script::send(sent.clone()),
            )
        })
        .collect();
    room.run(2_000_000);
    assert!(apps.iter().all(|app| room.app(*app).got() == sent));
    assert_eq!(tunnels_opened(room.observed(gateway)), 1);
    assert_eq!(tunnels_opened(room.observed(server)), 5);
}

#[test]
fn nobody_is_expected_inside_when_the_service_names_nobody() {
    for wrong in [None, Some("impostor")] {
        let World { mut room, client, gateway, server } = world(9, Weather::default(), wrong);
        let app = room.connect(client, addr("10.0.0.1:40000"), addr(VIP), Script::send(pattern(100)));
        room.run(2_000_000);
        assert_eq!(room.app(app).got(), b"");
        let endings = endings(room.observed(client));
        let [(Flag::TlsFailure | Flag::Connect, Some(text))] = &endings[..] else { panic!("{endings:?}") };
        assert!(text.contains("identity") || text.contains("tls"), "{text}");
        let told = connection(&room, client);
        assert_eq!(told.destination.identity, Some(identity("gateway")), "nobody proved another");
        assert_eq!(room.shard(client).connections(), 0);
        assert_eq!(room.shard(gateway).connections(), 0);
        assert_eq!(room.shard(server).tunnels(), 0);
    }
}

#[test]
fn the_end_of_the_outer_tunnel_ends_what_is_inside() {
    let World { mut room, client, gateway, .. } = world(11, Weather::default(), Some("server"));
    let hold = Script { finish: false, ..Script::send(pattern(1_000)) };
    let app = room.connect(client, addr("10.0.0.1:40000"), addr(VIP), hold);
    room.run(2_000_000);
    assert_eq!(room.app(app).got().len(), 1_000);
    room.kill(gateway);
    room.run(2_000_000);
    assert!(room.app(app).saw_reset() || room.app(app).saw_fin());
    assert_eq!(room.shard(client).connections(), 0);
    assert_eq!(room.shard(client).tunnels(), 0);
}

// datapath §4.5: both tunnels are watched, and whichever peer is revoked, its connection says so.
#[test]
fn a_revoked_gateway_and_a_revoked_server_behind_it_cut_what_is_inside() {
    for revoked in ["gateway", "server"] {
        let (ca, issued) = (Ca::new(), Issued::new());
        for name in ["client", "gateway", "server"] {
            issued.certify(ca.credentials(&identity(name), 2040));
        }
        let room = Room::new(13, Weather::default(), issued.certificates());
        let World { mut room, client, gateway, server } = world_in(room, Some("server"));
        let hold = Script { finish: false, ..Script::send(pattern(1_000)) };
        let app = room.connect(client, addr("10.0.0.1:40000"), addr(VIP), hold);
        room.run(2_000_000);
        assert_eq!(room.app(app).got().len(), 1_000);
        let lists = Revocations::parse(&ca.crl(&[&issued.leaf(&identity(revoked))])).expect("a list");
        let context = issued.check_by(&identity("client"), lists);
        room.with(client, |shard, now| shard.handle_certificate(now, &identity("client"), Ok(context)));
        room.run(2_000_000);
        assert!(room.app(app).saw_reset() && !room.app(app).saw_fin(), "{revoked}");
        let text = "connection closed: peer certificate revoked by CRL".to_owned();
        assert_eq!(endings(room.observed(client)), [(Flag::CertRevoked, Some(text))], "{revoked}");
        for node in [client, gateway, server] {
            assert_eq!(room.shard(node).connections(), 0, "{revoked}, {node:?}");
        }
        assert_eq!(room.shard(server).tunnels(), 0, "{revoked}");
    }
}
