//! What a CONNECT to a waypoint asks for, and whether this waypoint stands in front of that (waypoint.md §3.8, §3.9).
use alloc::string::ToString;
use alloc::sync::Arc;
use core::net::SocketAddr;

use super::gateway;
use crate::hbone::Authority;
use crate::mesh::{Mesh, Service, Workload};

/// Who is behind the waypoint for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fronted {
    /// A service: the waypoint chooses the endpoint, and the service's routes and policies hold.
    Service(Arc<Service>),
    /// A workload, asked for by its own address: it is the endpoint.
    Workload(Arc<Workload>),
}

impl Fronted {
    /// The service, if it is one.
    #[must_use]
    pub const fn service(&self) -> Option<&Arc<Service>> {
        match self {
            Self::Service(service) => Some(service),
            Self::Workload(_) => None,
        }
    }
}

/// What a CONNECT to a waypoint asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontPlan {
    /// Who is meant.
    pub target: Fronted,
    /// The port: of a service its own, of a workload the pod's.
    pub port: u16,
    /// The address asked for; `None`: it was asked for by name.
    pub address: Option<SocketAddr>,
}

/// Why a waypoint refuses a CONNECT. Nothing is ever dialled only because somebody asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrontError {
    /// Nothing is known at this address or under this name.
    #[error("nothing is known at {0}: the mesh has neither a service nor a workload there")]
    Unknown(Arc<str>),
    /// It is known, and has another waypoint or none.
    #[error("this waypoint does not stand in front of {0}: see its label istio.io/use-waypoint")]
    NotOurs(Arc<str>),
    /// The service has no such port.
    #[error("service {0} has no port {1}")]
    NoPort(Arc<str>, u16),
}

impl FrontError {
    /// The status with which a CONNECT is answered.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Unknown(_) | Self::NoPort(..) => 404,
            Self::NotOurs(_) => 403,
        }
    }
}

/// Decides who is meant by `authority`, asked of the waypoint that `local` is.
///
/// # Errors
/// See [`FrontError`].
pub fn front(mesh: &Mesh, local: &Workload, authority: &Authority) -> Result<FrontPlan, FrontError> {
    match authority {
        Authority::Address(asked) => by_address(mesh, local, *asked),
        Authority::Host { host, port } => by_hostname(mesh, local, host, *port),
    }
}

fn by_address(mesh: &Mesh, local: &Workload, asked: SocketAddr) -> Result<FrontPlan, FrontError> {
    let asked = SocketAddr::new(asked.ip().to_canonical(), asked.port());
    let (network, address, port) = (mesh.network(), asked.ip(), asked.port());
    let mut known = false;
    for service in mesh.services_at(network, address) {
        known = true;
        if is_ours(mesh, service, local) {
            return of_service(service, port, Some(asked));
        }
    }
    if let Some(owner) = mesh.workload_by_address(network, address) {
        known = true;
        if is_workload_ours(mesh, owner, local) {
            let target = Fronted::Workload(Arc::clone(owner));
            return Ok(FrontPlan { target, port, address: Some(asked) });
        }
    }
    let asked = asked.to_string().into();
    Err(if known { FrontError::NotOurs(asked) } else { FrontError::Unknown(asked) })
}

fn by_hostname(mesh: &Mesh, local: &Workload, host: &Arc<str>, port: u16) -> Result<FrontPlan, FrontError> {
    let mut known = false;
    for service in mesh.services_by_hostname(host) {
        known = true;
        if is_ours(mesh, service, local) {
            return of_service(service, port, None);
        }
    }
    Err(if known { FrontError::NotOurs(Arc::clone(host)) } else { FrontError::Unknown(Arc::clone(host)) })
}

fn of_service(
    service: &Arc<Service>,
    port: u16,
    address: Option<SocketAddr>,
) -> Result<FrontPlan, FrontError> {
    if !service.ports.contains_key(&port) {
        return Err(FrontError::NoPort(Arc::clone(&service.name.hostname), port));
    }
    Ok(FrontPlan { target: Fronted::Service(Arc::clone(service)), port, address })
}

/// Whether the waypoint is the service's, or one of its weighted ones, whatever their weights: a client may have drawn it
/// before they changed.
fn is_ours(mesh: &Mesh, service: &Service, local: &Workload) -> bool {
    let weighted = service.weighted_waypoints.iter().map(|waypoint| &waypoint.gateway);
    service.waypoint.iter().chain(weighted).any(|waypoint| gateway::is_behind(mesh, waypoint, local))
}

fn is_workload_ours(mesh: &Mesh, owner: &Workload, local: &Workload) -> bool {
    owner.waypoint.as_ref().is_some_and(|waypoint| gateway::is_behind(mesh, waypoint, local))
}

#[cfg(test)]
mod tests;
