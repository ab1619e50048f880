//! A generational slab: small stable keys, stale ones are recognised instead of reaching a stranger.
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// A key of a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// The slot.
    pub(super) index: u32,
    /// How often the slot had been used before.
    pub(super) generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<Box<T>>,
}

/// Declares a key type for one kind of value, so that keys of different slabs cannot be confused.
macro_rules! slab_key {
    ($(#[$doc:meta])* $vis:vis $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name {
            /// The slot.
            $vis index: u32,
            /// How often the slot had been used before.
            $vis generation: u32,
        }

        impl From<$crate::proxy::slab::Key> for $name {
            fn from(key: $crate::proxy::slab::Key) -> Self {
                Self { index: key.index, generation: key.generation }
            }
        }

        impl From<$name> for $crate::proxy::slab::Key {
            fn from(key: $name) -> Self {
                Self { index: key.index, generation: key.generation }
            }
        }
    };
}
pub(crate) use slab_key;

/// Values by key. Entries are boxed, so that growth moves pointers only and a burst leaves little behind.
#[derive(Debug)]
pub(super) struct Slab<K, T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
    kind: PhantomData<fn() -> K>,
}

impl<K, T> Default for Slab<K, T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), len: 0, kind: PhantomData }
    }
}

impl<K: From<Key> + Into<Key>, T> Slab<K, T> {
    /// Stores `value`. `None` (and the value dropped) only when 2³² slots are in use.
    pub(super) fn insert(&mut self, value: T) -> Option<K> {
        let value = Some(Box::new(value));
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot { generation: 0, value: None });
                index
            }
        };
        let slot = self.slots.get_mut(usize::try_from(index).ok()?)?;
        slot.value = value;
        self.len = self.len.saturating_add(1);
        Some(Key { index, generation: slot.generation }.into())
    }

    /// Removes and returns the value of `key`.
    pub(super) fn remove(&mut self, key: K) -> Option<T> {
        let key: Key = key.into();
        let slot = self.slots.get_mut(usize::try_from(key.index).ok()?)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len = self.len.saturating_sub(1);
        Some(*value)
    }

    /// The value of `key`, unless it is stale.
    pub(super) fn get(&self, key: K) -> Option<&T> {
        let key: Key = key.into();
        let slot = self.slots.get(usize::try_from(key.index).ok()?)?;
        (slot.generation == key.generation).then_some(slot.value.as_deref()?)
    }

    /// The value of `key`, unless it is stale.
    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let key: Key = key.into();
        let slot = self.slots.get_mut(usize::try_from(key.index).ok()?)?;
        if slot.generation == key.generation { slot.value.as_deref_mut() } else { None }
    }

    /// How many values are stored.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many slots there are, in use or not.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The keys in use among `count` slots from `first` on.
    pub(super) fn keys_within(&self, first: usize, count: usize) -> impl Iterator<Item = K> {
        (first..first.saturating_add(count)).filter_map(|at| {
            let slot = self.slots.get(at)?;
            slot.value.as_ref()?;
            Some(Key { index: u32::try_from(at).ok()?, generation: slot.generation }.into())
        })
    }

    /// All keys in use, in slot order.
    pub(super) fn keys(&self) -> impl Iterator<Item = K> {
        self.slots.iter().zip(0u32..).filter_map(|(slot, index)| {
            slot.value.as_ref().map(|_| Key { index, generation: slot.generation }.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing_even_when_its_slot_is_used_again() {
        let mut slab = Slab::<Key, char>::default();
        let first = slab.insert('a').unwrap();
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b').unwrap();
        assert_eq!((first.index, slab.get(first)), (second.index, None));
        assert_eq!(slab.remove(first), None);
        assert_eq!((slab.get(second), slab.len()), (Some(&'b'), 1));
        assert_eq!(slab.keys().collect::<Vec<_>>(), [second]);
    }
}
