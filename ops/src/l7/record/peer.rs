//! A client or an endpoint, as metrics, logs and spans name it.
use std::sync::Arc;

use adit_core::hbone::Baggage;
use adit_core::hbone::baggage::WorkloadType;
use adit_core::identity::Identity;
use adit_core::mesh::Workload;

/// Who one end is. Make it once per workload and tunnel and share it: equal ones are found fastest by their address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Name of the pod's owner (`*_workload`); an empty text is unknown, here as below.
    pub workload: Arc<str>,
    /// Namespace; of the identity, when there is one.
    pub namespace: Arc<str>,
    /// Identity: the client's as it has proven it, the endpoint's as the tables give it.
    pub principal: Option<Identity>,
    /// `*_app`.
    pub app: Arc<str>,
    /// `*_version`.
    pub version: Arc<str>,
    /// `*_canonical_service`.
    pub canonical_service: Arc<str>,
    /// `*_canonical_revision`.
    pub canonical_revision: Arc<str>,
    /// `*_cluster`.
    pub cluster: Arc<str>,
    /// Kind of the pod's owner.
    pub workload_type: Option<WorkloadType>,
    /// Name of the pod.
    pub instance: Arc<str>,
}

impl Peer {
    /// The workload of the tables; `proven` is the identity of its certificate, if it is a client that has shown one.
    #[must_use]
    pub fn of(workload: &Workload, proven: Option<&Identity>) -> Self {
        let principal = proven.unwrap_or_else(|| workload.identity_ref()).clone();
        let namespace = match principal.namespace() == &*workload.namespace {
            true => Arc::clone(&workload.namespace),
            false => principal.namespace().into(),
        };
        Self {
            workload: Arc::clone(&workload.workload_name),
            namespace,
            principal: Some(principal),
            app: Arc::clone(&workload.canonical_name),
            version: Arc::clone(&workload.canonical_revision),
            canonical_service: Arc::clone(&workload.canonical_name),
            canonical_revision: Arc::clone(&workload.canonical_revision),
            cluster: Arc::clone(&workload.cluster),
            workload_type: Some(workload.workload_type),
            instance: Arc::clone(&workload.name),
        }
    }

    /// Whoever is not in the tables: as its proxy describes it, and who it has proven to be.
    #[must_use]
    pub fn described(baggage: Option<&Baggage>, proven: Option<&Identity>) -> Self {
        let said = |text: Option<&Arc<str>>| text.map(Arc::clone).unwrap_or_default();
        let part =
            |of: fn(&Baggage) -> &Option<Arc<str>>| said(baggage.and_then(|baggage| of(baggage).as_ref()));
        let revision = part(|baggage| &baggage.service_version);
        let service = part(|baggage| &baggage.service_name);
        let namespace = match proven {
            Some(identity) => identity.namespace().into(),
            None => part(|baggage| &baggage.namespace),
        };
        Self {
            workload: part(|baggage| &baggage.workload_name),
            namespace,
            principal: proven.cloned(),
            app: Arc::clone(&service),
            version: Arc::clone(&revision),
            canonical_service: service,
            canonical_revision: revision,
            cluster: part(|baggage| &baggage.cluster),
            workload_type: baggage.and_then(|baggage| baggage.workload_type),
            instance: Arc::default(),
        }
    }
}
