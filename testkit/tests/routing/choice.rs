//! Endpoint choice: the same set as the reference chooser, and shares by weight.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::mesh::{
    GatewayAddress, GatewayTarget, Health, HealthPolicy, IpFamilies, LoadBalancing, LoadBalancingMode,
    Locality, Mesh, NetworkAddress, RoutingScope, Service, ServiceName, WeightedWaypoint, Workload,
};
use adit_core::rng::Rng;
use adit_core::route::{self, Hop, PortRule, RouteConfig, RouteError, Standing};
use adit_testkit::oracle::chi_square;
use adit_testkit::oracle::endpoints::{Choice, eligible};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn name() -> ServiceName {
    ServiceName { namespace: "default".into(), hostname: "web".into() }
}

fn bare(uid: &str) -> Workload {
    Workload::new(uid, uid, Identity::new("td", "default", "web").expect("an identity"))
}

const ADDRESSES: [&[&str]; 5] =
    [&[], &["10.0.0.9"], &["fd00::9"], &["fd00::9", "10.0.0.9"], &["10.1.0.1", "fd00::9"]];

/// A workload whose every part is one of a few, so that parts meet.
fn workload(uid: String) -> impl Strategy<Value = Workload> {
    let place = vec(select(vec!["", "a"]), 5);
    let network = select(vec!["", "far"]);
    let ports = prop_oneof![
        2 => Just(vec![]),
        1 => Just(vec![(80, 9090)]),
        1 => Just(vec![(81, 9191)]),
        1 => Just(vec![(80, 0)])
    ];
    let rest = (any::<bool>(), 0u32..4, select(ADDRESSES.to_vec()), ports, 0..8u8);
    (place, network, rest).prop_map(move |(place, network, (well, capacity, addresses, ports, rare))| {
        let mut workload = bare(&uid);
        let part = |n: usize| Arc::from(place[n]);
        workload.locality = Locality { region: part(0), zone: part(1), subzone: part(2) };
        (workload.node, workload.cluster) = (part(3), part(4));
        workload.network = network.into();
        workload.status = if well { Health::Healthy } else { Health::Unhealthy };
        workload.capacity = capacity;
        workload.addresses = addresses.iter().map(|ip| ip.parse().expect("an address")).collect();
        if rare != 0 {
            workload.services.insert(name(), ports.into_iter().collect());
        }
        workload
    })
}

fn service() -> impl Strategy<Value = Service> {
    use LoadBalancingMode::{Failover, Standard, Strict};
    use RoutingScope::{Cluster, Network, Node, Region, Subzone, Zone};
    let mixed = subsequence(vec![Network, Region, Zone, Subzone, Node, Cluster], 0..=4).prop_shuffle();
    let network_first = subsequence(vec![Region, Zone, Subzone, Node, Cluster], 1..=3)
        .prop_map(|scopes| [vec![Network], scopes].concat());
    let scopes = prop_oneof![mixed, network_first];
    let families = vec![IpFamilies::Automatic, IpFamilies::Ipv4, IpFamilies::Ipv6, IpFamilies::Dual];
    (scopes, select(vec![Standard, Strict, Failover, Failover]), any::<bool>(), select(families)).prop_map(
        |(preferences, mode, all, ip_families)| {
            let health = if all { HealthPolicy::AllowAll } else { HealthPolicy::OnlyHealthy };
            let mut service = Service::new(name());
            service.addresses = ["10.1.0.1", "fd01::1"].map(vip).into();
            service.ports = [(80, 8080), (81, 0)].into();
            service.load_balancing = LoadBalancing { preferences, mode, health };
            service.ip_families = ip_families;
            service
        },
    )
}

fn vip(address: &str) -> NetworkAddress {
    NetworkAddress { network: "".into(), address: address.parse().expect("an address") }
}

fn workloads() -> impl Strategy<Value = Vec<Workload>> {
    (0usize..6).prop_flat_map(|n| (0..n).map(|i| workload(format!("w{i}"))).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn the_same_endpoints_as_the_reference(
        workloads in workloads(),
        service in service(),
        mut source in workload("source".into()),
        target in select(vec!["10.1.0.1:80", "[fd01::1]:80", "10.1.0.1:81", "[fd01::1]:82"]),
        seed in any::<u64>(),
    ) {
        source.services = [].into_iter().collect();
        source.addresses.clear();
        let target: SocketAddr = target.parse().expect("an address");
        let mesh = Mesh::new("".into(), workloads.clone(), vec![service.clone()], vec![]).expect("a mesh");
        let expected = eligible(&workloads, &service, &source, target);

        let found = route::endpoints(&mesh, &service, target.port(), &source, PortRule::Standard);
        let found: Vec<_> = found
            .iter()
            .filter(|endpoint| endpoint.standing == Standing::Eligible)
            .map(|endpoint| (endpoint.workload.uid.to_string(), endpoint.workload.capacity))
            .collect();
        let wanted: Vec<_> = expected.iter().map(|choice| (choice.uid.clone(), choice.weight)).collect();
        prop_assert_eq!(found, wanted);

        // What one address is of both a service and a workload has rules of its own.
        prop_assume!(mesh.workload_by_address("", target.ip()).is_none());
        let drawable: Vec<&Choice> = expected.iter().filter(|choice| choice.weight > 0).collect();
        for draw in 0..8 {
            let mut rng = Rng::new(seed.wrapping_add(draw));
            let plan = route::outbound(&mesh, &RouteConfig::default(), &source, target, &mut rng);
            match plan {
                Ok(plan) => {
                    let Hop::Plain { to } = plan.hop else { panic!("{:?}", plan.hop) };
                    let drawn = plan.destination.expect("a destination");
                    prop_assert_eq!(&drawn.network, &source.network);
                    let allowed = drawable.iter().any(|c| *c.uid == *drawn.uid && c.at == Some(to));
                    prop_assert!(allowed, "{} at {to} is none of {drawable:?}", drawn.uid);
                }
                Err(RouteError::NoHealthyUpstream(_)) => prop_assert!(drawable.is_empty(), "{drawable:?}"),
                Err(RouteError::NoValidDestination(uid)) => {
                    let choice = drawable.iter().find(|choice| *choice.uid == *uid);
                    let abroad = mesh.workloads().any(|w| w.uid == uid && w.network != source.network);
                    prop_assert!(choice.is_some_and(|choice| choice.at.is_none() || abroad), "{uid}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Who is dialled how often in `draws` connections with one seed.
fn dialled(mesh: &Mesh, draws: u32) -> BTreeMap<String, u32> {
    let (source, config, mut rng) = (bare("source"), RouteConfig::default(), Rng::new(2026));
    let target = "10.1.0.1:80".parse().expect("an address");
    let mut dialled = BTreeMap::new();
    for _ in 0..draws {
        let plan = route::outbound(mesh, &config, &source, target, &mut rng).expect("a plan");
        *dialled.entry(plan.destination.expect("a destination").uid.to_string()).or_default() += 1;
    }
    dialled
}

const WEIGHTS: [u32; 6] = [1, 0, 2, 7, 40, 3];

/// Workloads `w0` to `w5` at 10.0.0.1 to 10.0.0.6.
fn six(capacity: impl Fn(usize) -> u32) -> Vec<Workload> {
    let one = |n: usize| {
        let mut workload = bare(&format!("w{n}"));
        workload.addresses = vec![format!("10.0.0.{}", n + 1).parse().expect("an address")];
        workload.capacity = capacity(n);
        workload
    };
    (0..6).map(one).collect()
}

#[track_caller]
fn shares_follow_the_weights(mesh: &Mesh) {
    let dialled = dialled(mesh, 50_000);
    let counts: Vec<u32> = (0..6).map(|n| dialled.get(&format!("w{n}")).copied().unwrap_or(0)).collect();
    let distance = chi_square(&counts, &WEIGHTS);
    // 4 degrees of freedom: 18.47 at p = 0.001.
    assert!(distance < 18.47, "{distance} {counts:?}");
}

#[test]
fn endpoints_share_connections_by_capacity() {
    let mut workloads = six(|n| WEIGHTS[n]);
    for workload in &mut workloads {
        workload.services.insert(name(), [].into_iter().collect());
    }
    let mut service = Service::new(name());
    service.addresses = vec![vip("10.1.0.1")];
    service.ports = [(80, 8080)].into();
    shares_follow_the_weights(&Mesh::new("".into(), workloads, vec![service], vec![]).expect("a mesh"));
}

#[test]
fn waypoints_share_connections_by_weight() {
    let mut service = Service::new(name());
    service.addresses = vec![vip("10.1.0.1")];
    let gateway = |n: usize| {
        let target = GatewayTarget::Address(vip(&format!("10.0.0.{}", n + 1)));
        Arc::new(GatewayAddress { target, hbone_port: 15008 })
    };
    service.weighted_waypoints =
        (0..6).map(|n| WeightedWaypoint { gateway: gateway(n), weight: WEIGHTS[n] }).collect();
    shares_follow_the_weights(&Mesh::new("".into(), six(|_| 1), vec![service], vec![]).expect("a mesh"));
}

#[test]
fn fifty_one_connections_to_two_endpoints_reach_both() {
    let mut workloads = six(|_| 1);
    workloads.truncate(2);
    for workload in &mut workloads {
        workload.services.insert(name(), [].into_iter().collect());
    }
    let mut service = Service::new(name());
    service.addresses = vec![vip("10.1.0.1")];
    service.ports = [(80, 8080)].into();
    let mesh = Mesh::new("".into(), workloads, vec![service], vec![]).expect("a mesh");
    assert_eq!(dialled(&mesh, 51).len(), 2);
}
