//! Scripted tests of the pool, one rule each, and random histories against the rules that hold at all times.
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

mod numbers;

type TestPool = Pool<char, &'static str>;
type Event = PoolEvent<char, &'static str>;

const IDLE: Duration = Duration::from_secs(300);
const T0: Instant = Instant::ZERO;

fn pool(max_streams: u32, max_tunnels: usize) -> TestPool {
    Pool::new(PoolConfig { max_streams, idle: IDLE, max_tunnels })
}

fn drained(pool: &mut TestPool) -> Vec<Event> {
    std::iter::from_fn(|| pool.poll_event()).collect()
}

fn acquire(pool: &mut TestPool, request: u64, key: char) -> Vec<Event> {
    pool.acquire(T0, RequestId(request), key);
    drained(pool)
}

fn dialed(pool: &mut TestPool, tunnel: u64, result: Result<u32, &'static str>) -> Vec<Event> {
    pool.handle_dialed(T0, TunnelId(tunnel), result);
    drained(pool)
}

fn release(pool: &mut TestPool, now: Instant, tunnel: u64) -> Vec<Event> {
    pool.release(now, TunnelId(tunnel));
    drained(pool)
}

fn dial(tunnel: u64, key: char) -> Event {
    PoolEvent::Dial { tunnel: TunnelId(tunnel), key }
}

fn granted(request: u64, tunnel: u64) -> Event {
    PoolEvent::Granted { request: RequestId(request), tunnel: TunnelId(tunnel) }
}

fn refused(request: u64, error: Refused<&'static str>) -> Event {
    PoolEvent::Refused { request: RequestId(request), error }
}

fn close(tunnel: u64, reason: CloseReason) -> Event {
    PoolEvent::Close { tunnel: TunnelId(tunnel), reason }
}

/// A pool with one tunnel for 'a' (limit 2) and one lease on it.
fn one_up() -> TestPool {
    let mut pool = pool(100, 10);
    assert_eq!(acquire(&mut pool, 1, 'a'), [dial(0, 'a')]);
    assert_eq!(dialed(&mut pool, 0, Ok(2)), [granted(1, 0)]);
    pool
}

#[test]
fn concurrent_requests_share_one_dial_in_order() {
    let mut pool = pool(100, 10);
    assert_eq!(acquire(&mut pool, 7, 'a'), [dial(0, 'a')]);
    assert_eq!(acquire(&mut pool, 3, 'a'), []);
    assert_eq!(acquire(&mut pool, 5, 'a'), []);
    assert_eq!(pool.waiting(), 3);
    assert_eq!(dialed(&mut pool, 0, Ok(100)), [granted(7, 0), granted(3, 0), granted(5, 0)]);
    assert_eq!((pool.waiting(), pool.leases(TunnelId(0))), (0, 3));
}

#[test]
fn keys_never_share() {
    let mut pool = one_up();
    assert_eq!(acquire(&mut pool, 2, 'b'), [dial(1, 'b')]);
    assert_eq!(dialed(&mut pool, 1, Ok(9)), [granted(2, 1)]);
}

#[test]
fn failed_dial_reaches_every_waiter_and_the_next_request_dials_anew() {
    let mut pool = pool(100, 10);
    acquire(&mut pool, 1, 'a');
    acquire(&mut pool, 2, 'a');
    let reset = Refused::Dial("reset");
    assert_eq!(dialed(&mut pool, 0, Err("reset")), [refused(1, reset.clone()), refused(2, reset)]);
    assert_eq!(pool.tunnels(), 0);
    assert_eq!(acquire(&mut pool, 3, 'a'), [dial(1, 'a')]);
}

#[test]
fn full_tunnel_is_used_again_after_a_release() {
    let mut pool = one_up();
    assert_eq!(acquire(&mut pool, 2, 'a'), [granted(2, 0)]);
    assert_eq!(acquire(&mut pool, 3, 'a'), [dial(1, 'a')]);
    // The freed lease serves the waiter before the dial does; the dialled tunnel is pooled none the less.
    assert_eq!(release(&mut pool, T0, 0), [granted(3, 0)]);
    assert_eq!(dialed(&mut pool, 1, Ok(1)), []);
    assert_eq!(acquire(&mut pool, 4, 'a'), [granted(4, 1)]);
    assert_eq!(release(&mut pool, T0, 0), []);
    assert_eq!(acquire(&mut pool, 5, 'a'), [granted(5, 0)]);
}

#[test]
fn more_waiters_than_the_limit_dial_one_after_another() {
    let mut pool = pool(1, 10);
    acquire(&mut pool, 1, 'a');
    acquire(&mut pool, 2, 'a');
    acquire(&mut pool, 3, 'a');
    assert_eq!(dialed(&mut pool, 0, Ok(50)), [granted(1, 0), dial(1, 'a')]);
    assert_eq!(dialed(&mut pool, 1, Ok(50)), [granted(2, 1), dial(2, 'a')]);
    assert_eq!(dialed(&mut pool, 2, Ok(50)), [granted(3, 2)]);
}

#[test]
fn limits_follow_settings() {
    let mut pool = one_up();
    acquire(&mut pool, 2, 'a');
    assert_eq!(acquire(&mut pool, 3, 'a'), [dial(1, 'a')]);
    pool.handle_limit(T0, TunnelId(0), 3);
    assert_eq!(drained(&mut pool), [granted(3, 0)]);
    pool.handle_limit(T0, TunnelId(0), 1);
    assert_eq!(drained(&mut pool), []);
    assert_eq!(dialed(&mut pool, 1, Ok(1)), []);
    acquire(&mut pool, 4, 'a');
    assert_eq!(acquire(&mut pool, 5, 'a'), [dial(2, 'a')]);
    // Three leases under a limit of one: the first two releases make no room.
    assert_eq!(release(&mut pool, T0, 0), []);
    assert_eq!(release(&mut pool, T0, 0), []);
    assert_eq!(release(&mut pool, T0, 0), [granted(5, 0)]);
}

#[test]
fn first_settings_that_allow_nothing_refuse_instead_of_dialling_for_ever() {
    let mut pool = pool(100, 10);
    acquire(&mut pool, 1, 'a');
    assert_eq!(
        dialed(&mut pool, 0, Ok(0)),
        [close(0, CloseReason::NoStreams), refused(1, Refused::NoStreams)]
    );
    assert_eq!(pool, { TestPool { next: 1, ..self::pool(100, 10) } });
}

#[test]
fn idle_tunnel_closes_at_its_deadline_and_a_lease_resets_it() {
    let mut pool = one_up();
    assert_eq!(pool.poll_timeout(), None);
    let later = T0 + Duration::from_secs(10);
    release(&mut pool, later, 0);
    assert_eq!(pool.poll_timeout(), Some(later + IDLE));
    assert_eq!(acquire(&mut pool, 2, 'a'), [granted(2, 0)]);
    assert_eq!(pool.poll_timeout(), None);
    let last = later + Duration::from_secs(1);
    release(&mut pool, last, 0);
    pool.handle_timeout(later + IDLE);
    assert_eq!(drained(&mut pool), []);
    pool.handle_timeout(last + IDLE);
    assert_eq!(drained(&mut pool), [close(0, CloseReason::Idle)]);
    assert_eq!((pool.poll_timeout(), pool.tunnels()), (None, 0));
}

#[test]
fn going_away_finishes_old_leases_and_takes_no_new_ones() {
    let mut pool = one_up();
    pool.handle_goaway(T0, TunnelId(0));
    assert_eq!(drained(&mut pool), []);
    assert_eq!(acquire(&mut pool, 2, 'a'), [dial(1, 'a')]);
    assert_eq!(release(&mut pool, T0, 0), [close(0, CloseReason::GoAway)]);
    assert_eq!(dialed(&mut pool, 1, Ok(1)), [granted(2, 1)]);
    // Without leases it closes at once.
    release(&mut pool, T0, 1);
    pool.handle_goaway(T0, TunnelId(1));
    assert_eq!(drained(&mut pool), [close(1, CloseReason::GoAway)]);
}

#[test]
fn closed_tunnel_takes_its_leases_along() {
    let mut pool = one_up();
    pool.handle_closed(T0, TunnelId(0));
    assert_eq!(drained(&mut pool), []);
    assert_eq!(release(&mut pool, T0, 0), []);
    assert_eq!(acquire(&mut pool, 2, 'a'), [dial(1, 'a')]);
    // A dial that is gone without a result is replaced for those who wait.
    pool.handle_closed(T0, TunnelId(1));
    assert_eq!(drained(&mut pool), [dial(2, 'a')]);
    assert_eq!(dialed(&mut pool, 1, Ok(5)), []);
    assert_eq!(dialed(&mut pool, 2, Ok(5)), [granted(2, 2)]);
}

#[test]
fn cancelled_request_gets_no_answer_and_its_dial_is_pooled() {
    let mut pool = pool(100, 10);
    acquire(&mut pool, 1, 'a');
    pool.cancel(T0, RequestId(1));
    pool.cancel(T0, RequestId(9));
    assert_eq!((drained(&mut pool), pool.waiting()), (Vec::new(), 0));
    assert_eq!(dialed(&mut pool, 0, Ok(5)), []);
    assert_eq!(pool.poll_timeout(), Some(T0 + IDLE));
    assert_eq!(acquire(&mut pool, 1, 'a'), [granted(1, 0)]);
}

#[test]
fn cap_evicts_the_longest_idle_tunnel_then_refuses() {
    let mut pool = pool(1, 2);
    acquire(&mut pool, 1, 'a');
    dialed(&mut pool, 0, Ok(1));
    acquire(&mut pool, 2, 'b');
    dialed(&mut pool, 1, Ok(1));
    assert_eq!(acquire(&mut pool, 3, 'c'), [refused(3, Refused::Full)]);
    release(&mut pool, T0 + Duration::from_secs(1), 1);
    release(&mut pool, T0 + Duration::from_secs(2), 0);
    assert_eq!(acquire(&mut pool, 4, 'c'), [close(1, CloseReason::Evicted), dial(2, 'c')]);
    // At the cap, those who share a dial in flight wait for it; what it cannot carry is refused.
    release(&mut pool, T0, 0);
    acquire(&mut pool, 5, 'a');
    assert_eq!(acquire(&mut pool, 6, 'c'), []);
    assert_eq!(dialed(&mut pool, 2, Ok(1)), [granted(4, 2), refused(6, Refused::Full)]);
}

#[test]
fn drain_refuses_waiters_closes_what_is_unused_and_waits_for_leases() {
    let mut pool = one_up();
    acquire(&mut pool, 2, 'b');
    acquire(&mut pool, 3, 'c');
    dialed(&mut pool, 2, Ok(1));
    release(&mut pool, T0, 2);
    pool.drain(T0);
    assert_eq!(
        drained(&mut pool),
        [refused(2, Refused::Draining), close(1, CloseReason::Draining), close(2, CloseReason::Draining)]
    );
    assert_eq!(acquire(&mut pool, 4, 'a'), [refused(4, Refused::Draining)]);
    assert_eq!(dialed(&mut pool, 1, Ok(1)), []);
    assert_eq!(release(&mut pool, T0, 0), [close(0, CloseReason::Draining), PoolEvent::Drained]);
    pool.drain(T0);
    pool.handle_closed(T0, TunnelId(0));
    assert_eq!(drained(&mut pool), []);
}

#[test]
fn drain_of_an_empty_pool_and_of_one_whose_last_tunnel_breaks() {
    let mut empty = pool(1, 1);
    empty.drain(T0);
    assert_eq!(drained(&mut empty), [PoolEvent::Drained]);
    let mut pool = one_up();
    pool.drain(T0);
    pool.handle_closed(T0, TunnelId(0));
    assert_eq!(drained(&mut pool), [PoolEvent::Drained]);
}

#[test]
fn calls_that_make_no_sense_change_nothing() {
    let mut pool = one_up();
    acquire(&mut pool, 2, 'b');
    let before = pool.clone();
    pool.acquire(T0, RequestId(2), 'a');
    pool.cancel(T0, RequestId(1));
    pool.handle_dialed(T0, TunnelId(0), Err("late"));
    pool.release(T0, TunnelId(1));
    pool.handle_limit(T0, TunnelId(1), 7);
    pool.handle_goaway(T0, TunnelId(1));
    for unknown in [TunnelId(9), TunnelId(u64::MAX)] {
        pool.release(T0, unknown);
        pool.handle_dialed(T0, unknown, Ok(1));
        pool.handle_limit(T0, unknown, 1);
        pool.handle_goaway(T0, unknown);
        pool.handle_closed(T0, unknown);
    }
    pool.handle_timeout(T0);
    assert_eq!(pool, before);
}

#[derive(Clone, Debug)]
enum Call {
    Acquire(char),
    Cancel(u64),
    Release(u64),
    Dialed(u64, Result<u32, &'static str>),
    Limit(u64, u32),
    GoAway(u64),
    Closed(u64),
    Later(u64),
    Drain,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => prop::sample::select(&['a', 'b', 'c'][..]).prop_map(Call::Acquire),
        2 => (0..60_u64).prop_map(Call::Cancel),
        6 => (0..30_u64).prop_map(Call::Release),
        6 => (0..30_u64, prop_oneof![3 => (0..4_u32).prop_map(Ok), 1 => Just(Err("no"))])
            .prop_map(|(tunnel, result)| Call::Dialed(tunnel, result)),
        1 => (0..30_u64, 0..4_u32).prop_map(|(tunnel, limit)| Call::Limit(tunnel, limit)),
        1 => (0..30_u64).prop_map(Call::GoAway),
        1 => (0..30_u64).prop_map(Call::Closed),
        1 => (0..400_u64).prop_map(Call::Later),
        1 => prop::bool::weighted(0.05).prop_map(|drain| if drain { Call::Drain } else { Call::Later(0) }),
    ]
}

proptest! {
    /// Histories far longer than the model checker's: the indices agree with each other after every call, nobody waits
    /// without a dial, every request is answered at most once, and what ends without work leaves nothing behind.
    #[test]
    fn random_histories_keep_the_rules(calls in prop::collection::vec(call(), 1..120)) {
        let mut pool = pool(3, 6);
        let mut now = T0;
        let mut open: BTreeSet<RequestId> = BTreeSet::new();
        let mut leases: BTreeMap<TunnelId, u32> = BTreeMap::new();
        for (step, call) in calls.into_iter().enumerate() {
            match call {
                Call::Acquire(key) => {
                    let request = RequestId(step as u64);
                    open.insert(request);
                    pool.acquire(now, request, key);
                }
                Call::Cancel(request) => {
                    open.remove(&RequestId(request));
                    pool.cancel(now, RequestId(request));
                }
                Call::Release(tunnel) => {
                    if let Some(count) = leases.get_mut(&TunnelId(tunnel)) {
                        *count = count.saturating_sub(1);
                    }
                    pool.release(now, TunnelId(tunnel));
                }
                Call::Dialed(tunnel, result) => pool.handle_dialed(now, TunnelId(tunnel), result),
                Call::Limit(tunnel, limit) => pool.handle_limit(now, TunnelId(tunnel), limit),
                Call::GoAway(tunnel) => pool.handle_goaway(now, TunnelId(tunnel)),
                Call::Closed(tunnel) => {
                    leases.remove(&TunnelId(tunnel));
                    pool.handle_closed(now, TunnelId(tunnel));
                }
                Call::Later(seconds) => {
                    now = now + Duration::from_secs(seconds);
                    pool.handle_timeout(now);
                }
                Call::Drain => pool.drain(now),
            }
            for event in drained(&mut pool) {
                match event {
                    PoolEvent::Granted { request, tunnel } => {
                        prop_assert!(open.remove(&request), "{request:?} answered twice or not asked");
                        *leases.entry(tunnel).or_default() += 1;
                    }
                    PoolEvent::Refused { request, .. } => prop_assert!(open.remove(&request)),
                    PoolEvent::Close { tunnel, .. } => {
                        prop_assert_eq!(leases.remove(&tunnel).unwrap_or(0), 0, "a lease was cut");
                    }
                    PoolEvent::Dial { .. } => prop_assert_eq!(pool.phase, Phase::Open),
                    PoolEvent::Drained => prop_assert_eq!(pool.tunnels(), 0),
                }
            }
            prop_assert_eq!(pool.waiting(), open.len());
            prop_assert!(pool.tunnels() <= 6);
            for (key, state) in &pool.keys {
                prop_assert!(state.queue.is_empty() || state.dial.is_some(), "{} waits without a dial", key);
            }
            for (tunnel, count) in &leases {
                prop_assert_eq!(pool.leases(*tunnel), *count);
            }
        }
        now = now + IDLE;
        pool.handle_timeout(now);
        prop_assert_eq!(pool.poll_timeout(), None);
        if open.is_empty() && pool.tunnels() == 0 {
            prop_assert!(pool.keys.is_empty() && pool.waiting.is_empty() && pool.idle.is_empty());
        }
    }
}
