//! Local rate limits: token buckets (Envoy: `token_bucket` of `local_ratelimit`).
use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::time::Instant;

/// How many requests may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// At once, after a rest.
    pub max_tokens: u32,
    /// How many more …
    pub tokens_per_fill: u32,
    /// … after each of these. Zero is taken for a nanosecond.
    pub fill_interval: Duration,
}

/// What a bucket says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It passes; so many more could at once.
    Pass {
        /// What is left.
        remaining: u32,
    },
    /// It does not: status 429.
    Limited {
        /// When the next token comes.
        retry_after: Duration,
    },
}

impl Verdict {
    /// Whether it passes.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Pass { .. })
    }
}

/// Tokens, one for each request. Full at first. Under another rate, what was taken stays taken: whoever changes a limit back and
/// forth (requests that came before a change, and after it) gets no more tokens by that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    rate: Rate,
    /// Tokens that were taken and have not come again. A lower rate may have less than these.
    taken: u32,
    /// When it was filled last.
    filled: Instant,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub const fn new(now: Instant, rate: Rate) -> Self {
        Self { rate, taken: 0, filled: now }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant, rate: Rate) -> Verdict {
        self.fill(now);
        if self.rate != rate {
            self.handle_rate(now, rate);
        }
        let left = rate.max_tokens.checked_sub(self.taken).and_then(|left| left.checked_sub(1));
        match left {
            Some(remaining) => {
                self.taken = self.taken.saturating_add(1);
                Verdict::Pass { remaining }
            }
            None => {
                let next = self.filled + interval(rate);
                Verdict::Limited { retry_after: next.saturating_since(now) }
            }
        }
    }

    /// Another rate counts from now on. Part of an interval is none of another's.
    fn handle_rate(&mut self, now: Instant, rate: Rate) {
        if interval(self.rate) != interval(rate) {
            self.filled = self.filled.max(now);
        }
        self.rate = rate;
    }

    /// Whether it is as good as new.
    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.taken == 0
    }

    /// Adds what has come since; part of an interval counts when it is whole.
    fn fill(&mut self, now: Instant) {
        let interval = nanos(interval(self.rate));
        let passed = nanos(now.saturating_since(self.filled));
        let fills = passed.checked_div(interval).unwrap_or_default();
        if fills == 0 {
            return;
        }
        let more = fills.saturating_mul(self.rate.tokens_per_fill.into());
        self.taken = self.taken.saturating_sub(u32::try_from(more).unwrap_or(u32::MAX));
        self.filled = self.filled + Duration::from_nanos(fills.saturating_mul(interval));
    }
}

fn interval(rate: Rate) -> Duration {
    rate.fill_interval.max(Duration::from_nanos(1))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One bucket for each key, such as the client's identity. So many keys are told apart; all that come when there are as many
/// share one more bucket, so that nobody gets past a limit by having many names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limiter<K> {
    rate: Rate,
    max_keys: usize,
    buckets: BTreeMap<K, Bucket>,
    rest: Option<Bucket>,
}

impl<K: Ord + Clone> Limiter<K> {
    /// All buckets are full.
    #[must_use]
    pub const fn new(rate: Rate, max_keys: usize) -> Self {
        Self { rate, max_keys, buckets: BTreeMap::new(), rest: None }
    }

    /// Other bounds count from now on; what was taken stays taken. Of keys that are too many now, each goes when it has rested.
    pub const fn handle_bounds(&mut self, rate: Rate, max_keys: usize) {
        (self.rate, self.max_keys) = (rate, max_keys);
    }

    /// A request of `key`.
    pub fn take(&mut self, now: Instant, key: &K) -> Verdict {
        let rate = self.rate;
        if let Some(bucket) = self.buckets.get_mut(key) {
            return bucket.take(now, rate);
        }
        if self.buckets.len() >= self.max_keys {
            // A full bucket need not be remembered.
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        // Who gets a bucket of its own may have used the common one: it begins where that is, or it would have both.
        self.rest.take_if(|rest| rest.is_full(now));
        let rest = self.rest.clone().unwrap_or_else(|| Bucket::new(now, rate));
        if self.buckets.len() < self.max_keys {
            return self.buckets.entry(key.clone()).or_insert(rest).take(now, rate);
        }
        self.rest.insert(rest).take(now, rate)
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { max_tokens: 3, tokens_per_fill: 2, fill_interval: Duration::from_millis(100) };

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn tokens_are_used_up_and_come_again() {
        let mut bucket = Bucket::new(at(0), RATE);
        let mut take = |millis| bucket.take(at(millis), RATE);
        assert_eq!([take(0), take(0), take(0)].map(Verdict::passes), [true; 3]);
        assert_eq!(take(40), Verdict::Limited { retry_after: Duration::from_millis(60) });
        assert_eq!([take(100), take(101)], [Verdict::Pass { remaining: 1 }, Verdict::Pass { remaining: 0 }]);
        assert_eq!(take(199), Verdict::Limited { retry_after: Duration::from_millis(1) });
        // No more than there may be, however long it rests.
        assert_eq!(take(100_000), Verdict::Pass { remaining: 2 });
    }

    #[test]
    fn keys_have_buckets_of_their_own_and_those_beyond_the_bound_share_one() {
        let mut limiter = Limiter::new(RATE, 2);
        let take = |limiter: &mut Limiter<u8>, key, count| {
            (0..count).filter(|_| limiter.take(at(0), &key).passes()).count()
        };
        assert_eq!([take(&mut limiter, 1, 9), take(&mut limiter, 2, 9)], [3, 3]);
        assert_eq!([take(&mut limiter, 3, 2), take(&mut limiter, 4, 9), take(&mut limiter, 3, 9)], [2, 1, 0]);
        assert_eq!(limiter.len(), 2);
        // Who has rested is forgotten, and makes room.
        assert!(limiter.take(at(1000), &5).passes());
        assert!(limiter.len() == 1 && !limiter.is_empty());
    }

    #[test]
    fn another_rate_gives_back_nothing_that_was_taken() {
        let wide = Rate { max_tokens: 5, ..RATE };
        let narrow = Rate { max_tokens: 1, ..RATE };
        let mut bucket = Bucket::new(at(0), RATE);
        let mut take = |millis, rate| bucket.take(at(millis), rate).passes();
        assert_eq!([take(0, RATE), take(0, RATE), take(0, RATE), take(0, RATE)], [true, true, true, false]);
        assert_eq!([take(0, wide), take(0, wide), take(0, wide)], [true, true, false]);
        assert_eq!([take(0, RATE), take(0, narrow), take(0, wide)], [false; 3]);
        // Two come each 100 ms.
        assert_eq!([take(100, narrow), take(100, RATE), take(200, narrow)], [false; 3]);
        assert_eq!([take(200, RATE), take(200, wide), take(300, narrow)], [true, true, false]);
        // Part of an interval is none of a shorter one.
        let fast = Rate { fill_interval: Duration::from_millis(1), ..wide };
        assert!(take(399, RATE));
        assert_eq!(
            [take(399, fast), take(399, fast), take(399, fast), take(399, fast)],
            [true, true, true, false]
        );
    }

    #[test]
    fn odd_rates_do_no_harm() {
        let never = Rate { max_tokens: 0, tokens_per_fill: 5, fill_interval: Duration::ZERO };
        let mut bucket = Bucket::new(at(0), never);
        assert!(!bucket.take(at(u64::MAX / 1_000_000), never).passes());
        let flood = Rate { max_tokens: u32::MAX, tokens_per_fill: u32::MAX, fill_interval: Duration::MAX };
        assert!(Bucket::new(at(0), flood).take(Instant::FAR, flood).passes());
    }

    proptest! {
        /// In no stretch of time do more pass than the bucket holds and what came meanwhile.
        #[test]
        fn no_more_pass_than_may(waits in prop::collection::vec(0_u64..80, 1..200), max in 0_u32..6, fill in 0_u32..4) {
            let rate = Rate { max_tokens: max, tokens_per_fill: fill, fill_interval: Duration::from_millis(50) };
            let mut bucket = Bucket::new(at(0), rate);
            let (mut now, mut passed) = (0, Vec::new());
            for wait in waits {
                now += wait;
                if bucket.take(at(now), rate).passes() {
                    passed.push(now);
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let fills = (to - from) / 50 + 1;
                    let count = u64::try_from(last - first + 1).unwrap();
                    prop_assert!(count <= u64::from(max) + fills * u64::from(fill));
                }
            }
        }
    }
}
