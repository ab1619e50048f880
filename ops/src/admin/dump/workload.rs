//! A workload as JSON.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use adit_core::mesh::{
    ApplicationProtocol, ApplicationTunnel, GatewayAddress, GatewayTarget, Health, Locality, Memberships,
    NetworkMode, TunnelProtocol, Workload,
};
use serde::Serialize;

/// Whether a text says nothing.
pub(super) fn empty(text: &Arc<str>) -> bool {
    text.is_empty()
}

const fn no(flag: &bool) -> bool {
    !*flag
}

/// Where a waypoint or gateway is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GatewayEntry {
    destination: String,
    hbone_mtls_port: u16,
}

impl GatewayEntry {
    pub(super) fn new(gateway: &GatewayAddress) -> Self {
        let destination = match &gateway.target {
            GatewayTarget::Hostname(name) => name.to_string(),
            GatewayTarget::Address(address) => format!("{}/{}", address.network, address.address),
        };
        Self { destination, hbone_mtls_port: gateway.hbone_port }
    }
}

#[derive(Serialize)]
struct TunnelEntry {
    protocol: &'static str,
    port: Option<u16>,
}

impl TunnelEntry {
    const fn new(tunnel: ApplicationTunnel) -> Self {
        let protocol = match tunnel.protocol {
            ApplicationProtocol::None => "NONE",
            ApplicationProtocol::Proxy => "PROXY",
        };
        Self { protocol, port: tunnel.port }
    }
}

#[derive(Serialize)]
struct LocalityEntry {
    #[serde(skip_serializing_if = "empty")]
    region: Arc<str>,
    #[serde(skip_serializing_if = "empty")]
    zone: Arc<str>,
    #[serde(skip_serializing_if = "empty")]
    subzone: Arc<str>,
}

/// `Healthy` or `Unhealthy`.
pub(super) const fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "Healthy",
        Health::Unhealthy => "Unhealthy",
    }
}

fn service_ports(services: &Memberships) -> BTreeMap<String, BTreeMap<u16, u16>> {
    let own = services.iter().map(|(name, ports)| {
        let ports: BTreeMap<_, _> = ports.iter().map(|(port, target)| (*port, *target)).collect();
        (name.to_string(), ports)
    });
    own.filter(|(_, ports)| !ports.is_empty()).collect()
}

/// One of `workloads`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadEntry {
    workload_ips: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waypoint: Option<GatewayEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_gateway: Option<GatewayEntry>,
    protocol: &'static str,
    network_mode: &'static str,
    #[serde(skip_serializing_if = "empty")]
    uid: Arc<str>,
    name: Arc<str>,
    namespace: Arc<str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    trust_domain: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    service_account: String,
    #[serde(skip_serializing_if = "empty")]
    network: Arc<str>,
    #[serde(skip_serializing_if = "empty")]
    workload_name: Arc<str>,
    workload_type: &'static str,
    #[serde(skip_serializing_if = "empty")]
    canonical_name: Arc<str>,
    #[serde(skip_serializing_if = "empty")]
    canonical_revision: Arc<str>,
    #[serde(skip_serializing_if = "empty")]
    hostname: Arc<str>,
    #[serde(skip_serializing_if = "empty")]
    node: Arc<str>,
    #[serde(skip_serializing_if = "no")]
    native_tunnel: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_tunnel: Option<TunnelEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_policies: Vec<Arc<str>>,
    status: &'static str,
    cluster_id: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<LocalityEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services: Vec<String>,
    /// The ports of its own in each of these services, where it has any: the services tell only which ports come out.
    /// Not in ztunnel's dump; istioctl ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_ports: Option<BTreeMap<String, BTreeMap<u16, u16>>>,
    capacity: u32,
}

impl WorkloadEntry {
    pub(super) fn new(workload: &Workload) -> Self {
        let identity = workload.identity_ref();
        let locality = &workload.locality;
        Self {
            workload_ips: workload.addresses.to_vec(),
            waypoint: workload.waypoint.as_deref().map(GatewayEntry::new),
            network_gateway: workload.network_gateway.as_deref().map(GatewayEntry::new),
            protocol: match workload.protocol {
                TunnelProtocol::None => "TCP",
                TunnelProtocol::Hbone => "HBONE",
            },
            network_mode: match workload.network_mode {
                NetworkMode::Standard => "Standard",
                NetworkMode::HostNetwork => "HostNetwork",
            },
            uid: Arc::clone(&workload.uid),
            name: Arc::clone(&workload.name),
            namespace: Arc::clone(&workload.namespace),
            trust_domain: identity.trust_domain().to_owned(),
            service_account: identity.service_account().to_owned(),
            network: Arc::clone(&workload.network),
            workload_name: Arc::clone(&workload.workload_name),
            workload_type: workload.workload_type.as_str(),
            canonical_name: Arc::clone(&workload.canonical_name),
            canonical_revision: Arc::clone(&workload.canonical_revision),
            hostname: Arc::clone(&workload.hostname),
            node: Arc::clone(&workload.node),
            native_tunnel: workload.native_tunnel,
            application_tunnel: workload.application_tunnel.map(TunnelEntry::new),
            authorization_policies: workload.authorization_policies.to_vec(),
            status: health(workload.status),
            cluster_id: Arc::clone(&workload.cluster),
            locality: (*locality != Locality::default()).then(|| LocalityEntry {
                region: Arc::clone(&locality.region),
                zone: Arc::clone(&locality.zone),
                subzone: Arc::clone(&locality.subzone),
            }),
            services: workload.services.keys().map(ToString::to_string).collect(),
            service_ports: (!workload.services.is_empty()).then(|| service_ports(&workload.services)),
            capacity: workload.capacity,
        }
    }
}
