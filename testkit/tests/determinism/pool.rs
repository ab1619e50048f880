//! A pool under random calls.
use std::time::Duration;

use adit_core::pool::{Pool, PoolConfig, PoolEvent, RequestId, TunnelId};
use adit_core::rng::Rng;
use adit_core::time::Instant;

use super::Digest;

const CALLS: usize = 5_000;

/// Calls a pool at random and writes down what it says.
pub(crate) fn run(seed: u64, digest: &mut Digest) {
    let mut rng = Rng::new(seed);
    let mut now = Instant::from_millis(1);
    let mut pool: Pool<u64, &str> =
        Pool::new(PoolConfig { max_streams: 3, idle: Duration::from_secs(5), max_tunnels: 4 });
    let (mut tunnels, mut leases): (Vec<TunnelId>, Vec<TunnelId>) = (Vec::new(), Vec::new());
    for call in 0..CALLS {
        let tunnel = pick(&mut rng, &tunnels);
        match rng.below(9) {
            0..=2 => pool.acquire(now, RequestId(call as u64), rng.below(3)),
            3 => pool.handle_dialed(now, tunnel, Ok(u32::try_from(rng.below(4)).expect("small"))),
            4 => pool.handle_dialed(now, tunnel, Err("refused")),
            5 if !leases.is_empty() => {
                let lease = usize::try_from(rng.below(leases.len() as u64)).expect("an index");
                pool.release(now, leases.swap_remove(lease));
            }
            6 if rng.below(10) == 0 => pool.handle_goaway(now, tunnel),
            7 if rng.below(10) == 0 => pool.handle_closed(now, tunnel),
            _ => {
                now = now + Duration::from_millis(rng.below(900));
                pool.handle_timeout(now);
            }
        }
        while let Some(event) = pool.poll_event() {
            digest.said(&event);
            match event {
                PoolEvent::Dial { tunnel, .. } => tunnels.push(tunnel),
                PoolEvent::Granted { tunnel, .. } => leases.push(tunnel),
                PoolEvent::Close { tunnel, .. } => {
                    tunnels.retain(|other| *other != tunnel);
                    leases.retain(|other| *other != tunnel);
                }
                PoolEvent::Refused { .. } | PoolEvent::Drained => {}
            }
        }
        digest.said(&(pool.poll_timeout(), pool.tunnels(), pool.waiting()));
    }
}

fn pick(rng: &mut Rng, tunnels: &[TunnelId]) -> TunnelId {
    let index = usize::try_from(rng.below(tunnels.len() as u64)).expect("an index");
    tunnels.get(index).copied().unwrap_or(TunnelId(u64::MAX))
}
