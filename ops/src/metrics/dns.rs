//! Metrics of the DNS proxy and of names resolved for connections (interfaces §5.3).
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use adit_core::dns::{Asked, DnsObserved};
use adit_core::mesh::Workload;
use adit_core::proxy::observed::Party;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::LAST_SCRAPES;
use super::labels::OnDemand;

/// Label sets that one of these metrics keeps; those that come later count as `other`.
const MAX_LABEL_SETS: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Query {
    request_query_type: &'static str,
    request_protocol: &'static str,
    source_canonical_service: String,
    source_canonical_revision: String,
}

/// The label sets that were seen first, and since when whom they are about is not here any more.
#[derive(Clone, Debug)]
struct Known<S>(Arc<Mutex<HashMap<S, Option<Instant>>>>);

impl<S> Default for Known<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S: Clone + Hash + Eq> Known<S> {
    fn lock(&self) -> MutexGuard<'_, HashMap<S, Option<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `key`, or `other` when there are [`MAX_LABEL_SETS`] and `key` is none of them.
    fn admit(&self, key: S, other: impl FnOnce() -> S) -> S {
        let mut known = self.lock();
        if let Some(gone) = known.get_mut(&key) {
            *gone = None;
            return key;
        }
        if known.len() >= MAX_LABEL_SETS {
            return other();
        }
        known.insert(key.clone(), None);
        key
    }

    /// Those that are `of` somebody are about nobody from now on.
    fn forget(&self, now: Instant, of: impl Fn(&S) -> bool) {
        for (_, gone) in self.lock().iter_mut().filter(|(key, _)| of(key)) {
            gone.get_or_insert(now);
        }
    }

    /// Those that have been about nobody for long enough; they are known no more.
    fn expire(&self, now: Instant) -> Vec<S> {
        let over = |gone: &Option<Instant>| {
            gone.is_some_and(|gone| now.saturating_duration_since(gone) >= LAST_SCRAPES)
        };
        self.lock().extract_if(|_, gone| over(gone)).map(|(key, _)| key).collect()
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

/// A word that is a label; what is not known is `unknown` there.
fn label(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or("unknown")
}

impl Dns {
    fn key(&self, asked: &Asked<'_>) -> Query {
        let named =
            |of: fn(&Workload) -> &Arc<str>| label(asked.source.map(|source| &**of(source))).to_owned();
        let request_protocol = asked.transport.label();
        let key = Query {
            request_query_type: asked.record_type.label(),
            request_protocol,
            source_canonical_service: named(|workload| &workload.canonical_name),
            source_canonical_revision: named(|workload| &workload.canonical_revision),
        };
        let other = || Query {
            request_query_type: "other",
            request_protocol,
            source_canonical_service: "other".to_owned(),
            source_canonical_revision: "other".to_owned(),
        };
        self.queries.admit(key, other)
    }

    /// Counts one event of the proxy.
    pub fn observe(&self, asked: &Asked<'_>, what: DnsObserved) {
        let key = self.key(asked);
        match what {
            DnsObserved::Request => drop(self.requests.get_or_create(&key).inc()),
            DnsObserved::UpstreamRequest => drop(self.upstream.get_or_create(&key).inc()),
            DnsObserved::UpstreamAnswered { took } => {
                self.durations.get_or_create(&key).observe(took.as_secs_f64());
            }
            DnsObserved::UpstreamFailed { .. } => drop(self.failures.get_or_create(&key).inc()),
        }
    }

    /// The name of a workload without an address was resolved for `source`.
    pub fn on_demand(&self, source: &Party, hostname: &str) {
        let key = self.resolved.admit(OnDemand::new(source, hostname), OnDemand::other);
        self.on_demand.get_or_create(&key).inc();
    }

    /// The last proxy of a workload is gone from here ([`Metrics::forget`](super::Metrics::forget)).
    pub(super) fn forget(&self, now: Instant, namespace: &str, workload: &str) {
        self.resolved.forget(now, |key| key.is_of(namespace, workload));
    }

    /// Nobody here is of this canonical service and revision any more: what was asked is dropped after some scrapes, unless
    /// somebody of it comes back and asks.
    pub fn forget_service(&self, service: &str, revision: &str) {
        self.forget_service_at(Instant::now(), service, revision);
    }

    pub(super) fn forget_service_at(&self, now: Instant, service: &str, revision: &str) {
        let (service, revision) = (label(Some(service)), label(Some(revision)));
        self.queries.forget(now, |key| {
            key.source_canonical_service == service && key.source_canonical_revision == revision
        });
    }

    /// Drops what has been about nobody for long enough.
    pub(super) fn expire(&self, now: Instant) {
        for key in self.queries.expire(now) {
            for family in [&self.requests, &self.upstream, &self.failures] {
                family.remove(&key);
            }
            self.durations.remove(&key);
        }
        for key in self.resolved.expire(now) {
            self.on_demand.remove(&key);
        }
    }

    /// Names every metric to `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Total number of DNS requests (unstable)";
        registry.register("istio_dns_requests", help, self.requests.clone());
        let help = "Total number of DNS requests forwarded to upstream (unstable)";
        registry.register("istio_dns_upstream_requests", help, self.upstream.clone());
        let help = "Total number of DNS requests forwarded to upstream that failed (unstable)";
        registry.register("istio_dns_upstream_failures", help, self.failures.clone());
        let help = "Total time in seconds Istio takes to get DNS response from upstream (unstable)";
        registry.register("istio_dns_upstream_request_duration_seconds", help, self.durations.clone());
        let help = "The total number of requests that used on-demand DNS (unstable)";
        registry.register("istio_on_demand_dns", help, self.on_demand.clone());
    }
}
