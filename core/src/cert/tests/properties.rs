//! What holds whatever happens to the certificate manager.
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Want(u8),
    Prefetch(u8),
    Forget(u8),
    Local(Vec<u8>),
    Issue(u8, i16, u16),
    Fail(u8),
    Stale(u8),
    Trust,
    Authority,
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..24_u8).prop_map(Step::Want),
        2 => (0..24_u8).prop_map(Step::Prefetch),
        1 => (0..24_u8).prop_map(Step::Forget),
        1 => proptest::collection::vec(0..24_u8, 0..8).prop_map(Step::Local),
        6 => (any::<u8>(), -600..600_i16, 0..2000_u16).prop_map(|(n, from, to)| Step::Issue(n, from, to)),
        3 => any::<u8>().prop_map(Step::Fail),
        1 => any::<u8>().prop_map(Step::Stale),
        1 => Just(Step::Trust),
        1 => Just(Step::Authority),
        4 => (0..400_u16).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Never more than eight calls, never two for one identity, every waiter answered exactly once, and an authority
    /// that is always right is never asked more often than its certificates and the back-off allow.
    #[test]
    fn whatever_happens(steps in proptest::collection::vec(step(), 1..200)) {
        let mut rig = Rig::new();
        let mut flying: BTreeMap<CallId, Identity> = BTreeMap::new();
        let mut ended: Vec<CallId> = Vec::new();
        let mut waiting: BTreeSet<WaiterId> = BTreeSet::new();
        // Requests and what may cause them: a first wish, a failure, a certificate that needs another, an authority.
        let (mut requests, mut causes) = (0, 0);
        let name = |n: u8| format!("sa-{n}");
        let pick = |flying: &BTreeMap<CallId, Identity>, n: u8| {
            (!flying.is_empty()).then(|| *flying.keys().nth(usize::from(n) % flying.len()).unwrap())
        };
        for step in steps {
            match step {
                Step::Want(n) => {
                    causes += usize::from(rig.state(&name(n)).is_none());
                    waiting.insert(rig.wanted(&name(n)));
                }
                Step::Prefetch(n) => {
                    causes += usize::from(rig.state(&name(n)).is_none());
                    rig.manager.handle_prefetch(&identity(&name(n))).unwrap();
                }
                Step::Forget(n) => rig.manager.forget(&identity(&name(n))),
                Step::Local(names) => {
                    let set: BTreeSet<_> = names.iter().map(|n| identity(&name(*n))).collect();
                    // Forgotten ones are known no more, so count after.
                    let before = rig.manager.states().count();
                    causes += set.len() + before;
                    rig.manager.handle_local(set);
                }
                Step::Issue(n, from, to) => if let Some(call) = pick(&flying, n) {
                    flying.remove(&call);
                    ended.push(call);
                    causes += 1;
                    rig.issue_for(call, u32::from(n), i64::from(from), u64::from(to));
                },
                Step::Fail(n) => if let Some(call) = pick(&flying, n) {
                    flying.remove(&call);
                    ended.push(call);
                    causes += 1;
                    rig.fail(call);
                },
                Step::Stale(n) => if let Some(call) = ended.get(usize::from(n)) {
                    let before = rig.manager.states().count();
                    rig.issue(*call, 0);
                    prop_assert_eq!(before, rig.manager.states().count());
                    prop_assert!(rig.manager.outputs.is_empty());
                },
                Step::Trust => rig.manager.handle_trust_changed(),
                Step::Authority => {
                    rig.manager.handle_authority_changed();
                }
                Step::Pass(seconds) => rig.pass(u64::from(seconds)),
            }
            for output in rig.drain() {
                match output {
                    Output::Request { call, identity, .. } => {
                        requests += 1;
                        prop_assert!(!flying.values().any(|other| *other == identity), "two calls for {}", identity);
                        prop_assert!(flying.insert(call, identity).is_none() && !ended.contains(&call));
                    }
                    Output::Abort { call } => {
                        prop_assert!(flying.remove(&call).is_some());
                        ended.push(call);
                        causes += 1;
                    }
                    Output::Answer { waiter, .. } => prop_assert!(waiting.remove(&waiter), "answered twice"),
                    Output::Publish { .. } => {}
                }
            }
            prop_assert!(flying.len() <= 8 && rig.manager.in_flight() == flying.len());
            prop_assert!(requests <= causes, "{} requests for {} causes", requests, causes);
            // Whoever waits, waits for something under way or queued.
            let pending: usize = rig.manager.entries.values().map(|entry| {
                assert!(entry.waiters.is_empty() || !matches!(entry.work, manager::Work::Resting { .. }));
                entry.waiters.len()
            }).sum();
            prop_assert_eq!(pending, waiting.len());
            let queued = rig.manager.entries.values().filter(|e| matches!(e.work, manager::Work::Queued(_))).count();
            prop_assert_eq!(queued, rig.manager.queue.len());
        }
    }

    /// With an authority that issues whatever it likes, and time that passes as told, an identity costs at most as many
    /// calls as the back-off allows.
    #[test]
    fn no_renewal_storm(from in -3600..3600_i64, to in 1..7200_u64) {
        let mut rig = Rig::new();
        rig.wanted("a");
        let (mut call, _) = rig.call();
        let mut calls = 1;
        while rig.seconds < 3600 {
            rig.issue_for(call, 1, from, to.max(from.max(0).unsigned_abs()));
            // Traffic asks all the time.
            rig.wanted("a");
            let Some((_, next, _)) = rig.until_call(3600) else { break };
            (call, calls) = (next, calls + 1);
        }
        // The back-off alone is about 32 calls an hour; short certificates may cost one for each
        // quarter of what is left of them.
        prop_assert!(calls <= 34 + 4 * 3600 / to, "{} calls", calls);
    }
}
