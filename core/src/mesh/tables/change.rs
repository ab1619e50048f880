//! Changes to the tables, one entry at a time (interfaces §1.5).

use alloc::sync::Arc;

use super::{Mesh, halves};
use crate::mesh::endpoints::Member;
use crate::mesh::entries::{Backed, Located, Range, Vip};
use crate::mesh::index::Index;
use crate::mesh::{Authorization, NetworkMode, PolicyName, PolicyScope, Service, ServiceName, Workload};

/// What a control plane says about one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A workload, new or in the place of the one with its uid.
    Workload(Workload),
    /// A service, new or in the place of the one of its name, whose endpoints it keeps.
    Service(Service),
    /// A policy, new or in the place of the one of its name.
    Policy(Authorization),
    /// No workload has this uid any longer.
    RemoveWorkload(Arc<str>),
    /// No service has this name any longer. Endpoints are kept for the next one.
    RemoveService(ServiceName),
    /// No policy has this name any longer.
    RemovePolicy(PolicyName),
}

/// Why an entry is refused.
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
    /// The namespace of a policy has a `/`: workloads could not list it.
    #[error("policy {0} has a namespace with a '/': workloads list policies as namespace/name")]
    PolicyNamespace(PolicyName),
}

impl Mesh {
    /// Applies one change. What is said again and the removal of what is unknown change nothing.
    ///
    /// # Errors
    /// The entry is inconsistent: [`MeshError::NamespaceMismatch`], [`MeshError::PolicyNamespace`]. The tables stay as
    /// they were, with the entry's former version if there was one.
    pub fn apply(&mut self, change: Change) -> Result<(), MeshError> {
        let changed = match change {
            Change::Workload(workload) => self.put_workload(workload)?,
            Change::Service(service) => self.put_service(service),
            Change::Policy(policy) => self.put_policy(policy)?,
            Change::RemoveWorkload(uid) => self.remove_workload(&uid),
            Change::RemoveService(name) => self.remove_service(&name),
            Change::RemovePolicy(name) => self.remove_policy(&name.namespace, &name.name),
        };
        if changed {
            self.version = self.version.wrapping_add(1);
        }
        Ok(())
    }

    fn put_workload(&mut self, mut workload: Workload) -> Result<bool, MeshError> {
        if &*workload.namespace != workload.identity_ref().namespace() {
            return Err(MeshError::NamespaceMismatch {
                identity: workload.identity_ref().namespace().into(),
                uid: workload.uid,
                namespace: workload.namespace,
            });
        }
        if self.workload(&workload.uid).is_some_and(|known| **known == workload) {
            return Ok(false);
        }
        self.remove_workload(&workload.uid);
        self.interner.workload(&mut workload);
        let workload = Arc::new(workload);
        for located in places(&workload) {
            self.by_address.insert(located);
        }
        for name in workload.services.keys() {
            if let Some(backed) = self.backed_mut(name) {
                backed.members.insert(Member(Arc::clone(&workload)));
            }
        }
        if !workload.hostname.is_empty() {
            self.by_own_hostname.insert(Arc::clone(&workload));
        }
        self.by_name.insert(Arc::clone(&workload));
        self.by_node.insert(Arc::clone(&workload));
        self.workloads.insert(workload);
        Ok(true)
    }

    fn remove_workload(&mut self, uid: &str) -> bool {
        let Some(workload) = self.workload(uid).cloned() else { return false };
        self.workloads.remove(&workload);
        self.by_name.remove(&workload);
        self.by_node.remove(&workload);
        self.by_own_hostname.remove(&workload);
        for located in places(&workload) {
            self.by_address.remove(located.address.0, |other| other.cmp(&located));
        }
        let member = Member(Arc::clone(&workload));
        for name in workload.services.keys() {
            if let Some(backed) = self.services.get_mut([&name.namespace, &name.hostname]) {
                backed.members.remove(0, |other| other.cmp(&member));
                self.forget_unused(name);
            }
        }
        drop((workload, member));
        self.interner.handle_removed();
        true
    }

    /// The endpoints of a service, known or not.
    fn backed_mut(&mut self, name: &ServiceName) -> Option<&mut Backed> {
        let key = [&*name.namespace, &*name.hostname];
        if self.services.get(key).is_none() {
            self.services.insert(Backed { name: name.clone(), service: None, members: Index::default() });
        }
        self.services.get_mut(key)
    }

    /// A service that is not known and has no endpoints is nothing.
    fn forget_unused(&mut self, name: &ServiceName) {
        let unused = |backed: &&Backed| backed.service.is_none() && backed.members.is_empty();
        if let Some(backed) = self.backed(name).filter(unused).cloned() {
            self.services.remove(&backed);
        }
    }

    fn put_service(&mut self, mut service: Service) -> bool {
        if self.service(&service.name).is_some_and(|known| **known == service) {
            return false;
        }
        self.unlink_service(&service.name.clone());
        self.interner.service(&mut service);
        let service = Arc::new(service);
        for vip in vips(&service) {
            self.by_vip.insert(vip);
        }
        for range in ranges(&service) {
            self.by_range.insert(range);
        }
        self.by_hostname.insert(Arc::clone(&service));
        if let Some(backed) = self.backed_mut(&service.name) {
            backed.service = Some(Arc::clone(&service));
        }
        true
    }

    fn remove_service(&mut self, name: &ServiceName) -> bool {
        let known = self.unlink_service(name);
        self.forget_unused(name);
        known
    }

    /// Takes a service out of all look-ups; its endpoints stay.
    fn unlink_service(&mut self, name: &ServiceName) -> bool {
        if self.service(name).is_none() {
            return false;
        }
        let backed = self.services.get_mut([&name.namespace, &name.hostname]);
        let Some(service) = backed.and_then(|backed| backed.service.take()) else { return false };
        for vip in vips(&service) {
            self.by_vip.remove(vip.address.0, |other| other.cmp(&vip));
        }
        for range in ranges(&service) {
            self.by_range.remove(0, |other| other.cmp(&range));
        }
        self.by_hostname.remove(&service);
        true
    }

    fn put_policy(&mut self, policy: Authorization) -> Result<bool, MeshError> {
        if policy.namespace.contains('/') {
            return Err(MeshError::PolicyNamespace(policy.policy_name()));
        }
        if self.policy(&policy.namespace, &policy.name).is_some_and(|known| **known == policy) {
            return Ok(false);
        }
        self.remove_policy(&policy.namespace, &policy.name);
        let policy = Arc::new(policy);
        // The others are only found through the workloads that list them.
        if policy.scope != PolicyScope::WorkloadSelector {
            self.by_scope.insert(Arc::clone(&policy));
        }
        self.policies.insert(policy);
        Ok(true)
    }

    fn remove_policy(&mut self, namespace: &str, name: &str) -> bool {
        let Some(policy) = self.policy(namespace, name).cloned() else { return false };
        self.policies.remove(&policy);
        self.by_scope.remove(&policy);
        true
    }
}

/// Where a workload is found: a host-network one nowhere, as it shares its node's addresses.
fn places(workload: &Arc<Workload>) -> impl Iterator<Item = Located> {
    let own = workload.network_mode == NetworkMode::Standard;
    let addresses = workload.addresses.iter().filter(move |_| own);
    addresses.map(|address| Located { address: halves(*address), workload: Arc::clone(workload) })
}

/// The exact addresses of a service, also those that are written as ranges.
fn vips(service: &Arc<Service>) -> impl Iterator<Item = Vip> {
    let exact = service.addresses.iter().map(|vip| (&vip.network, vip.address));
    let full = service.cidrs.iter().filter(|range| range.cidr.prefix_len() == range.cidr.max_prefix_len());
    exact.chain(full.map(|range| (&range.network, range.cidr.addr()))).map(|(network, address)| Vip {
        address: halves(address),
        network: Arc::clone(network),
        service: Arc::clone(service),
    })
}

/// The other ranges of a service.
fn ranges(service: &Arc<Service>) -> impl Iterator<Item = Range> {
    let wide = service.cidrs.iter().filter(|range| range.cidr.prefix_len() < range.cidr.max_prefix_len());
    wide.map(|range| Range {
        network: Arc::clone(&range.network),
        cidr: range.cidr.trunc(),
        service: Arc::clone(service),
    })
}

#[cfg(test)]
mod tests;
