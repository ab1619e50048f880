use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use core::time::Duration;

use super::*;
use crate::identity::Identity;
use crate::l7::{Limits, OutlierDetection};

/// A healthy workload of this name.
pub(in super::super) fn workload(name: &str) -> Workload {
    let identity = Identity::new("cluster.local", "ns", "sa").unwrap();
    Workload::new(&format!("//Pod/ns/{name}"), name, identity)
}

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1000)
}

fn endpoint(name: &str, weight: u32, level: u16) -> Endpoint {
    Endpoint { workload: Arc::new(workload(name)), port: 8080, weight, level }
}

fn gathered(endpoints: &[(&str, u32, u16)]) -> Gathered {
    let endpoints = endpoints.iter().map(|(name, weight, level)| endpoint(name, *weight, *level));
    Gathered { endpoints: endpoints.collect(), ..Gathered::default() }
}

fn cluster(policy: TrafficPolicy, endpoints: &[(&str, u32, u16)]) -> Cluster {
    let mut cluster = Cluster::new(Arc::new(policy));
    cluster.handle_endpoints(at(0), gathered(endpoints));
    cluster
}

fn with(balancer: Balancer) -> TrafficPolicy {
    TrafficPolicy { balancer, ..TrafficPolicy::default() }
}

/// Requests one after the other: how many went to whom.
fn shares(cluster: &mut Cluster, now: Instant, count: u32) -> BTreeMap<Arc<str>, u32> {
    let (mut rng, mut counts) = (Rng::new(11), BTreeMap::new());
    for _ in 0..count {
        let chosen = cluster.choose(now, &Pick::default(), &mut rng).unwrap();
        *counts.entry(Arc::clone(&chosen.workload.name)).or_default() += 1;
        cluster.end(chosen);
    }
    counts
}

fn fail(cluster: &mut Cluster, now: Instant, name: &str) -> Option<Ejection> {
    let (uid, mut rng) = (format!("//Pod/ns/{name}"), Rng::new(1));
    let pick = Pick { persisted: Some(&uid), ..Pick::default() };
    let chosen = cluster.choose(now, &pick, &mut rng).unwrap();
    assert_eq!(&*chosen.workload.name, name);
    let ejection = cluster.handle_outcome(now, &chosen, Outcome::Failed);
    cluster.end(chosen);
    ejection
}

fn outliers(percent: u32) -> TrafficPolicy {
    let settings =
        OutlierDetection { consecutive_5xx: 1, max_ejection_percent: percent, ..OutlierDetection::default() };
    TrafficPolicy { outliers: Some(settings), ..TrafficPolicy::default() }
}

#[test]
fn shares_follow_weights_whatever_the_balancer() {
    for balancer in [Balancer::LeastRequest, Balancer::RoundRobin, Balancer::Random] {
        let mut it = cluster(with(balancer.clone()), &[("a", 1, 0), ("b", 3, 0), ("none", 0, 0)]);
        let counts = shares(&mut it, at(0), 10_000);
        assert!((2300..2700).contains(&counts["a"]) && counts.len() == 2, "{balancer:?} {counts:?}");
    }
}

#[test]
fn least_request_prefers_who_has_least_to_do_for_its_weight() {
    let mut it = cluster(TrafficPolicy::default(), &[("a", 1, 0), ("b", 1, 0), ("c", 2, 0)]);
    let mut rng = Rng::new(3);
    let chosen: Vec<_> = (0..400).map(|_| it.choose(at(0), &Pick::default(), &mut rng).unwrap()).collect();
    let outstanding: Vec<_> = it.view(at(0)).endpoints.iter().map(|view| view.outstanding).collect();
    for (count, expected) in outstanding.into_iter().zip([100_u32, 100, 200]) {
        assert!(count.abs_diff(expected) <= 10, "{count} of {expected}");
    }
    chosen.into_iter().for_each(|chosen| it.end(chosen));
    assert!(it.is_idle() && it.view(at(0)).endpoints.iter().all(|view| view.outstanding == 0));
}

#[test]
fn round_robin_takes_turns_that_are_spread_out() {
    let names = |it: &mut Cluster, count| -> Vec<Arc<str>> {
        let mut rng = Rng::new(1);
        let mut next = || {
            let chosen = it.choose(at(0), &Pick::default(), &mut rng).unwrap();
            let name = Arc::clone(&chosen.workload.name);
            it.end(chosen);
            name
        };
        (0..count).map(|_| next()).collect()
    };
    let mut even = cluster(with(Balancer::RoundRobin), &[("a", 5, 0), ("b", 5, 0)]);
    assert_eq!(names(&mut even, 4), ["a", "b", "a", "b"].map(Into::into));
    let mut uneven = cluster(with(Balancer::RoundRobin), &[("a", 5, 0), ("b", 1, 0), ("c", 1, 0)]);
    assert_eq!(names(&mut uneven, 7), ["a", "a", "b", "a", "c", "a", "a"].map(Into::into));
}

#[test]
fn what_was_tried_is_not_tried_again_while_there_are_others() {
    for balancer in [Balancer::LeastRequest, Balancer::RoundRobin, Balancer::Random] {
        for weights in [[1, 1, 1], [9, 1, 1]] {
            let [a, b, c] = weights;
            let mut it = cluster(with(balancer.clone()), &[("a", a, 0), ("b", b, 0), ("c", c, 0)]);
            let (mut rng, mut tried) = (Rng::new(5), vec![]);
            for _ in 0..100 {
                tried.clear();
                for _ in 0..3 {
                    let pick = Pick { tried: &tried, ..Pick::default() };
                    let chosen = it.choose(at(0), &pick, &mut rng).unwrap();
                    let uid = Arc::clone(&chosen.workload.uid);
                    it.end(chosen);
                    assert!(!tried.contains(&uid), "{balancer:?} {tried:?}");
                    tried.push(uid);
                }
                let pick = Pick { tried: &tried, ..Pick::default() };
                let again = it.choose(at(0), &pick, &mut rng).unwrap();
                it.end(again);
            }
        }
    }
}

#[test]
fn without_endpoints_the_reason_is_told() {
    let mut rng = Rng::new(1);
    let mut choose = |it: &mut Cluster| it.choose(at(0), &Pick::default(), &mut rng).unwrap_err();
    assert_eq!(choose(&mut cluster(TrafficPolicy::default(), &[])), NoEndpoint::Empty);
    assert_eq!(choose(&mut cluster(TrafficPolicy::default(), &[("a", 0, 0)])), NoEndpoint::Weightless);
    let mut it = cluster(outliers(100), &[("a", 1, 0)]);
    assert_eq!(fail(&mut it, at(0), "a"), Some(Ejection::Consecutive5xx));
    assert_eq!(choose(&mut it), NoEndpoint::Ejected);
}

#[test]
fn what_fails_is_left_out_until_its_time_is_over() {
    let mut it = cluster(outliers(50), &[("a", 1, 0), ("b", 1, 0), ("c", 1, 0)]);
    assert!(fail(&mut it, at(0), "a").is_some());
    assert_eq!(fail(&mut it, at(0), "b"), None, "no more than half may be out");
    let counts = shares(&mut it, at(1), 100);
    assert!(!counts.contains_key("a") && counts.len() == 2);
    assert_eq!(it.view(at(1)).endpoints[0].ejected, Some(at(30)));
    // A session with it goes elsewhere.
    let pick = Pick { persisted: Some("//Pod/ns/a"), ..Pick::default() };
    let chosen = it.choose(at(1), &pick, &mut Rng::new(1)).unwrap();
    assert_ne!(&*chosen.workload.name, "a");
    it.end(chosen);
    while let Some(when) = it.poll_timeout().filter(|when| *when <= at(30)) {
        it.handle_timeout(when);
    }
    assert_eq!(shares(&mut it, at(30), 300).len(), 3);
}

#[test]
fn ejections_are_not_looked_at_when_too_few_are_left() {
    let policy = TrafficPolicy { min_health_percent: 60, ..outliers(100) };
    let mut it = cluster(policy, &[("a", 1, 0), ("b", 1, 0), ("c", 1, 0)]);
    fail(&mut it, at(0), "a");
    assert_eq!(shares(&mut it, at(1), 300).len(), 2);
    fail(&mut it, at(0), "b");
    assert_eq!(shares(&mut it, at(1), 300).len(), 3);
    assert!(it.view(at(1)).levels[0].ignores_ejections);
}

#[test]
fn the_next_level_takes_over_as_much_as_is_missing() {
    let near: Vec<_> = (0..10).map(|n| format!("near{n}")).collect();
    let mut endpoints: Vec<_> = near.iter().map(|name| (&**name, 1, 0)).collect();
    endpoints.extend([("far0", 1, 3), ("far1", 1, 3)]);
    let mut it = cluster(outliers(100), &endpoints);
    let far = |it: &mut Cluster| -> u32 {
        let counts = shares(it, at(1), 1000);
        counts.iter().filter(|(name, _)| name.starts_with("far")).map(|(_, count)| count).sum()
    };
    assert_eq!(far(&mut it), 0);
    for (out, expected) in [(2, 0..1), (5, 250..350), (10, 1000..1001)] {
        for name in near.iter().take(out) {
            if it
                .view(at(0))
                .endpoints
                .iter()
                .any(|view| *view.workload.name == **name && view.ejected.is_none())
            {
                fail(&mut it, at(0), name);
            }
        }
        let count = far(&mut it);
        assert!(expected.contains(&count), "{out} out: {count}");
    }
}

#[test]
fn levels_have_the_shares_that_are_said() {
    let mut it = cluster(TrafficPolicy::default(), &[]);
    let endpoints = gathered(&[("a", 1, 0), ("b", 1, 1), ("c", 1, 1), ("zero", 1, 2)]).endpoints;
    let spread = Spread::Shares(vec![80, 20, 0]);
    it.handle_endpoints(at(0), Gathered { endpoints, spread, left_out: vec![] });
    let counts = shares(&mut it, at(0), 10_000);
    assert!((7700..8300).contains(&counts["a"]) && counts.len() == 3, "{counts:?}");
}

#[test]
fn who_comes_later_warms_up() {
    for balancer in [Balancer::LeastRequest, Balancer::RoundRobin, Balancer::Random] {
        let warmup = Some(super::super::Warmup::linear(Duration::from_secs(100), 10));
        let mut it = cluster(TrafficPolicy { warmup, ..with(balancer.clone()) }, &[("a", 1, 0)]);
        it.handle_endpoints(at(100), gathered(&[("a", 1, 0), ("b", 1, 0)]));
        let mut part = |secs| shares(&mut it, at(secs), 2000).get("b").copied().unwrap_or_default();
        let parts = [part(100), part(150), part(200)];
        for (count, expected) in parts.into_iter().zip([182_u32, 667, 1000]) {
            assert!(count.abs_diff(expected) < 120, "{balancer:?} {parts:?}");
        }
    }
}

#[test]
fn the_same_key_goes_to_the_same_endpoint_and_few_move() {
    let names: Vec<_> = (0..10).map(|n| format!("e{n}")).collect();
    let endpoints: Vec<_> = names.iter().map(|name| (&**name, 1, 0)).collect();
    for table in [super::super::HashTable::default(), super::super::HashTable::Maglev { size: 65_537 }] {
        let key = super::super::KeySource::SourceIp;
        let policy = TrafficPolicy { outliers: outliers(50).outliers, ..with(Balancer::Hash { key, table }) };
        let mut it = cluster(policy, &endpoints[..9]);
        let mut rng = Rng::new(1);
        let mut owners = |it: &mut Cluster| -> Vec<Arc<str>> {
            let mut owner = |n: u32| {
                let pick = Pick { key: Some(KeyHash::default().with(&n.to_le_bytes())), ..Pick::default() };
                let chosen = it.choose(at(0), &pick, &mut rng).unwrap();
                let name = Arc::clone(&chosen.workload.name);
                it.end(chosen);
                name
            };
            (0..1000).map(&mut owner).collect()
        };
        let before = owners(&mut it);
        assert_eq!(before, owners(&mut it));
        it.handle_endpoints(at(0), gathered(&endpoints));
        let moved = before.iter().zip(owners(&mut it)).filter(|(before, now)| **before != *now).count();
        assert!((40..250).contains(&moved), "{table:?}: {moved}");
        // Ejected, only its own keys move; without a key, chance decides.
        let before = owners(&mut it);
        fail(&mut it, at(0), "e3");
        for (before, now) in before.iter().zip(owners(&mut it)) {
            assert!(*now != *"e3" && (**before == *"e3" || *before == now));
        }
        assert_eq!(shares(&mut it, at(0), 1000).len(), 9);
    }
}

#[test]
fn what_is_beyond_the_limits_fails_at_once() {
    let limits = Limits { connections: 1, pending: 1, requests: 2 };
    let mut it =
        cluster(TrafficPolicy { limits, max_retries: 1, ..TrafficPolicy::default() }, &[("a", 1, 0)]);
    let mut rng = Rng::new(1);
    let mut choose = |it: &mut Cluster| it.choose(at(0), &Pick::default(), &mut rng);
    let (first, _second) = (choose(&mut it).unwrap(), choose(&mut it).unwrap());
    let overflow = Overflow { what: Counted::Request, limit: 2 };
    assert_eq!(choose(&mut it), Err(NoEndpoint::Overflow(overflow)));
    it.end(first);
    let _third = choose(&mut it).unwrap();
    assert_eq!([it.begin(Counted::Connection).is_ok(), it.begin(Counted::Connection).is_ok()], [true, false]);
    it.finish(Counted::Connection);
    assert!(it.begin(Counted::Connection).is_ok() && !it.is_idle());
    assert_eq!([it.budget().retry(), it.budget().retry()], [true, false], "maxRetries");
}

#[test]
fn who_stays_keeps_what_is_known_and_who_goes_is_forgotten() {
    let mut it = cluster(outliers(50), &[("a", 1, 0), ("b", 1, 0), ("c", 1, 0)]);
    fail(&mut it, at(0), "b");
    let mut rng = Rng::new(1);
    let pick = |uid| Pick { persisted: Some(uid), ..Pick::default() };
    let (on_a, on_c) = (
        it.choose(at(0), &pick("//Pod/ns/a"), &mut rng).unwrap(),
        it.choose(at(0), &pick("//Pod/ns/c"), &mut rng).unwrap(),
    );
    it.handle_endpoints(at(1), gathered(&[("0", 1, 0), ("b", 1, 0), ("c", 7, 0)]));
    let view = it.view(at(1));
    let seen: Vec<_> = view
        .endpoints
        .iter()
        .map(|v| (&*v.workload.name, v.weight, v.outstanding, v.ejected.is_some()))
        .collect();
    assert_eq!(seen, [("0", 1, 0, false), ("b", 1, 0, true), ("c", 7, 1, false)]);
    // What is late about one that has gone changes nobody else, not even one of the same name.
    it.handle_endpoints(at(1), gathered(&[("a", 1, 0), ("b", 1, 0), ("c", 7, 0)]));
    assert_eq!(it.handle_outcome(at(1), &on_a, Outcome::Failed), None);
    it.end(on_a);
    it.end(on_c);
    assert!(it.is_idle() && it.view(at(1)).endpoints.iter().all(|view| view.outstanding == 0));
    // A policy without outliers lets all in; requests under way stay counted.
    let _under_way = it.choose(at(1), &pick("//Pod/ns/c"), &mut rng).unwrap();
    it.handle_policy(Arc::default());
    assert_eq!(shares(&mut it, at(1), 300).len(), 3);
    assert_eq!(it.view(at(1)).under_way, [0, 0, 1]);
}
