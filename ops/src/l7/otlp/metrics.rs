//! Metrics pushed to a collector: the same series as for scrapes, cumulative, so that a push that fails loses nothing.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::environment::Push;
use super::link::{Link, Signal};
use super::{ExportFigures, Resource, scope};
use crate::metrics::Metrics;

/// The longest that a collector which fails is left alone, unless the interval is longer.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Metrics that are being pushed, by a task of their own.
#[derive(Debug)]
pub struct Pushing {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Pushing {
    /// Pushes `metrics` from now on, on the runtime of `handle`. That the collector fails is counted in `figures` and told once,
    /// and disturbs nothing else.
    #[must_use]
    pub fn start(
        handle: &Handle,
        push: Push,
        resource: Resource,
        metrics: Metrics,
        figures: ExportFigures,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: handle.spawn(run(push, resource, metrics, figures, stopped)) }
    }

    /// Pushes a last time, for `most` at the longest, and ends.
    pub async fn finish(mut self, most: Duration) {
        drop(self.stop);
        // A task that has panicked has told so itself.
        if tokio::time::timeout(most, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Pushes every interval, and once more when `stop` is told or dropped: then it ends.
async fn run(
    push: Push,
    resource: Resource,
    metrics: Metrics,
    figures: ExportFigures,
    mut stop: oneshot::Receiver<()>,
) {
    let Push { collector, interval } = push;
    let started = SystemTime::now();
    let name = Arc::clone(&collector.name);
    let mut link = Link::new(collector, Signal::Metrics);
    // How many pushes have failed since the last one that did not.
    let mut failures: u32 = 0;
    loop {
        let ended = tokio::select! {
            () = tokio::time::sleep(pause(interval, failures)) => false,
            _ = &mut stop => true,
        };
        let message = message(&resource, metrics.otlp(started, SystemTime::now()));
        match link.send(message).await {
            Ok(answer) => {
                failures = 0;
                let answer = ExportMetricsServiceResponse::decode(&*answer).unwrap_or_default();
                let refused = answer.partial_success.unwrap_or_default();
                if refused.rejected_data_points > 0 {
                    figures.push_failed();
                    let (rejected, cause) = (refused.rejected_data_points, &*refused.error_message);
                    tracing::warn!(collector = &*name, rejected, cause, "the collector refuses some metrics");
                }
            }
            Err(error) => {
                figures.push_failed();
                if failures == 0 {
                    tracing::warn!(collector = &*name, %error, "metrics cannot be sent; told again after it has worked");
                }
                failures = failures.saturating_add(1);
            }
        }
        if ended {
            return;
        }
    }
}

/// The time to the next push: the interval, doubled with each failure in a row.
fn pause(interval: Duration, failures: u32) -> Duration {
    interval.saturating_mul(2_u32.saturating_pow(failures)).min(MAX_PAUSE.max(interval))
}

fn message(resource: &Resource, metrics: Vec<Metric>) -> Vec<u8> {
    let scoped = ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() };
    let resource = Some(resource.encoded());
    let all = ResourceMetrics { resource, scope_metrics: vec![scoped], ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![all] }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_fails_is_asked_ever_less() {
        let pauses = |interval: u64| {
            let interval = Duration::from_secs(interval);
            [0, 1, 2, 3, 40].map(|failures| pause(interval, failures).as_secs())
        };
        assert_eq!(pauses(10), [10, 20, 40, 80, 300]);
        assert_eq!(pauses(60), [60, 120, 240, 300, 300]);
        assert_eq!(pauses(3600), [3600; 5]);
    }
}
