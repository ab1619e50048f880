//! What references to waypoints and network gateways stand for (datapath §2.6, §2.7, §5.3 c).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::Reason;
use super::balance::{self, PortRule};
use crate::identity::IdentitySet;
use crate::mesh::{
    GatewayAddress, GatewayTarget, LoadBalancingMode, Mesh, NetworkAddress, Service, ServiceName,
    WeightedWaypoint, Workload,
};
use crate::rng::Rng;

/// A reference as messages name it: `namespace/hostname:port` or `network/address:port`.
pub(crate) struct Named<'a>(pub(crate) &'a GatewayAddress);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.0.hbone_port;
        match &self.0.target {
            GatewayTarget::Hostname(name) => write!(f, "{name}:{port}"),
            GatewayTarget::Address(NetworkAddress { network, address: IpAddr::V6(ip) }) => {
                write!(f, "{network}/[{ip}]:{port}")
            }
            GatewayTarget::Address(NetworkAddress { network, address }) => {
                write!(f, "{network}/{address}:{port}")
            }
        }
    }
}

/// One workload behind a reference, drawn for one connection.
pub(super) struct Gateway<'a> {
    pub(super) workload: &'a Arc<Workload>,
    /// The service that leads to it, if one does.
    pub(super) service: Option<&'a Arc<Service>>,
    /// Its HBONE port.
    pub(super) port: u16,
    /// Which of its addresses to prefer: the referenced one, else one of the family of the client's target.
    pub(super) near: IpAddr,
}

impl Gateway<'_> {
    /// Who may answer for it.
    pub(super) fn expected(&self) -> IdentitySet {
        accepted(self.service.map(|service| &**service), self.workload)
    }
}

/// Who may answer for `workload`, reached through `service`.
pub(super) fn accepted(service: Option<&Service>, workload: &Workload) -> IdentitySet {
    let alternatives = service.into_iter().flat_map(|service| service.subject_alt_names.iter().cloned());
    alternatives.chain([workload.identity()]).collect()
}

/// Draws the workload behind `gateway` for a connection of `source` to `target`. `None`: nothing is there, or nothing
/// that may take it.
pub(super) fn find<'a>(
    mesh: &'a Mesh,
    gateway: &GatewayAddress,
    rule: PortRule,
    (source, target): (&Workload, IpAddr),
    rng: &mut Rng,
    reasons: &mut Vec<Reason>,
) -> Option<Gateway<'a>> {
    let near = match &gateway.target {
        GatewayTarget::Address(at) => at.address.to_canonical(),
        GatewayTarget::Hostname(_) => target,
    };
    let Some(service) = service_of(mesh, gateway, &source.namespace) else {
        let workload = match &gateway.target {
            GatewayTarget::Address(at) => {
                let workload = mesh.workload_by_address(&at.network, at.address)?;
                reasons.push(Reason::Workload(Arc::clone(&workload.uid)));
                workload
            }
            GatewayTarget::Hostname(name) => {
                let workload = mesh.workload_by_hostname(name)?;
                reasons.push(Reason::GatewayWorkload(Arc::clone(&workload.uid)));
                workload
            }
        };
        return Some(Gateway { workload, service: None, port: gateway.hbone_port, near });
    };
    if service.load_balancing.mode == LoadBalancingMode::Passthrough {
        return None;
    }
    let pick = balance::pick(mesh, service, gateway.hbone_port, source, rule, rng)?;
    reasons.push(pick.reason());
    if pick.port != gateway.hbone_port {
        reasons.push(Reason::PortMapped { from: gateway.hbone_port, to: pick.port });
    }
    Some(Gateway { workload: pick.workload, service: Some(service), port: pick.port, near })
}

/// The service that a reference names, as clients of `namespace` see it.
pub(crate) fn service_of<'a>(
    mesh: &'a Mesh,
    gateway: &GatewayAddress,
    namespace: &str,
) -> Option<&'a Arc<Service>> {
    match &gateway.target {
        GatewayTarget::Address(at) => mesh.service_by_vip(&at.network, at.address, namespace),
        GatewayTarget::Hostname(name) => mesh.service(name),
    }
}

/// The waypoint that takes one connection to `service`: drawn from the weighted ones, else the plain one.
pub(super) fn waypoint_of<'a>(
    service: &'a Service,
    rng: &mut Rng,
    reasons: &mut Vec<Reason>,
) -> Option<&'a Arc<GatewayAddress>> {
    let weight = |waypoint: &WeightedWaypoint| u64::from(waypoint.weight);
    if let Some(drawn) = rng.weighted(&service.weighted_waypoints, weight) {
        let of = service.weighted_waypoints.iter().map(weight).fold(0, u64::saturating_add);
        reasons.push(Reason::WaypointDrawn { weight: drawn.weight, of });
        return Some(&drawn.gateway);
    }
    if !service.weighted_waypoints.is_empty() {
        reasons.push(Reason::WaypointsWeighNothing);
    }
    service.waypoint.as_ref()
}

/// Whether `workload` is (one of those) behind `gateway`.
pub(super) fn is_behind(mesh: &Mesh, gateway: &GatewayAddress, workload: &Workload) -> bool {
    match &gateway.target {
        GatewayTarget::Address(NetworkAddress { network, address }) => {
            let address = address.to_canonical();
            match mesh.workload_by_address(network, address) {
                // Several entries may describe what is at one address.
                Some(owner) => owner.uid == workload.uid || owns(workload, network, address),
                None => {
                    let mut services = workload.services.keys().filter_map(|name| mesh.service(name));
                    services.any(|service| has_vip(service, network, address))
                }
            }
        }
        GatewayTarget::Hostname(name) => match mesh.service(name) {
            Some(_) => workload.services.contains_key(name),
            None => is_named(workload, name),
        },
    }
}

fn owns(workload: &Workload, network: &str, address: IpAddr) -> bool {
    &*workload.network == network && workload.addresses.iter().any(|own| own.to_canonical() == address)
}

fn has_vip(service: &Service, network: &str, vip: IpAddr) -> bool {
    let exact = service.addresses.iter().any(|a| &*a.network == network && a.address.to_canonical() == vip);
    exact || service.cidrs.iter().any(|range| &*range.network == network && range.cidr.contains(&vip))
}

fn is_named(workload: &Workload, name: &ServiceName) -> bool {
    !workload.hostname.is_empty()
        && workload.hostname == name.hostname
        && workload.namespace == name.namespace
}
