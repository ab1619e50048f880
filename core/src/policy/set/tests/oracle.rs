//! A second, slow evaluator, written from datapath §6.2–6.4 alone: text, sets and bit strings instead of the types'
//! own comparisons.

use std::borrow::ToOwned;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use core::net::IpAddr;

use ipnet::IpNet;

use crate::mesh::{Action, Authorization, Match, MatchList, PolicyScope, StringMatch};
use crate::policy::Facts;

/// All lists: wanted and unwanted of one field beside each other, in the order of `holds`.
pub(super) const LISTS: [MatchList; 12] = [
    MatchList::Namespaces,
    MatchList::NotNamespaces,
    MatchList::Principals,
    MatchList::NotPrincipals,
    MatchList::ServiceAccounts,
    MatchList::NotServiceAccounts,
    MatchList::SourceIps,
    MatchList::NotSourceIps,
    MatchList::DestinationIps,
    MatchList::NotDestinationIps,
    MatchList::DestinationPorts,
    MatchList::NotDestinationPorts,
];

/// Whether a connection to a workload of namespace `default` that lists `listed` is admitted.
pub(super) fn admits(policies: &[Authorization], listed: &[String], facts: &Facts<'_>) -> bool {
    let known: Vec<String> = policies.iter().map(|p| format!("{}/{}", p.namespace, p.name)).collect();
    if listed.iter().any(|key| !known.contains(key)) {
        return false;
    }
    let enforced = policies.iter().zip(&known).filter(|(p, key)| {
        !p.dry_run
            && (listed.contains(key)
                || p.scope == PolicyScope::Global
                || (p.scope == PolicyScope::Namespace && &*p.namespace == "default"))
    });
    let outcomes: Vec<(Action, bool)> = enforced.map(|(p, _)| (p.action, matches(p, facts))).collect();
    let has_allow = outcomes.iter().any(|(action, _)| *action == Action::Allow);
    !outcomes.contains(&(Action::Deny, true)) && (!has_allow || outcomes.contains(&(Action::Allow, true)))
}

fn matches(policy: &Authorization, facts: &Facts<'_>) -> bool {
    let mut any_rule = false;
    for rule in &policy.rules {
        let mut all_clauses = true;
        for clause in &rule.clauses {
            let mut any_match = clause.matches.is_empty();
            for m in &clause.matches {
                any_match = any_match || holds(m, facts, policy.action);
            }
            all_clauses = all_clauses && any_match;
        }
        any_rule = any_rule || all_clauses;
    }
    any_rule
}

fn holds(m: &Match, facts: &Facts<'_>, action: Action) -> bool {
    let namespace = facts.source.map_or("", |id| id.namespace());
    let uri = facts.source.map(ToString::to_string);
    let principal = uri.as_deref().map(|uri| uri["spiffe://".len()..].to_owned());
    let account = facts.source.map(|id| (id.namespace(), id.service_account()));
    let namespace_hit = |wanted: &StringMatch| text(wanted, namespace);
    let principal_hit = |wanted: &StringMatch| principal.as_ref().is_some_and(|p| text(wanted, p));
    // (number of entries, number that hit) for the wanted and the unwanted list of each field.
    let mut fields = [
        (count(&m.namespaces, namespace_hit), count(&m.not_namespaces, namespace_hit)),
        (count(&m.principals, principal_hit), count(&m.not_principals, principal_hit)),
        (
            count(&m.service_accounts, |a| account == Some((&a.namespace, &a.service_account))),
            count(&m.not_service_accounts, |a| account == Some((&a.namespace, &a.service_account))),
        ),
        (
            count(&m.source_ips, |net| within(net, facts.source_address.ip())),
            count(&m.not_source_ips, |net| within(net, facts.source_address.ip())),
        ),
        (
            count(&m.destination_ips, |net| within(net, facts.destination.ip())),
            count(&m.not_destination_ips, |net| within(net, facts.destination.ip())),
        ),
        (
            count(&m.destination_ports, |p| *p == facts.destination.port()),
            count(&m.not_destination_ports, |p| *p == facts.destination.port()),
        ),
    ];
    // What could not be read counts as one more entry: it hits or not, whichever refuses.
    let denies = action == Action::Deny;
    for (field, lists) in fields.iter_mut().zip(LISTS.chunks(2)) {
        for (list, count, hits) in [(lists[0], &mut field.0, denies), (lists[1], &mut field.1, !denies)] {
            if m.unreadable.contains(list) {
                *count = (count.0 + 1, count.1 + usize::from(hits));
            }
        }
    }
    let entries: usize = fields.iter().map(|(wanted, unwanted)| wanted.0 + unwanted.0).sum();
    entries > 0 && fields.iter().all(|(wanted, unwanted)| (wanted.0 == 0 || wanted.1 > 0) && unwanted.1 == 0)
}

fn count<T>(list: &[T], hit: impl Fn(&T) -> bool) -> (usize, usize) {
    (list.len(), list.iter().filter(|item| hit(item)).count())
}

fn text(wanted: &StringMatch, value: &str) -> bool {
    match wanted {
        StringMatch::Exact(text) => value.as_bytes() == text.as_bytes(),
        StringMatch::Prefix(text) => value.find(&**text) == Some(0),
        StringMatch::Suffix(text) => value.rfind(&**text).is_some_and(|at| at + text.len() == value.len()),
        StringMatch::Presence => value.chars().next().is_some(),
    }
}

fn within(net: &IpNet, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => format!("{:032b}", u32::from(v4)),
        IpAddr::V6(v6) => format!("{:0128b}", u128::from(v6)),
    };
    let (network, address) = (bits(net.addr()), bits(address));
    let prefix = usize::from(net.prefix_len());
    network.len() == address.len() && network[..prefix] == address[..prefix]
}
