//! Waypoints and network gateways: datapath §2.6–2.8.

use std::collections::BTreeMap;
use std::string::String;

use super::*;
use crate::mesh::{ApplicationTunnel, GatewayTarget, HealthPolicy, RoutingScope, WeightedWaypoint};

fn at(address: &str, port: u16) -> Arc<GatewayAddress> {
    let (network, address) = address.split_once('/').unwrap();
    let address = NetworkAddress { network: network.into(), address: address.parse().unwrap() };
    Arc::new(GatewayAddress { target: GatewayTarget::Address(address), hbone_port: port })
}

fn named(hostname: &str, port: u16) -> Arc<GatewayAddress> {
    Arc::new(GatewayAddress { target: GatewayTarget::Hostname(name(hostname)), hbone_port: port })
}

/// A waypoint pod at 10.0.0.100 behind the service `waypoint` at 10.1.0.100, whose port 15008 leads to 15018.
fn waypoint() -> (Workload, Service) {
    let mut pod = workload("waypoint", &["10.0.0.100"], Plain);
    let mut service = service("waypoint", &["10.1.0.100"], &mut [&mut pod]);
    service.ports = [(15008, 15018)].into();
    service.subject_alt_names = vec![identity("waypoint-alias")];
    (pod, service)
}

/// A pod at 10.0.0.2 behind the service `web` at 10.1.0.1.
fn web() -> (Workload, Service) {
    let mut pod = workload("pod", &["10.0.0.2"], Hbone);
    let web = service("web", &["10.1.0.1"], &mut [&mut pod]);
    (pod, web)
}

#[test]
fn a_service_waypoint_takes_its_connections_to_the_virtual_address() {
    let (pod, mut web) = web();
    let (proxy, waypoints) = waypoint();
    for (reference, port, accounts) in [
        (at("/10.1.0.100", 15008), 15018, &["waypoint", "waypoint-alias"][..]),
        (named("waypoint", 15008), 15018, &["waypoint", "waypoint-alias"]),
        (at("/10.0.0.100", 15008), 15008, &["waypoint"]),
    ] {
        web.waypoint = Some(Arc::clone(&reference));
        let plan = plan(&[&pod, &proxy], &[&web, &waypoints], "10.1.0.1:80").unwrap();
        // Always HBONE, although this waypoint says it speaks plain TCP.
        assert_eq!(plan.hop, hbone(&std::format!("10.0.0.100:{port}"), "10.1.0.1:80", accounts));
        assert_eq!(&*plan.destination.unwrap().name, "waypoint");
        assert_eq!(&*plan.service.unwrap().name.hostname, "web");
        assert_eq!(plan.waypoint, Some(reference));
    }
}

#[test]
fn the_reasons_of_a_waypoint_are_told() {
    let (pod, mut web) = web();
    let (proxy, waypoints) = waypoint();
    web.waypoint = Some(named("waypoint", 15008));
    let plan = plan(&[&pod, &proxy], &[&web, &waypoints], "10.1.0.1:80").unwrap();
    assert_eq!(
        told(&plan),
        [
            "the target is service default/web",
            "waypoint default/waypoint:15008 speaks for the service",
            "endpoint c//Pod/default/waypoint drawn from 1 eligible of 1",
            "port 15008 maps to 15018"
        ]
    );
}

#[test]
fn a_waypoint_named_by_the_hostname_of_a_workload() {
    let (pod, mut web) = web();
    let (mut proxy, _) = waypoint();
    proxy.services.clear();
    proxy.hostname = "waypoint.example".into();
    web.waypoint = Some(named("waypoint.example", 15021));
    let plan = plan(&[&pod, &proxy], &[&web], "10.1.0.1:80").unwrap();
    assert_eq!(plan.hop, hbone("10.0.0.100:15021", "10.1.0.1:80", &["waypoint"]));
    assert!(plan.reasons.contains(&Reason::GatewayWorkload(proxy.uid)));
}

#[test]
fn a_waypoint_that_is_not_there_is_an_error_and_nothing_goes_around_it() {
    let (pod, mut web) = web();
    let (mut proxy, mut waypoints) = waypoint();
    let text = |web: &Service, proxy: &Workload, waypoints: &Service| {
        plan(&[&pod, proxy], &[web, waypoints], "10.1.0.1:80").unwrap_err().to_string()
    };
    web.waypoint = Some(named("elsewhere", 15008));
    assert_eq!(
        text(&web, &proxy, &waypoints),
        "unknown waypoint: waypoint default/elsewhere:15008 not found"
    );
    web.waypoint = Some(at("/10.9.9.9", 15008));
    assert_eq!(text(&web, &proxy, &waypoints), "unknown waypoint: waypoint /10.9.9.9:15008 not found");
    web.waypoint = Some(at("/fd00::9", 15008));
    assert_eq!(text(&web, &proxy, &waypoints), "unknown waypoint: waypoint /[fd00::9]:15008 not found");
    // There, but without a port, or without an endpoint that is ready.
    let unknown = "unknown waypoint: waypoint default/waypoint:15008 not found";
    web.waypoint = Some(named("waypoint", 15008));
    waypoints.ports.clear();
    assert_eq!(text(&web, &proxy, &waypoints), unknown);
    waypoints.ports = [(15008, 15008)].into();
    proxy.status = Health::Unhealthy;
    assert_eq!(text(&web, &proxy, &waypoints), unknown);
    proxy.status = Health::Healthy;
    waypoints.load_balancing.mode = LoadBalancingMode::Passthrough;
    assert_eq!(text(&web, &proxy, &waypoints), unknown);
}

#[test]
fn a_waypoint_service_without_ports_serves_endpoints_with_an_application_tunnel() {
    let (pod, mut web) = web();
    let (mut proxy, mut waypoints) = waypoint();
    web.waypoint = Some(named("waypoint", 15008));
    waypoints.ports.clear();
    proxy.application_tunnel = Some(ApplicationTunnel { port: Some(15088), ..Default::default() });
    let tunnelled = plan(&[&pod, &proxy], &[&web, &waypoints], "10.1.0.1:80").unwrap();
    assert_eq!(tunnelled.hop, hbone("10.0.0.100:15008", "10.1.0.1:80", &["waypoint", "waypoint-alias"]));
    // A tunnel that takes any port says nothing about which one.
    proxy.application_tunnel = Some(ApplicationTunnel::default());
    assert!(plan(&[&pod, &proxy], &[&web, &waypoints], "10.1.0.1:80").is_err());
}

#[test]
fn a_workload_waypoint_takes_connections_to_its_address_only() {
    let (mut pod, web) = web();
    let (proxy, waypoints) = waypoint();
    pod.waypoint = Some(at("/10.1.0.100", 15008));
    let by_address = plan(&[&pod, &proxy], &[&web, &waypoints], "10.0.0.2:8080").unwrap();
    let through = hbone("10.0.0.100:15018", "10.0.0.2:8080", &["waypoint", "waypoint-alias"]);
    assert_eq!((by_address.hop, by_address.service), (through, None));
    let by_service = plan(&[&pod, &proxy], &[&web, &waypoints], "10.1.0.1:80").unwrap();
    assert_eq!(by_service.hop, hbone("10.0.0.2:15008", "10.0.0.2:8080", &["pod"]));
    assert_eq!(by_service.waypoint, None);
}

#[test]
fn a_service_waypoint_does_not_take_connections_to_a_workload() {
    let (pod, mut web) = web();
    let (proxy, waypoints) = waypoint();
    web.waypoint = Some(named("waypoint", 15008));
    let plan = plan(&[&pod, &proxy], &[&web, &waypoints], "10.0.0.2:8080").unwrap();
    assert_eq!(plan.hop, hbone("10.0.0.2:15008", "10.0.0.2:8080", &["pod"]));
}

#[test]
fn the_waypoint_of_the_source_is_ignored() {
    let (pod, web) = web();
    let (proxy, waypoints) = waypoint();
    let mut source = client();
    source.waypoint = Some(named("waypoint", 15008));
    let plan = plan_from(&source, &[&pod, &proxy], &[&web, &waypoints], "10.1.0.1:80").unwrap();
    assert_eq!(plan.hop, hbone("10.0.0.2:15008", "10.0.0.2:8080", &["pod"]));
}

#[test]
fn what_comes_from_the_waypoint_goes_on_directly() {
    let (mut pod, web) = web();
    let (proxy, waypoints) = waypoint();
    for reference in [at("/10.1.0.100", 15008), at("/10.0.0.100", 15008), named("waypoint", 15008)] {
        pod.waypoint = Some(reference);
        let plan = plan_from(&proxy, &[&pod, &proxy], &[&web, &waypoints], "10.0.0.2:8080").unwrap();
        assert_eq!(plan.hop, hbone("10.0.0.2:15008", "10.0.0.2:8080", &["pod"]));
        assert!(plan.reasons.contains(&Reason::FromWaypoint));
    }
    // Another waypoint is a client like any other.
    let mut other = workload("waypoint", &["10.0.0.101"], Hbone);
    other.uid = "c//Pod/default/other".into();
    let plan = plan_from(&other, &[&pod, &proxy, &other], &[&web, &waypoints], "10.0.0.2:8080").unwrap();
    assert_eq!(plan.hop, hbone("10.0.0.100:15018", "10.0.0.2:8080", &["waypoint", "waypoint-alias"]));
}

#[test]
fn a_waypoint_is_dialled_in_the_family_it_has() {
    let (proxy, waypoints) = waypoint();
    let mut pod = workload("pod", &["fd00::2"], Hbone);
    for reference in [at("/10.0.0.100", 15018), named("waypoint", 15008)] {
        pod.waypoint = Some(reference);
        let plan = plan(&[&pod, &proxy], &[&waypoints], "[fd00::2]:8080").unwrap();
        let Hop::Hbone { dial, authority, .. } = plan.hop else { panic!("{:?}", plan.hop) };
        assert_eq!(dial.to_string(), "10.0.0.100:15018");
        assert_eq!(authority.to_string(), "[fd00::2]:8080");
    }
}

#[test]
fn a_referenced_address_is_dialled_and_a_hostname_follows_the_target() {
    let mut proxy = workload("waypoint", &["10.0.0.100", "fd00::100"], Hbone);
    let mut waypoints = service("waypoint", &[], &mut [&mut proxy]);
    waypoints.ports = [(15008, 15008)].into();
    let mut pod = workload("pod", &["fd00::2"], Hbone);
    let mut dial = |reference| {
        pod.waypoint = Some(reference);
        let plan = plan(&[&pod, &proxy], &[&waypoints], "[fd00::2]:8080").unwrap();
        dial_of(&plan.hop)
    };
    assert_eq!(dial(at("/10.0.0.100", 15008)), "10.0.0.100:15008");
    assert_eq!(dial(named("waypoint", 15008)), "[fd00::100]:15008");
}

fn dial_of(hop: &Hop) -> String {
    match hop {
        Hop::Hbone { dial, .. } | Hop::DoubleHbone { dial, .. } => dial.to_string(),
        Hop::Plain { .. } | Hop::Resolve(_) => panic!("{hop:?}"),
    }
}

#[test]
fn a_passthrough_service_with_a_waypoint_goes_through_it() {
    let (pod, mut web) = web();
    let (proxy, waypoints) = waypoint();
    web.load_balancing = LoadBalancing {
        mode: LoadBalancingMode::Passthrough,
        health: HealthPolicy::AllowAll,
        ..LoadBalancing::default()
    };
    web.waypoint = Some(named("waypoint", 15008));
    let plan = plan(&[&pod, &proxy], &[&web, &waypoints], "10.1.0.1:4711").unwrap();
    assert_eq!(plan.hop, hbone("10.0.0.100:15018", "10.1.0.1:4711", &["waypoint", "waypoint-alias"]));
}

// Our own wording of datapath §2.3: where an address is both, the workload decides about waypoints.
#[test]
fn an_address_of_both_has_the_waypoint_of_the_workload() {
    let (proxy, waypoints) = waypoint();
    let owner = workload("owner", &["10.1.0.1"], Hbone);
    let (mut pod, mut web) = web();
    web.waypoint = Some(at("/10.9.9.9", 15008));
    let direct = plan(&[&pod, &owner, &proxy], &[&web, &waypoints], "10.1.0.1:80").unwrap();
    assert_eq!(direct.hop, hbone("10.0.0.2:15008", "10.0.0.2:8080", &["pod"]));
    assert!(direct.reasons.contains(&Reason::AddressOfWorkloadToo(owner.uid.clone())));
    pod.waypoint = Some(named("waypoint", 15008));
    let through = plan(&[&pod, &owner, &proxy], &[&web, &waypoints], "10.1.0.1:80").unwrap();
    assert_eq!(through.hop, hbone("10.0.0.100:15018", "10.1.0.1:80", &["waypoint", "waypoint-alias"]));
}

fn weighted(weights: &[(&str, u32)]) -> Vec<WeightedWaypoint> {
    let entry =
        |(address, weight): &(&str, u32)| WeightedWaypoint { gateway: at(address, 15008), weight: *weight };
    weights.iter().map(entry).collect()
}

/// How often each waypoint is dialled in 6000 connections with one seed.
fn dialled(web: &Service, pods: &[&Workload]) -> BTreeMap<String, u32> {
    let workloads = pods.iter().map(|pod| (*pod).clone()).chain([client()]).collect();
    let mesh = Mesh::new("".into(), workloads, vec![web.clone()], vec![]).unwrap();
    let (config, mut rng) = (RouteConfig::default(), Rng::new(2026));
    let mut dialled = BTreeMap::new();
    for _ in 0..6000 {
        let target = "10.1.0.1:80".parse().unwrap();
        let plan = outbound(&mesh, &config, &client(), target, &mut rng).unwrap();
        *dialled.entry(dial_of(&plan.hop)).or_default() += 1;
    }
    dialled
}

#[test]
fn weighted_waypoints_share_connections_by_weight() {
    let (pod, mut web) = web();
    let [a, b, c, plain] = [1, 2, 3, 4].map(|n| {
        let address = std::format!("10.0.1.{n}");
        workload(&address, &[&address], Hbone)
    });
    let all = [&pod, &a, &b, &c, &plain];
    web.waypoint = Some(at("/10.0.1.4", 15008));
    web.weighted_waypoints = weighted(&[("/10.0.1.1", 1), ("/10.0.1.2", 0), ("/10.0.1.3", 3)]);
    let drawn = dialled(&web, &all);
    let of = |n: u32| f64::from(drawn.get(&std::format!("10.0.1.{n}:15008")).copied().unwrap_or(0));
    assert_eq!((of(2), of(4), drawn.len()), (0.0, 0.0, 2));
    let chi_square = (of(1) - 1500.0).powi(2) / 1500.0 + (of(3) - 4500.0).powi(2) / 4500.0;
    // 1 degree of freedom: 10.83 at p = 0.001.
    assert!(chi_square < 10.83, "{chi_square} {drawn:?}");
}

#[test]
fn without_any_weight_the_plain_waypoint_counts() {
    let (pod, mut web) = web();
    let (proxy, _) = waypoint();
    web.waypoint = Some(at("/10.0.0.100", 15008));
    for weights in [&[][..], &[("/10.0.1.1", 0), ("/10.0.1.2", 0)]] {
        web.weighted_waypoints = weighted(weights);
        let plan = plan(&[&pod, &proxy], &[&web], "10.1.0.1:80").unwrap();
        assert_eq!(dial_of(&plan.hop), "10.0.0.100:15008");
        assert_eq!(plan.reasons.contains(&Reason::WaypointsWeighNothing), !weights.is_empty());
    }
    // And without a plain one there is none.
    web.waypoint = None;
    let plan = plan(&[&pod, &proxy], &[&web], "10.1.0.1:80").unwrap();
    assert_eq!(dial_of(&plan.hop), "10.0.0.2:15008");
}

// ---- other networks

/// A pod of network `far` behind the service `web`; the service names who may answer inside the inner tunnel.
fn far() -> (Workload, Service) {
    let (mut pod, mut web) = web();
    pod.network = "far".into();
    web.subject_alt_names = vec![identity("web")];
    (pod, web)
}

fn gateway_pod() -> Workload {
    let mut gateway = workload("gateway", &["10.0.0.200"], Hbone);
    gateway.network = "far".into();
    gateway
}

fn double(dial: &str, gateway: &[&str], authority: (&str, u16), expected: &[&str]) -> Hop {
    let set = |accounts: &[&str]| accounts.iter().map(|account| identity(account)).collect();
    Hop::DoubleHbone {
        dial: dial.parse().unwrap(),
        gateway: set(gateway),
        authority: Authority::Host { host: authority.0.into(), port: authority.1 },
        expected: set(expected),
    }
}

#[test]
fn an_endpoint_of_another_network_without_gateway_is_an_error() {
    let (pod, web) = far();
    let error = plan(&[&pod], &[&web], "10.1.0.1:80").unwrap_err();
    assert_eq!(error, RouteError::NoValidDestination(pod.uid));
}

#[test]
fn an_endpoint_of_another_network_is_reached_through_its_gateway_by_address() {
    let (mut pod, web) = far();
    pod.network_gateway = Some(at("far/10.0.0.200", 15009));
    let gateway = gateway_pod();
    let plan = plan(&[&pod, &gateway], &[&web], "10.1.0.1:80").unwrap();
    assert_eq!(plan.hop, double("10.0.0.200:15009", &["gateway"], ("web", 80), &["web"]));
    assert_eq!(
        (plan.destination.as_ref().unwrap(), &plan.service.as_ref().unwrap().name),
        (&Arc::new(gateway), &web.name)
    );
    assert_eq!(
        told(&plan)[1..],
        [
            "endpoint c//Pod/default/pod drawn from 1 eligible of 1",
            "port 80 maps to 8080",
            "c//Pod/default/pod is in network \"far\"",
            "reached through network gateway far/10.0.0.200:15009, tunnel in tunnel",
            "the address is that of workload c//Pod/default/gateway"
        ]
    );
    // The outer tunnel is pooled like any other.
    let key = plan.hop.tunnel_key(identity("client"), "10.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(key.destination.to_string(), "10.0.0.200:15009");
    assert_eq!(key.expected, [identity("gateway")].into_iter().collect());
}

#[test]
fn a_gateway_by_hostname_has_its_port_mapped() {
    let (mut pod, web) = far();
    pod.network_gateway = Some(named("gateways", 15009));
    let mut gateway = gateway_pod();
    let mut gateways = service("gateways", &[], &mut [&mut gateway]);
    gateways.ports = [(15009, 15008)].into();
    gateways.subject_alt_names = vec![identity("gateway-alias")];
    let double_to = double("10.0.0.200:15008", &["gateway", "gateway-alias"], ("web", 80), &["web"]);
    assert_eq!(plan(&[&pod, &gateway], &[&web, &gateways], "10.1.0.1:80").unwrap().hop, double_to);
    // A gateway must have the port, whatever application tunnel its endpoint has.
    gateways.ports.clear();
    gateway.application_tunnel = Some(ApplicationTunnel { port: Some(1), ..Default::default() });
    let error = plan(&[&pod, &gateway], &[&web, &gateways], "10.1.0.1:80").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown network gateway: network gateway default/gateways:15009 not found"
    );
}

#[test]
fn a_service_without_alternative_names_expects_nobody_inside() {
    let (mut pod, mut web) = far();
    pod.network_gateway = Some(at("far/10.0.0.200", 15008));
    web.subject_alt_names.clear();
    let plan = plan(&[&pod, &gateway_pod()], &[&web], "10.1.0.1:80").unwrap();
    assert_eq!(plan.hop, double("10.0.0.200:15008", &["gateway"], ("web", 80), &[]));
}

#[test]
fn a_service_whose_waypoint_is_in_another_network_is_asked_for_by_its_own_name() {
    let (pod, mut web) = web();
    let (mut proxy, waypoints) = waypoint();
    web.subject_alt_names = vec![identity("web")];
    web.waypoint = Some(named("waypoint", 15008));
    proxy.network = "far".into();
    proxy.network_gateway = Some(at("far/10.0.0.200", 15008));
    let all = [&pod, &proxy, &gateway_pod()];
    let through = plan(&all, &[&web, &waypoints], "10.1.0.1:80").unwrap();
    assert_eq!(through.hop, double("10.0.0.200:15008", &["gateway"], ("web", 80), &["web"]));
    assert_eq!(through.waypoint, web.waypoint);
    // Nobody could say to that waypoint which workload is meant.
    let mut pod = pod.clone();
    pod.waypoint = web.waypoint.clone();
    let error = plan(&[&pod, &proxy, &gateway_pod()], &[&web, &waypoints], "10.0.0.2:80").unwrap_err();
    assert_eq!(error.to_string(), "no service for target address: 10.0.0.2:80");
}

#[test]
fn failover_by_network_prefers_what_is_here() {
    let mut near = workload("near", &["10.0.0.3"], Hbone);
    let mut beyond = workload("beyond", &[], Hbone);
    beyond.network = "far".into();
    beyond.network_gateway = Some(at("far/10.0.0.200", 15008));
    let mut web = service("web", &["10.1.0.1"], &mut [&mut near, &mut beyond]);
    web.load_balancing = LoadBalancing {
        mode: LoadBalancingMode::Failover,
        preferences: vec![RoutingScope::Network],
        ..LoadBalancing::default()
    };
    let gateway = gateway_pod();
    let here = plan(&[&near, &beyond, &gateway], &[&web], "10.1.0.1:80").unwrap();
    assert_eq!(here.hop, hbone("10.0.0.3:15008", "10.0.0.3:8080", &["near"]));
    near.status = Health::Unhealthy;
    let there = plan(&[&near, &beyond, &gateway], &[&web], "10.1.0.1:80").unwrap();
    assert_eq!(there.hop, double("10.0.0.200:15008", &["gateway"], ("web", 80), &[]));
}

// ---- hostnames

#[test]
fn a_workload_with_a_hostname_is_to_be_resolved_first() {
    let mut pod = workload("pod", &[], Hbone);
    pod.hostname = "pod.example".into();
    let web = service("web", &["10.1.0.1"], &mut [&mut pod]);
    let plan = plan(&[&pod], &[&web], "10.1.0.1:80").unwrap();
    assert!(plan.reasons.contains(&Reason::Resolve("pod.example".into())));
    let Hop::Resolve(name) = plan.hop else { panic!("{:?}", plan.hop) };
    assert_eq!((&*name.hostname, &name.workload), ("pod.example", &pod.uid));
    let mut rng = Rng::new(1);
    let answers = ["fd00::7", "10.0.0.7", "::ffff:10.0.0.8"].map(|answer| answer.parse().unwrap());
    // Any of the target's family, else any.
    let mut drawn: Vec<_> = (0..50).map(|_| dial_of(&name.resolved(&answers, &mut rng).unwrap())).collect();
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn, ["10.0.0.7:15008", "10.0.0.8:15008"]);
    let only = name.resolved(&answers[..1], &mut rng).unwrap();
    assert_eq!(only, hbone("[fd00::7]:15008", "[fd00::7]:8080", &["pod"]));
    let error = name.resolved(&[], &mut rng).unwrap_err();
    assert_eq!(error.to_string(), "no ip addresses were resolved for workload: c//Pod/default/pod");
    assert_eq!(Hop::Resolve(name).tunnel_key(identity("client"), answers[0]), None);
}

#[test]
fn gateways_and_plain_workloads_are_resolved_too() {
    let (mut pod, web) = far();
    pod.network_gateway = Some(named("gateways", 15008));
    let mut gateway = gateway_pod();
    gateway.addresses.clear();
    gateway.hostname = "lb.example".into();
    let mut gateways = service("gateways", &[], &mut [&mut gateway]);
    gateways.ports = [(15008, 15008)].into();
    let mut outside = workload("outside", &[], Plain);
    outside.hostname = "outside.example".into();
    let external = service("external", &["10.1.0.9"], &mut [&mut outside]);
    let resolved = |target| {
        let plan = plan(&[&pod, &gateway, &outside], &[&web, &gateways, &external], target).unwrap();
        let Hop::Resolve(name) = plan.hop else { panic!("{:?}", plan.hop) };
        name.resolved(&["1.2.3.4".parse().unwrap()], &mut Rng::new(1)).unwrap()
    };
    assert_eq!(resolved("10.1.0.1:80"), double("1.2.3.4:15008", &["gateway"], ("web", 80), &["web"]));
    assert_eq!(resolved("10.1.0.9:80"), plain("1.2.3.4:8080"));
}

#[test]
fn an_endpoint_with_neither_address_nor_hostname_is_never_drawn() {
    let mut nowhere = workload("nowhere", &[], Hbone);
    // A gateway helps those of other networks only.
    nowhere.network_gateway = Some(at("/10.0.0.200", 15008));
    let web = service("web", &["10.1.0.1"], &mut [&mut nowhere]);
    let error = plan(&[&nowhere], &[&web], "10.1.0.1:80").unwrap_err();
    assert_eq!(error, RouteError::NoHealthyUpstream("10.1.0.1:80".parse().unwrap()));
}
