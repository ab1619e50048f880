//! `tracing`: where spans go, how many are made, and what they say.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::Fraction;
use adit_core::l7::telemetry::{Collector, CollectorProtocol, CustomTag, Tracing};
use http::{HeaderName, HeaderValue};

use super::super::super::{Problems, Severity};
use super::super::mesh_config::{MeshConfig, Provider};
use super::super::values::{Reader, per_cent};
use super::spec::{self, Header, OpenTelemetry};

/// How long a collector may take, where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Per cent of requests that are traced, where nothing else is said.
const SAMPLING: f64 = 1.0;

/// An entry of a policy that is for us.
pub(super) struct Entry {
    provider: Option<Arc<str>>,
    sampling: Option<Fraction>,
    report: Option<bool>,
    tags: BTreeMap<Arc<str>, CustomTag>,
    use_request_id: Option<bool>,
    istio_tags: Option<bool>,
    propagate: Option<bool>,
}

/// Reads the entries of a policy; those that are not for us are left out.
pub(super) fn read(reader: &mut Reader<'_>, mesh: &MeshConfig, entries: &[spec::Tracing]) -> Vec<Entry> {
    let mut read = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let at = format!("spec.tracing[{place}]");
        if entry.providers.len() > 1 {
            let text = "only the first provider is used";
            reader.tell(Severity::Note, &format!("{at}.providers[1]"), text);
        }
        let provider = entry.providers.first();
        if let Some(provider) = provider.filter(|provider| mesh.provider(&provider.name).is_none()) {
            let text = format!(
                "there is no provider {:?} in the mesh's extensionProviders: nothing is traced",
                provider.name
            );
            reader.tell(Severity::Unresolved, &format!("{at}.providers[0].name"), text);
        }
        let sampling = entry.random_sampling_percentage.map(|percent| {
            per_cent(percent).unwrap_or_else(|| {
                let text = format!("{percent} is not between 0 and 100: {SAMPLING} is used");
                reader.tell(Severity::Malformed, &format!("{at}.randomSamplingPercentage"), text);
                per_cent(SAMPLING).unwrap_or(Fraction { numerator: 0, denominator: 1 })
            })
        });
        let mut tags = BTreeMap::new();
        for (name, tag) in &entry.custom_tags {
            if let Some(tag) = custom(reader, &format!("{at}.customTags.{name}"), tag) {
                tags.insert(name.as_str().into(), tag);
            }
        }
        if entry.matches.mode.is_ours() {
            read.push(Entry {
                provider: provider.map(|provider| provider.name.as_str().into()),
                sampling,
                report: entry.disable_span_reporting.map(|disabled| !disabled),
                tags,
                use_request_id: entry.use_request_id_for_trace_sampling,
                istio_tags: entry.enable_istio_tags,
                propagate: entry.disable_context_propagation.map(|disabled| !disabled),
            });
        }
    }
    read
}

fn custom(reader: &mut Reader<'_>, at: &str, tag: &spec::CustomTag) -> Option<CustomTag> {
    let text = |text: &Option<String>| text.as_deref().map(Arc::from);
    match tag {
        spec::CustomTag { literal: Some(literal), environment: None, header: None, formatter: None } => {
            Some(CustomTag::Literal(literal.value.as_str().into()))
        }
        spec::CustomTag { literal: None, environment: Some(variable), header: None, formatter: None } => {
            Some(CustomTag::Environment(variable.name.as_str().into(), text(&variable.default_value)))
        }
        spec::CustomTag { literal: None, environment: None, header: Some(header), formatter: None } => {
            let name = header.name.to_ascii_lowercase();
            if name.parse::<HeaderName>().is_err() {
                let text = format!("{name:?} is no name of a header");
                reader.tell(Severity::Malformed, &format!("{at}.header.name"), text);
                return None;
            }
            Some(CustomTag::Header(name.into(), text(&header.default_value)))
        }
        spec::CustomTag { literal: None, environment: None, header: None, formatter: Some(formatter) } => {
            let text = format!(
                "Envoy's formats, such as {:?}, are not supported: there is no such tag",
                formatter.value
            );
            reader.unsupported(&format!("{at}.formatter"), text);
            None
        }
        _ => {
            let text = "expected one of literal, environment and header";
            reader.tell(Severity::Malformed, at, text);
            None
        }
    }
}

/// What the mesh's settings say.
pub(super) struct Defaults {
    tracing: Tracing,
    provider: Option<Arc<str>>,
    /// With how much of a path their spans say.
    collectors: BTreeMap<Arc<str>, (Arc<Collector>, Option<u32>)>,
}

impl Defaults {
    pub(super) fn new(mesh: &MeshConfig, problems: &mut Problems) -> Self {
        let mut tracing = Tracing::default();
        let path = ["defaultConfig", "tracing"];
        for (field, value) in mesh.get(&path).and_then(|value| value.as_object()).into_iter().flatten() {
            let known = match &**field {
                "sampling" => value.as_f64().map(|percent| {
                    // As Istio does with what is too much.
                    tracing.sampling =
                        per_cent(percent).or_else(|| per_cent(SAMPLING)).unwrap_or(tracing.sampling);
                }),
                "maxPathTagLength" => {
                    let length = value.as_u64().and_then(|length| usize::try_from(length).ok());
                    length.map(|length| tracing.max_path = length)
                }
                _ => None,
            };
            if known.is_none() {
                let field = MeshConfig::field(&[path[0], path[1], field]);
                let text =
                    "this is not supported: tracing is set by Telemetry and a provider of kind opentelemetry";
                mesh.tell(field, Severity::Unsupported, text, problems);
            }
        }
        let mut collectors = BTreeMap::new();
        for (name, provider) in mesh.providers() {
            if let Some(collector) = collector(mesh, name, provider, problems) {
                collectors.insert(Arc::clone(name), collector);
            }
        }
        let names = mesh.default_providers("tracing", problems).unwrap_or_default();
        let provider = names.into_iter().next();
        if let Some(name) = provider.as_ref().filter(|name| mesh.provider(name).is_none()) {
            let field = MeshConfig::field(&["defaultProviders", "tracing"]);
            let text = format!("there is no provider {name:?} among extensionProviders: nothing is traced");
            mesh.tell(field, Severity::Unresolved, text, problems);
        }
        Self { tracing, provider, collectors }
    }

    /// What follows from the entries of policies.
    pub(super) fn merged<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Tracing {
        let mut tracing = self.tracing.clone();
        let mut provider = self.provider.as_ref();
        for entry in entries {
            provider = entry.provider.as_ref().or(provider);
            tracing.sampling = entry.sampling.unwrap_or(tracing.sampling);
            tracing.report = entry.report.unwrap_or(tracing.report);
            tracing.use_request_id = entry.use_request_id.unwrap_or(tracing.use_request_id);
            tracing.istio_tags = entry.istio_tags.unwrap_or(tracing.istio_tags);
            tracing.propagate = entry.propagate.unwrap_or(tracing.propagate);
            if !entry.tags.is_empty() {
                tracing.tags.clone_from(&entry.tags);
            }
        }
        if let Some((collector, length)) = provider.and_then(|name| self.collectors.get(name)) {
            tracing.collector = Some(Arc::clone(collector));
            if let Some(length) = length {
                tracing.max_path = usize::try_from(*length).unwrap_or(usize::MAX);
            }
        }
        tracing
    }
}

/// The collector of a provider, if spans can be sent to it.
fn collector(
    mesh: &MeshConfig,
    name: &Arc<str>,
    provider: &Provider,
    problems: &mut Problems,
) -> Option<(Arc<Collector>, Option<u32>)> {
    let mut told = Vec::new();
    let made = match &*provider.kind {
        "opentelemetry" => {
            let otel: OpenTelemetry = mesh.read(provider, problems)?;
            Some((Arc::new(opentelemetry(name, &otel, &mut told)), otel.max_tag_length))
        }
        "zipkin" | "datadog" | "skywalking" | "lightstep" | "opencensus" | "stackdriver" => {
            let text = "spans are sent in OTLP only: use a provider of kind opentelemetry";
            told.push((Severity::Unsupported, String::new(), text.to_owned()));
            None
        }
        _ => None,
    };
    for (severity, field, text) in told {
        mesh.tell(format!("{}{field}", provider.field), severity, text, problems);
    }
    made
}

type Told = Vec<(Severity, String, String)>;

fn opentelemetry(name: &Arc<str>, otel: &OpenTelemetry, told: &mut Told) -> Collector {
    let mut unsupported = |said: bool, field: &str, text: &str| {
        if said {
            told.push((Severity::Unsupported, field.to_owned(), text.to_owned()));
        }
    };
    let dynatrace = otel.resource_detectors.as_ref().is_some_and(|detectors| detectors.dynatrace.is_some());
    unsupported(dynatrace, ".resourceDetectors.dynatrace", "nothing is found out about Dynatrace");
    unsupported(
        otel.dynatrace_sampler.is_some(),
        ".dynatraceSampler",
        "sampling is randomSamplingPercentage's",
    );
    let enriched = otel.service_attribute_enrichment.as_deref().is_some_and(|how| how != "ISTIO_CANONICAL");
    unsupported(enriched, ".serviceAttributeEnrichment", "service.name stays SERVICE-ACCOUNT.NAMESPACE");
    let (protocol, timeout) = match (&otel.http, &otel.grpc) {
        (Some(http), _) => {
            unsupported(otel.grpc.is_some(), ".grpc", "http is set as well, and is what is used");
            let path = if http.path.is_empty() { "/v1/traces" } else { &*http.path };
            let headers = headers(&http.headers, ".http.headers", told);
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            (CollectorProtocol::Http { path: path.into(), headers }, http.timeout)
        }
        (None, grpc) => {
            let metadata = grpc.as_ref().map(|grpc| &*grpc.initial_metadata).unwrap_or_default();
            let metadata = headers(metadata, ".grpc.initialMetadata", told);
            (CollectorProtocol::Grpc { metadata }, grpc.as_ref().and_then(|grpc| grpc.timeout))
        }
    };
    // `NAMESPACE/HOST` or a host.
    let host = otel.service.split_once('/').map_or(&*otel.service, |(_, host)| host);
    Collector {
        name: Arc::clone(name),
        host: host.into(),
        port: otel.port,
        protocol,
        timeout: timeout.map_or(TIMEOUT, |timeout| timeout.0).max(Duration::from_millis(1)),
    }
}

fn headers(headers: &[Header], at: &str, told: &mut Told) -> Vec<(Arc<str>, Arc<str>)> {
    let mut read = Vec::new();
    for (place, header) in headers.iter().enumerate() {
        let at = format!("{at}[{place}]");
        if header.env_name.is_some() {
            let text = "values are not taken from the environment: this header is not sent".to_owned();
            told.push((Severity::Unsupported, format!("{at}.envName"), text));
            continue;
        }
        let (name, value) = (header.name.to_ascii_lowercase(), header.value.clone().unwrap_or_default());
        if name.parse::<HeaderName>().is_err() || HeaderValue::from_str(&value).is_err() {
            let text = "this is no header, and is not sent".to_owned();
            told.push((Severity::Malformed, at, text));
            continue;
        }
        read.push((name.into(), value.into()));
    }
    read
}
