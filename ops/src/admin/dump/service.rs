//! A service as JSON, with its endpoints.
use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::mesh::{
    HealthPolicy, IpFamilies, LoadBalancing, LoadBalancingMode, Mesh, RoutingScope, Service, ServiceName,
    Visibility, Workload,
};
use serde::Serialize;

use super::workload::{GatewayEntry, health};

/// A workload behind a service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointEntry {
    workload_uid: Arc<str>,
    port: BTreeMap<u16, u16>,
    status: &'static str,
}

impl EndpointEntry {
    fn new(service: &Service, workload: &Workload) -> Self {
        let own = workload.services.get(&service.name).into_iter().flatten().map(|(port, _)| port);
        let ports = service.ports.keys().chain(own).copied();
        Self {
            workload_uid: Arc::clone(&workload.uid),
            port: ports.filter_map(|port| Some((port, service.port_at(workload, port)?))).collect(),
            status: health(workload.status),
        }
    }

    /// An endpoint of a service that is not known yet: only the ports it brings itself.
    pub(super) fn staged(workload: &Workload, name: &ServiceName) -> Self {
        Self {
            workload_uid: Arc::clone(&workload.uid),
            port: workload
                .services
                .get(name)
                .into_iter()
                .flatten()
                .map(|(port, target)| (*port, *target))
                .collect(),
            status: health(workload.status),
        }
    }
}

#[derive(Serialize)]
struct CidrEntry {
    network: Arc<str>,
    cidr: String,
}

#[derive(Serialize)]
struct WeightedEntry {
    destination: GatewayEntry,
    weight: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoadBalancerEntry {
    routing_preferences: Vec<&'static str>,
    mode: &'static str,
    health_policy: &'static str,
}

impl LoadBalancerEntry {
    fn new(balancing: &LoadBalancing) -> Option<Self> {
        let scope = |scope: &RoutingScope| match scope {
            RoutingScope::Region => "Region",
            RoutingScope::Zone => "Zone",
            RoutingScope::Subzone => "Subzone",
            RoutingScope::Node => "Node",
            RoutingScope::Cluster => "Cluster",
            RoutingScope::Network => "Network",
        };
        (*balancing != LoadBalancing::default()).then(|| Self {
            routing_preferences: balancing.preferences.iter().map(scope).collect(),
            mode: match balancing.mode {
                LoadBalancingMode::Standard => "Standard",
                LoadBalancingMode::Strict => "Strict",
                LoadBalancingMode::Failover => "Failover",
                LoadBalancingMode::Passthrough => "Passthrough",
            },
            health_policy: match balancing.health {
                HealthPolicy::OnlyHealthy => "OnlyHealthy",
                HealthPolicy::AllowAll => "AllowAll",
            },
        })
    }
}

/// One of `services`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceEntry {
    name: Arc<str>,
    namespace: Arc<str>,
    hostname: Arc<str>,
    vips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cidr_vips: Vec<CidrEntry>,
    ports: BTreeMap<u16, u16>,
    endpoints: BTreeMap<Arc<str>, EndpointEntry>,
    subject_alt_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waypoint: Option<GatewayEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weighted_waypoints: Vec<WeightedEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_balancer: Option<LoadBalancerEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_families: Option<&'static str>,
    canonical: bool,
    visibility: &'static str,
}

impl ServiceEntry {
    pub(super) fn new(mesh: &Mesh, service: &Service) -> Self {
        let endpoint =
            |workload: &Arc<Workload>| (Arc::clone(&workload.uid), EndpointEntry::new(service, workload));
        Self {
            name: Arc::clone(&service.object_name),
            namespace: Arc::clone(&service.name.namespace),
            hostname: Arc::clone(&service.name.hostname),
            vips: service.addresses.iter().map(|vip| format!("{}/{}", vip.network, vip.address)).collect(),
            cidr_vips: service
                .cidrs
                .iter()
                .map(|range| CidrEntry { network: Arc::clone(&range.network), cidr: range.cidr.to_string() })
                .collect(),
            ports: service.ports.iter().map(|(from, to)| (*from, *to)).collect(),
            endpoints: mesh.endpoints(&service.name).iter().map(endpoint).collect(),
            subject_alt_names: service.subject_alt_names.iter().map(ToString::to_string).collect(),
            waypoint: service.waypoint.as_deref().map(GatewayEntry::new),
            weighted_waypoints: service
                .weighted_waypoints
                .iter()
                .map(|one| WeightedEntry { destination: GatewayEntry::new(&one.gateway), weight: one.weight })
                .collect(),
            load_balancer: LoadBalancerEntry::new(&service.load_balancing),
            ip_families: match service.ip_families {
                IpFamilies::Automatic => None,
                IpFamilies::Ipv4 => Some("IPv4"),
                IpFamilies::Ipv6 => Some("IPv6"),
                IpFamilies::Dual => Some("Dual"),
            },
            canonical: service.canonical,
            visibility: match service.visibility {
                Visibility::Public => "Public",
                Visibility::Namespace => "Namespace",
            },
        }
    }
}
