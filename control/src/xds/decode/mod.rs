//! Resources as they come on the wire → entries of the tables, or the reason why not (interfaces §1.5).

mod policy;
mod service;
mod values;
mod workload;

use adit_core::identity::IdentityError;
use adit_core::mesh::{Change, MeshError};
use prost::Message;

use crate::proto::istio::security::Authorization;
use crate::proto::istio::workload::{Address, address::Type};

/// Octets of one resource. Kubernetes stores no object above 1.5 MiB, so no honest one is near it.
const MAX_RESOURCE: usize = 4 << 20;

/// Why a resource is rejected. The text goes to the control plane's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// There is nothing in it.
    #[error("the resource has no payload")]
    MissingPayload,
    /// It is larger than anything sensible.
    #[error("the resource has {0} octets, more than {MAX_RESOURCE}")]
    TooLarge(usize),
    /// It is no protobuf of its type.
    #[error("not decodable: {0}")]
    NotDecodable(String),
    /// Neither of the two kinds of addresses.
    #[error("the address is neither a workload nor a service")]
    NoType,
    /// It is called otherwise than its contents, so that its removal could not be understood.
    #[error("the resource is named otherwise than its contents, {0:?}")]
    Name(String),
    /// A field must not be empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// An enum has a value that is not known here.
    #[error("{field} has the unknown value {value}")]
    UnknownEnum {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i32,
    },
    /// Sidecar mTLS is not spoken by node proxies.
    #[error("tunnel_protocol LEGACY_ISTIO_MTLS is not for node proxies")]
    LegacyMtls,
    /// An address of neither family.
    #[error("{field} has an address of {octets} octets, expected 4 or 16")]
    AddressLength {
        /// The field.
        field: &'static str,
        /// Its length.
        octets: usize,
    },
    /// A prefix longer than the address, or a range where one host is needed.
    #[error("{field} has the prefix length {length}, which its address does not allow")]
    PrefixLength {
        /// The field.
        field: &'static str,
        /// The length.
        length: u32,
    },
    /// A port above 65535.
    #[error("{field} has the port {port}, above 65535")]
    Port {
        /// The field.
        field: &'static str,
        /// The port.
        port: u32,
    },
    /// A key of `services` without `/`.
    #[error("services has the key {0:?}, expected namespace/hostname")]
    ServiceKey(String),
    /// `UNSPECIFIED_SCOPE` is no scope.
    #[error("load_balancing.routing_preference has an unspecified scope")]
    UnspecifiedScope,
    /// A gateway that is nowhere.
    #[error("{0} has neither hostname nor address")]
    NoDestination(&'static str),
    /// Trust domain, namespace and service account make no identity.
    #[error("no SPIFFE identity: {0}")]
    Identity(IdentityError),
    /// The tables refuse it.
    #[error(transparent)]
    Inconsistent(#[from] MeshError),
}

/// One `istio.workload.Address` as a change of the tables.
///
/// # Errors
/// Any of [`Rejection`].
pub fn address(name: &str, octets: &[u8]) -> Result<Change, Rejection> {
    match decode::<Address>(octets)?.r#type {
        Some(Type::Workload(workload)) => {
            let workload = workload::workload(workload)?;
            named(name, &workload.uid)?;
            Ok(Change::Workload(workload))
        }
        Some(Type::Service(service)) => {
            let service = service::service(service)?;
            named(name, &service.name.to_string())?;
            Ok(Change::Service(service))
        }
        None => Err(Rejection::NoType),
    }
}

/// One `istio.security.Authorization` as a change of the tables.
///
/// # Errors
/// Any of [`Rejection`].
pub fn authorization(name: &str, octets: &[u8]) -> Result<Change, Rejection> {
    let policy = policy::policy(decode::<Authorization>(octets)?)?;
    named(name, &policy.key())?;
    Ok(Change::Policy(policy))
}

fn decode<M: Message + Default>(octets: &[u8]) -> Result<M, Rejection> {
    if octets.len() > MAX_RESOURCE {
        return Err(Rejection::TooLarge(octets.len()));
    }
    M::decode(octets).map_err(|error| Rejection::NotDecodable(error.to_string()))
}

fn named(name: &str, contents: &str) -> Result<(), Rejection> {
    if name == contents { Ok(()) } else { Err(Rejection::Name(contents.to_owned())) }
}

#[cfg(test)]
mod tests;
