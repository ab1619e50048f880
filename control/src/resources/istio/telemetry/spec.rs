//! The fields of `Telemetry` (telemetry.istio.io/v1), and of the providers that it names.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::values::GoDuration;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub(super) selector: Option<Selector>,
    pub(super) target_ref: Option<TargetRef>,
    pub(super) target_refs: Vec<TargetRef>,
    pub(super) tracing: Vec<Tracing>,
    pub(super) metrics: Vec<Metrics>,
    pub(super) access_logging: Vec<AccessLogging>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Selector {
    pub(super) match_labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct TargetRef {
    #[serde(default)]
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
}

/// Which end of a connection an entry is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Mode {
    #[default]
    ClientAndServer,
    Client,
    Server,
}

impl Mode {
    /// A waypoint counts as a server.
    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::ClientAndServer | Self::Server)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Match {
    pub(super) mode: Mode,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Tracing {
    #[serde(rename = "match")]
    pub(super) matches: Match,
    pub(super) providers: Vec<Named>,
    pub(super) random_sampling_percentage: Option<f64>,
    pub(super) disable_span_reporting: Option<bool>,
    pub(super) custom_tags: BTreeMap<String, CustomTag>,
    pub(super) use_request_id_for_trace_sampling: Option<bool>,
    pub(super) enable_istio_tags: Option<bool>,
    pub(super) disable_context_propagation: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CustomTag {
    pub(super) literal: Option<Literal>,
    pub(super) environment: Option<Variable>,
    pub(super) header: Option<Variable>,
    pub(super) formatter: Option<Literal>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Literal {
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) default_value: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metrics {
    pub(super) providers: Vec<Named>,
    pub(super) overrides: Vec<Override>,
    pub(super) reporting_interval: Option<GoDuration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Override {
    #[serde(rename = "match")]
    pub(super) matches: MetricMatch,
    pub(super) disabled: Option<bool>,
    pub(super) tag_overrides: BTreeMap<String, TagOverride>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetricMatch {
    pub(super) metric: Option<String>,
    pub(super) custom_metric: Option<String>,
    pub(super) mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Operation {
    #[default]
    Upsert,
    Remove,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TagOverride {
    pub(super) operation: Operation,
    pub(super) value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AccessLogging {
    #[serde(rename = "match")]
    pub(super) matches: Match,
    pub(super) providers: Vec<Named>,
    pub(super) disabled: Option<bool>,
    pub(super) filter: Option<Filter>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    pub(super) expression: String,
}

/// `extensionProviders[].envoyFileAccessLog`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FileLog {
    pub(super) path: String,
    pub(super) log_format: Option<FileFormat>,
    pub(super) omit_empty_values: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileFormat {
    pub(super) text: Option<String>,
    pub(super) labels: Option<BTreeMap<String, Value>>,
}

/// `extensionProviders[].opentelemetry`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenTelemetry {
    pub(super) service: String,
    pub(super) port: u16,
    pub(super) max_tag_length: Option<u32>,
    pub(super) http: Option<OtelHttp>,
    pub(super) grpc: Option<OtelGrpc>,
    pub(super) resource_detectors: Option<Detectors>,
    pub(super) dynatrace_sampler: Option<Value>,
    pub(super) service_attribute_enrichment: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OtelHttp {
    pub(super) path: String,
    pub(super) timeout: Option<GoDuration>,
    pub(super) headers: Vec<Header>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OtelGrpc {
    pub(super) timeout: Option<GoDuration>,
    pub(super) initial_metadata: Vec<Header>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) env_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Detectors {
    /// Always done: `OTEL_RESOURCE_ATTRIBUTES` is read.
    #[serde(rename = "environment")]
    pub(super) _environment: Option<Value>,
    pub(super) dynatrace: Option<Value>,
}
