//! `DestinationRule` as it is written.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::values::GoDuration;

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) host: String,
    pub(super) traffic_policy: Option<Policy>,
    #[serde(default)]
    pub(super) subsets: Vec<Subset>,
    #[serde(default)]
    pub(super) export_to: Vec<String>,
    pub(super) workload_selector: Option<Value>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subset {
    pub(super) name: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) traffic_policy: Option<Policy>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Policy {
    pub(super) load_balancer: Option<LoadBalancer>,
    pub(super) connection_pool: Option<ConnectionPool>,
    pub(super) outlier_detection: Option<Outliers>,
    pub(super) tls: Option<Tls>,
    #[serde(default)]
    pub(super) port_level_settings: Vec<PortLevel>,
    pub(super) tunnel: Option<Value>,
    pub(super) proxy_protocol: Option<Proxy>,
    pub(super) retry_budget: Option<Budget>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortLevel {
    pub(super) port: Option<Port>,
    pub(super) load_balancer: Option<LoadBalancer>,
    pub(super) connection_pool: Option<ConnectionPool>,
    pub(super) outlier_detection: Option<Outliers>,
    pub(super) tls: Option<Tls>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Port {
    pub(super) number: u16,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Simple {
    #[default]
    Unspecified,
    LeastConn,
    LeastRequest,
    RoundRobin,
    Random,
    Passthrough,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancer {
    pub(super) simple: Option<Simple>,
    pub(super) consistent_hash: Option<ConsistentHash>,
    pub(super) locality_lb_setting: Option<LocalitySetting>,
    pub(super) zone_aware_lb_setting: Option<Value>,
    pub(super) backend_utilization: Option<Value>,
    pub(super) warmup: Option<Warmup>,
    pub(super) warmup_duration_secs: Option<GoDuration>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConsistentHash {
    pub(super) http_header_name: Option<String>,
    pub(super) http_cookie: Option<Cookie>,
    pub(super) use_source_ip: Option<bool>,
    pub(super) http_query_parameter_name: Option<String>,
    pub(super) ring_hash: Option<RingHash>,
    pub(super) maglev: Option<MaglevTable>,
    pub(super) minimum_ring_size: Option<u64>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cookie {
    pub(super) name: String,
    pub(super) path: Option<String>,
    pub(super) ttl: Option<GoDuration>,
    #[serde(default)]
    pub(super) attributes: Vec<Attribute>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RingHash {
    pub(super) minimum_ring_size: Option<u64>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MaglevTable {
    pub(super) table_size: Option<u64>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LocalitySetting {
    pub(super) enabled: Option<bool>,
    #[serde(default)]
    pub(super) distribute: Vec<Distribution>,
    #[serde(default)]
    pub(super) failover: Vec<Failover>,
    #[serde(default)]
    pub(super) failover_priority: Vec<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Distribution {
    pub(super) from: String,
    #[serde(default)]
    pub(super) to: BTreeMap<String, u32>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Failover {
    pub(super) from: String,
    pub(super) to: String,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Warmup {
    pub(super) duration: GoDuration,
    pub(super) minimum_percent: Option<f64>,
    pub(super) aggression: Option<f64>,
}

#[derive(Clone, Default, Deserialize)]
pub(super) struct ConnectionPool {
    pub(super) tcp: Option<Tcp>,
    pub(super) http: Option<Http>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tcp {
    pub(super) max_connections: Option<u32>,
    pub(super) connect_timeout: Option<GoDuration>,
    pub(super) tcp_keepalive: Option<TcpKeepalive>,
    pub(super) max_connection_duration: Option<GoDuration>,
    pub(super) idle_timeout: Option<GoDuration>,
}

/// Read for its shape alone: it has no effect.
#[derive(Clone, Deserialize)]
pub(super) struct TcpKeepalive {
    #[serde(rename = "probes")]
    _probes: Option<u32>,
    #[serde(rename = "time")]
    _time: Option<GoDuration>,
    #[serde(rename = "interval")]
    _interval: Option<GoDuration>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum UpgradePolicy {
    #[default]
    Default,
    DoNotUpgrade,
    Upgrade,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Http {
    pub(super) http1_max_pending_requests: Option<u32>,
    pub(super) http2_max_requests: Option<u32>,
    pub(super) max_requests_per_connection: Option<u32>,
    pub(super) max_retries: Option<u32>,
    pub(super) idle_timeout: Option<GoDuration>,
    pub(super) h2_upgrade_policy: Option<UpgradePolicy>,
    pub(super) use_client_protocol: Option<bool>,
    pub(super) max_concurrent_streams: Option<u32>,
    #[serde(rename = "http2KeepAlive")]
    pub(super) http2_keep_alive: Option<KeepAlive>,
}

#[derive(Clone, Deserialize)]
pub(super) struct KeepAlive {
    pub(super) interval: Option<GoDuration>,
    pub(super) timeout: Option<GoDuration>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outliers {
    #[serde(rename = "consecutive5xxErrors")]
    pub(super) consecutive_5xx_errors: Option<u32>,
    pub(super) consecutive_errors: Option<Value>,
    pub(super) consecutive_gateway_errors: Option<u32>,
    pub(super) consecutive_local_origin_failures: Option<u32>,
    pub(super) split_external_local_origin_errors: Option<bool>,
    pub(super) interval: Option<GoDuration>,
    pub(super) base_ejection_time: Option<GoDuration>,
    pub(super) max_ejection_percent: Option<u32>,
    pub(super) min_health_percent: Option<u32>,
    #[serde(default)]
    pub(super) outlier_detection_http_error_codes: Vec<u16>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum TlsMode {
    #[default]
    Disable,
    Simple,
    Mutual,
    IstioMutual,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tls {
    #[serde(default)]
    pub(super) mode: TlsMode,
    pub(super) client_certificate: Option<String>,
    pub(super) private_key: Option<String>,
    pub(super) ca_certificates: Option<String>,
    pub(super) ca_crl: Option<Value>,
    pub(super) credential_name: Option<String>,
    #[serde(default)]
    pub(super) subject_alt_names: Vec<String>,
    pub(super) sni: Option<String>,
    pub(super) insecure_skip_verify: Option<bool>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Proxy {
    pub(super) version: Option<ProxyVersion>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) enum ProxyVersion {
    V1,
    V2,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Budget {
    pub(super) percent: Option<f64>,
    pub(super) min_retry_concurrency: Option<u32>,
    pub(super) budget_interval: Option<GoDuration>,
}
