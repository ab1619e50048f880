//! What a cluster is like now, for people (admin pages, `explain`).
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::gather::LeftOut;
use crate::l7::Limits;
use crate::mesh::Workload;
use crate::time::Instant;

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointView {
    /// Who it is.
    pub workload: Arc<Workload>,
    /// Its port.
    pub port: u16,
    /// Its weight.
    pub weight: u32,
    /// Its level.
    pub level: u16,
    /// Requests under way to it.
    pub outstanding: u32,
    /// Ejected, at least until then.
    pub ejected: Option<Instant>,
    /// Its share while it warms up, in thousandths; 1000: it does not.
    pub share: u16,
}

/// Endpoints that are equally near.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelView {
    /// Which it is.
    pub level: u16,
    /// How many have weight.
    pub endpoints: usize,
    /// How many of them may be chosen.
    pub open: usize,
    /// How much of the requests it gets, beside others.
    pub load: u64,
    /// So few are healthy that ejections are not looked at.
    pub ignores_ejections: bool,
}

/// One service, port and subset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Its endpoints, by uid.
    pub endpoints: Vec<EndpointView>,
    /// Their levels.
    pub levels: Vec<LevelView>,
    /// Members that are no endpoints, and why.
    pub left_out: Vec<LeftOut>,
    /// Connections, requests that wait for one, and requests on them.
    pub under_way: [u32; 3],
    /// How many there may be.
    pub limits: Limits,
    /// Exchanges, and how many of them are being retried.
    pub exchanges: (u32, u32),
}
