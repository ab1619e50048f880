//! The series written in OpenMetrics text.
use std::collections::HashMap;
use std::fmt;
use std::time::Instant;

use adit_core::l7::telemetry::Metric;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use super::HttpMetrics;
use super::histogram::Histogram;
use super::labels::{Label, labels};
use super::tables::{Counts, Row};

/// Labels, as they are written.
pub(super) struct Labels<'a>(pub(super) Vec<Label<'a>>);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| (*name, &**value).encode(encoder.encode_label()))
    }
}

/// What a metric takes from a series.
pub(super) enum Value {
    Counter(fn(&Counts) -> u64),
    Histogram(fn(&Counts) -> &Histogram),
}

pub(super) const fn described(metric: Metric) -> (&'static str, Value) {
    use Value::{Counter, Histogram};
    match metric {
        Metric::RequestCount => ("Requests that were answered or broken off.", Counter(|it| it.requests)),
        Metric::RequestDuration => ("How long requests took, in milliseconds.", Histogram(|it| &it.duration)),
        Metric::RequestSize => ("Octets of requests, heads included.", Histogram(|it| &it.request_size)),
        Metric::ResponseSize => ("Octets of answers, heads included.", Histogram(|it| &it.response_size)),
        Metric::TcpOpened => ("The total number of TCP connections opened.", Counter(|it| it.opened)),
        Metric::TcpClosed => ("The total number of TCP connections closed.", Counter(|it| it.closed)),
        Metric::TcpSent => ("Octets sent to clients of TCP connections.", Counter(|it| it.sent)),
        Metric::TcpReceived => {
            ("Octets received from clients of TCP connections.", Counter(|it| it.received))
        }
        Metric::GrpcRequests => ("Messages of gRPC clients.", Counter(|it| it.request_messages)),
        Metric::GrpcResponses => ("Messages of gRPC servers.", Counter(|it| it.response_messages)),
    }
}

impl Value {
    /// Whether a series has anything for this metric.
    fn is_zero(&self, counts: &Counts) -> bool {
        match self {
            Self::Counter(of) => of(counts) == 0,
            Self::Histogram(of) => of(counts).count() == 0,
        }
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>, counts: &Counts) -> fmt::Result {
        match self {
            Self::Counter(of) => encoder.encode_counter::<NoLabelSet, u64, u64>(&of(counts), None),
            Self::Histogram(of) => {
                let it = of(counts);
                encoder.encode_histogram::<NoLabelSet>(it.sum(), it.count(), &it.buckets(), None)
            }
        }
    }
}

/// The series of a metric with their labels. Where rules take labels away, or have changed, several series may come to have
/// the same ones: these are joined.
pub(super) fn joined<'a>(rows: &'a [Row], metric: Metric, value: &Value) -> Vec<(Labels<'a>, Counts)> {
    let mut places: HashMap<Vec<Label<'a>>, usize> = HashMap::new();
    let mut found: Vec<(Labels<'a>, Counts)> = Vec::new();
    for row in rows.iter().filter(|row| !value.is_zero(&row.counts)) {
        if row.rules.of(metric).is_some_and(|rule| rule.disabled) {
            continue;
        }
        let labels = labels(&row.key, &row.rules, metric);
        let known = places.get(&labels).and_then(|place| found.get_mut(*place));
        match known {
            Some((_, counts)) => counts.join(&row.counts),
            None => {
                places.insert(labels.clone(), found.len());
                found.push((Labels(labels), *row.counts));
            }
        }
    }
    found
}

fn one(encoder: &mut DescriptorEncoder<'_>, rows: &[Row], metric: Metric) -> fmt::Result {
    let (help, value) = described(metric);
    let kind = match value {
        Value::Counter(_) => MetricType::Counter,
        Value::Histogram(_) => MetricType::Histogram,
    };
    let mut family = encoder.encode_descriptor(metric.exported(), help, None, kind)?;
    let standard = rows.windows(2).all(|two| two[0].rules == two[1].rules)
        && rows.first().is_none_or(|row| row.rules.of(metric).is_none());
    if !standard {
        let joined = joined(rows, metric, &value);
        return joined
            .iter()
            .try_for_each(|(labels, counts)| value.encode(family.encode_family(labels)?, counts));
    }
    for row in rows.iter().filter(|row| !value.is_zero(&row.counts)) {
        let labels = Labels(labels(&row.key, &row.rules, metric));
        value.encode(family.encode_family(&labels)?, &row.counts)?;
    }
    Ok(())
}

/// The standard metrics, as a collector of their own.
#[derive(Debug)]
pub(crate) struct Series(pub(crate) HttpMetrics);

impl Collector for Series {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.expire(Instant::now());
        // Written without the lock, so that a scrape holds up no request.
        let rows = self.0.lock().snapshot();
        Metric::ALL.iter().try_for_each(|metric| one(&mut encoder, &rows, *metric))
    }
}

/// What is to be known of the tables themselves.
impl Collector for HttpMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.expire(Instant::now());
        let (series, collapsed, expired) = {
            let tables = self.lock();
            (tables.len(), tables.collapsed(), tables.expired())
        };
        let series = i64::try_from(series).unwrap_or(i64::MAX);
        let (name, help) = ("adit_http_metrics_series", "Series of a waypoint's traffic that are kept now.");
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&series)?;
        let help = "Requests and connections counted under labels that say `other`, because there were too many series.";
        let name = "adit_http_metrics_collapsed";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&collapsed, None)?;
        let help = "Series dropped because nothing had been counted in them for long.";
        let name = "adit_http_metrics_expired_series";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&expired, None)
    }
}
