//! A generational slab: small stable keys, stale ones are recognised instead of reaching a stranger.
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
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

/// Slots of a page. Few, so that a page is given back soon after a burst, and a shard with one tunnel keeps little room.
const PAGE: u32 = 16;
/// A page's `free` when all its slots are.
const ALL_FREE: u16 = u16::MAX;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

#[derive(Debug)]
struct Page<T> {
    /// Empty while the page is given back.
    slots: Box<[Slot<T>]>,
    /// A bit for each slot that is free, lowest first.
    free: u16,
    /// What its slots begin with when they are laid out again: more than any key that was handed out has.
    generation: u32,
}

impl<T> Page<T> {
    fn vacant() -> Self {
        Self { slots: Box::default(), free: ALL_FREE, generation: 0 }
    }

    fn lay_out(&mut self) {
        let generation = self.generation;
        self.slots = (0..PAGE).map(|_| Slot { generation, value: None }).collect();
    }

    fn give_back(&mut self) {
        self.generation = self.slots.iter().map(|slot| slot.generation).max().unwrap_or_default();
        self.slots = Box::default();
    }
}

/// Values by key. They live in pages, so that growth moves none of them and a value costs its own size and little more; a
/// page that a burst has left empty is given back. The lowest free slot is taken first, which keeps the pages in use few.
#[derive(Debug)]
pub(super) struct Slab<K, T> {
    pages: Vec<Page<T>>,
    /// Pages that are laid out and have a free slot.
    roomy: BTreeSet<u32>,
    len: usize,
    kind: PhantomData<fn() -> K>,
}

impl<K, T> Default for Slab<K, T> {
    fn default() -> Self {
        Self { pages: Vec::new(), roomy: BTreeSet::new(), len: 0, kind: PhantomData }
    }
}

impl<K: From<Key> + Into<Key>, T> Slab<K, T> {
    /// Stores `value`. `None` (and the value dropped) only when 2³² slots are in use.
    pub(super) fn insert(&mut self, value: T) -> Option<K> {
        let number = match self.roomy.first() {
            Some(number) => *number,
            None => self.new_page()?,
        };
        let page = self.pages.get_mut(usize::try_from(number).ok()?)?;
        let at = page.free.trailing_zeros();
        let slot = page.slots.get_mut(usize::try_from(at).ok()?)?;
        slot.value = Some(value);
        let key = Key { index: number.checked_mul(PAGE)?.checked_add(at)?, generation: slot.generation };
        // Clears the lowest bit set, which is that of `at`.
        page.free &= page.free.saturating_sub(1);
        if page.free == 0 {
            self.roomy.remove(&number);
        }
        self.len = self.len.saturating_add(1);
        Some(key.into())
    }

    /// Removes and returns the value of `key`.
    pub(super) fn remove(&mut self, key: K) -> Option<T> {
        let key: Key = key.into();
        let (number, at) = place(key);
        let page = self.pages.get_mut(usize::try_from(number).ok()?)?;
        let slot = page.slots.get_mut(usize::try_from(at).ok()?)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        if page.free == 0 {
            self.roomy.insert(number);
        }
        page.free |= 1_u16.checked_shl(at).unwrap_or_default();
        // The last page with room stays, so that values which come and go one by one do not make and free it each time.
        if page.free == ALL_FREE && self.roomy.len() > 1 {
            page.give_back();
            self.roomy.remove(&number);
        }
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    /// The value of `key`, unless it is stale.
    pub(super) fn get(&self, key: K) -> Option<&T> {
        let key: Key = key.into();
        let (number, at) = place(key);
        let slot = self.pages.get(usize::try_from(number).ok()?)?.slots.get(usize::try_from(at).ok()?)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    /// The value of `key`, unless it is stale.
    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let key: Key = key.into();
        let (number, at) = place(key);
        let page = self.pages.get_mut(usize::try_from(number).ok()?)?;
        let slot = page.slots.get_mut(usize::try_from(at).ok()?)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// How many values are stored.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many slots there are, in use or not.
    pub(super) fn slots(&self) -> usize {
        self.pages.len().saturating_mul(usize::try_from(PAGE).unwrap_or_default())
    }

    /// The keys in use among `count` slots from `first` on.
    pub(super) fn keys_within(&self, first: usize, count: usize) -> impl Iterator<Item = K> {
        (first..first.saturating_add(count)).filter_map(|at| {
            let index = u32::try_from(at).ok()?;
            let (number, at) = place(Key { index, generation: 0 });
            let slot = self.pages.get(usize::try_from(number).ok()?)?.slots.get(usize::try_from(at).ok()?)?;
            slot.value.as_ref()?;
            Some(Key { index, generation: slot.generation }.into())
        })
    }

    /// All keys in use, in slot order.
    pub(super) fn keys(&self) -> impl Iterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }

    /// All keys in use with what they lead to, in slot order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.pages.iter().zip(0_u32..).flat_map(|(page, number)| {
            let first = number.saturating_mul(PAGE);
            page.slots.iter().zip(first..).filter_map(|(slot, index)| {
                slot.value.as_ref().map(|value| (Key { index, generation: slot.generation }.into(), value))
            })
        })
    }

    /// Lays out a page: the lowest that was given back, or one more. Asked only when no page has room, so those that are
    /// laid out are full, and looking through them is little beside filling them.
    fn new_page(&mut self) -> Option<u32> {
        let vacant = self.pages.iter().position(|page| page.slots.is_empty());
        let number = u32::try_from(vacant.unwrap_or(self.pages.len())).ok()?;
        // Its last slot has to have a number.
        number.checked_add(1)?.checked_mul(PAGE)?;
        if vacant.is_none() {
            self.pages.push(Page::vacant());
        }
        self.pages.get_mut(usize::try_from(number).ok()?)?.lay_out();
        self.roomy.insert(number);
        Some(number)
    }
}

/// The page of `key`, and the slot in it.
const fn place(key: Key) -> (u32, u32) {
    (key.index / PAGE, key.index % PAGE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

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

    impl<K, T> Slab<K, T> {
        fn laid_out(&self) -> usize {
            self.pages.iter().filter(|page| !page.slots.is_empty()).count()
        }
    }

    #[test]
    fn a_burst_is_given_back_and_its_keys_stay_stale() {
        let mut slab = Slab::<Key, usize>::default();
        let burst: Vec<_> = (0..1_000).map(|n| slab.insert(n).unwrap()).collect();
        assert_eq!(slab.laid_out(), 63);
        for key in &burst {
            slab.remove(*key);
        }
        assert_eq!((slab.laid_out(), slab.len()), (1, 0));
        let second: Vec<_> = (0..1_000).map(|n| slab.insert(n).unwrap()).collect();
        assert_eq!(slab.pages.len(), 63);
        assert!(burst.iter().all(|key| slab.get(*key).is_none()));
        assert!(second.iter().zip(0..).all(|(key, n)| slab.get(*key) == Some(&n)));
    }

    proptest! {
        #[test]
        fn every_key_finds_its_own_value_and_no_other(
            calls in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..400),
        ) {
            let mut slab = Slab::<Key, usize>::default();
            let (mut live, mut dead) = (BTreeMap::new(), Vec::new());
            for (n, (insert, which)) in calls.into_iter().enumerate() {
                if insert || live.is_empty() {
                    let key = slab.insert(n).unwrap();
                    prop_assert!(!dead.contains(&key), "{key:?} was handed out before");
                    prop_assert_eq!(live.insert(key, n), None);
                } else {
                    let key = *which.get(&live.keys().copied().collect::<Vec<_>>());
                    prop_assert_eq!(slab.remove(key), live.remove(&key));
                    dead.push(key);
                }
                prop_assert_eq!(slab.len(), live.len());
                prop_assert_eq!(slab.keys().collect::<Vec<_>>(), live.keys().copied().collect::<Vec<_>>());
                for (key, value) in &live {
                    prop_assert_eq!(slab.get(*key), Some(value));
                }
                for key in &dead {
                    prop_assert_eq!(slab.get(*key), None);
                }
                let used = live.keys().map(|key| key.index / PAGE).collect::<BTreeSet<_>>();
                prop_assert!(slab.laid_out() <= used.len() + 1, "more than one empty page is kept");
            }
        }
    }
}
