use std::string::ToString;
use std::vec;

use proptest::prelude::*;

use core::net::IpAddr;

use ipnet::IpNet;

use super::*;
use crate::identity::Identity;
use crate::mesh::{
    Clause, Match, MatchList, PolicyName, PolicyScope, Rule, ServiceAccount, StringMatch, Unreadable,
};
use crate::policy::judge;

mod closed;
mod edges;
mod oracle;
mod random;

fn authorize(mesh: &Mesh, destination: &Workload, facts: &Facts<'_>) -> Verdict {
    PolicySet::new(mesh, destination).judge(facts)
}

fn dry_run(mesh: &Mesh, destination: &Workload, facts: &Facts<'_>) -> Vec<DryRun> {
    PolicySet::new(mesh, destination).on_trial(facts)
}

/// The workload that is called, in namespace `default`.
fn target() -> Workload {
    Workload::new("u/target", "target", Identity::new("cluster.local", "default", "target").unwrap())
}

fn policy(name: &str, action: Action, rules: Vec<Rule>) -> Authorization {
    Authorization {
        namespace: "default".into(),
        name: name.into(),
        scope: PolicyScope::Namespace,
        action,
        rules,
        dry_run: false,
    }
}

fn rule(clauses: Vec<Vec<Match>>) -> Rule {
    Rule { clauses: clauses.into_iter().map(|matches| Clause { matches }).collect() }
}

fn mesh(policies: Vec<Authorization>) -> Mesh {
    Mesh::new("".into(), vec![], vec![], policies).unwrap()
}

fn facts<'a>(source: Option<&'a Identity>) -> Facts<'a> {
    Facts {
        source,
        source_address: "10.0.1.7:40000".parse().unwrap(),
        destination: "10.0.2.9:8080".parse().unwrap(),
    }
}

fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

fn named(policy: &str, rule: usize) -> RuleName {
    RuleName { policy: PolicyName { namespace: "default".into(), name: policy.into() }, rule }
}

fn exact(text: &str) -> Vec<StringMatch> {
    vec![StringMatch::Exact(text.into())]
}

/// Whether a DENY policy made of just `m` hits a connection.
fn hits(m: &Match, facts: &Facts<'_>) -> bool {
    let mesh = mesh(vec![policy("p", Action::Deny, vec![rule(vec![vec![m.clone()]])])]);
    authorize(&mesh, &target(), facts) == Verdict::Deny(DenyReason::Explicit(named("p", 0)))
}

// datapath §6.7: each field positive and negative against plaintext, a matching and another TLS connection.
#[test]
fn every_field_in_both_forms() {
    let me = identity("spiffe://cluster.local/ns/prod/sa/web");
    let other = identity("spiffe://cluster.local/ns/test/sa/db");
    let account = || vec![ServiceAccount { namespace: "prod".into(), service_account: "web".into() }];
    let net = |text: &str| -> Vec<IpNet> { vec![text.parse().unwrap()] };
    let principal = "cluster.local/ns/prod/sa/web";
    let none = Match::default;
    // (match, hits with `me`, with `other`, in plaintext)
    let table = [
        (Match { namespaces: exact("prod"), ..none() }, [true, false, false]),
        (Match { not_namespaces: exact("prod"), ..none() }, [false, true, true]),
        (Match { service_accounts: account(), ..none() }, [true, false, false]),
        (Match { not_service_accounts: account(), ..none() }, [false, true, true]),
        (Match { principals: exact(principal), ..none() }, [true, false, false]),
        (Match { not_principals: exact(principal), ..none() }, [false, true, true]),
        (Match { principals: vec![StringMatch::Presence], ..none() }, [true, true, false]),
        (Match { not_principals: vec![StringMatch::Presence], ..none() }, [false, false, true]),
        // Never with the scheme.
        (Match { principals: exact("spiffe://cluster.local/ns/prod/sa/web"), ..none() }, [false; 3]),
        (Match { source_ips: net("10.0.1.0/24"), ..none() }, [true; 3]),
        (Match { source_ips: net("10.0.2.0/24"), ..none() }, [false; 3]),
        (Match { not_source_ips: net("10.0.1.0/24"), ..none() }, [false; 3]),
        (Match { not_source_ips: net("10.0.2.0/24"), ..none() }, [true; 3]),
        (Match { destination_ips: net("10.0.2.9/32"), ..none() }, [true; 3]),
        (Match { destination_ips: net("fd00::/8"), ..none() }, [false; 3]),
        (Match { not_destination_ips: net("10.0.2.9/32"), ..none() }, [false; 3]),
        (Match { not_destination_ips: net("fd00::/8"), ..none() }, [true; 3]),
        (Match { destination_ports: vec![8080, 9090], ..none() }, [true; 3]),
        (Match { destination_ports: vec![9090], ..none() }, [false; 3]),
        (Match { not_destination_ports: vec![9090, 8080], ..none() }, [false; 3]),
        (Match { not_destination_ports: vec![9090], ..none() }, [true; 3]),
        // Fields of one match are ANDed.
        (Match { namespaces: exact("prod"), destination_ports: vec![8080], ..none() }, [true, false, false]),
        (Match { namespaces: exact("prod"), destination_ports: vec![1], ..none() }, [false; 3]),
        // A match that asks nothing never holds.
        (none(), [false; 3]),
    ];
    for (m, expected) in table {
        let found = [Some(&me), Some(&other), None].map(|source| hits(&m, &facts(source)));
        assert_eq!(found, expected, "{m:?}");
    }
}

#[test]
fn a_service_account_may_be_of_any_trust_domain() {
    let m = Match {
        service_accounts: vec![ServiceAccount { namespace: "prod".into(), service_account: "web".into() }],
        ..Match::default()
    };
    assert!(hits(&m, &facts(Some(&identity("spiffe://elsewhere/ns/prod/sa/web")))));
    assert!(!hits(&m, &facts(Some(&identity("spiffe://cluster.local/ns/prod/sa/webb")))));
}

// datapath §6.7: /24 with host bits set.
#[test]
fn host_bits_of_a_cidr_do_not_count() {
    let m = Match { source_ips: vec!["10.0.1.200/24".parse().unwrap()], ..Match::default() };
    assert!(hits(&m, &facts(None)));
}

#[test]
fn mapped_addresses_match_plain_cidrs() {
    let m = Match { source_ips: vec!["10.0.1.0/24".parse().unwrap()], ..Match::default() };
    let mut facts = facts(None);
    facts.source_address = "[::ffff:10.0.1.7]:40000".parse().unwrap();
    assert!(hits(&m, &facts));
}

#[test]
fn all_kinds_of_text_match() {
    use StringMatch::{Exact, Prefix, Presence, Suffix};
    let table = [
        (Exact("abc".into()), [true, false, false, false]),
        (Prefix("ab".into()), [true, true, false, false]),
        (Suffix("bc".into()), [true, false, false, false]),
        (Exact("".into()), [false, false, true, false]),
        (Prefix("".into()), [true, true, true, true]),
        (Presence, [true, true, false, true]),
    ];
    for (m, expected) in table {
        assert_eq!(["abc", "abd", "", "ABC"].map(|text| m.matches(text)), expected, "{m:?}");
    }
}

// datapath §6.2: what an empty level means.
#[test]
fn empty_levels() {
    let empty = Match::default;
    let port = || Match { destination_ports: vec![8080], ..Match::default() };
    let never = || Match { destination_ports: vec![1], ..Match::default() };
    let table = [
        (vec![], None),
        (vec![rule(vec![])], Some(0)),
        (vec![rule(vec![vec![]])], Some(0)),
        (vec![rule(vec![vec![empty()]])], None),
        (vec![rule(vec![vec![empty(), port()]])], Some(0)),
        (vec![rule(vec![vec![], vec![empty()]])], None),
        // Clauses are ANDed, matches and rules ORed; the first rule that holds is named.
        (vec![rule(vec![vec![never()], vec![port()]])], None),
        (vec![rule(vec![vec![never(), port()], vec![port()]])], Some(0)),
        (vec![rule(vec![vec![never()]]), rule(vec![vec![port()]])], Some(1)),
    ];
    for (rules, expected) in table {
        let denied = mesh(vec![policy("p", Action::Deny, rules.clone())]);
        let allowed = mesh(vec![policy("p", Action::Allow, rules.clone())]);
        let (denied, allowed) =
            (authorize(&denied, &target(), &facts(None)), authorize(&allowed, &target(), &facts(None)));
        match expected {
            Some(rule) => {
                assert_eq!(denied, Verdict::Deny(DenyReason::Explicit(named("p", rule))), "{rules:?}");
                assert_eq!(allowed, Verdict::Allow { by: Some(named("p", rule)) }, "{rules:?}");
            }
            None => {
                assert_eq!(denied, Verdict::Allow { by: None }, "{rules:?}");
                assert_eq!(allowed, Verdict::Deny(DenyReason::NoneAllowed), "{rules:?}");
            }
        }
    }
}

// datapath §6.7: (namespace a or namespace b) and port 8080.
#[test]
fn alternatives_and_a_port() {
    let rules = vec![rule(vec![
        vec![
            Match { namespaces: exact("a"), ..Match::default() },
            Match { namespaces: exact("b"), ..Match::default() },
        ],
        vec![Match { destination_ports: vec![8080], ..Match::default() }],
    ])];
    let mesh = mesh(vec![policy("p", Action::Allow, rules)]);
    for (namespace, port, admitted) in
        [("a", 8080, true), ("b", 8080, true), ("c", 8080, false), ("a", 80, false), ("c", 80, false)]
    {
        let source = Identity::new("cluster.local", namespace, "x").unwrap();
        let mut facts = facts(Some(&source));
        facts.destination.set_port(port);
        let verdict = authorize(&mesh, &target(), &facts);
        assert_eq!(matches!(verdict, Verdict::Allow { .. }), admitted, "{namespace} {port}");
    }
}

#[test]
fn deny_beats_allow_and_the_texts_are_those_operators_match_on() {
    let always = || vec![rule(vec![])];
    let both = mesh(vec![policy("yes", Action::Allow, always()), policy("no", Action::Deny, always())]);
    let Verdict::Deny(reason) = authorize(&both, &target(), &facts(None)) else { panic!("admitted") };
    assert_eq!(reason.to_string(), "explicitly denied by: default/no");
    assert_eq!(DenyReason::NoneAllowed.to_string(), "allow policies exist, but none allowed");
    let verdict = authorize(&mesh(vec![]), &target(), &facts(None));
    assert_eq!(verdict, Verdict::Allow { by: None });
}

// Stricter than ztunnel, which skips unknown policies (design §4: fail closed).
#[test]
fn a_listed_policy_nobody_knows_denies() {
    let mut target = target();
    target.authorization_policies = vec!["default/gone".into()];
    let allow = mesh(vec![policy("yes", Action::Allow, vec![rule(vec![])])]);
    let unknown = Verdict::Deny(DenyReason::UnknownPolicy("default/gone".into()));
    assert_eq!(authorize(&allow, &target, &facts(None)), unknown);
    let deny = mesh(vec![policy("no", Action::Deny, vec![rule(vec![])])]);
    let explicit = Verdict::Deny(DenyReason::Explicit(named("no", 0)));
    assert_eq!(authorize(&deny, &target, &facts(None)), explicit);
}

#[test]
fn scopes_decide_who_is_judged() {
    let deny = |scope, namespace: &str| {
        let mut policy = policy("p", Action::Deny, vec![rule(vec![])]);
        (policy.scope, policy.namespace) = (scope, namespace.into());
        policy
    };
    let denied = |policy: Authorization, listed: &[&str]| {
        let mut target = target();
        target.authorization_policies = listed.iter().map(|key| (*key).into()).collect();
        matches!(
            authorize(&mesh(vec![policy]), &target, &facts(None)),
            Verdict::Deny(DenyReason::Explicit(_))
        )
    };
    assert!(denied(deny(PolicyScope::Global, "istio-system"), &[]));
    assert!(denied(deny(PolicyScope::Namespace, "default"), &[]));
    assert!(!denied(deny(PolicyScope::Namespace, "other"), &[]));
    assert!(!denied(deny(PolicyScope::WorkloadSelector, "default"), &[]));
    assert!(denied(deny(PolicyScope::WorkloadSelector, "default"), &["default/p"]));
    assert!(denied(deny(PolicyScope::WorkloadSelector, "istio-system"), &["istio-system/p"]));
}

// datapath §6.4 steps 1 and 3, §6.7: inert beside real ones, but told.
#[test]
fn policies_on_trial_are_told_and_never_enforced() {
    let trial = |name, action, rules| Authorization { dry_run: true, ..policy(name, action, rules) };
    let always = || vec![rule(vec![])];
    let judge = |policies| {
        let mesh = mesh(policies);
        let told: Vec<_> = dry_run(&mesh, &target(), &facts(None)).iter().map(ToString::to_string).collect();
        (authorize(&mesh, &target(), &facts(None)), told)
    };
    let (verdict, told) =
        judge(vec![trial("d", Action::Deny, always()), trial("a", Action::Allow, always())]);
    assert_eq!(verdict, Verdict::Allow { by: None });
    assert_eq!(
        told,
        ["dry-run: deny policy match: default/d (rule 0)", "dry-run: allow policy match: default/a (rule 0)"]
    );
    let (verdict, told) = judge(vec![trial("a", Action::Allow, vec![])]);
    assert_eq!(verdict, Verdict::Allow { by: None });
    assert_eq!(told, ["dry-run: no allow policies match"]);
    // Not said when enforced ALLOW policies exist.
    let (verdict, told) =
        judge(vec![trial("a", Action::Allow, vec![]), policy("e", Action::Allow, always())]);
    assert_eq!(verdict, Verdict::Allow { by: Some(named("e", 0)) });
    assert!(told.is_empty());
}
