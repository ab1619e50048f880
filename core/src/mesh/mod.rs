//! The mesh's tables: workloads, services, policies, and look-ups in them (datapath §2.3).
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::hbone::baggage::WorkloadType;
use crate::identity::Identity;
use crate::policy::Authorization;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkAddress {
    pub network: Arc<str>,
    pub address: IpAddr,
}
/// `namespace/hostname`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    pub namespace: Arc<str>,
    pub hostname: Arc<str>,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TunnelProtocol {
    #[default]
    None,
    Hbone,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    #[default]
    Healthy,
    Unhealthy,
}
// … plus: NetworkMode, ApplicationTunnel, Locality, GatewayAddress, LoadBalancing{scopes, mode, health_policy}, IpFamilies, Visibility
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub uid: Arc<str>,
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub addresses: Vec<IpAddr>,
    pub network: Arc<str>,
    pub protocol: TunnelProtocol,
    pub trust_domain: Arc<str>,
    pub service_account: Arc<str>,
    pub node: Arc<str>,
    pub canonical_name: Arc<str>,
    pub canonical_revision: Arc<str>,
    pub workload_type: WorkloadType,
    pub workload_name: Arc<str>,
    pub cluster: Arc<str>,
    pub status: Health,
    pub capacity: u32,
    /// Service → (service port → target port).
    pub services: BTreeMap<ServiceName, BTreeMap<u16, u16>>,
    pub authorization_policies: Vec<Arc<str>>,
    // … the owner completes it: hostname, locality, network_mode, waypoint, network_gateway, application_tunnel, native_tunnel
}
impl Workload {
    /// Its SPIFFE identity, computed once.
    pub fn identity(&self) -> Identity {
        todo!()
    }
    pub fn baggage(&self) -> crate::hbone::Baggage {
        todo!()
    }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: ServiceName,
    pub addresses: Vec<NetworkAddress>,
    /// Service port → target port (0 = named).
    pub ports: BTreeMap<u16, u16>,
    pub subject_alt_names: Vec<Identity>,
    // … the owner completes it
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    #[error("workload {0} appears twice")]
    DuplicateWorkload(Arc<str>),
}
/// Everything known about the mesh; immutable, replaced whole, shared by all shards.
#[derive(Debug, Default)]
pub struct Mesh {
    _private: (),
}
impl Mesh {
    pub fn new(
        network: Arc<str>,
        workloads: Vec<Workload>,
        services: Vec<Service>,
        policies: Vec<Authorization>,
    ) -> Result<Self, MeshError> {
        todo!()
    }
    pub fn workload_by_address(&self, network: &str, address: IpAddr) -> Option<&Arc<Workload>> {
        todo!()
    }
    /// The workload this proxy stands for (dedicated mode).
    pub fn workload_by_name(
        &self,
        namespace: &str,
        name: &str,
        service_account: &str,
    ) -> Option<&Arc<Workload>> {
        todo!()
    }
    /// Best service for a VIP as `client_namespace` sees it.
    pub fn service_by_vip(
        &self,
        network: &str,
        vip: IpAddr,
        client_namespace: &str,
    ) -> Option<&Arc<Service>> {
        todo!()
    }
    pub fn service_by_hostname(&self, hostname: &str, client_namespace: &str) -> Option<&Arc<Service>> {
        todo!()
    }
}
