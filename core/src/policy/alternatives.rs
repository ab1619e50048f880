//! A rule as a list of alternatives, each a conjunction of fields: what an index can look up (disjunctive normal form).
//!
//! Clauses are multiplied out. Where that would grow too large, or two lists of one field cannot be said as one, the
//! clause is left out: the alternatives then hold in every case in which the rule does and in some more, and the rule
//! itself is asked before it counts (`exact == false`).

use alloc::vec;
use alloc::vec::Vec;

use ipnet::IpNet;

use super::{Action, Clause, Match, Rule, ServiceAccount, StringMatch};
use crate::mesh::MatchList;

/// The most alternatives that one rule is multiplied out to.
const MAX_ALTERNATIVES: usize = 64;
/// The most entries that multiplying one clause in may come to.
const MAX_ENTRIES: usize = 16_384;
/// The most pairs looked at when two wanted lists of one field are made one.
const MAX_PAIRS: usize = 4096;

/// What one field asks.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    /// One of these must hit; `None`: anything will do.
    pub(super) wanted: Option<Vec<T>>,
    /// None of these may.
    pub(super) unwanted: Vec<T>,
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self { wanted: None, unwanted: Vec::new() }
    }
}

impl<T: Clone + Meet> Field<T> {
    /// Whether it asks nothing.
    fn is_any(&self) -> bool {
        self.wanted.is_none() && self.unwanted.is_empty()
    }

    fn entries(&self) -> usize {
        self.wanted.as_ref().map_or(0, Vec::len).saturating_add(self.unwanted.len())
    }

    /// Both at once; `None` when that cannot be said.
    fn and(&self, other: &Self) -> Option<Self> {
        let wanted = match (&self.wanted, &other.wanted) {
            (Some(one), Some(two)) => {
                if one.len().saturating_mul(two.len()) > MAX_PAIRS {
                    return None;
                }
                let mut both = Vec::new();
                for (a, b) in one.iter().flat_map(|a| two.iter().map(move |b| (a, b))) {
                    both.extend(a.meet(b)?);
                }
                Some(both)
            }
            (Some(list), None) | (None, Some(list)) => Some(list.clone()),
            (None, None) => None,
        };
        let unwanted = self.unwanted.iter().chain(&other.unwanted).cloned().collect();
        Some(Self { wanted, unwanted })
    }
}

/// Conditions that must all hold; without any it always does.
#[derive(Clone, Debug, Default)]
pub(super) struct Alternative {
    pub(super) namespaces: Field<StringMatch>,
    pub(super) accounts: Field<ServiceAccount>,
    pub(super) principals: Field<StringMatch>,
    pub(super) sources: Field<IpNet>,
    pub(super) destinations: Field<IpNet>,
    pub(super) ports: Field<u16>,
}

impl Alternative {
    /// What `m` asks in a policy with this action; `None` when it never holds.
    fn new(m: &Match, action: Action) -> Option<Self> {
        use MatchList as L;
        if m.is_empty() {
            return None;
        }
        let read = Reading { m, action };
        Some(Self {
            namespaces: read.field(L::Namespaces, &m.namespaces, L::NotNamespaces, &m.not_namespaces)?,
            accounts: read.field(
                L::ServiceAccounts,
                &m.service_accounts,
                L::NotServiceAccounts,
                &m.not_service_accounts,
            )?,
            principals: read.field(L::Principals, &m.principals, L::NotPrincipals, &m.not_principals)?,
            sources: read.field(L::SourceIps, &m.source_ips, L::NotSourceIps, &m.not_source_ips)?,
            destinations: read.field(
                L::DestinationIps,
                &m.destination_ips,
                L::NotDestinationIps,
                &m.not_destination_ips,
            )?,
            ports: read.field(
                L::DestinationPorts,
                &m.destination_ports,
                L::NotDestinationPorts,
                &m.not_destination_ports,
            )?,
        })
    }

    fn is_always(&self) -> bool {
        self.namespaces.is_any()
            && self.accounts.is_any()
            && self.principals.is_any()
            && self.sources.is_any()
            && self.destinations.is_any()
            && self.ports.is_any()
    }

    /// How many entries its lists have.
    fn entries(&self) -> usize {
        let counts = [
            self.namespaces.entries(),
            self.accounts.entries(),
            self.principals.entries(),
            self.sources.entries(),
            self.destinations.entries(),
            self.ports.entries(),
        ];
        counts.into_iter().fold(0, usize::saturating_add)
    }

    fn and(&self, other: &Self) -> Option<Self> {
        Some(Self {
            namespaces: self.namespaces.and(&other.namespaces)?,
            accounts: self.accounts.and(&other.accounts)?,
            principals: self.principals.and(&other.principals)?,
            sources: self.sources.and(&other.sources)?,
            destinations: self.destinations.and(&other.destinations)?,
            ports: self.ports.and(&other.ports)?,
        })
    }
}

/// How the lists of one match are read, given what could not be (see [`crate::mesh::Unreadable`]).
struct Reading<'a> {
    m: &'a Match,
    action: Action,
}

impl Reading<'_> {
    /// `None`: the match never holds.
    fn field<T: Clone>(
        &self,
        wanted_name: MatchList,
        wanted: &[T],
        unwanted_name: MatchList,
        unwanted: &[T],
    ) -> Option<Field<T>> {
        let wanted = match (self.m.unreadable.contains(wanted_name), self.action) {
            (false, _) if wanted.is_empty() => None,
            (true, Action::Deny) => None,
            (true, Action::Allow) if wanted.is_empty() => return None,
            (false, _) | (true, Action::Allow) => Some(wanted.to_vec()),
        };
        if self.m.unreadable.contains(unwanted_name) && self.action == Action::Allow {
            return None;
        }
        Some(Field { wanted, unwanted: unwanted.to_vec() })
    }
}

/// A rule, multiplied out.
#[derive(Clone, Debug)]
pub(super) struct Alternatives {
    /// The rule holds only if one of these does.
    pub(super) list: Vec<Alternative>,
    /// It holds whenever one of them does; otherwise the rule itself must be asked.
    pub(super) exact: bool,
}

impl Alternatives {
    /// Multiplies out a rule of a policy with this action.
    pub(super) fn new(rule: &Rule, action: Action) -> Self {
        let mut all = Self { list: vec![Alternative::default()], exact: true };
        for clause in &rule.clauses {
            let Some(matches) = clause_matches(clause, action) else { continue };
            match product(&all.list, &matches) {
                Some(list) => all.list = list,
                None => all.exact = false,
            }
        }
        all
    }
}

/// The matches of a clause that may hold; `None` when the clause always does.
fn clause_matches(clause: &Clause, action: Action) -> Option<Vec<Alternative>> {
    let matches: Vec<_> = clause.matches.iter().filter_map(|m| Alternative::new(m, action)).collect();
    (!clause.matches.is_empty() && !matches.iter().any(Alternative::is_always)).then_some(matches)
}

fn product(one: &[Alternative], two: &[Alternative]) -> Option<Vec<Alternative>> {
    let entries = |all: &[Alternative]| all.iter().map(Alternative::entries).fold(0, usize::saturating_add);
    let (first, second) = (entries(one), entries(two));
    // The first clause may have any number of matches: they stand as they are.
    if first > 0 {
        let copied = first.saturating_mul(two.len()).saturating_add(second.saturating_mul(one.len()));
        let multiplies = one.len() > 1 && two.len() > 1;
        if copied > MAX_ENTRIES || (multiplies && one.len().saturating_mul(two.len()) > MAX_ALTERNATIVES) {
            return None;
        }
    }
    one.iter().flat_map(|a| two.iter().map(|b| a.and(b))).collect()
}

/// Entries of one field, two of which may be said as one.
pub(super) trait Meet: Sized {
    /// What hits whenever both do: `Some(None)` when nothing can, `None` when no single entry says it.
    fn meet(&self, other: &Self) -> Option<Option<Self>>;
}

impl Meet for u16 {
    fn meet(&self, other: &Self) -> Option<Option<Self>> {
        Some((self == other).then_some(*self))
    }
}

impl Meet for ServiceAccount {
    fn meet(&self, other: &Self) -> Option<Option<Self>> {
        Some((self == other).then(|| self.clone()))
    }
}

impl Meet for IpNet {
    fn meet(&self, other: &Self) -> Option<Option<Self>> {
        let (one, two) = (self.trunc(), other.trunc());
        Some(if one.contains(&two) { Some(two) } else { two.contains(&one).then_some(one) })
    }
}

impl Meet for StringMatch {
    fn meet(&self, other: &Self) -> Option<Option<Self>> {
        match (self, other) {
            (Self::Exact(text), m) | (m, Self::Exact(text)) => {
                Some(m.matches(&**text).then(|| Self::Exact(text.clone())))
            }
            (Self::Prefix(one), Self::Prefix(two)) => {
                let (long, short) = if one.len() < two.len() { (two, one) } else { (one, two) };
                Some(long.starts_with(&**short).then(|| Self::Prefix(long.clone())))
            }
            (Self::Suffix(one), Self::Suffix(two)) => {
                let (long, short) = if one.len() < two.len() { (two, one) } else { (one, two) };
                Some(long.ends_with(&**short).then(|| Self::Suffix(long.clone())))
            }
            (Self::Presence, Self::Presence) => Some(Some(Self::Presence)),
            (Self::Presence, Self::Prefix(_) | Self::Suffix(_))
            | (Self::Prefix(_) | Self::Suffix(_), Self::Presence)
            | (Self::Prefix(_), Self::Suffix(_))
            | (Self::Suffix(_), Self::Prefix(_)) => None,
        }
    }
}
