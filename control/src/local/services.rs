//! Service entries.

use adit_core::mesh::{
    HealthPolicy, IpFamilies, LoadBalancing, LoadBalancingMode, NetworkAddress, NetworkCidr, RoutingScope,
    Service, ServiceName, Visibility, WeightedWaypoint,
};

use super::error::{Entry, Problem};
use super::schema;
use super::values::{address, cidr, each, gateway, maybe_gateway, ports};

pub(super) fn service(position: usize, file: schema::Service) -> Result<Service, Problem> {
    let entry = Entry::service(position, &file.name);
    entry.unsupported(&[(
        "endpoints (name the service in the workloads' services instead)",
        !file.endpoints.0.is_empty(),
    )])?;
    for (field, value) in [("namespace", &file.namespace), ("hostname", &file.hostname)] {
        if value.is_empty() {
            return Err(entry.value(field, value, "a name"));
        }
    }
    let name =
        ServiceName { namespace: file.namespace.as_str().into(), hostname: file.hostname.as_str().into() };
    Ok(Service {
        name,
        addresses: each("vips", &file.vips, |field, vip| network_address(&entry, field, vip))?,
        cidrs: each("cidrVips", &file.cidr_vips, |field, range| network_cidr(&entry, field, range))?,
        ports: ports(&entry, "ports", &file.ports)?,
        subject_alt_names: each("subjectAltNames", &file.subject_alt_names, |field, san| {
            san.parse().map_err(|error| entry.identity(field, san, error))
        })?,
        waypoint: maybe_gateway(&entry, "waypoint", file.waypoint.as_ref())?,
        weighted_waypoints: each("weightedWaypoints", &file.weighted_waypoints, |field, waypoint| {
            let gateway = gateway(&entry, field, &waypoint.destination)?;
            Ok(WeightedWaypoint { gateway, weight: waypoint.weight })
        })?,
        load_balancing: file.load_balancer.map(load_balancing).unwrap_or_default(),
        ip_families: match file.ip_families {
            None => IpFamilies::Automatic,
            Some(schema::IpFamilies::Dual) => IpFamilies::Dual,
            Some(schema::IpFamilies::IPv4) => IpFamilies::Ipv4,
            Some(schema::IpFamilies::IPv6) => IpFamilies::Ipv6,
        },
        canonical: file.canonical,
        visibility: match file.visibility {
            schema::Visibility::Public => Visibility::Public,
            schema::Visibility::Namespace => Visibility::Namespace,
        },
        object_name: file.name.into(),
    })
}

/// `network/address`; the network may be empty.
fn network_address(entry: &Entry, field: &str, text: &str) -> Result<NetworkAddress, Problem> {
    let Some((network, ip)) = text.split_once('/') else {
        return Err(entry.value(field, text, "network/address; with the default network: /10.0.0.1"));
    };
    Ok(NetworkAddress { network: network.into(), address: address(entry, field, ip)? })
}

fn network_cidr(entry: &Entry, field: &str, range: &schema::CidrVip) -> Result<NetworkCidr, Problem> {
    let (network, text) = match range {
        schema::CidrVip::Parts(parts) => (parts.network.as_str(), parts.cidr.as_str()),
        schema::CidrVip::Text(text) => text.split_once('/').ok_or_else(|| {
            entry.value(field, text, "network/address/length; with the default network: /10.0.0.0/8")
        })?,
    };
    Ok(NetworkCidr { network: network.into(), cidr: cidr(entry, field, text)? })
}

fn load_balancing(file: schema::LoadBalancer) -> LoadBalancing {
    let scope = |scope| match scope {
        schema::Scope::Region => RoutingScope::Region,
        schema::Scope::Zone => RoutingScope::Zone,
        schema::Scope::Subzone => RoutingScope::Subzone,
        schema::Scope::Node => RoutingScope::Node,
        schema::Scope::Cluster => RoutingScope::Cluster,
        schema::Scope::Network => RoutingScope::Network,
    };
    LoadBalancing {
        preferences: file.routing_preferences.into_iter().map(scope).collect(),
        mode: match file.mode {
            schema::Mode::Standard => LoadBalancingMode::Standard,
            schema::Mode::Strict => LoadBalancingMode::Strict,
            schema::Mode::Failover => LoadBalancingMode::Failover,
            schema::Mode::Passthrough => LoadBalancingMode::Passthrough,
        },
        health: match file.health_policy {
            schema::HealthPolicy::OnlyHealthy => HealthPolicy::OnlyHealthy,
            schema::HealthPolicy::AllowAll => HealthPolicy::AllowAll,
        },
    }
}
