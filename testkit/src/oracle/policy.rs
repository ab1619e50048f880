//! Authorization, read from datapath §6.2–6.4 line by line: every policy is looked at, every list is walked.
use std::collections::BTreeSet;
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::mesh::{Match, MatchList, Mesh, ServiceAccount, StringMatch, Workload};
use adit_core::policy::{Action, Authorization, Clause, DenyReason, DryRun, Facts, Rule, RuleName, Verdict};
use ipnet::IpNet;

/// Judges one connection to `destination`: any matching DENY refuses; otherwise a listed but unknown policy refuses;
/// otherwise it is admitted if no ALLOW policy applies or one matches. Policies on trial are left out.
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

/// What the policies on trial would have said, each once.
#[must_use]
pub fn dry_run(mesh: &Mesh, destination: &Workload, facts: &Facts<'_>) -> Vec<DryRun> {
    let subject = Subject::new(facts);
    let (mut found, mut on_trial, mut enforced, mut allowed) = (Vec::new(), false, false, false);
    let mut seen = BTreeSet::new();
    for policy in mesh.policies_for(destination).flatten() {
        if !seen.insert(policy.key()) {
            continue;
        }
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
    facts: &'a Facts<'a>,
    principal: Option<String>,
}

impl<'a> Subject<'a> {
    fn new(facts: &'a Facts<'a>) -> Self {
        Self { facts, principal: facts.source.map(|identity| identity.principal().to_string()) }
    }

    fn first_match(&self, policy: &Authorization) -> Option<RuleName> {
        let rule = policy.rules.iter().position(|rule| self.satisfies_rule(rule, policy.action))?;
        Some(RuleName { policy: policy.policy_name(), rule })
    }

    fn satisfies_rule(&self, rule: &Rule, action: Action) -> bool {
        rule.clauses.iter().all(|clause| self.satisfies_clause(clause, action))
    }

    fn satisfies_clause(&self, clause: &Clause, action: Action) -> bool {
        clause.matches.is_empty() || clause.matches.iter().any(|m| self.satisfies(m, action))
    }

    fn satisfies(&self, m: &Match, action: Action) -> bool {
        use MatchList as L;
        // What is left of a match for HTTP only must not hit.
        if *m == Match::default() {
            return false;
        }
        let identity = self.facts.source;
        let namespace = |text: &StringMatch| text.matches(identity.map_or("", Identity::namespace));
        let account = |wanted: &ServiceAccount| {
            identity.is_some_and(|identity| {
                identity.namespace() == &*wanted.namespace
                    && identity.service_account() == &*wanted.service_account
            })
        };
        let principal = |text: &StringMatch| self.principal.as_deref().is_some_and(|p| text.matches(p));
        let source = |cidr: &IpNet| cidr.contains(&self.facts.source_address.ip().to_canonical());
        let destination = |cidr: &IpNet| cidr.contains(&self.facts.destination.ip().to_canonical());
        let port = |port: &u16| *port == self.facts.destination.port();
        // An entry that could not be read hits or does not, whichever refuses.
        let denies = action == Action::Deny;
        let wanted = |list, empty: bool, hits: bool| {
            let unreadable = m.unreadable.contains(list);
            (empty && !unreadable) || hits || (unreadable && denies)
        };
        let unwanted = |list, hits: bool| !hits && (denies || !m.unreadable.contains(list));
        wanted(L::Namespaces, m.namespaces.is_empty(), m.namespaces.iter().any(namespace))
            && unwanted(L::NotNamespaces, m.not_namespaces.iter().any(namespace))
            && wanted(
                L::ServiceAccounts,
                m.service_accounts.is_empty(),
                m.service_accounts.iter().any(account),
            )
            && unwanted(L::NotServiceAccounts, m.not_service_accounts.iter().any(account))
            && wanted(L::Principals, m.principals.is_empty(), m.principals.iter().any(principal))
            && unwanted(L::NotPrincipals, m.not_principals.iter().any(principal))
            && wanted(L::SourceIps, m.source_ips.is_empty(), m.source_ips.iter().any(source))
            && unwanted(L::NotSourceIps, m.not_source_ips.iter().any(source))
            && wanted(
                L::DestinationIps,
                m.destination_ips.is_empty(),
                m.destination_ips.iter().any(destination),
            )
            && unwanted(L::NotDestinationIps, m.not_destination_ips.iter().any(destination))
            && wanted(
                L::DestinationPorts,
                m.destination_ports.is_empty(),
                m.destination_ports.iter().any(port),
            )
            && unwanted(L::NotDestinationPorts, m.not_destination_ports.iter().any(port))
    }
}
