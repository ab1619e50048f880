//! Which of many rules hold for one connection, in about the time that one takes.
//!
//! Every rule is a few alternatives (see [`super::alternatives`]), numbered in the order of policies. Each field has a
//! table from values to the numbers of those who list them. Judging narrows a set of numbers, one word for 64 of them,
//! field by field; the lowest number left is the first rule that holds.

mod bits;
mod tables;

use alloc::sync::Arc;
use alloc::vec::Vec;

use self::bits::Bits;
use self::tables::{Accounts, Nets, Ports, Table, Texts};
use super::Authorization;
use super::alternatives::{Alternative, Alternatives, Field};
use super::subject::Subject;

/// One field of all alternatives.
#[derive(Clone, Debug)]
struct Column<T> {
    /// Those that want nothing particular, and what the others want; `None` when all are so.
    wanted: Option<(Bits, T)>,
    /// What they must not have; `None` when there is nothing.
    unwanted: Option<T>,
}

impl<T: Table> Column<T> {
    fn new<'a>(fields: impl Iterator<Item = &'a Field<T::Entry>> + Clone, count: usize) -> Self {
        let numbered = || fields.clone().zip(0u32..);
        let wanted = fields.clone().any(|field| field.wanted.is_some()).then(|| {
            let mut indifferent = Bits::none(count);
            for (_, number) in numbered().filter(|(field, _)| field.wanted.is_none()) {
                indifferent.insert(number);
            }
            let entries = numbered()
                .flat_map(|(field, number)| field.wanted.iter().flatten().map(move |e| (e, number)));
            (indifferent, T::new(entries, count))
        });
        let unwanted = fields.clone().any(|field| !field.unwanted.is_empty()).then(|| {
            let entries =
                numbered().flat_map(|(field, number)| field.unwanted.iter().map(move |e| (e, number)));
            T::new(entries, count)
        });
        Self { wanted, unwanted }
    }

    /// Takes out of `left` whom `value` does not suit; false when nobody is left for sure.
    fn narrow(&self, left: &mut Bits, value: T::Value<'_>) -> bool {
        if let Some(table) = &self.unwanted {
            table.each(value, |hits| hits.take_from(left));
        }
        let Some((indifferent, table)) = &self.wanted else { return true };
        let mut suited = indifferent.clone();
        table.each(value, |hits| hits.add_to(&mut suited));
        left.keep(&suited)
    }
}

/// Where an alternative comes from.
#[derive(Clone, Debug)]
struct Origin {
    policy: Arc<Authorization>,
    rule: usize,
    /// Otherwise the rule itself must be asked.
    exact: bool,
}

/// A rule that holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) policy: &'a Arc<Authorization>,
    pub(super) rule: usize,
}

/// The rules of some policies, made ready to be looked up.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// By number.
    origins: Vec<Origin>,
    principals: Column<Texts>,
    namespaces: Column<Texts>,
    accounts: Column<Accounts>,
    sources: Column<Nets>,
    destinations: Column<Nets>,
    ports: Column<Ports>,
}

impl Index {
    /// An index over `policies`, in their order.
    pub(super) fn new<'a>(policies: impl Iterator<Item = &'a Arc<Authorization>>) -> Self {
        let (mut origins, mut all) = (Vec::new(), Vec::<Alternative>::new());
        for policy in policies {
            for (rule, content) in policy.rules.iter().enumerate() {
                let Alternatives { list, exact } = Alternatives::new(content, policy.action);
                let origin = Origin { policy: Arc::clone(policy), rule, exact };
                origins.extend(list.iter().map(|_| origin.clone()));
                all.extend(list);
            }
        }
        let count = all.len();
        Self {
            principals: Column::new(all.iter().map(|a| &a.principals), count),
            namespaces: Column::new(all.iter().map(|a| &a.namespaces), count),
            accounts: Column::new(all.iter().map(|a| &a.accounts), count),
            sources: Column::new(all.iter().map(|a| &a.sources), count),
            destinations: Column::new(all.iter().map(|a| &a.destinations), count),
            ports: Column::new(all.iter().map(|a| &a.ports), count),
            origins,
        }
    }

    /// All rules that hold, in order; one may come more than once.
    pub(super) fn all<'a>(&'a self, subject: &Subject<'_>) -> impl Iterator<Item = Found<'a>> {
        let left = self.candidates(subject);
        let origins = left.iter().filter_map(|number| self.origins.get(number));
        let found = origins.filter(|origin| origin.holds(subject)).map(Origin::found);
        found.collect::<Vec<_>>().into_iter()
    }

    /// The first rule that holds.
    pub(super) fn first<'a>(&'a self, subject: &Subject<'_>) -> Option<Found<'a>> {
        let left = self.candidates(subject);
        let mut origins = left.iter().filter_map(|number| self.origins.get(number));
        origins.find(|origin| origin.holds(subject)).map(Origin::found)
    }

    fn candidates(&self, subject: &Subject<'_>) -> Bits {
        let mut left = Bits::all(self.origins.len());
        let _any = !self.origins.is_empty()
            && self.principals.narrow(&mut left, subject.principal())
            && self.namespaces.narrow(&mut left, Some(subject.namespace()))
            && self.accounts.narrow(&mut left, subject.account())
            && self.ports.narrow(&mut left, subject.port())
            && self.sources.narrow(&mut left, subject.source())
            && self.destinations.narrow(&mut left, subject.destination());
        left
    }
}

impl Origin {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let rule = || self.policy.rules.get(self.rule);
        self.exact || rule().is_some_and(|rule| subject.satisfies_rule(rule, self.policy.action))
    }

    const fn found(&self) -> Found<'_> {
        Found { policy: &self.policy, rule: self.rule }
    }
}
