//! Metrics of resources that are watched in a cluster: whether what is decided by may be out of date, and what is written.
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// What is counted of a cluster, whenever it is asked.
pub trait ResourceFigures: Send + Sync + 'static {
    /// Watches there are.
    fn watches(&self) -> u64;
    /// Watches that do not go on at the moment.
    fn failing(&self) -> u64;
    /// For how long what is known may have been out of date.
    fn staleness(&self) -> Duration;
    /// How often changes were translated.
    fn translations(&self) -> u64;
    /// Statuses that were written, or those that could not be.
    fn statuses(&self, written: bool) -> u64;
}

/// What is told of resources; nothing where they do not come from a cluster.
#[derive(Clone, Default)]
pub struct Resources(Arc<OnceLock<Box<dyn ResourceFigures>>>);

impl Resources {
    /// From now on these figures are told. A process watches one cluster: a second call changes nothing.
    pub fn tell(&self, figures: impl ResourceFigures) {
        let _ = self.0.set(Box::new(figures));
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resources").field(&self.0.get().is_some()).finish()
    }
}

impl Collector for Resources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(figures) = self.0.get() else { return Ok(()) };
        for (name, help, value) in [
            ("adit_resource_watches", "Watches of the cluster's API.", figures.watches()),
            ("adit_resource_watches_failing", "Watches that do not go on at the moment.", figures.failing()),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
        }
        let help = "For how long resources may have been out of date.";
        encoder
            .encode_descriptor("adit_resource_staleness_seconds", help, None, MetricType::Gauge)?
            .encode_gauge(&figures.staleness().as_secs_f64())?;
        let help = "How often changes of resources were translated.";
        encoder
            .encode_descriptor("adit_resource_translations", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, u64, u64>(&figures.translations(), None)?;
        let help = "Statuses of resources that were written, or could not be.";
        let mut metric =
            encoder.encode_descriptor("adit_resource_statuses", help, None, MetricType::Counter)?;
        for (result, written) in [("ok", true), ("error", false)] {
            let count = figures.statuses(written);
            metric
                .encode_family(&Outcome { result })?
                .encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    struct Some;

    impl ResourceFigures for Some {
        fn watches(&self) -> u64 {
            20
        }
        fn failing(&self) -> u64 {
            1
        }
        fn staleness(&self) -> Duration {
            Duration::from_millis(1500)
        }
        fn translations(&self) -> u64 {
            3
        }
        fn statuses(&self, written: bool) -> u64 {
            if written { 7 } else { 2 }
        }
    }

    #[test]
    fn figures_are_told_where_there_are_any() {
        let mut registry = Registry::default();
        let resources = Resources::default();
        registry.register_collector(Box::new(resources.clone()));
        let text = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        assert!(!text().contains("adit_resource"));
        resources.tell(Some);
        let text = text();
        for line in [
            "adit_resource_watches 20",
            "adit_resource_watches_failing 1",
            "adit_resource_staleness_seconds 1.5",
            "adit_resource_translations_total 3",
            "adit_resource_statuses_total{result=\"ok\"} 7",
            "adit_resource_statuses_total{result=\"error\"} 2",
        ] {
            assert!(text.lines().any(|each| each == line), "{line}: {text}");
        }
    }
}
