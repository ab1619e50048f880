//! The rest of datapath §6.7, and when a set must be built anew. (The other rows are in the parent and, for live
//! connections, in `testkit/tests/policies.rs`.)

use super::*;

#[test]
fn an_empty_policy_never_matches() {
    let both = mesh(vec![policy("a", Action::Deny, vec![])]);
    assert_eq!(authorize(&both, &target(), &facts(None)), Verdict::Allow { by: None });
    let both = mesh(vec![policy("a", Action::Allow, vec![])]);
    assert_eq!(authorize(&both, &target(), &facts(None)), Verdict::Deny(DenyReason::NoneAllowed));
}

#[test]
fn two_rules_are_alternatives() {
    let port = |port| rule(vec![vec![Match { destination_ports: vec![port], ..Match::default() }]]);
    let mesh = mesh(vec![policy("p", Action::Allow, vec![port(80), port(8080)])]);
    assert_eq!(authorize(&mesh, &target(), &facts(None)), Verdict::Allow { by: Some(named("p", 1)) });
}

#[test]
fn networks_do_not_matter() {
    let m = Match { source_ips: vec!["10.0.1.7/32".parse().unwrap()], ..Match::default() };
    for network in ["", "one", "two"] {
        let policies = vec![policy("p", Action::Deny, vec![rule(vec![vec![m.clone()]])])];
        let mesh = Mesh::new(network.into(), vec![], vec![], policies).unwrap();
        let mut target = target();
        target.network = "another".into();
        assert_ne!(authorize(&mesh, &target, &facts(None)), Verdict::Allow { by: None }, "{network}");
    }
}

#[test]
fn a_namespace_without_policies_admits() {
    let mut elsewhere = policy("p", Action::Deny, vec![rule(vec![])]);
    elsewhere.namespace = "elsewhere".into();
    assert_eq!(authorize(&mesh(vec![elsewhere]), &target(), &facts(None)), Verdict::Allow { by: None });
}

#[test]
fn a_policy_that_changes_its_scope_bears_on_others() {
    let of = |scope| {
        let mut policy = policy("p", Action::Deny, vec![rule(vec![])]);
        policy.scope = scope;
        mesh(vec![policy])
    };
    let (namespace, selector) = (of(PolicyScope::Namespace), of(PolicyScope::WorkloadSelector));
    let set = PolicySet::new(&namespace, &target());
    assert!(set.is_current(&namespace, &target()));
    assert!(!set.is_current(&selector, &target()));
    assert_ne!(set.judge(&facts(None)), Verdict::Allow { by: None });
    assert_eq!(authorize(&selector, &target(), &facts(None)), Verdict::Allow { by: None });
}

#[test]
fn a_set_is_current_until_something_that_bears_on_the_workload_changes() {
    let p = || policy("p", Action::Deny, vec![rule(vec![])]);
    let mut other = policy("q", Action::Deny, vec![rule(vec![])]);
    other.namespace = "elsewhere".into();
    let before = mesh(vec![p()]);
    let set = PolicySet::new(&before, &target());
    // The same content anew (a control plane sends all of it after a reconnect), and what concerns others.
    assert!(set.is_current(&mesh(vec![p()]), &target()));
    assert!(set.is_current(&mesh(vec![p(), other.clone()]), &target()));
    for after in [
        mesh(vec![]),
        mesh(vec![p(), policy("z", Action::Allow, vec![])]),
        mesh(vec![policy("p", Action::Deny, vec![])]),
        mesh(vec![Authorization { dry_run: true, ..p() }]),
    ] {
        assert!(!set.is_current(&after, &target()));
    }
    // A workload that lists another policy, known or not. Its other fields do not matter.
    let listing = |keys: &[&str]| {
        let mut target = target();
        target.authorization_policies = keys.iter().map(|key| (*key).into()).collect();
        target
    };
    assert!(!set.is_current(&before, &listing(&["default/gone"])));
    assert!(!set.is_current(&mesh(vec![p(), other]), &listing(&["elsewhere/q"])));
    assert!(set.is_current(&before, &listing(&["default/p"])), "it bore on it before");
    let mut elsewhere = target();
    elsewhere.addresses = vec![[10, 0, 0, 9].into()];
    assert!(set.is_current(&before, &elsewhere));
    // An unknown one becomes known.
    let set = PolicySet::new(&before, &listing(&["default/late"]));
    assert!(set.is_current(&before, &listing(&["default/late"])));
    assert!(
        !set.is_current(&mesh(vec![p(), policy("late", Action::Allow, vec![])]), &listing(&["default/late"]))
    );
}

#[test]
fn a_judgement_names_everyone_who_was_asked() {
    let mut global = policy("everywhere", Action::Deny, vec![]);
    (global.namespace, global.scope) = ("istio-system".into(), PolicyScope::Global);
    let trial = Authorization { dry_run: true, ..policy("trial", Action::Allow, vec![rule(vec![])]) };
    let mesh = mesh(vec![policy("own", Action::Allow, vec![rule(vec![])]), global, trial]);
    let mut target = target();
    target.authorization_policies = vec!["default/gone".into()];
    let judgement = judge(&mesh, &target, &facts(None));
    let said: Vec<_> = judgement.consulted.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "istio-system/everywhere: DENY, of the whole mesh: no rule matches",
            "default/own: ALLOW, of the namespace: rule 0 matches",
            "default/trial: ALLOW, of the namespace, on trial: rule 0 matches",
            "default/gone: listed by the workload, but unknown",
        ]
    );
    assert_eq!(judgement.verdict, Verdict::Deny(DenyReason::UnknownPolicy("default/gone".into())));
    assert_eq!(judgement.on_trial, [DryRun::Allow(named("trial", 0))]);
}

#[test]
fn lists_of_one_field_in_two_clauses_must_both_hit() {
    let names = |name: &StringMatch| Match { namespaces: vec![name.clone()], ..Match::default() };
    let all = [
        StringMatch::Exact("prod".into()),
        StringMatch::Exact("prodigy".into()),
        StringMatch::Prefix("pro".into()),
        StringMatch::Prefix("prod".into()),
        StringMatch::Suffix("od".into()),
        StringMatch::Suffix("gy".into()),
        StringMatch::Presence,
    ];
    for (one, two) in all.iter().flat_map(|one| all.iter().map(move |two| (one, two))) {
        let rules = vec![rule(vec![vec![names(one)], vec![names(two)]])];
        let mesh = mesh(vec![policy("p", Action::Deny, rules)]);
        for namespace in ["prod", "prodigy", "x"] {
            let source = Identity::new("td", namespace, "a").unwrap();
            let denied = matches!(authorize(&mesh, &target(), &facts(Some(&source))), Verdict::Deny(_));
            assert_eq!(
                denied,
                one.matches(namespace) && two.matches(namespace),
                "{one:?} {two:?} {namespace}"
            );
        }
    }
}

#[test]
fn rules_too_large_to_multiply_out_are_asked_themselves() {
    // 20 × 20 × 20 alternatives; only the last of each clause holds.
    let port = |port| Match { destination_ports: vec![port], ..Match::default() };
    let clause = |hit: bool| {
        let mut matches: Vec<Match> = (1..20).map(port).collect();
        matches.push(port(if hit { 8080 } else { 20 }));
        matches
    };
    let denied = |clauses| {
        let mesh = mesh(vec![policy("p", Action::Deny, vec![rule(clauses)])]);
        matches!(authorize(&mesh, &target(), &facts(None)), Verdict::Deny(_))
    };
    assert!(denied(vec![clause(true), clause(true), clause(true)]));
    assert!(!denied(vec![clause(true), clause(false), clause(true)]));
    assert!(!denied(vec![clause(true), clause(true), clause(false)]));
}
