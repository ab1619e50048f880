//! Finding the rule for a request among those of many routes.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::matching::{Mismatch, RouteMatch};
use super::path::PathMatch;
use super::request::Request;
use super::route::{Route, Rule};

/// One match of one rule. Each stands by itself: rules are ranked by what they match, not as wholes.
#[derive(Clone, Debug)]
struct Entry {
    route: Arc<Route>,
    rule: usize,
    number: usize,
}

impl Entry {
    fn get(&self) -> Option<Found<'_>> {
        let rule = self.route.rules.get(self.rule)?;
        Some(Found { route: &self.route, rule, matched: rule.matches.get(self.number)? })
    }
}

/// The rule for a request, and why it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its route.
    pub route: &'a Arc<Route>,
    /// The rule.
    pub rule: &'a Rule,
    /// Which of its matches is for the request.
    pub matched: &'a RouteMatch,
}

/// The rules of some routes, in order of precedence (Gateway API: `HTTPRouteRule.matches`, `GRPCRouteRule.matches`): the most
/// specific match, then the oldest route, then the first by namespace and name, then the first in the route.
///
/// Looking one up costs a few comparisons of the path, however many there are, and one check for each match whose path is
/// right and that is not the one.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// In order of precedence. The others say which of them have the right path, in ascending order.
    entries: Vec<Entry>,
    exact: BTreeMap<Box<str>, Vec<usize>>,
    prefixes: BTreeMap<Box<str>, Vec<usize>>,
    /// Segments of the longest of these.
    deepest: usize,
    others: Vec<usize>,
}

impl Table {
    /// The table of `routes`; their order means nothing.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let mut entries: Vec<Entry> = routes
            .into_iter()
            .flat_map(|route| {
                let places = places(&route);
                places.into_iter().map(move |(rule, number)| Entry {
                    route: Arc::clone(&route),
                    rule,
                    number,
                })
            })
            .collect();
        entries.sort_by(|a, b| precedence(a).cmp(&precedence(b)));
        let mut table = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let Some(found) = entry.get() else { continue };
            match found.matched.path() {
                PathMatch::Exact(path) => table.exact.entry(path.clone()).or_default().push(index),
                PathMatch::Prefix(prefix) => {
                    let text = prefix.trimmed();
                    table.deepest = table.deepest.max(text.matches('/').count());
                    table.prefixes.entry(text.into()).or_default().push(index);
                }
                PathMatch::Begins(_) | PathMatch::Regex(_) | PathMatch::Grpc { .. } => {
                    table.others.push(index)
                }
            }
        }
        table.entries = entries;
        table
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The rule for `request`; `None`: no rule is for it, and the client gets status 404.
    #[must_use]
    pub fn find(&self, request: &impl Request) -> Option<Found<'_>> {
        let path = request.path();
        let mut best: Option<(usize, Found<'_>)> = None;
        let mut look = |indices: &[usize], path_is_right: bool| {
            for &index in indices {
                if best.as_ref().is_some_and(|(best, _)| *best <= index) {
                    break;
                }
                let Some(found) = self.entries.get(index).and_then(Entry::get) else { continue };
                let holds = match path_is_right {
                    true => found.matched.check_rest(request).is_ok(),
                    false => found.matched.check(request).is_ok(),
                };
                if holds {
                    best = Some((index, found));
                    break;
                }
            }
        };
        if let Some(indices) = self.exact.get(path) {
            look(indices, true);
        }
        for prefix in prefixes(path, self.deepest) {
            if let Some(indices) = self.prefixes.get(prefix) {
                look(indices, true);
            }
        }
        look(&self.others, false);
        best.map(|(_, found)| found)
    }

    /// All matches in order of precedence, each with why it is not for `request`; up to and with the one that is.
    pub fn explain<'a>(
        &'a self,
        request: &impl Request,
    ) -> impl Iterator<Item = (Found<'a>, Result<(), Mismatch<'a>>)> {
        let mut over = false;
        self.entries.iter().filter_map(Entry::get).map_while(move |found| {
            if over {
                return None;
            }
            let checked = found.matched.check(request);
            over = checked.is_ok();
            Some((found, checked))
        })
    }
}

/// Every match of every rule of a route.
fn places(route: &Route) -> Vec<(usize, usize)> {
    let rules = route.rules.iter().enumerate();
    rules.flat_map(|(rule, of)| (0..of.matches.len()).map(move |number| (rule, number))).collect()
}

/// The least comes first.
fn precedence(entry: &Entry) -> impl Ord {
    let rank = entry.get().map(|found| found.matched.rank());
    let Entry { route, rule, number } = entry;
    let id = (Arc::clone(&route.id.namespace), Arc::clone(&route.id.name));
    (Reverse(rank), route.created, id, *rule, *number)
}

/// The prefixes of `path` that end where a segment does, without a slash at their end, with at most `deepest` segments, the
/// empty one first.
fn prefixes(path: &str, deepest: usize) -> impl Iterator<Item = &str> {
    let slashes = path.match_indices('/').map(|(at, _)| at);
    let ends = slashes.chain(core::iter::once(path.len()));
    // The first slash begins the path: before it is the empty prefix.
    ends.take(deepest.saturating_add(1)).filter_map(|end| path.get(..end))
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::super::backends::Backends;
    use super::super::filters::HeaderChanges;
    use super::super::matching::Named;
    use super::super::path::Prefix;
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
        let path = (paths, 0..4_u8).prop_map(|(text, kind)| match kind {
            0 => Some(PathMatch::Exact(text.into())),
            1 => Some(PathMatch::Prefix(Prefix::new(text).unwrap())),
            2 => Some(PathMatch::Regex(Regex::new(&format!("{text}[a-c/]*")).unwrap())),
            _ => None,
        });
        let method = select(vec![None, Some("GET"), Some("POST")]);
        let named = |names| {
            subsequence(names, 0..=2).prop_map(|names: Vec<&str>| {
                let value = || TextMatch::Exact("1".into());
                names.into_iter().map(|name| Named { name: name.into(), value: value() }).collect()
            })
        };
        (path, method, named(vec!["x", "y"]), named(vec!["p", "q"]))
            .prop_map(|(path, method, headers, queries)| RouteMatch::http(path, method, headers, queries))
    }

    fn any_routes() -> impl Strategy<Value = Vec<Arc<Route>>> {
        let rules = prop::collection::vec(prop::collection::vec(any_match(), 1..3).prop_map(rule), 0..4);
        prop::collection::vec((0..3_u64, rules), 0..6).prop_map(|routes| {
            let named = routes.into_iter().enumerate();
            named.map(|(n, (created, rules))| route(&format!("r{n}"), created, rules)).collect()
        })
    }

    fn any_request() -> impl Strategy<Value = Asked> {
        let path = select(vec!["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/a/b/c/d", "/b", "/c", "*"]);
        let query = select(vec!["", "?p=1", "?q=1", "?p=1&q=1", "?p=2&p=1"]);
        let headers = subsequence(vec!["x", "y"], 0..=2);
        (path, query, headers, any::<bool>()).prop_map(|(path, query, headers, post)| {
            let asked = Asked::get(&format!("{path}{query}")).by(if post { "POST" } else { "GET" });
            headers.into_iter().fold(asked, |asked, name| asked.with(name, "1"))
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
        fn the_index_finds_what_comparing_all_with_all_finds(routes in any_routes(), request in any_request()) {
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
    }
}
