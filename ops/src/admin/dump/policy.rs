//! A policy as JSON.
use std::sync::Arc;

use adit_core::mesh::{Action, Authorization, Clause, Match, PolicyScope, Rule, ServiceAccount, StringMatch};
use serde::Serialize;

use super::match_list;

/// `{"Exact": s}`, `{"Prefix": s}`, `{"Suffix": s}` or `{"Presence": []}`.
#[derive(Serialize)]
enum Text {
    Exact(Arc<str>),
    Prefix(Arc<str>),
    Suffix(Arc<str>),
    Presence([(); 0]),
}

impl Text {
    fn new(text: &StringMatch) -> Self {
        match text {
            StringMatch::Exact(text) => Self::Exact(Arc::clone(text)),
            StringMatch::Prefix(text) => Self::Prefix(Arc::clone(text)),
            StringMatch::Suffix(text) => Self::Suffix(Arc::clone(text)),
            StringMatch::Presence => Self::Presence([]),
        }
    }

    fn all(texts: &[StringMatch]) -> Vec<Self> {
        texts.iter().map(Self::new).collect()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    namespace: Arc<str>,
    service_account: Arc<str>,
}

impl Account {
    fn all(accounts: &[ServiceAccount]) -> Vec<Self> {
        let one = |account: &ServiceAccount| Self {
            namespace: Arc::clone(&account.namespace),
            service_account: Arc::clone(&account.service_account),
        };
        accounts.iter().map(one).collect()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MatchEntry {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_namespaces: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_accounts: Vec<Account>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_service_accounts: Vec<Account>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    principals: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_principals: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_ips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_source_ips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    destination_ips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_destination_ips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    destination_ports: Vec<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_destination_ports: Vec<u16>,
    /// Keys of the lists above that had entries which could not be read. Not in ztunnel's dump; istioctl ignores it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<&'static str>,
}

impl MatchEntry {
    fn new(one: &Match) -> Self {
        let ranges = |ranges: &[ipnet::IpNet]| ranges.iter().map(ToString::to_string).collect();
        Self {
            namespaces: Text::all(&one.namespaces),
            not_namespaces: Text::all(&one.not_namespaces),
            service_accounts: Account::all(&one.service_accounts),
            not_service_accounts: Account::all(&one.not_service_accounts),
            principals: Text::all(&one.principals),
            not_principals: Text::all(&one.not_principals),
            source_ips: ranges(&one.source_ips),
            not_source_ips: ranges(&one.not_source_ips),
            destination_ips: ranges(&one.destination_ips),
            not_destination_ips: ranges(&one.not_destination_ips),
            destination_ports: one.destination_ports.clone(),
            not_destination_ports: one.not_destination_ports.clone(),
            unreadable: match_list::all()
                .filter(|(list, _)| one.unreadable.contains(*list))
                .map(|(_, key)| key)
                .collect(),
        }
    }
}

/// One of `policies`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyEntry {
    name: Arc<str>,
    namespace: Arc<str>,
    scope: &'static str,
    action: &'static str,
    /// Rule → clause → match.
    rules: Vec<Vec<Vec<MatchEntry>>>,
    dry_run: bool,
}

impl PolicyEntry {
    pub(super) fn new(policy: &Authorization) -> Self {
        let clause = |clause: &Clause| clause.matches.iter().map(MatchEntry::new).collect();
        let rule = |rule: &Rule| rule.clauses.iter().map(clause).collect();
        Self {
            name: Arc::clone(&policy.name),
            namespace: Arc::clone(&policy.namespace),
            scope: match policy.scope {
                PolicyScope::Global => "Global",
                PolicyScope::Namespace => "Namespace",
                PolicyScope::WorkloadSelector => "WorkloadSelector",
            },
            action: match policy.action {
                Action::Allow => "Allow",
                Action::Deny => "Deny",
            },
            rules: policy.rules.iter().map(rule).collect(),
            dry_run: policy.dry_run,
        }
    }
}
