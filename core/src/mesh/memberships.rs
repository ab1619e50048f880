//! The services that a workload is an endpoint of (`Workload.services`).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::Hash;
use core::iter;

use super::ServiceName;
use super::keyed::Shared;

/// Service port → port of the workload, ordered by service port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortMap(Box<[(u16, u16)]>);

impl PortMap {
    /// The workload's port for service port `port`.
    #[must_use]
    pub fn get(&self, port: &u16) -> Option<&u16> {
        let at = self.0.binary_search_by_key(port, |(service, _)| *service).ok()?;
        self.0.get(at).map(|(_, target)| target)
    }

    /// Service port and port of the workload, ordered by service port.
    pub fn iter(&self) -> impl Iterator<Item = (&u16, &u16)> {
        self.into_iter()
    }
}

impl<'a> IntoIterator for &'a PortMap {
    type Item = (&'a u16, &'a u16);
    type IntoIter = iter::Map<core::slice::Iter<'a, (u16, u16)>, fn(&'a (u16, u16)) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(service, target)| (service, target))
    }
}

impl FromIterator<(u16, u16)> for PortMap {
    /// Of pairs with the same service port the last one stays.
    fn from_iter<T: IntoIterator<Item = (u16, u16)>>(pairs: T) -> Self {
        BTreeMap::from_iter(pairs).into()
    }
}

impl From<BTreeMap<u16, u16>> for PortMap {
    fn from(ports: BTreeMap<u16, u16>) -> Self {
        Self(ports.into_iter().collect())
    }
}

impl<const N: usize> From<[(u16, u16); N]> for PortMap {
    fn from(pairs: [(u16, u16); N]) -> Self {
        pairs.into_iter().collect()
    }
}

/// Services with the ports that differ from the service's own, ordered by name. Cheap to clone; the tables keep one
/// copy of each, as the replicas of an application are all in the same services.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memberships(Arc<[(ServiceName, PortMap)]>);

impl Memberships {
    /// The ports in the service of this name, if it is one of them.
    #[must_use]
    pub fn get(&self, name: &ServiceName) -> Option<&PortMap> {
        let at = self.0.binary_search_by(|(other, _)| other.cmp(name)).ok()?;
        self.0.get(at).map(|(_, ports)| ports)
    }

    /// Adds a service, or replaces its ports. Copies the list: collect longer ones.
    pub fn insert(&mut self, name: ServiceName, ports: PortMap) {
        *self = self.0.iter().cloned().chain([(name, ports)]).collect();
    }

    /// How many services there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The services, ordered by namespace and hostname.
    pub fn keys(&self) -> impl Iterator<Item = &ServiceName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The services and their ports, ordered by namespace and hostname.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceName, &PortMap)> {
        self.0.iter().map(|(name, ports)| (name, ports))
    }
}

impl FromIterator<(ServiceName, PortMap)> for Memberships {
    /// Of several with the same name the last one stays.
    fn from_iter<T: IntoIterator<Item = (ServiceName, PortMap)>>(services: T) -> Self {
        let mut services: Vec<_> = services.into_iter().collect();
        // Stable: of equal names the last given comes first after the reversal, and is the one kept.
        services.reverse();
        services.sort_by(|(a, _), (b, _)| a.cmp(b));
        services.dedup_by(|(later, _), (kept, _)| later == kept);
        Self(services.into())
    }
}

impl Shared for Memberships {
    fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    fn name(hostname: &str) -> ServiceName {
        ServiceName { namespace: "n".into(), hostname: hostname.into() }
    }

    #[test]
    fn are_sorted_and_of_equal_keys_the_last_stays() {
        let mut services: Memberships =
            [(name("b"), [(80, 1)].into()), (name("a"), PortMap::default()), (name("b"), [(80, 2)].into())]
                .into_iter()
                .collect();
        assert_eq!(services.keys().map(|name| &*name.hostname).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(services.get(&name("b")), Some(&PortMap::from([(80, 2)])));
        services.insert(name("b"), [(80, 3)].into());
        services.insert(name("0"), [(9, 9), (8, 8), (9, 7)].into());
        assert_eq!(services.get(&name("b")).and_then(|ports| ports.get(&80)), Some(&3));
        let ports = services.get(&name("0")).unwrap();
        assert_eq!(ports.iter().collect::<Vec<_>>(), vec![(&8, &8), (&9, &7)]);
        assert_eq!((ports.get(&10), services.get(&name("c")), services.len()), (None, None, 3));
    }
}
