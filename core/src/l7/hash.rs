//! Consistent choice of an endpoint by a key of the request (Istio: `consistentHash`): the same key goes to the same endpoint,
//! and when endpoints come or go, few keys move.
use alloc::vec::Vec;

use crate::rng::mix;

/// A 64-bit hash that is the same in every process: FNV-1a, mixed so that all bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u64);

impl Default for KeyHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl KeyHash {
    /// The hash of more octets.
    #[must_use]
    pub fn with(self, octets: &[u8]) -> Self {
        let step = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        Self(octets.iter().fold(self.0, step))
    }

    /// Its value.
    #[must_use]
    pub const fn finish(self) -> u64 {
        mix(self.0)
    }
}

/// Points on a circle of hashes, of which each endpoint has some: a key belongs to the next point (`ringHash`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    /// Hash and endpoint, by hash.
    points: Vec<(u64, usize)>,
}

impl Ring {
    /// Points in all, whatever is asked for: they cost 16 octets each.
    const MAX_POINTS: u64 = 1 << 20;

    /// A ring of at least `minimum` points, for endpoints by name and weight. Those without weight have none.
    #[must_use]
    pub fn new<'a>(endpoints: impl Iterator<Item = (&'a [u8], u32)> + Clone, minimum: u32) -> Self {
        let total: u64 = endpoints.clone().map(|(_, weight)| u64::from(weight)).sum();
        let count = u64::try_from(endpoints.clone().count()).unwrap_or(u64::MAX);
        let points = u64::from(minimum).max(count).min(Self::MAX_POINTS);
        let mut ring = Self::default();
        for (index, (name, weight)) in endpoints.enumerate() {
            let share = points.saturating_mul(u64::from(weight));
            let own = share.div_ceil(total.max(1)).min(Self::MAX_POINTS);
            let hash = KeyHash::default().with(name);
            ring.points.extend((0..own).map(|point| (hash.with(&point.to_le_bytes()).finish(), index)));
        }
        ring.points.sort_unstable();
        ring
    }

    /// The endpoint of a key, by its place in the list the ring was made from; the next one that is `eligible`. `None`: none is.
    pub fn choose(&self, key: KeyHash, mut eligible: impl FnMut(usize) -> bool) -> Option<usize> {
        let start = self.points.partition_point(|(hash, _)| *hash < key.finish());
        let (before, after) = self.points.split_at_checked(start)?;
        let mut refused = Vec::new();
        for (_, endpoint) in after.iter().chain(before) {
            if refused.contains(endpoint) {
                continue;
            }
            if eligible(*endpoint) {
                return Some(*endpoint);
            }
            refused.push(*endpoint);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.0.{n}")).collect()
    }

    fn ring(names: &[String], weights: &[u32]) -> Ring {
        Ring::new(names.iter().zip(weights).map(|(name, weight)| (name.as_bytes(), *weight)), 1024)
    }

    fn key(n: u32) -> KeyHash {
        KeyHash::default().with(&n.to_le_bytes())
    }

    #[test]
    fn keys_are_shared_out_by_weight() {
        let names = names(4);
        let ring = ring(&names, &[1, 1, 2, 0]);
        let mut counts = [0_u32; 4];
        for n in 0..10_000 {
            counts[ring.choose(key(n), |_| true).unwrap()] += 1;
        }
        assert!((2000..3000).contains(&counts[0]) && (2000..3000).contains(&counts[1]), "{counts:?}");
        assert!((4300..5700).contains(&counts[2]) && counts[3] == 0, "{counts:?}");
    }

    #[test]
    fn an_endpoint_that_goes_moves_its_own_keys_alone() {
        let names = names(5);
        let whole = ring(&names, &[1; 5]);
        // 512 points of five are other ones than those of four: only the names count.
        let less = ring(&names[..4], &[1; 4]);
        let moved = (0..10_000).filter(|n| {
            let before = whole.choose(key(*n), |_| true).unwrap();
            before != 4 && less.choose(key(*n), |_| true).unwrap() != before
        });
        let moved = moved.count();
        assert!(moved < 1500, "{moved}");
    }

    #[test]
    fn without_anybody_there_is_no_choice() {
        assert_eq!(Ring::default().choose(key(1), |_| true), None);
        assert_eq!(ring(&names(2), &[0, 0]).choose(key(1), |_| true), None);
        assert_eq!(ring(&names(2), &[1, 1]).choose(key(1), |_| false), None);
    }

    #[test]
    fn hashes_are_the_same_everywhere() {
        assert_eq!(
            KeyHash::default().with(b"user-1").finish(),
            KeyHash::default().with(b"user").with(b"-1").finish()
        );
        assert_eq!(KeyHash::default().with(b"a").0, 0xaf63_dc4c_8601_ec8c, "the published value of FNV-1a");
    }

    proptest! {
        /// While one endpoint is not to be chosen, exactly its keys go elsewhere.
        #[test]
        fn an_endpoint_that_is_out_moves_its_own_keys_alone(count in 2_usize..8, out in 0_usize..8, keys in prop::collection::vec(any::<u32>(), 1..50)) {
            let (names, out) = (names(count), out % count);
            let ring = ring(&names, &alloc::vec![1; count]);
            for n in keys {
                let before = ring.choose(key(n), |_| true).unwrap();
                let now = ring.choose(key(n), |endpoint| endpoint != out).unwrap();
                prop_assert!(now != out && (before == out || now == before));
            }
        }
    }
}
