//! Policy entries. Whatever cannot be read is an error: leaving out one condition could admit more than was meant.

use adit_core::mesh::{
    Action, Authorization, Clause, Match, PolicyScope, Rule, ServiceAccount, StringMatch, Unreadable,
};
use ipnet::IpNet;

use super::error::{Entry, Problem};
use super::schema;
use super::values::{Port, TextMatch, cidr, each};

pub(super) fn policy(position: usize, file: schema::Policy) -> Result<Authorization, Problem> {
    let entry = Entry::policy(position, &file.name);
    for (field, value) in [("namespace", &file.namespace), ("name", &file.name)] {
        if value.is_empty() || value.contains('/') {
            return Err(entry.value(field, value, "a name without '/'"));
        }
    }
    let rules = each("rules", file.rules, |field, clauses| {
        let clauses = each(field, clauses, |field, matches| {
            let matches = each(field, matches, |field, m| read_match(&entry, field, m))?;
            Ok(Clause { matches })
        })?;
        Ok(Rule { clauses })
    })?;
    Ok(Authorization {
        namespace: file.namespace.into(),
        name: file.name.into(),
        scope: match file.scope {
            schema::PolicyScope::Global => PolicyScope::Global,
            schema::PolicyScope::Namespace => PolicyScope::Namespace,
            schema::PolicyScope::WorkloadSelector => PolicyScope::WorkloadSelector,
        },
        action: match file.action {
            schema::Action::Allow => Action::Allow,
            schema::Action::Deny => Action::Deny,
        },
        rules,
        dry_run: file.dry_run,
    })
}

fn read_match(entry: &Entry, field: &str, file: schema::Match) -> Result<Match, Problem> {
    let cidrs = |name: &str, list: Vec<String>| -> Result<Vec<IpNet>, Problem> {
        each(&format!("{field}.{name}"), list, |field, text| cidr(entry, field, &text))
    };
    Ok(Match {
        namespaces: texts(file.namespaces),
        not_namespaces: texts(file.not_namespaces),
        service_accounts: accounts(file.service_accounts),
        not_service_accounts: accounts(file.not_service_accounts),
        principals: texts(file.principals),
        not_principals: texts(file.not_principals),
        source_ips: cidrs("sourceIps", file.source_ips)?,
        not_source_ips: cidrs("notSourceIps", file.not_source_ips)?,
        destination_ips: cidrs("destinationIps", file.destination_ips)?,
        not_destination_ips: cidrs("notDestinationIps", file.not_destination_ips)?,
        destination_ports: numbers(file.destination_ports),
        not_destination_ports: numbers(file.not_destination_ports),
        unreadable: Unreadable::default(),
    })
}

fn texts(list: Vec<TextMatch>) -> Vec<StringMatch> {
    list.into_iter().map(|text| text.0).collect()
}

fn accounts(list: Vec<schema::ServiceAccount>) -> Vec<ServiceAccount> {
    let account = |account: schema::ServiceAccount| ServiceAccount {
        namespace: account.namespace.into(),
        service_account: account.service_account.into(),
    };
    list.into_iter().map(account).collect()
}

fn numbers(list: Vec<Port>) -> Vec<u16> {
    list.into_iter().map(|port| port.0).collect()
}
