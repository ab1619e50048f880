//! Inbound admission: is this target ours, and which port of the application is meant (datapath §5.2–5.4, §5.7).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::{Reason, RouteConfig};
use crate::hbone::Authority;
use crate::mesh::{Mesh, Service, ServiceName, Workload};

/// Where one admitted connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundPlan {
    /// Where the application is dialled; also the destination that policies judge.
    pub to: SocketAddr,
    /// The service that was (probably) meant, for telemetry.
    pub service: Option<Arc<Service>>,
    /// Why, in the order of decision.
    pub reasons: Vec<Reason>,
}

/// Why an inbound connection is refused; the texts are those operators match on (interfaces §6.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// The CONNECT target is an address that is not this workload's.
    #[error("ip mismatch: {connected} != {authority}")]
    IpMismatch {
        /// The address the tunnel was accepted on.
        connected: IpAddr,
        /// The address asked for.
        authority: IpAddr,
    },
    /// The target is one of this proxy's own ports.
    #[error("attempted recursive call to ourselves")]
    Recursive,
    /// No service of this hostname is known (or visible to this workload's namespace).
    #[error("no service or workload for hostname: {0}")]
    UnknownHost(Arc<str>),
    /// The service has no such port, or it is a named one which this workload does not map.
    #[error("requested service {host}:{port} found, but cannot resolve port")]
    UnresolvedPort {
        /// The hostname asked for.
        host: Arc<str>,
        /// The port asked for.
        port: u16,
    },
}

impl AdmitError {
    /// The status with which a CONNECT is answered (datapath §3.3).
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::IpMismatch { .. } => 400,
            Self::Recursive | Self::UnknownHost(_) | Self::UnresolvedPort { .. } => 503,
        }
    }
}

/// Admits one CONNECT for `local`; `connected` is the address the tunnel was accepted on.
///
/// A target by address must be that very address, unless the workload has an application tunnel; a target by hostname
/// must be a service. The application is always dialled at `connected`'s address.
///
/// # Errors
/// See [`AdmitError`]; the CONNECT is then answered with its status.
pub fn admit_hbone(
    mesh: &Mesh,
    config: &RouteConfig,
    local: &Workload,
    connected: SocketAddr,
    authority: &Authority,
) -> Result<InboundPlan, AdmitError> {
    let connected = connected.ip().to_canonical();
    let mut reasons = Vec::new();
    let (service, port) = match authority {
        Authority::Address(target) => {
            let address = target.ip().to_canonical();
            if address == connected {
                reasons.push(Reason::OwnAddress);
            } else if local.application_tunnel.is_some() {
                reasons.push(Reason::AnyAddress);
            } else {
                return Err(AdmitError::IpMismatch { connected, authority: address });
            }
            (destination_service(mesh, local, None, target.port()), target.port())
        }
        Authority::Host { host, port } => {
            let service = mesh
                .service_by_hostname(host, &local.namespace)
                .ok_or_else(|| AdmitError::UnknownHost(Arc::clone(host)))?;
            reasons.push(Reason::Service(service.name.clone()));
            let target = service
                .port_at(local, *port)
                .ok_or_else(|| AdmitError::UnresolvedPort { host: Arc::clone(host), port: *port })?;
            if target != *port {
                reasons.push(Reason::PortMapped { from: *port, to: target });
            }
            (Some(service), target)
        }
    };
    if config.is_illegal(port) {
        return Err(AdmitError::Recursive);
    }
    let port = match local.application_tunnel.and_then(|tunnel| tunnel.port) {
        Some(port) => {
            reasons.push(Reason::ApplicationTunnel { port });
            port
        }
        None => port,
    };
    Ok(InboundPlan { to: SocketAddr::new(connected, port), service: service.cloned(), reasons })
}

/// Admits one captured plaintext connection for `local` to its original `destination`.
///
/// # Errors
/// [`AdmitError::Recursive`] for this proxy's own ports; the connection is then closed.
pub fn admit_plain(
    mesh: &Mesh,
    config: &RouteConfig,
    local: &Workload,
    destination: SocketAddr,
) -> Result<InboundPlan, AdmitError> {
    if config.is_illegal(destination.port()) {
        return Err(AdmitError::Recursive);
    }
    let to = SocketAddr::new(destination.ip().to_canonical(), destination.port());
    let service = destination_service(mesh, local, None, to.port()).cloned();
    Ok(InboundPlan { to, service, reasons: Vec::new() })
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
