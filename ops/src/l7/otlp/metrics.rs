//! Metrics of traffic pushed to a collector: the same series as for scrapes, cumulative.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_core::l7::telemetry::Collector;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use prost::Message as _;
use tokio::sync::oneshot;

use super::link::{Link, Signal};
use super::{ExportFigures, Resource, scope};
use crate::l7::metrics::HttpMetrics;

/// Pushes `metrics` every `interval`, and once more when `stop` is told or dropped: then it ends.
pub async fn push_metrics(
    collector: Arc<Collector>,
    resource: Resource,
    metrics: HttpMetrics,
    interval: Duration,
    figures: ExportFigures,
    mut stop: oneshot::Receiver<()>,
) {
    let started = SystemTime::now();
    let name = Arc::clone(&collector.name);
    let mut link = Link::new(collector, Signal::Metrics);
    let mut failing = false;
    loop {
        let ended = tokio::select! {
            () = tokio::time::sleep(interval) => false,
            _ = &mut stop => true,
        };
        let message = message(&resource, metrics.otlp(started, SystemTime::now()));
        match link.send(message).await {
            Ok(_) => failing = false,
            Err(error) => {
                figures.push_failed();
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(provider = &*name, %error, "metrics cannot be sent; told again after it has worked");
                }
            }
        }
        if ended {
            return;
        }
    }
}

fn message(resource: &Resource, metrics: Vec<Metric>) -> Vec<u8> {
    let scoped = ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() };
    let resource = Some(resource.encoded());
    let all = ResourceMetrics { resource, scope_metrics: vec![scoped], ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![all] }.encode_to_vec()
}
