//! Taking endpoints that keep failing out of the choice for a while (Istio: `outlierDetection`).
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::time::Instant;

/// When endpoints are ejected, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutlierDetection {
    /// Answers with status 5xx in a row. Zero: never.
    pub consecutive_5xx: u32,
    /// Answers with 502, 503 or 504 in a row. Zero: never.
    pub consecutive_gateway_errors: u32,
    /// Failures to connect and the like in a row, if they are counted apart ([`split`](Self::split)). Zero: never.
    pub consecutive_local_failures: u32,
    /// Statuses that count as failures; empty: 500 and above.
    pub error_codes: Vec<u16>,
    /// Whether failures to connect are counted apart. Else they count as answers with 503.
    pub split: bool,
    /// How often it is looked who may come back.
    pub interval: Duration,
    /// How long the first ejection lasts; the n-th lasts n times as long.
    pub base_ejection_time: Duration,
    /// No ejection lasts longer.
    pub max_ejection_time: Duration,
    /// How many percent of the endpoints may be ejected at one time; one may in any case.
    pub max_ejection_percent: u32,
}

impl Default for OutlierDetection {
    /// Istio's, where the block is there.
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_errors: 0,
            consecutive_local_failures: 5,
            error_codes: Vec::new(),
            split: false,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
        }
    }
}

impl OutlierDetection {
    /// What counts as a failure is one of 500 and above, and nothing else is.
    fn judge(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Status(status) if !self.error_codes.is_empty() => {
                let bad = self.error_codes.contains(&status);
                Outcome::Status(if bad { status.max(500) } else { 200 })
            }
            Outcome::Status(_) | Outcome::Failed => outcome,
        }
    }
}

/// How a request to an endpoint went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It answered with this status.
    Status(u16),
    /// It did not: no connection, a reset, a timeout.
    Failed,
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ejection {
    /// Answers 5xx in a row.
    Consecutive5xx,
    /// Answers 502, 503, 504 in a row.
    ConsecutiveGatewayErrors,
    /// Failures in a row.
    ConsecutiveLocalFailures,
}

#[derive(Clone, Debug, Default)]
struct Endpoint {
    errors_5xx: u32,
    gateway_errors: u32,
    local_failures: u32,
    /// How often it was ejected lately.
    ejections: u32,
    until: Option<Instant>,
}

/// The endpoints of one service, by what is known of their answers.
#[derive(Clone, Debug)]
pub struct Outliers<K> {
    settings: OutlierDetection,
    /// Those of which there is anything to remember.
    endpoints: BTreeMap<K, Endpoint>,
    look_at: Option<Instant>,
}

impl<K: Ord + Clone> Outliers<K> {
    /// Nobody is ejected.
    #[must_use]
    pub const fn new(settings: OutlierDetection) -> Self {
        Self { settings, endpoints: BTreeMap::new(), look_at: None }
    }

    /// A request to `key`, one of `of` endpoints, went so. Tells if it is ejected for it.
    pub fn record(&mut self, now: Instant, key: &K, outcome: Outcome, of: usize) -> Option<Ejection> {
        let outcome = self.settings.judge(outcome);
        let good = matches!(outcome, Outcome::Status(status) if status < 500);
        if good && !self.endpoints.contains_key(key) {
            return None;
        }
        let settings = &self.settings;
        let endpoint = self.endpoints.entry(key.clone()).or_default();
        match outcome {
            Outcome::Failed if settings.split => {
                endpoint.local_failures = endpoint.local_failures.saturating_add(1);
            }
            Outcome::Failed | Outcome::Status(502..=504) => {
                endpoint.errors_5xx = endpoint.errors_5xx.saturating_add(1);
                endpoint.gateway_errors = endpoint.gateway_errors.saturating_add(1);
            }
            Outcome::Status(500..) => {
                endpoint.errors_5xx = endpoint.errors_5xx.saturating_add(1);
                endpoint.gateway_errors = 0;
                endpoint.local_failures = 0;
            }
            Outcome::Status(_) => {
                (endpoint.errors_5xx, endpoint.gateway_errors, endpoint.local_failures) = (0, 0, 0);
            }
        }
        let reached = |count: u32, limit: u32| limit > 0 && count >= limit;
        let why = if reached(endpoint.gateway_errors, settings.consecutive_gateway_errors) {
            Some(Ejection::ConsecutiveGatewayErrors)
        } else if reached(endpoint.errors_5xx, settings.consecutive_5xx) {
            Some(Ejection::Consecutive5xx)
        } else if settings.split && reached(endpoint.local_failures, settings.consecutive_local_failures) {
            Some(Ejection::ConsecutiveLocalFailures)
        } else {
            None
        };
        let why = why.filter(|_| endpoint.until.is_none())?;
        self.eject(now, key, of).then_some(why)
    }

    fn eject(&mut self, now: Instant, key: &K, of: usize) -> bool {
        let ejected = self.ejected().count();
        let most =
            of.saturating_mul(usize::try_from(self.settings.max_ejection_percent).unwrap_or(usize::MAX));
        let room = ejected == 0 || ejected.saturating_add(1).saturating_mul(100) <= most;
        let Some(endpoint) = self.endpoints.get_mut(key).filter(|_| room) else { return false };
        endpoint.ejections = endpoint.ejections.saturating_add(1);
        let time = self.settings.base_ejection_time.saturating_mul(endpoint.ejections);
        endpoint.until = Some(now + time.min(self.settings.max_ejection_time));
        (endpoint.errors_5xx, endpoint.gateway_errors, endpoint.local_failures) = (0, 0, 0);
        self.look_at.get_or_insert(now + self.settings.interval);
        true
    }

    /// Whether `key` is not to be chosen now.
    #[must_use]
    pub fn is_ejected(&self, key: &K) -> bool {
        self.endpoints.get(key).is_some_and(|endpoint| endpoint.until.is_some())
    }

    /// Who is not.
    pub fn ejected(&self) -> impl Iterator<Item = &K> {
        self.endpoints.iter().filter(|(_, endpoint)| endpoint.until.is_some()).map(|(key, _)| key)
    }

    /// Lets those come back whose time is over, and tells if there were any. Those that stay good are trusted more with every
    /// interval.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.look_at.is_none_or(|at| at > now) {
            return false;
        }
        let before = self.ejected().count();
        for endpoint in self.endpoints.values_mut() {
            match endpoint.until {
                Some(until) if until <= now => endpoint.until = None,
                Some(_) => {}
                None => endpoint.ejections = endpoint.ejections.saturating_sub(1),
            }
        }
        self.endpoints.retain(|_, endpoint| {
            let Endpoint { errors_5xx, gateway_errors, local_failures, ejections, until } = endpoint;
            until.is_some()
                || [errors_5xx, gateway_errors, local_failures, ejections].into_iter().any(|count| *count > 0)
        });
        let more = self.endpoints.values().any(|endpoint| endpoint.ejections > 0 || endpoint.until.is_some());
        self.look_at = more.then(|| now + self.settings.interval);
        self.ejected().count() < before
    }

    /// Other settings count from now on. Who is ejected stays so until the time is over.
    pub fn handle_settings(&mut self, settings: OutlierDetection) {
        self.settings = settings;
    }

    /// Until when `key` is ejected, at least.
    #[must_use]
    pub fn ejected_until(&self, key: &K) -> Option<Instant> {
        self.endpoints.get(key)?.until
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// Forgets endpoints that are not there any more.
    pub fn retain(&mut self, there: &BTreeSet<K>) {
        self.endpoints.retain(|key, _| there.contains(key));
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    fn outliers(settings: OutlierDetection) -> Outliers<u8> {
        Outliers::new(settings)
    }

    #[test]
    fn failures_in_a_row_eject_and_time_brings_back() {
        let mut them = outliers(OutlierDetection { consecutive_5xx: 3, ..OutlierDetection::default() });
        let bad = |them: &mut Outliers<u8>, secs| them.record(at(secs), &1, Outcome::Status(500), 10);
        assert_eq!([bad(&mut them, 0), bad(&mut them, 0)], [None, None]);
        assert_eq!(them.record(at(0), &1, Outcome::Status(200), 10), None, "the row is broken");
        assert_eq!([bad(&mut them, 1), bad(&mut them, 1)], [None, None]);
        assert_eq!(bad(&mut them, 1), Some(Ejection::Consecutive5xx));
        assert!(them.is_ejected(&1));
        assert_eq!(them.poll_timeout(), Some(at(11)));
        for secs in [11, 21] {
            them.handle_timeout(at(secs));
            assert!(them.is_ejected(&1), "{secs}");
        }
        them.handle_timeout(at(31));
        assert!(!them.is_ejected(&1));
        // Again, and for twice as long.
        for _ in 0..3 {
            bad(&mut them, 32);
        }
        them.handle_timeout(at(91));
        assert!(them.is_ejected(&1));
        them.handle_timeout(at(101));
        assert!(!them.is_ejected(&1));
        // Good for long enough, it is as if nothing had been.
        for secs in [111, 121, 131] {
            them.handle_timeout(at(secs));
        }
        assert!(them.is_empty() && them.poll_timeout().is_none());
    }

    #[test]
    fn kinds_of_failures_are_counted_as_the_settings_say() {
        let each = |settings: OutlierDetection, outcomes: &[Outcome]| {
            let mut them = outliers(settings);
            outcomes.iter().map(|outcome| them.record(at(0), &1, *outcome, 10)).last().flatten()
        };
        let gateway = OutlierDetection {
            consecutive_5xx: 0,
            consecutive_gateway_errors: 2,
            ..OutlierDetection::default()
        };
        let split = OutlierDetection {
            split: true,
            consecutive_local_failures: 2,
            consecutive_5xx: 2,
            ..OutlierDetection::default()
        };
        let (failed, status) = (Outcome::Failed, Outcome::Status);
        assert_eq!(each(gateway.clone(), &[status(503), failed]), Some(Ejection::ConsecutiveGatewayErrors));
        assert_eq!(each(gateway, &[status(503), status(500), status(503)]), None);
        assert_eq!(each(split.clone(), &[failed, status(503)]), None);
        assert_eq!(each(split.clone(), &[failed, failed]), Some(Ejection::ConsecutiveLocalFailures));
        assert_eq!(each(split, &[status(599), status(500)]), Some(Ejection::Consecutive5xx));
        let off = OutlierDetection { consecutive_5xx: 0, ..OutlierDetection::default() };
        assert_eq!(each(off, &[status(500); 50]), None);
        let codes = OutlierDetection {
            consecutive_5xx: 1,
            error_codes: vec![429, 503],
            ..OutlierDetection::default()
        };
        for (status, ejected) in [(429, true), (503, true), (500, false), (200, false)] {
            assert_eq!(each(codes.clone(), &[Outcome::Status(status)]).is_some(), ejected, "{status}");
        }
    }

    #[test]
    fn those_that_are_gone_are_forgotten() {
        let mut them = outliers(OutlierDetection { consecutive_5xx: 1, ..OutlierDetection::default() });
        them.record(at(0), &1, Outcome::Failed, 2);
        them.retain(&BTreeSet::from([2]));
        assert!(!them.is_ejected(&1) && them.is_empty());
    }

    proptest! {
        /// However they fail, no more are out than may be, and all come back.
        #[test]
        fn no_more_are_ejected_than_may_be(fails in prop::collection::vec((0_u8..20, 0_u64..40), 0..300), percent in 0_u32..120) {
            let settings = OutlierDetection { consecutive_5xx: 2, max_ejection_percent: percent, ..OutlierDetection::default() };
            let mut them = outliers(settings);
            let mut now = 0;
            for (key, wait) in fails {
                now += wait;
                them.handle_timeout(at(now));
                them.record(at(now), &key, Outcome::Status(503), 20);
                let ejected = them.ejected().count();
                prop_assert!(ejected <= 1 || ejected * 100 <= 20 * usize::try_from(percent).unwrap());
            }
            let mut looks = 0;
            while let Some(next) = them.poll_timeout() {
                them.handle_timeout(next);
                looks += 1;
                prop_assert!(looks < 10_000);
            }
            prop_assert_eq!(them.ejected().count(), 0);
        }
    }
}
