//! Matches that have one path, by what else they want.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::l7::facts::Fact;
use crate::l7::matching::RouteMatch;
use crate::l7::request::Request;

/// So many are as quickly checked one by one.
const FEW: usize = 4;

/// Places in the table of matches that have one path; each list in ascending order.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    /// Of those that are checked one by one.
    others: Vec<usize>,
    /// Of those that want a fact to have some value.
    by_fact: Vec<(Fact<Box<str>>, ByValue)>,
}

type ByValue = BTreeMap<Box<[u8]>, Shelf>;
type Matches<'a> = Vec<(usize, &'a RouteMatch)>;

impl Shelf {
    /// That of `matches`, with their places in ascending order.
    pub(super) fn new(matches: &[(usize, &RouteMatch)]) -> Self {
        Self::within(matches, &[])
    }

    /// That of those `matches` whose demands on the facts that are `known` have been looked at. Each is filed under the one of
    /// its other demands that the fewest share: so a look gives few that are wrong.
    fn within(matches: &[(usize, &RouteMatch)], known: &[Fact<&str>]) -> Self {
        let mut this = Self::default();
        if matches.len() <= FEW {
            this.others = matches.iter().map(|(place, _)| *place).collect();
            return this;
        }
        let (mut values, mut facts) = (BTreeMap::new(), BTreeMap::new());
        for demand @ (fact, _) in matches.iter().flat_map(|(_, matched)| demands(matched, known)) {
            increment(values.entry(demand).or_default());
            increment(facts.entry(fact).or_default());
        }
        let mut by_fact: BTreeMap<Fact<&str>, BTreeMap<&str, Matches<'_>>> = BTreeMap::new();
        for (place, matched) in matches {
            // Where this leaves a choice, the fact that most are filed under: each costs every request a look.
            let rarest = demands(matched, known).min_by_key(|demand| {
                (values.get(demand).copied(), Reverse(facts.get(&demand.0).copied()), demand.0)
            });
            match rarest {
                Some((fact, value)) => {
                    by_fact.entry(fact).or_default().entry(value).or_default().push((*place, matched));
                }
                None => this.others.push(*place),
            }
        }
        for (fact, values) in by_fact {
            let known = [known, &[fact]].concat();
            let shelf = |(value, matches): (&str, Matches<'_>)| {
                (value.as_bytes().into(), Self::within(&matches, &known))
            };
            this.by_fact.push((fact.into_owned(), values.into_iter().map(shelf).collect()));
        }
        this
    }

    /// Calls `look` with the places of matches that may be for `request`, list by list.
    pub(super) fn each(&self, request: &impl Request, look: &mut impl FnMut(&[usize])) {
        look(&self.others);
        for (fact, values) in &self.by_fact {
            if let Some(shelf) = fact.of(request).and_then(|value| values.get(&*value)) {
                shelf.each(request, look);
            }
        }
    }
}

fn demands<'a>(
    matched: &'a RouteMatch,
    known: &[Fact<&str>],
) -> impl Iterator<Item = (Fact<&'a str>, &'a str)> {
    matched.demands().filter(|(fact, _)| !known.contains(fact))
}

fn increment(count: &mut usize) {
    *count = count.saturating_add(1);
}
