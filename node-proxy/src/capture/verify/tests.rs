//! What is written verifies; whatever is changed of it is named. By either way of writing.
use proptest::prelude::*;

use super::*;
use crate::capture::model::{Action, Mark, Match};
use crate::capture::nftables;

fn any_options() -> impl Strategy<Value = Options> {
    let names = proptest::sample::subsequence(vec!["v0", "v1", "net1"], 0..=3);
    (any::<bool>(), any::<bool>(), names).prop_map(|(dns, ingress, names)| Options {
        dns,
        ingress,
        interfaces: names.into_iter().map(|name| name.parse().unwrap()).collect(),
    })
}

/// What iptables has after writing `options`, and what nftables has.
fn written(options: &Options) -> [Observed; 2] {
    let all: BTreeMap<Family, Rules> = Family::ALL.map(|family| (family, rules(options, family))).into();
    let saved = all.iter().map(|(family, rules)| {
        (*family, iptables::parse(&iptables::restore(rules, &BTreeMap::new())).chains)
    });
    [Observed(saved.collect()), nftables::parse(&nftables::script(&all), &Family::ALL).observed]
}

/// Every rule of `observed`, by where it is.
fn places(observed: &Observed) -> Vec<(Family, Chain, usize)> {
    let chains = observed
        .0
        .iter()
        .flat_map(|(family, chains)| chains.iter().map(|(chain, seen)| (*family, *chain, seen)));
    chains
        .flat_map(|(family, chain, seen)| (0..seen.lines.len()).map(move |index| (family, chain, index)))
        .collect()
}

/// The same rule, but for one thing.
fn spoiled(rule: &Rule, how: usize) -> Rule {
    let mut matches: Vec<Match> = rule.matches.iter().cloned().collect();
    let which = how % (matches.len() + 1);
    match matches.get_mut(which) {
        Some(Match::Destination { not, .. } | Match::Output { not, .. } | Match::Mark { not, .. }) => {
            *not = !*not
        }
        Some(Match::DestinationPort { port, .. } | Match::SourcePort(port)) => *port += 1,
        Some(Match::ConnectionMark(mark)) => *mark = Mark::PROXY,
        Some(_) => drop(matches.remove(which)),
        None => {
            let action = if rule.action == Action::Accept { Action::Return } else { Action::Accept };
            return Rule::new(matches, action);
        }
    }
    Rule::new(matches, rule.action.clone())
}

proptest! {
    #[test]
    fn what_is_written_verifies_and_its_options_are_guessed(options in any_options()) {
        for observed in written(&options) {
            prop_assert_eq!(verify(&options, &Family::ALL, &observed), []);
            prop_assert_eq!(&closest(&Family::ALL, &observed), &options);
        }
    }

    #[test]
    fn what_is_for_one_family_leaves_the_other_alone(options in any_options()) {
        for family in Family::ALL {
            let all = BTreeMap::from([(family, rules(&options, family))]);
            let observed = nftables::parse(&nftables::script(&all), &Family::ALL).observed;
            prop_assert_eq!(verify(&options, &[family], &observed), []);
            let other = Family::ALL.into_iter().find(|other| *other != family).unwrap();
            prop_assert_eq!(verify_uncaptured(other, &observed), []);
        }
        for observed in written(&options) {
            let rules = rules(&options, Family::V6).values().map(Vec::len).sum::<usize>();
            prop_assert_eq!(verify_uncaptured(Family::V6, &observed).len(), rules);
        }
    }

    #[test]
    fn any_one_rule_removed_is_named(options in any_options(), pick in any::<prop::sample::Index>()) {
        for mut observed in written(&options) {
            let places = places(&observed);
            let (family, chain, index) = places[pick.index(places.len())];
            let line = observed.chain_mut(family, chain).lines.remove(index);
            let Line::Rule(rule) = line else { panic!("{line:?}") };
            prop_assert_eq!(verify(&options, &Family::ALL, &observed), [Problem::Missing(family, chain, rule)]);
        }
    }

    #[test]
    fn any_one_rule_changed_is_named_with_what_stands_there(
        options in any_options(),
        pick in any::<prop::sample::Index>(),
        how in 0_usize..100,
    ) {
        for mut observed in written(&options) {
            let places = places(&observed);
            let (family, chain, index) = places[pick.index(places.len())];
            let place = &mut observed.chain_mut(family, chain).lines[index];
            let Line::Rule(rule) = place.clone() else { panic!("{place:?}") };
            let other = spoiled(&rule, how);
            *place = Line::Rule(other.clone());
            let text = iptables::rule(&other);
            let expected = [Problem::Missing(family, chain, rule), Problem::Unexpected(family, chain, text)];
            prop_assert_eq!(verify(&options, &Family::ALL, &observed), expected);
        }
    }

    #[test]
    fn two_rules_exchanged_are_told_as_order(pick in any::<prop::sample::Index>()) {
        let options = Options { dns: true, ..Options::default() };
        for mut observed in written(&options) {
            let chain = Chain::new(Table::Nat, Hook::Output);
            let lines = &mut observed.chain_mut(Family::V6, chain).lines;
            let index = pick.index(lines.len() - 1);
            lines.swap(index, index + 1);
            let problems = verify(&options, &Family::ALL, &observed);
            prop_assert!(matches!(problems[..], [Problem::OutOfOrder(Family::V6, at, _)] if at == chain), "{:?}", problems);
        }
    }

    #[test]
    fn other_options_are_other_rules(one in any_options(), other in any_options()) {
        for observed in written(&one) {
            prop_assert_eq!(verify(&other, &Family::ALL, &observed).is_empty(), one == other);
        }
    }
}

#[test]
fn hooks_strangers_and_chains_too_many_are_named() {
    let options = Options::default();
    let chain = Chain::new(Table::Nat, Hook::Output);
    let raw = Chain::new(Table::Raw, Hook::Output);
    for observed in written(&options) {
        let changed = |change: fn(&mut Seen)| {
            let mut observed = observed.clone();
            change(observed.chain_mut(Family::V4, chain));
            verify(&options, &Family::ALL, &observed)
        };
        let drop_all = || "drop".to_owned();
        assert_eq!(changed(|seen| seen.jumps = 0), [Problem::NotHooked(Family::V4, chain)]);
        assert_eq!(changed(|seen| seen.jumps = 2), [Problem::HookedTwice(Family::V4, chain)]);
        let unexpected = [Problem::Unexpected(Family::V4, chain, drop_all())];
        assert_eq!(changed(|seen| seen.beside.push("drop".to_owned())), unexpected);
        assert_eq!(changed(|seen| seen.lines.insert(0, Line::Other("drop".to_owned()))), unexpected);
        let mut more = observed.clone();
        more.chain_mut(Family::V6, raw);
        assert_eq!(verify(&options, &Family::ALL, &more), [Problem::UnexpectedChain(Family::V6, raw)]);
        let without_v6 = Observed(
            observed
                .0
                .iter()
                .filter(|(family, _)| **family == Family::V4)
                .map(|(f, c)| (*f, c.clone()))
                .collect(),
        );
        assert_eq!(verify(&options, &[Family::V4], &without_v6), [], "a kernel without IPv6");
        assert!(!verify(&options, &Family::ALL, &without_v6).is_empty());
    }
}

#[test]
fn problems_say_what_and_where() {
    let problems = verify(&Options::default(), &[Family::V4], &Observed::default());
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for expected in [
        "IPv4 nat output: packets do not pass Istio's chain",
        "IPv4 nat output: missing: ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001",
    ] {
        assert!(texts.iter().any(|text| text == expected), "{texts:#?}");
    }
    assert_eq!(
        verify_routes(Family::V6, Routes::WHOLE, Routes::default()),
        [Problem::NoRoutingRule(Family::V6), Problem::NoRoute(Family::V6)]
    );
    assert_eq!(verify_routes(Family::V6, Routes::default(), Routes::WHOLE), [], "without IPv6 on lo");
}
