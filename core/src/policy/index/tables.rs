//! From a value to the entries that it hits: sorted tables, and trees of prefixes laid out in sorted tables.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::IpAddr;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::bits::Hits;
use crate::mesh::{ServiceAccount, StringMatch};

/// Entries of one kind, and whose they are.
pub(super) trait Table: Sized {
    /// What policies list.
    type Entry: 'static;
    /// What a connection has.
    type Value<'v>: Copy;

    /// A table of `entries`, each with the number of its alternative, which is below `count`; in the order of numbers.
    fn new<'e>(entries: impl Iterator<Item = (&'e Self::Entry, u32)>, count: usize) -> Self;

    /// Shows all entries that `value` hits.
    fn each(&self, value: Self::Value<'_>, hit: impl FnMut(&Hits));
}

/// Numbers by key, while a table is built.
type Draft<K> = BTreeMap<K, Vec<u32>>;

/// Exact keys.
#[derive(Clone, Debug)]
struct Sorted<K>(Box<[(K, Hits)]>);

impl<K> Sorted<K> {
    fn new(draft: Draft<K>, count: usize) -> Self {
        Self(draft.into_iter().map(|(key, numbers)| (key, Hits::new(&numbers, count))).collect())
    }

    fn find(&self, order: impl Fn(&K) -> Ordering) -> Option<&Hits> {
        let at = self.0.binary_search_by(|(key, _)| order(key)).ok()?;
        self.0.get(at).map(|(_, hits)| hits)
    }
}

/// Keys that stand for all values that begin with them, ordered so that a key comes before those it covers.
#[derive(Clone, Debug)]
struct Tree<K>(Box<[Node<K>]>);

#[derive(Clone, Debug)]
struct Node<K> {
    key: K,
    /// The next shorter key that covers this one.
    parent: Option<usize>,
    hits: Hits,
}

impl<K> Tree<K> {
    fn new(draft: Draft<K>, count: usize, covers: impl Fn(&K, &K) -> bool) -> Self {
        let mut nodes: Vec<Node<K>> = Vec::with_capacity(draft.len());
        for (key, numbers) in draft {
            let covering = |&at: &usize| nodes.get(at).is_some_and(|node| covers(&node.key, &key));
            let last = nodes.len().checked_sub(1);
            let parent =
                core::iter::successors(last, |&at| nodes.get(at).and_then(|node| node.parent)).find(covering);
            nodes.push(Node { key, parent, hits: Hits::new(&numbers, count) });
        }
        Self(nodes.into_boxed_slice())
    }

    /// Shows the hits of all keys that cover a value: `below` says whether a key is ordered at or before it.
    fn each(&self, below: impl Fn(&K) -> bool, covers: impl Fn(&K) -> bool, hit: &mut impl FnMut(&Hits)) {
        // Whatever covers the value covers the last key before it too, or is that key.
        let mut at = self.0.partition_point(|node| below(&node.key)).checked_sub(1);
        while let Some(node) = at.and_then(|at| self.0.get(at)) {
            if covers(&node.key) {
                hit(&node.hits);
            }
            at = node.parent;
        }
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Namespaces and principals. No value (no identity) hits nothing.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    exact: Sorted<Arc<str>>,
    prefixes: Tree<Arc<str>>,
    /// Read from the end.
    suffixes: Tree<Box<[u8]>>,
    presence: Option<Hits>,
}

impl Table for Texts {
    type Entry = StringMatch;
    type Value<'v> = Option<&'v [u8]>;

    fn new<'e>(entries: impl Iterator<Item = (&'e StringMatch, u32)>, count: usize) -> Self {
        let (mut exact, mut prefixes) = (Draft::<Arc<str>>::new(), Draft::<Arc<str>>::new());
        let (mut suffixes, mut presence) = (Draft::<Box<[u8]>>::new(), Vec::new());
        for (entry, number) in entries {
            let numbers = match entry {
                StringMatch::Exact(text) => exact.entry(Arc::clone(text)).or_default(),
                StringMatch::Prefix(text) => prefixes.entry(Arc::clone(text)).or_default(),
                StringMatch::Suffix(text) => suffixes.entry(text.bytes().rev().collect()).or_default(),
                StringMatch::Presence => &mut presence,
            };
            numbers.push(number);
        }
        Self {
            exact: Sorted::new(exact, count),
            prefixes: Tree::new(prefixes, count, |short, long| long.starts_with(&**short)),
            suffixes: Tree::new(suffixes, count, |short, long| long.starts_with(short)),
            presence: (!presence.is_empty()).then(|| Hits::new(&presence, count)),
        }
    }

    fn each(&self, value: Option<&[u8]>, mut hit: impl FnMut(&Hits)) {
        let Some(value) = value else { return };
        self.exact.find(|key| key.as_bytes().cmp(value)).into_iter().for_each(&mut hit);
        self.prefixes.each(|key| key.as_bytes() <= value, |key| value.starts_with(key.as_bytes()), &mut hit);
        if !self.suffixes.is_empty() {
            let reversed: SmallVec<[u8; 128]> = value.iter().rev().copied().collect();
            self.suffixes.each(|key| **key <= *reversed, |key| reversed.starts_with(key), &mut hit);
        }
        if !value.is_empty() {
            self.presence.iter().for_each(hit);
        }
    }
}

/// Service accounts.
#[derive(Clone, Debug)]
pub(super) struct Accounts(Sorted<ServiceAccount>);

impl Table for Accounts {
    type Entry = ServiceAccount;
    type Value<'v> = Option<(&'v str, &'v str)>;

    fn new<'e>(entries: impl Iterator<Item = (&'e ServiceAccount, u32)>, count: usize) -> Self {
        let mut draft = Draft::new();
        for (entry, number) in entries {
            draft.entry(entry.clone()).or_default().push(number);
        }
        Self(Sorted::new(draft, count))
    }

    fn each(&self, value: Option<(&str, &str)>, hit: impl FnMut(&Hits)) {
        let Some(value) = value else { return };
        self.0.find(|key| (&*key.namespace, &*key.service_account).cmp(&value)).into_iter().for_each(hit);
    }
}

/// Ports.
#[derive(Clone, Debug)]
pub(super) struct Ports(Sorted<u16>);

impl Table for Ports {
    type Entry = u16;
    type Value<'v> = u16;

    fn new<'e>(entries: impl Iterator<Item = (&'e u16, u32)>, count: usize) -> Self {
        let mut draft = Draft::new();
        for (&entry, number) in entries {
            draft.entry(entry).or_default().push(number);
        }
        Self(Sorted::new(draft, count))
    }

    fn each(&self, value: u16, hit: impl FnMut(&Hits)) {
        self.0.find(|key| key.cmp(&value)).into_iter().for_each(hit);
    }
}

/// A range of addresses: the first one's bits, aligned to the top, and how many of them count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    bits: u128,
    length: u8,
}

impl Range {
    /// Whether the address whose bits these are lies in it.
    fn covers(&self, bits: u128) -> bool {
        let free = 128u32.saturating_sub(self.length.into());
        let differ = self.bits ^ bits;
        differ.checked_shr(free).unwrap_or(0) == 0
    }
}

/// Bits of an address, aligned to the top, and whether it is IPv4.
fn bits(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => (true, u128::from(v4.to_bits()) << 96),
        IpAddr::V6(v6) => (false, v6.to_bits()),
    }
}

/// Ranges of addresses of both families.
#[derive(Clone, Debug)]
pub(super) struct Nets {
    v4: Tree<Range>,
    v6: Tree<Range>,
}

impl Table for Nets {
    type Entry = IpNet;
    type Value<'v> = IpAddr;

    fn new<'e>(entries: impl Iterator<Item = (&'e IpNet, u32)>, count: usize) -> Self {
        let (mut v4, mut v6) = (Draft::<Range>::new(), Draft::<Range>::new());
        for (entry, number) in entries {
            // Host bits of what was written do not count.
            let (is_v4, bits) = bits(entry.network());
            let family = if is_v4 { &mut v4 } else { &mut v6 };
            family.entry(Range { bits, length: entry.prefix_len() }).or_default().push(number);
        }
        let covers = |short: &Range, long: &Range| short.length <= long.length && short.covers(long.bits);
        Self { v4: Tree::new(v4, count, covers), v6: Tree::new(v6, count, covers) }
    }

    fn each(&self, value: IpAddr, mut hit: impl FnMut(&Hits)) {
        let (is_v4, bits) = bits(value);
        let family = if is_v4 { &self.v4 } else { &self.v6 };
        family.each(|range| range.bits <= bits, |range| range.covers(bits), &mut hit);
    }
}
