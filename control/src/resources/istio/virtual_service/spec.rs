//! `VirtualService` as it is written.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::values::GoDuration;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) hosts: Vec<String>,
    #[serde(default)]
    pub(super) gateways: Vec<String>,
    #[serde(default)]
    pub(super) http: Vec<HttpRoute>,
    pub(super) tls: Option<Value>,
    pub(super) tcp: Option<Value>,
    #[serde(default)]
    pub(super) export_to: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpRoute {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) r#match: Vec<Match>,
    #[serde(default)]
    pub(super) route: Vec<RouteDestination>,
    pub(super) redirect: Option<Redirect>,
    pub(super) direct_response: Option<DirectResponse>,
    pub(super) delegate: Option<Value>,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) timeout: Option<GoDuration>,
    pub(super) retries: Option<Retries>,
    pub(super) fault: Option<Fault>,
    pub(super) mirror: Option<Destination>,
    #[serde(default)]
    pub(super) mirrors: Vec<MirrorPolicy>,
    #[serde(alias = "mirror_percent")]
    pub(super) mirror_percent: Option<f64>,
    pub(super) mirror_percentage: Option<Percent>,
    pub(super) cors_policy: Option<Cors>,
    pub(super) headers: Option<Headers>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StringMatch {
    pub(super) exact: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) regex: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Match {
    pub(super) name: Option<String>,
    pub(super) uri: Option<StringMatch>,
    pub(super) scheme: Option<StringMatch>,
    pub(super) method: Option<StringMatch>,
    pub(super) authority: Option<StringMatch>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, StringMatch>,
    #[serde(default)]
    pub(super) without_headers: BTreeMap<String, StringMatch>,
    #[serde(default)]
    pub(super) query_params: BTreeMap<String, StringMatch>,
    pub(super) port: Option<u16>,
    pub(super) source_labels: Option<Value>,
    pub(super) source_namespace: Option<Value>,
    #[serde(default)]
    pub(super) gateways: Vec<String>,
    #[serde(default)]
    pub(super) ignore_uri_case: bool,
    pub(super) stat_prefix: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct RouteDestination {
    pub(super) destination: Destination,
    pub(super) weight: Option<u32>,
    pub(super) headers: Option<Headers>,
}

#[derive(Deserialize)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) subset: Option<String>,
    pub(super) port: Option<Port>,
}

#[derive(Deserialize)]
pub(super) struct Port {
    pub(super) number: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redirect {
    pub(super) uri: Option<String>,
    pub(super) prefix_rewrite: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) derive_port: Option<DerivePort>,
    pub(super) scheme: Option<String>,
    pub(super) redirect_code: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum DerivePort {
    FromProtocolDefault,
    FromRequestPort,
}

#[derive(Deserialize)]
pub(super) struct DirectResponse {
    pub(super) status: u16,
    pub(super) body: Option<Body>,
}

#[derive(Deserialize)]
pub(super) struct Body {
    pub(super) string: Option<String>,
    pub(super) bytes: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rewrite {
    pub(super) uri: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) uri_regex_rewrite: Option<RegexRewrite>,
}

#[derive(Deserialize)]
pub(super) struct RegexRewrite {
    pub(super) r#match: String,
    #[serde(default)]
    pub(super) rewrite: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Retries {
    pub(super) attempts: Option<i32>,
    pub(super) per_try_timeout: Option<GoDuration>,
    pub(super) retry_on: Option<String>,
    pub(super) retry_remote_localities: Option<bool>,
    pub(super) retry_ignore_previous_hosts: Option<bool>,
    pub(super) backoff: Option<GoDuration>,
}

#[derive(Deserialize)]
pub(super) struct Fault {
    pub(super) delay: Option<Delay>,
    pub(super) abort: Option<Abort>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delay {
    pub(super) percentage: Option<Percent>,
    pub(super) percent: Option<f64>,
    pub(super) fixed_delay: Option<GoDuration>,
    pub(super) exponential_delay: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Abort {
    pub(super) percentage: Option<Percent>,
    pub(super) http_status: Option<u16>,
    pub(super) grpc_status: Option<String>,
    pub(super) http2_error: Option<Value>,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Percent {
    #[serde(default)]
    pub(super) value: f64,
}

#[derive(Deserialize)]
pub(super) struct MirrorPolicy {
    pub(super) destination: Destination,
    pub(super) percentage: Option<Percent>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum UnmatchedPreflights {
    #[default]
    Unspecified,
    Forward,
    Ignore,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cors {
    #[serde(default)]
    pub(super) allow_origin: Vec<String>,
    #[serde(default)]
    pub(super) allow_origins: Vec<StringMatch>,
    #[serde(default)]
    pub(super) allow_methods: Vec<String>,
    #[serde(default)]
    pub(super) allow_headers: Vec<String>,
    #[serde(default)]
    pub(super) expose_headers: Vec<String>,
    pub(super) max_age: Option<GoDuration>,
    pub(super) allow_credentials: Option<bool>,
    #[serde(default)]
    pub(super) unmatched_preflights: UnmatchedPreflights,
}

#[derive(Default, Deserialize)]
pub(super) struct Headers {
    #[serde(default)]
    pub(super) request: Operations,
    #[serde(default)]
    pub(super) response: Operations,
}

#[derive(Default, Deserialize)]
pub(super) struct Operations {
    #[serde(default)]
    pub(super) set: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) add: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) remove: Vec<String>,
}
