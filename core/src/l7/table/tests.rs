use alloc::format;
use alloc::vec;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::backends::Backends;
use super::super::filters::HeaderChanges;
use super::super::matching::{Condition, Named};
use super::super::path::{PathMatch, Prefix};
use super::super::route::{Action, Forward, Kind, RouteId};
use super::super::tests::Asked;
use super::super::text::{Regex, TextMatch};
use super::*;
use crate::time::UnixTime;

fn rule(matches: Vec<RouteMatch>) -> Rule {
    let action = Action::Forward(Forward { backends: Backends::default(), ..Forward::default() });
    Rule { name: None, matches, response: HeaderChanges::default(), cors: None, action }
}

fn route(name: &str, created: u64, rules: Vec<Rule>) -> Arc<Route> {
    let id = RouteId { kind: Kind::Http, namespace: "ns".into(), name: name.into() };
    Arc::new(Route { id, created: UnixTime(created), parents: vec![], rules })
}

fn under(path: &str) -> RouteMatch {
    RouteMatch::http(Some(PathMatch::Prefix(Prefix::new(path).unwrap())), None, vec![], vec![])
}

fn found(table: &Table, asked: &Asked) -> Option<(Arc<str>, usize)> {
    let found = table.find(asked)?;
    let number = found.route.rules.iter().position(|rule| core::ptr::eq(rule, found.rule))?;
    Some((Arc::clone(&found.route.id.name), number))
}

#[test]
fn equal_matches_go_to_the_oldest_then_to_the_first_by_name_then_to_the_first_rule() {
    let rules = || vec![rule(vec![under("/a")]), rule(vec![under("/a")])];
    let asked = Asked::get("/a/b");
    for (routes, expected) in [
        (vec![route("b", 1, rules()), route("a", 2, rules())], "b"),
        (vec![route("b", 1, rules()), route("a", 1, rules())], "a"),
    ] {
        let reversed = Table::new(routes.iter().rev().cloned());
        for table in [Table::new(routes), reversed] {
            assert_eq!(found(&table, &asked), Some((expected.into(), 0)));
        }
    }
}

#[test]
fn each_match_of_a_rule_is_ranked_by_itself() {
    let one = rule(vec![under("/"), under("/a/b")]);
    let table = Table::new([route("r", 1, vec![one, rule(vec![under("/a")])])]);
    for (path, expected) in [("/x", 0), ("/a/x", 1), ("/a/b/x", 0), ("/abc", 0)] {
        assert_eq!(found(&table, &Asked::get(path)), Some(("r".into(), expected)), "{path}");
    }
}

#[test]
fn without_a_match_there_is_no_rule_and_the_explanation_tells_all_that_were_tried() {
    let table = Table::new([route("r", 1, vec![rule(vec![under("/a"), under("/b/c")])])]);
    assert_eq!(found(&table, &Asked::get("/c")), None);
    let tried = |path: &str| -> Vec<_> {
        let asked = Asked::get(path);
        let tried = table.explain(&asked).map(|(_, checked)| checked.map_err(|why| format!("{why}")));
        tried.collect()
    };
    assert_eq!(tried("/c"), [Err("not path under /b/c".into()), Err("not path under /a".into())]);
    assert_eq!(tried("/a"), [Err("not path under /b/c".into()), Ok(())]);
    assert_eq!(tried("/b/c"), [Ok(())]);
    assert!(Table::default().is_empty() && !table.is_empty());
}

fn any_match() -> impl Strategy<Value = RouteMatch> {
    let paths = select(vec!["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/b"]);
    let path = (paths, 0..6_u8).prop_map(|(text, kind)| {
        let regex = |text: &str| Some(PathMatch::Regex(Regex::new(text).unwrap()));
        match kind {
            0 => Some(PathMatch::Exact(text.into())),
            1 => Some(PathMatch::Prefix(Prefix::new(text).unwrap())),
            2 => regex(&format!("{text}[a-c/]*")),
            3 => regex(&format!("{text}|/c")),
            4 => regex(&format!("/?.?{text}?")),
            _ => None,
        }
    });
    let method = select(vec![None, Some("GET"), Some("POST")]);
    (path, method, any_named(vec!["x", "y"]), any_named(vec!["p", "q"]))
        .prop_map(|(path, method, headers, queries)| RouteMatch::http(path, method, headers, queries))
}

/// Conditions on some of `names`: mostly that the value is this.
fn any_named(names: Vec<&'static str>) -> impl Strategy<Value = Vec<Named>> {
    let count = names.len();
    (subsequence(names, 0..=count), prop::collection::vec(0..5_u8, count)).prop_map(|(names, values)| {
        let named = names.into_iter().zip(values).map(|(name, value)| Named {
            name: name.into(),
            value: match value {
                0 => TextMatch::Regex(Regex::new("[12](,1)?").unwrap()),
                1 => TextMatch::Exact("1,1".into()),
                value => TextMatch::Exact(format!("{}", value - 1).into()),
            },
        });
        named.collect()
    })
}

/// Matches of a `VirtualService` or a `GRPCRoute`, which have facts of their own.
fn any_other_match() -> impl Strategy<Value = RouteMatch> {
    let text = |texts: Vec<&'static str>| {
        (select(texts), any::<bool>()).prop_map(|(text, exact)| match exact {
            true => TextMatch::Exact(text.into()),
            false => TextMatch::Regex(Regex::new(&format!("{text}.?")).unwrap()),
        })
    };
    let others = prop_oneof![
        text(vec!["echo", "other"]).prop_map(Condition::Authority),
        text(vec!["GET", "POST"]).prop_map(Condition::Method),
        text(vec!["http"]).prop_map(Condition::Scheme),
        Just(Condition::Present("x".into())),
        Just(Condition::Without("y".into(), None)),
        Just(Condition::Query("p".into())),
    ];
    let begins = select(vec!["", "/", "/a", "/a/b", "/ab"]).prop_map(|text| PathMatch::Begins(text.into()));
    let others = prop::collection::vec(others, 0..3);
    let virtuals = (prop::option::of(begins), any_named(vec!["x"]), any_named(vec!["p"]), others)
        .prop_map(|(path, headers, queries, others)| RouteMatch::in_order(path, headers, queries, others));
    let part = || prop::option::of(text(vec!["a", "b", "a/b", ""]));
    let grpc = (part(), part(), any_named(vec!["x"]))
        .prop_map(|(service, method, headers)| RouteMatch::grpc(service, method, headers));
    prop_oneof![virtuals, grpc]
}

fn any_routes(matches: impl Strategy<Value = RouteMatch>) -> impl Strategy<Value = Vec<Arc<Route>>> {
    let rules = prop::collection::vec(prop::collection::vec(matches, 1..3).prop_map(rule), 0..8);
    prop::collection::vec((0..3_u64, rules), 0..8).prop_map(|routes| {
        let named = routes.into_iter().enumerate();
        named.map(|(n, (created, rules))| route(&format!("r{n}"), created, rules)).collect()
    })
}

fn any_request() -> impl Strategy<Value = Asked> {
    let path = select(vec!["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/a/b/c/d", "/b", "/c", "*"]);
    let query = select(vec!["", "?p=1", "?q=1", "?p=1&q=1", "?p=2&p=1", "?%70=1", "?p=%31&q=2"]);
    let headers = prop::collection::vec((select(vec!["x", "y"]), select(vec!["1", "2", ""])), 0..4);
    (path, query, headers, any::<bool>()).prop_map(|(path, query, headers, post)| {
        let asked = Asked::get(&format!("{path}{query}")).by(if post { "POST" } else { "GET" });
        headers.into_iter().fold(asked, |asked, (name, value)| asked.with(name, value))
    })
}

/// waypoint.md §10.4, rule by rule, for any two matches that are both for a request: whether the first comes first.
fn comes_first(a: &(Arc<Route>, usize, usize), b: &(Arc<Route>, usize, usize)) -> bool {
    let parts = |(route, rule, number): &(Arc<Route>, usize, usize)| {
        let matched = &route.rules[*rule].matches[*number];
        let (exact, prefix, regex) = match matched.path() {
            PathMatch::Exact(_) => (true, 0, 0),
            PathMatch::Prefix(prefix) => (false, prefix.trimmed().len(), 0),
            PathMatch::Regex(regex) => (false, 0, regex.as_str().len()),
            PathMatch::Begins(_) | PathMatch::Grpc { .. } => unreachable!(),
        };
        (exact, prefix, regex, matched.rank())
    };
    let (left, right) = (parts(a), parts(b));
    let id = |it: &(Arc<Route>, usize, usize)| (it.0.created, it.0.id.name.clone(), it.1, it.2);
    if left.0 != right.0 {
        left.0
    } else if left.1 != right.1 {
        left.1 > right.1
    } else if left.2 != right.2 {
        left.2 > right.2
    } else if left.3 != right.3 {
        left.3 > right.3
    } else {
        id(a) < id(b)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn the_index_finds_what_comparing_all_with_all_finds(routes in any_routes(any_match()), request in any_request()) {
        let all = routes.iter().flat_map(|route| {
            places(route).into_iter().map(move |(rule, number)| (Arc::clone(route), rule, number))
        });
        let mut best: Option<(Arc<Route>, usize, usize)> = None;
        for each in all.filter(|(route, rule, number)| route.rules[*rule].matches[*number].check(&request).is_ok()) {
            if best.as_ref().is_none_or(|best| comes_first(&each, best)) {
                best = Some(each);
            }
        }
        let table = Table::new(routes);
        let expected = best.as_ref().map(|(route, rule, _)| (Arc::clone(&route.id.name), *rule));
        prop_assert_eq!(found(&table, &request), expected);
        let last = table.explain(&request).last();
        let explained = last.and_then(|(found, checked)| checked.is_ok().then_some(found));
        prop_assert_eq!(explained, table.find(&request));
    }
    #[test]
    fn the_index_leaves_out_nothing_of_other_kinds(routes in any_routes(any_other_match()), request in any_request()) {
        let table = Table::new(routes);
        let last = table.explain(&request).last();
        let explained = last.and_then(|(found, checked)| checked.is_ok().then_some(found));
        prop_assert_eq!(explained, table.find(&request));
    }
}
