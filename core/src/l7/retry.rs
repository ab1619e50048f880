//! One request and its attempts: which failures are tried again, when, and how long all may take (Gateway API:
//! `HTTPRouteRetry`, `HTTPRouteTimeouts`; GEP-1731, GEP-1742).
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::budget::RetryBudget;
use crate::rng::Rng;
use crate::time::Instant;

/// Which outcomes of an attempt are worth another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RetryOn {
    /// No connection to the backend could be made.
    pub connect_failure: bool,
    /// The backend refused the stream unseen (RFC 9113 §8.7).
    pub refused_stream: bool,
    /// The backend broke off before it answered.
    pub reset: bool,
    /// The attempt took longer than [`RetryPolicy::per_try`].
    pub timeout: bool,
    /// It answered with one of these.
    pub status: Vec<u16>,
    /// It answered with one of these statuses of gRPC, before anything else.
    pub grpc_status: Vec<u16>,
}

/// How often, when and for how long a request is tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// After what.
    pub on: RetryOn,
    /// The wait before the first retry is drawn from zero to this; it doubles, up to ten times this.
    pub backoff: Duration,
    /// How long an attempt may take until the answer begins, from the request's end on. `None`: as long as the whole.
    pub per_try: Option<Duration>,
    /// How long all attempts together may take, to the answer's last octet, from the request's end on: a client that takes its
    /// time over a large body does so at nobody's cost (Envoy's reading; GEP-1742 leaves the beginning open). `None`: for ever.
    pub timeout: Option<Duration>,
}

impl RetryPolicy {
    /// Istio's for routes that say nothing (waypoint.md §10.7): 2 retries of what no application has seen.
    #[must_use]
    pub fn istio_default() -> Self {
        Self {
            retries: 2,
            on: RetryOn {
                connect_failure: true,
                refused_stream: true,
                // Cancelled and unavailable.
                grpc_status: alloc::vec![1, 14],
                ..RetryOn::default()
            },
            backoff: Duration::from_millis(25),
            per_try: None,
            timeout: None,
        }
    }
}

impl Default for RetryPolicy {
    /// [Istio's](Self::istio_default).
    fn default() -> Self {
        Self::istio_default()
    }
}

/// How an attempt ended before its answer could be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptFailure {
    /// There was no connection.
    Connect,
    /// The stream was refused unseen.
    Refused,
    /// It was broken off.
    Reset,
    /// It took too long.
    Timeout,
}

/// The beginning of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// `grpc-status`, if it is there already.
    pub grpc_status: Option<u16>,
}

/// What is done about the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Another attempt begins at this time; the answer, if there is one, is thrown away.
    Retry(Instant),
    /// The client gets what there is.
    Deliver(Ending),
}

/// Why there is no other attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// There is nothing to be retried.
    Final,
    /// All retries are used up (response flag `URX`).
    Exhausted,
    /// Too many requests are retried already.
    Budget,
    /// What was sent of the request is not there any more.
    BodyGone,
    /// There is no time for another (`UT`).
    NoTime,
}

/// A time that was set has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elapsed {
    /// The attempt is to be broken off: [`AttemptFailure::Timeout`].
    Attempt,
    /// All is over: the client gets status 504 (`UT`), if its answer has not begun.
    Whole,
    /// The next attempt begins.
    Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Until the attempt's own time is up.
    Trying(Instant),
    Waiting(Instant),
    /// The answer is on its way to the client, or there is none to come.
    Done,
}

/// A request and its attempts. The first begins with it.
#[derive(Clone, Debug)]
pub struct Exchange {
    policy: Arc<RetryPolicy>,
    deadline: Instant,
    state: State,
    /// The request was read to its end, and time counts.
    request_ended: bool,
    /// Attempts that have begun.
    attempts: u32,
    /// Whether this counts as a retry in the budget.
    retrying: bool,
}

impl Exchange {
    /// The first attempt begins. Time counts from the [request's end](Self::handle_request_end) on.
    #[must_use]
    pub const fn new(policy: Arc<RetryPolicy>) -> Self {
        let state = State::Trying(Instant::FAR);
        Self { policy, deadline: Instant::FAR, state, request_ended: false, attempts: 1, retrying: false }
    }

    /// The request was read to its end. Once is enough; more do no harm.
    pub fn handle_request_end(&mut self, now: Instant) {
        if !self.request_ended {
            self.request_ended = true;
            self.deadline = self.policy.timeout.map_or(Instant::FAR, |timeout| now + timeout);
            if let State::Trying(until) = &mut self.state {
                *until = self.policy.per_try.map_or(Instant::FAR, |per_try| now + per_try);
            }
        }
    }

    /// Whether time counts already.
    #[must_use]
    pub const fn request_ended(&self) -> bool {
        self.request_ended
    }

    fn begin(&mut self, now: Instant) {
        self.attempts = self.attempts.saturating_add(1);
        let per_try = self.policy.per_try.filter(|_| self.request_ended);
        self.state = State::Trying(per_try.map_or(Instant::FAR, |per_try| now + per_try));
    }

    /// How many attempts have begun (`x-envoy-attempt-count`).
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The attempt has failed. `replayable`: all that was sent of the request can be sent again.
    pub fn handle_failure(
        &mut self,
        now: Instant,
        failure: AttemptFailure,
        replayable: bool,
        budget: &mut RetryBudget,
        rng: &mut Rng,
    ) -> Next {
        let on = &self.policy.on;
        let wanted = match failure {
            AttemptFailure::Connect => on.connect_failure,
            AttemptFailure::Refused => on.refused_stream,
            AttemptFailure::Reset => on.reset,
            AttemptFailure::Timeout => on.timeout,
        };
        self.end_attempt(now, wanted, replayable, budget, rng)
    }

    /// The attempt's answer has begun. Once it is delivered, only the time for the whole is left to watch.
    pub fn handle_answer(
        &mut self,
        now: Instant,
        answer: Answered,
        replayable: bool,
        budget: &mut RetryBudget,
        rng: &mut Rng,
    ) -> Next {
        let on = &self.policy.on;
        let wanted = on.status.contains(&answer.status)
            || answer.grpc_status.is_some_and(|status| on.grpc_status.contains(&status));
        self.end_attempt(now, wanted, replayable, budget, rng)
    }

    fn end_attempt(
        &mut self,
        now: Instant,
        wanted: bool,
        replayable: bool,
        budget: &mut RetryBudget,
        rng: &mut Rng,
    ) -> Next {
        if !matches!(self.state, State::Trying(_)) {
            return Next::Deliver(Ending::Final);
        }
        self.state = State::Done;
        if !wanted {
            return Next::Deliver(Ending::Final);
        }
        let retries = self.attempts.saturating_sub(1);
        if retries >= self.policy.retries {
            return Next::Deliver(Ending::Exhausted);
        }
        if !replayable {
            return Next::Deliver(Ending::BodyGone);
        }
        let at = now + self.wait(retries, rng);
        if at >= self.deadline {
            return Next::Deliver(Ending::NoTime);
        }
        if !self.retrying && !budget.retry() {
            return Next::Deliver(Ending::Budget);
        }
        self.retrying = true;
        self.state = State::Waiting(at);
        Next::Retry(at)
    }

    /// Drawn from zero to the backoff, doubled for each retry before, up to ten times itself.
    fn wait(&self, retries: u32, rng: &mut Rng) -> Duration {
        let base = u64::try_from(self.policy.backoff.as_nanos()).unwrap_or(u64::MAX);
        let doubled = base.saturating_mul(1_u64.checked_shl(retries).unwrap_or(u64::MAX));
        Duration::from_nanos(rng.below(doubled.min(base.saturating_mul(10)).saturating_add(1)))
    }

    /// Time has passed. Late or early calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Elapsed> {
        if self.deadline <= now {
            (self.state, self.deadline) = (State::Done, Instant::FAR);
            return Some(Elapsed::Whole);
        }
        match self.state {
            State::Trying(at) if at <= now => Some(Elapsed::Attempt),
            State::Waiting(at) if at <= now => {
                self.begin(now);
                Some(Elapsed::Retry)
            }
            State::Trying(_) | State::Waiting(_) | State::Done => None,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let at = match self.state {
            State::Trying(at) | State::Waiting(at) => at.min(self.deadline),
            State::Done => self.deadline,
        };
        (at < Instant::FAR).then_some(at)
    }

    /// The exchange is over, whatever became of it: gives back what it has of the budget. Once, after all else.
    pub fn finish(&self, budget: &mut RetryBudget) {
        budget.end(self.retrying);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn policy(retries: u32) -> RetryPolicy {
        RetryPolicy {
            retries,
            on: RetryOn {
                connect_failure: true,
                timeout: true,
                status: vec![503],
                grpc_status: vec![14],
                ..RetryOn::default()
            },
            backoff: 10 * MS,
            per_try: Some(100 * MS),
            timeout: Some(250 * MS),
        }
    }

    struct Rig {
        exchange: Exchange,
        budget: RetryBudget,
        rng: Rng,
    }

    impl Rig {
        fn new(policy: RetryPolicy) -> Self {
            let mut budget = RetryBudget::new(100, 1000);
            budget.begin();
            let mut exchange = Exchange::new(Arc::new(policy));
            exchange.handle_request_end(at(0));
            Self { exchange, budget, rng: Rng::new(3) }
        }

        fn fails(&mut self, now: u64, failure: AttemptFailure) -> Next {
            self.exchange.handle_failure(at(now), failure, true, &mut self.budget, &mut self.rng)
        }

        fn answers(&mut self, now: u64, status: u16, grpc_status: Option<u16>) -> Next {
            let answer = Answered { status, grpc_status };
            self.exchange.handle_answer(at(now), answer, true, &mut self.budget, &mut self.rng)
        }
    }

    #[test]
    fn what_is_worth_it_is_tried_again_until_retries_are_used_up() {
        let mut rig = Rig::new(policy(2));
        for attempt in 1..=2 {
            let Next::Retry(when) = rig.answers(0, 503, None) else { panic!("attempt {attempt}") };
            assert!(when <= at(20) && rig.exchange.poll_timeout() == Some(when));
            assert_eq!(rig.exchange.handle_timeout(when), Some(Elapsed::Retry));
            assert_eq!(rig.exchange.attempts(), attempt + 1);
        }
        assert_eq!(rig.answers(30, 503, None), Next::Deliver(Ending::Exhausted));
        assert_eq!(rig.exchange.poll_timeout(), Some(at(250)), "the answer may still take too long");
        assert_eq!(rig.exchange.handle_timeout(at(250)), Some(Elapsed::Whole));
        assert_eq!(rig.exchange.poll_timeout(), None);
    }

    #[test]
    fn what_is_not_worth_it_is_delivered() {
        for (status, grpc) in [(200, None), (500, None), (200, Some(13)), (504, None)] {
            assert_eq!(
                Rig::new(policy(2)).answers(0, status, grpc),
                Next::Deliver(Ending::Final),
                "{status}"
            );
        }
        assert!(matches!(Rig::new(policy(2)).answers(0, 200, Some(14)), Next::Retry(_)));
        for failure in [AttemptFailure::Reset, AttemptFailure::Refused] {
            assert_eq!(Rig::new(policy(2)).fails(0, failure), Next::Deliver(Ending::Final));
        }
        assert!(matches!(Rig::new(policy(2)).fails(0, AttemptFailure::Connect), Next::Retry(_)));
        assert_eq!(Rig::new(policy(0)).fails(0, AttemptFailure::Connect), Next::Deliver(Ending::Exhausted));
    }

    #[test]
    fn an_attempt_that_takes_too_long_is_one_that_failed() {
        let mut rig = Rig::new(policy(5));
        assert_eq!(rig.exchange.handle_timeout(at(99)), None);
        assert_eq!(rig.exchange.handle_timeout(at(100)), Some(Elapsed::Attempt));
        let Next::Retry(when) = rig.fails(100, AttemptFailure::Timeout) else { panic!("a retry") };
        assert_eq!(rig.exchange.handle_timeout(when), Some(Elapsed::Retry));
        assert_eq!(rig.exchange.poll_timeout(), Some(when + 100 * MS));
        // The second takes as long, and the whole ends before the third could.
        assert_eq!(rig.exchange.handle_timeout(at(249)), Some(Elapsed::Attempt));
        let next = rig.fails(249, AttemptFailure::Timeout);
        assert!(matches!(next, Next::Deliver(Ending::NoTime) | Next::Retry(_)), "{next:?}");
        assert_eq!(rig.exchange.handle_timeout(at(250)), Some(Elapsed::Whole));
    }

    #[test]
    fn time_counts_from_the_requests_end_on() {
        let mut exchange = Exchange::new(Arc::new(policy(2)));
        assert_eq!((exchange.poll_timeout(), exchange.handle_timeout(at(60_000))), (None, None));
        exchange.handle_request_end(at(60_000));
        assert_eq!(exchange.poll_timeout(), Some(at(60_100)));
        exchange.handle_request_end(at(60_050));
        assert_eq!(exchange.handle_timeout(at(60_100)), Some(Elapsed::Attempt));
        assert_eq!(exchange.handle_timeout(at(60_250)), Some(Elapsed::Whole));
        // A retry while the request still comes has no bounds either.
        let mut rig = Rig::new(policy(2));
        rig.exchange = Exchange::new(Arc::new(policy(2)));
        let Next::Retry(when) = rig.fails(0, AttemptFailure::Connect) else { panic!("a retry") };
        assert_eq!(rig.exchange.handle_timeout(when), Some(Elapsed::Retry));
        assert_eq!(rig.exchange.poll_timeout(), None);
    }

    #[test]
    fn a_request_that_cannot_be_sent_again_or_is_one_too_many_is_not() {
        let mut rig = Rig::new(policy(2));
        let next =
            rig.exchange.handle_failure(at(0), AttemptFailure::Connect, false, &mut rig.budget, &mut rig.rng);
        assert_eq!(next, Next::Deliver(Ending::BodyGone));
        let mut rig = Rig::new(policy(2));
        rig.budget = RetryBudget::new(0, 0);
        rig.budget.begin();
        assert_eq!(rig.fails(0, AttemptFailure::Connect), Next::Deliver(Ending::Budget));
    }

    #[test]
    fn what_is_late_changes_nothing() {
        let mut rig = Rig::new(policy(2));
        assert!(matches!(rig.answers(0, 503, None), Next::Retry(_)));
        assert_eq!(rig.answers(1, 503, None), Next::Deliver(Ending::Final));
        assert_eq!(rig.fails(1, AttemptFailure::Connect), Next::Deliver(Ending::Final));
        assert_eq!(rig.exchange.attempts(), 1);
    }

    #[test]
    fn istios_default_retries_only_what_nobody_has_seen() {
        let policy = RetryPolicy::istio_default();
        let on = &policy.on;
        assert_eq!((policy.retries, on.connect_failure, on.refused_stream), (2, true, true));
        assert!(!on.reset && !on.timeout && on.status.is_empty());
    }

    proptest! {
        /// Waits stay within their bounds, and whatever was taken of the budget is given back.
        #[test]
        fn waits_are_bounded(seed in any::<u64>(), retries in 0_u32..40) {
            let mut rig = Rig::new(RetryPolicy { per_try: None, timeout: None, ..policy(40) });
            rig.rng = Rng::new(seed);
            let mut now = 0;
            for retry in 0..retries {
                let Next::Retry(when) = rig.fails(now, AttemptFailure::Connect) else { panic!("{retry}") };
                let wait = when.saturating_since(at(now));
                prop_assert!(wait <= (10 * MS * 2_u32.saturating_pow(retry)).min(100 * MS));
                prop_assert_eq!(rig.exchange.handle_timeout(when), Some(Elapsed::Retry));
                now += 1000;
            }
            let Rig { exchange, mut budget, .. } = rig;
            exchange.finish(&mut budget);
            prop_assert_eq!(budget.in_use(), (0, 0));
        }
    }
}
