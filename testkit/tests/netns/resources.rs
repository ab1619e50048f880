//! Resources that istiod would make of pods, Services and policies.
use std::net::IpAddr;

use adit_control::proto::istio::security::string_match::MatchType;
use adit_control::proto::istio::security::{Action, Authorization, Clause, Match, Rule, Scope, StringMatch};
use adit_control::proto::istio::workload::gateway_address::Destination;
use adit_control::proto::istio::workload::{
    GatewayAddress, NamespacedHostname, NetworkAddress, Port, PortList, Service, TunnelProtocol, Workload,
};
use adit_testkit::netns::Host;

use crate::world::{APP, FAMILIES, SERVICE};

/// The policy that STRICT becomes.
pub(crate) const STRICT: &str = "istio-system/istio_converted_static_strict";

/// The port that takes HBONE.
pub(crate) const HBONE: u16 = 15008;

/// The hostname of a service.
pub(crate) fn hostname(service: &str) -> String {
    format!("{service}.default.svc.cluster.local")
}

/// The name of a service's resource.
pub(crate) fn service_key(service: &str) -> String {
    format!("default/{}", hostname(service))
}

/// The name of a workload's resource.
pub(crate) fn uid(name: &str) -> String {
    format!("Kubernetes//Pod/default/{name}")
}

/// The address of the service with this number.
pub(crate) fn vip(number: u8, ipv6: bool) -> IpAddr {
    if ipv6 { [0xfd96, 0, 0, 0, 0, 0, 0, number.into()].into() } else { [10, 96, 0, number].into() }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// An address of the only network, which has no name.
pub(crate) fn address(ip: IpAddr) -> NetworkAddress {
    NetworkAddress { address: octets(ip), ..NetworkAddress::default() }
}

fn port(from: u16, to: u16) -> Port {
    Port { service_port: from.into(), target_port: to.into(), app_protocol: 0 }
}

/// A captured pod.
pub(crate) fn pod(name: &str, host: &Host) -> Workload {
    captured(name, FAMILIES.map(|ipv6| octets(host.address(ipv6))).to_vec())
}

/// A captured pod of these addresses, in octets.
pub(crate) fn captured(name: &str, addresses: Vec<Vec<u8>>) -> Workload {
    Workload {
        uid: uid(name),
        name: name.to_owned(),
        namespace: "default".to_owned(),
        service_account: name.to_owned(),
        trust_domain: "cluster.local".to_owned(),
        addresses,
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        ..Workload::default()
    }
}

/// A captured pod that is an endpoint of `service`, whose port `from` leads to its port `to`.
pub(crate) fn endpoint(name: &str, host: &Host, service: &str, (from, to): (u16, u16)) -> Workload {
    let ports = PortList { ports: vec![port(from, to)] };
    Workload { services: [(service_key(service), ports)].into(), ..pod(name, host) }
}

/// A captured pod behind [`SERVICE`] of the service `server`.
pub(crate) fn server(name: &str, host: &Host) -> Workload {
    endpoint(name, host, "server", (SERVICE, APP))
}

/// A service with both addresses of `number`.
pub(crate) fn service(name: &str, number: u8, (from, to): (u16, u16)) -> Service {
    Service {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        hostname: hostname(name),
        addresses: FAMILIES.map(|ipv6| address(vip(number, ipv6))).to_vec(),
        ports: vec![port(from, to)],
        ..Service::default()
    }
}

/// Where HBONE is taken for others, by the hostname of a service.
pub(crate) fn gateway_by_name(service: &str) -> GatewayAddress {
    let hostname = NamespacedHostname { namespace: "default".to_owned(), hostname: hostname(service) };
    GatewayAddress { destination: Some(Destination::Hostname(hostname)), hbone_mtls_port: HBONE.into() }
}

/// Where HBONE is taken for others, by an address.
pub(crate) fn gateway_by_address(address: NetworkAddress) -> GatewayAddress {
    GatewayAddress { destination: Some(Destination::Address(address)), hbone_mtls_port: HBONE.into() }
}

/// A policy with a clause for each of `matches`, all of which must hold; without any it never matches.
pub(crate) fn policy(key: &str, scope: Scope, action: Action, matches: Vec<Match>) -> Authorization {
    let (namespace, name) = key.split_once('/').expect("namespace/name");
    let clauses: Vec<_> = matches.into_iter().map(|each| Clause { matches: vec![each] }).collect();
    let rules = if clauses.is_empty() { Vec::new() } else { vec![Rule { clauses }] };
    Authorization {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        scope: scope.into(),
        action: action.into(),
        rules,
        ..Authorization::default()
    }
}

/// What STRICT becomes.
pub(crate) fn strict() -> Authorization {
    policy(STRICT, Scope::WorkloadSelector, Action::Deny, vec![no_identity()])
}

/// Holds for whoever has no identity.
pub(crate) fn no_identity() -> Match {
    let present = StringMatch { match_type: Some(MatchType::Presence(())) };
    Match { not_principals: vec![present], ..Match::default() }
}

/// Holds for the workload of this name.
pub(crate) fn from(name: &str) -> Match {
    let exact = MatchType::Exact(format!("cluster.local/ns/default/sa/{name}"));
    Match { principals: vec![StringMatch { match_type: Some(exact) }], ..Match::default() }
}
