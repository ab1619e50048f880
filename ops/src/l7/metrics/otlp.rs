//! The series as OpenTelemetry has them: cumulative sums and histograms, labels as attributes.
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use adit_core::l7::telemetry::Metric;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric as Exported, NumberDataPoint, Sum, metric,
    number_data_point,
};

use super::encode::{Labels, Value, described, joined};
use super::tables::Counts;
use super::{BOUNDS, HttpMetrics};
use crate::l7::otlp::attribute;

/// As OpenTelemetry tells times.
pub(crate) fn nanoseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

fn attributes(labels: &Labels<'_>) -> Vec<KeyValue> {
    labels.0.iter().map(|(name, value)| attribute(name, value)).collect()
}

impl HttpMetrics {
    /// All series that have anything, as counted between the two times. Names are those of scrapes; counters end in `_total`.
    pub(crate) fn otlp(&self, started: SystemTime, now: SystemTime) -> Vec<Exported> {
        self.expire(Instant::now());
        let rows = self.lock().snapshot();
        let (start_time_unix_nano, time_unix_nano) = (nanoseconds(started), nanoseconds(now));
        let temporality = AggregationTemporality::Cumulative.into();
        let exported = |metric: Metric| {
            let (help, value) = described(metric);
            let series = joined(&rows, metric, &value);
            if series.is_empty() {
                return None;
            }
            let (name, data) = match value {
                Value::Counter(of) => {
                    let point = |(labels, counts): &(Labels<'_>, Counts)| NumberDataPoint {
                        attributes: attributes(labels),
                        start_time_unix_nano,
                        time_unix_nano,
                        value: Some(number_data_point::Value::AsInt(
                            i64::try_from(of(counts)).unwrap_or(i64::MAX),
                        )),
                        ..NumberDataPoint::default()
                    };
                    let data_points = series.iter().map(point).collect();
                    let sum = Sum { data_points, aggregation_temporality: temporality, is_monotonic: true };
                    (format!("{}_total", metric.exported()), metric::Data::Sum(sum))
                }
                Value::Histogram(of) => {
                    let point = |(labels, counts): &(Labels<'_>, Counts)| HistogramDataPoint {
                        attributes: attributes(labels),
                        start_time_unix_nano,
                        time_unix_nano,
                        count: of(counts).count(),
                        sum: Some(of(counts).sum()),
                        bucket_counts: of(counts).buckets().iter().map(|(_, count)| *count).collect(),
                        explicit_bounds: BOUNDS.to_vec(),
                        ..HistogramDataPoint::default()
                    };
                    let data_points = series.iter().map(point).collect();
                    let histogram = Histogram { data_points, aggregation_temporality: temporality };
                    (metric.exported().to_owned(), metric::Data::Histogram(histogram))
                }
            };
            Some(Exported { name, description: help.to_owned(), data: Some(data), ..Exported::default() })
        };
        Metric::ALL.iter().filter_map(|metric| exported(*metric)).collect()
    }
}
