//! Whose certificates this node keeps: those of the pods that have a proxy, fetched before a connection needs them and
//! forgotten with the last pod of the identity.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use adit_core::identity::Identity;
use adit_core::proxy::{LocalWorkload, ProxyId};

use crate::certificates::NodeCertificates;
use crate::tables::Tables;
use crate::thread::TokioThread;

/// The identities of the pods here.
pub(super) struct Identities {
    certificates: NodeCertificates,
    tables: Arc<Tables>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Each pod, and who it is, or was when last known: it may outlive its entry in the tables.
    pods: BTreeMap<ProxyId, (LocalWorkload, Option<Identity>)>,
    /// What was asked for last.
    kept: BTreeSet<Identity>,
}

impl Identities {
    /// Those of our `own` pod for now; looks again whenever the tables change.
    pub(super) fn start(
        own: Option<LocalWorkload>,
        certificates: NodeCertificates,
        tables: &Arc<Tables>,
        thread: &TokioThread,
    ) -> Arc<Self> {
        let pods = own.into_iter().map(|own| (ProxyId::OWN, (own, None))).collect();
        let known = Mutex::new(Known { pods, kept: BTreeSet::new() });
        let this = Arc::new(Self { certificates, tables: Arc::clone(tables), known });
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
        self.change(|known| drop(known.pods.remove(&proxy)));
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        let mesh = self.tables.current();
        for (local, identity) in known.pods.values_mut() {
            if let Some(workload) = local.found_in(&mesh) {
                *identity = Some(workload.identity());
            }
        }
        let wanted: BTreeSet<_> = known.pods.values().filter_map(|(_, identity)| identity.clone()).collect();
        if wanted != known.kept {
            // Under the lock, so that the newest set is the last one told.
            self.certificates.keep(wanted.clone());
            known.kept = wanted;
        }
    }
}
