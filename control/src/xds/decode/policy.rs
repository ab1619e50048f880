//! Authorization policies. An entry that cannot be read is noted, so that nobody is admitted for the sake of it.
use adit_core::mesh::{
    Action, Authorization, Clause, Match, MatchList, PolicyScope, Rule, ServiceAccount, StringMatch,
    Unreadable,
};
use ipnet::IpNet;

use super::Rejection;
use super::values::{known, range};
use crate::proto::istio::security as wire;
use crate::proto::istio::security::string_match::MatchType;

pub(super) fn policy(message: wire::Authorization) -> Result<Authorization, Rejection> {
    Ok(Authorization {
        scope: match known("scope", message.scope)? {
            wire::Scope::Global => PolicyScope::Global,
            wire::Scope::Namespace => PolicyScope::Namespace,
            wire::Scope::WorkloadSelector => PolicyScope::WorkloadSelector,
        },
        action: match known("action", message.action)? {
            wire::Action::Allow => Action::Allow,
            wire::Action::Deny => Action::Deny,
        },
        rules: message.rules.into_iter().map(rule).collect(),
        dry_run: message.dry_run,
        namespace: message.namespace.into(),
        name: message.name.into(),
    })
}

fn rule(message: wire::Rule) -> Rule {
    Rule { clauses: message.clauses.into_iter().map(clause).collect() }
}

fn clause(message: wire::Clause) -> Clause {
    Clause { matches: message.matches.into_iter().map(conditions).collect() }
}

fn conditions(message: wire::Match) -> Match {
    let mut unreadable = Unreadable::default();
    let mut conditions = Match {
        namespaces: strings(MatchList::Namespaces, message.namespaces, &mut unreadable),
        not_namespaces: strings(MatchList::NotNamespaces, message.not_namespaces, &mut unreadable),
        service_accounts: accounts(message.service_accounts),
        not_service_accounts: accounts(message.not_service_accounts),
        principals: strings(MatchList::Principals, message.principals, &mut unreadable),
        not_principals: strings(MatchList::NotPrincipals, message.not_principals, &mut unreadable),
        source_ips: ranges(MatchList::SourceIps, &message.source_ips, &mut unreadable),
        not_source_ips: ranges(MatchList::NotSourceIps, &message.not_source_ips, &mut unreadable),
        destination_ips: ranges(MatchList::DestinationIps, &message.destination_ips, &mut unreadable),
        not_destination_ips: ranges(
            MatchList::NotDestinationIps,
            &message.not_destination_ips,
            &mut unreadable,
        ),
        destination_ports: ports(MatchList::DestinationPorts, &message.destination_ports, &mut unreadable),
        not_destination_ports: ports(
            MatchList::NotDestinationPorts,
            &message.not_destination_ports,
            &mut unreadable,
        ),
        unreadable: Unreadable::default(),
    };
    conditions.unreadable = unreadable;
    conditions
}

/// What can be read of `entries`; that something cannot is noted.
fn readable<E, T>(
    list: MatchList,
    entries: impl IntoIterator<Item = E>,
    unreadable: &mut Unreadable,
    read: impl Fn(E) -> Option<T>,
) -> Vec<T> {
    let entries = entries.into_iter().filter_map(|entry| {
        let entry = read(entry);
        if entry.is_none() {
            unreadable.add(list);
        }
        entry
    });
    entries.collect()
}

fn strings(
    list: MatchList,
    patterns: Vec<wire::StringMatch>,
    unreadable: &mut Unreadable,
) -> Vec<StringMatch> {
    readable(list, patterns, unreadable, |pattern| {
        Some(match pattern.match_type? {
            MatchType::Exact(text) => StringMatch::Exact(text.into()),
            MatchType::Prefix(text) => StringMatch::Prefix(text.into()),
            MatchType::Suffix(text) => StringMatch::Suffix(text.into()),
            MatchType::Presence(()) => StringMatch::Presence,
        })
    })
}

fn accounts(accounts: Vec<wire::ServiceAccountMatch>) -> Vec<ServiceAccount> {
    let account = |account: wire::ServiceAccountMatch| ServiceAccount {
        namespace: account.namespace.into(),
        service_account: account.service_account.into(),
    };
    accounts.into_iter().map(account).collect()
}

fn ranges(list: MatchList, addresses: &[wire::Address], unreadable: &mut Unreadable) -> Vec<IpNet> {
    readable(list, addresses, unreadable, |address| range("", &address.address, address.length).ok())
}

fn ports(list: MatchList, ports: &[u32], unreadable: &mut Unreadable) -> Vec<u16> {
    readable(list, ports, unreadable, |port| u16::try_from(*port).ok())
}
