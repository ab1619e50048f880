//! The file as it is written: key names and enumerations of `config_dump` (interfaces §4.2, §7.3).
//!
//! Only types are checked here; what values mean is the business of the modules beside.

use serde::Deserialize;
use serde_yaml_ng::Value;

use super::values::{Port, TextMatch, Unique};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) workloads: Vec<Workload>,
    #[serde(default)]
    pub(super) services: Vec<Service>,
    #[serde(default)]
    pub(super) policies: Vec<Policy>,
}

pub(super) type Ports = Unique<Port, Port>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Workload {
    pub(super) workload_ips: Vec<String>,
    pub(super) namespace: String,
    pub(super) services: Unique<String, Ports>,
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) protocol: Protocol,
    #[serde(default)]
    pub(super) network_mode: NetworkMode,
    #[serde(default)]
    pub(super) trust_domain: String,
    #[serde(default)]
    pub(super) service_account: String,
    #[serde(default)]
    pub(super) network: String,
    #[serde(default)]
    pub(super) workload_name: String,
    #[serde(default)]
    pub(super) workload_type: WorkloadType,
    #[serde(default)]
    pub(super) canonical_name: String,
    #[serde(default)]
    pub(super) canonical_revision: String,
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) node: String,
    #[serde(default)]
    pub(super) native_tunnel: bool,
    pub(super) application_tunnel: Option<ApplicationTunnel>,
    #[serde(default)]
    pub(super) authorization_policies: Vec<String>,
    #[serde(default)]
    pub(super) status: Status,
    #[serde(default)]
    pub(super) cluster_id: String,
    #[serde(default)]
    pub(super) locality: Locality,
    pub(super) capacity: Option<u32>,
    pub(super) waypoint: Option<Gateway>,
    pub(super) network_gateway: Option<Gateway>,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) enum Protocol {
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "HBONE")]
    Hbone,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) enum NetworkMode {
    #[default]
    Standard,
    HostNetwork,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WorkloadType {
    #[default]
    Deployment,
    Cronjob,
    Pod,
    Job,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) enum Status {
    #[default]
    Healthy,
    Unhealthy,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Locality {
    pub(super) region: String,
    pub(super) zone: String,
    pub(super) subzone: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplicationTunnel {
    pub(super) protocol: TunnelKind,
    pub(super) port: Option<Port>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum TunnelKind {
    None,
    Proxy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) hostname: String,
    pub(super) vips: Vec<String>,
    pub(super) ports: Ports,
    #[serde(default)]
    pub(super) cidr_vips: Vec<CidrVip>,
    #[serde(default)]
    pub(super) subject_alt_names: Vec<String>,
    pub(super) load_balancer: Option<LoadBalancer>,
    pub(super) ip_families: Option<IpFamilies>,
    #[serde(default)]
    pub(super) canonical: bool,
    #[serde(default)]
    pub(super) visibility: Visibility,
    #[serde(default)]
    pub(super) endpoints: Unique<String, Value>,
    pub(super) waypoint: Option<Gateway>,
    #[serde(default)]
    pub(super) weighted_waypoints: Vec<WeightedWaypoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Gateway {
    pub(super) destination: String,
    pub(super) hbone_mtls_port: Port,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WeightedWaypoint {
    pub(super) destination: Gateway,
    pub(super) weight: u32,
}

/// Both forms which istioctl reads.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected \"network/cidr\" or {network: …, cidr: …}")]
pub(super) enum CidrVip {
    Text(String),
    Parts(CidrParts),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CidrParts {
    pub(super) network: String,
    pub(super) cidr: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct LoadBalancer {
    pub(super) routing_preferences: Vec<Scope>,
    pub(super) mode: Mode,
    pub(super) health_policy: HealthPolicy,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum Scope {
    Region,
    Zone,
    Subzone,
    Node,
    Cluster,
    Network,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) enum Mode {
    #[default]
    Standard,
    Strict,
    Failover,
    Passthrough,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) enum HealthPolicy {
    #[default]
    OnlyHealthy,
    AllowAll,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum IpFamilies {
    Dual,
    IPv4,
    IPv6,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) enum Visibility {
    #[default]
    Public,
    Namespace,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) scope: PolicyScope,
    pub(super) action: Action,
    /// Rule → clause → match.
    pub(super) rules: Vec<Vec<Vec<Match>>>,
    #[serde(default)]
    pub(super) dry_run: bool,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum PolicyScope {
    Global,
    Namespace,
    WorkloadSelector,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum Action {
    Allow,
    Deny,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Match {
    pub(super) namespaces: Vec<TextMatch>,
    pub(super) not_namespaces: Vec<TextMatch>,
    pub(super) service_accounts: Vec<ServiceAccount>,
    pub(super) not_service_accounts: Vec<ServiceAccount>,
    pub(super) principals: Vec<TextMatch>,
    pub(super) not_principals: Vec<TextMatch>,
    pub(super) source_ips: Vec<String>,
    pub(super) not_source_ips: Vec<String>,
    pub(super) destination_ips: Vec<String>,
    pub(super) not_destination_ips: Vec<String>,
    pub(super) destination_ports: Vec<Port>,
    pub(super) not_destination_ports: Vec<Port>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ServiceAccount {
    pub(super) namespace: String,
    pub(super) service_account: String,
}
