//! What is known about each stream of a connection, packed: an idle stream costs its own octets and little more.
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StreamId;

/// The room a map begins with, and what it may keep when it is emptied.
const LEAST: usize = 4;
/// Room grows by this part of what is in use: streams come one by one, and room that is never used is resident too.
const GROWTH: usize = 8;
/// Room is given back once less than this part of it is in use.
const SPARSE: usize = 4;

/// A map from stream identifiers, ordered by them.
///
/// Identifiers ascend (RFC 9113 §5.1.1), so that an insertion is nearly always an append, and those of a connection whose
/// streams live equally long have no gaps, so that a look-up is nearly always one guess. A B-tree that is filled in
/// ascending order leaves its nodes half empty; this does not. Removal moves what follows: the streams of one
/// connection are a few hundred at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamMap<T> {
    /// Ascending, no identifier twice.
    entries: Vec<(StreamId, T)>,
}

impl<T> Default for StreamMap<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> StreamMap<T> {
    /// Where `stream` is (`Ok`), or would have to be (`Err`).
    fn find(&self, stream: StreamId) -> Result<usize, usize> {
        let Some((first, _)) = self.entries.first() else { return Err(0) };
        // Without gaps neighbours differ by 2.
        let guess = usize::try_from(stream.0.saturating_sub(first.0) / 2).unwrap_or(usize::MAX);
        match self.entries.get(guess) {
            Some((found, _)) if *found == stream => Ok(guess),
            _ if self.entries.last().is_some_and(|(last, _)| *last < stream) => Err(self.entries.len()),
            _ => self.entries.binary_search_by_key(&stream, |(id, _)| *id),
        }
    }

    /// The entry of `stream`.
    pub(crate) fn get(&self, stream: &StreamId) -> Option<&T> {
        let at = self.find(*stream).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// The entry of `stream`.
    pub(crate) fn get_mut(&mut self, stream: &StreamId) -> Option<&mut T> {
        let at = self.find(*stream).ok()?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// Whether `stream` has an entry.
    pub(crate) fn contains_key(&self, stream: &StreamId) -> bool {
        self.find(*stream).is_ok()
    }

    /// Sets the entry of `stream`; returns the one it had.
    pub(crate) fn insert(&mut self, stream: StreamId, value: T) -> Option<T> {
        match self.find(stream) {
            Ok(at) => self.entries.get_mut(at).map(|(_, old)| core::mem::replace(old, value)),
            Err(at) => {
                let len = self.entries.len();
                if len == self.entries.capacity() {
                    self.entries.reserve_exact((len / GROWTH).max(LEAST));
                }
                self.entries.insert(at, (stream, value));
                None
            }
        }
    }

    /// Takes the entry of `stream` out.
    pub(crate) fn remove(&mut self, stream: &StreamId) -> Option<T> {
        let at = self.find(*stream).ok()?;
        let (_, value) = self.entries.remove(at);
        self.tidy();
        Some(value)
    }

    /// Keeps the entries for which `keep` says so.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(StreamId, &T) -> bool) {
        self.entries.retain(|(stream, value)| keep(*stream, value));
        self.tidy();
    }

    /// Takes all entries out.
    pub(crate) fn clear(&mut self) {
        self.entries = Vec::new();
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, &T)> {
        self.entries.iter().map(|(stream, value)| (*stream, value))
    }

    /// The identifiers, ascending.
    pub(crate) fn keys(&self) -> impl Iterator<Item = StreamId> {
        self.entries.iter().map(|(stream, _)| *stream)
    }

    /// The identifiers above `stream`, ascending.
    pub(crate) fn above(&self, stream: StreamId) -> impl Iterator<Item = StreamId> {
        let from = self.entries.partition_point(|(id, _)| *id <= stream);
        self.keys().skip(from)
    }

    /// The values, by ascending identifier.
    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The values, by ascending identifier.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// Gives room back that a burst of streams has left.
    fn tidy(&mut self) {
        let (len, room) = (self.entries.len(), self.entries.capacity());
        if room > LEAST.saturating_mul(2) && len < room / SPARSE {
            self.entries.shrink_to(len.saturating_mul(2).max(LEAST));
        }
    }
}

impl<T: Serialize> Serialize for StreamMap<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.entries)
    }
}

/// What was written in disorder is put in order, so that no frozen octets make a map that loses entries.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for StreamMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut entries = Vec::<(StreamId, T)>::deserialize(deserializer)?;
        entries.sort_by_key(|(stream, _)| *stream);
        entries.dedup_by_key(|(stream, _)| *stream);
        Ok(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// What may be done to a map; most streams are odd, as clients number them.
    #[derive(Clone, Debug)]
    enum Call {
        Insert(u32, u8),
        Remove(u32),
        Change(u32, u8),
        Retain(u8),
        Clear,
        Thaw,
    }

    fn call() -> impl Strategy<Value = Call> {
        let id = || prop_oneof![4 => (0_u32..60).prop_map(|n| 2 * n + 1), 1 => 0_u32..130];
        prop_oneof![
            8 => (id(), any::<u8>()).prop_map(|(id, value)| Call::Insert(id, value)),
            6 => id().prop_map(Call::Remove),
            2 => (id(), any::<u8>()).prop_map(|(id, value)| Call::Change(id, value)),
            1 => any::<u8>().prop_map(Call::Retain),
            1 => Just(Call::Clear),
            1 => Just(Call::Thaw),
        ]
    }

    proptest! {
        #[test]
        fn it_answers_as_a_b_tree_would(calls in prop::collection::vec(call(), 0..200), above in 0_u32..130) {
            let (mut map, mut oracle) = (StreamMap::default(), BTreeMap::new());
            for call in calls {
                match call {
                    Call::Insert(id, value) => {
                        prop_assert_eq!(map.insert(StreamId(id), value), oracle.insert(StreamId(id), value));
                    }
                    Call::Remove(id) => {
                        prop_assert_eq!(map.remove(&StreamId(id)), oracle.remove(&StreamId(id)));
                    }
                    Call::Change(id, value) => {
                        if let Some(entry) = map.get_mut(&StreamId(id)) { *entry = value; }
                        if let Some(entry) = oracle.get_mut(&StreamId(id)) { *entry = value; }
                    }
                    Call::Retain(least) => {
                        map.retain(|_, value| *value >= least);
                        oracle.retain(|_, value| *value >= least);
                    }
                    Call::Clear => {
                        map.clear();
                        oracle.clear();
                    }
                    Call::Thaw => map = postcard::from_bytes(&postcard::to_allocvec(&map).unwrap()).unwrap(),
                }
                let entries: Vec<_> = oracle.iter().map(|(id, value)| (*id, value)).collect();
                prop_assert_eq!(map.iter().collect::<Vec<_>>(), entries);
                prop_assert_eq!((map.len(), map.is_empty()), (oracle.len(), oracle.is_empty()));
                for id in (0..130).map(StreamId) {
                    prop_assert_eq!(map.get(&id), oracle.get(&id));
                    prop_assert_eq!(map.contains_key(&id), oracle.contains_key(&id));
                }
                let room = map.entries.capacity();
                prop_assert!(room <= (4 * map.len() + SPARSE).max(2 * LEAST), "{} of {room} used", map.len());
            }
            let tail: Vec<_> = oracle.range(StreamId(above + 1)..).map(|(id, _)| *id).collect();
            prop_assert_eq!(map.above(StreamId(above)).collect::<Vec<_>>(), tail);
        }
    }

    #[test]
    fn a_full_tunnel_wastes_little_and_an_emptied_one_keeps_little() {
        let mut map = StreamMap::default();
        for n in 0..100 {
            map.insert(StreamId(2 * n + 1), n);
        }
        assert!(map.entries.capacity() <= 112, "{}", map.entries.capacity());
        for n in 0..100 {
            assert_eq!(map.remove(&StreamId(2 * n + 1)), Some(n));
        }
        assert!(map.entries.capacity() <= 2 * LEAST, "{}", map.entries.capacity());
    }

    #[test]
    fn frozen_disorder_is_put_in_order() {
        let octets = postcard::to_allocvec(&[(5_u32, 'b'), (1, 'a'), (5, 'c')][..].to_vec()).unwrap();
        let map: StreamMap<char> = postcard::from_bytes(&octets).unwrap();
        assert_eq!(map.iter().collect::<Vec<_>>(), [(StreamId(1), &'a'), (StreamId(5), &'b')]);
    }
}
