//! Inbound admission: is this target ours, and how is the application reached (datapath §5.2–5.7).

mod error;
mod source;

pub use error::AdmitError;
pub use source::{OwnSource, ShownSource};

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::gateway;
use super::{Reason, RouteConfig};
use crate::hbone::Authority;
use crate::mesh::{ApplicationProtocol, Mesh, Service, ServiceName, Workload};

/// Where one admitted connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundPlan {
    /// Where the application is dialled.
    pub to: SocketAddr,
    /// The destination that policies judge and logs name: the application's port at the address connected to.
    pub destination: SocketAddr,
    /// The source address the application is shown, where the listener is transparent.
    pub source: ShownSource,
    /// Set when the application is to be told about the connection in a PROXY header, before any other octet: the
    /// destination it is told.
    pub announced: Option<SocketAddr>,
    /// The service that was (probably) meant, for telemetry.
    pub service: Option<Arc<Service>>,
    /// Why, in the order of decision.
    pub reasons: Vec<Reason>,
}

/// Admits one CONNECT of `client` for `local`; `connected` is the address the tunnel was accepted on.
///
/// A target by address must be that very address, unless the workload has an application tunnel or is the waypoint of
/// what is at that address; a target by hostname must be a service, or the workload's own name. The application is
/// always dialled at `connected`'s address, or on loopback when it is told the rest.
///
/// # Errors
/// See [`AdmitError`]; the CONNECT is then answered with its status.
pub fn admit_hbone(
    mesh: &Mesh,
    config: &RouteConfig,
    local: &Workload,
    client: SocketAddr,
    connected: SocketAddr,
    authority: &Authority,
) -> Result<InboundPlan, AdmitError> {
    let connected = connected.ip().to_canonical();
    let mut reasons = Vec::new();
    let target = match authority {
        Authority::Address(target) => by_address(mesh, local, connected, *target, &mut reasons)?,
        Authority::Host { host, port } => by_hostname(mesh, local, connected, host, *port, &mut reasons)?,
    };
    if config.is_illegal(target.port) {
        return Err(AdmitError::Recursive);
    }
    let tunnel = local.application_tunnel.unwrap_or_default();
    let port = tunnel.port.unwrap_or(target.port);
    if tunnel.port.is_some() {
        reasons.push(Reason::ApplicationTunnel { port });
    }
    let destination = SocketAddr::new(connected, port);
    let plan = InboundPlan {
        to: destination,
        destination,
        source: ShownSource::of(client, destination),
        announced: None,
        service: target.service.cloned(),
        reasons,
    };
    match tunnel.protocol {
        ApplicationProtocol::None => Ok(plan),
        ApplicationProtocol::Proxy => announced(plan, config, target.asked),
    }
}

/// What a CONNECT asked for.
struct Target<'a> {
    service: Option<&'a Arc<Service>>,
    /// Port of the workload.
    port: u16,
    /// What a PROXY header says was asked for; for hostnames an address of the service.
    asked: Result<SocketAddr, AdmitError>,
}

fn by_address<'a>(
    mesh: &'a Mesh,
    local: &Workload,
    connected: IpAddr,
    target: SocketAddr,
    reasons: &mut Vec<Reason>,
) -> Result<Target<'a>, AdmitError> {
    let address = target.ip().to_canonical();
    if address == connected {
        reasons.push(Reason::OwnAddress);
    } else if local.application_tunnel.is_some() {
        reasons.push(Reason::AnyAddress);
    } else if let Some(reason) = is_waypoint_of(mesh, local, address) {
        reasons.push(reason);
    } else {
        return Err(AdmitError::IpMismatch { connected, authority: address });
    }
    let port = target.port();
    let service = destination_service(mesh, local, None, port);
    Ok(Target { service, port, asked: Ok(SocketAddr::new(address, port)) })
}

/// Whether `local` is a waypoint of what is at `address`: a workload, or else any service there, whoever may see it
/// (datapath §5.3 c).
fn is_waypoint_of(mesh: &Mesh, local: &Workload, address: IpAddr) -> Option<Reason> {
    let network = mesh.network();
    if let Some(owner) = mesh.workload_by_address(network, address) {
        let waypoint = owner.waypoint.as_ref()?;
        return gateway::is_behind(mesh, waypoint, local)
            .then(|| Reason::WaypointOfWorkload(Arc::clone(&owner.uid)));
    }
    let speaks_for = |service: &&Arc<Service>| {
        let weighted = service.weighted_waypoints.iter().map(|waypoint| &waypoint.gateway);
        service.waypoint.iter().chain(weighted).any(|waypoint| gateway::is_behind(mesh, waypoint, local))
    };
    let service = mesh.services_at(network, address).find(speaks_for)?;
    Some(Reason::WaypointOfService(service.name.clone()))
}

fn by_hostname<'a>(
    mesh: &'a Mesh,
    local: &Workload,
    connected: IpAddr,
    host: &Arc<str>,
    port: u16,
    reasons: &mut Vec<Reason>,
) -> Result<Target<'a>, AdmitError> {
    let Some(service) = mesh.service_by_hostname(host, &local.namespace) else {
        // Authorities are in lower case; the tables keep what the control plane says.
        if local.hostname.is_empty() || !local.hostname.eq_ignore_ascii_case(host) {
            return Err(AdmitError::UnknownHost(Arc::clone(host)));
        }
        reasons.push(Reason::OwnHostname);
        let service = destination_service(mesh, local, None, port);
        return Ok(Target { service, port, asked: Ok(SocketAddr::new(connected, port)) });
    };
    reasons.push(Reason::Service(service.name.clone()));
    let target = service
        .port_at(local, port)
        .ok_or_else(|| AdmitError::UnresolvedPort { host: Arc::clone(host), port })?;
    if target != port {
        reasons.push(Reason::PortMapped { from: port, to: target });
    }
    let asked = match vip(service, mesh.network()) {
        Some(vip) => Ok(SocketAddr::new(vip, port)),
        None => Err(AdmitError::NoAddress(Arc::clone(host))),
    };
    Ok(Target { service: Some(service), port: target, asked })
}

/// The address that stands for a service: of this network and IPv4, else of this network, else any.
fn vip(service: &Service, network: &str) -> Option<IpAddr> {
    let rank = |vip: &&crate::mesh::NetworkAddress| {
        let here = &*vip.network == network;
        (!here, !(here && vip.address.to_canonical().is_ipv4()))
    };
    service.addresses.iter().min_by_key(rank).map(|vip| vip.address.to_canonical())
}

/// `plan` for an application that is told about its connections.
fn announced(
    mut plan: InboundPlan,
    config: &RouteConfig,
    asked: Result<SocketAddr, AdmitError>,
) -> Result<InboundPlan, AdmitError> {
    plan.announced = Some(asked?);
    plan.reasons.push(Reason::ProxyHeader);
    if config.localhost_app_tunnel {
        let loopback = match plan.destination.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        plan.to.set_ip(loopback);
        plan.source = ShownSource::Own(OwnSource::Announced);
    }
    Ok(plan)
}

/// Admits one captured plaintext connection of `client` for `local` to its original `destination`. Application tunnels
/// are for HBONE only.
///
/// # Errors
/// [`AdmitError::Recursive`] for this proxy's own ports; the connection is then closed.
pub fn admit_plain(
    mesh: &Mesh,
    config: &RouteConfig,
    local: &Workload,
    client: SocketAddr,
    destination: SocketAddr,
) -> Result<InboundPlan, AdmitError> {
    if config.is_illegal(destination.port()) {
        return Err(AdmitError::Recursive);
    }
    let to = SocketAddr::new(destination.ip().to_canonical(), destination.port());
    let service = destination_service(mesh, local, None, to.port()).cloned();
    let source = ShownSource::of(client, to);
    Ok(InboundPlan { to, destination: to, source, announced: None, service, reasons: Vec::new() })
}

/// The service that a connection to `port` of `local` probably meant, for telemetry only (datapath §5.5): the one
/// which the client names (`forwarded: host=`) if `local` is behind it, otherwise the first with this port at `local`.
#[must_use]
pub fn destination_service<'a>(
    mesh: &'a Mesh,
    local: &Workload,
    forwarded_host: Option<&str>,
    port: u16,
) -> Option<&'a Arc<Service>> {
    let named = |name: &&ServiceName| forwarded_host.is_some_and(|host| host == &*name.hostname);
    let service = |name: &ServiceName| mesh.service(name);
    let has_port = |service: &&Arc<Service>| {
        let own = local.services.get(&service.name).into_iter().flatten();
        own.chain(&service.ports).any(|(_, target)| *target == port)
    };
    let hinted = local.services.keys().find(named).and_then(service);
    hinted.or_else(|| local.services.keys().filter_map(service).find(has_port))
}

#[cfg(test)]
mod tests;
