//! Authorization (datapath §6.2–6.4): judges one inbound connection by the policies in the tables.
//!
//! [`PolicySet`] holds what bears on one workload, indexed; [`judge`] builds one for a single question. Fails closed: a
//! workload that lists a policy nobody knows takes no connections, and an entry that could not be read admits nobody
//! (see [`Unreadable`](crate::mesh::Unreadable)).

mod alternatives;
mod index;
mod set;
mod subject;

pub use set::PolicySet;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use crate::identity::Identity;
pub use crate::mesh::{
    Action, Authorization, Clause, Match, PolicyName, PolicyScope, Rule, ServiceAccount, StringMatch,
};
use crate::mesh::{Mesh, Workload};

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

impl fmt::Display for Verdict {
    /// As logs of decisions have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow { by: None } => f.write_str("no allow policies, allow"),
            Self::Allow { by: Some(rule) } => write!(f, "allow policy match: {rule}"),
            Self::Deny(DenyReason::Explicit(rule)) => write!(f, "deny policy match: {rule}"),
            Self::Deny(DenyReason::NoneAllowed) => f.write_str("no allow policies match, deny"),
            Self::Deny(reason @ DenyReason::UnknownPolicy(_)) => write!(f, "{reason}, deny"),
        }
    }
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

/// A decision with everything that was asked on the way to it, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What traffic gets.
    pub verdict: Verdict,
    /// Every policy that bears on the workload, in the order in which they count: global ones, those of its namespace,
    /// those that it lists.
    pub consulted: Vec<Consulted>,
    /// What the policies on trial would have said.
    pub on_trial: Vec<DryRun>,
}

/// One policy that bears on a workload, and what it says about a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Consulted {
    /// It is in the tables.
    Known {
        /// Its name.
        policy: PolicyName,
        /// Why it bears on the workload.
        scope: PolicyScope,
        /// What a match leads to.
        action: Action,
        /// Only on trial.
        dry_run: bool,
        /// Position of its first rule that holds, from 0.
        matched: Option<usize>,
    },
    /// The workload lists this key, and no policy has it.
    Unknown(Arc<str>),
}

impl fmt::Display for Consulted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (policy, scope, action, dry_run, matched) = match self {
            Self::Unknown(key) => return write!(f, "{key}: listed by the workload, but unknown"),
            Self::Known { policy, scope, action, dry_run, matched } => {
                (policy, scope, action, dry_run, matched)
            }
        };
        let action = match action {
            Action::Allow => "ALLOW",
            Action::Deny => "DENY",
        };
        let scope = match scope {
            PolicyScope::Global => "of the whole mesh",
            PolicyScope::Namespace => "of the namespace",
            PolicyScope::WorkloadSelector => "listed by the workload",
        };
        let trial = if *dry_run { ", on trial" } else { "" };
        write!(f, "{policy}: {action}, {scope}{trial}: ")?;
        match matched {
            Some(rule) => write!(f, "rule {rule} matches"),
            None => f.write_str("no rule matches"),
        }
    }
}

/// Judges one connection to `destination`, with everything that was asked. Traffic is judged by
/// [`PolicySet::judge`], which decides the same and explains nothing.
#[must_use]
pub fn judge(mesh: &Mesh, destination: &Workload, facts: &Facts<'_>) -> Judgement {
    PolicySet::new(mesh, destination).explain(facts)
}
