//! What is there against what should be: every difference, by name.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::model::{Chain, Family, Hook, Rule, Table};
use super::observed::{Line, Observed, Seen};
use super::routes::Routes;
use super::rules::{Options, Rules, rules};
use super::{Backend, iptables};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// Packets are not sent through a chain, or it does not exist.
    NotHooked(Family, Chain),
    /// Packets are sent through a chain again and again.
    HookedTwice(Family, Chain),
    /// A rule is missing.
    Missing(Family, Chain, Rule),
    /// A rule is there, but others stand before it that should stand behind.
    OutOfOrder(Family, Chain, Rule),
    /// There is a rule that should not be.
    Unexpected(Family, Chain, String),
    /// There is a chain that should not be.
    UnexpectedChain(Family, Chain),
    /// Marked packets do not look into our routing table.
    NoRoutingRule(Family),
    /// The routing table does not lead to the loopback interface.
    NoRoute(Family),
    /// Two backends have rules, and a packet would meet both.
    Twice(Backend),
}

/// Names of chains as people know them from iptables.
struct Named(Chain);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Chain { table, hook } = self.0;
        let hook = match hook {
            Hook::Prerouting => "prerouting",
            Hook::Output => "output",
        };
        write!(f, "{table} {hook}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHooked(family, chain) => {
                write!(f, "{family} {}: packets do not pass Istio's chain", Named(*chain))
            }
            Self::HookedTwice(family, chain) => {
                write!(f, "{family} {}: packets pass Istio's chain more than once", Named(*chain))
            }
            Self::Missing(family, chain, rule) => {
                write!(f, "{family} {}: missing: {}", Named(*chain), iptables::rule(rule))
            }
            Self::OutOfOrder(family, chain, rule) => {
                write!(f, "{family} {}: too late: {}", Named(*chain), iptables::rule(rule))
            }
            Self::Unexpected(family, chain, rule) => {
                write!(f, "{family} {}: should not be there: {rule}", Named(*chain))
            }
            Self::UnexpectedChain(family, chain) => {
                write!(f, "{family} {}: Istio's chain should not be there", Named(*chain))
            }
            Self::NoRoutingRule(family) => {
                write!(f, "{family} routing: missing: rule fwmark 0x111/0xfff pref 32764 lookup 100")
            }
            Self::NoRoute(family) => {
                write!(f, "{family} routing: missing: route local default dev lo table 100")
            }
            Self::Twice(backend) => write!(f, "{backend} has rules as well: packets meet both"),
        }
    }
}

/// The differences between what `observed` has and what `options` ask for, in `families`.
#[must_use]
pub(super) fn verify(options: &Options, families: &[Family], observed: &Observed) -> Vec<Problem> {
    families.iter().flat_map(|family| of_family(&rules(options, *family), *family, observed)).collect()
}

/// What is there for a family of which nothing shall be captured. Chains may be shared with the other.
#[must_use]
pub(super) fn verify_uncaptured(family: Family, observed: &Observed) -> Vec<Problem> {
    let seen = Chain::all().filter_map(|chain| Some((chain, observed.chain(family, chain)?)));
    seen.flat_map(|(chain, seen)| of_lines(&[], family, chain, &seen.lines)).collect()
}

/// The differences of routes; without a loopback interface for the family there can be no route.
#[must_use]
pub(super) fn verify_routes(family: Family, wanted: Routes, seen: Routes) -> Vec<Problem> {
    let rule = (wanted.rule && !seen.rule).then_some(Problem::NoRoutingRule(family));
    let route = (wanted.route && !seen.route).then_some(Problem::NoRoute(family));
    rule.into_iter().chain(route).collect()
}

/// The options under which the fewest differences are left: what whoever wrote the rules must have meant.
#[must_use]
pub(super) fn closest(families: &[Family], observed: &Observed) -> Options {
    let mut interfaces = Vec::new();
    for seen in
        families.iter().filter_map(|family| observed.chain(*family, Chain::new(Table::Nat, Hook::Prerouting)))
    {
        for line in &seen.lines {
            let Line::Rule(rule) = line else { continue };
            let inputs = rule.matches.iter().filter_map(|condition| match condition {
                super::model::Match::Input(interface) => Some(interface),
                _ => None,
            });
            for interface in inputs {
                if !interfaces.contains(interface) {
                    interfaces.push(interface.clone());
                }
            }
        }
    }
    let candidates = [(true, false), (false, false), (true, true), (false, true)];
    let options = candidates.map(|(dns, ingress)| Options { dns, ingress, interfaces: interfaces.clone() });
    options.into_iter().min_by_key(|options| verify(options, families, observed).len()).unwrap_or_default()
}

fn of_family(wanted: &Rules, family: Family, observed: &Observed) -> Vec<Problem> {
    let mut problems = Vec::new();
    for chain in Chain::all() {
        match (wanted.get(&chain), observed.chain(family, chain)) {
            (None, None) => {}
            (None, Some(_)) => problems.push(Problem::UnexpectedChain(family, chain)),
            (Some(wanted), seen) => {
                let nothing = Seen::default();
                problems.extend(of_chain(wanted, family, chain, seen.unwrap_or(&nothing)));
            }
        }
    }
    problems
}

fn of_chain(wanted: &[Rule], family: Family, chain: Chain, seen: &Seen) -> Vec<Problem> {
    let hooked = match seen.jumps {
        0 => Some(Problem::NotHooked(family, chain)),
        1 => None,
        _ => Some(Problem::HookedTwice(family, chain)),
    };
    let beside = seen.beside.iter().map(|text| Problem::Unexpected(family, chain, text.clone()));
    hooked.into_iter().chain(beside).chain(of_lines(wanted, family, chain, &seen.lines)).collect()
}

/// What is left when the longest common part of both is taken away.
fn of_lines(wanted: &[Rule], family: Family, chain: Chain, seen: &[Line]) -> Vec<Problem> {
    let (kept_wanted, kept_seen) = common(wanted, seen);
    let left = |kept: &BTreeSet<usize>, index: &usize| !kept.contains(index);
    // What is both missed and seen elsewhere has only moved.
    let mut moved = BTreeMap::<&Rule, usize>::new();
    let mut strangers = Vec::new();
    for (_, line) in seen.iter().enumerate().filter(|(index, _)| left(&kept_seen, index)) {
        match line {
            Line::Rule(rule) => *moved.entry(rule).or_default() += 1,
            Line::Other(text) => strangers.push(text.clone()),
        }
    }
    let mut problems = Vec::new();
    for (_, rule) in wanted.iter().enumerate().filter(|(index, _)| left(&kept_wanted, index)) {
        match moved.get_mut(rule) {
            Some(count) if *count > 0 => {
                *count -= 1;
                problems.push(Problem::OutOfOrder(family, chain, rule.clone()));
            }
            _ => problems.push(Problem::Missing(family, chain, rule.clone())),
        }
    }
    for (rule, count) in moved {
        let unexpected = Problem::Unexpected(family, chain, iptables::rule(rule));
        problems.extend(std::iter::repeat_n(unexpected, count));
    }
    problems.extend(strangers.into_iter().map(|text| Problem::Unexpected(family, chain, text)));
    problems
}

/// Indices, in either list, of a longest common subsequence. Chains have a dozen rules; more than a few hundred are not
/// compared beyond their beginning.
fn common(wanted: &[Rule], seen: &[Line]) -> (BTreeSet<usize>, BTreeSet<usize>) {
    const MOST: usize = 512;
    let seen = seen.get(..MOST).unwrap_or(seen);
    let same = |i: usize, j: usize| matches!((wanted.get(i), seen.get(j)), (Some(rule), Some(Line::Rule(here))) if rule == here);
    // length[i][j]: of the common part of what begins at i and at j.
    let width = seen.len() + 1;
    let mut length = vec![0_usize; (wanted.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    for i in (0..wanted.len()).rev() {
        for j in (0..seen.len()).rev() {
            length[at(i, j)] = if same(i, j) {
                length[at(i + 1, j + 1)] + 1
            } else {
                length[at(i + 1, j)].max(length[at(i, j + 1)])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let (mut in_wanted, mut in_seen) = (BTreeSet::new(), BTreeSet::new());
    while i < wanted.len() && j < seen.len() {
        if same(i, j) {
            in_wanted.insert(i);
            in_seen.insert(j);
            (i, j) = (i + 1, j + 1);
        } else if length[at(i + 1, j)] >= length[at(i, j + 1)] {
            i += 1;
        } else {
            j += 1;
        }
    }
    (in_wanted, in_seen)
}

#[cfg(test)]
mod tests;
