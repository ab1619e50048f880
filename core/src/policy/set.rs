//! The policies that bear on one workload, made ready to judge its connections.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::index::{Found, Index};
use super::subject::Subject;
use super::{Action, Authorization, Consulted, DenyReason, DryRun, Facts, Judgement, RuleName, Verdict};
use crate::mesh::{Mesh, Workload};

/// The policies that bear on one workload at one time. Immutable: when the tables change, ask
/// [`is_current`](Self::is_current) and build another if it is not.
///
/// Building takes time in proportion to all entries of all its policies, judging next to none: about a microsecond for a
/// thousand policies.
#[derive(Clone, Debug)]
pub struct PolicySet {
    /// As the tables gave them, in order.
    policies: Vec<Listed>,
    /// The first of the keys that no policy has.
    unknown: Option<Arc<str>>,
    deny: Index,
    allow: Index,
    /// There are enforced ALLOW policies, perhaps without a rule.
    any_allow: bool,
    trial: Option<Box<Trial>>,
}

/// A policy, or a key that none has.
type Listed = Result<Arc<Authorization>, Arc<str>>;

/// Policies with `dry_run`.
#[derive(Clone, Debug)]
struct Trial {
    index: Index,
    any_allow: bool,
}

impl PolicySet {
    /// What `mesh` has for `destination`.
    #[must_use]
    pub fn new(mesh: &Mesh, destination: &Workload) -> Self {
        let policies: Vec<Listed> =
            each_once(mesh, destination).map(|policy| policy.cloned().map_err(Arc::clone)).collect();
        let those = |action, dry_run| {
            let all = policies.iter().flatten();
            all.filter(move |policy| policy.action == action && policy.dry_run == dry_run)
        };
        let on_trial = || policies.iter().flatten().filter(|policy| policy.dry_run);
        let trial = on_trial().next().is_some().then(|| {
            Box::new(Trial {
                index: Index::new(on_trial()),
                any_allow: those(Action::Allow, true).next().is_some(),
            })
        });
        Self {
            deny: Index::new(those(Action::Deny, false)),
            allow: Index::new(those(Action::Allow, false)),
            any_allow: those(Action::Allow, false).next().is_some(),
            unknown: policies.iter().find_map(|policy| policy.as_ref().err().map(Arc::clone)),
            trial,
            policies,
        }
    }

    /// Whether `mesh` still has the very same policies for `destination`: what was judged by this set stands.
    #[must_use]
    pub fn is_current(&self, mesh: &Mesh, destination: &Workload) -> bool {
        let mut now = each_once(mesh, destination);
        self.policies.iter().all(|policy| match (policy, now.next()) {
            (Ok(policy), Some(Ok(now))) => Arc::ptr_eq(policy, now) || policy == now,
            (Err(key), Some(Err(now))) => key == now,
            (Ok(_) | Err(_), Some(_) | None) => false,
        }) && now.next().is_none()
    }

    /// Judges one connection (datapath §6.4): any matching DENY refuses; otherwise a listed but unknown policy refuses;
    /// otherwise it is admitted if no ALLOW policy applies or one matches. Policies on trial are left out.
    #[must_use]
    pub fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let subject = Subject::new(facts);
        if let Some(found) = self.deny.first(&subject) {
            return Verdict::Deny(DenyReason::Explicit(found.name()));
        }
        if let Some(key) = &self.unknown {
            return Verdict::Deny(DenyReason::UnknownPolicy(Arc::clone(key)));
        }
        if !self.any_allow {
            return Verdict::Allow { by: None };
        }
        match self.allow.first(&subject) {
            Some(found) => Verdict::Allow { by: Some(found.name()) },
            None => Verdict::Deny(DenyReason::NoneAllowed),
        }
    }

    /// What the policies on trial (`dry_run`) would have said about one connection, in order; for the log only.
    #[must_use]
    pub fn on_trial(&self, facts: &Facts<'_>) -> Vec<DryRun> {
        let Some(trial) = &self.trial else { return Vec::new() };
        let mut found: Vec<Found<'_>> = trial.index.all(&Subject::new(facts)).collect();
        found.dedup_by_key(|found| Arc::as_ptr(found.policy));
        let allowed = found.iter().any(|found| found.policy.action == Action::Allow);
        let mut said: Vec<_> = found
            .iter()
            .map(|found| match found.policy.action {
                Action::Deny => DryRun::Deny(found.name()),
                Action::Allow => DryRun::Allow(found.name()),
            })
            .collect();
        if trial.any_allow && !self.any_allow && !allowed {
            said.push(DryRun::NoneAllowed);
        }
        said
    }

    /// Judges like [`judge`](Self::judge), and says what every policy says.
    #[must_use]
    pub fn explain(&self, facts: &Facts<'_>) -> Judgement {
        let subject = Subject::new(facts);
        let consulted = self.policies.iter().map(|policy| match policy {
            Err(key) => Consulted::Unknown(Arc::clone(key)),
            Ok(policy) => Consulted::Known {
                policy: policy.policy_name(),
                scope: policy.scope,
                action: policy.action,
                dry_run: policy.dry_run,
                matched: subject.first_rule(policy),
            },
        });
        Judgement {
            consulted: consulted.collect(),
            verdict: self.judge(facts),
            on_trial: self.on_trial(facts),
        }
    }
}

/// The policies that bear on a workload, none of them twice: one of its namespace may be listed as well.
fn each_once<'a>(
    mesh: &'a Mesh,
    destination: &'a Workload,
) -> impl Iterator<Item = Result<&'a Arc<Authorization>, &'a Arc<str>>> {
    let mut seen = BTreeSet::new();
    mesh.policies_for(destination).filter(move |policy| match policy {
        // A listed key that is unknown has no policy to be confused with.
        Err(key) => seen.insert((false, &***key, "")),
        Ok(policy) => seen.insert((true, &*policy.namespace, &*policy.name)),
    })
}

impl Found<'_> {
    fn name(&self) -> RuleName {
        RuleName { policy: self.policy.policy_name(), rule: self.rule }
    }
}

#[cfg(test)]
mod tests;
