//! One of `workloads`.

use std::collections::BTreeMap;

use adit_core::hbone::baggage::WorkloadType;
use adit_core::identity::Identity;
use adit_core::mesh::{
    ApplicationProtocol, ApplicationTunnel, Health, Locality, Memberships, NetworkMode, PortMap, ServiceName,
    TunnelProtocol, Workload,
};
use serde_json::Value;

use super::value::{
    Fields, NAMESPACE_HOSTNAME, Wrong, flag, gateway, ip, map, name_of, number, port, ports, service_name,
    shared, text, word,
};

/// A workload whose memberships may be incomplete: ztunnel says at the services which ports an endpoint has.
pub(super) struct Read {
    pub(super) workload: Workload,
    /// Whether the entry itself said which ports it has (`servicePorts`, which only Adit writes).
    pub(super) has_ports: bool,
}

/// Defaults for what is left out are ztunnel's.
pub(super) fn workload(value: &Value) -> Result<Read, Wrong> {
    let fields = Fields::of(value)?;
    let uid = fields.or_default("uid", text)?;
    let name = fields.or_default("name", text)?;
    let namespace = fields.need("namespace", "the workload's namespace", text)?;
    let trust_domain = fields.get("trustDomain", text)?.unwrap_or("cluster.local");
    let account = fields.get("serviceAccount", text)?.unwrap_or("default");
    let identity = Identity::new(trust_domain, namespace, account).map_err(Wrong::identity)?;
    let mut workload = Workload::new(uid, name, identity);
    workload.addresses = fields.list("workloadIps", ip)?;
    workload.hostname = fields.or_default("hostname", shared)?;
    workload.network = fields.or_default("network", shared)?;
    workload.network_mode = fields.or_default(
        "networkMode",
        word(
            &[("Standard", NetworkMode::Standard), ("HostNetwork", NetworkMode::HostNetwork)],
            "Standard or HostNetwork",
        ),
    )?;
    workload.protocol = fields.or_default(
        "protocol",
        word(&[("TCP", TunnelProtocol::None), ("HBONE", TunnelProtocol::Hbone)], "TCP or HBONE"),
    )?;
    workload.waypoint = fields.get("waypoint", gateway)?;
    workload.network_gateway = fields.get("networkGateway", gateway)?;
    workload.native_tunnel = fields.or_default("nativeTunnel", flag)?;
    workload.application_tunnel = fields.get("applicationTunnel", tunnel)?;
    workload.node = fields.or_default("node", shared)?;
    workload.canonical_name = fields.or_default("canonicalName", shared)?;
    workload.canonical_revision = fields.or_default("canonicalRevision", shared)?;
    workload.workload_name = fields.or_default("workloadName", shared)?;
    // For telemetry only: a type that is not known here is no reason to go without the workload.
    let known = fields.get("workloadType", text)?.and_then(workload_type);
    workload.workload_type = known.unwrap_or(WorkloadType::Deployment);
    if let Some(cluster) = fields.get("clusterId", shared)? {
        workload.cluster = cluster;
    }
    workload.locality = fields.or_default("locality", locality)?;
    workload.status = fields.or_default("status", health)?;
    workload.capacity = fields.get("capacity", number)?.unwrap_or(1);
    workload.authorization_policies = fields.list("authorizationPolicies", shared)?;
    let names = fields.list("services", service_name)?;
    let own = fields.get("servicePorts", service_ports)?;
    let has_ports = own.is_some();
    let mut own = own.unwrap_or_default();
    let membership = |name: ServiceName| {
        let ports = own.remove(&name).unwrap_or_default();
        (name, PortMap::from(ports))
    };
    workload.services = names.into_iter().map(membership).collect::<Memberships>();
    Ok(Read { workload, has_ports })
}

fn service_ports(value: &Value) -> Result<BTreeMap<ServiceName, BTreeMap<u16, u16>>, Wrong> {
    map(value, name_of, NAMESPACE_HOSTNAME, ports)
}

pub(super) fn health(value: &Value) -> Result<Health, Wrong> {
    const WORDS: &[(&str, Health)] = &[("Healthy", Health::Healthy), ("Unhealthy", Health::Unhealthy)];
    word(WORDS, "Healthy or Unhealthy")(value)
}

fn tunnel(value: &Value) -> Result<ApplicationTunnel, Wrong> {
    const PROTOCOLS: &[(&str, ApplicationProtocol)] =
        &[("NONE", ApplicationProtocol::None), ("PROXY", ApplicationProtocol::Proxy)];
    let fields = Fields::of(value)?;
    Ok(ApplicationTunnel {
        protocol: fields.or_default("protocol", word(PROTOCOLS, "NONE or PROXY"))?,
        // ztunnel writes 0 for none.
        port: fields.get("port", port)?.filter(|port| *port != 0),
    })
}

fn locality(value: &Value) -> Result<Locality, Wrong> {
    let fields = Fields::of(value)?;
    Ok(Locality {
        region: fields.or_default("region", shared)?,
        zone: fields.or_default("zone", shared)?,
        subzone: fields.or_default("subzone", shared)?,
    })
}

fn workload_type(text: &str) -> Option<WorkloadType> {
    use WorkloadType::{Cronjob, Deployment, Job, Pod};
    [Deployment, Cronjob, Pod, Job].into_iter().find(|kind| kind.as_str() == text)
}
