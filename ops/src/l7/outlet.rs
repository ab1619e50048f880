//! Where what is told of an exchange goes: metrics, access logs and spans of its service, behind one call.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use adit_core::l7::telemetry::{Collector, Telemetries, Telemetry};
use adit_core::mesh::ServiceName;

use super::log::AccessLogger;
use super::metrics::{HttpMetrics, Reported};
use super::otlp::{Exporters, Spans};
use super::record::Exchange;
use super::trace::{Own, Tags, Traced, span};

/// What is told of exchanges with a service, ready for use. An exchange keeps the one that it began with.
#[derive(Clone, Debug)]
pub struct Outlet {
    telemetry: Arc<Telemetry>,
    spans: Option<Spans>,
    tags: Tags,
}

impl Outlet {
    fn new(
        telemetry: &Arc<Telemetry>,
        exporters: &Exporters,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Self {
        let tracing = &telemetry.tracing;
        let collector = tracing.collector.as_ref().filter(|_| tracing.report);
        Self {
            telemetry: Arc::clone(telemetry),
            spans: collector.map(|collector| exporters.of(collector)),
            tags: Tags::new(tracing, environment),
        }
    }

    /// What was configured: [`Traced::begin`] wants its `tracing`.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }
}

/// The outlets of all services.
#[derive(Clone, Debug)]
pub struct Outlets {
    default: Arc<Outlet>,
    namespaces: BTreeMap<Arc<str>, Arc<Outlet>>,
    services: BTreeMap<ServiceName, Arc<Outlet>>,
}

impl Outlets {
    /// The outlets for a configuration; collectors that it does not name are given up. `environment` gives variables for tags.
    pub fn new(
        telemetries: &Telemetries,
        exporters: &Exporters,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let Telemetries { default, namespaces, services } = telemetries;
        let all = namespaces.values().chain(services.values()).chain([default]);
        let used: Vec<Arc<Collector>> = all.filter_map(|one| one.tracing.collector.clone()).collect();
        exporters.keep(&used);
        let made = |telemetry| Arc::new(Outlet::new(telemetry, exporters, &environment));
        Self {
            default: made(default),
            namespaces: namespaces.iter().map(|(name, of)| (Arc::clone(name), made(of))).collect(),
            services: services.iter().map(|(name, of)| (name.clone(), made(of))).collect(),
        }
    }

    /// The outlet for exchanges with `service`; `None`: with workloads.
    #[must_use]
    pub fn of(&self, service: Option<&ServiceName>) -> &Arc<Outlet> {
        let Some(service) = service else { return &self.default };
        let own = self.services.get(service).or_else(|| self.namespaces.get(&service.namespace));
        own.unwrap_or(&self.default)
    }
}

/// Tells of exchanges. Each thread has a clone of its own.
#[derive(Clone, Debug)]
pub struct Reporter {
    metrics: HttpMetrics,
    logger: AccessLogger,
    own: Arc<Own>,
}

impl Reporter {
    /// Counts in `metrics`, logs by `logger`; spans say that we are `own`.
    #[must_use]
    pub const fn new(metrics: HttpMetrics, logger: AccessLogger, own: Arc<Own>) -> Self {
        Self { metrics, logger, own }
    }

    /// A TCP connection is open: its destination is known, or that it will have none.
    pub fn opened(&self, now: Instant, outlet: &Outlet, exchange: &Exchange<'_>) {
        self.metrics.opened(now, &outlet.telemetry.metrics, exchange);
    }

    /// A TCP connection or a call of gRPC goes on: what has come since the last time is counted.
    pub fn progress(&self, now: Instant, outlet: &Outlet, exchange: &Exchange<'_>, reported: &mut Reported) {
        self.metrics.progress(now, &outlet.telemetry.metrics, exchange, reported);
    }

    /// An exchange has ended: it is counted, logged, and has its span, if it is `traced` and recorded; `operation` is the name
    /// that its route gives that, empty for the usual one.
    pub fn finished(
        &mut self,
        now: Instant,
        outlet: &Outlet,
        exchange: &Exchange<'_>,
        reported: Reported,
        traced: Option<&Traced>,
        operation: &str,
    ) {
        let telemetry = &outlet.telemetry;
        self.metrics.finished(now, &telemetry.metrics, exchange, reported);
        self.logger.log(&telemetry.access_logs, exchange);
        if let (Some(spans), Some(traced)) = (&outlet.spans, traced.filter(|traced| traced.recorded())) {
            spans.offer(span(&self.own, &telemetry.tracing, &outlet.tags, traced, operation, exchange));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::{Duration, SystemTime};

    use adit_core::l7::telemetry::{AccessLog, CollectorProtocol, LogFormat, Tracing};
    use adit_core::rng::Rng;

    use super::super::otlp::{ExportFigures, Limits, Resource};
    use super::super::record::{NoHeaders, Protocol};
    use super::*;
    use crate::logging::Queue;
    use crate::metrics::{Bounds, Metrics};

    #[test]
    fn one_end_is_counted_logged_and_traced_as_its_service_wants() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let figures = ExportFigures::default();
        let limits = Limits { queue: 1, ..Limits::default() };
        let resource = Resource::new("waypoint.shop", None);
        let exporters = Exporters::new(runtime.handle().clone(), resource, limits, figures.clone());
        let collector = Arc::new(Collector {
            name: "otel".into(),
            host: "127.0.0.1".into(),
            port: 1,
            protocol: CollectorProtocol::Grpc { metadata: Vec::new() },
            timeout: Duration::from_secs(1),
        });
        let traced = Telemetry {
            access_logs: vec![AccessLog { format: LogFormat::Text, filter: None }],
            tracing: Tracing { collector: Some(collector), ..Tracing::default() },
            ..Telemetry::default()
        };
        let name = ServiceName { namespace: "shop".into(), hostname: "web".into() };
        let services = BTreeMap::from([(name.clone(), Arc::new(traced))]);
        let outlets = Outlets::new(&Telemetries { services, ..Telemetries::default() }, &exporters, |_| None);

        let (_queue, guard) = Queue::start(io::sink(), io::sink()).unwrap();
        let metrics = HttpMetrics::new(Bounds::default());
        let mut reporter = Reporter::new(metrics.clone(), AccessLogger::new(guard.access()), Arc::default());
        let exchange = Exchange::new(SystemTime::UNIX_EPOCH, Protocol::Http);
        let always = Tracing {
            sampling: adit_core::l7::Fraction::ALL,
            ..outlets.of(Some(&name)).telemetry().tracing.clone()
        };
        let begun = Traced::begin(&always, &NoHeaders, &mut Rng::new(1)).unwrap();
        let not = Traced { reason: super::super::trace::Reason::NotTraced, ..begun };
        let mut end = |outlet: &Outlet, traced| {
            reporter.finished(Instant::now(), outlet, &exchange, Reported::default(), traced, "");
        };
        // The queue has room for one span, and nobody empties it: the second one that is offered is dropped.
        end(outlets.of(None), Some(&begun));
        end(outlets.of(Some(&name)), Some(&not));
        end(outlets.of(Some(&name)), None);
        end(outlets.of(Some(&name)), Some(&begun));
        assert_eq!(figures.spans_dropped(), 0);
        end(outlets.of(Some(&name)), Some(&begun));
        assert_eq!(figures.spans_dropped(), 1);
        let lines: Box<dyn prometheus_client::collector::Collector> = Box::new(guard.access());
        let text = Metrics::waypoint("x", &metrics, [Box::new(figures), lines]).text();
        let has = |line: &str| assert!(text.lines().any(|found| found.ends_with(line)), "{line} in\n{text}");
        has("} 5");
        has("adit_spans_dropped_total 1");
        has("adit_access_log_dropped_lines_total 0");
        has("istio_build{component=\"proxy\",tag=\"x\"} 1");
        assert!(!text.contains("workload_manager"), "{text}");
    }
}
