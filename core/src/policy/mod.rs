//! Authorization (datapath §6.2–6.4): judges one inbound connection by the policies in the tables.
//!
//! Fails closed: entries that make no sense never reach the tables (whoever loads them must refuse them), and a
//! workload that lists a policy nobody knows takes no connections.

mod evaluate;

pub use evaluate::{authorize, dry_run};

use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;

use crate::identity::Identity;
pub use crate::mesh::{
    Action, Authorization, Clause, Match, PolicyName, PolicyScope, Rule, ServiceAccount, StringMatch,
};

/// What is known about one inbound connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Verified by mTLS; `None` for plaintext.
    pub source: Option<&'a Identity>,
    /// The TCP peer.
    pub source_address: SocketAddr,
    /// Real target, never port 15008.
    pub destination: SocketAddr,
}

/// The decision on one connection, with what decided it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Admitted.
    Allow {
        /// The rule that admitted it; `None` when no ALLOW policy bears on the workload.
        by: Option<RuleName>,
    },
    /// Refused.
    Deny(DenyReason),
}

/// Why a connection is refused; the texts are those operators match on (interfaces §6.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DenyReason {
    /// A rule of a DENY policy matched.
    #[error("explicitly denied by: {}", .0.policy)]
    Explicit(RuleName),
    /// There are ALLOW policies, and none matched.
    #[error("allow policies exist, but none allowed")]
    NoneAllowed,
    /// The workload lists a policy that is not in the tables, so nobody can tell what it would say.
    #[error("workload lists unknown policy {0}")]
    UnknownPolicy(Arc<str>),
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// The policy.
    pub policy: PolicyName,
    /// Position among its rules, from 0.
    pub rule: usize,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (rule {})", self.policy, self.rule)
    }
}

/// What a policy on trial would have said; only to be logged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DryRun {
    /// It would have refused the connection.
    Deny(RuleName),
    /// It would have admitted it.
    Allow(RuleName),
    /// The ALLOW policies on trial would have refused it, there being no enforced ones.
    NoneAllowed,
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deny(rule) => write!(f, "dry-run: deny policy match: {rule}"),
            Self::Allow(rule) => write!(f, "dry-run: allow policy match: {rule}"),
            Self::NoneAllowed => f.write_str("dry-run: no allow policies match"),
        }
    }
}
