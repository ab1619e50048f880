//! The tables themselves: what is known, and the look-ups.

mod change;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::iter;
use core::net::IpAddr;

pub use change::{Change, MeshError};
use ipnet::IpNet;

use super::endpoints::Endpoints;
use super::entries::{
    Backed, ByHostname, ByName, ByNode, ByOwnHostname, ByPolicyName, ByScope, ByServiceName, ByUid, Located,
    Range, Vip, halves, scope_key,
};
use super::index::Index;
use super::interner::Interner;
use super::keyed::Table;
use super::{Authorization, PolicyScope, Service, ServiceName, Workload};
use crate::identity::{Identity, IdentitySet};

/// Everything known about the mesh.
///
/// A clone costs a dozen pointers and does not see later changes. A change copies what it touches and is held by a
/// clone, some kilobytes, whatever the size of the mesh.
///
/// ```
/// use adit_core::mesh::{Change, Mesh, Service, ServiceName};
///
/// let mut mesh = Mesh::empty("".into());
/// let before = mesh.clone();
/// let name = ServiceName { namespace: "default".into(), hostname: "echo".into() };
/// mesh.apply(Change::Service(Service::new(name.clone())))?;
/// assert!(mesh.service(&name).is_some() && before.service(&name).is_none());
/// # Ok::<(), adit_core::mesh::MeshError>(())
/// ```
#[derive(Clone, Default)]
pub struct Mesh {
    network: Arc<str>,
    /// The node this proxy is on, where it knows.
    node: Option<Arc<str>>,
    version: u64,
    workloads: Table<ByUid>,
    by_name: Table<ByName>,
    by_node: Table<ByNode>,
    by_own_hostname: Table<ByOwnHostname>,
    by_address: Index<Located>,
    services: Table<ByServiceName>,
    by_hostname: Table<ByHostname>,
    by_vip: Index<Vip>,
    by_range: Index<Range>,
    policies: Table<ByPolicyName>,
    by_scope: Table<ByScope>,
    interner: Interner,
}

impl fmt::Debug for Mesh {
    /// Sizes only: there may be a hundred thousand entries.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("network", &self.network)
            .field("version", &self.version)
            .field("workloads", &self.workloads.len())
            .field("services", &self.services.len())
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}

impl Mesh {
    /// Nothing is known yet; `network` is the one this proxy is in.
    #[must_use]
    pub fn empty(network: Arc<str>) -> Self {
        Self { network, ..Self::default() }
    }

    /// The same of a proxy on `node` (Kubernetes; `NODE_NAME`): workloads of other nodes are not taken for its own.
    #[must_use]
    pub fn on_node(self, node: Option<Arc<str>>) -> Self {
        Self { node, ..self }
    }

    /// Checks and indexes entries that are all there is; `network` is the one this proxy is in.
    ///
    /// A workload may name services that are not here: it becomes their endpoint when they come.
    ///
    /// # Errors
    /// A key that appears twice, or what [`apply`](Self::apply) refuses.
    pub fn new(
        network: Arc<str>,
        workloads: Vec<Workload>,
        services: Vec<Service>,
        policies: Vec<Authorization>,
    ) -> Result<Self, MeshError> {
        let mut mesh = Self::empty(network);
        let services = services.into_iter().map(Change::Service);
        let workloads = workloads.into_iter().map(Change::Workload);
        for entry in services.chain(workloads).chain(policies.into_iter().map(Change::Policy)) {
            mesh.add(entry)?;
        }
        Ok(mesh)
    }

    /// As [`apply`](Self::apply), for entries that are all there is: one whose key is known already is refused.
    ///
    /// # Errors
    /// A key that is known, or what [`apply`](Self::apply) refuses.
    pub fn add(&mut self, entry: Change) -> Result<(), MeshError> {
        match &entry {
            Change::Workload(workload) if self.workload(&workload.uid).is_some() => {
                Err(MeshError::DuplicateWorkload(Arc::clone(&workload.uid)))
            }
            Change::Service(service) if self.service(&service.name).is_some() => {
                Err(MeshError::DuplicateService(service.name.clone()))
            }
            Change::Policy(policy) if self.policy(&policy.namespace, &policy.name).is_some() => {
                Err(MeshError::DuplicatePolicy(policy.policy_name()))
            }
            Change::Workload(_)
            | Change::Service(_)
            | Change::Policy(_)
            | Change::RemoveWorkload(_)
            | Change::RemoveService(_)
            | Change::RemovePolicy(_) => self.apply(entry),
        }
    }

    /// The network this proxy is in.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// How often the tables have changed. Changes that say what was known do not count.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// How many workloads there are.
    #[must_use]
    pub const fn workload_count(&self) -> usize {
        self.workloads.len()
    }

    /// All workloads, ordered by uid. Sorts them: for dumps, not for look-ups.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        let sorted: BTreeMap<&str, _> = self.workloads.iter().map(|entry| (&*entry.uid, entry)).collect();
        sorted.into_values()
    }

    /// All services, ordered by namespace and hostname. Sorts them: for dumps, not for look-ups.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        let known = self.services.iter().filter_map(|backed| Some((&backed.name, backed.service.as_ref()?)));
        known.collect::<BTreeMap<_, _>>().into_values()
    }

    /// Services of which only endpoints have come, ordered by namespace and hostname, with these endpoints whatever
    /// their health. Sorts them: for dumps, not for look-ups.
    pub fn staged_services(&self) -> impl Iterator<Item = (&ServiceName, Endpoints<'_>)> {
        let staged = self.services.iter().filter(|backed| backed.service.is_none());
        let endpoints =
            staged.map(|backed| (&backed.name, Endpoints { service: None, members: Some(&backed.members) }));
        endpoints.collect::<BTreeMap<_, _>>().into_iter()
    }

    /// All policies, ordered by namespace and name. Sorts them: for dumps, not for look-ups.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Authorization>> {
        let sorted: BTreeMap<_, _> =
            self.policies.iter().map(|entry| ((&*entry.namespace, &*entry.name), entry)).collect();
        sorted.into_values()
    }

    /// The workload of this uid.
    #[must_use]
    pub fn workload(&self, uid: &str) -> Option<&Arc<Workload>> {
        self.workloads.get([uid])
    }

    /// The workload that owns `address` in `network`. Of several, a pod is preferred, then one that speaks HBONE,
    /// then the lowest uid; host-network workloads own no address.
    #[must_use]
    pub fn workload_by_address(&self, network: &str, address: IpAddr) -> Option<&Arc<Workload>> {
        let address = halves(address);
        let mut here = self.by_address.range(address.0, |located| located.place(address, network));
        here.next().map(|located| &located.workload)
    }

    /// The workload of these names on this proxy's node, or on any where it does not know which that is; of several, that of the
    /// lowest uid. A pod of another cluster may have the same names, and so has, for a moment, one that has moved to another
    /// node (datapath §2.1).
    #[must_use]
    pub fn workload_by_name(
        &self,
        namespace: &str,
        name: &str,
        service_account: &str,
    ) -> Option<&Arc<Workload>> {
        let named = self.by_name.all([namespace, name, service_account]);
        let here = |workload: &&Arc<Workload>| match &self.node {
            Some(node) => workload.node == *node,
            None => true,
        };
        named.into_iter().find(here)
    }

    /// The workload that has this hostname, as gateways are referred to; of several, that of the lowest uid.
    #[must_use]
    pub fn workload_by_hostname(&self, name: &ServiceName) -> Option<&Arc<Workload>> {
        self.by_own_hostname.get([&name.namespace, &name.hostname])
    }

    /// The identities of the workloads on `node`; without one, of all workloads, which takes time in their number.
    #[must_use]
    pub fn identities_on(&self, node: Option<&str>) -> IdentitySet {
        let identity = |workload: &Arc<Workload>| workload.identity();
        match node {
            Some(node) => self.by_node.all([node]).map(identity).collect(),
            None => self.workloads.iter().map(identity).collect(),
        }
    }

    /// Whether a workload on `node` has this identity: its certificate is needed (interfaces §1.5). Without a node,
    /// whether any workload has, which takes time in their number.
    #[must_use]
    pub fn has_identity(&self, node: Option<&str>, identity: &Identity) -> bool {
        match node {
            Some(node) => {
                let key = [node, identity.trust_domain(), identity.namespace(), identity.service_account()];
                self.by_node.get(key).is_some()
            }
            None => self.workloads.iter().any(|workload| workload.identity_ref() == identity),
        }
    }

    /// Best service for a virtual address as `client_namespace` sees it: an exact address before ranges, the client's
    /// own namespace first, then the longest prefix, then a canonical service, then the lowest name.
    #[must_use]
    pub fn service_by_vip(
        &self,
        network: &str,
        vip: IpAddr,
        client_namespace: &str,
    ) -> Option<&Arc<Service>> {
        let ranges = self.ranges_at(network, vip);
        best(self.exactly_at(network, vip), client_namespace).or_else(|| {
            let visible = ranges.filter(|range| range.service.is_visible_to(client_namespace));
            let best = visible.min_by_key(|range| {
                let own = &*range.service.name.namespace == client_namespace;
                Reverse((own, range.cidr.prefix_len(), range.service.canonical))
            });
            best.map(|range| &range.service)
        })
    }

    /// Every service at a virtual address, whoever may see it: by exact address first, then by range, longest prefix
    /// first.
    pub fn services_at(&self, network: &str, vip: IpAddr) -> impl Iterator<Item = &Arc<Service>> {
        self.exactly_at(network, vip).chain(self.ranges_at(network, vip).map(|range| &range.service))
    }

    fn exactly_at(&self, network: &str, vip: IpAddr) -> impl Iterator<Item = &Arc<Service>> {
        let address = halves(vip);
        self.by_vip.range(address.0, move |vip| vip.place(address, network)).map(|vip| &vip.service)
    }

    /// The ranges that contain `vip`, the longest prefix first. Takes one search per length of prefix in use.
    fn ranges_at(&self, network: &str, vip: IpAddr) -> impl Iterator<Item = &Range> {
        let vip = vip.to_canonical();
        let mut wildcard = Some(0);
        let of_next_length = move || {
            let from = (network, vip.is_ipv6(), wildcard?);
            let longest = self.by_range.from(0, |range| range.class().cmp(&from)).next()?;
            let class = (network, vip.is_ipv6(), longest.class().2);
            if longest.class() != class {
                return None;
            }
            wildcard = class.2.checked_add(1);
            let prefix = IpNet::new(vip, longest.cidr.prefix_len()).ok()?.trunc().addr();
            Some(
                self.by_range.range(0, move |range| (range.class(), range.cidr.addr()).cmp(&(class, prefix))),
            )
        };
        iter::from_fn(of_next_length).flatten()
    }

    /// Best service for a hostname as `client_namespace` sees it, ranked as [`service_by_vip`](Self::service_by_vip).
    /// The hostname of a wildcard service is its `*.…`, which nothing else matches here.
    #[must_use]
    pub fn service_by_hostname(&self, hostname: &str, client_namespace: &str) -> Option<&Arc<Service>> {
        best(self.by_hostname.all([hostname]), client_namespace)
    }

    /// All services of a hostname, ordered by namespace, visible or not.
    pub fn services_by_hostname<'m, 'h>(
        &'m self,
        hostname: &'h str,
    ) -> impl Iterator<Item = &'m Arc<Service>> + use<'m, 'h> {
        self.by_hostname.all([hostname])
    }

    /// The service of exactly this name.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.backed(name)?.service.as_ref()
    }

    /// The workloads behind a service that its health policy accepts, ordered by uid; none behind an unknown one.
    #[must_use]
    pub fn endpoints(&self, name: &ServiceName) -> Endpoints<'_> {
        let known = self.backed(name).and_then(|backed| Some((&**backed.service.as_ref()?, &backed.members)));
        Endpoints { service: known.map(|(service, _)| service), members: known.map(|(_, members)| members) }
    }

    /// The workloads that name a service, known or not, whatever their health; ordered by uid. Traffic goes by
    /// [`endpoints`](Self::endpoints).
    #[must_use]
    pub fn members(&self, name: &ServiceName) -> Endpoints<'_> {
        Endpoints { service: None, members: self.backed(name).map(|backed| &backed.members) }
    }

    fn backed(&self, name: &ServiceName) -> Option<&Backed> {
        self.services.get([&name.namespace, &name.hostname])
    }

    /// The policy of this name.
    #[must_use]
    pub fn policy(&self, namespace: &str, name: &str) -> Option<&Arc<Authorization>> {
        self.policies.get([namespace, name])
    }

    /// The policies that bear on `workload`: global ones, those of its namespace, and those it lists. A listed key
    /// that names no policy comes out as `Err`. A policy may come twice.
    pub fn policies_for<'a>(
        &'a self,
        workload: &'a Workload,
    ) -> impl Iterator<Item = Result<&'a Arc<Authorization>, &'a Arc<str>>> {
        let of_scope = |scope| self.by_scope.all(scope_key(scope, &workload.namespace)).map(Ok);
        let listed = workload.authorization_policies.iter().map(|key| {
            let (namespace, name) = key.split_once('/').ok_or(key)?;
            self.policy(namespace, name).ok_or(key)
        });
        of_scope(PolicyScope::Global).chain(of_scope(PolicyScope::Namespace)).chain(listed)
    }
}

/// Visible services only; the client's namespace, then canonical, then the first.
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
