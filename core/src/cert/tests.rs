//! Scripts of the certificate manager; the first half is the list of datapath §4.6.
use std::collections::BTreeSet;
use std::format;
use std::vec;
use std::vec::Vec;

use super::*;

mod properties;

const DAY: u64 = 24 * 3600;
const START: u64 = 1_767_225_600;

type Out = Output<u32>;

/// A manager without jitter, and a clock that both parts of [`Now`] follow.
struct Rig {
    manager: Manager<u32>,
    seconds: u64,
    waiters: u64,
}

impl Rig {
    fn new() -> Self {
        let settings = Settings { jitter_per_mille: 0, ..Settings::default() };
        Self { manager: Manager::new(settings, 7), seconds: 0, waiters: 0 }
    }

    fn now(&self) -> Now {
        Now { instant: Instant::from_millis(self.seconds * 1000), wall: UnixTime(START + self.seconds) }
    }

    fn wanted(&mut self, name: &str) -> WaiterId {
        self.waiters += 1;
        self.manager.handle_wanted(self.now(), &identity(name), WaiterId(self.waiters));
        WaiterId(self.waiters)
    }

    fn drain(&mut self) -> Vec<Out> {
        let now = self.now();
        core::iter::from_fn(|| self.manager.poll_output(now)).collect()
    }

    /// The calls to make, which must be all there is to do.
    fn calls(&mut self) -> Vec<(CallId, Identity, Priority)> {
        let outputs = self.drain();
        outputs
            .into_iter()
            .map(|output| match output {
                Output::Request { call, identity, priority } => (call, identity, priority),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn call(&mut self) -> (CallId, Priority) {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        (calls[0].0, calls[0].2)
    }

    /// Valid from now for a day.
    fn issue(&mut self, call: CallId, certificate: u32) {
        self.issue_for(call, certificate, 0, DAY);
    }

    /// Valid from `from` to `to` seconds from now.
    fn issue_for(&mut self, call: CallId, certificate: u32, from: i64, to: u64) {
        let wall = self.now().wall.0;
        let not_before = UnixTime(wall.checked_add_signed(from).unwrap());
        let validity = Validity { not_before, not_after: UnixTime(wall + to) };
        self.manager.handle_issued(self.now(), call, certificate, validity);
    }

    fn fail(&mut self, call: CallId) {
        self.manager.handle_failed(self.now(), call, down());
    }

    fn pass(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.manager.handle_timeout(self.now());
    }

    /// Lets time pass until there is a call, but no longer than `limit` seconds; answers how long it took.
    fn until_call(&mut self, limit: u64) -> Option<(u64, CallId, Priority)> {
        let began = self.seconds;
        while self.seconds - began < limit {
            let at = self.manager.poll_timeout(self.now()).expect("something is ahead");
            let due = at.as_nanos().div_ceil(1_000_000_000);
            self.seconds = due.clamp(self.seconds, began + limit);
            self.manager.handle_timeout(self.now());
            for output in self.drain() {
                if let Output::Request { call, priority, .. } = output {
                    return Some((self.seconds - began, call, priority));
                }
            }
        }
        None
    }

    /// One identity with certificate 1.
    fn available(name: &str) -> Self {
        let mut rig = Self::new();
        rig.wanted(name);
        let (call, _) = rig.call();
        rig.issue(call, 1);
        rig.drain();
        rig
    }

    fn state(&self, name: &str) -> Option<State<'_, u32>> {
        let wanted = identity(name);
        self.manager.states().find(|(identity, _)| **identity == wanted).map(|(_, state)| state)
    }
}

fn identity(name: &str) -> Identity {
    Identity::new("cluster.local", "default", name).unwrap()
}

fn down() -> CertError {
    CertError::Unreachable { address: "https://istiod".into(), reason: "connection refused".into() }
}

fn answer(waiter: WaiterId, name: &str, result: Result<u32, CertError>) -> Out {
    Output::Answer { waiter, identity: identity(name), result }
}

fn publish(name: &str, result: Result<u32, CertError>) -> Out {
    Output::Publish { identity: identity(name), result }
}

#[test]
fn half_life_refresh_arithmetic() {
    let validity = |from, to| Validity { not_before: UnixTime(from), not_after: UnixTime(to) };
    assert_eq!(validity(1000, 2000).half_life(), UnixTime(1500));
    assert_eq!(validity(1000, 2001).half_life(), UnixTime(1500));
    assert_eq!(validity(2000, 1000).half_life(), UnixTime(2000));
    assert_eq!(validity(0, u64::MAX).half_life(), UnixTime(u64::MAX / 2));
    assert!(!validity(0, 5).is_over(UnixTime(4)) && validity(0, 5).is_over(UnixTime(5)));
}

#[test]
fn refresh_timing_is_half_of_the_life_and_not_before() {
    let mut rig = Rig::available("a");
    assert!(rig.until_call(DAY / 2 - 1).is_none());
    let (took, call, priority) = rig.until_call(10).unwrap();
    assert_eq!((took, priority), (1, Priority::Background));
    rig.issue(call, 2);
    assert_eq!(rig.drain(), [publish("a", Ok(2))]);
    assert_eq!(rig.state("a"), Some(State::Available(&2)));
    assert_eq!(rig.until_call(DAY).unwrap().0, DAY / 2);
}

#[test]
fn an_expired_certificate_is_a_failure() {
    let mut rig = Rig::new();
    let waiter = rig.wanted("a");
    let (call, _) = rig.call();
    rig.issue_for(call, 1, -100, 0);
    let error = CertError::Expired { not_after: START, now: START };
    assert_eq!(rig.drain(), [answer(waiter, "a", Err(error.clone()))]);
    assert_eq!(rig.state("a"), Some(State::Unavailable(&error)));
}

#[test]
fn a_certificate_that_is_not_yet_valid_is_replaced_with_patience() {
    let mut rig = Rig::new();
    let waiter = rig.wanted("a");
    let (call, _) = rig.call();
    rig.issue_for(call, 1, 3600, DAY);
    assert_eq!(rig.drain(), [answer(waiter, "a", Ok(1)), publish("a", Ok(1))]);
    // "At once" would ask for ever.
    let mut last = 0;
    for _ in 0..6 {
        let (took, call, _) = rig.until_call(DAY).unwrap();
        assert!(took >= last, "{took} after {last}");
        last = took;
        rig.issue_for(call, 1, 3600, DAY);
    }
    assert!(last >= 25, "{last}");
}

#[test]
fn a_certificate_past_its_half_is_replaced_with_patience() {
    let mut rig = Rig::new();
    rig.wanted("a");
    let (mut call, _) = rig.call();
    let mut asked = 0;
    while rig.seconds < 600 {
        rig.issue_for(call, 1, -100, 100);
        let Some((_, next, _)) = rig.until_call(600) else { break };
        (call, asked) = (next, asked + 1);
    }
    assert!(asked <= 12, "{asked} calls in ten minutes");
}

#[test]
fn stress_caching_asks_once_for_each_identity() {
    let mut rig = Rig::new();
    let mut calls = 0;
    let mut answers = 0;
    for round in 0..100 {
        for n in 0..20 {
            rig.wanted(&format!("sa-{n}"));
        }
        loop {
            let outputs = rig.drain();
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                match output {
                    Output::Request { call, .. } => {
                        calls += 1;
                        rig.issue(call, round);
                    }
                    Output::Answer { result, .. } => {
                        assert_eq!(result, Ok(0));
                        answers += 1;
                    }
                    Output::Publish { .. } => {}
                    Output::Abort { .. } => panic!("nothing was given up"),
                }
            }
        }
        rig.pass(1);
    }
    assert_eq!((calls, answers), (20, 2000));
}

#[test]
fn priority_ordering() {
    let mut rig = Rig::new();
    // Eight calls keep the authority busy.
    for n in 0..8 {
        rig.manager.handle_prefetch(&identity(&format!("busy-{n}"))).unwrap();
    }
    let busy = rig.calls();
    for name in ["warm-1", "warm-2", "raised"] {
        rig.manager.handle_prefetch(&identity(name)).unwrap();
    }
    rig.wanted("traffic");
    rig.wanted("raised");
    assert!(rig.drain().is_empty());
    let mut order = Vec::new();
    for (call, ..) in busy.iter().take(4) {
        rig.issue(*call, 1);
        order.extend(rig.drain().into_iter().filter_map(|output| match output {
            Output::Request { identity, priority, .. } => Some((identity, priority)),
            _ => None,
        }));
    }
    let expected = [
        // It was there before, and a request may only raise.
        ("raised", Priority::RealTime),
        ("traffic", Priority::RealTime),
        ("warm-1", Priority::Warmup),
        ("warm-2", Priority::Warmup),
    ];
    assert_eq!(order, expected.map(|(name, priority)| (identity(name), priority)));
}

#[test]
fn a_renewal_yields_to_everything_else() {
    let mut rig = Rig::available("old");
    rig.manager.settings.concurrency = 1;
    rig.manager.handle_prefetch(&identity("busy")).unwrap();
    let (busy, _) = rig.call();
    rig.manager.settings.call_timeout = Duration::from_secs(DAY);
    rig.manager.calls.get_mut(&busy).unwrap().deadline = Instant::FAR;
    rig.pass(DAY / 2);
    rig.manager.handle_prefetch(&identity("new")).unwrap();
    rig.issue(busy, 1);
    assert_eq!(
        rig.drain().last().map(|o| matches!(o, Output::Request { identity: i, .. } if *i == identity("new"))),
        Some(true)
    );
}

#[test]
fn warm_up_of_a_new_identity() {
    let mut rig = Rig::new();
    rig.manager.handle_prefetch(&identity("a")).unwrap();
    assert_eq!(rig.state("a"), Some(State::Initializing));
    let (call, priority) = rig.call();
    assert_eq!(priority, Priority::Warmup);
    rig.issue(call, 1);
    assert_eq!(rig.drain(), [publish("a", Ok(1))]);
    let waiter = rig.wanted("a");
    assert_eq!(rig.drain(), [answer(waiter, "a", Ok(1))]);
}

#[test]
fn warm_up_of_an_existing_identity_does_nothing() {
    let mut rig = Rig::available("a");
    rig.manager.handle_prefetch(&identity("a")).unwrap();
    assert_eq!(rig.drain(), []);
}

#[test]
fn duplicate_requests_are_coalesced() {
    let mut rig = Rig::new();
    let waiters = [rig.wanted("a"), rig.wanted("a"), rig.wanted("a")];
    let (call, _) = rig.call();
    let late = rig.wanted("a");
    assert_eq!(rig.drain(), []);
    rig.issue(call, 1);
    let mut expected: Vec<_> = waiters.into_iter().chain([late]).map(|w| answer(w, "a", Ok(1))).collect();
    expected.push(publish("a", Ok(1)));
    assert_eq!(rig.drain(), expected);
}

#[test]
fn concurrency_bound() {
    let mut rig = Rig::new();
    for n in 0..30 {
        rig.wanted(&format!("sa-{n}"));
    }
    let calls = rig.calls();
    assert_eq!((calls.len(), rig.manager.in_flight()), (8, 8));
    rig.fail(calls[0].0);
    rig.issue(calls[1].0, 1);
    let more = rig.drain().into_iter().filter(|o| matches!(o, Output::Request { .. })).count();
    assert_eq!((more, rig.manager.in_flight()), (2, 8));
}

#[test]
fn unused_identities_are_cleaned_up() {
    let mut rig = Rig::new();
    let set = |names: &[&str]| names.iter().map(|name| identity(name)).collect::<BTreeSet<_>>();
    assert_eq!(rig.manager.handle_local(set(&["a", "b"])), 0);
    rig.wanted("elsewhere");
    for (call, ..) in rig.calls() {
        rig.issue(call, 1);
    }
    rig.drain();
    rig.manager.handle_local(set(&["b", "c"]));
    assert_eq!(rig.state("a"), None);
    assert_eq!(rig.state("b"), Some(State::Available(&1)));
    assert_eq!(rig.state("c"), Some(State::Initializing));
    // What traffic asked for goes only when its workload was here and went.
    assert_eq!(rig.state("elsewhere"), Some(State::Available(&1)));
    rig.manager.handle_local(set(&[]));
    assert_eq!(rig.manager.states().count(), 1);
}

#[test]
fn forget_while_pending_tells_the_waiters_and_drops_the_result() {
    let mut rig = Rig::new();
    let waiter = rig.wanted("a");
    let (call, _) = rig.call();
    rig.manager.forget(&identity("a"));
    let forgotten = CertError::Forgotten(identity("a"));
    assert_eq!(rig.drain(), [Output::Abort { call }, answer(waiter, "a", Err(forgotten.clone()))]);
    rig.issue(call, 1);
    assert_eq!((rig.drain(), rig.state("a")), (vec![], None));

    // In the queue it leaves no trace either.
    rig.manager.settings.concurrency = 0;
    let waiter = rig.wanted("a");
    rig.manager.forget(&identity("a"));
    assert_eq!(rig.drain(), [answer(waiter, "a", Err(forgotten))]);
    rig.manager.settings.concurrency = 8;
    assert_eq!((rig.drain(), rig.manager.queue.len()), (vec![], 0));
}

#[test]
fn forget_of_a_certificate_and_of_nothing() {
    let mut rig = Rig::available("a");
    rig.manager.forget(&identity("a"));
    rig.manager.forget(&identity("never-seen"));
    assert_eq!((rig.drain(), rig.state("a")), (vec![], None));
    assert_eq!(rig.manager.poll_timeout(rig.now()), None);
}

#[test]
fn backoff_is_reset_by_success() {
    let mut rig = Rig::new();
    rig.wanted("a");
    let (mut call, _) = rig.call();
    for least in [0, 1, 3, 6] {
        rig.fail(call);
        let (took, next, priority) = rig.until_call(200).unwrap();
        assert!(took >= least && took <= 2 * least + 2, "{took}, {least}");
        assert_eq!(priority, Priority::Warmup);
        call = next;
    }
    rig.issue(call, 1);
    let (_, call, _) = rig.until_call(DAY).unwrap();
    rig.fail(call);
    assert!(rig.until_call(200).unwrap().0 <= 2);
}

#[test]
fn certificate_is_retained_when_its_refresh_fails_and_goes_when_it_expires() {
    let mut rig = Rig::available("a");
    let (_, mut call, _) = rig.until_call(DAY).unwrap();
    while rig.seconds < DAY - 1 {
        rig.fail(call);
        assert_eq!(rig.drain(), []);
        assert_eq!(rig.state("a"), Some(State::Available(&1)));
        let waiter = rig.wanted("a");
        assert_eq!(rig.drain(), [answer(waiter, "a", Ok(1))]);
        let (took, next, _) = rig.until_call(DAY).unwrap();
        assert!(took <= 150, "{took}");
        call = next;
    }
    // The last retry came no later than its end.
    assert_eq!(rig.seconds, DAY);
    let waiter = rig.wanted("a");
    assert_eq!(rig.drain(), [], "what has expired is not handed out");
    rig.fail(call);
    assert_eq!(rig.drain(), [answer(waiter, "a", Err(down())), publish("a", Err(down()))]);
    assert_eq!(rig.state("a"), Some(State::Unavailable(&down())));
    let (_, call, _) = rig.until_call(200).unwrap();
    rig.issue(call, 2);
    assert_eq!(rig.drain(), [publish("a", Ok(2))]);
}

#[test]
fn a_cached_failure_is_answered_at_once_until_a_retry_succeeds() {
    let mut rig = Rig::new();
    let first = rig.wanted("a");
    let (call, _) = rig.call();
    rig.fail(call);
    let second = rig.wanted("a");
    assert_eq!(rig.drain(), [answer(first, "a", Err(down())), answer(second, "a", Err(down()))]);
    let (_, call, _) = rig.until_call(200).unwrap();
    rig.issue(call, 1);
    let third = rig.wanted("a");
    assert_eq!(rig.drain(), [publish("a", Ok(1)), answer(third, "a", Ok(1))]);
}

#[test]
fn a_call_without_an_answer_is_given_up_and_its_late_answer_ignored() {
    let mut rig = Rig::new();
    let waiter = rig.wanted("a");
    let (call, _) = rig.call();
    rig.pass(29);
    assert_eq!(rig.drain(), []);
    rig.pass(1);
    assert_eq!(rig.drain(), [Output::Abort { call }, answer(waiter, "a", Err(CertError::Timeout(30)))]);
    rig.issue(call, 9);
    assert_eq!(rig.state("a"), Some(State::Unavailable(&CertError::Timeout(30))));
}

#[test]
fn a_wall_clock_that_jumps_ahead_is_noticed_within_a_minute() {
    let mut rig = Rig::available("a");
    let before = rig.now();
    let at = rig.manager.poll_timeout(before).unwrap();
    assert_eq!(at.saturating_since(before.instant), Duration::from_secs(60));
    let now = Now { instant: at, wall: UnixTime(before.wall.0 + 2 * DAY) };
    rig.manager.handle_timeout(now);
    assert!(matches!(rig.manager.poll_output(now), Some(Output::Request { priority: Priority::Warmup, .. })));
}

#[test]
fn trust_changes_are_published_and_a_new_authority_is_tried_at_once() {
    let mut rig = Rig::available("a");
    rig.manager.handle_trust_changed();
    assert_eq!(rig.drain(), [publish("a", Ok(1))]);

    rig.wanted("b");
    let (call, _) = rig.call();
    rig.fail(call);
    rig.drain();
    rig.manager.handle_authority_changed();
    let calls = rig.calls();
    assert_eq!(calls.iter().map(|c| (&c.1, c.2)).collect::<Vec<_>>(), [(&identity("b"), Priority::Warmup)]);
}

#[test]
fn limits_are_told() {
    let mut rig = Rig::new();
    (rig.manager.settings.identities, rig.manager.settings.waiters) = (1, 1);
    rig.wanted("a");
    let (waiter, other) = (rig.wanted("a"), rig.wanted("b"));
    let too_many = |what| Err(CertError::TooMany { what, limit: 1 });
    let outputs = rig.drain();
    assert_eq!(
        outputs[..2],
        [answer(waiter, "a", too_many("waiters")), answer(other, "b", too_many("identities"))]
    );
    assert_eq!(rig.manager.handle_local([identity("b"), identity("c")].into()), 2);
}

#[test]
fn jitter_is_before_the_half_and_differs() {
    let mut rig = Rig::new();
    rig.manager.settings.jitter_per_mille = 50;
    let mut renewals = BTreeSet::new();
    for n in 0..8 {
        rig.wanted(&format!("sa-{n}"));
    }
    for (call, ..) in rig.calls() {
        rig.issue(call, 1);
    }
    for entry in rig.manager.entries.values() {
        let manager::Work::Resting { wall: Some(wall), .. } = entry.work else { panic!("{entry:?}") };
        let after = wall.0 - START;
        assert!((DAY / 2 - DAY / 20..=DAY / 2).contains(&after), "{after}");
        renewals.insert(after);
    }
    assert!(renewals.len() > 5, "{renewals:?}");
}
