//! One copy of what many entries say: names of namespaces, nodes and accounts, identities, lists of services.

use alloc::sync::Arc;
use core::cmp::Ordering;

use super::index::{Entry, Index};
use super::keyed::{Shared, mark};
use super::{Common, GatewayAddress, Memberships, PortMap, Service, ServiceName, Workload};
use crate::identity::Identity;

/// A pool is looked through for what nobody holds any longer when it has so many entries, later when it has doubled.
const FIRST_SWEEP: usize = 256;

/// The pools. A copy of the tables shares them like everything else.
#[derive(Clone, Debug, Default)]
pub(super) struct Interner {
    texts: Pool<Arc<str>>,
    identities: Pool<Identity>,
    gateways: Pool<Arc<GatewayAddress>>,
    memberships: Pool<Memberships>,
    commons: Pool<Arc<Common>>,
    /// Entries that have left the tables since the last look at what they held.
    left: usize,
}

impl Interner {
    /// Lets `workload` share what it has in common with others.
    pub(super) fn workload(&mut self, workload: &mut Workload) {
        self.text(&mut workload.namespace);
        self.text(&mut workload.node);
        workload.addresses.shrink_to_fit();
        self.identities.share(workload.identity_mut(), |_| {});
        // Its texts first, so that what is kept holds the kept ones.
        let common: &mut Common = workload;
        let locality = &mut common.locality;
        for text in [
            &mut common.network,
            &mut common.canonical_name,
            &mut common.canonical_revision,
            &mut common.workload_name,
            &mut common.cluster,
            &mut locality.region,
            &mut locality.zone,
            &mut locality.subzone,
        ] {
            self.text(text);
        }
        common.authorization_policies.iter_mut().for_each(|key| self.text(key));
        common.authorization_policies.shrink_to_fit();
        self.gateway(&mut common.waypoint);
        self.gateway(&mut common.network_gateway);
        self.commons.share(workload.common_mut(), |_| {});
        let texts = &mut self.texts;
        self.memberships.share(&mut workload.services, |services| {
            let shared = |(name, ports): (&ServiceName, &PortMap)| {
                let mut name = name.clone();
                texts.share(&mut name.namespace, |_| {});
                texts.share(&mut name.hostname, |_| {});
                (name, ports.clone())
            };
            *services = services.iter().map(shared).collect();
        });
    }

    /// Lets `service` share what it has in common with others.
    pub(super) fn service(&mut self, service: &mut Service) {
        for text in [&mut service.object_name, &mut service.name.namespace, &mut service.name.hostname] {
            self.text(text);
        }
        service.addresses.iter_mut().for_each(|address| self.text(&mut address.network));
        service.cidrs.iter_mut().for_each(|range| self.text(&mut range.network));
        service.subject_alt_names.iter_mut().for_each(|name| self.identities.share(name, |_| {}));
        self.gateway(&mut service.waypoint);
        service.weighted_waypoints.iter_mut().for_each(|waypoint| {
            self.gateways.share(&mut waypoint.gateway, |_| {});
        });
    }

    /// An entry has left the tables. Now and then what only those held is forgotten, so that a mesh that shrinks gives its
    /// memory back; the work for that is in proportion to the number of entries that left.
    pub(super) fn handle_removed(&mut self) {
        self.left = self.left.saturating_add(1);
        let Self { texts, identities, gateways, memberships, commons, left } = self;
        // They are the largest, and the others are some for each of them.
        if *left >= commons.len().max(FIRST_SWEEP) {
            *left = 0;
            // What holds others first.
            commons.sweep();
            memberships.sweep();
            gateways.sweep();
            identities.sweep();
            texts.sweep();
        }
    }

    fn text(&mut self, text: &mut Arc<str>) {
        self.texts.share(text, |_| {});
    }

    fn gateway(&mut self, gateway: &mut Option<Arc<GatewayAddress>>) {
        if let Some(gateway) = gateway {
            self.gateways.share(gateway, |_| {});
        }
    }
}

/// Values of which there is to be one copy each.
#[derive(Clone, Debug)]
struct Pool<A> {
    known: Index<Pooled<A>>,
    sweep_at: usize,
}

impl<A> Default for Pool<A> {
    fn default() -> Self {
        Self { known: Index::default(), sweep_at: FIRST_SWEEP }
    }
}

impl<A: Shared> Pool<A> {
    /// Puts the copy that is known in the place of `value`; makes `value` that copy, after `prepare`, if there is none.
    const fn len(&self) -> usize {
        self.known.len()
    }

    fn share(&mut self, value: &mut A, prepare: impl FnOnce(&mut A)) {
        let mark = mark(value);
        let known = self.known.range(mark, |entry| entry.value.cmp(value)).next();
        let known = known.map(|entry| entry.value.clone());
        if let Some(known) = known {
            *value = known;
            return;
        }
        prepare(value);
        self.known.insert(Pooled { mark, value: value.clone() });
        if self.known.len() >= self.sweep_at {
            self.sweep();
        }
    }

    /// Forgets what only the pool holds. A copy of the tables that is still in use may keep more alive; the next time
    /// gets it. As this waits until the pool has doubled, it adds a constant to what an entry costs.
    fn sweep(&mut self) {
        let mut kept = Index::default();
        for entry in self.known.iter().filter(|entry| entry.value.holders() > 1) {
            kept.insert(entry.clone());
        }
        self.sweep_at = kept.len().saturating_mul(2).max(FIRST_SWEEP);
        self.known = kept;
    }
}

#[derive(Clone, Debug)]
struct Pooled<A> {
    mark: u64,
    value: A,
}

impl<A: Shared> PartialEq for Pooled<A> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<A: Shared> Eq for Pooled<A> {}

impl<A: Shared> PartialOrd for Pooled<A> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<A: Shared> Ord for Pooled<A> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.mark.cmp(&other.mark).then_with(|| self.value.cmp(&other.value))
    }
}

impl<A: Shared> Entry for Pooled<A> {
    fn mark(&self) -> u64 {
        self.mark
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn equal_values_become_one_and_what_nobody_holds_is_forgotten() {
        let mut pool = Pool::<Arc<str>>::default();
        let (mut a, mut b) = (Arc::<str>::from("a"), Arc::<str>::from("a"));
        pool.share(&mut a, |_| {});
        pool.share(&mut b, |_| {});
        assert!(Arc::ptr_eq(&a, &b));
        for n in 0..10 * FIRST_SWEEP {
            pool.share(&mut Arc::from(format!("{n}")), |_| {});
            assert!(pool.known.len() <= FIRST_SWEEP);
        }
        let mut c = Arc::<str>::from("a");
        pool.share(&mut c, |_| {});
        assert!(Arc::ptr_eq(&a, &c), "held all the time");
    }
}
