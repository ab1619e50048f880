//! What Istio's policies are for, and how those for one destination are found (waypoint.md §11.1–11.3).
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use smallvec::SmallVec;

use super::authz::Target;
use crate::mesh::{Service, ServiceName};

/// Values by what they are for. Cheap to ask: a few look-ups, whatever their number.
#[derive(Clone, Debug, Default)]
pub(super) struct ByTarget<T> {
    everywhere: T,
    namespaces: BTreeMap<Arc<str>, T>,
    services: BTreeMap<ServiceName, T>,
    entries: BTreeMap<Arc<str>, BTreeMap<Arc<str>, T>>,
}

impl<T: Default> ByTarget<T> {
    /// Has `change` called for the value of each target, in such a way that it counts once for any destination: what is for
    /// everything is not for a service as well.
    pub(super) fn each(&mut self, targets: &[Target], mut change: impl FnMut(&mut T)) {
        let targets: BTreeSet<&Target> = targets.iter().collect();
        if targets.contains(&Target::Class) || targets.contains(&Target::Gateway) {
            return change(&mut self.everywhere);
        }
        let covered = |namespace: &Arc<str>| targets.contains(&Target::Namespace(Arc::clone(namespace)));
        for target in &targets {
            let value = match target {
                Target::Class | Target::Gateway => continue,
                Target::Namespace(namespace) => self.namespaces.entry(Arc::clone(namespace)).or_default(),
                Target::Service(name) if covered(&name.namespace) => continue,
                Target::ServiceEntry { namespace, .. } if covered(namespace) => continue,
                Target::Service(name) => self.services.entry(name.clone()).or_default(),
                Target::ServiceEntry { namespace, name } => self
                    .entries
                    .entry(Arc::clone(namespace))
                    .or_default()
                    .entry(Arc::clone(name))
                    .or_default(),
            };
            change(value);
        }
    }
}

impl<T> ByTarget<T> {
    /// The values for traffic to `service`; `None`: to a workload by its own address.
    pub(super) fn of(&self, service: Option<&Service>) -> SmallVec<[&T; 4]> {
        let mut found = SmallVec::new();
        found.push(&self.everywhere);
        if let Some(service) = service {
            let ServiceName { namespace, hostname } = &service.name;
            found.extend(self.namespaces.get(namespace));
            found.extend(self.services.get(&service.name));
            let is_entry = !is_kubernetes(hostname, &service.object_name, namespace);
            let entry = || self.entries.get(namespace)?.get(&*service.object_name);
            found.extend(is_entry.then(entry).flatten());
        }
        found
    }

    /// All values.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        let entries = self.entries.values().flat_map(BTreeMap::values);
        core::iter::once(&self.everywhere)
            .chain(self.namespaces.values())
            .chain(self.services.values())
            .chain(entries)
    }
}

/// Whether a host is that of a Kubernetes Service: a ServiceEntry may have the same name.
fn is_kubernetes(hostname: &str, name: &str, namespace: &str) -> bool {
    let rest = hostname.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
    rest.and_then(|rest| rest.strip_prefix(namespace)).is_some_and(|rest| rest.starts_with(".svc."))
}
