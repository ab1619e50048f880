//! Finding the rule for a request among those of many routes.
mod paths;
mod shelf;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use self::paths::Paths;
use super::matching::{Mismatch, RouteMatch};
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
/// Looking one up costs a few comparisons of the path, however many there are, and for those whose path may be right a look at
/// each header and query parameter that several of them want to have some value. What is left is checked one by one: of a
/// request that is for none, matches that differ in nothing but expressions (of paths, from where these have more than
/// letters; of headers; of parameters).
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// In order of precedence.
    entries: Vec<Entry>,
    paths: Paths,
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
        let matches = entries.iter().enumerate();
        let paths = Paths::new(matches.filter_map(|(place, entry)| Some((place, entry.get()?.matched))));
        Self { entries, paths }
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The rule for `request`; `None`: no rule is for it, and the client gets status 404.
    #[must_use]
    pub fn find(&self, request: &impl Request) -> Option<Found<'_>> {
        let mut best: Option<(usize, Found<'_>)> = None;
        for shelf in self.paths.shelves(request.path()) {
            shelf.each(request, &mut |places| {
                for &place in places {
                    if best.as_ref().is_some_and(|(best, _)| *best <= place) {
                        break;
                    }
                    let found = self.entries.get(place).and_then(Entry::get);
                    if let Some(found) = found.filter(|found| found.matched.check(request).is_ok()) {
                        best = Some((place, found));
                        break;
                    }
                }
            });
        }
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

#[cfg(test)]
mod tests;
