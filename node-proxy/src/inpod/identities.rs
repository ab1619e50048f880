//! Whose certificates this node keeps: those of the pods that have a proxy, fetched before a connection needs them and
//! forgotten with the last pod of the identity. As with certificates, so with the series of metrics.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use adit_core::identity::Identity;
use adit_core::mesh::Workload;
use adit_core::proxy::{LocalWorkload, ProxyId};
use adit_ops::metrics::Metrics;

use crate::certificates::NodeCertificates;
use crate::tables::Tables;
use crate::thread::TokioThread;

/// Two words that name something.
type Name = (Arc<str>, Arc<str>);

/// The identities of the pods here.
pub(super) struct Identities {
    certificates: NodeCertificates,
    tables: Arc<Tables>,
    metrics: Metrics,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Each pod, and its entry in the tables as it was last: it may outlive that.
    pods: BTreeMap<ProxyId, (LocalWorkload, Option<Arc<Workload>>)>,
    /// What was asked for last.
    kept: BTreeSet<Identity>,
}

impl Identities {
    /// Those of our `own` pod for now; looks again whenever the tables change.
    pub(super) fn start(
        own: Option<LocalWorkload>,
        certificates: NodeCertificates,
        metrics: Metrics,
        tables: &Arc<Tables>,
        thread: &TokioThread,
    ) -> Arc<Self> {
        let pods = own.into_iter().map(|own| (ProxyId::OWN, (own, None))).collect();
        let known = Mutex::new(Known { pods, kept: BTreeSet::new() });
        let this = Arc::new(Self { certificates, tables: Arc::clone(tables), metrics, known });
        this.change(|_| ());
        let (mut changes, watching) = (tables.watch(), Arc::downgrade(&this));
        thread.spawn(async move {
            while changes.changed().await.is_ok() {
                changes.mark_unchanged();
                let Some(this) = watching.upgrade() else { return };
                this.change(|_| ());
            }
        });
        this
    }

    /// A pod has come.
    pub(super) fn add(&self, proxy: ProxyId, workload: LocalWorkload) {
        self.change(|known| drop(known.pods.insert(proxy, (workload, None))));
    }

    /// A pod has gone.
    pub(super) fn remove(&self, proxy: ProxyId) {
        let (mut last_of_workload, mut last_of_service) = (None, None);
        self.change(|known| {
            let Some((_, Some(gone))) = known.pods.remove(&proxy) else { return };
            let workload = |it: &Workload| (Arc::clone(&it.namespace), Arc::clone(&it.workload_name));
            let service =
                |it: &Workload| (Arc::clone(&it.canonical_name), Arc::clone(&it.canonical_revision));
            let left = || known.pods.values().filter_map(|(_, workload)| workload.as_deref());
            let is_last = |name: fn(&Workload) -> Name| left().all(|it| name(it) != name(&gone));
            last_of_workload = is_last(workload).then(|| workload(&gone));
            last_of_service = is_last(service).then(|| service(&gone));
        });
        if let Some((namespace, workload)) = last_of_workload {
            self.metrics.forget(&namespace, &workload);
        }
        if let Some((service, revision)) = last_of_service {
            self.metrics.dns.forget_service(&service, &revision);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        let mesh = self.tables.current();
        for (local, workload) in known.pods.values_mut() {
            if let Some(found) = local.found_in(&mesh) {
                *workload = Some(Arc::clone(found));
            }
        }
        let workloads = known.pods.values().filter_map(|(_, workload)| workload.as_ref());
        let wanted: BTreeSet<Identity> = workloads.map(|workload| workload.identity()).collect();
        if wanted != known.kept {
            // Under the lock, so that the newest set is the last one told.
            self.certificates.keep(wanted.clone());
            known.kept = wanted;
        }
    }
}
