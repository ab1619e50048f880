//! How many tunnels it takes: the counts of datapath §3.11, and those that are ours on purpose (docs/compatibility.md).
use super::*;

/// Asks for `count` streams under each of `keys` at once, answers every dial, and gives what each tunnel carries.
fn carried(pool: &mut TestPool, keys: &[char], count: u64, limit: u32) -> Vec<u32> {
    let first = pool.next;
    let mut events = Vec::new();
    for (n, key) in (0..).zip(keys) {
        for request in 0..count {
            events.extend(acquire(pool, n * 1_000_000 + request, *key));
        }
    }
    while let Some(event) = events.pop() {
        match event {
            PoolEvent::Dial { tunnel, .. } => events.extend(dialed(pool, tunnel.0, Ok(limit))),
            PoolEvent::Granted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pool.waiting(), 0);
    (first..pool.next).map(|tunnel| pool.leases(TunnelId(tunnel))).collect()
}

#[test]
fn two_at_once_and_two_later_share_a_tunnel() {
    let mut pool = pool(100, 10);
    assert_eq!(carried(&mut pool, &['a'], 2, 100), [2]);
    release(&mut pool, T0, 0);
    release(&mut pool, T0, 0);
    assert_eq!(acquire(&mut pool, 7, 'a'), [granted(7, 0)]);
    assert_eq!(acquire(&mut pool, 8, 'a'), [granted(8, 0)]);
    // What nobody needs any more goes with the pool.
    release(&mut pool, T0, 0);
    release(&mut pool, T0, 0);
    pool.drain(T0);
    assert_eq!(drained(&mut pool), [close(0, CloseReason::Draining), PoolEvent::Drained]);
}

#[test]
fn three_hundred_requests_under_three_keys_need_three_tunnels() {
    assert_eq!(carried(&mut pool(100, 10), &['a', 'b', 'c'], 100, 200), [100; 3]);
}

#[test]
fn a_hundred_keys_need_a_hundred_tunnels() {
    let keys: Vec<char> = ('\u{100}'..).take(100).collect();
    assert_eq!(carried(&mut pool(100, 1000), &keys, 1, 100), [1; 100]);
}

#[test]
fn four_at_once_under_a_limit_of_two_need_two_tunnels_and_five_more_three_more() {
    let mut pool = pool(2, 10);
    assert_eq!(carried(&mut pool, &['a'], 4, 100), [2, 2]);
    assert_eq!(carried(&mut pool, &['a'], 5, 100), [2, 2, 1]);
}

/// ztunnel retires a tunnel that was full once.
#[test]
fn a_tunnel_that_was_full_is_used_again_when_its_streams_have_ended() {
    let mut pool = pool(2, 10);
    assert_eq!(carried(&mut pool, &['a'], 4, 100), [2, 2]);
    for tunnel in [0, 0, 1, 1] {
        assert_eq!(release(&mut pool, T0, tunnel), []);
    }
    assert_eq!(carried(&mut pool, &['b'], 1, 100), [1], "another key");
    assert_eq!(pool.tunnels(), 3);
    for request in 0..4 {
        let events = acquire(&mut pool, 50 + request, 'a');
        assert!(matches!(events[..], [PoolEvent::Granted { tunnel: TunnelId(0 | 1), .. }]), "{events:?}");
    }
}

#[test]
fn a_limit_of_one_means_a_tunnel_for_each() {
    assert_eq!(carried(&mut pool(1, 10), &['a'], 5, 100), [1; 5]);
}

#[test]
fn a_hundred_requests_fit_under_a_limit_of_one_hundred_and_one() {
    assert_eq!(carried(&mut pool(101, 10), &['a'], 100, 200), [100]);
}

#[test]
fn a_long_stream_outlives_the_idle_time_and_what_does_not_fit_gets_another_tunnel() {
    let mut pool = pool(1, 10);
    assert_eq!(carried(&mut pool, &['a'], 1, 100), [1]);
    pool.handle_timeout(T0 + 10 * IDLE);
    assert_eq!((drained(&mut pool), pool.leases(TunnelId(0))), (Vec::new(), 1));
    assert_eq!(acquire(&mut pool, 9, 'a'), [dial(1, 'a')]);
    assert_eq!(dialed(&mut pool, 1, Ok(100)), [granted(9, 1)]);
    release(&mut pool, T0 + 10 * IDLE, 0);
    pool.handle_timeout(T0 + 11 * IDLE);
    assert_eq!(drained(&mut pool), [close(0, CloseReason::Idle)]);
}
