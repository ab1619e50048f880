//! Metrics of everything that is not traffic: control plane, certificates, DNS, pods, and the build (interfaces §5.2, §5.3).
use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use adit_core::proxy::observed::{Direction, Labels, Party};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{OnDemand, reporter};

/// Label sets that one of these metrics keeps; those that come later count as `other`.
const MAX_LABEL_SETS: usize = 1000;

/// How a stream to the control plane ended (`reason` of `istio_xds_connection_terminations_total`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Termination {
    /// It could not be opened.
    ConnectionError,
    /// It failed.
    Error,
    /// The server is going away, or a proxy in between gave up: nothing is wrong.
    Reconnect,
    /// The server ended it in order.
    Complete,
}

impl Termination {
    const fn word(self) -> &'static str {
        match self {
            Self::ConnectionError => "ConnectionError",
            Self::Error => "Error",
            Self::Reconnect => "Reconnect",
            Self::Complete => "Complete",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Url {
    url: String,
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
struct Build {
    component: &'static str,
    tag: String,
}

/// The protocol of a DNS query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsTransport {
    /// `udp`.
    Udp,
    /// `tcp`.
    Tcp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Query {
    request_query_type: String,
    request_protocol: &'static str,
    source_canonical_service: String,
    source_canonical_revision: String,
}

fn or_unknown(text: Option<&Arc<str>>) -> String {
    text.filter(|text| !text.is_empty()).map_or_else(|| "unknown".to_owned(), |text| text.to_string())
}

/// The label sets that were seen first.
#[derive(Clone, Debug)]
struct Known<S>(Arc<Mutex<HashSet<S>>>);

impl<S> Default for Known<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S: Clone + Hash + Eq> Known<S> {
    /// `key`, or `other` when there are [`MAX_LABEL_SETS`] and `key` is none of them.
    fn admit(&self, key: S, other: impl FnOnce() -> S) -> S {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&key) {
            return key;
        }
        if known.len() >= MAX_LABEL_SETS {
            return other();
        }
        known.insert(key.clone());
        key
    }
}

/// What the client of the control plane has to tell.
#[derive(Clone, Debug, Default)]
pub struct Xds {
    known: Known<Url>,
    terminations: Family<Reason, Counter>,
    messages: Family<Url, Counter>,
    bytes: Family<Url, Counter>,
    /// Since when there has been no stream.
    lost: Arc<Mutex<Option<Instant>>>,
}

impl Xds {
    /// A message of type `url` came, whose resources are `bytes` octets.
    pub fn message(&self, url: &str, bytes: u64) {
        let other = || Url { url: "other".to_owned() };
        let key = self.known.admit(Url { url: url.to_owned() }, other);
        self.messages.get_or_create(&key).inc();
        self.bytes.get_or_create(&key).inc_by(bytes);
    }

    /// A stream ended, or could not be opened.
    pub fn terminated(&self, now: Instant, how: Termination) {
        self.terminations.get_or_create(&Reason { reason: how.word() }).inc();
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
    }

    /// A stream has delivered: what we know is what the control plane says.
    pub fn synced(&self) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// For how long the tables may have been out of date.
    #[must_use]
    pub fn staleness(&self, now: Instant) -> Duration {
        let lost = *self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

impl Collector for Xds {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How long there has been no stream from the control plane; the last good state is used meanwhile.";
        let seconds = self.staleness(Instant::now()).as_secs_f64();
        encoder
            .encode_descriptor("adit_xds_staleness_seconds", help, None, MetricType::Gauge)?
            .encode_gauge(&seconds)
    }
}

/// What the DNS proxy has to tell.
#[derive(Clone, Debug)]
pub struct Dns {
    queries: Known<Query>,
    resolved: Known<OnDemand>,
    requests: Family<Query, Counter>,
    upstream: Family<Query, Counter>,
    failures: Family<Query, Counter>,
    durations: Family<Query, Histogram, fn() -> Histogram>,
    on_demand: Family<OnDemand, Counter>,
}

impl Default for Dns {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new([0.0005, 0.001, 0.01, 0.1, 1.0, 5.0]);
        Self {
            queries: Known::default(),
            resolved: Known::default(),
            requests: Family::default(),
            upstream: Family::default(),
            failures: Family::default(),
            durations: Family::new_with_constructor(histogram),
            on_demand: Family::default(),
        }
    }
}

impl Dns {
    fn key(&self, query_type: &str, transport: DnsTransport, source: &Labels) -> Query {
        let request_protocol = match transport {
            DnsTransport::Udp => "udp",
            DnsTransport::Tcp => "tcp",
        };
        let key = Query {
            request_query_type: query_type.to_ascii_lowercase(),
            request_protocol,
            source_canonical_service: or_unknown(source.canonical_service.as_ref()),
            source_canonical_revision: or_unknown(source.revision.as_ref()),
        };
        let other = || Query {
            request_query_type: "other".to_owned(),
            request_protocol,
            source_canonical_service: "other".to_owned(),
            source_canonical_revision: "other".to_owned(),
        };
        self.queries.admit(key, other)
    }

    /// A query came from a workload; `query_type` as `A`, `AAAA`.
    pub fn request(&self, query_type: &str, transport: DnsTransport, source: &Labels) {
        self.requests.get_or_create(&self.key(query_type, transport, source)).inc();
    }

    /// A query was passed on; `answer` is how long that took, or `None` when it failed.
    pub fn upstream(
        &self,
        query_type: &str,
        transport: DnsTransport,
        source: &Labels,
        answer: Option<Duration>,
    ) {
        let key = self.key(query_type, transport, source);
        self.upstream.get_or_create(&key).inc();
        match answer {
            Some(took) => self.durations.get_or_create(&key).observe(took.as_secs_f64()),
            None => {
                self.failures.get_or_create(&key).inc();
            }
        }
    }

    /// The name of a workload without an address was resolved for `source`.
    pub fn on_demand(&self, source: &Party, hostname: &str) {
        let key = self.resolved.admit(OnDemand::new(source, hostname), OnDemand::other);
        self.on_demand.get_or_create(&key).inc();
    }
}

/// What the manager of certificates and of revocation lists has to tell.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    requests: Family<Outcome, Counter>,
    rejections: Family<Reports, Counter>,
    untracked: Family<Reports, Counter>,
}

impl Certificates {
    /// A certificate was asked for; whether it came.
    pub fn requested(&self, came: bool) {
        self.requests.get_or_create(&Outcome { result: if came { "ok" } else { "error" } }).inc();
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

/// What the manager of the node's pods has to tell (shared mode).
#[derive(Clone, Debug, Default)]
pub struct Pods {
    active: Gauge,
    pending: Gauge,
    started: Counter,
    stopped: Counter,
}

impl Pods {
    /// How many proxies run, and how many could not be started yet.
    pub fn set(&self, active: usize, pending: usize) {
        self.active.set(i64::try_from(active).unwrap_or(i64::MAX));
        self.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
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
    tag: &str,
    (xds, dns, certificates, pods): (&Xds, &Dns, &Certificates, &Pods),
) {
    let build = Family::<Build, Gauge>::default();
    build.get_or_create(&Build { component: "ztunnel", tag: tag.to_owned() }).set(1);
    registry.register("istio_build", "Istio component build info", build);

    let help = "The total number of completed connections to xds server (unstable)";
    registry.register("istio_xds_connection_terminations", help, xds.terminations.clone());
    registry.register(
        "istio_xds_message",
        "Total number of messages received (unstable)",
        xds.messages.clone(),
    );
    let help = "Total number of bytes received (unstable)";
    registry.register("istio_xds_message_bytes", help, xds.bytes.clone());
    registry.register_collector(Box::new(xds.clone()));

    let help = "Total number of DNS requests (unstable)";
    registry.register("istio_dns_requests", help, dns.requests.clone());
    let help = "Total number of DNS requests forwarded to upstream (unstable)";
    registry.register("istio_dns_upstream_requests", help, dns.upstream.clone());
    let help = "Total number of DNS requests forwarded to upstream that failed (unstable)";
    registry.register("istio_dns_upstream_failures", help, dns.failures.clone());
    let help = "Total time in seconds Istio takes to get DNS response from upstream (unstable)";
    registry.register("istio_dns_upstream_request_duration_seconds", help, dns.durations.clone());
    let help = "The total number of requests that used on-demand DNS (unstable)";
    registry.register("istio_on_demand_dns", help, dns.on_demand.clone());

    let help = "The total number of connections rejected because of a revoked certificate (unstable)";
    registry.register("istio_crl_policy_rejections", help, certificates.rejections.clone());
    let help = "The total number of connections that revocation lists are not checked for again (unstable)";
    registry.register("istio_crl_untracked_connections", help, certificates.untracked.clone());
    let help = "Certificates asked for, by how that ended";
    registry.register("adit_certificate_requests", help, certificates.requests.clone());

    let help = "The total number of active proxies on this node";
    registry.register("workload_manager_active_proxy_count", help, pods.active.clone());
    let help = "The total number of pending proxies on this node";
    registry.register("workload_manager_pending_proxy_count", help, pods.pending.clone());
    let help = "The total number of proxies that were started";
    registry.register("workload_manager_proxies_started", help, pods.started.clone());
    let help = "The total number of proxies that were stopped";
    registry.register("workload_manager_proxies_stopped", help, pods.stopped.clone());
}
