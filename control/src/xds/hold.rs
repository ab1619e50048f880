//! What tables wait for before they are published.
//!
//! A workload lists its policies by name; the policies themselves come in messages of another type, before or after it, as
//! istiod's push happens to go. Published in between, the tables list a policy that nobody knows, which refuses everybody and
//! cuts what is open (docs/decisions.md). So they wait a little for the other message, with the tables before it in force: as
//! if all of the push had come that much later.
use std::collections::BTreeSet;
use std::sync::Arc;

use adit_core::mesh::{Mesh, Workload};

/// The policies that are awaited.
#[derive(Debug, Default)]
pub(super) struct Hold {
    awaited: BTreeSet<Arc<str>>,
}

impl Hold {
    /// `now` takes the place of `before` in `mesh`: what it lists anew and nobody knows is awaited. What it listed already
    /// has been awaited, maybe in vain.
    pub(super) fn listed(&mut self, mesh: &Mesh, before: Option<&Workload>, now: &Workload) {
        let before = before.map_or(&[][..], |before| &before.authorization_policies);
        let new =
            now.authorization_policies.iter().filter(|key| !before.contains(key) && !is_known(mesh, key));
        self.awaited.extend(new.cloned());
    }

    /// A policy goes: until nobody lists it, its absence is awaited.
    pub(super) fn removed(&mut self, key: &str) {
        self.awaited.insert(key.into());
    }

    /// Whether nothing is awaited any more, now that a message is complete.
    pub(super) fn is_over(&mut self, mesh: &Mesh) -> bool {
        self.awaited.retain(|key| !is_known(mesh, key));
        if !self.awaited.is_empty() {
            let listed = mesh.workloads().flat_map(|workload| &workload.authorization_policies);
            self.awaited = listed.filter(|key| self.awaited.contains(*key)).cloned().collect();
        }
        self.awaited.is_empty()
    }

    /// Awaits nothing any more.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Arc<str>> {
        std::mem::take(&mut self.awaited).into_iter()
    }
}

fn is_known(mesh: &Mesh, key: &str) -> bool {
    key.split_once('/').is_some_and(|(namespace, name)| mesh.policy(namespace, name).is_some())
}
