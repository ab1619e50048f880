//! A workload: one application instance, with or without a proxy of its own (`istio.workload.Workload`).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::{Deref, DerefMut};

use super::{GatewayAddress, Memberships};
use crate::hbone::Baggage;
use crate::hbone::baggage::WorkloadType;
use crate::identity::Identity;

/// How a workload wants to be spoken to (`tunnel_protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TunnelProtocol {
    /// Plain TCP: the workload is outside the mesh.
    #[default]
    None,
    /// HTTP/2 CONNECT over mutual TLS.
    Hbone,
}

/// Whether a workload should get traffic through services (`status`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Ready.
    #[default]
    Healthy,
    /// Not ready, or shutting down.
    Unhealthy,
}

/// Whose network a workload lives in (`network_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkMode {
    /// It has addresses of its own.
    #[default]
    Standard,
    /// It shares the node's addresses, which therefore do not identify it.
    HostNetwork,
}

/// Where a workload runs (`locality`); empty parts are unknown, and equal to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// For example `us-east1`.
    pub region: Arc<str>,
    /// For example `us-east1-b`.
    pub zone: Arc<str>,
    /// A finer part of the zone.
    pub subzone: Arc<str>,
}

/// What an application is told about a connection before its octets (`ApplicationTunnel.Protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApplicationProtocol {
    /// Nothing.
    #[default]
    None,
    /// A PROXY protocol header, version 2, with the client's identity (datapath §5.4).
    Proxy,
}

/// How admitted traffic reaches the application (`application_tunnel`, datapath §5.4).
///
/// A workload that has one takes CONNECT targets with any address (datapath §5.3 b).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationTunnel {
    /// What the application is told first.
    pub protocol: ApplicationProtocol,
    /// Port that every admitted connection is sent to; `None` keeps the port asked for.
    pub port: Option<u16>,
}

/// What the replicas of an application have in common. A mesh has few of these for many workloads, so each is kept once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Common {
    /// Name to resolve where it has no address (`hostname`); empty for none.
    pub hostname: Arc<str>,
    /// Network in which its addresses are meaningful; empty for a mesh of one network.
    pub network: Arc<str>,
    /// Whether its addresses are the node's.
    pub network_mode: NetworkMode,
    /// The waypoint that speaks for it to clients which address it directly (`waypoint`).
    pub waypoint: Option<Arc<GatewayAddress>>,
    /// The gateway through which it is reached from other networks (`network_gateway`).
    pub network_gateway: Option<Arc<GatewayAddress>>,
    /// It terminates HBONE itself (`native_tunnel`). Only decides whose certificates are fetched in advance.
    pub native_tunnel: bool,
    /// How admitted traffic reaches the application.
    pub application_tunnel: Option<ApplicationTunnel>,
    /// Canonical service name, for telemetry.
    pub canonical_name: Arc<str>,
    /// Canonical service revision, for telemetry.
    pub canonical_revision: Arc<str>,
    /// Kind of its owner, for telemetry.
    pub workload_type: WorkloadType,
    /// Name of its owner, for telemetry.
    pub workload_name: Arc<str>,
    /// Cluster it belongs to (`cluster_id`).
    pub cluster: Arc<str>,
    /// Where it runs.
    pub locality: Locality,
    /// Keys (`namespace/name`) of the policies that select it.
    pub authorization_policies: Vec<Arc<str>>,
}

/// One application instance, with or without a proxy of its own. What it has in [`Common`] with its replicas are fields of
/// its own to whoever reads or writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Primary key (`uid`), such as `Kubernetes//Pod/default/web-0`.
    pub uid: Arc<str>,
    /// Name of the pod or machine (`name`).
    pub name: Arc<str>,
    /// Namespace; always that of [`identity`](Self::identity), which [`Mesh::apply`](super::Mesh::apply) checks.
    pub namespace: Arc<str>,
    identity: Identity,
    common: Arc<Common>,
    /// Addresses of its own; may be empty.
    pub addresses: Vec<IpAddr>,
    /// How it wants to be spoken to.
    pub protocol: TunnelProtocol,
    /// Node (host) it runs on.
    pub node: Arc<str>,
    /// Whether services send traffic to it.
    pub status: Health,
    /// Weight among the endpoints of a service; 0 takes no traffic.
    pub capacity: u32,
    /// Services it is an endpoint of: service port → port of this workload, where it differs from the service's own.
    pub services: Memberships,
}

impl Deref for Workload {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl DerefMut for Workload {
    /// Takes a copy first, if others have the same.
    fn deref_mut(&mut self) -> &mut Common {
        Arc::make_mut(&mut self.common)
    }
}

impl Workload {
    /// A healthy plain-TCP workload without addresses or services and with the defaults of datapath §2.3
    /// (cluster `Kubernetes`, capacity 1); its namespace is that of `identity`.
    #[must_use]
    pub fn new(uid: &str, name: &str, identity: Identity) -> Self {
        let common = Common {
            hostname: Arc::default(),
            network: Arc::default(),
            network_mode: NetworkMode::default(),
            waypoint: None,
            network_gateway: None,
            native_tunnel: false,
            application_tunnel: None,
            canonical_name: Arc::default(),
            canonical_revision: Arc::default(),
            workload_type: WorkloadType::Deployment,
            workload_name: Arc::default(),
            cluster: "Kubernetes".into(),
            locality: Locality::default(),
            authorization_policies: Vec::new(),
        };
        Self {
            uid: uid.into(),
            name: name.into(),
            namespace: identity.namespace().into(),
            identity,
            common: Arc::new(common),
            addresses: Vec::new(),
            protocol: TunnelProtocol::default(),
            node: Arc::default(),
            status: Health::default(),
            capacity: 1,
            services: Memberships::default(),
        }
    }

    /// For the tables, which put an equal one in its place.
    pub(super) const fn common_mut(&mut self) -> &mut Arc<Common> {
        &mut self.common
    }

    /// Its SPIFFE identity; a cheap copy.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// The same identity, borrowed.
    #[must_use]
    pub const fn identity_ref(&self) -> &Identity {
        &self.identity
    }

    /// For the tables, which put an equal one in its place.
    pub(super) const fn identity_mut(&mut self) -> &mut Identity {
        &mut self.identity
    }

    /// What the `baggage` header says about it (datapath §3.2); empty values are left out.
    #[must_use]
    pub fn baggage(&self) -> Baggage {
        let set = |value: &Arc<str>| (!value.is_empty()).then(|| Arc::clone(value));
        Baggage {
            cluster: set(&self.cluster),
            namespace: set(&self.namespace),
            workload_type: Some(self.workload_type),
            workload_name: set(&self.workload_name),
            service_name: set(&self.canonical_name),
            service_version: set(&self.canonical_revision),
            region: set(&self.locality.region),
            zone: set(&self.locality.zone),
        }
    }
}
