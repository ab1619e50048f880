//! Any policies and any connections: the index of the core decides as the reference does, word for word.
use std::net::{IpAddr, SocketAddr};

use adit_core::identity::Identity;
use adit_core::mesh::{Match, MatchList, Mesh, PolicyScope, ServiceAccount, StringMatch, Workload};
use adit_core::policy::{Action, Authorization, Clause, Consulted, Facts, PolicySet, Rule, judge};
use ipnet::IpNet;

use super::Choices;
use crate::oracle::policy as reference;

const LISTS: [MatchList; 12] = [
    MatchList::Namespaces,
    MatchList::NotNamespaces,
    MatchList::ServiceAccounts,
    MatchList::NotServiceAccounts,
    MatchList::Principals,
    MatchList::NotPrincipals,
    MatchList::SourceIps,
    MatchList::NotSourceIps,
    MatchList::DestinationIps,
    MatchList::NotDestinationIps,
    MatchList::DestinationPorts,
    MatchList::NotDestinationPorts,
];

/// One octet each: how many policies, what the workload lists, then the policies. What is left draws connections; there
/// are always a few that hit what policies commonly name.
pub fn body(data: &[u8]) {
    let mut choices = Choices::new(data);
    let count = choices.octet() % 12;
    let mut workload =
        Workload::new("u", "w", Identity::new("td", "a", "w").unwrap_or_else(|error| panic!("{error}")));
    for _ in 0..choices.octet() % 4 {
        let listed = choices.octet();
        let namespace = ["a", "b"][usize::from(listed & 1)];
        workload.authorization_policies.push(format!("{namespace}/p{}", listed >> 4).into());
    }
    let policies = (0..count).map(|number| policy(&mut choices, number)).collect();
    let mesh = Mesh::new("".into(), vec![], vec![], policies).unwrap_or_else(|error| panic!("{error}"));
    let set = PolicySet::new(&mesh, &workload);
    assert!(set.is_current(&mesh, &workload));
    for _ in 0..8 {
        connection(&mut choices, &mesh, &workload, &set);
    }
}

fn connection(choices: &mut Choices<'_>, mesh: &Mesh, workload: &Workload, set: &PolicySet) {
    let drawn = choices.octet();
    let identity = (drawn & 3 != 0).then(|| {
        let (trust, rest) = if drawn & 4 == 0 { ("td", drawn) } else { ("t.d", drawn >> 1) };
        let namespace = ["a", "ab", "b", "ba"][usize::from(rest >> 3 & 3)];
        Identity::new(trust, namespace, ["a", "b"][usize::from(rest >> 5 & 1)])
            .unwrap_or_else(|error| panic!("{error}"))
    });
    let facts = Facts {
        source: identity.as_ref(),
        source_address: SocketAddr::new(address(choices.octet()), 1),
        destination: SocketAddr::new(address(choices.octet()), port(choices.octet())),
    };
    let expected = reference::authorize(mesh, workload, &facts);
    assert_eq!(set.judge(&facts), expected);
    let on_trial = reference::dry_run(mesh, workload, &facts);
    assert_eq!(set.on_trial(&facts), on_trial);
    let judgement = judge(mesh, workload, &facts);
    assert_eq!((judgement.verdict, judgement.on_trial), (expected, on_trial));
    let known = |c: &&Consulted| matches!(c, Consulted::Known { .. });
    assert!(judgement.consulted.iter().filter(known).count() <= mesh.policies().count());
}

fn policy(choices: &mut Choices<'_>, number: u8) -> Authorization {
    let drawn = choices.octet();
    let mut policy = Authorization {
        namespace: ["a", "b"][usize::from(drawn & 1)].into(),
        name: format!("p{number}").into(),
        scope: [
            PolicyScope::Global,
            PolicyScope::Namespace,
            PolicyScope::WorkloadSelector,
            PolicyScope::Namespace,
        ][usize::from(drawn >> 1 & 3)],
        action: if drawn & 8 == 0 { Action::Allow } else { Action::Deny },
        rules: vec![],
        dry_run: drawn & 0x30 == 0x30,
    };
    let shape = choices.octet();
    for _ in 0..shape & 3 {
        let clauses = choices.octet() % 5;
        let clauses = (0..clauses).map(|_| {
            let matches = choices.octet() % 4;
            Clause { matches: (0..matches).map(|_| any_match(choices)).collect() }
        });
        policy.rules.push(Rule { clauses: clauses.collect() });
    }
    policy
}

/// Most fields empty: two octets say which of the twelve lists have entries, and which could not be read.
fn any_match(choices: &mut Choices<'_>) -> Match {
    let mut m = Match::default();
    for _ in 0..choices.octet() % 4 {
        let drawn = choices.octet();
        let list = LISTS[usize::from(drawn) % LISTS.len()];
        if drawn >= 240 {
            m.unreadable.add(list);
            continue;
        }
        let entry = choices.octet();
        match list {
            MatchList::Namespaces => m.namespaces.push(text(entry)),
            MatchList::NotNamespaces => m.not_namespaces.push(text(entry)),
            MatchList::ServiceAccounts => m.service_accounts.push(account(entry)),
            MatchList::NotServiceAccounts => m.not_service_accounts.push(account(entry)),
            MatchList::Principals => m.principals.push(text(entry)),
            MatchList::NotPrincipals => m.not_principals.push(text(entry)),
            MatchList::SourceIps => m.source_ips.push(net(entry)),
            MatchList::NotSourceIps => m.not_source_ips.push(net(entry)),
            MatchList::DestinationIps => m.destination_ips.push(net(entry)),
            MatchList::NotDestinationIps => m.not_destination_ips.push(net(entry)),
            MatchList::DestinationPorts => m.destination_ports.push(port(entry)),
            MatchList::NotDestinationPorts => m.not_destination_ports.push(port(entry)),
        }
    }
    m
}

fn text(drawn: u8) -> StringMatch {
    let texts = [
        "",
        "a",
        "ab",
        "b",
        "td/ns/a/sa/a",
        "td/ns/a/sa/b",
        "t",
        "td/",
        "td/ns/ab",
        "sa/b",
        "ba",
        "t.d/ns/a/sa/a",
    ];
    let text = texts[usize::from(drawn >> 2) % texts.len()].into();
    match drawn & 3 {
        0 => StringMatch::Exact(text),
        1 => StringMatch::Prefix(text),
        2 => StringMatch::Suffix(text),
        _ => StringMatch::Presence,
    }
}

fn account(drawn: u8) -> ServiceAccount {
    let names = ["a", "b", "ab", ""];
    ServiceAccount {
        namespace: names[usize::from(drawn & 3)].into(),
        service_account: names[usize::from(drawn >> 2 & 3)].into(),
    }
}

/// Both families, mapped IPv4 too.
fn address(drawn: u8) -> IpAddr {
    let last = drawn >> 3;
    match drawn & 7 {
        0 => [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)].into(),
        1 => std::net::Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped().into(),
        2 => [10, 0, 1, last].into(),
        3 => [0, 0, 0, 0].into(),
        _ => [10, 0, 0, last].into(),
    }
}

/// Of every length, host bits and all.
fn net(drawn: u8) -> IpNet {
    let address = address(drawn.rotate_left(3)).to_canonical();
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match drawn & 7 {
        0 => 0,
        1 => 8,
        2 => most - 8,
        3 => most - 4,
        4 | 5 => most - 1,
        _ => most,
    };
    IpNet::new(address, length).unwrap_or_else(|error| panic!("{error}"))
}

fn port(drawn: u8) -> u16 {
    80 + u16::from(drawn % 4)
}
