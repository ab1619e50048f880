//! Which requests are traced, where their spans go and what these say (Istio: `Telemetry.tracing`).
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::l7::Fraction;

/// How spans are sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CollectorProtocol {
    /// OTLP over gRPC.
    Grpc {
        /// Headers beside those of gRPC, names in lower case (`grpc.initialMetadata`).
        metadata: Vec<(Arc<str>, Arc<str>)>,
    },
    /// OTLP over HTTP, in protobuf.
    Http {
        /// The path to post to.
        path: Arc<str>,
        /// Headers of the request, names in lower case.
        headers: Vec<(Arc<str>, Arc<str>)>,
    },
}

/// Who takes spans (`extensionProviders[].opentelemetry`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collector {
    /// Name of the provider.
    pub name: Arc<str>,
    /// Host to connect to, without port.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// How.
    pub protocol: CollectorProtocol,
    /// How long it may take to answer.
    pub timeout: Duration,
}

/// Where a tag takes its value from (`customTags`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CustomTag {
    /// It is always this.
    Literal(Arc<str>),
    /// An environment variable of ours, and what if there is none; without that there is no tag.
    Environment(Arc<str>, Option<Arc<str>>),
    /// A header of the request (in lower case), and what if there is none.
    Header(Arc<str>, Option<Arc<str>>),
}

/// What is traced, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tracing {
    /// Who takes the spans; `None`: no span is made, and trace headers pass as they are.
    pub collector: Option<Arc<Collector>>,
    /// Of requests that come without a decision, so many are traced.
    pub sampling: Fraction,
    /// Spans are sent (`disableSpanReporting` is not set).
    pub report: bool,
    /// Trace headers of the request sent on name our span (`disableContextPropagation` is not set).
    pub propagate: bool,
    /// The decision is also written into `x-request-id`, and read there.
    pub use_request_id: bool,
    /// Spans say who the ends are (`enableIstioTags`).
    pub istio_tags: bool,
    /// Further tags, by name.
    pub tags: BTreeMap<Arc<str>, CustomTag>,
    /// Octets of the URL that a span says at most.
    pub max_path: usize,
}

impl Default for Tracing {
    /// Istio's defaults (waypoint.md §21.3): nobody to send to, 1 % sampled.
    fn default() -> Self {
        Self {
            collector: None,
            sampling: Fraction { numerator: 1, denominator: 100 },
            report: true,
            propagate: true,
            use_request_id: true,
            istio_tags: true,
            tags: BTreeMap::new(),
            max_path: 256,
        }
    }
}
