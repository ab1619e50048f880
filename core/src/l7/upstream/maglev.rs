//! Maglev's table of keys (Eisenbud et al.: "Maglev: A Fast and Reliable Software Network Load Balancer", §3.4): as many places
//! for each endpoint as its weight says, and a look-up that costs one step.
use alloc::vec;
use alloc::vec::Vec;

use crate::l7::KeyHash;

/// Places of keys, each of which belongs to one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maglev {
    places: Vec<u32>,
}

/// The order in which one endpoint wants places.
struct Wishes {
    next: u64,
    skip: u64,
    weight: u64,
    /// How much of its weight it has used up.
    used: u64,
    owner: u32,
}

impl Maglev {
    /// The largest table that Istio takes; the next prime number is beyond it.
    pub const MAX_SIZE: u32 = 5_000_011;

    /// A table of `size` places, which must be a prime number, for endpoints by name and weight. Those without weight have none.
    #[must_use]
    pub fn new<'a>(endpoints: impl Iterator<Item = (&'a [u8], u32)>, size: u32) -> Self {
        let size = u64::from(size.clamp(2, Self::MAX_SIZE));
        let remainder = |value: u64, by: u64| value.checked_rem(by).unwrap_or_default();
        let mut wishes: Vec<Wishes> = (0_u32..)
            .zip(endpoints)
            .filter(|(_, (_, weight))| *weight > 0)
            .map(|(owner, (name, weight))| {
                let hash = KeyHash::default().with(name);
                let skip = hash.with(b"skip").finish();
                Wishes {
                    next: remainder(hash.with(b"offset").finish(), size),
                    skip: remainder(skip, size.saturating_sub(1)).saturating_add(1),
                    weight: weight.into(),
                    used: 0,
                    owner,
                }
            })
            .collect();
        let Some(heaviest) = wishes.iter().map(|wish| wish.weight).max() else { return Self::default() };
        let mut places = vec![u32::MAX; usize::try_from(size).unwrap_or_default()];
        let mut free = places.len();
        while free > 0 {
            for wish in &mut wishes {
                // In each round the heaviest takes one place, and the others as much of one as they weigh beside it.
                wish.used = wish.used.saturating_add(wish.weight);
                if wish.used < heaviest || free == 0 {
                    continue;
                }
                wish.used = wish.used.saturating_sub(heaviest);
                // As the size is prime, the wishes go through all places before one comes again.
                for _ in 0..size {
                    let place = usize::try_from(wish.next).ok().and_then(|next| places.get_mut(next));
                    wish.next = remainder(wish.next.saturating_add(wish.skip), size);
                    if let Some(place) = place.filter(|place| **place == u32::MAX) {
                        *place = wish.owner;
                        free = free.saturating_sub(1);
                        break;
                    }
                }
            }
        }
        Self { places }
    }

    /// The endpoint of a key, by its place in the list the table was made from; of those that follow in the table, the first
    /// that is `eligible`. `None`: none is.
    pub fn choose(&self, key: KeyHash, mut eligible: impl FnMut(usize) -> bool) -> Option<usize> {
        let size = u64::try_from(self.places.len()).ok()?;
        let start = usize::try_from(key.finish().checked_rem(size)?).ok()?;
        let (before, after) = self.places.split_at_checked(start)?;
        let mut last = None;
        for owner in after.iter().chain(before) {
            if last == Some(*owner) {
                continue;
            }
            last = Some(*owner);
            let owner = usize::try_from(*owner).ok()?;
            if eligible(owner) {
                return Some(owner);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    fn table(weights: &[u32]) -> Maglev {
        let names: Vec<String> = (0..weights.len()).map(|n| format!("endpoint-{n}")).collect();
        Maglev::new(names.iter().zip(weights).map(|(name, weight)| (name.as_bytes(), *weight)), 65_537)
    }

    fn key(n: u32) -> KeyHash {
        KeyHash::default().with(&n.to_le_bytes())
    }

    #[test]
    fn places_are_shared_out_by_weight_almost_exactly() {
        let table = table(&[1, 2, 1, 0]);
        let mut counts = [0_i64; 4];
        for owner in &table.places {
            counts[usize::try_from(*owner).unwrap()] += 1;
        }
        let quarter = 65_537 / 4;
        for (count, expected) in counts.into_iter().zip([quarter, 2 * quarter, quarter, 0]) {
            assert!((count - expected).abs() <= 3, "{counts:?}");
        }
    }

    #[test]
    fn few_keys_move_when_one_comes_and_only_its_own_while_it_is_out() {
        let (four, five) = (table(&[1; 4]), table(&[1; 5]));
        let moved = |n: &u32| {
            let now = five.choose(key(*n), |_| true);
            now != Some(4) && now != four.choose(key(*n), |_| true)
        };
        let moved = (0..10_000).filter(moved).count();
        assert!(moved < 500, "{moved}");
        for n in 0..1000 {
            let (before, now) = (five.choose(key(n), |_| true), five.choose(key(n), |owner| owner != 2));
            assert!(now != Some(2) && (before == Some(2) || before == now));
        }
    }

    #[test]
    fn without_anybody_there_is_no_choice() {
        assert_eq!(table(&[]).choose(key(1), |_| true), None);
        assert_eq!(table(&[0, 0]).choose(key(1), |_| true), None);
        assert_eq!(table(&[1, 1]).choose(key(1), |_| false), None);
    }
}
