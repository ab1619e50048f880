//! Random policies and connections against the oracle.

use super::*;

fn text_match() -> impl Strategy<Value = StringMatch> {
    let text = prop_oneof![Just(""), Just("a"), Just("ab"), Just("b"), Just("td/ns/a/sa/b"), Just("td/")];
    (0..4, text).prop_map(|(kind, text)| match kind {
        0 => StringMatch::Exact(text.into()),
        1 => StringMatch::Prefix(text.into()),
        2 => StringMatch::Suffix(text.into()),
        _ => StringMatch::Presence,
    })
}

/// Mostly short lists, often empty: that is where the rules differ.
fn few<T: core::fmt::Debug>(item: impl Strategy<Value = T> + 'static) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![4 => Just(0usize), 2 => Just(1), 1 => Just(2)].prop_flat_map({
        let item = item.boxed();
        move |n| proptest::collection::vec(item.clone(), n)
    })
}

/// Mostly nothing.
fn unreadable() -> impl Strategy<Value = Unreadable> {
    prop_oneof![9 => Just(None), 1 => (0..12usize).prop_map(Some)].prop_map(|list| {
        let mut unreadable = Unreadable::default();
        list.into_iter().for_each(|list| unreadable.add(oracle::LISTS[list]));
        unreadable
    })
}

fn any_match() -> impl Strategy<Value = Match> {
    let account = || {
        (prop_oneof![Just("a"), Just("b")], prop_oneof![Just("a"), Just("b")])
            .prop_map(|(n, s)| ServiceAccount { namespace: n.into(), service_account: s.into() })
    };
    let cidr = || {
        prop_oneof![
            Just("10.0.0.0/30"),
            Just("10.0.0.2/31"),
            Just("0.0.0.0/0"),
            Just("::/0"),
            Just("fd00::2/127")
        ]
        .prop_map(|cidr| cidr.parse::<IpNet>().unwrap())
    };
    let port = || 1u16..4;
    let texts = (few(text_match()), few(text_match()), few(text_match()), few(text_match()));
    let rest = (few(account()), few(account()), few(cidr()), few(cidr()), few(cidr()), few(cidr()));
    (texts, rest, few(port()), few(port()), unreadable()).prop_map(
        |(texts, rest, ports, not_ports, unreadable)| Match {
            namespaces: texts.0,
            not_namespaces: texts.1,
            principals: texts.2,
            not_principals: texts.3,
            service_accounts: rest.0,
            not_service_accounts: rest.1,
            source_ips: rest.2,
            not_source_ips: rest.3,
            destination_ips: rest.4,
            not_destination_ips: rest.5,
            destination_ports: ports,
            not_destination_ports: not_ports,
            unreadable,
        },
    )
}

fn any_policy() -> impl Strategy<Value = Authorization> {
    let list = |n| 0..n;
    let rules = proptest::collection::vec(
        proptest::collection::vec(proptest::collection::vec(any_match(), list(3)), list(3)).prop_map(rule),
        list(3),
    );
    (rules, any::<bool>(), 0..3usize, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(rules, deny, scope, own, dry_run)| Authorization {
            namespace: if own { "default" } else { "other" }.into(),
            name: "".into(),
            scope: [PolicyScope::Global, PolicyScope::Namespace, PolicyScope::WorkloadSelector][scope],
            action: if deny { Action::Deny } else { Action::Allow },
            rules,
            dry_run,
        },
    )
}

proptest! {
    #[test]
    fn agrees_with_the_oracle(
        policies in proptest::collection::vec(any_policy(), 0..5),
        listed in proptest::collection::vec(prop_oneof!["default/p[0-5]", "other/p[0-5]"], 0..3),
        source in proptest::option::of((prop_oneof![Just("a"), Just("b"), Just("ab")], prop_oneof![Just("a"), Just("b")])),
        addresses in (prop_oneof![Just("10.0.0.1"), Just("10.0.0.3"), Just("10.1.0.0"), Just("fd00::3")], prop_oneof![Just("10.0.0.2"), Just("fd00::9")]),
        port in 1u16..4,
    ) {
        let mut policies = policies;
        for (n, policy) in policies.iter_mut().enumerate() {
            policy.name = std::format!("p{n}").into();
        }
        let source = source.map(|(namespace, account)| Identity::new("td", namespace, account).unwrap());
        let facts = Facts {
            source: source.as_ref(),
            source_address: (addresses.0.parse::<IpAddr>().unwrap(), 9).into(),
            destination: (addresses.1.parse::<IpAddr>().unwrap(), port).into(),
        };
        let mut target = target();
        target.authorization_policies = listed.iter().map(|key| key.as_str().into()).collect();
        let mesh = mesh(policies.clone());
        let Judgement { verdict, consulted, .. } = judge(&mesh, &target, &facts);
        // The first that matches is the one that is named.
        let first = |wanted| consulted.iter().find_map(|consulted| match consulted {
            Consulted::Known { policy, action, dry_run: false, matched: Some(rule), .. } if *action == wanted => {
                Some(RuleName { policy: policy.clone(), rule: *rule })
            }
            Consulted::Known { .. } | Consulted::Unknown(_) => None,
        });
        match &verdict {
            Verdict::Deny(DenyReason::Explicit(rule)) => prop_assert_eq!(Some(rule.clone()), first(Action::Deny)),
            Verdict::Deny(_) => prop_assert_eq!(first(Action::Deny), None),
            Verdict::Allow { by } => prop_assert_eq!(by.clone(), first(Action::Allow)),
        }
        let admitted = matches!(verdict, Verdict::Allow { .. });
        prop_assert_eq!(admitted, oracle::admits(&policies, &listed, &facts), "{:?}", verdict);
    }
}
