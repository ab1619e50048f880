//! When a set of keys is fetched (again): a machine for one source.
use core::time::Duration;

use crate::rng::Rng;
use crate::time::Instant;

/// Numbers of a [`Refresh`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RefreshSettings {
    /// After this a set is fetched again, unless its server says how long it is good for (`Cache-Control: max-age`).
    pub interval: Duration,
    /// What its server says is not taken to be less than this.
    pub least: Duration,
    /// Nor more than this: a key that was withdrawn is good for no longer.
    pub most: Duration,
    /// All of these come up to this share earlier, in thousandths, so that proxies that started together do not ask together.
    pub jitter_per_mille: u16,
    /// After a failure it is tried again after this, doubled each time …
    pub retry: Duration,
    /// … up to this.
    pub retry_most: Duration,
    /// A token that names a key we do not have makes us look again, but not sooner than this after we have looked last: anybody
    /// can make such tokens up.
    pub unknown_key_gap: Duration,
}

impl Default for RefreshSettings {
    fn default() -> Self {
        Self {
            // Istio's `PILOT_JWT_PUB_KEY_REFRESH_INTERVAL`.
            interval: Duration::from_secs(20 * 60),
            least: Duration::from_secs(60),
            most: Duration::from_secs(60 * 60),
            jitter_per_mille: 100,
            retry: Duration::from_secs(1),
            retry_most: Duration::from_secs(5 * 60),
            unknown_key_gap: Duration::from_secs(30),
        }
    }
}

/// Decides when to fetch. The owner fetches when [`poll_fetch`](Self::poll_fetch) says so, and tells what came of it. What was
/// fetched last stays in use until something else has been fetched.
#[derive(Clone, Debug)]
pub struct Refresh {
    settings: RefreshSettings,
    rng: Rng,
    state: State,
    /// When the last fetch began.
    began: Option<Instant>,
    /// Failures since the last success.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due(Instant),
    Fetching,
}

impl Refresh {
    /// A source that has never been asked; it is due at once. `seed` makes proxies differ.
    #[must_use]
    pub const fn new(settings: RefreshSettings, now: Instant, seed: u64) -> Self {
        Self { settings, rng: Rng::new(seed), state: State::Due(now), began: None, failures: 0 }
    }

    /// Whether to fetch now; then the owner must say what came of it.
    pub fn poll_fetch(&mut self, now: Instant) -> bool {
        let due = matches!(self.state, State::Due(at) if at <= now);
        if due {
            self.state = State::Fetching;
            self.began = Some(now);
        }
        due
    }

    /// When to ask again, if nothing happens; never while a fetch is under way.
    #[must_use]
    pub const fn poll_deadline(&self) -> Instant {
        match self.state {
            State::Due(at) => at,
            State::Fetching => Instant::FAR,
        }
    }

    /// A set was fetched, and its server says it is good for `max_age`. Without a fetch under way this is late news, and nothing.
    pub fn handle_fetched(&mut self, now: Instant, max_age: Option<Duration>) {
        if self.state != State::Fetching {
            return;
        }
        let RefreshSettings { interval, least, most, .. } = self.settings;
        self.failures = 0;
        self.state = State::Due(now + self.jittered(max_age.unwrap_or(interval).max(least).min(most)));
    }

    /// It could not be fetched, or was no set of keys.
    pub fn handle_failed(&mut self, now: Instant) {
        if self.state != State::Fetching {
            return;
        }
        let RefreshSettings { retry, retry_most, .. } = self.settings;
        let doubled = retry.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1).min(31);
        self.state = State::Due(now + self.jittered(doubled.min(retry_most)));
    }

    /// A token names a key that the set does not have: it is fetched as soon as that is allowed. Says whether a fetch is under
    /// way or due now, and so worth waiting for.
    pub fn handle_unknown_key(&mut self, now: Instant) -> bool {
        let State::Due(at) = self.state else { return true };
        let allowed = self.began.map_or(now, |began| began + self.settings.unknown_key_gap);
        // While the server fails, its pause counts.
        if allowed <= now && self.failures == 0 {
            self.state = State::Due(at.min(now));
        }
        self.poll_deadline() <= now
    }

    fn jittered(&mut self, interval: Duration) -> Duration {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let most = (nanos / 1000).saturating_mul(u64::from(self.settings.jitter_per_mille));
        Duration::from_nanos(nanos.saturating_sub(self.rng.below(most.saturating_add(1))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn exact() -> RefreshSettings {
        RefreshSettings { jitter_per_mille: 0, ..RefreshSettings::default() }
    }

    #[test]
    fn a_set_is_fetched_at_once_and_then_as_its_server_says_within_bounds() {
        let mut refresh = Refresh::new(exact(), at(5), 1);
        assert_eq!(refresh.poll_deadline(), at(5));
        assert!(!refresh.poll_fetch(at(4)) && refresh.poll_fetch(at(5)));
        assert!(!refresh.poll_fetch(at(6)), "one at a time");
        assert_eq!(refresh.poll_deadline(), Instant::FAR);
        let mut now = 6;
        for (max_age, after) in [(None, 1200), (Some(0), 60), (Some(300), 300), (Some(86_400), 3600)] {
            refresh.handle_fetched(at(now), max_age.map(Duration::from_secs));
            assert_eq!(refresh.poll_deadline(), at(now + after), "{max_age:?}");
            now += after;
            assert!(refresh.poll_fetch(at(now)));
        }
    }

    #[test]
    fn failures_are_tried_again_ever_later() {
        let mut refresh = Refresh::new(exact(), at(0), 1);
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert!(refresh.poll_fetch(at(now)));
            refresh.handle_failed(at(now));
            assert_eq!(refresh.poll_deadline(), at(now + pause));
            assert!(!refresh.handle_unknown_key(at(now)), "a made-up token shortens no pause");
            now += pause;
        }
        assert!(refresh.poll_fetch(at(now)));
        refresh.handle_fetched(at(now), None);
        // Late news of a fetch that is over.
        refresh.handle_failed(at(now + 1));
        refresh.handle_fetched(at(now + 1), Some(Duration::from_secs(60)));
        assert_eq!(refresh.poll_deadline(), at(now + 1200));
    }

    #[test]
    fn an_unknown_key_is_looked_for_once_in_a_while() {
        let mut refresh = Refresh::new(exact(), at(0), 1);
        assert!(refresh.handle_unknown_key(at(0)) && refresh.poll_fetch(at(0)));
        assert!(refresh.handle_unknown_key(at(1)), "under way");
        refresh.handle_fetched(at(2), None);
        assert!(!refresh.handle_unknown_key(at(29)) && !refresh.poll_fetch(at(29)));
        assert!(refresh.handle_unknown_key(at(30)) && refresh.poll_fetch(at(30)));
        refresh.handle_fetched(at(31), None);
        assert!(!refresh.handle_unknown_key(at(59)) && refresh.handle_unknown_key(at(60)));
    }

    proptest! {
        // Whatever tokens come, the server is asked no more often than the gap allows, nor later than the longest interval.
        #[test]
        fn made_up_tokens_do_not_make_us_a_burden(seed: u64, steps in prop::collection::vec((1_u64..40, 0_u8..4), 1..60)) {
            let settings = RefreshSettings::default();
            let mut refresh = Refresh::new(settings, at(0), seed);
            let (mut now, mut last, mut fetching) = (0, None::<u64>, false);
            for (later, what) in steps {
                now += later;
                match what {
                    0 => { refresh.handle_unknown_key(at(now)); }
                    1 if fetching => { refresh.handle_fetched(at(now), None); fetching = false; }
                    _ => {}
                }
                if refresh.poll_fetch(at(now)) {
                    prop_assert!(!fetching);
                    if let Some(last) = last {
                        prop_assert!(now - last >= 30, "{last} {now}");
                    }
                    (last, fetching) = (Some(now), true);
                }
                prop_assert!(fetching || refresh.poll_deadline() <= at(now) + settings.most);
            }
        }
    }
}
