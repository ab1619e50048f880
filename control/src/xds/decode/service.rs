//! Services.
use adit_core::mesh::{
    HealthPolicy, IpFamilies, LoadBalancing, LoadBalancingMode, NetworkAddress, NetworkCidr, RoutingScope,
    Service, ServiceName, Visibility, WeightedWaypoint,
};

use super::Rejection;
use super::values::{gateway, ip, known, ports, range};
use crate::proto::istio::workload as wire;
use crate::proto::istio::workload::load_balancing as lb;

pub(super) fn service(message: wire::Service) -> Result<Service, Rejection> {
    if message.hostname.is_empty() {
        return Err(Rejection::Empty("hostname"));
    }
    // What is not known of these two restricts nothing.
    let visibility = match message.visibility() {
        wire::service::Visibility::Public => Visibility::Public,
        wire::service::Visibility::Namespace => Visibility::Namespace,
    };
    let ip_families = match message.ip_families() {
        wire::IpFamilies::Automatic => IpFamilies::Automatic,
        wire::IpFamilies::Ipv4Only => IpFamilies::Ipv4,
        wire::IpFamilies::Ipv6Only => IpFamilies::Ipv6,
        wire::IpFamilies::Dual => IpFamilies::Dual,
    };
    let mut service =
        Service::new(ServiceName { namespace: message.namespace.into(), hostname: message.hostname.into() });
    service.object_name = message.name.into();
    for address in message.addresses {
        let (network, field) = (address.network.into(), "addresses");
        match address.length {
            None => {
                service.addresses.push(NetworkAddress { network, address: ip(field, &address.address)? });
            }
            Some(length) => {
                let cidr = range(field, &address.address, length)?;
                if cidr.prefix_len() == cidr.max_prefix_len() {
                    service.addresses.push(NetworkAddress { network, address: cidr.addr() });
                } else {
                    service.cidrs.push(NetworkCidr { network, cidr });
                }
            }
        }
    }
    service.ports = ports("ports", &message.ports)?;
    // What is no SPIFFE identity is in no certificate of the mesh, and would accept nobody.
    service.subject_alt_names =
        message.subject_alt_names.iter().filter_map(|name| name.parse().ok()).collect();
    service.waypoint = message.waypoint.map(|at| gateway("waypoint", at)).transpose()?;
    service.weighted_waypoints =
        message.weighted_waypoints.into_iter().map(weighted).collect::<Result<_, _>>()?;
    service.load_balancing = message.load_balancing.map(load_balancing).transpose()?.unwrap_or_default();
    service.ip_families = ip_families;
    service.canonical = message.canonical;
    service.visibility = visibility;
    Ok(service)
}

fn weighted(waypoint: wire::WeightedWaypoint) -> Result<WeightedWaypoint, Rejection> {
    let field = "weighted_waypoints";
    let destination = waypoint.destination.ok_or(Rejection::NoDestination(field))?;
    Ok(WeightedWaypoint { gateway: gateway(field, destination)?, weight: waypoint.weight })
}

fn load_balancing(message: wire::LoadBalancing) -> Result<LoadBalancing, Rejection> {
    let scope = |value: &i32| match known("load_balancing.routing_preference", *value)? {
        lb::Scope::UnspecifiedScope => Err(Rejection::UnspecifiedScope),
        lb::Scope::Region => Ok(RoutingScope::Region),
        lb::Scope::Zone => Ok(RoutingScope::Zone),
        lb::Scope::Subzone => Ok(RoutingScope::Subzone),
        lb::Scope::Node => Ok(RoutingScope::Node),
        lb::Scope::Cluster => Ok(RoutingScope::Cluster),
        lb::Scope::Network => Ok(RoutingScope::Network),
    };
    Ok(LoadBalancing {
        preferences: message.routing_preference.iter().map(scope).collect::<Result<_, _>>()?,
        mode: match known("load_balancing.mode", message.mode)? {
            lb::Mode::UnspecifiedMode => LoadBalancingMode::Standard,
            lb::Mode::Strict => LoadBalancingMode::Strict,
            lb::Mode::Failover => LoadBalancingMode::Failover,
            lb::Mode::Passthrough => LoadBalancingMode::Passthrough,
        },
        health: match known("load_balancing.health_policy", message.health_policy)? {
            lb::HealthPolicy::OnlyHealthy => HealthPolicy::OnlyHealthy,
            lb::HealthPolicy::AllowAll => HealthPolicy::AllowAll,
        },
    })
}
