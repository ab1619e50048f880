//! A deterministic source of choice: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").

/// Makes every bit of the result depend on all of `z`; no two results are equal.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A deterministic source of choice, seeded by the driver. Not for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Rng(u64);

impl Rng {
    /// Equal seeds give equal sequences.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform below `bound` (0 when bound is 0), without modulo bias: draws from the incomplete last span of the
    /// 64-bit range are thrown away, which is less than every second one.
    pub const fn below(&mut self, bound: u64) -> u64 {
        // 2^64 mod bound, the size of that span.
        let Some(excess) = 0u64.wrapping_sub(bound).checked_rem(bound) else { return 0 };
        loop {
            let draw = self.next_u64();
            if draw >= excess {
                return match draw.checked_rem(bound) {
                    Some(choice) => choice,
                    None => 0,
                };
            }
        }
    }

    /// Draws one of `items` with a chance in proportion to its weight; `None` when all of them weigh nothing.
    pub fn weighted<'a, T>(&mut self, items: &'a [T], weight: impl Fn(&T) -> u64) -> Option<&'a T> {
        let total = items.iter().map(&weight).fold(0u64, u64::saturating_add);
        let mut ticket = self.below(total);
        for item in items {
            match ticket.checked_sub(weight(item)) {
                Some(rest) => ticket = rest,
                None => return Some(item),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_published_sequence() {
        // Test vector of the reference implementation for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        let drawn = [rng.next_u64(), rng.next_u64(), rng.next_u64()];
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut rng = Rng::new(7);
        let mut seen = [0u32; 5];
        for _ in 0..1000 {
            seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| *n > 150), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
        assert!(rng.below(u64::MAX) < u64::MAX);
    }
}
