//! Matches that have one path, by what else they want.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::l7::matching::{Fact, RouteMatch};
use crate::l7::request::Request;

/// So many are as quickly checked one by one.
const FEW: usize = 4;

/// Places in the table of the matches that have one path; each list in ascending order.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    /// Of those that are checked one by one.
    others: Vec<usize>,
    /// Of those that want a fact to have some value.
    by_fact: Vec<(Fact<Box<str>>, BTreeMap<Box<[u8]>, Vec<usize>>)>,
}

impl Shelf {
    /// That of `matches`, with their places in ascending order. Each is filed under the one of its demands that the fewest
    /// others share: so a look gives few that are wrong.
    pub(super) fn new(matches: &[(usize, &RouteMatch)]) -> Self {
        let mut this = Self::default();
        if matches.len() <= FEW {
            this.others = matches.iter().map(|(place, _)| *place).collect();
            return this;
        }
        let (mut values, mut facts) = (BTreeMap::new(), BTreeMap::new());
        for demand @ (fact, _) in matches.iter().flat_map(|(_, matched)| matched.demands()) {
            increment(values.entry(demand).or_default());
            increment(facts.entry(fact).or_default());
        }
        let mut by_fact: BTreeMap<Fact<&str>, BTreeMap<Box<[u8]>, Vec<usize>>> = BTreeMap::new();
        for (place, matched) in matches {
            // Where this leaves a choice, the fact that most are filed under: each costs every request a look.
            let rarest = matched.demands().min_by_key(|demand| {
                (values.get(demand).copied(), Reverse(facts.get(&demand.0).copied()), demand.0)
            });
            match rarest {
                Some((fact, value)) => {
                    let of_fact = by_fact.entry(fact).or_default();
                    of_fact.entry(value.as_bytes().into()).or_default().push(*place);
                }
                None => this.others.push(*place),
            }
        }
        this.by_fact = by_fact.into_iter().map(|(fact, values)| (fact.into_owned(), values)).collect();
        this
    }

    /// Places of the matches that may be for `request`, in lists.
    pub(super) fn lists<'a>(&'a self, request: &'a impl Request) -> impl Iterator<Item = &'a [usize]> {
        let by_fact = self.by_fact.iter().filter_map(|(fact, values)| values.get(&*fact.of(request)?));
        by_fact.chain(core::iter::once(&self.others)).map(Vec::as_slice)
    }
}

fn increment(count: &mut usize) {
    *count = count.saturating_add(1);
}
