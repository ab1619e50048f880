//! Kubernetes resources, and what a waypoint decides by: the same translation for manifests in a directory and for objects of
//! a cluster.
//!
//! ```text
//!   directory of manifests ─┐
//!                           ├─▶ Objects ── compile(World) ─▶ Compiled { Snapshot, problems, … }
//!   watches of a cluster ───┘
//! ```
//!
//! One translator per kind, each in a file of its own. Nothing that is written is ignored in silence: what is wrong or cannot be
//! done is a [`Problem`], and the effect is a refusal (status 500, a denial), never the rest of what was meant.
mod adit;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod directory;
pub mod documents;
mod gateway;
pub mod istio;
mod loaded;
mod object;
mod problem;
mod services;
pub mod status;
#[cfg(test)]
mod testing;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::l7::Snapshot;

pub use self::loaded::{Loaded, SourceProblem};
pub use self::object::{Object, ObjectError};
pub use self::problem::{ObjectName, Problem, Problems, Severity};
pub use self::world::World;

use self::gateway::{EXPERIMENTAL_GROUP, GATEWAY_GROUP, ISTIO_GROUP};
use self::istio::mesh_config::MeshConfig;
use self::services::Services;
use self::status::Status;

/// All objects that are known, each name once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects(BTreeMap<ObjectName, Arc<Object>>);

impl Objects {
    /// Adds an object; returns the one of the same name that it takes the place of.
    pub fn insert(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        self.0.insert(object.id(), object)
    }

    /// Takes an object away.
    pub fn remove(&mut self, name: &ObjectName) -> Option<Arc<Object>> {
        self.0.remove(name)
    }

    /// The object of a name.
    #[must_use]
    pub fn get(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.0.get(&ObjectName {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// All of a kind, in order of namespace and name.
    pub fn of(&self, group: &str, kind: &str) -> impl Iterator<Item = &Arc<Object>> {
        let empty: Arc<str> = "".into();
        let start =
            ObjectName { group: group.into(), kind: kind.into(), namespace: Arc::clone(&empty), name: empty };
        let (group, kind) = (Arc::clone(&start.group), Arc::clone(&start.kind));
        let here = self.0.range(start..).map(|(_, object)| object);
        here.take_while(move |object| object.group == group && object.kind == kind)
    }

    /// All of a kind, the oldest first, and of one age in order of namespace and name: where several say something of the same
    /// thing, the first counts.
    #[must_use]
    pub fn by_age(&self, group: &str, kind: &str) -> Vec<&Arc<Object>> {
        let mut objects: Vec<_> = self.of(group, kind).collect();
        objects.sort_by_key(|object| object.created);
        objects
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.0.values()
    }
}

impl FromIterator<Arc<Object>> for Objects {
    /// Of several with one name the last one counts.
    fn from_iter<T: IntoIterator<Item = Arc<Object>>>(objects: T) -> Self {
        Self(objects.into_iter().map(|object| (object.id(), object)).collect())
    }
}

/// What resources come to.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What is decided by.
    pub snapshot: Arc<Snapshot>,
    /// What is wrong with them, in order of the objects.
    pub problems: Vec<Problem>,
    /// What is said of them in a cluster.
    pub statuses: Vec<Status>,
}

/// Kinds that are read: by a translator, or because others refer to them. Their groups and names.
const KINDS: [(&str, &str); 21] = [
    ("", "ConfigMap"),
    ("", "Namespace"),
    ("", "Secret"),
    ("", "Service"),
    (GATEWAY_GROUP, "BackendTLSPolicy"),
    (GATEWAY_GROUP, "GRPCRoute"),
    (GATEWAY_GROUP, "Gateway"),
    (GATEWAY_GROUP, "GatewayClass"),
    (GATEWAY_GROUP, "HTTPRoute"),
    (GATEWAY_GROUP, "ReferenceGrant"),
    (GATEWAY_GROUP, "TCPRoute"),
    (GATEWAY_GROUP, "TLSRoute"),
    (EXPERIMENTAL_GROUP, "XBackendTrafficPolicy"),
    (ISTIO_GROUP, "DestinationRule"),
    (ISTIO_GROUP, "ServiceEntry"),
    (ISTIO_GROUP, "VirtualService"),
    (adit::GROUP, adit::KINDS[0]),
    (adit::GROUP, adit::KINDS[1]),
    (istio::SECURITY_GROUP, istio::SECURITY_KINDS[0]),
    (istio::SECURITY_GROUP, istio::SECURITY_KINDS[1]),
    (istio::telemetry::GROUP, "Telemetry"),
];

/// Translates `objects` for the waypoint that `world` says.
#[must_use]
pub fn compile(objects: &Objects, world: &World) -> Compiled {
    let mut problems = Problems::default();
    for object in objects.iter().filter(|object| !KINDS.contains(&(&*object.group, &*object.kind))) {
        let text = format!("{} of group {:?} is not supported and has no effect", object.kind, object.group);
        problems.push(object.id(), "kind", Severity::Unsupported, text);
    }
    let services = Services::new(objects, world, &mut problems);
    let config = MeshConfig::of(objects, world, &mut problems);
    let mut destinations = istio::destination_rule::translate(objects, world, &mut problems);
    let virtual_services =
        istio::virtual_service::translate(objects, world, &services, &destinations, &mut problems);
    let gateway = gateway::translate(objects, world, &services, virtual_services, &mut problems);
    for (service, share) in gateway.retry_budgets {
        destinations.insert_retry_share(service, share);
    }
    istio::virtual_service::give_way(&gateway.frontends, &mut problems);
    let security = istio::security(objects, world, &services, &config, &mut problems);
    let snapshot = Snapshot {
        frontends: gateway.frontends,
        protocols: services.protocols(),
        backend_tls: gateway.backend_tls,
        destinations,
        faults: adit::faults(objects, world, &services, &mut problems),
        rates: adit::rates(objects, world, &services, &mut problems),
        policies: security.policies,
        authentications: security.authentications,
        trusted_hops: security.trusted_hops,
        client_identity: gateway.client_identity,
        telemetry: istio::telemetry::translate(objects, world, &services, &config, &mut problems),
    };
    Compiled { snapshot: Arc::new(snapshot), problems: problems.into_sorted(), statuses: gateway.statuses }
}

#[cfg(test)]
mod tests;
