//! How long to wait after a failure (interfaces §2.3).
use core::time::Duration;

use crate::rng::Rng;
use crate::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(150);
/// After this long without success the delay is [`CAP`], without jitter.
const BUDGET: Duration = Duration::from_secs(15 * 60);

/// Delays that double from 1 s to 150 s, each ±20 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Backoff {
    /// The delay given last, before jitter, and when the series began.
    last: Option<(Duration, Instant)>,
}

impl Backoff {
    /// The next delay.
    pub(super) fn next(&mut self, now: Instant, rng: &mut Rng) -> Duration {
        let (delay, began) = match self.last {
            None => (FIRST, now),
            Some((last, began)) => (last.saturating_mul(2).min(CAP), began),
        };
        self.last = Some((delay, began));
        if now.saturating_since(began) >= BUDGET {
            return CAP;
        }
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let fifth = nanos / 5;
        let jitter = rng.below(fifth.saturating_mul(2).saturating_add(1));
        Duration::from_nanos(nanos.saturating_sub(fifth).saturating_add(jitter)).min(CAP)
    }

    /// After a success.
    pub(super) const fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_cap_and_stays_there() {
        let (mut backoff, mut rng) = (Backoff::default(), Rng::new(1));
        let mut now = Instant::ZERO;
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 150, 150] {
            let delay = backoff.next(now, &mut rng);
            let exact = Duration::from_secs(expected);
            assert!(delay >= exact * 4 / 5 && delay <= (exact * 6 / 5).min(CAP), "{expected}: {delay:?}");
            now = now + delay;
        }
        let late = Instant::ZERO + BUDGET;
        for _ in 0..20 {
            assert_eq!(backoff.next(late, &mut rng), CAP);
        }
        backoff.reset();
        assert!(backoff.next(late, &mut rng) <= FIRST * 6 / 5);
    }

    #[test]
    fn delays_differ() {
        let first = |seed| Backoff::default().next(Instant::ZERO, &mut Rng::new(seed));
        assert_ne!(first(1), first(2));
    }
}
