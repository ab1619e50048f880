//! The outbound decision (datapath §2.2): service, endpoint, address, protocol.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::balance;
use super::{Reason, Rng, RouteConfig};
use crate::hbone::Authority;
use crate::identity::IdentitySet;
use crate::mesh::{LoadBalancingMode, Mesh, Service, TunnelProtocol, Workload};

/// Where one captured connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundPlan {
    /// The next peer.
    pub hop: Hop,
    /// Who is at the other end, if the mesh knows.
    pub destination: Option<Arc<Workload>>,
    /// The service that was meant, if one was.
    pub service: Option<Arc<Service>>,
    /// Why, in the order of decision.
    pub reasons: Vec<Reason>,
}

/// The next peer of an outbound connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Plain TCP.
    Plain {
        /// The address to dial.
        to: SocketAddr,
    },
    /// A stream in a tunnel.
    Hbone {
        /// The other proxy.
        dial: SocketAddr,
        /// The CONNECT target.
        authority: Authority,
        /// Who the other proxy may be.
        expected: IdentitySet,
    },
}

/// Why a captured connection cannot be sent on; the texts are those operators match on (interfaces §6.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// A call to one of this proxy's own ports on loopback.
    #[error("attempted recursive call to ourselves")]
    Recursive,
    /// The service has no endpoint that may take the connection.
    #[error("no healthy upstream: {0}")]
    NoHealthyUpstream(SocketAddr),
    /// The workload has no address that may be dialled, or it is in another network.
    #[error("no valid routing destination for workload: {0}")]
    NoValidDestination(Arc<str>),
    /// The target is a workload of another network: only services can be reached there.
    #[error("no service for target address: {0}")]
    NoService(SocketAddr),
}

/// Plans one connection of `source`, captured on its way to `target`.
///
/// # Errors
/// See [`RouteError`]; the connection is then closed.
pub fn outbound(
    mesh: &Mesh,
    config: &RouteConfig,
    source: &Workload,
    target: SocketAddr,
    rng: &mut Rng,
) -> Result<OutboundPlan, RouteError> {
    let address = target.ip().to_canonical();
    let target = SocketAddr::new(address, target.port());
    if address.is_loopback() && config.is_illegal(target.port()) {
        return Err(RouteError::Recursive);
    }
    let mut reasons = Vec::new();
    let owner = mesh.workload_by_address(mesh.network(), address);
    if let Some(service) = mesh.service_by_vip(mesh.network(), address, &source.namespace) {
        reasons.push(Reason::Service(service.name.clone()));
        if service.load_balancing.mode == LoadBalancingMode::Passthrough {
            reasons.push(Reason::Passthrough);
            return Ok(passthrough(target, reasons));
        }
        if let Some(pick) = balance::pick(mesh, service, target.port(), source, rng) {
            let uid = Arc::clone(&pick.workload.uid);
            reasons.push(Reason::Endpoint { uid, eligible: pick.eligible, of: pick.of });
            if pick.port != target.port() {
                reasons.push(Reason::PortMapped { from: target.port(), to: pick.port });
            }
            return direct(config, source, target, pick.workload, Some(service), pick.port, reasons);
        }
        if owner.is_none() {
            return Err(RouteError::NoHealthyUpstream(target));
        }
        // ztunnel sends this in plaintext to the address itself; the owner may well speak HBONE.
        reasons.push(Reason::ServiceWithoutEndpoint);
    }
    if let Some(workload) = owner {
        reasons.push(Reason::Workload(Arc::clone(&workload.uid)));
        return direct(config, source, target, workload, None, target.port(), reasons);
    }
    reasons.push(Reason::NotInMesh);
    Ok(passthrough(target, reasons))
}

fn passthrough(to: SocketAddr, reasons: Vec<Reason>) -> OutboundPlan {
    OutboundPlan { hop: Hop::Plain { to }, destination: None, service: None, reasons }
}

/// To `workload` itself, at `port`.
fn direct(
    config: &RouteConfig,
    source: &Workload,
    target: SocketAddr,
    workload: &Arc<Workload>,
    service: Option<&Arc<Service>>,
    port: u16,
    mut reasons: Vec<Reason>,
) -> Result<OutboundPlan, RouteError> {
    if workload.network != source.network && service.is_none() {
        return Err(RouteError::NoService(target));
    }
    // Other networks are reached through gateways only, and no workload can name one yet.
    let address = (workload.network == source.network)
        .then(|| choose_address(workload, service.map(|service| &**service), target.ip()))
        .flatten()
        .ok_or_else(|| RouteError::NoValidDestination(Arc::clone(&workload.uid)))?;
    let to = SocketAddr::new(address, port);
    let hop = match workload.protocol {
        TunnelProtocol::None => {
            reasons.push(Reason::PlainEndpoint);
            Hop::Plain { to }
        }
        TunnelProtocol::Hbone => {
            reasons.push(Reason::Hbone);
            let alternatives =
                service.into_iter().flat_map(|service| service.subject_alt_names.iter().cloned());
            Hop::Hbone {
                dial: SocketAddr::new(address, config.hbone_port),
                authority: Authority::Address(to),
                expected: alternatives.chain([workload.identity()]).collect(),
            }
        }
    };
    Ok(OutboundPlan { hop, destination: Some(Arc::clone(workload)), service: service.cloned(), reasons })
}

/// Which of a workload's addresses to dial (datapath §2.5): the one asked for, else one which the service's families
/// allow, of the target's family if possible.
fn choose_address(workload: &Workload, service: Option<&Service>, target: IpAddr) -> Option<IpAddr> {
    let addresses = || workload.addresses.iter().map(IpAddr::to_canonical);
    if addresses().any(|address| address == target) {
        return Some(target);
    }
    let allowed = || addresses().filter(|address| service.is_none_or(|s| s.ip_families.allows(*address)));
    allowed().find(|address| address.is_ipv4() == target.is_ipv4()).or_else(|| allowed().next())
}

#[cfg(test)]
mod tests;
