//! The plain evaluator: every policy that bears on the workload is looked at, nothing is compiled.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use super::{Action, Authorization, Clause, DenyReason, DryRun, Facts, Match, Rule, RuleName, Verdict};
use crate::identity::Identity;
use crate::mesh::{Mesh, ServiceAccount, StringMatch, Workload};

/// Judges one connection to `destination` (datapath §6.4): any matching DENY refuses; otherwise a listed but unknown
/// policy refuses; otherwise it is admitted if no ALLOW policy applies or one matches. Policies on trial are left out.
#[must_use]
pub fn authorize(mesh: &Mesh, destination: &Workload, facts: &Facts<'_>) -> Verdict {
    let subject = Subject::new(facts);
    let mut unknown = None;
    let mut allow_policies = false;
    let mut allowed_by = None;
    for policy in mesh.policies_for(destination) {
        match policy {
            Err(key) => unknown = unknown.or(Some(key)),
            Ok(policy) if policy.dry_run => {}
            Ok(policy) => match policy.action {
                Action::Deny => {
                    if let Some(rule) = subject.first_match(policy) {
                        return Verdict::Deny(DenyReason::Explicit(rule));
                    }
                }
                Action::Allow => {
                    allow_policies = true;
                    allowed_by = allowed_by.or_else(|| subject.first_match(policy));
                }
            },
        }
    }
    if let Some(key) = unknown {
        return Verdict::Deny(DenyReason::UnknownPolicy(Arc::clone(key)));
    }
    if allow_policies && allowed_by.is_none() {
        return Verdict::Deny(DenyReason::NoneAllowed);
    }
    Verdict::Allow { by: allowed_by }
}

/// What the policies on trial (`dry_run`) would have said about one connection to `destination`, for the log only.
#[must_use]
pub fn dry_run(mesh: &Mesh, destination: &Workload, facts: &Facts<'_>) -> Vec<DryRun> {
    let subject = Subject::new(facts);
    let (mut found, mut on_trial, mut enforced, mut allowed) = (Vec::new(), false, false, false);
    for policy in mesh.policies_for(destination).flatten() {
        let matched = policy.dry_run.then(|| subject.first_match(policy)).flatten();
        match policy.action {
            Action::Deny => found.extend(matched.map(DryRun::Deny)),
            Action::Allow => {
                on_trial |= policy.dry_run;
                enforced |= !policy.dry_run;
                allowed |= matched.is_some();
                found.extend(matched.map(DryRun::Allow));
            }
        }
    }
    if on_trial && !enforced && !allowed {
        found.push(DryRun::NoneAllowed);
    }
    found
}

/// The connection in the form in which policies look at it.
struct Subject<'a> {
    identity: Option<&'a Identity>,
    /// The identity without `spiffe://`.
    principal: Option<String>,
    source: IpAddr,
    destination: IpAddr,
    port: u16,
}

impl<'a> Subject<'a> {
    fn new(facts: &Facts<'a>) -> Self {
        Self {
            identity: facts.source,
            principal: facts.source.map(|identity| identity.principal().to_string()),
            // Policies are written in plain IPv4; a dual-stack socket may report the mapped form.
            source: facts.source_address.ip().to_canonical(),
            destination: facts.destination.ip().to_canonical(),
            port: facts.destination.port(),
        }
    }

    fn first_match(&self, policy: &Authorization) -> Option<RuleName> {
        let rule = policy.rules.iter().position(|rule| self.satisfies_rule(rule))?;
        Some(RuleName { policy: policy.policy_name(), rule })
    }

    fn satisfies_rule(&self, rule: &Rule) -> bool {
        rule.clauses.iter().all(|clause| self.satisfies_clause(clause))
    }

    fn satisfies_clause(&self, clause: &Clause) -> bool {
        clause.matches.is_empty() || clause.matches.iter().any(|m| self.satisfies(m))
    }

    fn satisfies(&self, m: &Match) -> bool {
        // A match that asks nothing is what istiod leaves of an L7-only one: it must not hit (datapath §6.2).
        if m.is_empty() {
            return false;
        }
        let namespace = |text: &StringMatch| text.matches(self.identity.map_or("", Identity::namespace));
        let account = |wanted: &ServiceAccount| {
            self.identity.is_some_and(|identity| {
                identity.namespace() == &*wanted.namespace
                    && identity.service_account() == &*wanted.service_account
            })
        };
        let principal = |text: &StringMatch| self.principal.as_deref().is_some_and(|p| text.matches(p));
        let source = |cidr: &IpNet| cidr.contains(&self.source);
        let destination = |cidr: &IpNet| cidr.contains(&self.destination);
        let port = |port: &u16| *port == self.port;
        holds(&m.namespaces, &m.not_namespaces, namespace)
            && holds(&m.service_accounts, &m.not_service_accounts, account)
            && holds(&m.principals, &m.not_principals, principal)
            && holds(&m.source_ips, &m.not_source_ips, source)
            && holds(&m.destination_ips, &m.not_destination_ips, destination)
            && holds(&m.destination_ports, &m.not_destination_ports, port)
    }
}

/// One field: something wanted hits, or nothing is wanted; and nothing unwanted hits.
fn holds<T>(wanted: &[T], unwanted: &[T], hits: impl Fn(&T) -> bool) -> bool {
    (wanted.is_empty() || wanted.iter().any(&hits)) && !unwanted.iter().any(hits)
}

#[cfg(test)]
mod tests;
