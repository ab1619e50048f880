//! What all threads of a waypoint have in common: what is configured, the mesh, and what is known of endpoints.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use adit_control::jwks::Jwks;
use adit_core::l7::rate::{Asking, LocalLimits, RatePolicy, Taken};
use adit_core::l7::upstream::{Chosen, Cluster, Settled, endpoints_of};
use adit_core::l7::{Request, SessionKey, Snapshot, Target};
use adit_core::mesh::{Mesh, Service, ServiceName, Workload};
use adit_core::proxy::LocalWorkload;
use adit_core::time::Instant;
use adit_process::tables::Tables;
use adit_runtime::Clock;
use tokio::sync::watch;

use crate::observe::{InForce, Recorders};
use crate::route::settle;
use crate::settings::Settings;
use crate::share::Shares;

/// What a waypoint is made from.
pub struct Parts {
    /// What is configured, as it is now.
    pub in_force: watch::Receiver<Arc<InForce>>,
    /// The mesh, as it is now.
    pub tables: Arc<Tables>,
    /// Whom we stand for.
    pub local: LocalWorkload,
    /// Bounds and deadlines.
    pub settings: Settings,
    /// Who hears of requests, on each thread.
    pub recorders: Recorders,
    /// Set when the end is asked for.
    pub draining: watch::Receiver<bool>,
    /// Keys that tokens are signed with.
    pub keys: Jwks,
    /// What sessions are sealed with.
    pub session_key: SessionKey,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("local", &self.local).finish_non_exhaustive()
    }
}

/// What threads share.
pub struct Shared {
    /// What is configured, as it is now.
    pub in_force: watch::Receiver<Arc<InForce>>,
    /// The mesh, as it is now.
    pub tables: Arc<Tables>,
    /// Whom we stand for.
    pub local: LocalWorkload,
    /// Bounds and deadlines.
    pub settings: Settings,
    /// Who hears of requests, on each thread.
    pub recorders: Recorders,
    /// Set when the end is asked for.
    pub draining: watch::Receiver<bool>,
    /// Keys that tokens are signed with.
    pub keys: Jwks,
    /// What sessions are sealed with.
    pub session_key: SessionKey,
    pub(crate) clusters: Clusters,
    /// What each client has.
    pub(crate) shares: Shares,
    /// Buckets of rate limits.
    limits: Mutex<LocalLimits>,
    pub(crate) clock: Clock,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Shared {
    /// What threads share from the start.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { in_force, tables, local, settings, recorders, draining, keys, session_key } = parts;
        let (clusters, limits, clock) = (Clusters::default(), Mutex::default(), Clock::start());
        Self {
            in_force,
            tables,
            local,
            settings,
            recorders,
            draining,
            keys,
            session_key,
            clusters,
            shares: Shares::default(),
            limits,
            clock,
        }
    }

    /// Takes what a request needs from the buckets of a policy.
    pub(crate) fn take(&self, policy: &Arc<RatePolicy>, asking: &Asking<'_, impl Request>) -> Taken {
        lock(&self.limits).take(self.now(), policy, asking)
    }

    /// Forgets what was counted for rate limits and clusters that are no longer there, until what is configured has no more
    /// changes to come. However fast changes follow one another, it looks once in a while.
    pub async fn forget(self: Arc<Self>) {
        let (mut changes, mut meshes) = (self.in_force.clone(), self.tables.watch());
        let sweep = self.settings.sweep;
        loop {
            let now = Arc::clone(&changes.borrow_and_update());
            let mesh = Arc::clone(&meshes.borrow_and_update());
            lock(&self.limits).retain(now.snapshot.rates.iter());
            let busy = self.clusters.forget(&now.snapshot, &mesh);
            tokio::time::sleep(sweep).await;
            let more = match busy {
                // It ends without a word to us.
                true => changes.has_changed().is_ok(),
                false => tokio::select! {
                    changed = changes.changed() => changed.is_ok(),
                    changed = meshes.changed() => changed.is_ok(),
                },
            };
            if !more {
                return;
            }
        }
    }

    /// Connections that clients have, on all threads.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shares.connections()
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// Names a cluster: a service, one of its ports, and a subset of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClusterKey {
    pub(crate) service: ServiceName,
    pub(crate) port: u16,
    pub(crate) subset: Option<Arc<str>>,
}

impl ClusterKey {
    /// The name that logs and metrics have for it (Envoy's, as istiod gives it).
    pub(crate) fn name(&self, http: bool) -> String {
        let kind = if http { "http" } else { "tcp" };
        let subset = self.subset.as_deref().map_or_else(String::new, |subset| format!("/{subset}"));
        format!("inbound-vip|{}|{kind}{subset}|{}", self.port, self.service.hostname)
    }
}

/// A cluster, and of which mesh its endpoints are.
struct Entry {
    cluster: Cluster,
    /// Only its address counts, which nobody else has while this is here.
    gathered: Weak<Mesh>,
}

/// The clusters that requests have gone to.
#[derive(Default)]
pub(crate) struct Clusters(Mutex<HashMap<ClusterKey, Shelf>>);

type Shelf = Arc<Mutex<Entry>>;

/// A cluster as of one mesh.
#[derive(Clone)]
pub(crate) struct ClusterRef(Shelf);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves each of these as it was between two calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clusters {
    /// The cluster of `key`, with the endpoints of `mesh`, under `policy`.
    pub(crate) fn get(
        &self,
        now: Instant,
        key: &ClusterKey,
        settled: &Settled<'_>,
        (mesh, service, local): (&Arc<Mesh>, &Service, &Workload),
    ) -> ClusterRef {
        let policy = settled.policy;
        let mut shelves = lock(&self.0);
        let shelf = match shelves.get(key) {
            Some(shelf) => Arc::clone(shelf),
            None => {
                let entry = Entry { cluster: Cluster::new(Arc::clone(policy)), gathered: Weak::new() };
                let shelf = Arc::new(Mutex::new(entry));
                shelves.insert(key.clone(), Arc::clone(&shelf));
                shelf
            }
        };
        drop(shelves);
        let mut entry = lock(&shelf);
        // What has been read again may be as it was.
        let known = entry.cluster.policy();
        let changed = !Arc::ptr_eq(known, policy) && known != policy;
        if changed {
            entry.cluster.handle_policy(Arc::clone(policy));
        }
        if changed || !std::ptr::eq(entry.gathered.as_ptr(), Arc::as_ptr(mesh)) {
            let gathered = endpoints_of(mesh, (service, key.port), local, policy, settled.selector);
            entry.cluster.handle_endpoints(now, gathered);
            entry.gathered = Arc::downgrade(mesh);
        }
        if entry.cluster.poll_timeout().is_some_and(|at| at <= now) {
            entry.cluster.handle_timeout(now);
        }
        drop(entry);
        ClusterRef(shelf)
    }

    /// Forgets clusters that nothing leads to any more: their service, its port or the subset is gone. Says whether there are
    /// such that something is under way to, or waits on a connection: they are kept for now. Requests are hardly held up:
    /// what is gone is looked for without the lock.
    fn forget(&self, snapshot: &Snapshot, mesh: &Mesh) -> bool {
        let mut gone: Vec<ClusterKey> = lock(&self.0).keys().cloned().collect();
        gone.retain(|key| {
            let target = Target { service: key.service.clone(), port: key.port };
            settle(snapshot, mesh, &target, key.subset.as_ref()).is_err()
        });
        let mut busy = false;
        for key in gone {
            let mut shelves = lock(&self.0);
            // Under the lock nobody else comes to have it.
            if shelves.get(&key).is_some_and(|shelf| Arc::strong_count(shelf) > 1) {
                busy = true;
            } else {
                shelves.remove(&key);
            }
        }
        busy
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<(ClusterKey, ClusterRef)> {
        let shelves = lock(&self.0);
        shelves.iter().map(|(key, shelf)| (key.clone(), ClusterRef(Arc::clone(shelf)))).collect()
    }
}

impl ClusterRef {
    /// Runs `run` with the cluster, for a moment.
    pub(crate) fn with<T>(&self, run: impl FnOnce(&mut Cluster) -> T) -> T {
        run(&mut lock(&self.0).cluster)
    }
}

/// A request under way to an endpoint; counted until it is dropped.
pub(crate) struct UnderWay {
    cluster: ClusterRef,
    chosen: Option<Chosen>,
}

impl UnderWay {
    pub(crate) const fn new(cluster: ClusterRef, chosen: Chosen) -> Self {
        Self { cluster, chosen: Some(chosen) }
    }

    /// How it went, so far as endpoints are judged by it.
    pub(crate) fn tell(&self, now: Instant, outcome: adit_core::l7::Outcome) {
        let Some(chosen) = &self.chosen else { return };
        let ejected = self.cluster.with(|cluster| cluster.handle_outcome(now, chosen, outcome));
        if let Some(why) = ejected {
            tracing::warn!(endpoint = %chosen.workload.uid, ?why, "an endpoint is left out for a while");
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(chosen) = self.chosen.take() {
            self.cluster.with(|cluster| cluster.end(chosen));
        }
    }
}
