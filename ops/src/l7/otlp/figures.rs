//! What became of spans, and of pushes of metrics: counted, and told as metrics.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    pushes_failed: AtomicU64,
}

/// Counts of all exporters. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ExportFigures(Arc<Counts>);

impl ExportFigures {
    pub(super) fn exported(&self, spans: u64) {
        self.0.exported.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, spans: u64) {
        self.0.failed.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn push_failed(&self) {
        self.0.pushes_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Spans that a collector has taken.
    #[must_use]
    pub fn spans_exported(&self) -> u64 {
        self.0.exported.load(Ordering::Relaxed)
    }

    /// Spans that there was no room for.
    #[must_use]
    pub fn spans_dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Spans that could not be sent, or that a collector refused.
    #[must_use]
    pub fn spans_failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Pushes of metrics that failed.
    #[must_use]
    pub fn metric_pushes_failed(&self) -> u64 {
        self.0.pushes_failed.load(Ordering::Relaxed)
    }
}

impl Collector for ExportFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("adit_spans_exported", "Spans that a collector has taken.", self.spans_exported()),
            ("adit_spans_dropped", "Spans dropped because the queue was full.", self.spans_dropped()),
            ("adit_spans_failed", "Spans that could not be sent, or were refused.", self.spans_failed()),
            ("adit_metric_pushes_failed", "Pushes of metrics that failed.", self.metric_pushes_failed()),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
        }
        Ok(())
    }
}
