//! Who we are, as far as resources are read differently by different waypoints.
use std::collections::BTreeSet;
use std::sync::Arc;

use adit_core::mesh::ServiceName;

/// The waypoint that resources are read for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// Domain of the cluster's services.
    pub cluster_domain: Arc<str>,
    /// Trust domain of the mesh.
    pub trust_domain: Arc<str>,
    /// Namespace whose policies are for the whole mesh (Istio: `rootNamespace`).
    pub root_namespace: Arc<str>,
    /// Namespace of our Gateway, which is also that of our pods.
    pub namespace: Arc<str>,
    /// Name of our Gateway.
    pub gateway: Arc<str>,
    /// Classes of Gateways that are ours (`gatewayClassName`).
    pub classes: BTreeSet<Arc<str>>,
}

impl World {
    /// The class that Adit's chart installs.
    pub const CLASS: &str = "adit-waypoint";

    /// The waypoint of a Gateway, in a mesh that leaves everything as Istio has it.
    #[must_use]
    pub fn new(namespace: &str, gateway: &str) -> Self {
        Self {
            cluster_domain: "cluster.local".into(),
            trust_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            namespace: namespace.into(),
            gateway: gateway.into(),
            classes: BTreeSet::from([Self::CLASS.into()]),
        }
    }

    /// Whether a Gateway of this namespace and name is the one that we are.
    #[must_use]
    pub fn is_gateway(&self, namespace: &str, name: &str) -> bool {
        (namespace, name) == (&*self.namespace, &*self.gateway)
    }

    /// The mesh's name for a Kubernetes Service.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> ServiceName {
        let hostname = format!("{name}.{namespace}.svc.{}", self.cluster_domain);
        ServiceName { namespace: namespace.into(), hostname: hostname.into() }
    }
}
