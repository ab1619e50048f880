//! The tables themselves: built once from entries, checked, indexed, then only read.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;

use ipnet::IpNet;

use super::{
    Authorization, NetworkMode, PolicyName, PolicyScope, Service, ServiceName, TunnelProtocol, Workload,
};

/// Why entries make no consistent mesh.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// Two workloads have the same uid.
    #[error("workload {0} appears twice: give each its own uid")]
    DuplicateWorkload(Arc<str>),
    /// Two services have the same namespace and hostname.
    #[error("service {0} appears twice: give each its own namespace and hostname")]
    DuplicateService(ServiceName),
    /// Two policies have the same namespace and name.
    #[error("policy {0} appears twice: give each its own namespace and name")]
    DuplicatePolicy(PolicyName),
    /// A workload's `namespace` is not that of its identity: policies could be by-passed.
    #[error("workload {uid} is in namespace {namespace}, but its identity is in {identity}")]
    NamespaceMismatch {
        /// The workload.
        uid: Arc<str>,
        /// Its namespace field.
        namespace: Arc<str>,
        /// Namespace of its identity.
        identity: Arc<str>,
    },
}

/// Everything known about the mesh; immutable, replaced whole, shared by all shards.
#[derive(Debug, Default)]
pub struct Mesh {
    network: Arc<str>,
    /// By uid.
    workloads: BTreeMap<Arc<str>, Arc<Workload>>,
    /// Sorted by `name_key`.
    by_name: Vec<Arc<Workload>>,
    /// Network → address → the best workload there.
    by_address: BTreeMap<Arc<str>, BTreeMap<IpAddr, Arc<Workload>>>,
    services: BTreeMap<ServiceName, Backed>,
    /// Network → exact address → services, first seen first.
    by_vip: BTreeMap<Arc<str>, BTreeMap<IpAddr, Vec<Arc<Service>>>>,
    /// Network → ranges.
    by_cidr: BTreeMap<Arc<str>, Vec<(IpNet, Arc<Service>)>>,
    by_hostname: BTreeMap<Arc<str>, Vec<Arc<Service>>>,
    /// By `namespace/name`.
    policies: BTreeMap<Arc<str>, Arc<Authorization>>,
    global_policies: Vec<Arc<Authorization>>,
    namespace_policies: BTreeMap<Arc<str>, Vec<Arc<Authorization>>>,
}

/// A service and the workloads behind it that its health policy accepts, ordered by uid.
#[derive(Debug)]
struct Backed {
    service: Arc<Service>,
    endpoints: Vec<Arc<Workload>>,
}

impl Mesh {
    /// Checks and indexes the entries; `network` is the one this proxy is in.
    ///
    /// A workload may name services that are not here: it becomes their endpoint when they are.
    ///
    /// # Errors
    /// A key that appears twice, or a workload whose namespace is not its identity's.
    pub fn new(
        network: Arc<str>,
        workloads: Vec<Workload>,
        services: Vec<Service>,
        policies: Vec<Authorization>,
    ) -> Result<Self, MeshError> {
        let mut mesh = Self { network, ..Self::default() };
        for service in services {
            mesh.add_service(service)?;
        }
        for workload in workloads {
            mesh.add_workload(workload)?;
        }
        for policy in policies {
            mesh.add_policy(policy)?;
        }
        mesh.index_workloads();
        Ok(mesh)
    }

    fn add_service(&mut self, service: Service) -> Result<(), MeshError> {
        let service = Arc::new(service);
        match self.services.entry(service.name.clone()) {
            Entry::Occupied(_) => return Err(MeshError::DuplicateService(service.name.clone())),
            Entry::Vacant(slot) => {
                slot.insert(Backed { service: Arc::clone(&service), endpoints: Vec::new() });
            }
        }
        for vip in &service.addresses {
            self.add_vip(&vip.network, vip.address, &service);
        }
        for range in &service.cidrs {
            if range.cidr.prefix_len() == range.cidr.max_prefix_len() {
                self.add_vip(&range.network, range.cidr.addr(), &service);
            } else {
                let ranges = self.by_cidr.entry(Arc::clone(&range.network)).or_default();
                ranges.push((range.cidr, Arc::clone(&service)));
            }
        }
        self.by_hostname.entry(Arc::clone(&service.name.hostname)).or_default().push(service);
        Ok(())
    }

    fn add_vip(&mut self, network: &Arc<str>, vip: IpAddr, service: &Arc<Service>) {
        let network = self.by_vip.entry(Arc::clone(network)).or_default();
        network.entry(vip.to_canonical()).or_default().push(Arc::clone(service));
    }

    fn add_workload(&mut self, workload: Workload) -> Result<(), MeshError> {
        if &*workload.namespace != workload.identity_ref().namespace() {
            return Err(MeshError::NamespaceMismatch {
                identity: workload.identity_ref().namespace().into(),
                uid: workload.uid,
                namespace: workload.namespace,
            });
        }
        match self.workloads.entry(Arc::clone(&workload.uid)) {
            Entry::Occupied(_) => return Err(MeshError::DuplicateWorkload(workload.uid)),
            Entry::Vacant(slot) => {
                slot.insert(Arc::new(workload));
            }
        }
        Ok(())
    }

    fn add_policy(&mut self, policy: Authorization) -> Result<(), MeshError> {
        let policy = Arc::new(policy);
        match self.policies.entry(policy.key().into()) {
            Entry::Occupied(_) => return Err(MeshError::DuplicatePolicy(policy.policy_name())),
            Entry::Vacant(slot) => {
                slot.insert(Arc::clone(&policy));
            }
        }
        match policy.scope {
            PolicyScope::Global => self.global_policies.push(policy),
            PolicyScope::Namespace => {
                self.namespace_policies.entry(Arc::clone(&policy.namespace)).or_default().push(policy);
            }
            PolicyScope::WorkloadSelector => {}
        }
        Ok(())
    }

    /// Everything derived from all workloads: addresses, names, endpoints.
    fn index_workloads(&mut self) {
        for workload in self.workloads.values() {
            if workload.network_mode == NetworkMode::Standard {
                let network = self.by_address.entry(Arc::clone(&workload.network)).or_default();
                for address in &workload.addresses {
                    let best = network.entry(address.to_canonical()).or_insert_with(|| Arc::clone(workload));
                    if address_rank(workload) > address_rank(best) {
                        *best = Arc::clone(workload);
                    }
                }
            }
            for name in workload.services.keys() {
                if let Some(backed) = self.services.get_mut(name)
                    && backed.service.accepts_health_of(workload)
                {
                    backed.endpoints.push(Arc::clone(workload));
                }
            }
        }
        self.by_name = self.workloads.values().cloned().collect();
        self.by_name.sort_by(|a, b| name_key(a).cmp(&name_key(b)));
    }

    /// The network this proxy is in.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// All workloads, ordered by uid.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.values()
    }

    /// All services, ordered by namespace and hostname.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values().map(|backed| &backed.service)
    }

    /// All policies, ordered by key.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Authorization>> {
        self.policies.values()
    }

    /// The workload that owns `address` in `network`. Of several, a pod is preferred, then one that speaks HBONE,
    /// then the lowest uid; host-network workloads own no address.
    #[must_use]
    pub fn workload_by_address(&self, network: &str, address: IpAddr) -> Option<&Arc<Workload>> {
        self.by_address.get(network)?.get(&address.to_canonical())
    }

    /// The workload this proxy stands for (dedicated mode).
    #[must_use]
    pub fn workload_by_name(
        &self,
        namespace: &str,
        name: &str,
        service_account: &str,
    ) -> Option<&Arc<Workload>> {
        let key = (namespace, name, service_account);
        let at = self.by_name.partition_point(|workload| name_key(workload) < key);
        self.by_name.get(at).filter(|workload| name_key(workload) == key)
    }

    /// Best service for a virtual address as `client_namespace` sees it: an exact address before ranges, the client's
    /// own namespace first, then the longest prefix, then a canonical service, then the first one given.
    #[must_use]
    pub fn service_by_vip(
        &self,
        network: &str,
        vip: IpAddr,
        client_namespace: &str,
    ) -> Option<&Arc<Service>> {
        let vip = vip.to_canonical();
        let exact = self.by_vip.get(network).and_then(|network| network.get(&vip)).into_iter().flatten();
        best(exact, client_namespace).or_else(|| {
            let ranges = self.by_cidr.get(network)?.iter();
            ranges
                .filter(|(cidr, service)| cidr.contains(&vip) && service.is_visible_to(client_namespace))
                .min_by_key(|(cidr, service)| {
                    let own = &*service.name.namespace == client_namespace;
                    Reverse((own, cidr.prefix_len(), service.canonical))
                })
                .map(|(_, service)| service)
        })
    }

    /// Every service at a virtual address, whoever may see it: by exact address first, then by range.
    pub fn services_at(&self, network: &str, vip: IpAddr) -> impl Iterator<Item = &Arc<Service>> {
        let vip = vip.to_canonical();
        let exact = self.by_vip.get(network).and_then(|network| network.get(&vip)).into_iter().flatten();
        let ranges = self.by_cidr.get(network).into_iter().flatten();
        exact.chain(ranges.filter(move |(cidr, _)| cidr.contains(&vip)).map(|(_, service)| service))
    }

    /// Best service for a hostname as `client_namespace` sees it, ranked as [`service_by_vip`](Self::service_by_vip).
    #[must_use]
    pub fn service_by_hostname(&self, hostname: &str, client_namespace: &str) -> Option<&Arc<Service>> {
        best(self.by_hostname.get(hostname).into_iter().flatten(), client_namespace)
    }

    /// The service of exactly this name.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(name).map(|backed| &backed.service)
    }

    /// The workloads behind a service that its health policy accepts, ordered by uid.
    #[must_use]
    pub fn endpoints(&self, name: &ServiceName) -> &[Arc<Workload>] {
        self.services.get(name).map_or(&[], |backed| &backed.endpoints)
    }

    /// The policies that bear on `workload`: global ones, those of its namespace, and those it lists. A listed key
    /// that names no policy comes out as `Err`. A policy may come twice.
    pub fn policies_for<'a>(
        &'a self,
        workload: &'a Workload,
    ) -> impl Iterator<Item = Result<&'a Arc<Authorization>, &'a Arc<str>>> {
        let namespace = self.namespace_policies.get(&workload.namespace).into_iter().flatten();
        let listed = workload.authorization_policies.iter().map(|key| self.policies.get(key).ok_or(key));
        self.global_policies.iter().chain(namespace).map(Ok).chain(listed)
    }
}

/// Which of several workloads on one address counts (datapath §2.3).
fn address_rank(workload: &Workload) -> (bool, bool) {
    (workload.uid.contains("//Pod/"), workload.protocol == TunnelProtocol::Hbone)
}

fn name_key(workload: &Workload) -> (&str, &str, &str) {
    (&workload.namespace, &workload.name, workload.identity_ref().service_account())
}

/// Visible services only; the client's namespace, then canonical, then first seen.
fn best<'a>(
    services: impl Iterator<Item = &'a Arc<Service>>,
    client_namespace: &str,
) -> Option<&'a Arc<Service>> {
    // `min_by_key` keeps the first of equals, `max_by_key` would keep the last.
    services
        .filter(|service| service.is_visible_to(client_namespace))
        .min_by_key(|service| Reverse((&*service.name.namespace == client_namespace, service.canonical)))
}

#[cfg(test)]
mod tests;
