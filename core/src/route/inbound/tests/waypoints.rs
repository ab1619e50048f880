//! The local workload as a waypoint, application tunnels with PROXY headers, source addresses: datapath §5.3–5.6, §5.10.

use super::*;
use crate::mesh::{GatewayAddress, GatewayTarget, WeightedWaypoint};

const WAYPOINT_VIP: &str = "10.1.0.100";

/// The table's world: `server` at 10.0.0.2 behind `HOST` at 10.1.0.1, `waypoint` at 10.0.0.100 behind 10.1.0.100.
struct World {
    server: Workload,
    service: Service,
    waypoint: Workload,
}

fn at(address: &str) -> Option<Arc<GatewayAddress>> {
    let address = NetworkAddress { network: "".into(), address: address.parse().unwrap() };
    Some(Arc::new(GatewayAddress { target: GatewayTarget::Address(address), hbone_port: 15008 }))
}

fn host(hostname: &str) -> Option<Arc<GatewayAddress>> {
    let target = GatewayTarget::Hostname(name(hostname));
    Some(Arc::new(GatewayAddress { target, hbone_port: 15008 }))
}

impl World {
    fn new() -> Self {
        let identity = Identity::new("td", "default", "waypoint").unwrap();
        let mut waypoint = Workload::new("u/waypoint", "waypoint", identity);
        waypoint.addresses = vec!["10.0.0.100".parse().unwrap()];
        waypoint.services.insert(name("waypoint"), Default::default());
        Self { server: server(), service: service(), waypoint }
    }

    fn proxied(mut self) -> Self {
        let protocol = ApplicationProtocol::Proxy;
        self.waypoint.application_tunnel = Some(ApplicationTunnel { protocol, port: Some(15088) });
        self
    }

    fn admit_with(
        &self,
        config: &RouteConfig,
        connected: &str,
        target: &str,
    ) -> Result<InboundPlan, AdmitError> {
        let mut waypoints = Service::new(name("waypoint"));
        let vip = NetworkAddress { network: "".into(), address: WAYPOINT_VIP.parse().unwrap() };
        waypoints.addresses = vec![vip];
        let mut client =
            Workload::new("u/client", "client", Identity::new("td", "default", "client").unwrap());
        client.addresses = vec![CLIENT.ip()];
        let workloads = vec![self.server.clone(), self.waypoint.clone(), client];
        let services = vec![self.service.clone(), waypoints];
        let mesh = Mesh::new("".into(), workloads, services, vec![]).unwrap();
        let local = if connected.starts_with("10.0.0.100:") { &self.waypoint } else { &self.server };
        admit_hbone(&mesh, config, local, CLIENT, connected.parse().unwrap(), &authority(target))
    }

    fn admit(&self, connected: &str, target: &str) -> Result<InboundPlan, AdmitError> {
        // The table's addresses of the application, before loopback takes their place.
        let config = RouteConfig { localhost_app_tunnel: false, ..RouteConfig::default() };
        self.admit_with(&config, connected, target)
    }

    #[track_caller]
    fn admits(&self, connected: &str, target: &str, to: &str, announced: Option<&str>) -> Vec<Reason> {
        let plan = self.admit(connected, target).unwrap();
        let announced = announced.map(|address| address.parse().unwrap());
        assert_eq!((plan.to.to_string().as_str(), plan.announced), (to, announced));
        assert_eq!(plan.destination, plan.to);
        plan.reasons
    }

    #[track_caller]
    fn mismatches(&self, connected: &str, target: &str) {
        let error = self.admit(connected, target).unwrap_err();
        assert!(matches!(error, AdmitError::IpMismatch { .. }), "{error}");
        assert_eq!(error.status(), 400);
    }
}

const SERVER: &str = "10.0.0.2:15008";
const WAYPOINT: &str = "10.0.0.100:15008";

#[test]
fn no_waypoint_to_the_server_by_address_and_by_hostname() {
    let world = World::new();
    world.admits(SERVER, "10.0.0.2:8080", "10.0.0.2:8080", None);
    world.admits(SERVER, "server.default.svc.cluster.local:80", "10.0.0.2:8080", None);
}

#[test]
fn a_workloads_waypoint_takes_its_address() {
    for reference in [at("10.0.0.100"), at(WAYPOINT_VIP), host("waypoint")] {
        let mut world = World::new();
        world.server.waypoint = reference;
        let reasons = world.admits(WAYPOINT, "10.0.0.2:8080", "10.0.0.100:8080", None);
        assert_eq!(reasons, [Reason::WaypointOfWorkload("u/server".into())]);
    }
}

#[test]
fn a_workloads_waypoint_with_a_proxy_tunnel_says_the_workload() {
    let mut world = World::new().proxied();
    world.server.waypoint = at(WAYPOINT_VIP);
    let reasons = world.admits(WAYPOINT, "10.0.0.2:8080", "10.0.0.100:15088", Some("10.0.0.2:8080"));
    assert_eq!(reasons, [Reason::AnyAddress, Reason::ApplicationTunnel { port: 15088 }, Reason::ProxyHeader]);
}

#[test]
fn a_services_waypoint_takes_its_virtual_address() {
    for reference in [at("10.0.0.100"), at(WAYPOINT_VIP), host("waypoint")] {
        let mut world = World::new();
        world.service.waypoint = reference;
        let reasons = world.admits(WAYPOINT, "10.1.0.1:8080", "10.0.0.100:8080", None);
        assert_eq!(reasons, [Reason::WaypointOfService(name(HOST))]);
    }
}

#[test]
fn a_weighted_waypoint_is_a_waypoint_whatever_its_weight() {
    let mut world = World::new();
    let gateway = at(WAYPOINT_VIP).unwrap();
    world.service.weighted_waypoints = vec![WeightedWaypoint { gateway, weight: 0 }];
    world.admits(WAYPOINT, "10.1.0.1:8080", "10.0.0.100:8080", None);
}

#[test]
fn a_services_waypoint_with_a_proxy_tunnel_says_the_virtual_address() {
    let mut world = World::new().proxied();
    world.service.waypoint = at(WAYPOINT_VIP);
    world.admits(WAYPOINT, "10.1.0.1:8080", "10.0.0.100:15088", Some("10.1.0.1:8080"));
}

#[test]
fn the_address_of_a_client_is_refused_at_the_server_and_at_the_waypoint() {
    let mut world = World::new();
    world.service.waypoint = at(WAYPOINT_VIP);
    world.mismatches(SERVER, "10.0.0.1:8080");
    world.mismatches(WAYPOINT, "10.0.0.1:8080");
}

#[test]
fn a_services_waypoint_does_not_take_its_pods() {
    let mut world = World::new();
    world.service.waypoint = at(WAYPOINT_VIP);
    world.mismatches(WAYPOINT, "10.0.0.2:8080");
}

#[test]
fn a_workloads_waypoint_does_not_take_its_services() {
    let mut world = World::new();
    world.server.waypoint = at(WAYPOINT_VIP);
    world.mismatches(WAYPOINT, "10.1.0.1:8080");
}

#[test]
fn the_waypoint_of_others_takes_nothing() {
    let mut world = World::new();
    world.service.waypoint = at("10.0.0.77");
    world.server.waypoint = host("elsewhere");
    world.mismatches(WAYPOINT, "10.1.0.1:8080");
    world.mismatches(WAYPOINT, "10.0.0.2:8080");
    // Nor does the server take what its waypoint should.
    world.mismatches(SERVER, "10.1.0.1:8080");
}

#[test]
fn a_service_that_the_waypoint_may_not_see_is_its_business_all_the_same() {
    let mut world = World::new();
    world.service.waypoint = at(WAYPOINT_VIP);
    world.service.name.namespace = "other".into();
    world.service.visibility = Visibility::Namespace;
    world.server.services.clear();
    world.admits(WAYPOINT, "10.1.0.1:8080", "10.0.0.100:8080", None);
}

// ---- application tunnels

#[test]
fn a_hostname_is_told_as_an_address_of_its_service() {
    let mut world = World::new();
    let protocol = ApplicationProtocol::Proxy;
    world.server.application_tunnel = Some(ApplicationTunnel { protocol, port: None });
    let vip = |network: &str, address: &str| NetworkAddress {
        network: network.into(),
        address: address.parse().unwrap(),
    };
    let told = |world: &World| world.admit(SERVER, &std::format!("{HOST}:80")).unwrap();
    // The authority's port, not that of the application.
    world.service.addresses = vec![vip("far", "10.2.0.1"), vip("", "fd01::1"), vip("", "10.1.0.1")];
    let plan = told(&world);
    assert_eq!(plan.announced, Some("10.1.0.1:80".parse().unwrap()));
    assert_eq!(plan.to.to_string(), "10.0.0.2:8080");
    world.service.addresses.pop();
    assert_eq!(told(&world).announced, Some("[fd01::1]:80".parse().unwrap()));
    world.service.addresses.pop();
    assert_eq!(told(&world).announced, Some("10.2.0.1:80".parse().unwrap()));
    world.service.addresses.pop();
    let error = world.admit(SERVER, &std::format!("{HOST}:80")).unwrap_err();
    assert_eq!(error.status(), 503);
    assert_eq!(
        error.to_string(),
        "requested service server.default.svc.cluster.local found, but has no IP addresses"
    );
    // Nobody is told, so nothing is missing.
    world.server.application_tunnel = Some(ApplicationTunnel::default());
    assert!(world.admit(SERVER, &std::format!("{HOST}:80")).is_ok());
}

#[test]
fn who_is_told_is_dialled_on_loopback() {
    let mut world = World::new().proxied();
    let plan = world.admit_with(&RouteConfig::default(), WAYPOINT, "10.1.0.1:8080").unwrap();
    assert_eq!(plan.to.to_string(), "127.0.0.1:15088");
    // Policies and logs see the workload.
    assert_eq!(plan.destination.to_string(), "10.0.0.100:15088");
    assert_eq!(plan.source, ShownSource::Own(OwnSource::Announced));
    world.waypoint.addresses = vec!["fd00::100".parse().unwrap()];
    world.server = world.waypoint.clone();
    world.server.uid = "u/v6".into();
    let plan = world.admit_with(&RouteConfig::default(), "[fd00::100]:15008", "[fd01::1]:80").unwrap();
    assert_eq!(plan.to.to_string(), "[::1]:15088");
}

#[test]
fn a_workloads_own_hostname_is_admitted() {
    let mut world = World::new();
    world.server.hostname = "Server.example".into();
    let reasons = world.admits(SERVER, "server.example:7000", "10.0.0.2:7000", None);
    assert_eq!(reasons, [Reason::OwnHostname]);
    assert!(world.admit(SERVER, "other.example:7000").is_err());
    assert_eq!(world.admit(SERVER, "server.example:15008"), Err(AdmitError::Recursive));
}

// ---- source addresses

#[test]
fn the_application_is_shown_the_client_unless_that_cannot_work() {
    let shown = |client: &str, to: &str| ShownSource::of(client.parse().unwrap(), to.parse().unwrap());
    let client = shown("10.0.0.1:1", "10.0.0.2:80");
    assert_eq!((client, client.bind()), (ShownSource::Client(CLIENT.ip()), Some(CLIENT.ip())));
    assert_eq!(shown("[::ffff:10.0.0.1]:1", "10.0.0.2:80"), client);
    // A pod that calls itself through its service.
    assert_eq!(shown("10.0.0.2:1", "10.0.0.2:80"), ShownSource::Own(OwnSource::SelfCall));
    assert_eq!(shown("[fd00::1]:1", "10.0.0.2:80"), ShownSource::Own(OwnSource::OtherFamily));
    assert_eq!(shown("[fd00::1]:1", "10.0.0.2:80").bind(), None);
    let plain = |from: &str| {
        let destination = "10.0.0.2:80".parse().unwrap();
        let (mesh, config) = (mesh(vec![]), RouteConfig::default());
        admit_plain(&mesh, &config, &server(), from.parse().unwrap(), destination).unwrap().source
    };
    assert_eq!(plain("10.0.0.1:9"), client);
    assert_eq!(plain("10.0.0.2:9"), ShownSource::Own(OwnSource::SelfCall));
}
