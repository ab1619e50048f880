//! How an endpoint that has just come gets more requests by and by (Istio: `loadBalancer.warmup`).
use alloc::sync::Arc;

use core::time::Duration;

use crate::time::Instant;

/// The whole share, in the unit of [`Warmup::share`].
pub(super) const WHOLE: u16 = 1000;

/// How fast a new endpoint gets its full share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Warmup {
    /// After this it has it.
    pub duration: Duration,
    /// Its share meanwhile in thousandths, one for each of as many equal parts of the duration. Whoever reads the resource works
    /// out the curve (`aggression`): its powers are beyond whole numbers.
    pub shares: Arc<[u16]>,
}

impl Warmup {
    /// A straight line from `minimum_percent` to all, in hundred steps (`aggression` 1).
    #[must_use]
    pub fn linear(duration: Duration, minimum_percent: u16) -> Self {
        let shares = (0..100_u16).map(|part| part.max(minimum_percent).min(100).saturating_mul(10));
        Self { duration, shares: shares.collect() }
    }

    /// The share, in thousandths, of an endpoint that came at `since`.
    #[must_use]
    pub fn share(&self, since: Instant, now: Instant) -> u16 {
        let passed = now.saturating_since(since);
        if passed >= self.duration {
            return WHOLE;
        }
        let parts = u128::try_from(self.shares.len()).unwrap_or_default();
        let part = passed.as_nanos().saturating_mul(parts).checked_div(self.duration.as_nanos());
        let part = part.and_then(|part| usize::try_from(part).ok()).unwrap_or(usize::MAX);
        // Nothing at all would never end: nobody would learn that it works.
        self.shares.get(part).map_or(WHOLE, |share| (*share).clamp(1, WHOLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_from_the_minimum_to_all() {
        let warmup = Warmup::linear(Duration::from_secs(100), 10);
        let at =
            |secs: u64| warmup.share(Instant::from_millis(5000), Instant::from_millis(5000 + secs * 1000));
        assert_eq!(
            [at(0), at(5), at(10), at(50), at(99), at(100), at(1000)],
            [100, 100, 100, 500, 990, 1000, 1000]
        );
        let none = Warmup { duration: Duration::ZERO, shares: Arc::default() };
        assert_eq!(none.share(Instant::ZERO, Instant::ZERO), WHOLE);
        let never = Warmup { duration: Duration::from_secs(1), shares: [0].into() };
        assert_eq!(never.share(Instant::ZERO, Instant::ZERO), 1);
    }
}
