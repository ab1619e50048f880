//! Prometheus metrics with upstream's names and labels (interfaces §5), in OpenMetrics text.
//!
//! Traffic is fed by [`Observed`]; everything else by the hooks of [`Metrics`], or asked of those who count for themselves. Label sets are bounded: series of
//! connections expire and have a cap ([`Bounds`]), the others have a fixed cap; what comes beyond counts as `other`.

mod control;
mod dns;
mod labels;
mod otlp;
mod process;
mod resources;
mod tables;
mod traffic;
mod tunnels;

use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::proxy::Observed;
use adit_core::proxy::observed::{Connection, Flag};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

pub use self::control::{CertificateFigures, Certificates, HeldCertificates, Pods, Xds, XdsFigures};
pub use self::dns::Dns;
pub use self::process::Runtimes;
pub use self::resources::{ResourceFigures, Resources};
pub use self::traffic::{Bounds, Traffic};
use self::tunnels::Tunnels;
use crate::l7::metrics::{HttpMetrics, Series};

/// How long the series of a workload are still shown that is not here any more: its last connections are to be counted by
/// whoever scrapes every minute.
pub(crate) const LAST_SCRAPES: Duration = Duration::from_secs(150);

/// All metrics of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// All but the series of requests.
    registry: Arc<Registry>,
    requests: Option<HttpMetrics>,
    traffic: Traffic,
    tunnels: Tunnels,
    /// Hooks of the control plane's client.
    pub xds: Xds,
    /// Hooks of the DNS proxy.
    pub dns: Dns,
    /// Hooks of the certificates' manager.
    pub certificates: Certificates,
    /// Hooks of the pods' manager.
    pub pods: Pods,
    /// The runtimes to tell about.
    pub runtimes: Runtimes,
}

impl Metrics {
    /// Metrics of which nothing has been counted yet; `tag` is what `istio_build` says (`ISTIO_META_ISTIO_VERSION`, or
    /// `unknown`).
    #[must_use]
    pub fn new(tag: &str, bounds: Bounds) -> Self {
        let mut registry = Registry::default();
        let traffic = Traffic::new(bounds);
        let (xds, dns) = (Xds::default(), Dns::default());
        let (certificates, pods) = (Certificates::default(), Pods::default());
        let runtimes = Runtimes::default();
        let tunnels = Tunnels::default();
        registry.register_collector(Box::new(traffic.clone()));
        registry.register_collector(Box::new(tunnels.clone()));
        control::register(&mut registry, ("ztunnel", tag), (&xds, &certificates));
        control::register_pods(&mut registry, &pods);
        dns.register(&mut registry);
        registry.register_collector(Box::new(process::Process));
        registry.register_collector(Box::new(runtimes.clone()));
        Self {
            registry: Arc::new(registry),
            requests: None,
            traffic,
            tunnels,
            xds,
            dns,
            certificates,
            pods,
            runtimes,
        }
    }

    /// Metrics of a waypoint, whose traffic is counted elsewhere: `traffic` and what else `more` has. Nothing of a node proxy's
    /// own is among them but tunnels: no connections of shards, no names, no pods.
    #[must_use]
    pub fn waypoint(
        tag: &str,
        traffic: &HttpMetrics,
        more: impl IntoIterator<Item = Box<dyn Collector>>,
    ) -> Self {
        let mut registry = Registry::default();
        let (xds, certificates, runtimes) = (Xds::default(), Certificates::default(), Runtimes::default());
        let tunnels = Tunnels::default();
        registry.register_collector(Box::new(traffic.clone()));
        registry.register_collector(Box::new(tunnels.clone()));
        control::register(&mut registry, ("proxy", tag), (&xds, &certificates));
        registry.register_collector(Box::new(process::Process));
        registry.register_collector(Box::new(runtimes.clone()));
        more.into_iter().for_each(|collector| registry.register_collector(collector));
        Self {
            registry: Arc::new(registry),
            requests: Some(traffic.clone()),
            traffic: Traffic::new(Bounds::default()),
            tunnels,
            xds,
            dns: Dns::default(),
            certificates,
            pods: Pods::default(),
            runtimes,
        }
    }

    /// Counts one event of a shard; callable from any thread.
    pub fn observe(&self, observed: &Observed) {
        self.traffic.observe(Instant::now(), observed);
        self.tunnels.observe(observed);
        match observed {
            Observed::ConnectionClosed { connection, flag: Flag::CertRevoked, .. } => {
                self.certificates.revoked(connection.direction);
            }
            Observed::EarlyDenied { direction, flag: Flag::CertRevoked, .. } => {
                self.certificates.revoked(*direction);
            }
            Observed::Resolved { connection, hostname } => self.dns.on_demand(&connection.source, hostname),
            _ => {}
        }
    }

    /// The last proxy of a workload is gone from here; `workload` is its name in labels (the owner's of its pods). Its series are
    /// dropped some minutes later, unless it comes back.
    pub fn forget(&self, namespace: &str, workload: &str) {
        let now = Instant::now();
        self.traffic.forget(now, namespace, workload);
        self.dns.forget(now, namespace, workload);
    }

    /// The connections that are open now, in no order.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.traffic.connections()
    }

    /// Everything as OpenMetrics text, ending in `# EOF`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(requests) = &self.requests {
            let mut registry = Registry::default();
            registry.register_collector(Box::new(Series(requests.clone())));
            // Writing to a String cannot fail.
            let _ = text::encode_registry(&mut text, &registry);
        }
        self.write_figures(&mut text);
        let _ = text::encode_eof(&mut text);
        text
    }

    /// Writes everything but the series of requests, as OpenMetrics text without its end.
    fn write_figures(&self, text: &mut String) {
        self.dns.expire(Instant::now());
        let _ = text::encode_registry(text, &self.registry);
    }
}

#[cfg(test)]
mod tests;
