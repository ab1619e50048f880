//! Tables of values by texts that are part of them: [`Index`] under a hash.

use alloc::sync::Arc;
use core::cmp::Ordering;
use core::hash::{Hash, Hasher};

use super::index::{Entry, Index};

/// How a [`Table`] orders its values.
pub(super) trait Order {
    /// What is in the table; cheap to clone.
    type Value: Clone;
    /// So many of the leading parts of a key must be known to find something, and are hashed.
    const HASHED: usize;
    /// The texts that order values. All parts together are unique in the table; equal leading parts make neighbours.
    fn key(value: &Self::Value) -> [&str; 5];
}

/// A value and the hash of the leading parts of its key.
pub(super) struct Keyed<O: Order> {
    mark: u64,
    value: O::Value,
}

impl<O: Order> Clone for Keyed<O> {
    fn clone(&self) -> Self {
        Self { mark: self.mark, value: self.value.clone() }
    }
}

impl<O: Order> PartialEq for Keyed<O> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<O: Order> Eq for Keyed<O> {}

impl<O: Order> PartialOrd for Keyed<O> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<O: Order> Ord for Keyed<O> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.mark.cmp(&other.mark).then_with(|| O::key(&self.value).cmp(&O::key(&other.value)))
    }
}

impl<O: Order> Entry for Keyed<O> {
    fn mark(&self) -> u64 {
        self.mark
    }
}

/// Values by key.
pub(super) struct Table<O: Order>(Index<Keyed<O>>);

impl<O: Order> Clone for Table<O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<O: Order> Default for Table<O> {
    fn default() -> Self {
        Self(Index::default())
    }
}

impl<O: Order> Table<O> {
    /// How many values there are.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// All values, in an order that only depends on them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &O::Value> {
        self.0.iter().map(|entry| &entry.value)
    }

    /// The values whose leading parts are `key`, ordered by the rest. There must be at least [`Order::HASHED`] parts.
    pub(super) fn all<'a, 'k, const N: usize>(
        &'a self,
        key: [&'k str; N],
    ) -> impl Iterator<Item = &'a O::Value> + use<'a, 'k, O, N> {
        let mark = mark_of(&key, O::HASHED);
        self.0.range(mark, move |entry| leading(entry, &key)).map(|entry| &entry.value)
    }

    /// The first of [`all`](Self::all).
    pub(super) fn get<const N: usize>(&self, key: [&str; N]) -> Option<&O::Value> {
        self.all(key).next()
    }

    /// The only value with this key, to change all but its key.
    pub(super) fn get_mut<const N: usize>(&mut self, key: [&str; N]) -> Option<&mut O::Value> {
        let found = self.0.get_mut(mark_of(&key, O::HASHED), |entry| leading(entry, &key));
        found.map(|entry| &mut entry.value)
    }

    /// Puts `value` in, in the place of one with the same key.
    pub(super) fn insert(&mut self, value: O::Value) {
        let mark = mark_of(&O::key(&value), O::HASHED);
        self.0.insert(Keyed { mark, value });
    }

    /// Takes out the value with the key of `value`.
    pub(super) fn remove(&mut self, value: &O::Value) {
        let key = O::key(value);
        self.0.remove(mark_of(&key, O::HASHED), |entry| leading(entry, &key));
    }
}

fn leading<O: Order>(entry: &Keyed<O>, key: &[&str]) -> Ordering {
    O::key(&entry.value).iter().take(key.len()).cmp(key)
}

fn mark_of(key: &[&str], hashed: usize) -> u64 {
    let mut hash = Mark::default();
    key.iter().take(hashed).for_each(|part| part.hash(&mut hash));
    hash.finish()
}

/// A hash that is the same in every process, so that runs can be repeated. Whoever finds texts of equal hash gains
/// nothing: entries of one mark are ordered by their texts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark(u64);

impl Mark {
    fn word(&mut self, word: [u8; 8]) {
        // A random odd number; the shift brings the well mixed high bits down.
        let mixed = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x9e6c_63d0_985b_5f4d);
        self.0 = mixed ^ (mixed >> 29);
    }
}

impl Hasher for Mark {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(*word));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.word(last);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The mark of anything that can be hashed.
pub(super) fn mark(value: &impl Hash) -> u64 {
    let mut hash = Mark::default();
    value.hash(&mut hash);
    hash.finish()
}

/// Something that may be held in several places, of which one copy is enough.
pub(super) trait Shared: Clone + Ord + Hash {
    /// How many hold this copy.
    fn holders(&self) -> usize;
}

impl<T: ?Sized + Ord + Hash> Shared for Arc<T> {
    fn holders(&self) -> usize {
        Self::strong_count(self)
    }
}
