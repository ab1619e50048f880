//! Authorization policies. An entry that cannot be read rejects the policy: without it, it could admit what it forbids.
use adit_core::mesh::{
    Action, Authorization, Clause, Match, PolicyScope, Rule, ServiceAccount, StringMatch,
};
use ipnet::IpNet;

use super::Rejection;
use super::values::{known, port, range};
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
        rules: message.rules.into_iter().map(rule).collect::<Result<_, _>>()?,
        dry_run: message.dry_run,
        namespace: message.namespace.into(),
        name: message.name.into(),
    })
}

fn rule(message: wire::Rule) -> Result<Rule, Rejection> {
    Ok(Rule { clauses: message.clauses.into_iter().map(clause).collect::<Result<_, _>>()? })
}

fn clause(message: wire::Clause) -> Result<Clause, Rejection> {
    Ok(Clause { matches: message.matches.into_iter().map(conditions).collect::<Result<_, _>>()? })
}

fn conditions(message: wire::Match) -> Result<Match, Rejection> {
    Ok(Match {
        namespaces: strings("namespaces", message.namespaces)?,
        not_namespaces: strings("not_namespaces", message.not_namespaces)?,
        service_accounts: accounts(message.service_accounts),
        not_service_accounts: accounts(message.not_service_accounts),
        principals: strings("principals", message.principals)?,
        not_principals: strings("not_principals", message.not_principals)?,
        source_ips: ranges("source_ips", &message.source_ips)?,
        not_source_ips: ranges("not_source_ips", &message.not_source_ips)?,
        destination_ips: ranges("destination_ips", &message.destination_ips)?,
        not_destination_ips: ranges("not_destination_ips", &message.not_destination_ips)?,
        destination_ports: ports("destination_ports", &message.destination_ports)?,
        not_destination_ports: ports("not_destination_ports", &message.not_destination_ports)?,
    })
}

fn strings(field: &'static str, patterns: Vec<wire::StringMatch>) -> Result<Vec<StringMatch>, Rejection> {
    let pattern = |pattern: wire::StringMatch| match pattern.match_type {
        Some(MatchType::Exact(text)) => Ok(StringMatch::Exact(text.into())),
        Some(MatchType::Prefix(text)) => Ok(StringMatch::Prefix(text.into())),
        Some(MatchType::Suffix(text)) => Ok(StringMatch::Suffix(text.into())),
        Some(MatchType::Presence(())) => Ok(StringMatch::Presence),
        None => Err(Rejection::NoMatchType(field)),
    };
    patterns.into_iter().map(pattern).collect()
}

fn accounts(accounts: Vec<wire::ServiceAccountMatch>) -> Vec<ServiceAccount> {
    let account = |account: wire::ServiceAccountMatch| ServiceAccount {
        namespace: account.namespace.into(),
        service_account: account.service_account.into(),
    };
    accounts.into_iter().map(account).collect()
}

fn ranges(field: &'static str, addresses: &[wire::Address]) -> Result<Vec<IpNet>, Rejection> {
    addresses.iter().map(|address| range(field, &address.address, address.length)).collect()
}

fn ports(field: &'static str, ports: &[u32]) -> Result<Vec<u16>, Rejection> {
    ports.iter().map(|each| port(field, *each)).collect()
}
