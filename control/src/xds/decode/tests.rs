//! Each reason for a rejection, and every field of a good resource.
use adit_core::mesh::{
    GatewayTarget, Health, HealthPolicy, LoadBalancingMode, MatchList, RoutingScope, StringMatch,
    TunnelProtocol, Visibility,
};
use prost_types::Any;

use super::*;
use crate::proto::istio::security as sec;
use crate::proto::istio::workload as wire;

fn workload() -> wire::Workload {
    wire::Workload {
        uid: "k//Pod/ns/web".into(),
        name: "web".into(),
        namespace: "ns".into(),
        addresses: vec![vec![10, 0, 0, 1]],
        ..Default::default()
    }
}

fn service() -> wire::Service {
    wire::Service {
        name: "web".into(),
        namespace: "ns".into(),
        hostname: "web.ns.svc".into(),
        ..Default::default()
    }
}

fn read(kind: Type) -> Result<Change, Rejection> {
    let name = match &kind {
        Type::Workload(workload) => workload.uid.clone(),
        Type::Service(service) => format!("{}/{}", service.namespace, service.hostname),
    };
    address(&name, &Address { r#type: Some(kind) }.encode_to_vec())
}

fn read_workload(change: impl FnOnce(&mut wire::Workload)) -> Result<Change, Rejection> {
    let mut message = workload();
    change(&mut message);
    read(Type::Workload(message))
}

fn read_service(change: impl FnOnce(&mut wire::Service)) -> Result<Change, Rejection> {
    let mut message = service();
    change(&mut message);
    read(Type::Service(message))
}

fn nowhere() -> wire::GatewayAddress {
    wire::GatewayAddress { destination: None, hbone_mtls_port: 15008 }
}

fn at(octets: &[u8], length: Option<u32>) -> wire::NetworkAddress {
    wire::NetworkAddress { network: "n".into(), address: octets.to_vec(), length }
}

fn balancing(change: impl FnOnce(&mut wire::LoadBalancing)) -> Option<wire::LoadBalancing> {
    let mut message = wire::LoadBalancing::default();
    change(&mut message);
    Some(message)
}

#[test]
fn a_workload_gets_the_defaults() {
    let Ok(Change::Workload(got)) = read_workload(|_| ()) else { panic!("no workload") };
    assert_eq!(got.identity().to_string(), "spiffe://cluster.local/ns/ns/sa/default");
    assert_eq!((&*got.cluster, got.capacity, got.status), ("Kubernetes", 1, Health::Healthy));
    assert_eq!((got.protocol, got.application_tunnel), (TunnelProtocol::None, None));
}

#[test]
fn a_workload_keeps_what_it_says() {
    let got = read_workload(|w| {
        w.tunnel_protocol = 1;
        w.status = 1;
        w.capacity = Some(0);
        w.addresses.push(vec![0; 16]);
        w.waypoint = Some(wire::GatewayAddress {
            destination: Some(wire::gateway_address::Destination::Address(at(&[10, 0, 0, 9], Some(32)))),
            hbone_mtls_port: 15008,
        });
        w.application_tunnel = Some(wire::ApplicationTunnel { protocol: 1, port: 0 });
        let ports = wire::PortList {
            ports: vec![wire::Port { service_port: 80, target_port: 8080, app_protocol: 9 }],
        };
        w.services.insert("ns/web.ns.svc".into(), ports);
        // Neither bears on traffic.
        w.workload_type = 77;
    });
    let Ok(Change::Workload(got)) = got else { panic!("{got:?}") };
    assert_eq!((got.protocol, got.status, got.capacity), (TunnelProtocol::Hbone, Health::Unhealthy, 0));
    let waypoint = got.waypoint.as_ref().expect("a waypoint");
    let GatewayTarget::Address(address) = &waypoint.target else { panic!("{waypoint:?}") };
    assert_eq!((&*address.network, waypoint.hbone_port), ("n", 15008));
    assert_eq!(got.application_tunnel.and_then(|tunnel| tunnel.port), None);
    let (name, ports) = got.services.iter().next().expect("a service");
    assert_eq!((name.to_string().as_str(), ports.get(&80)), ("ns/web.ns.svc", Some(&8080)));
}

#[test]
fn workloads_are_rejected_with_the_reason() {
    let unknown = |field, value| Rejection::UnknownEnum { field, value };
    let cases: Vec<(Result<Change, Rejection>, Rejection)> = vec![
        (read_workload(|w| w.tunnel_protocol = 9), unknown("tunnel_protocol", 9)),
        (read_workload(|w| w.status = -1), unknown("status", -1)),
        (read_workload(|w| w.network_mode = 2), unknown("network_mode", 2)),
        (read_workload(|w| w.tunnel_protocol = 2), Rejection::LegacyMtls),
        (
            read_workload(|w| w.addresses.push(vec![1; 5])),
            Rejection::AddressLength { field: "addresses", octets: 5 },
        ),
        (
            read_workload(|w| drop(w.services.insert("web".into(), wire::PortList::default()))),
            Rejection::ServiceKey("web".into()),
        ),
        (read_workload(|w| w.waypoint = Some(nowhere())), Rejection::NoDestination("waypoint")),
        (read_workload(|w| w.network_gateway = Some(nowhere())), Rejection::NoDestination("network_gateway")),
        (
            read_workload(|w| {
                w.application_tunnel = Some(wire::ApplicationTunnel { protocol: 0, port: 65536 })
            }),
            Rejection::Port { field: "application_tunnel", port: 65536 },
        ),
        (read_workload(|w| w.uid.clear()), Rejection::Empty("uid")),
    ];
    for (got, expected) in cases {
        assert_eq!(got.unwrap_err(), expected);
    }
    assert!(matches!(read_workload(|w| w.namespace = "a/b".into()), Err(Rejection::Identity(_))));
}

#[test]
fn a_service_keeps_what_it_says() {
    let got = read_service(|s| {
        s.addresses =
            vec![at(&[10, 1, 0, 1], None), at(&[10, 1, 0, 2], Some(32)), at(&[10, 2, 3, 4], Some(16))];
        s.ports = vec![wire::Port { service_port: 80, target_port: 0, app_protocol: 0 }];
        s.subject_alt_names = vec!["spiffe://td/ns/a/sa/b".into(), "example.com".into()];
        s.load_balancing = balancing(|lb| {
            (lb.routing_preference, lb.mode, lb.health_policy) = (vec![6, 1, 2], 2, 1);
        });
        s.visibility = 44;
        s.canonical = true;
    });
    let Ok(Change::Service(got)) = got else { panic!("{got:?}") };
    assert_eq!((got.addresses.len(), got.cidrs[0].cidr.to_string()), (2, "10.2.0.0/16".into()));
    assert_eq!(got.ports.get(&80), Some(&0));
    assert_eq!(got.subject_alt_names.len(), 1);
    let balanced = &got.load_balancing;
    assert_eq!(balanced.preferences, [RoutingScope::Network, RoutingScope::Region, RoutingScope::Zone]);
    assert_eq!((balanced.mode, balanced.health), (LoadBalancingMode::Failover, HealthPolicy::AllowAll));
    assert_eq!((got.visibility, got.canonical), (Visibility::Public, true));
}

#[test]
fn services_are_rejected_with_the_reason() {
    let unknown = |field, value| Rejection::UnknownEnum { field, value };
    let prefix = |length| Rejection::PrefixLength { field: "addresses", length };
    let waypoint = wire::WeightedWaypoint { destination: None, weight: 1 };
    let cases: Vec<(Result<Change, Rejection>, Rejection)> = vec![
        (read_service(|s| s.addresses = vec![at(&[10, 0, 0, 0], Some(33))]), prefix(33)),
        (read_service(|s| s.addresses = vec![at(&[10, 0, 0, 0], Some(999))]), prefix(999)),
        (
            read_service(|s| s.addresses = vec![at(&[], None)]),
            Rejection::AddressLength { field: "addresses", octets: 0 },
        ),
        (
            read_service(|s| s.load_balancing = balancing(|lb| lb.routing_preference = vec![0])),
            Rejection::UnspecifiedScope,
        ),
        (
            read_service(|s| s.load_balancing = balancing(|lb| lb.routing_preference = vec![7])),
            unknown("load_balancing.routing_preference", 7),
        ),
        (read_service(|s| s.load_balancing = balancing(|lb| lb.mode = 4)), unknown("load_balancing.mode", 4)),
        (
            read_service(|s| s.load_balancing = balancing(|lb| lb.health_policy = 2)),
            unknown("load_balancing.health_policy", 2),
        ),
        (
            read_service(|s| s.weighted_waypoints = vec![waypoint]),
            Rejection::NoDestination("weighted_waypoints"),
        ),
        (read_service(|s| s.hostname.clear()), Rejection::Empty("hostname")),
    ];
    for (got, expected) in cases {
        assert_eq!(got.unwrap_err(), expected);
    }
}

#[test]
fn what_is_no_resource_is_rejected() {
    assert_eq!(address("a", &Address::default().encode_to_vec()), Err(Rejection::NoType));
    assert!(matches!(address("a", &[0xff]), Err(Rejection::NotDecodable(_))));
    assert_eq!(address("a", &vec![0; MAX_RESOURCE + 1]), Err(Rejection::TooLarge(MAX_RESOURCE + 1)));
    let octets = Address { r#type: Some(Type::Workload(workload())) }.encode_to_vec();
    assert_eq!(address("other", &octets), Err(Rejection::Name("k//Pod/ns/web".into())));
    // What extensions say is not read.
    let extension = wire::Extension { name: "x".into(), config: Some(Any::default()) };
    assert!(read_service(|s| s.extensions = vec![extension]).is_ok());
}

fn policy(conditions: sec::Match) -> Authorization {
    let clause = sec::Clause { matches: vec![conditions] };
    Authorization {
        name: "p".into(),
        namespace: "ns".into(),
        scope: 1,
        action: 1,
        rules: vec![sec::Rule { clauses: vec![clause] }],
        ..Default::default()
    }
}

#[test]
fn policies_are_read_and_unreadable_entries_noted() {
    use sec::string_match::MatchType;
    let text = |kind| sec::StringMatch { match_type: Some(kind) };
    let ip = |octets: &[u8], length| sec::Address { address: octets.to_vec(), length };
    let message = policy(sec::Match {
        principals: vec![text(MatchType::Prefix("a".into())), sec::StringMatch { match_type: None }],
        not_principals: vec![text(MatchType::Presence(()))],
        source_ips: vec![ip(&[10, 0, 0, 0], 8)],
        not_source_ips: vec![ip(&[10, 0, 0, 0], 33)],
        destination_ips: vec![ip(&[1, 2, 3], 8)],
        destination_ports: vec![80],
        not_destination_ports: vec![65536, 81],
        ..Default::default()
    });
    let Ok(Change::Policy(got)) = authorization("ns/p", &message.encode_to_vec()) else {
        panic!("no policy")
    };
    assert_eq!(
        (got.scope, got.action),
        (adit_core::mesh::PolicyScope::Namespace, adit_core::mesh::Action::Deny)
    );
    let read = &got.rules[0].clauses[0].matches[0];
    assert_eq!(read.principals, [StringMatch::Prefix("a".into())]);
    assert_eq!(read.not_principals, [StringMatch::Presence]);
    assert_eq!(
        (read.source_ips.len(), &*read.destination_ports, &*read.not_destination_ports),
        (1, &[80][..], &[81][..])
    );
    for (list, noted) in [
        (MatchList::Principals, true),
        (MatchList::NotPrincipals, false),
        (MatchList::SourceIps, false),
        (MatchList::NotSourceIps, true),
        (MatchList::DestinationIps, true),
        (MatchList::DestinationPorts, false),
        (MatchList::NotDestinationPorts, true),
    ] {
        assert_eq!(read.unreadable.contains(list), noted, "{list:?}");
    }
}

#[test]
fn policies_are_rejected_with_the_reason() {
    let read = |message: Authorization| authorization("ns/p", &message.encode_to_vec()).unwrap_err();
    let good = || policy(sec::Match::default());
    let unknown = |field, value| Rejection::UnknownEnum { field, value };
    assert_eq!(read(Authorization { scope: 3, ..good() }), unknown("scope", 3));
    assert_eq!(read(Authorization { action: 2, ..good() }), unknown("action", 2));
    assert_eq!(read(Authorization { name: "q".into(), ..good() }), Rejection::Name("ns/q".into()));
}
