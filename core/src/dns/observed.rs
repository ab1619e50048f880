//! What the DNS proxy tells about its work, for metrics (interfaces §5.2).

use core::time::Duration;

use super::forward::ForwardError;
use super::message::{RecordType, Transport};
use crate::mesh::Workload;

/// The question that an observation is about: the labels of its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Label `request_query_type`, by [`RecordType::label`].
    pub record_type: RecordType,
    /// Label `request_protocol`, by [`Transport::label`].
    pub transport: Transport,
    /// Who asks: labels `source_canonical_service` and `source_canonical_revision`. `None` while the mesh does not know it.
    pub source: Option<&'a Workload>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsObserved {
    /// A question came (`istio_dns_requests_total`).
    Request,
    /// It is relayed (`istio_dns_upstream_requests_total`).
    UpstreamRequest,
    /// A name server responded, whatever it said (`istio_dns_upstream_request_duration_seconds`).
    UpstreamAnswered {
        /// Since the question came.
        took: Duration,
    },
    /// None did, or it was not relayed for want of room (`istio_dns_upstream_failures_total`).
    UpstreamFailed {
        /// Since the question came.
        took: Duration,
        /// Why.
        error: ForwardError,
    },
}
