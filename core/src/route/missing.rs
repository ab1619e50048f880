//! What a decision has looked for in the tables in vain: the names under which on-demand discovery may ask for it
//! (interfaces §1.4, datapath §2.3).

use core::fmt;
use core::net::IpAddr;

use alloc::sync::Arc;

use super::{AdmitError, OutboundPlan, Reason, RouteError};
use crate::mesh::{GatewayAddress, GatewayTarget, Mesh, NetworkAddress, ServiceName, Workload};

/// Something that the tables do not hold, and that a decision depends on. Its text is the key of a demand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// What is at this address: `network/ip`.
    Address(NetworkAddress),
    /// The service, or the workload, of this hostname: `namespace/hostname`.
    Host(ServiceName),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(NetworkAddress { network, address }) => {
                write!(f, "{network}/{}", address.to_canonical())
            }
            Self::Host(name) => write!(f, "{name}"),
        }
    }
}

impl Missing {
    /// What an outbound decision for `target` lacked. Loopback is nobody's in the mesh.
    #[must_use]
    pub fn outbound(mesh: &Mesh, target: IpAddr, outcome: &Result<OutboundPlan, RouteError>) -> Option<Self> {
        match outcome {
            Ok(plan) if plan.reasons.last() == Some(&Reason::NotInMesh) && !target.is_loopback() => {
                Self::at(mesh, mesh.network(), target)
            }
            Err(RouteError::UnknownWaypoint(gateway) | RouteError::UnknownNetworkGateway(gateway)) => {
                Self::gateway(mesh, gateway)
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// What the refusal of a CONNECT to `local` lacked: what is at the address asked for, its waypoint, or the service
    /// of the hostname.
    #[must_use]
    pub fn inbound(mesh: &Mesh, local: &Workload, error: &AdmitError) -> Option<Self> {
        match error {
            AdmitError::IpMismatch { authority, .. } => {
                let (network, address) = (mesh.network(), *authority);
                if let Some(missing) = Self::at(mesh, network, address) {
                    return Some(missing);
                }
                if let Some(owner) = mesh.workload_by_address(network, address) {
                    return owner.waypoint.as_ref().and_then(|waypoint| Self::gateway(mesh, waypoint));
                }
                let waypoints = mesh.services_at(network, address).flat_map(|service| {
                    let weighted = service.weighted_waypoints.iter().map(|weighted| &weighted.gateway);
                    service.waypoint.iter().chain(weighted)
                });
                waypoints.filter_map(|waypoint| Self::gateway(mesh, waypoint)).next()
            }
            AdmitError::UnknownHost(host) => {
                let namespace = namespace_of(host).map_or_else(|| Arc::clone(&local.namespace), Arc::from);
                let missing = Self::Host(ServiceName { namespace, hostname: Arc::clone(host) });
                (!missing.is_in(mesh)).then_some(missing)
            }
            AdmitError::Recursive | AdmitError::UnresolvedPort { .. } | AdmitError::NoAddress(_) => None,
        }
    }

    /// `address` of `network`, where nothing is known to be.
    #[must_use]
    pub fn at(mesh: &Mesh, network: &str, address: IpAddr) -> Option<Self> {
        if is_at(mesh, network, address) {
            return None;
        }
        Some(Self::Address(NetworkAddress { network: network.into(), address: address.to_canonical() }))
    }

    fn gateway(mesh: &Mesh, gateway: &GatewayAddress) -> Option<Self> {
        let missing = match &gateway.target {
            GatewayTarget::Address(at) => Self::Address(at.clone()),
            GatewayTarget::Hostname(name) => Self::Host(name.clone()),
        };
        (!missing.is_in(mesh)).then_some(missing)
    }

    /// Whether the tables hold it by now.
    #[must_use]
    pub fn is_in(&self, mesh: &Mesh) -> bool {
        match self {
            Self::Address(NetworkAddress { network, address }) => is_at(mesh, network, *address),
            Self::Host(name) => mesh.service(name).is_some() || mesh.workload_by_hostname(name).is_some(),
        }
    }
}

fn is_at(mesh: &Mesh, network: &str, address: IpAddr) -> bool {
    mesh.workload_by_address(network, address).is_some()
        || mesh.services_at(network, address).next().is_some()
}

/// The namespace that a Kubernetes hostname (`name.namespace.svc.…`) names.
fn namespace_of(host: &str) -> Option<&str> {
    let mut labels = host.split('.').skip(1);
    let namespace = labels.next()?;
    (labels.next()? == "svc").then_some(namespace)
}

#[cfg(test)]
mod tests;
