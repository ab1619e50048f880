//! The outbound decision (datapath §2.2): service, waypoint, endpoint, network, address, protocol.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::balance::{self, PortRule};
use super::gateway::{self, Named};
use super::hop::{Hop, Resolve, Shape};
use super::{Reason, RouteConfig};
use crate::hbone::Authority;
use crate::mesh::{GatewayAddress, LoadBalancingMode, Mesh, Service, ServiceName, TunnelProtocol, Workload};
use crate::rng::Rng;

/// Where one captured connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundPlan {
    /// The next peer.
    pub hop: Hop,
    /// Who the next peer is, if the mesh knows: the destination itself, its waypoint, or a network gateway.
    pub destination: Option<Arc<Workload>>,
    /// The service that was meant, if one was.
    pub service: Option<Arc<Service>>,
    /// The waypoint it goes through, if any; one in another network stands behind its gateway.
    pub waypoint: Option<Arc<GatewayAddress>>,
    /// Why, in the order of decision.
    pub reasons: Vec<Reason>,
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
    /// The workload has no address that may be dialled, or is in another network without a gateway.
    #[error("no valid routing destination for workload: {0}")]
    NoValidDestination(Arc<str>),
    /// The target is a workload of another network: only services can be reached there.
    #[error("no service for target address: {0}")]
    NoService(SocketAddr),
    /// The waypoint is not in the tables, or has no endpoint: nothing goes around it.
    #[error("unknown waypoint: waypoint {} not found", Named(.0))]
    UnknownWaypoint(Arc<GatewayAddress>),
    /// The gateway of the other network is not in the tables, or has no endpoint.
    #[error("unknown network gateway: network gateway {} not found", Named(.0))]
    UnknownNetworkGateway(Arc<GatewayAddress>),
    /// The hostname of the workload has no address.
    #[error("no ip addresses were resolved for workload: {0}")]
    NotResolved(Arc<str>),
}

/// An endpoint that somebody else has chosen: a waypoint, which balances by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Towards {
    /// The endpoint's uid.
    pub workload: Arc<str>,
    /// Its port.
    pub port: u16,
    /// The service it is an endpoint of, if it was chosen for one.
    pub service: Option<ServiceName>,
    /// What the client had asked for, as far as it is known: its family is preferred, its port told to other networks.
    pub target: SocketAddr,
    /// Whose connection it was; told in `forwarded`.
    pub client: SocketAddr,
}

/// Plans a connection of `source` to an endpoint that is chosen already. Nobody's waypoint is asked: that was us.
///
/// # Errors
/// See [`RouteError`].
pub(crate) fn towards(
    mesh: &Mesh,
    config: &RouteConfig,
    source: &Workload,
    to: &Towards,
    rng: &mut Rng,
) -> Result<OutboundPlan, RouteError> {
    let workload = mesh.workload(&to.workload);
    let workload = workload.ok_or_else(|| RouteError::NoValidDestination(Arc::clone(&to.workload)))?;
    let service = to.service.as_ref().and_then(|name| mesh.service(name));
    let target = SocketAddr::new(to.target.ip().to_canonical(), to.target.port());
    let mut reasons = alloc::vec![Reason::Workload(Arc::clone(&workload.uid))];
    let planner = Planner { mesh, config, source, target, rng, reasons: &mut reasons };
    planner.send(workload, service, to.port, false)
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
    outbound_told(mesh, config, source, target, rng, &mut Vec::new())
}

/// [`outbound`], which leaves in `reasons` what it had decided when it failed.
pub(crate) fn outbound_told(
    mesh: &Mesh,
    config: &RouteConfig,
    source: &Workload,
    target: SocketAddr,
    rng: &mut Rng,
    reasons: &mut Vec<Reason>,
) -> Result<OutboundPlan, RouteError> {
    let target = SocketAddr::new(target.ip().to_canonical(), target.port());
    if target.ip().is_loopback() && config.is_illegal(target.port()) {
        return Err(RouteError::Recursive);
    }
    Planner { mesh, config, source, target, rng, reasons }.plan()
}

/// One decision on its way.
struct Planner<'a> {
    mesh: &'a Mesh,
    config: &'a RouteConfig,
    source: &'a Workload,
    target: SocketAddr,
    rng: &'a mut Rng,
    reasons: &'a mut Vec<Reason>,
}

impl<'a> Planner<'a> {
    fn plan(self) -> Result<OutboundPlan, RouteError> {
        let (network, address) = (self.mesh.network(), self.target.ip());
        let owner = self.mesh.workload_by_address(network, address);
        if let Some(service) = self.mesh.service_by_vip(network, address, &self.source.namespace) {
            self.reasons.push(Reason::Service(service.name.clone()));
            if let Some(owner) = owner {
                // ztunnel looks for waypoints under the workload, for endpoints under the service.
                self.reasons.push(Reason::AddressOfWorkloadToo(Arc::clone(&owner.uid)));
            } else if let Some(waypoint) = gateway::waypoint_of(service, self.rng, self.reasons) {
                self.reasons.push(Reason::ServiceWaypoint(Arc::clone(waypoint)));
                return self.through(waypoint, Some(service));
            }
            if service.load_balancing.mode == LoadBalancingMode::Passthrough {
                self.reasons.push(Reason::Passthrough);
                return Ok(self.passthrough());
            }
            let port = self.target.port();
            let pick = balance::pick(self.mesh, service, port, self.source, PortRule::Standard, self.rng);
            if let Some(pick) = pick {
                self.reasons.push(pick.reason());
                if pick.port != port {
                    self.reasons.push(Reason::PortMapped { from: port, to: pick.port });
                }
                return self.send(pick.workload, Some(service), pick.port, owner.is_some());
            }
            if owner.is_none() {
                return Err(RouteError::NoHealthyUpstream(self.target));
            }
            // ztunnel sends this in plaintext to the address itself; the owner may well speak HBONE.
            self.reasons.push(Reason::ServiceWithoutEndpoint);
        }
        if let Some(workload) = owner {
            self.reasons.push(Reason::Workload(Arc::clone(&workload.uid)));
            let port = self.target.port();
            return self.send(workload, None, port, true);
        }
        self.reasons.push(Reason::NotInMesh);
        Ok(self.passthrough())
    }

    fn passthrough(self) -> OutboundPlan {
        let (hop, reasons) = (Hop::Plain { to: self.target }, core::mem::take(self.reasons));
        OutboundPlan { hop, destination: None, service: None, waypoint: None, reasons }
    }

    /// To `workload` at `port`, or to who stands in front of it. Only clients that address a workload, rather than a
    /// service, go through the workload's waypoint.
    fn send(
        mut self,
        workload: &'a Arc<Workload>,
        service: Option<&'a Arc<Service>>,
        port: u16,
        addressed: bool,
    ) -> Result<OutboundPlan, RouteError> {
        if workload.network != self.source.network {
            return self.abroad(workload, service, None);
        }
        if addressed && let Some(waypoint) = &workload.waypoint {
            self.reasons.push(Reason::WorkloadWaypoint(Arc::clone(waypoint)));
            if !gateway::is_behind(self.mesh, waypoint, self.source) {
                return self.through(waypoint, None);
            }
            self.reasons.push(Reason::FromWaypoint);
        }
        let shape = match workload.protocol {
            TunnelProtocol::None => {
                self.reasons.push(Reason::PlainEndpoint);
                Shape::Plain { port }
            }
            TunnelProtocol::Hbone => {
                self.reasons.push(Reason::Hbone);
                let expected = gateway::accepted(service.map(|service| &**service), workload);
                Shape::Direct { hbone_port: self.config.hbone_port, port, expected }
            }
        };
        let hop = self.reach(workload, service, self.target.ip(), shape)?;
        Ok(self.planned(hop, workload, service, None))
    }

    /// Through a waypoint, which is always spoken to in HBONE. Its failure is the connection's: nothing goes around it.
    fn through(
        mut self,
        waypoint: &Arc<GatewayAddress>,
        service: Option<&'a Arc<Service>>,
    ) -> Result<OutboundPlan, RouteError> {
        let client = (self.source, self.target.ip());
        let found = gateway::find(self.mesh, waypoint, PortRule::Waypoint, client, self.rng, self.reasons);
        let found = found.ok_or_else(|| RouteError::UnknownWaypoint(Arc::clone(waypoint)))?;
        if found.workload.network != self.source.network {
            return self.abroad(found.workload, service, Some(waypoint));
        }
        let authority = Authority::Address(self.target);
        let shape = Shape::Waypoint { port: found.port, authority, expected: found.expected() };
        let hop = self.reach(found.workload, found.service, found.near, shape)?;
        Ok(self.planned(hop, found.workload, service, Some(waypoint)))
    }

    /// To `workload` in another network, which is the service's endpoint or waypoint: through its gateway.
    fn abroad(
        mut self,
        workload: &Workload,
        service: Option<&'a Arc<Service>>,
        waypoint: Option<&Arc<GatewayAddress>>,
    ) -> Result<OutboundPlan, RouteError> {
        let (uid, network) = (Arc::clone(&workload.uid), Arc::clone(&workload.network));
        self.reasons.push(Reason::OtherNetwork { uid, network });
        let Some(service) = service else { return Err(RouteError::NoService(self.target)) };
        let gateway = workload.network_gateway.as_ref();
        let gateway = gateway.ok_or_else(|| RouteError::NoValidDestination(Arc::clone(&workload.uid)))?;
        self.reasons.push(Reason::NetworkGateway(Arc::clone(gateway)));
        let client = (self.source, self.target.ip());
        let found = gateway::find(self.mesh, gateway, PortRule::Standard, client, self.rng, self.reasons);
        let found = found.ok_or_else(|| RouteError::UnknownNetworkGateway(Arc::clone(gateway)))?;
        let host = Arc::clone(&service.name.hostname);
        let shape = Shape::Gateway {
            port: found.port,
            gateway: found.expected(),
            authority: Authority::Host { host, port: self.target.port() },
            expected: service.subject_alt_names.iter().cloned().collect(),
        };
        let hop = self.reach(found.workload, found.service, found.near, shape)?;
        Ok(self.planned(hop, found.workload, Some(service), waypoint))
    }

    /// `shape` at an address of `workload`, if it has one.
    fn reach(
        &mut self,
        workload: &Workload,
        service: Option<&Arc<Service>>,
        near: IpAddr,
        shape: Shape,
    ) -> Result<Hop, RouteError> {
        if let Some(address) = choose_address(workload, service.map(|service| &**service), near) {
            return Ok(shape.at(address));
        }
        let uid = Arc::clone(&workload.uid);
        if workload.hostname.is_empty() {
            return Err(RouteError::NoValidDestination(uid));
        }
        let hostname = Arc::clone(&workload.hostname);
        self.reasons.push(Reason::Resolve(Arc::clone(&hostname)));
        Ok(Hop::Resolve(Box::new(Resolve { hostname, workload: uid, near, then: shape })))
    }

    fn planned(
        self,
        hop: Hop,
        workload: &Arc<Workload>,
        service: Option<&Arc<Service>>,
        waypoint: Option<&Arc<GatewayAddress>>,
    ) -> OutboundPlan {
        OutboundPlan {
            hop,
            destination: Some(Arc::clone(workload)),
            service: service.cloned(),
            waypoint: waypoint.cloned(),
            reasons: core::mem::take(self.reasons),
        }
    }
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
