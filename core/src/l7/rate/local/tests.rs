use alloc::collections::BTreeMap as Map;
use alloc::vec;

use proptest::prelude::*;

use super::super::{Masked, Part};
use super::*;
use crate::identity::Identity;
use crate::l7::jwt::{Authenticated, Claim};
use crate::l7::tests::Asked;
use crate::l7::{Named, Rate, TextMatch};
use crate::mesh::ServiceName;

const RATE: Rate = Rate { max_tokens: 2, tokens_per_fill: 1, fill_interval: Duration::from_secs(10) };

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1000)
}

fn limit(by: Vec<Part>) -> LocalLimit {
    LocalLimit { rate: RATE, by, max_keys: 100 }
}

fn policy(local: Vec<LocalLimit>) -> Arc<RatePolicy> {
    Arc::new(RatePolicy {
        name: "shop/p".into(),
        shadow: false,
        local,
        global: None,
        answer: LimitAnswer::default(),
    })
}

pub(in super::super) struct World {
    service: ServiceName,
    identity: Identity,
    auth: Authenticated,
}

impl World {
    pub(in super::super) fn new() -> Self {
        let claims = Map::from([("sub".into(), Claim::Text("bob".into()))]);
        Self {
            service: ServiceName { namespace: "shop".into(), hostname: "web.shop".into() },
            identity: Identity::new("td", "clients", "curl").unwrap(),
            auth: Authenticated::new(Claim::Map(claims), "issuer", []),
        }
    }

    pub(in super::super) fn asking<'a>(&'a self, request: &'a Asked) -> Asking<'a, Asked> {
        Asking {
            request,
            source: Some(&self.identity),
            source_cluster: Some("c1"),
            client: "10.1.2.3".parse().unwrap(),
            auth: Some(&self.auth),
            destination: &self.service,
        }
    }
}

fn header(name: &str) -> Part {
    Part::Header { key: name.into(), name: name.into(), optional: false }
}

#[test]
fn each_key_has_its_own_bucket_and_requests_without_one_are_not_counted() {
    let world = World::new();
    let policy = policy(vec![limit(vec![header("x-user")])]);
    let mut limits = LocalLimits::new();
    let mut take = |user: Option<&str>, secs| {
        let asked = user.map_or_else(|| Asked::get("/"), |user| Asked::get("/").with("x-user", user));
        limits.take(at(secs), &policy, &world.asking(&asked)).passes
    };
    assert_eq!([take(Some("a"), 0), take(Some("a"), 0), take(Some("a"), 0)], [true, true, false]);
    assert_eq!([take(Some("b"), 0), take(None, 0), take(None, 0), take(None, 0)], [true; 4]);
    assert_eq!([take(Some("a"), 10), take(Some("a"), 10)], [true, false]);
    assert_eq!(limits.len(), 2);
    limits.retain([].into_iter());
    assert!(limits.is_empty());
}

#[test]
fn every_part_tells_requests_apart_as_it_says() {
    let world = World::new();
    let named = || vec![Named { name: "h".into(), value: TextMatch::Exact("1".into()) }];
    let text = |text: &str| -> Box<str> { text.into() };
    let (key, value) = (|| text("k"), || text("v"));
    let grpc = Asked::get("/s/m?h=1").with("content-type", "application/grpc").with("h", "1");
    let plain = Asked::get("/p");
    let claim = |path: &[&str]| Part::Claim { key: key(), path: path.iter().map(|it| text(it)).collect() };
    for (part, of_grpc, of_plain) in [
        (Part::Generic { key: key(), value: value() }, Some("k=v"), Some("k=v")),
        (Part::Header { key: key(), name: text("h"), optional: false }, Some("k=1"), None),
        (Part::Header { key: key(), name: text("h"), optional: true }, Some("k=1"), Some("")),
        (Part::Query { key: key(), name: text("h"), optional: false }, Some("k=1"), None),
        (Part::Query { key: key(), name: text("h"), optional: true }, Some("k=1"), Some("")),
        (Part::HeaderMatch { key: key(), value: value(), headers: named(), expect: true }, Some("k=v"), None),
        (
            Part::HeaderMatch { key: key(), value: value(), headers: named(), expect: false },
            None,
            Some("k=v"),
        ),
        (
            Part::QueryMatch { key: key(), value: value(), parameters: named(), expect: true },
            Some("k=v"),
            None,
        ),
        (Part::RemoteAddress, Some("remote_address=10.1.2.3"), Some("remote_address=10.1.2.3")),
        (
            Part::MaskedAddress(Masked { v4: 16, v6: 64 }),
            Some("masked_remote_address=10.1.0.0/16"),
            Some("masked_remote_address=10.1.0.0/16"),
        ),
        (Part::SourceCluster, Some("source_cluster=c1"), Some("source_cluster=c1")),
        (Part::Destination, Some("destination_cluster=web.shop"), Some("destination_cluster=web.shop")),
        (
            Part::Principal,
            Some("source_principal=spiffe://td/ns/clients/sa/curl"),
            Some("source_principal=spiffe://td/ns/clients/sa/curl"),
        ),
        (Part::Namespace, Some("source_namespace=clients"), Some("source_namespace=clients")),
        (claim(&["sub"]), Some("k=bob"), Some("k=bob")),
        (claim(&["other"]), None, None),
        (Part::GrpcMethod, Some("grpc_method=s/m"), None),
        (Part::Method, Some("method=GET"), Some("method=GET")),
        (Part::Path, Some("path=/s/m"), Some("path=/p")),
    ] {
        for (asked, expected) in [(&grpc, of_grpc), (&plain, of_plain)] {
            let asking = world.asking(asked);
            let found = match part.entry(&asking) {
                Entry::There(key, value) => Some(alloc::format!("{key}={value}")),
                Entry::Left => Some(String::new()),
                Entry::Missing => None,
            };
            assert_eq!(found.as_deref(), expected, "{part:?}");
        }
    }
    let nobody = Asking { source: None, source_cluster: None, auth: None, ..world.asking(&plain) };
    for part in [Part::Principal, Part::Namespace, Part::SourceCluster, claim(&["sub"])] {
        assert!(matches!(part.entry(&nobody), Entry::Missing), "{part:?}");
    }
}

#[test]
fn values_do_not_run_into_each_other_and_long_ones_are_cut() {
    let world = World::new();
    let limit = limit(vec![header("a"), header("b")]);
    let of =
        |a: &str, b: &str| key(&limit, &world.asking(&Asked::get("/").with("a", a).with("b", b))).unwrap();
    assert_ne!(of("ab", "c"), of("a", "bc"));
    assert_eq!(of(&"x".repeat(9999), "1").len(), MAX_KEY);
}

#[test]
fn all_limits_of_a_policy_count_and_the_tightest_is_told() {
    let world = World::new();
    let wide = LocalLimit { rate: Rate { max_tokens: 9, ..RATE }, by: vec![], max_keys: 1 };
    let mut policy = (*policy(vec![wide, limit(vec![Part::Principal])])).clone();
    policy.answer.quota_headers = true;
    let shadow = Arc::new(RatePolicy { shadow: true, name: "shop/s".into(), ..policy.clone() });
    let (policy, asked, mut limits) = (Arc::new(policy), Asked::get("/"), LocalLimits::new());
    let mut take = |policy| limits.take(at(3), policy, &world.asking(&asked));
    let first = take(&policy);
    let pair = |name, value: &str| (name, value.to_string());
    assert!(first.passes);
    assert_eq!(
        first.headers(&policy.answer),
        [pair("x-ratelimit-limit", "2"), pair("x-ratelimit-remaining", "1"), pair("x-ratelimit-reset", "10")]
    );
    take(&policy);
    let third = take(&policy);
    assert!(!third.passes && !third.shadowed);
    assert_eq!(
        third.headers(&LimitAnswer::default()),
        [pair("retry-after", "10"), pair("x-envoy-ratelimited", "true")]
    );
    take(&shadow);
    take(&shadow);
    let counted = take(&shadow);
    assert!(counted.passes && counted.shadowed);
}

#[test]
fn a_change_keeps_what_stays_and_begins_what_is_new() {
    let world = World::new();
    let (asked, mut limits) = (Asked::get("/"), LocalLimits::new());
    let mut passes = |policy| limits.take(at(0), policy, &world.asking(&asked)).passes;
    let one = policy(vec![limit(vec![])]);
    assert_eq!([passes(&one), passes(&one), passes(&one)], [true, true, false]);
    let same = policy(vec![limit(vec![Part::Namespace]), limit(vec![])]);
    assert!(!passes(&same));
    let other = policy(vec![LocalLimit { rate: Rate { max_tokens: 5, ..RATE }, ..limit(vec![]) }]);
    assert!(passes(&other));
}

// Requests go by the version that was in force when they came.
#[test]
fn versions_that_take_turns_give_nothing_back() {
    let world = World::new();
    let asked = Asked::get("/");
    let of = |max_tokens, by| LocalLimit { rate: Rate { max_tokens, ..RATE }, ..limit(by) };
    let [narrow, wide] = [2, 3].map(|max_tokens| policy(vec![of(max_tokens, vec![])]));
    let other = policy(vec![limit(vec![Part::Namespace])]);
    let both = policy(vec![of(3, vec![]), of(9, vec![])]);
    for versions in [[&narrow, &wide], [&narrow, &other], [&wide, &both]] {
        let mut limits = LocalLimits::new();
        let mut passed = |policy| limits.take(at(0), policy, &world.asking(&asked)).passes;
        let count = (0..20).filter(|turn| passed(versions[turn % 2])).count();
        let expected = if versions[1] == &other { 4 } else { 3 };
        assert_eq!(count, expected, "{versions:?}");
        limits.retain([versions[0]].into_iter());
        assert_eq!(limits.len(), 1);
        assert!(!limits.take(at(0), versions[0], &world.asking(&asked)).passes);
    }
}

/// All orders in which three clients ask, time passes and the policy is read again: in no stretch of time does anybody get
/// more than a bucket holds and what came meanwhile. Threads share the buckets behind a lock, so what they do has some order.
#[test]
fn no_interleaving_lets_more_pass_than_may() {
    const STEPS: u32 = 7;
    const ACTIONS: u32 = 5;
    let world = World::new();
    let users = ["a", "b", "c"].map(|user| Asked::get("/").with("x-user", user));
    for max_keys in [0, 1, 2, 3] {
        let limit = LocalLimit { max_keys, ..limit(vec![header("x-user")]) };
        for order in 0..ACTIONS.pow(STEPS) {
            let (mut limits, mut policy, mut now) = (LocalLimits::new(), policy(vec![limit.clone()]), 0);
            let mut passed: [Vec<u64>; 3] = Default::default();
            for step in 0..STEPS {
                match order / ACTIONS.pow(step) % ACTIONS {
                    3 => now += 10,
                    4 => policy = self::policy(vec![limit.clone()]),
                    user => {
                        let user = usize::try_from(user).unwrap();
                        if limits.take(at(now), &policy, &world.asking(&users[user])).passes {
                            passed[user].push(now);
                        }
                    }
                }
            }
            for times in &passed {
                for (first, from) in times.iter().enumerate() {
                    for (last, to) in times.iter().enumerate().skip(first) {
                        let count = u64::try_from(last - first + 1).unwrap();
                        assert!(count <= 2 + (to - from) / 10, "{max_keys} keys, order {order}: {passed:?}");
                    }
                }
            }
        }
    }
}

proptest! {
    /// Whatever is asked in whatever order, no key gets more than its bucket holds and what came meanwhile.
    #[test]
    fn no_key_gets_more_than_its_share(steps in prop::collection::vec((0_u8..4, 0_u64..8), 0..200), max_keys in 0_usize..5) {
        let world = World::new();
        let policy = policy(vec![LocalLimit { max_keys, ..limit(vec![header("x-user")]) }]);
        let (mut limits, mut now, mut passed) = (LocalLimits::new(), 0, Map::<u8, u64>::new());
        for (user, wait) in steps {
            now += wait;
            let asked = Asked::get("/").with("x-user", &user.to_string());
            if limits.take(at(now), &policy, &world.asking(&asked)).passes {
                *passed.entry(user).or_default() += 1;
            }
            prop_assert!(limits.len() <= max_keys);
        }
        for count in passed.values() {
            prop_assert!(*count <= 2 + now / 10, "{passed:?}");
        }
    }
}
