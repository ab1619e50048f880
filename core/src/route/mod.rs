//! Where a connection goes: outbound plan (datapath §2.2–2.5) and inbound admission (§5.2–5.4, 5.7), each with its reasons.
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::hbone::Authority;
use crate::identity::IdentitySet;
use crate::mesh::{Mesh, Service, Workload};

/// A deterministic source of choice, seeded by the driver.
#[derive(Clone, Debug)]
pub struct Rng(u64);
impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub fn next_u64(&mut self) -> u64 {
        todo!()
    }
    /// Uniform below `bound` (0 when bound is 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        todo!()
    }
}
/// Why a plan came out as it did, in order (design D10).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    // owner completes: NotInMesh, Service(name), Endpoint(uid, of n), PortMapped{from,to}, Hbone, PlainEndpoint …
}
#[derive(Clone, Debug)]
pub struct OutboundPlan {
    pub hop: Hop,
    pub destination: Option<Arc<Workload>>,
    pub service: Option<Arc<Service>>,
    pub reasons: Vec<Reason>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Plain TCP to this address.
    Plain {
        to: SocketAddr,
    },
    Hbone {
        dial: SocketAddr,
        authority: Authority,
        expected: IdentitySet,
    },
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    #[error("no healthy upstream: {0}")]
    NoHealthyUpstream(SocketAddr),
}
/// Ports the plan must know: HBONE dial port and the illegal ones.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// 15008 unless configured (several proxies on one loopback).
    pub hbone_port: u16,
    /// Loop protection (datapath §1.1).
    pub illegal_ports: Vec<u16>,
}
pub fn outbound(
    mesh: &Mesh,
    config: &RouteConfig,
    source: &Workload,
    target: SocketAddr,
    rng: &mut Rng,
) -> Result<OutboundPlan, RouteError> {
    todo!()
}
#[derive(Clone, Debug)]
pub struct InboundPlan {
    /// Where the application is dialled.
    pub to: SocketAddr,
    pub service: Option<Arc<Service>>,
}
/// Refusal of an inbound CONNECT: `status()` is 400 or 503 (datapath §3.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    #[error("ip mismatch: {connected} != {authority}")]
    IpMismatch { connected: IpAddr, authority: IpAddr },
    #[error("attempted recursive call to ourselves")]
    Recursive,
    #[error("no service or workload for hostname: {0}")]
    UnknownHost(Arc<str>),
    #[error("requested service {host}:{port} found, but cannot resolve port")]
    UnresolvedPort { host: Arc<str>, port: u16 },
}
impl AdmitError {
    pub fn status(&self) -> u16 {
        todo!()
    }
}
/// Inbound HBONE: `connected` is the address the tunnel was accepted on.
pub fn admit_hbone(
    mesh: &Mesh,
    config: &RouteConfig,
    local: &Workload,
    connected: SocketAddr,
    authority: &Authority,
) -> Result<InboundPlan, AdmitError> {
    todo!()
}
/// Inbound plaintext on 15006.
pub fn admit_plain(
    mesh: &Mesh,
    config: &RouteConfig,
    local: &Workload,
    destination: SocketAddr,
) -> Result<InboundPlan, AdmitError> {
    todo!()
}
