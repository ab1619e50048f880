//! Sets of alternatives by number: while a connection is judged, and as the hits of one entry.

use alloc::boxed::Box;
use alloc::vec;

use smallvec::SmallVec;

/// Numbers that are still in question; without an allocation up to 2048 of them.
#[derive(Clone, Debug)]
pub(super) struct Bits(SmallVec<[u64; 32]>);

/// Words that hold `count` numbers.
pub(super) const fn words(count: usize) -> usize {
    count.div_ceil(64)
}

/// Where a number lies: its word and its bit there.
fn place(number: u32) -> (usize, u64) {
    // `u32 >> 6` fits wherever a set of that size does.
    (usize::try_from(number >> 6).unwrap_or(usize::MAX), 1u64.wrapping_shl(number & 63))
}

impl Bits {
    /// The numbers below `count`.
    pub(super) fn all(count: usize) -> Self {
        let mut bits: SmallVec<[u64; 32]> = smallvec::smallvec![u64::MAX; words(count)];
        if let (Some(last), rest @ 1..) = (bits.last_mut(), count & 63) {
            *last =
                u64::MAX.checked_shr(u32::try_from(64usize.saturating_sub(rest)).unwrap_or(0)).unwrap_or(0);
        }
        Self(bits)
    }

    /// Room for the numbers below `count`, none of them in it.
    pub(super) fn none(count: usize) -> Self {
        Self(smallvec::smallvec![0; words(count)])
    }

    pub(super) fn insert(&mut self, number: u32) {
        let (word, bit) = place(number);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Keeps what `other` has too; whether anything is left.
    pub(super) fn keep(&mut self, other: &Self) -> bool {
        let mut left = 0;
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
            left |= *word;
        }
        left != 0
    }

    /// The numbers in it, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            let rest = core::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
            rest.take_while(|&word| word != 0).map(move |word| {
                let bit = usize::try_from(word.trailing_zeros()).unwrap_or(0);
                at.saturating_mul(64).saturating_add(bit)
            })
        })
    }
}

/// The alternatives that one entry hits: listed while they are few, a bit each when that is smaller. So a set never
/// takes more than four octets for each number in it, and never more than half a word of work for each word of [`Bits`].
#[derive(Clone, Debug)]
pub(super) enum Hits {
    Few(SmallVec<[u32; 4]>),
    Many(Box<[u64]>),
}

impl Hits {
    /// `numbers`, all below `count`.
    pub(super) fn new(numbers: &[u32], count: usize) -> Self {
        let words = words(count);
        if numbers.len() <= words.saturating_mul(2) {
            return Self::Few(SmallVec::from_slice(numbers));
        }
        let mut bits = vec![0; words].into_boxed_slice();
        for (word, bit) in numbers.iter().map(|&number| place(number)) {
            if let Some(word) = bits.get_mut(word) {
                *word |= bit;
            }
        }
        Self::Many(bits)
    }

    /// Puts them into `bits`.
    pub(super) fn add_to(&self, bits: &mut Bits) {
        match self {
            Self::Few(numbers) => numbers.iter().for_each(|&number| bits.insert(number)),
            Self::Many(own) => {
                for (word, own) in bits.0.iter_mut().zip(own) {
                    *word |= own;
                }
            }
        }
    }

    /// Takes them out of `bits`.
    pub(super) fn take_from(&self, bits: &mut Bits) {
        match self {
            Self::Few(numbers) => {
                for (word, bit) in numbers.iter().map(|&number| place(number)) {
                    if let Some(word) = bits.0.get_mut(word) {
                        *word &= !bit;
                    }
                }
            }
            Self::Many(own) => {
                for (word, own) in bits.0.iter_mut().zip(own) {
                    *word &= !own;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn sets_hold_what_was_put_in_at_every_word_boundary() {
        for count in [0, 1, 63, 64, 65, 128, 200, 5000] {
            assert_eq!(Bits::all(count).iter().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
            assert_eq!(Bits::none(count).iter().count(), 0);
            for step in [1, 2, 63, 64, 65] {
                let numbers: Vec<u32> = (0..count as u32).step_by(step).collect();
                let hits = Hits::new(&numbers, count);
                let mut bits = Bits::none(count);
                hits.add_to(&mut bits);
                let found: Vec<u32> = bits.iter().map(|number| number as u32).collect();
                assert_eq!(found, numbers, "{count} {step}");
                let mut rest = Bits::all(count);
                hits.take_from(&mut rest);
                assert_eq!(rest.iter().count(), count - numbers.len());
                assert!(!rest.keep(&bits), "nothing is in both");
            }
        }
    }

    #[test]
    fn many_hits_take_a_bit_each() {
        let numbers: Vec<u32> = (0..1000).collect();
        assert!(matches!(Hits::new(&numbers, 1000), Hits::Many(words) if words.len() == 16));
        assert!(matches!(Hits::new(&numbers[..32], 1000), Hits::Few(_)));
    }
}
