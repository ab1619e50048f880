//! Workloads.

use adit_core::hbone::baggage::WorkloadType;
use adit_core::identity::Identity;
use adit_core::mesh::{
    ApplicationProtocol, ApplicationTunnel, Health, Locality, Memberships, NetworkMode, ServiceName,
    TunnelProtocol, Workload,
};

use super::Rejection;
use super::values::{gateway, ip, known, port, ports};
use crate::proto::istio::workload as wire;

/// Defaults for what is left out are ztunnel's (interfaces §1.7).
pub(super) fn workload(message: wire::Workload) -> Result<Workload, Rejection> {
    let workload_type = match message.workload_type() {
        wire::WorkloadType::Deployment => WorkloadType::Deployment,
        wire::WorkloadType::Cronjob => WorkloadType::Cronjob,
        wire::WorkloadType::Pod => WorkloadType::Pod,
        wire::WorkloadType::Job => WorkloadType::Job,
    };
    if message.uid.is_empty() {
        return Err(Rejection::Empty("uid"));
    }
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let trust_domain = or(&message.trust_domain, "cluster.local");
    let account = or(&message.service_account, "default");
    let identity = Identity::new(&trust_domain, &message.namespace, &account).map_err(Rejection::Identity)?;
    let mut workload = Workload::new(&message.uid, &message.name, identity);
    workload.addresses =
        message.addresses.iter().map(|octets| ip("addresses", octets)).collect::<Result<_, _>>()?;
    workload.hostname = message.hostname.into();
    workload.network = message.network.into();
    workload.network_mode = match known("network_mode", message.network_mode)? {
        wire::NetworkMode::Standard => NetworkMode::Standard,
        wire::NetworkMode::HostNetwork => NetworkMode::HostNetwork,
    };
    workload.protocol = match known("tunnel_protocol", message.tunnel_protocol)? {
        wire::TunnelProtocol::None => TunnelProtocol::None,
        wire::TunnelProtocol::Hbone => TunnelProtocol::Hbone,
        wire::TunnelProtocol::LegacyIstioMtls => return Err(Rejection::LegacyMtls),
    };
    workload.status = match known("status", message.status)? {
        wire::WorkloadStatus::Healthy => Health::Healthy,
        wire::WorkloadStatus::Unhealthy => Health::Unhealthy,
    };
    workload.waypoint = message.waypoint.map(|at| gateway("waypoint", at)).transpose()?;
    workload.network_gateway =
        message.network_gateway.map(|at| gateway("network_gateway", at)).transpose()?;
    workload.native_tunnel = message.native_tunnel;
    workload.application_tunnel = message.application_tunnel.map(application_tunnel).transpose()?;
    workload.node = message.node.into();
    workload.canonical_name = message.canonical_name.into();
    workload.canonical_revision = message.canonical_revision.into();
    workload.workload_type = workload_type;
    workload.workload_name = message.workload_name.into();
    if !message.cluster_id.is_empty() {
        workload.cluster = message.cluster_id.into();
    }
    if let Some(locality) = message.locality {
        workload.locality = Locality {
            region: locality.region.into(),
            zone: locality.zone.into(),
            subzone: locality.subzone.into(),
        };
    }
    workload.capacity = message.capacity.unwrap_or(1);
    workload.services = message
        .services
        .iter()
        .map(|(key, list)| Ok((service_key(key)?, ports("services", &list.ports)?.into())))
        .collect::<Result<Memberships, Rejection>>()?;
    workload.authorization_policies = message.authorization_policies.into_iter().map(Into::into).collect();
    Ok(workload)
}

fn service_key(key: &str) -> Result<ServiceName, Rejection> {
    let (namespace, hostname) = key.split_once('/').ok_or_else(|| Rejection::ServiceKey(key.to_owned()))?;
    Ok(ServiceName { namespace: namespace.into(), hostname: hostname.into() })
}

fn application_tunnel(tunnel: wire::ApplicationTunnel) -> Result<ApplicationTunnel, Rejection> {
    use wire::application_tunnel::Protocol;
    Ok(ApplicationTunnel {
        protocol: match known("application_tunnel.protocol", tunnel.protocol)? {
            Protocol::None => ApplicationProtocol::None,
            Protocol::Proxy => ApplicationProtocol::Proxy,
        },
        // 0 keeps the target port.
        port: Some(port("application_tunnel", tunnel.port)?).filter(|port| *port != 0),
    })
}
