use std::string::{String, ToString};
use std::vec;

use super::*;
use crate::identity::Identity;
use crate::mesh::{ServiceName, TunnelProtocol};

fn name() -> ServiceName {
    ServiceName { namespace: "default".into(), hostname: "web".into() }
}

fn service() -> Service {
    let mut service = Service::new(name());
    service.ports.insert(80, 8080);
    service
}

/// `place` is region/zone/subzone/node/cluster/network.
fn workload(uid: &str, place: &str) -> Workload {
    let mut workload = Workload::new(uid, uid, Identity::new("td", "default", "web").unwrap());
    let mut parts = place.split('/').map(Arc::<str>::from);
    let mut part = || parts.next().unwrap_or_default();
    workload.locality.region = part();
    workload.locality.zone = part();
    workload.locality.subzone = part();
    workload.node = part();
    workload.cluster = part();
    workload.network = part();
    workload.protocol = TunnelProtocol::Hbone;
    workload.addresses = vec!["10.0.0.1".parse().unwrap()];
    workload.services.insert(name(), Default::default());
    workload
}

fn mesh(service: &Service, endpoints: Vec<Workload>) -> Mesh {
    Mesh::new("".into(), endpoints, vec![service.clone()], vec![]).unwrap()
}

/// Who is ever drawn, ordered.
fn drawn(service: &Service, endpoints: &[Workload], source: &Workload) -> Vec<String> {
    let (mesh, mut rng) = (mesh(service, endpoints.to_vec()), Rng::new(1));
    let mut drawn: Vec<_> = (0..200)
        .filter_map(|_| pick(&mesh, service, 80, source, PortRule::Standard, &mut rng))
        .map(|pick| pick.workload.uid.to_string())
        .collect();
    drawn.sort();
    drawn.dedup();
    drawn
}

#[track_caller]
fn preference(mode: LoadBalancingMode, scopes: &[RoutingScope], places: &[&str], expected: &[&str]) {
    let mut service = service();
    service.load_balancing = LoadBalancing { preferences: scopes.to_vec(), mode, ..LoadBalancing::default() };
    let endpoints: Vec<_> = places.iter().map(|place| workload(place, place)).collect();
    assert_eq!(
        drawn(&service, &endpoints, &workload("source", "r/z/s/n/c/net")),
        expected,
        "{mode:?} {scopes:?}"
    );
}

use LoadBalancingMode::{Failover, Standard, Strict};
use RoutingScope::{Cluster, Network, Node, Region, Subzone, Zone};

// datapath §2.4 and §2.8.
#[test]
fn standard_takes_all_whatever_the_preferences() {
    preference(Standard, &[Node], &["r/z/s/n/c/net", "x/z/s/x/c/net"], &["r/z/s/n/c/net", "x/z/s/x/c/net"]);
}

#[test]
fn strict_takes_only_full_matches() {
    preference(Strict, &[Node], &["r/z/s/n/c/net", "r/z/s/x/c/net"], &["r/z/s/n/c/net"]);
    preference(Strict, &[Region, Zone], &["r/x/s/n/c/net", "x/z/s/n/c/net"], &[]);
    preference(Strict, &[], &["x/x/x/x/x/x"], &["x/x/x/x/x/x"]);
    // The bonus for the network does not make a partial match full, nor does skipping a mismatch.
    preference(Strict, &[Network, Region], &["x/z/s/n/c/net", "r/z/s/n/c/x"], &[]);
    preference(Strict, &[Network, Region], &["r/x/x/x/x/net", "r/z/s/n/c/x"], &["r/x/x/x/x/net"]);
}

#[test]
fn failover_takes_the_longest_leading_match() {
    let places = ["r/x/s/n/c/net", "r/z/x/x/c/net", "x/z/s/n/c/net"];
    preference(Failover, &[Region, Zone], &places, &["r/z/x/x/c/net"]);
    // Matching stops at the first mismatch: zone alone counts nothing.
    preference(
        Failover,
        &[Region, Zone],
        &["x/z/s/n/c/net", "x/y/s/n/c/net"],
        &["x/y/s/n/c/net", "x/z/s/n/c/net"],
    );
    preference(Failover, &[Subzone, Node, Cluster], &["x/x/s/n/x/net", "r/z/s/x/c/net"], &["x/x/s/n/x/net"]);
    // Nobody matches: anybody.
    preference(Failover, &[Node], &["r/z/s/x/c/net", "r/z/s/y/c/net"], &["r/z/s/x/c/net", "r/z/s/y/c/net"]);
}

#[test]
fn failover_by_network_first() {
    let scopes = [Network, Region, Zone];
    // Any endpoint in the network outranks all outside, which are still ranked by locality.
    preference(Failover, &scopes, &["x/x/x/x/c/net", "r/z/s/n/c/far"], &["x/x/x/x/c/net"]);
    preference(Failover, &scopes, &["x/x/x/x/c/net", "r/x/x/x/c/net"], &["r/x/x/x/c/net"]);
    preference(Failover, &scopes, &["x/z/s/n/c/far", "r/x/x/x/c/far"], &["r/x/x/x/c/far"]);
    preference(Failover, &[Network], &["x/x/x/x/x/far", "x/x/x/x/x/net"], &["x/x/x/x/x/net"]);
    // Not special when it is not first.
    preference(Failover, &[Region, Network], &["x/z/s/n/c/net", "r/z/s/n/c/far"], &["r/z/s/n/c/far"]);
}

#[test]
fn empty_localities_are_equal() {
    let mut service = service();
    service.load_balancing =
        LoadBalancing { preferences: vec![Region], mode: Strict, ..LoadBalancing::default() };
    assert_eq!(drawn(&service, &[workload("a", ""), workload("b", "r")], &workload("source", "")), ["a"]);
}

#[test]
fn what_cannot_be_reached_is_no_candidate() {
    let mut without_address = workload("a", "");
    without_address.addresses.clear();
    let plain = workload("b", "");
    let source = workload("source", "");
    assert_eq!(drawn(&service(), &[without_address, plain.clone()], &source), ["b"]);

    // A port the service does not have.
    let mesh = mesh(&service(), vec![plain.clone()]);
    assert!(pick(&mesh, &service(), 81, &source, PortRule::Standard, &mut Rng::new(1)).is_none());

    // A named port: only endpoints with a mapping of their own.
    let mut named = service();
    named.ports.insert(80, 0);
    let mut mapped = workload("c", "");
    mapped.services.insert(name(), [(80, 9090)].into());
    let mut mapped_to_nothing = workload("d", "");
    mapped_to_nothing.services.insert(name(), [(80, 0)].into());
    assert_eq!(drawn(&named, &[plain, mapped, mapped_to_nothing], &source), ["c"]);
}

#[test]
fn the_endpoints_own_port_mapping_wins() {
    let mut own = workload("a", "");
    own.services.insert(name(), [(80, 9090), (81, 7070)].into());
    let pick_port = |endpoint: Workload| {
        let mesh = mesh(&service(), vec![endpoint]);
        pick(&mesh, &service(), 80, &workload("source", ""), PortRule::Standard, &mut Rng::new(1))
            .map(|pick| pick.port)
    };
    assert_eq!(pick_port(own), Some(9090));
    assert_eq!(pick_port(workload("b", "")), Some(8080));
}

#[test]
fn no_weight_no_traffic() {
    let (mut a, mut b) = (workload("a", ""), workload("b", ""));
    a.capacity = 0;
    assert_eq!(drawn(&service(), &[a.clone(), b.clone()], &workload("source", "")), ["b"]);
    b.capacity = 0;
    assert!(drawn(&service(), &[a, b], &workload("source", "")).is_empty());
    assert!(drawn(&service(), &[], &workload("source", "")).is_empty());
}

#[test]
fn choice_follows_capacity() {
    let weights = [1u32, 2, 3, 4, 0, u32::MAX / 400_000_000];
    let endpoints = weights.iter().enumerate().map(|(n, weight)| {
        let mut endpoint = workload(&std::format!("{n}"), "");
        endpoint.capacity = *weight;
        endpoint
    });
    let mesh = mesh(&service(), endpoints.collect());
    let (source, mut rng) = (workload("source", ""), Rng::new(2026));
    let draws = 60_000u32;
    let mut seen = [0u32; 6];
    for _ in 0..draws {
        let pick = pick(&mesh, &service(), 80, &source, PortRule::Standard, &mut rng).unwrap();
        seen[pick.workload.uid.parse::<usize>().unwrap()] += 1;
    }
    assert_eq!(seen[4], 0);
    let total: u32 = weights.iter().sum();
    let chi_square: f64 = seen
        .iter()
        .zip(weights)
        .filter(|(_, weight)| *weight > 0)
        .map(|(seen, weight)| {
            let expected = f64::from(draws) * f64::from(weight) / f64::from(total);
            (f64::from(*seen) - expected).powi(2) / expected
        })
        .sum();
    // 4 degrees of freedom: 18.47 at p = 0.001.
    assert!(chi_square < 18.47, "{chi_square} {seen:?}");
}

#[test]
fn large_capacities_do_not_overflow() {
    let endpoints: Vec<_> = ["a", "b", "c"]
        .map(|uid| {
            let mut endpoint = workload(uid, "");
            endpoint.capacity = u32::MAX;
            endpoint
        })
        .into();
    assert_eq!(drawn(&service(), &endpoints, &workload("source", "")), ["a", "b", "c"]);
}
