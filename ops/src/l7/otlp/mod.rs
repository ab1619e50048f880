//! Spans and metrics sent to OpenTelemetry collectors: OTLP in protobuf, over gRPC or HTTP/1.1, in plaintext.
//!
//! ```text
//!   requests ── Spans::offer (never waits) ──▶ bounded queue ──▶ one task per collector: batches ──▶ Link ──▶ collector
//!   Metrics ◀── asked every interval ── Pushing ──▶ Link ──▶ collector
//! ```
//!
//! Connections are made with the HTTP library that is in the process already: no second TLS, no second pool of threads.
//! Collectors that want TLS are put behind the mesh.
mod environment;
mod exporter;
mod figures;
mod link;
mod metrics;

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1;

pub use self::environment::{Push, PushError};
pub use self::exporter::{Exporters, Limits, Spans};
pub use self::figures::ExportFigures;
pub use self::link::ExportError;
pub use self::metrics::Pushing;

/// Whose spans and metrics these are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource(Arc<[(String, String)]>);

impl Resource {
    /// A service by its name (Istio: `SERVICE-ACCOUNT.NAMESPACE`; waypoint.md §21.7), and what `OTEL_RESOURCE_ATTRIBUTES` says
    /// (`name=value,name=value`; pairs that are none are passed over, as the specification wants).
    #[must_use]
    pub fn new(service: &str, environment: Option<&str>) -> Self {
        let mut all = vec![("service.name".to_owned(), service.to_owned())];
        for pair in environment.unwrap_or_default().split(',') {
            if let Some((name, value)) = pair.split_once('=') {
                let (name, value) = (name.trim(), value.trim());
                if !name.is_empty() && all.iter().all(|(known, _)| known != name) {
                    all.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        Self(all.into())
    }

    fn encoded(&self) -> v1::Resource {
        let attribute = |(key, value): &(String, String)| attribute(key, value);
        v1::Resource { attributes: self.0.iter().map(attribute).collect(), ..v1::Resource::default() }
    }
}

pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// What made them.
fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "adit-waypoint".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

#[cfg(test)]
mod tests;
