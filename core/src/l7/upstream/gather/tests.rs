use alloc::collections::BTreeMap;

use super::super::cluster::tests::workload;
use super::super::{Distribute, Label, PriorityLabel};
use super::*;
use crate::l7::OutlierDetection;
use crate::mesh::{Change, Health, LoadBalancing, PortMap, RoutingScope, ServiceName};

fn service() -> Service {
    let mut service = Service::new(ServiceName { namespace: "ns".into(), hostname: "web".into() });
    service.ports = BTreeMap::from([(80, 8080), (81, 0)]);
    service
}

/// An endpoint at `region/zone`.
fn member(name: &str, place: &str) -> Workload {
    let mut it = workload(name);
    let (region, zone) = place.split_once('/').unwrap();
    (it.locality.region, it.locality.zone) = (region.into(), zone.into());
    it.addresses = vec!["10.0.0.1".parse().unwrap()];
    it.services = [(service().name, PortMap::default())].into_iter().collect();
    it
}

fn mesh(members: impl IntoIterator<Item = Workload>) -> Mesh {
    let mut mesh = Mesh::default();
    mesh.apply(Change::Service(service())).unwrap();
    for member in members {
        mesh.apply(Change::Workload(member)).unwrap();
    }
    mesh
}

fn levels(gathered: &Gathered) -> Vec<(&str, u16)> {
    gathered.endpoints.iter().map(|it| (&*it.workload.name, it.level)).collect()
}

fn detecting(locality: LocalityRule) -> TrafficPolicy {
    TrafficPolicy { locality, outliers: Some(OutlierDetection::default()), ..TrafficPolicy::default() }
}

#[test]
fn members_that_cannot_be_reached_are_told() {
    let mut remote = member("remote", "r/z");
    remote.network = "other".into();
    let mut nowhere = member("nowhere", "r/z");
    nowhere.addresses.clear();
    let mut named = member("named", "r/z");
    named.addresses.clear();
    named.hostname = "example.org".into();
    let mut sick = member("sick", "r/z");
    sick.status = Health::Unhealthy;
    let mut own = member("own", "r/z");
    own.capacity = 7;
    own.services = [(service().name, PortMap::from([(80, 9090), (81, 9091)]))].into_iter().collect();
    let mesh = mesh([remote, nowhere, named, sick, own, member("plain", "r/z")]);
    let at = |port| {
        endpoints_of(&mesh, (&service(), port), &member("local", "r/z"), &TrafficPolicy::default(), None)
    };
    let found = at(80);
    let endpoints: Vec<_> =
        found.endpoints.iter().map(|it| (&*it.workload.name, it.port, it.weight)).collect();
    assert_eq!(endpoints, [("named", 8080, 1), ("own", 9090, 7), ("plain", 8080, 1)]);
    let left_out: Vec<_> = found.left_out.iter().map(|it| (&*it.uid, it.why)).collect();
    let expected =
        [("//Pod/ns/nowhere", WhyLeftOut::NoAddress), ("//Pod/ns/remote", WhyLeftOut::OtherNetwork)];
    assert_eq!(left_out, expected);
    assert_eq!(levels(&at(81)), [("own", 0)]);
    assert!(at(82).endpoints.is_empty());
}

#[test]
fn a_subset_has_those_of_its_labels() {
    let members = ["v1", "v2"].map(|version| {
        let mut it = member(version, "r/z");
        it.canonical_revision = version.into();
        it
    });
    let mesh = mesh(members);
    let of = |labels: &[(&str, &str)]| {
        let subset = Selector::new(labels.iter().copied());
        let local = member("local", "r/z");
        endpoints_of(&mesh, (&service(), 80), &local, &TrafficPolicy::default(), Some(&subset))
            .endpoints
            .len()
    };
    assert_eq!(
        [of(&[]), of(&[("version", "v1")]), of(&[("version", "v3")]), of(&[("tier", "x")])],
        [2, 1, 0, 0]
    );
}

#[test]
fn levels_are_as_the_rule_says() {
    let mesh = mesh([
        member("far", "eu/a"),
        member("here", "us/a"),
        member("next", "us/b"),
        member("third", "asia/a"),
    ]);
    let local = member("local", "us/a");
    let of = |policy: &TrafficPolicy| {
        let gathered = endpoints_of(&mesh, (&service(), 80), &local, policy, None);
        gathered.endpoints.iter().map(|it| it.level).collect::<Vec<_>>()
    };
    // far, here, next, third.
    assert_eq!(of(&TrafficPolicy::default()), [0, 0, 0, 0], "it takes detected outliers");
    assert_eq!(of(&detecting(LocalityRule::Default)), [3, 0, 2, 3]);
    assert_eq!(of(&detecting(LocalityRule::Off)), [0, 0, 0, 0]);
    assert_eq!(of(&detecting(LocalityRule::Failover(vec![("us".into(), "eu".into())]))), [3, 0, 2, 4]);
    let region = PriorityLabel { label: Label::Region, value: None };
    assert_eq!(of(&detecting(LocalityRule::Priority(vec![region]))), [1, 0, 0, 1]);
    let distribute = Distribute {
        from: "us/*".parse().unwrap(),
        to: vec![("us/a".parse().unwrap(), 80), ("us/*".parse().unwrap(), 10), ("eu/*".parse().unwrap(), 10)],
    };
    let policy =
        TrafficPolicy { locality: LocalityRule::Distribute(vec![distribute]), ..TrafficPolicy::default() };
    let gathered = endpoints_of(&mesh, (&service(), 80), &local, &policy, None);
    assert_eq!(levels(&gathered), [("far", 2), ("here", 0), ("next", 1)]);
    assert_eq!(gathered.spread, Spread::Shares(vec![80, 10, 10]));
    assert_eq!(gathered.left_out[0].why, WhyLeftOut::NoShare);
    let unknown =
        endpoints_of(&mesh, (&service(), 80), &workload("lost"), &detecting(LocalityRule::Default), None);
    assert!(unknown.endpoints.iter().all(|it| it.level == 0), "a proxy that does not know where it is");
}

#[test]
fn the_service_prefers_by_itself() {
    let with = |mode| {
        let mut it = service();
        let preferences = vec![RoutingScope::Region, RoutingScope::Zone];
        it.load_balancing = LoadBalancing { preferences, mode, ..LoadBalancing::default() };
        it
    };
    let members = [member("far", "eu/a"), member("here", "us/a"), member("next", "us/b")];
    let local = member("local", "us/a");
    for (mode, policy, expected) in [
        (LoadBalancingMode::Standard, TrafficPolicy::default(), &[("far", 0), ("here", 0), ("next", 0)][..]),
        (LoadBalancingMode::Failover, TrafficPolicy::default(), &[("far", 2), ("here", 0), ("next", 1)]),
        (LoadBalancingMode::Failover, detecting(LocalityRule::Off), &[("far", 0), ("here", 0), ("next", 0)]),
        (LoadBalancingMode::Strict, TrafficPolicy::default(), &[("here", 0)]),
    ] {
        let mut mesh = mesh(members.clone());
        mesh.apply(Change::Service(with(mode))).unwrap();
        let gathered = endpoints_of(&mesh, (&with(mode), 80), &local, &policy, None);
        assert_eq!(levels(&gathered), expected, "{mode:?}");
    }
}
