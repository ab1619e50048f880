//! Metrics of everything that is neither traffic nor names: control plane, certificates, pods, and the build (interfaces §5.2,
//! §5.3).
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adit_core::proxy::observed::Direction;
use adit_core::time::UnixTime;
use adit_core::xds::Reason as Termination;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::reporter;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Url {
    url: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reports {
    reporter: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Holds {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    component: &'static str,
    tag: String,
}

/// What the client of the control plane has counted, whenever it is asked.
pub trait XdsFigures: Send + Sync + 'static {
    /// Streams that ended, or could not be opened.
    fn terminations(&self, reason: Termination) -> u64;
    /// Type URL, messages of it, and octets of the resources in them.
    fn messages(&self) -> Vec<(&'static str, u64, u64)>;
    /// For how long the tables may have been out of date.
    fn staleness(&self) -> Duration;
}

/// The certificates that are held at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeldCertificates {
    /// Identities that have one.
    pub available: u64,
    /// Identities that wait for their first.
    pub initializing: u64,
    /// Identities that could not be given one.
    pub unavailable: u64,
    /// When the first of them ends.
    pub soonest_expiry: Option<UnixTime>,
}

/// What the manager of certificates has counted, whenever it is asked.
pub trait CertificateFigures: Send + Sync + 'static {
    /// Certificates issued.
    fn issued(&self) -> u64;
    /// Requests for one that failed.
    fn failed(&self) -> u64;
    /// Changes of the revocation lists that could not be read.
    fn unreadable_lists(&self) -> u64;
    /// What is held now.
    fn held(&self) -> HeldCertificates;
}

/// Figures of somebody who may not be there: then there are no such metrics.
struct Source<F: ?Sized>(Arc<OnceLock<Box<F>>>);

impl<F: ?Sized> Source<F> {
    fn get(&self) -> Option<&F> {
        self.0.get().map(|figures| &**figures)
    }

    /// The first source stays.
    fn set(&self, figures: Box<F>) {
        let _ = self.0.set(figures);
    }
}

impl<F: ?Sized> Clone for Source<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F: ?Sized> Default for Source<F> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<F: ?Sized> fmt::Debug for Source<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.0.get().is_some()).finish()
    }
}

/// What the client of the control plane has to tell.
#[derive(Clone, Debug, Default)]
pub struct Xds(Source<dyn XdsFigures>);

impl Xds {
    /// From now on these figures are told. A process has one client: a second call changes nothing.
    pub fn tell(&self, figures: impl XdsFigures) {
        self.0.set(Box::new(figures));
    }
}

impl Collector for Xds {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(figures) = self.0.get() else { return Ok(()) };
        let help = "The total number of completed connections to xds server (unstable)";
        let name = "istio_xds_connection_terminations";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for reason in Termination::ALL {
            let count = figures.terminations(reason);
            if count > 0 {
                let labels = Reason { reason: reason.as_str() };
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
            }
        }
        let messages = figures.messages();
        let help = "Total number of messages received (unstable)";
        let mut metric = encoder.encode_descriptor("istio_xds_message", help, None, MetricType::Counter)?;
        for (url, count, _) in &messages {
            metric.encode_family(&Url { url })?.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        }
        let help = "Total number of bytes received (unstable)";
        let mut metric =
            encoder.encode_descriptor("istio_xds_message_bytes", help, None, MetricType::Counter)?;
        for (url, _, octets) in &messages {
            metric.encode_family(&Url { url })?.encode_counter::<NoLabelSet, u64, u64>(octets, None)?;
        }
        let help = "How long there has been no stream from the control plane; the last good state is used meanwhile.";
        encoder
            .encode_descriptor("adit_xds_staleness_seconds", help, None, MetricType::Gauge)?
            .encode_gauge(&figures.staleness().as_secs_f64())
    }
}

/// What the manager of certificates and of revocation lists has to tell.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    figures: Source<dyn CertificateFigures>,
    rejections: Family<Reports, Counter>,
    untracked: Family<Reports, Counter>,
}

impl Certificates {
    /// From now on these figures are told. A process has one manager: a second call changes nothing.
    pub fn tell(&self, figures: impl CertificateFigures) {
        self.figures.set(Box::new(figures));
    }

    /// A connection ended because its peer's certificate is revoked.
    pub fn revoked(&self, direction: Direction) {
        self.rejections.get_or_create(&Reports { reporter: reporter(direction) }).inc();
    }

    /// A connection is live whose certificate cannot be looked at again.
    pub fn untracked(&self, direction: Direction) {
        self.untracked.get_or_create(&Reports { reporter: reporter(direction) }).inc();
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(figures) = self.figures.get() else { return Ok(()) };
        let (name, help) = ("adit_certificate_requests", "Certificates asked for, by how that ended");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (result, count) in [("ok", figures.issued()), ("error", figures.failed())] {
            metric
                .encode_family(&Outcome { result })?
                .encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
        let help = "Changes of the revocation lists that could not be read";
        let lists = figures.unreadable_lists();
        encoder
            .encode_descriptor("adit_crl_read_failures", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, u64, u64>(&lists, None)?;
        let held = figures.held();
        let (name, help) = ("adit_certificates", "Identities, by whether they have a certificate");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (state, count) in [
            ("available", held.available),
            ("initializing", held.initializing),
            ("unavailable", held.unavailable),
        ] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            metric.encode_family(&Holds { state })?.encode_gauge(&count)?;
        }
        let Some(soonest) = held.soonest_expiry else { return Ok(()) };
        let help = "When the first of the certificates that are held ends, in seconds since 1970";
        encoder
            .encode_descriptor(
                "adit_certificate_soonest_expiry_timestamp_seconds",
                help,
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&i64::try_from(soonest.0).unwrap_or(i64::MAX))
    }
}

/// What the manager of the node's pods has to tell (shared mode).
#[derive(Clone, Debug, Default)]
pub struct Pods {
    active: Gauge,
    pending: Gauge,
    started: Counter,
    stopped: Counter,
    uncaptured: Gauge,
}

impl Pods {
    /// How many proxies run, and how many could not be started yet.
    pub fn set(&self, active: usize, pending: usize) {
        self.active.set(i64::try_from(active).unwrap_or(i64::MAX));
        self.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
    }

    /// How many pods should be captured and are not ([`crate::capture::Captures::missing`]).
    pub fn set_uncaptured(&self, pods: usize) {
        self.uncaptured.set(i64::try_from(pods).unwrap_or(i64::MAX));
    }

    /// A pod's proxy started.
    pub fn started(&self) {
        self.started.inc();
    }

    /// A pod's proxy stopped.
    pub fn stopped(&self) {
        self.stopped.inc();
    }
}

/// Names every metric of this module to `registry`; `tag` is the version that `istio_build` tells.
pub(super) fn register(
    registry: &mut Registry,
    (component, tag): (&'static str, &str),
    (xds, certificates): (&Xds, &Certificates),
) {
    let build = Family::<Build, Gauge>::default();
    build.get_or_create(&Build { component, tag: tag.to_owned() }).set(1);
    registry.register("istio_build", "Istio component build info", build);

    registry.register_collector(Box::new(xds.clone()));

    let help = "The total number of connections rejected because of a revoked certificate (unstable)";
    registry.register("istio_crl_policy_rejections", help, certificates.rejections.clone());
    let help = "The total number of connections that revocation lists are not checked for again (unstable)";
    registry.register("istio_crl_untracked_connections", help, certificates.untracked.clone());
    registry.register_collector(Box::new(certificates.clone()));
}

pub(super) fn register_pods(registry: &mut Registry, pods: &Pods) {
    let help = "The total number of active proxies on this node";
    registry.register("workload_manager_active_proxy_count", help, pods.active.clone());
    let help = "The total number of pending proxies on this node";
    registry.register("workload_manager_pending_proxy_count", help, pods.pending.clone());
    let help = "The total number of proxies that were started";
    registry.register("workload_manager_proxies_started", help, pods.started.clone());
    let help = "The total number of proxies that were stopped";
    registry.register("workload_manager_proxies_stopped", help, pods.stopped.clone());
    let help = "Pods in scope whose connections do not come to this proxy";
    registry.register("adit_capture_missing_pods", help, pods.uncaptured.clone());
}
