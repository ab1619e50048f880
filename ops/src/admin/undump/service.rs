//! One of `services`, and the endpoints that are listed with it or are staged for it.

use std::sync::Arc;

use adit_core::mesh::{
    HealthPolicy, IpFamilies, LoadBalancing, LoadBalancingMode, NetworkCidr, PortMap, RoutingScope, Service,
    ServiceName, Visibility, WeightedWaypoint,
};
use serde_json::Value;

use super::value::{
    Fields, Wrong, cidr, flag, gateway, identity, map, network_address, number, ports, shared, text, word,
};

/// A workload's uid, and its own ports in a service.
pub(super) type Endpoint = (Arc<str>, PortMap);

/// The service and its endpoints.
pub(super) fn service(value: &Value) -> Result<(Service, Vec<Endpoint>), Wrong> {
    let fields = Fields::of(value)?;
    let namespace = fields.need("namespace", "the service's namespace", |value| match text(value)? {
        // Workloads name their services as namespace/hostname.
        text if text.contains('/') => Err(Wrong::new(value, "a namespace, which has no `/`")),
        text => Ok(text.into()),
    })?;
    let hostname = fields.need("hostname", "the service's hostname", shared)?;
    let mut service = Service::new(ServiceName { namespace, hostname });
    if let Some(name) = fields.get("name", shared)? {
        service.object_name = name;
    }
    service.addresses = fields.list("vips", network_address)?;
    service.cidrs = fields.list("cidrVips", network_cidr)?;
    service.ports = fields.or_default("ports", ports)?;
    // What is no SPIFFE identity is in no certificate of the mesh: it was told to accept nobody.
    service.subject_alt_names =
        fields.list("subjectAltNames", |value| Ok(identity(value).ok()))?.into_iter().flatten().collect();
    service.waypoint = fields.get("waypoint", gateway)?;
    service.weighted_waypoints = fields.list("weightedWaypoints", weighted)?;
    service.load_balancing = fields.or_default("loadBalancer", load_balancing)?;
    service.ip_families = fields.or_default(
        "ipFamilies",
        word(
            &[("IPv4", IpFamilies::Ipv4), ("IPv6", IpFamilies::Ipv6), ("Dual", IpFamilies::Dual)],
            "IPv4, IPv6 or Dual",
        ),
    )?;
    service.canonical = fields.or_default("canonical", flag)?;
    service.visibility = fields.or_default(
        "visibility",
        word(&[("Public", Visibility::Public), ("Namespace", Visibility::Namespace)], "Public or Namespace"),
    )?;
    let endpoints = fields.or_default("endpoints", endpoints)?;
    Ok((service, endpoints))
}

/// `{"uid": {"workloadUid": "uid", "port": {"80": 8080}, "status": "Healthy"}}`
pub(super) fn endpoints(value: &Value) -> Result<Vec<Endpoint>, Wrong> {
    let endpoint = |value| {
        let fields = Fields::of(value)?;
        Ok((fields.get("workloadUid", shared)?, fields.or_default("port", ports)?))
    };
    let by_key = map(value, |key| Some(Arc::<str>::from(key)), "a uid", endpoint)?;
    Ok(by_key.into_iter().map(|(key, (uid, ports))| (uid.unwrap_or(key), ports.into())).collect())
}

/// `{"network": "", "cidr": "10.0.0.0/8"}`, or `network/cidr` as text.
fn network_cidr(value: &Value) -> Result<NetworkCidr, Wrong> {
    let Some(text) = value.as_str() else {
        let fields = Fields::of(value)?;
        return Ok(NetworkCidr {
            network: fields.or_default("network", shared)?,
            cidr: fields.need("cidr", "an address range such as 10.0.0.0/8", cidr)?,
        });
    };
    let (network, range) = text.split_once('/').ok_or_else(|| Wrong::new(value, "network/range"))?;
    let cidr = range.parse().map_err(|_| Wrong::new(value, "network/range"))?;
    Ok(NetworkCidr { network: network.into(), cidr })
}

fn weighted(value: &Value) -> Result<WeightedWaypoint, Wrong> {
    let fields = Fields::of(value)?;
    Ok(WeightedWaypoint {
        gateway: fields.need("destination", "where the waypoint is", gateway)?,
        weight: fields.need("weight", "a number from 0 to 4294967295", number)?,
    })
}

fn load_balancing(value: &Value) -> Result<LoadBalancing, Wrong> {
    const SCOPES: &[(&str, RoutingScope)] = &[
        ("Region", RoutingScope::Region),
        ("Zone", RoutingScope::Zone),
        ("Subzone", RoutingScope::Subzone),
        ("Node", RoutingScope::Node),
        ("Cluster", RoutingScope::Cluster),
        ("Network", RoutingScope::Network),
    ];
    const MODES: &[(&str, LoadBalancingMode)] = &[
        ("Standard", LoadBalancingMode::Standard),
        ("Strict", LoadBalancingMode::Strict),
        ("Failover", LoadBalancingMode::Failover),
        ("Passthrough", LoadBalancingMode::Passthrough),
    ];
    const HEALTH: &[(&str, HealthPolicy)] =
        &[("OnlyHealthy", HealthPolicy::OnlyHealthy), ("AllowAll", HealthPolicy::AllowAll)];
    let fields = Fields::of(value)?;
    let scope = word(SCOPES, "Region, Zone, Subzone, Node, Cluster or Network");
    Ok(LoadBalancing {
        preferences: fields.list("routingPreferences", scope)?,
        mode: fields.or_default("mode", word(MODES, "Standard, Strict, Failover or Passthrough"))?,
        health: fields.or_default("healthPolicy", word(HEALTH, "OnlyHealthy or AllowAll"))?,
    })
}
