//! Parts that workloads, services and policies have in common.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use adit_core::mesh::{GatewayAddress, GatewayTarget, NetworkAddress, ServiceName};
use ipnet::IpNet;

use super::Rejection;
use crate::proto::istio::workload as wire;
use crate::proto::istio::workload::gateway_address::Destination;

/// 4 or 16 octets.
pub(super) fn ip(field: &'static str, octets: &[u8]) -> Result<IpAddr, Rejection> {
    let wrong = Rejection::AddressLength { field, octets: octets.len() };
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Ok(v4.into());
    }
    <[u8; 16]>::try_from(octets).map(Into::into).map_err(|_| wrong)
}

/// An address with a prefix length; bits beyond it are cleared.
pub(super) fn range(field: &'static str, octets: &[u8], length: u32) -> Result<IpNet, Rejection> {
    let wrong = || Rejection::PrefixLength { field, length };
    let length = u8::try_from(length).map_err(|_| wrong())?;
    let range = IpNet::new(ip(field, octets)?, length).map_err(|_| wrong())?;
    Ok(range.trunc())
}

pub(super) fn port(field: &'static str, port: u32) -> Result<u16, Rejection> {
    u16::try_from(port).map_err(|_| Rejection::Port { field, port })
}

/// Service port → target port.
pub(super) fn ports(field: &'static str, ports: &[wire::Port]) -> Result<BTreeMap<u16, u16>, Rejection> {
    let mapped =
        ports.iter().map(|each| Ok((port(field, each.service_port)?, port(field, each.target_port)?)));
    mapped.collect()
}

/// A value of the enum `T`, which must be one that is known here.
pub(super) fn known<T: TryFrom<i32>>(field: &'static str, value: i32) -> Result<T, Rejection> {
    T::try_from(value).map_err(|_| Rejection::UnknownEnum { field, value })
}

pub(super) fn gateway(
    field: &'static str,
    gateway: wire::GatewayAddress,
) -> Result<Arc<GatewayAddress>, Rejection> {
    let target = match gateway.destination {
        Some(Destination::Hostname(name)) => GatewayTarget::Hostname(ServiceName {
            namespace: name.namespace.into(),
            hostname: name.hostname.into(),
        }),
        Some(Destination::Address(address)) => GatewayTarget::Address(NetworkAddress {
            address: host(field, &address)?,
            network: address.network.into(),
        }),
        None => return Err(Rejection::NoDestination(field)),
    };
    Ok(Arc::new(GatewayAddress { target, hbone_port: port(field, gateway.hbone_mtls_port)? }))
}

/// The one host that `address` names.
fn host(field: &'static str, address: &wire::NetworkAddress) -> Result<IpAddr, Rejection> {
    let ip = ip(field, &address.address)?;
    let full = u32::from(IpNet::from(ip).max_prefix_len());
    match address.length {
        Some(length) if length != full => Err(Rejection::PrefixLength { field, length }),
        _ => Ok(ip),
    }
}
