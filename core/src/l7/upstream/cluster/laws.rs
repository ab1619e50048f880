//! What holds for a cluster whatever happens to it.
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use core::time::Duration;

use proptest::prelude::*;

use super::super::{HashTable, KeySource, Warmup};
use super::tests::workload;
use super::*;
use crate::l7::OutlierDetection;
use crate::rng::Rng;

#[derive(Clone, Debug)]
enum Step {
    Choose { key: u8, tried: u8, persisted: Option<u8> },
    Outcome { of: usize, bad: bool },
    End { of: usize },
    Endpoints(Vec<(u8, u32, u16)>),
    Wait(u64),
    Policy(Arc<TrafficPolicy>),
}

fn any_policy() -> impl Strategy<Value = TrafficPolicy> {
    let hash = |table| Balancer::Hash { key: KeySource::SourceIp, table };
    let balancers = vec![
        Balancer::LeastRequest,
        Balancer::RoundRobin,
        Balancer::Random,
        hash(HashTable::Ring { minimum: 16 }),
        hash(HashTable::Maglev { size: 61 }),
    ];
    let settings = prop::option::of((1_u32..3, 0_u32..120));
    (prop::sample::select(balancers), settings, 0_u32..120, any::<bool>()).prop_map(
        |(balancer, settings, minimum, warm)| {
            let outliers = settings.map(|(consecutive_5xx, max_ejection_percent)| OutlierDetection {
                consecutive_5xx,
                max_ejection_percent,
                ..OutlierDetection::default()
            });
            let warmup = warm.then(|| Warmup::linear(Duration::from_secs(50), 10));
            TrafficPolicy {
                balancer,
                outliers,
                min_health_percent: minimum,
                warmup,
                ..TrafficPolicy::default()
            }
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let endpoints = prop::collection::vec((0_u8..8, 0_u32..4, 0_u16..3), 0..8);
    prop_oneof![
        6 => (any::<u8>(), any::<u8>(), prop::option::of(0_u8..8))
            .prop_map(|(key, tried, persisted)| Step::Choose { key, tried, persisted }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(of, bad)| Step::Outcome { of, bad }),
        4 => any::<usize>().prop_map(|of| Step::End { of }),
        1 => endpoints.prop_map(Step::Endpoints),
        1 => (0_u64..60).prop_map(Step::Wait),
        1 => any_policy().prop_map(|policy| Step::Policy(Arc::new(policy))),
    ]
}

fn uid(n: u8) -> Arc<str> {
    format!("//Pod/ns/{n}").into()
}

proptest! {
    #[test]
    fn choices_are_good_and_all_is_given_back(policy in any_policy(), seed in any::<u64>(), steps in prop::collection::vec(any_step(), 0..120)) {
        let mut it = Cluster::new(Arc::new(policy));
        let (mut rng, mut now, mut there) = (Rng::new(seed), 0, BTreeMap::new());
        let mut under_way: Vec<Chosen> = vec![];
        for step in steps {
            let time = Instant::from_millis(now * 1000);
            match step {
                Step::Choose { key, tried, persisted } => {
                    let tried: Vec<_> = (0..8).filter(|n| tried & (1 << n) > 0).map(uid).collect();
                    let persisted = persisted.map(uid);
                    let key = Some(KeyHash::default().with(&[key])).filter(|_| key % 2 == 0);
                    let pick = Pick { key, tried: &tried, persisted: persisted.as_deref() };
                    let healthy = |view: &EndpointView| view.ejected.is_none() && view.weight > 0;
                    let before = it.view(time);
                    match it.choose(time, &pick, &mut rng) {
                        Ok(chosen) => {
                            let view = before.endpoints.iter().find(|view| view.workload.uid == chosen.workload.uid);
                            let view = view.expect("a member");
                            let level = before.levels.iter().find(|level| level.level == view.level).unwrap();
                            prop_assert!(view.weight > 0);
                            prop_assert!(healthy(view) || level.ignores_ejections, "{view:?} {level:?}");
                            let keyed = matches!(it.policy().balancer, Balancer::Hash { .. }) && key.is_some();
                            if !keyed && persisted.as_ref() != Some(&view.workload.uid) && tried.contains(&view.workload.uid) {
                                let others = before.endpoints.iter().any(|other| {
                                    other.level == view.level && healthy(other) && !tried.contains(&other.workload.uid)
                                });
                                prop_assert!(!others, "{tried:?}");
                            }
                            under_way.push(chosen);
                        }
                        Err(why) => prop_assert!(!before.endpoints.iter().any(healthy), "{why} {before:?}"),
                    }
                }
                Step::Outcome { of, bad } => if let Some(chosen) = of.checked_rem(under_way.len()).and_then(|at| under_way.get(at)) {
                    let outcome = if bad { Outcome::Failed } else { Outcome::Status(200) };
                    it.handle_outcome(time, chosen, outcome);
                },
                Step::End { of } => if let Some(at) = of.checked_rem(under_way.len()) {
                    it.end(under_way.swap_remove(at));
                },
                Step::Endpoints(all) => {
                    there = all.into_iter().map(|(n, weight, level)| (n, (weight, level))).collect();
                    let endpoint = |(n, (weight, level)): (&u8, &(u32, u16))| Endpoint {
                        workload: Arc::new(workload(&format!("{n}"))), port: 80, weight: *weight, level: *level,
                    };
                    it.handle_endpoints(time, Gathered { endpoints: there.iter().map(endpoint).collect(), ..Gathered::default() });
                }
                Step::Wait(secs) => {
                    now += secs;
                    it.handle_timeout(Instant::from_millis(now * 1000));
                }
                Step::Policy(policy) => it.handle_policy(policy),
            }
            let view = it.view(time);
            prop_assert_eq!(view.endpoints.len(), there.len());
            prop_assert_eq!(usize::try_from(view.under_way[2]).unwrap(), under_way.len());
        }
        under_way.into_iter().for_each(|chosen| it.end(chosen));
        let view = it.view(Instant::FAR);
        prop_assert!(it.is_idle() && view.endpoints.iter().all(|view| view.outstanding == 0));
    }

    /// Whoever draws, shares come to what the weights say.
    #[test]
    fn weights_converge(weights in prop::collection::vec(0_u32..10, 1..6), balancer in 0..3, seed in any::<u64>()) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let balancer = [Balancer::LeastRequest, Balancer::RoundRobin, Balancer::Random][usize::try_from(balancer).unwrap()].clone();
        let mut it = Cluster::new(Arc::new(TrafficPolicy { balancer, ..TrafficPolicy::default() }));
        let endpoint = |(n, weight): (usize, &u32)| Endpoint {
            workload: Arc::new(workload(&format!("{n}"))), port: 80, weight: *weight, level: 0,
        };
        let endpoints = weights.iter().enumerate().map(endpoint).collect();
        it.handle_endpoints(Instant::ZERO, Gathered { endpoints, ..Gathered::default() });
        let (mut rng, mut counts) = (Rng::new(seed), vec![0_u32; weights.len()]);
        for _ in 0..2000 {
            let chosen = it.choose(Instant::ZERO, &Pick::default(), &mut rng).unwrap();
            counts[chosen.workload.name.parse::<usize>().unwrap()] += 1;
            it.end(chosen);
        }
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert!(count.abs_diff(2000 * weight / total) < 140, "{counts:?} {weights:?}");
        }
    }
}
