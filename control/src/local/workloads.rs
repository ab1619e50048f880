//! Workload entries.

use adit_core::hbone::baggage::WorkloadType;
use adit_core::identity::Identity;
use adit_core::mesh::{
    ApplicationProtocol, ApplicationTunnel, Health, Locality, NetworkMode, TunnelProtocol, Workload,
};

use super::error::{Entry, Problem};
use super::schema;
use super::values::{address, each, ports, service_name};

/// Defaults for what is left out are ztunnel's (datapath §2.3). Without a uid the entry gets one from its name and
/// position, as a uid is what everything else refers to.
pub(super) fn workload(position: usize, file: schema::Workload) -> Result<Workload, Problem> {
    let entry = Entry::workload(position, if file.name.is_empty() { &file.uid } else { &file.name });
    let proxied = file.application_tunnel.is_some_and(|tunnel| tunnel.protocol == schema::TunnelKind::Proxy);
    entry.unsupported(&[
        ("waypoint", file.waypoint.is_some()),
        ("networkGateway", file.network_gateway.is_some()),
        ("hostname", !file.hostname.is_empty()),
        ("applicationTunnel with protocol PROXY", proxied),
    ])?;
    if file.workload_ips.is_empty() {
        return Err(entry.value("workloadIps", "[]", "at least one IP address"));
    }
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let identity = identity(
        &entry,
        &or(&file.trust_domain, "cluster.local"),
        &file.namespace,
        &or(&file.service_account, "default"),
    )?;
    let uid = or(&file.uid, &format!("local/{}/{}/{position}", file.namespace, file.name));
    let mut workload = Workload::new(&uid, &file.name, identity);
    workload.addresses = each("workloadIps", &file.workload_ips, |field, ip| address(&entry, field, ip))?;
    for (name, mapped) in &file.services.0 {
        let service = service_name(&entry, "services", name)?;
        workload.services.insert(service, ports(&entry, &format!("services[{name}]"), mapped)?.into());
    }
    workload.authorization_policies =
        file.authorization_policies.iter().map(|key| key.as_str().into()).collect();
    workload.network = file.network.into();
    workload.network_mode = match file.network_mode {
        schema::NetworkMode::Standard => NetworkMode::Standard,
        schema::NetworkMode::HostNetwork => NetworkMode::HostNetwork,
    };
    workload.protocol = match file.protocol {
        schema::Protocol::Tcp => TunnelProtocol::None,
        schema::Protocol::Hbone => TunnelProtocol::Hbone,
    };
    workload.status = match file.status {
        schema::Status::Healthy => Health::Healthy,
        schema::Status::Unhealthy => Health::Unhealthy,
    };
    workload.workload_type = match file.workload_type {
        schema::WorkloadType::Deployment => WorkloadType::Deployment,
        schema::WorkloadType::Cronjob => WorkloadType::Cronjob,
        schema::WorkloadType::Pod => WorkloadType::Pod,
        schema::WorkloadType::Job => WorkloadType::Job,
    };
    workload.application_tunnel = file.application_tunnel.map(|tunnel| ApplicationTunnel {
        protocol: ApplicationProtocol::None,
        // 0 keeps the target port, as in the wire schema.
        port: tunnel.port.map(|port| port.0).filter(|port| *port != 0),
    });
    workload.native_tunnel = file.native_tunnel;
    workload.node = file.node.into();
    workload.canonical_name = file.canonical_name.into();
    workload.canonical_revision = file.canonical_revision.into();
    workload.workload_name = file.workload_name.into();
    if !file.cluster_id.is_empty() {
        workload.cluster = file.cluster_id.into();
    }
    workload.locality = Locality {
        region: file.locality.region.into(),
        zone: file.locality.zone.into(),
        subzone: file.locality.subzone.into(),
    };
    workload.capacity = file.capacity.unwrap_or(1);
    Ok(workload)
}

fn identity(entry: &Entry, trust_domain: &str, namespace: &str, account: &str) -> Result<Identity, Problem> {
    Identity::new(trust_domain, namespace, account).map_err(|error| {
        let got = format!("spiffe://{trust_domain}/ns/{namespace}/sa/{account}");
        entry.identity("trustDomain, namespace, serviceAccount", got, error)
    })
}
