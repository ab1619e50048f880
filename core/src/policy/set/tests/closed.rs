//! What could not be read, what nobody knows and what istiod leaves empty: closed, or upstream's to fix
//! (control-plane.md §4.3–4.5, docs/compatibility.md).

use super::*;

/// What a policy with one match says about an encrypted and about a plaintext connection.
fn admits(action: Action, m: &Match) -> [bool; 2] {
    let source = identity("spiffe://cluster.local/ns/prod/sa/web");
    let mesh = mesh(vec![policy("p", action, vec![rule(vec![vec![m.clone()]])])]);
    [Some(&source), None]
        .map(|source| matches!(authorize(&mesh, &target(), &facts(source)), Verdict::Allow { .. }))
}

fn unreadable(list: MatchList) -> Unreadable {
    let mut unreadable = Unreadable::default();
    unreadable.add(list);
    unreadable
}

#[test]
fn an_unreadable_entry_never_widens_an_allow_nor_narrows_a_deny() {
    for list in oracle::LISTS {
        let m = Match { unreadable: unreadable(list), ..Match::default() };
        assert!(!m.is_empty());
        assert_eq!(admits(Action::Allow, &m), [false; 2], "{list:?} alone admits");
        assert_eq!(admits(Action::Deny, &m), [false; 2], "{list:?} alone lets pass");
    }
}

#[test]
fn what_else_a_list_says_still_counts() {
    let nets = |text: &str| -> Vec<IpNet> { vec![text.parse().unwrap()] };
    // The connection comes from 10.0.1.7.
    let hit = Match {
        source_ips: nets("10.0.1.0/24"),
        unreadable: unreadable(MatchList::SourceIps),
        ..Match::default()
    };
    assert_eq!(admits(Action::Allow, &hit), [true; 2]);
    assert_eq!(admits(Action::Deny, &hit), [false; 2]);
    let miss = Match { source_ips: nets("10.9.0.0/16"), ..hit };
    assert_eq!(admits(Action::Allow, &miss), [false; 2]);
    assert_eq!(admits(Action::Deny, &miss), [false; 2], "the unreadable range may have been the client's");
    // Another field that surely does not match decides alone.
    let other = Match { destination_ports: vec![1], ..miss };
    assert_eq!(admits(Action::Deny, &other), [true; 2]);
    let unwanted = Match {
        not_source_ips: nets("10.9.0.0/16"),
        unreadable: unreadable(MatchList::NotSourceIps),
        ..Match::default()
    };
    assert_eq!(
        admits(Action::Allow, &unwanted),
        [false; 2],
        "the unreadable range may have been the client's"
    );
    assert_eq!(admits(Action::Deny, &unwanted), [false; 2]);
    let unwanted = Match { not_source_ips: nets("10.0.1.0/24"), ..unwanted };
    assert_eq!(admits(Action::Deny, &unwanted), [true; 2], "surely not meant");
}

#[test]
fn a_policy_of_unknown_action_or_scope_refuses_whoever_it_may_bear_on() {
    for scope in [PolicyScope::Global, PolicyScope::Namespace, PolicyScope::WorkloadSelector] {
        let mut target = target();
        target.authorization_policies = vec!["default/p".into()];
        let allow = policy("all", Action::Allow, vec![rule(vec![])]);
        let mesh = mesh(vec![allow, Authorization::unreadable("default".into(), "p".into(), scope)]);
        let refused = Verdict::Deny(DenyReason::Explicit(named("p", 0)));
        assert_eq!(authorize(&mesh, &target, &facts(None)), refused);
    }
}

/// `not_principals: [presence]`.
fn plaintext() -> Match {
    Match { not_principals: vec![StringMatch::Presence], ..Match::default() }
}

// control-plane.md §4.5, first fail-open: root STRICT, workload PERMISSIVE with a STRICT port. The workload lists a
// converted policy that is never made.
#[test]
fn fail_open_1_a_listed_policy_that_istiod_never_makes_is_closed() {
    let mut target = target();
    target.authorization_policies = vec!["default/converted_peer_authentication_x".into()];
    let mesh = mesh(vec![]);
    let refused = DenyReason::UnknownPolicy("default/converted_peer_authentication_x".into());
    assert_eq!(authorize(&mesh, &target, &facts(None)), Verdict::Deny(refused));
}

// Second fail-open: root STRICT, namespace UNSET, workload UNSET with a PERMISSIVE port. Only the converted key is
// listed, the static one beside it is dropped, and no policy is made; the static policy that istiod sends helps nobody.
#[test]
fn fail_open_2_a_static_policy_that_is_not_listed_does_not_hide_the_missing_one() {
    let mut target = target();
    target.authorization_policies = vec!["default/converted_peer_authentication_y".into()];
    let mut strict =
        policy("istio_converted_static_strict", Action::Deny, vec![rule(vec![vec![plaintext()]])]);
    (strict.namespace, strict.scope) = ("istio-system".into(), PolicyScope::WorkloadSelector);
    let Verdict::Deny(reason) = authorize(&mesh(vec![strict]), &target, &facts(None)) else { panic!("open") };
    assert_eq!(reason.to_string(), "workload lists unknown policy default/converted_peer_authentication_y");
}

// Third fail-open, a DENY rule that istiod empties because it asks for L7 only: what arrives cannot be told from a rule
// that never meant anything, and matches nothing (datapath §6.2). Upstream's to fix; docs/compatibility.md.
#[test]
fn fail_open_3_a_deny_rule_of_l7_only_is_a_no_op_as_upstream() {
    let from = Match { namespaces: exact("prod"), ..Match::default() };
    let source = identity("spiffe://cluster.local/ns/prod/sa/web");
    let denied = |rules| {
        let mesh = mesh(vec![policy("p", Action::Deny, rules)]);
        matches!(authorize(&mesh, &target(), &facts(Some(&source))), Verdict::Deny(_))
    };
    // methods: [GET]; and the same beside `from namespaces prod`.
    assert!(!denied(vec![rule(vec![vec![Match::default()]])]));
    assert!(!denied(vec![rule(vec![vec![Match::default()], vec![from.clone()]])]));
    // methods: [GET] with ports: [8080] refuses the whole port: more than asked, never less.
    let port = Match { destination_ports: vec![8080], ..Match::default() };
    assert!(denied(vec![rule(vec![vec![port], vec![from]])]));
    // Only an entirely empty rule refuses everything.
    assert!(denied(vec![rule(vec![])]));
}

// The no-op on the other side is closed already: an ALLOW that loses all its rules still is an ALLOW.
#[test]
fn an_allow_of_l7_only_admits_nobody() {
    let mesh = mesh(vec![policy("p", Action::Allow, vec![])]);
    assert_eq!(authorize(&mesh, &target(), &facts(None)), Verdict::Deny(DenyReason::NoneAllowed));
}

// control-plane.md §4.1: a selector that is there but empty. Nobody lists the policy, so it bears on nobody: upstream's.
#[test]
fn a_selector_without_labels_bears_on_nobody_as_upstream() {
    let mut p = policy("p", Action::Deny, vec![rule(vec![])]);
    p.scope = PolicyScope::WorkloadSelector;
    assert_eq!(authorize(&mesh(vec![p]), &target(), &facts(None)), Verdict::Allow { by: None });
}

// datapath §6.6, control-plane.md §4.5: the shapes into which istiod turns PeerAuthentication.
#[test]
fn strict_and_its_exempt_ports() {
    let not_port = |port| Match { not_destination_ports: vec![port], ..Match::default() };
    let source = identity("spiffe://cluster.local/ns/prod/sa/web");
    let denied = |rules, source| {
        let mesh = mesh(vec![policy("p", Action::Deny, rules)]);
        matches!(authorize(&mesh, &target(), &facts(source)), Verdict::Deny(_))
    };
    // The connection is to port 8080.
    let table = [
        // STRICT.
        (vec![rule(vec![vec![plaintext()]])], true),
        // STRICT but for 8080; for 9090; for both.
        (vec![rule(vec![vec![plaintext()], vec![not_port(8080)]])], false),
        (vec![rule(vec![vec![plaintext()], vec![not_port(9090)]])], true),
        (vec![rule(vec![vec![not_port(9090)], vec![not_port(8080)], vec![plaintext()]])], false),
        // PERMISSIVE but for 8080; but for 9090.
        (vec![rule(vec![vec![Match { destination_ports: vec![8080], ..plaintext() }]])], true),
        (vec![rule(vec![vec![Match { destination_ports: vec![9090], ..plaintext() }]])], false),
    ];
    for (rules, expected) in table {
        assert_eq!(denied(rules.clone(), None), expected, "{rules:?}");
        assert!(!denied(rules.clone(), Some(&source)), "{rules:?}");
    }
}
