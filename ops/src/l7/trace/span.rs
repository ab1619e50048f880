//! What a request's span says: name, times, and tags with Envoy's and Istio's names (waypoint.md §21.4–21.6, §21.8).
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use adit_core::l7::telemetry::{CustomTag, Tracing};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::Traced;
use crate::l7::record::{Exchange, Headers, Peer, Protocol};

/// Who we are, as our spans say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Own {
    /// `node_id`: the proxy's name, such as `waypoint~10.1.2.3~waypoint-0.shop~shop.svc.cluster.local`.
    pub node_id: Arc<str>,
    /// `istio.canonical_service`.
    pub canonical_service: Arc<str>,
    /// `istio.canonical_revision`.
    pub canonical_revision: Arc<str>,
    /// `istio.mesh_id`.
    pub mesh_id: Arc<str>,
    /// `istio.namespace`.
    pub namespace: Arc<str>,
    /// `istio.cluster_id`.
    pub cluster_id: Arc<str>,
}

/// Custom tags with what the environment says in place of its variables' names: made once per configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags(BTreeMap<Arc<str>, Tag>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Tag {
    Fixed(Arc<str>),
    Header(Arc<str>, Option<Arc<str>>),
}

impl Tags {
    /// The tags of `tracing`; `environment` gives variables.
    pub fn new(tracing: &Tracing, environment: impl Fn(&str) -> Option<String>) -> Self {
        let tag = |tag: &CustomTag| match tag {
            CustomTag::Literal(text) => Some(Tag::Fixed(Arc::clone(text))),
            CustomTag::Environment(name, otherwise) => {
                environment(name).map(Arc::from).or_else(|| otherwise.clone()).map(Tag::Fixed)
            }
            CustomTag::Header(name, otherwise) => Some(Tag::Header(Arc::clone(name), otherwise.clone())),
        };
        Self(tracing.tags.iter().filter_map(|(name, of)| Some((Arc::clone(name), tag(of)?))).collect())
    }
}

/// Tags as they are gathered.
struct Said(Vec<KeyValue>);

impl Said {
    fn text<'a>(&mut self, key: &str, value: impl Into<Cow<'a, str>>) {
        let value = Some(any_value::Value::StringValue(value.into().into_owned()));
        self.0.push(KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() });
    }

    /// A peer's octets; a dash for none, as Envoy has it.
    fn octets(&mut self, key: &str, value: &[u8]) {
        let text = if value.is_empty() { Cow::Borrowed("-") } else { String::from_utf8_lossy(value) };
        self.text(key, text);
    }

    fn number(&mut self, key: &str, value: impl ToString) {
        self.text(key, value.to_string());
    }

    fn peer(&mut self, prefix: &str, peer: Option<&Peer>) {
        let Some(peer) = peer else { return };
        let kind = peer.workload_type.map_or("", |kind| kind.as_str());
        for (key, value) in [
            ("workload", &*peer.workload),
            ("namespace", &*peer.namespace),
            ("cluster_id", &*peer.cluster),
            ("canonical_service", &*peer.canonical_service),
            ("canonical_revision", &*peer.canonical_revision),
            ("app", &*peer.app),
            ("app_version", &*peer.version),
            ("workload_type", kind),
            ("instance_name", &*peer.instance),
        ] {
            let value = if value.is_empty() { "unknown" } else { value };
            self.text(&format!("istio.{prefix}_{key}"), value);
        }
    }
}

/// The first `most` octets, or as many of them as are whole letters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn octets_of(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

/// The span of an exchange that has ended; `operation` is the name that its route gives it, empty for
/// `HOST-OF-SERVICE:PORT/*`.
#[must_use]
pub fn span(
    own: &Own,
    tracing: &Tracing,
    tags: &Tags,
    traced: &Traced,
    operation: &str,
    exchange: &Exchange<'_>,
) -> Span {
    let failed = exchange.http.status >= 500 || exchange.http.status == 0;
    let start = nanoseconds(exchange.started);
    let length = u64::try_from(exchange.duration.as_nanos()).unwrap_or(u64::MAX);
    let code = if failed { StatusCode::Error } else { StatusCode::Unset };
    Span {
        trace_id: traced.span.trace_id.to_be_bytes().to_vec(),
        span_id: octets_of(traced.span.span_id),
        parent_span_id: traced.parent.map(octets_of).unwrap_or_default(),
        flags: traced.span.flags.into(),
        name: name(operation, exchange),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(length),
        attributes: attributes(own, tracing, tags, failed, exchange),
        status: Some(Status { code: code.into(), message: String::new() }),
        ..Span::default()
    }
}

fn name(operation: &str, exchange: &Exchange<'_>) -> String {
    match (operation, exchange.service, exchange.downstream.local) {
        ("", Some(service), Some(local)) => format!("{}:{}/*", service.hostname, local.port()),
        ("", Some(service), None) => format!("{}/*", service.hostname),
        ("", None, _) => String::from_utf8_lossy(exchange.http.authority).into_owned(),
        (operation, ..) => operation.to_owned(),
    }
}

fn attributes(
    own: &Own,
    tracing: &Tracing,
    tags: &Tags,
    failed: bool,
    exchange: &Exchange<'_>,
) -> Vec<KeyValue> {
    let (http, upstream) = (&exchange.http, &exchange.upstream);
    let mut said = Said(Vec::with_capacity(48));
    said.text("component", "proxy");
    said.text("node_id", &*own.node_id);
    said.octets("guid:x-request-id", http.request_id);
    let (authority, path) = (String::from_utf8_lossy(http.authority), String::from_utf8_lossy(http.path));
    let scheme = if http.scheme.is_empty() { "http" } else { http.scheme };
    said.text("http.url", format!("{scheme}://{authority}{}", cut(&path, tracing.max_path)));
    said.octets("http.method", http.method);
    said.number("http.status_code", http.status);
    said.text("http.protocol", http.version.map_or("-", |version| version.as_str()));
    said.octets(
        "downstream_cluster",
        http.request_headers.get("x-envoy-downstream-service-cluster").unwrap_or(b""),
    );
    said.octets("user_agent", http.user_agent);
    if let Some(remote) = exchange.downstream.remote {
        said.number("peer.address", remote.ip());
    }
    said.number("request_size", exchange.received.body);
    said.number("response_size", exchange.sent.body);
    said.number("response_flags", exchange.flags);
    if !upstream.cluster.is_empty() {
        said.text("upstream_cluster", upstream.cluster);
        said.text("upstream_cluster.name", upstream.cluster);
    }
    if let Some(host) = upstream.host {
        said.number("upstream_address", host);
    }
    if failed {
        said.text("error", "true");
    }
    if exchange.protocol == Protocol::Grpc {
        said.text("grpc.path", cut(&path, tracing.max_path));
        said.text("grpc.authority", authority);
        if let Some(status) = http.grpc.and_then(|grpc| grpc.status) {
            said.number("grpc.status_code", status);
        }
        if let Some(message) = http.response_headers.get("grpc-message") {
            said.octets("grpc.message", message);
        }
    }
    if let Some(connection) = exchange.connection {
        said.text("connection.id", format!("{:032x}", connection.trace_id));
    }
    if tracing.istio_tags {
        for (key, value) in [
            ("istio.canonical_revision", &own.canonical_revision),
            ("istio.canonical_service", &own.canonical_service),
            ("istio.mesh_id", &own.mesh_id),
            ("istio.namespace", &own.namespace),
            ("istio.cluster_id", &own.cluster_id),
        ] {
            said.text(key, &**value);
        }
        said.peer("source", exchange.source.map(|peer| &**peer));
        said.peer("destination", exchange.destination.map(|peer| &**peer));
    }
    custom(&mut said, tags, http.request_headers);
    said.0
}

fn custom(said: &mut Said, tags: &Tags, headers: &dyn Headers) {
    for (name, tag) in &tags.0 {
        match tag {
            Tag::Fixed(text) => said.text(name, &**text),
            Tag::Header(header, otherwise) => match (headers.get(header), otherwise) {
                (Some(value), _) => said.text(name, String::from_utf8_lossy(value)),
                (None, Some(text)) => said.text(name, &**text),
                (None, None) => {}
            },
        }
    }
}
