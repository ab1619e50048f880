//! Copies of requests for somebody who only watches (Gateway API: `HTTPRequestMirrorFilter`).
use alloc::sync::Arc;

use super::super::backends::Target;
use crate::rng::Rng;

/// A part of all requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fraction {
    /// So many …
    pub numerator: u32,
    /// … of so many. Zero: none at all.
    pub denominator: u32,
}

impl Fraction {
    /// All of them.
    pub const ALL: Self = Self { numerator: 1, denominator: 1 };

    /// Whether the next one is of this part.
    pub const fn draw(self, rng: &mut Rng) -> bool {
        rng.below(self.denominator as u64) < self.numerator as u64 && self.denominator > 0
    }
}

/// Who gets a copy. What it answers, and whether, the client never learns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// The service.
    pub target: Target,
    /// Which of its endpoints, if not all.
    pub subset: Option<Arc<str>>,
    /// Of how many requests.
    pub fraction: Fraction,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_all_is_drawn() {
        let mut rng = Rng::new(1);
        let mut count = |numerator, denominator| {
            (0..10_000).filter(|_| Fraction { numerator, denominator }.draw(&mut rng)).count()
        };
        assert_eq!([count(1, 1), count(0, 100), count(200, 100), count(5, 0)], [10_000, 0, 10_000, 0]);
        let quarter = count(25, 100);
        assert!((2300..2700).contains(&quarter), "{quarter}");
    }
}
