//! What policies come to, as values.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::policy::{RuleName, Target};
use super::provider::{Provider, Unusable};
use crate::mesh::PolicyName;

/// The decision on one request or connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Admitted.
    Allow {
        /// The rule that admitted it; `None` when no ALLOW policy bears on the destination.
        by: Option<RuleName>,
    },
    /// Refused.
    Deny(Denial),
}

impl Verdict {
    /// Whether it is refused.
    #[must_use]
    pub const fn is_deny(&self) -> bool {
        matches!(self, Self::Deny(_))
    }
}

/// Why it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denial {
    /// A rule of a DENY policy matched.
    #[error("denied by {0}")]
    Explicit(RuleName),
    /// There are ALLOW policies, and none matched.
    #[error("ALLOW policies exist, but none allows it")]
    NoneAllowed,
    /// A rule of a CUSTOM policy matched, and there is nobody to ask.
    #[error("{by} matches: {why}")]
    Unusable {
        /// The rule.
        by: RuleName,
        /// Why nobody can be asked.
        why: Unusable,
    },
}

impl Denial {
    /// Status of the answer to a request; gRPC calls get PERMISSION_DENIED in trailers instead.
    pub const STATUS: u16 = 403;
    /// Body of the answer.
    pub const BODY: &str = "RBAC: access denied";

    /// The rule that refuses; `none` where it is that no rule allows.
    #[must_use]
    pub fn by(&self) -> String {
        match self {
            Self::Explicit(by) | Self::Unusable { by, .. } => by.to_string(),
            Self::NoneAllowed => "none".into(),
        }
    }

    /// For the access log (`%RESPONSE_CODE_DETAILS%`).
    #[must_use]
    pub fn details(&self) -> String {
        format!("rbac_access_denied_matched_policy[{}]", self.by())
    }
}

/// A provider that must agree, and the rule that wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Whom to ask.
    pub provider: &'a Arc<Provider>,
    /// On whose behalf.
    pub by: RuleName,
}

/// Everything that follows from AUDIT, DENY and ALLOW policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What traffic gets.
    pub verdict: Verdict,
    /// The AUDIT rule that matched.
    pub audit: Option<RuleName>,
    /// What the policies on trial would have said.
    pub on_trial: OnTrial,
}

/// What policies on trial (`istio.io/dry-run`) would have said (waypoint.md §11.9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OnTrial {
    /// The ALLOW policies among them; `None`: there are none.
    pub allow: Option<Trial>,
    /// The DENY policies among them.
    pub deny: Option<Trial>,
    /// The AUDIT or CUSTOM rule on trial that matched; no provider is asked.
    pub other: Option<RuleName>,
}

/// What the policies of one action, on trial, would have said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trial {
    /// They would have refused.
    pub denied: bool,
    /// The rule that matched.
    pub by: Option<RuleName>,
}

impl OnTrial {
    /// Tags of the trace's span.
    #[must_use]
    pub fn tags(&self) -> Vec<(&'static str, String)> {
        let names = [
            (
                &self.allow,
                "istio.authorization.dry_run.allow_policy.result",
                "istio.authorization.dry_run.allow_policy.name",
            ),
            (
                &self.deny,
                "istio.authorization.dry_run.deny_policy.result",
                "istio.authorization.dry_run.deny_policy.name",
            ),
        ];
        let mut tags = Vec::new();
        for (trial, result, name) in names {
            let Some(Trial { denied, by }) = trial else { continue };
            tags.push((result, if *denied { "denied" } else { "allowed" }.to_string()));
            tags.extend(by.as_ref().map(|by| (name, by.to_string())));
        }
        tags
    }
}

/// A decision with everything that was asked on the way to it, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What comes before it: the names of providers to ask, or the refusal.
    pub custom: Result<Vec<Arc<str>>, Denial>,
    /// AUDIT, DENY and ALLOW.
    pub decision: Decision,
    /// Every policy that bears on the destination.
    pub consulted: Vec<Consulted>,
}

/// One policy that bears on a destination, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consulted {
    /// Its name.
    pub policy: PolicyName,
    /// What a match leads to: `ALLOW`, `DENY`, `AUDIT` or `CUSTOM`.
    pub action: &'static str,
    /// What it is for.
    pub targets: Vec<Target>,
    /// Only on trial.
    pub dry_run: bool,
    /// Position of its first rule that holds, from 0.
    pub matched: Option<usize>,
}

impl fmt::Display for Consulted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, action, targets, dry_run, matched } = self;
        write!(f, "{policy}: {action}, for ")?;
        for (place, target) in targets.iter().enumerate() {
            write!(f, "{}{target}", if place == 0 { "" } else { ", " })?;
        }
        f.write_str(if *dry_run { ", on trial: " } else { ": " })?;
        match matched {
            Some(rule) => write!(f, "rule {rule} matches"),
            None => f.write_str("no rule matches"),
        }
    }
}
