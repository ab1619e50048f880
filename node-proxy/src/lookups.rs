//! Shards' questions for host names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_control::dns::Names;
use adit_core::dns::NameScope;
use adit_core::proxy::ProxyId;
use adit_runtime::{NameReply, NameSource};

/// A shard's way to the node's resolver.
#[derive(Clone, Debug)]
pub struct NodeNames {
    /// For names outside of the mesh, and for our own workload.
    pub own: Names,
    /// For names as clients in pods mean them.
    pub pods: PodNames,
}

/// The resolvers of pods, in which names mean what they do there. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct PodNames(Arc<Mutex<BTreeMap<ProxyId, Names>>>);

impl PodNames {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProxyId, Names>> {
        // Each change is one call of the map, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on names of this pod's clients are looked up by `names`.
    pub fn insert(&self, proxy: ProxyId, names: Names) {
        self.lock().insert(proxy, names);
    }

    /// The pod is gone.
    pub fn remove(&self, proxy: ProxyId) {
        self.lock().remove(&proxy);
    }
}

impl NameSource for NodeNames {
    fn request(&mut self, proxy: ProxyId, name: &Arc<str>, scope: NameScope, reply: NameReply) {
        let answer = move |found| reply.send(found);
        match scope {
            NameScope::Workload => {
                let of_pod = self.pods.lock().get(&proxy).cloned();
                of_pod.as_ref().unwrap_or(&self.own).request(name, scope, answer);
            }
            NameScope::Outside | NameScope::Machine => self.own.request(name, scope, answer),
        }
    }
}
