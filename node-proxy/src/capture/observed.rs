//! What a namespace has of our rules, as one of the backends tells it.
use std::collections::BTreeMap;

use super::model::{Chain, Family, Rule};

/// One rule in one of our chains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Line {
    /// It is of the kinds that we write.
    Rule(Rule),
    /// It is not; as the backend writes it.
    Other(String),
}

/// One of our chains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    /// How often packets are sent through it: once, if all is well.
    pub jumps: usize,
    /// Its rules.
    pub lines: Vec<Line>,
    /// What else is in a base chain that should hold nothing but the jump (nftables only: there it is ours alone).
    pub beside: Vec<String>,
}

/// Our chains of each family. A chain that does not exist is not here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Observed(pub BTreeMap<Family, BTreeMap<Chain, Seen>>);

impl Observed {
    /// Whether there is nothing of ours.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(BTreeMap::is_empty)
    }

    /// A chain, if it exists.
    #[must_use]
    pub(super) fn chain(&self, family: Family, chain: Chain) -> Option<&Seen> {
        self.0.get(&family)?.get(&chain)
    }

    /// A chain, which is there from now on.
    pub(super) fn chain_mut(&mut self, family: Family, chain: Chain) -> &mut Seen {
        self.0.entry(family).or_default().entry(chain).or_default()
    }
}
