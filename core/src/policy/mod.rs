//! Authorization (datapath §6.2–6.4): the plain evaluator. Malformed entries fail closed at load time.
use alloc::sync::Arc;
use core::net::SocketAddr;

use crate::identity::Identity;
use crate::mesh::{Mesh, Workload};

/// `istio.security.Authorization`. The owner of this room completes it (scope, action, dry_run, groups → rules → matches).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}
/// What is known about one inbound connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Verified by mTLS; `None` for plaintext.
    pub source: Option<&'a Identity>,
    pub source_address: SocketAddr,
    /// Real target, never port 15008.
    pub destination: SocketAddr,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// `by` names the ALLOW policy, `None`: no ALLOW policy applies.
    Allow {
        by: Option<PolicyName>,
    },
    Deny(DenyReason),
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DenyReason {
    #[error("explicitly denied by: {0}")]
    Explicit(PolicyName),
    #[error("allow policies exist, but none allowed")]
    NoneAllowed,
    #[error("workload lists unknown policy {0}")]
    UnknownPolicy(Arc<str>),
}
/// `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}
impl core::fmt::Display for PolicyName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
/// Judges one connection to `destination`.
pub fn authorize(mesh: &Mesh, destination: &Workload, facts: &Facts<'_>) -> Verdict {
    todo!()
}
