//! What a lease costs, given and taken back, beside streams that are open already: 1, 100 and 10 000 in all.
use std::time::Duration;

use adit_core::identity::{Identity, IdentitySet};
use adit_core::pool::{Pool, PoolConfig, PoolEvent, RequestId, TunnelId, TunnelKey};
use adit_core::time::Instant;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const NOW: Instant = Instant::ZERO;
/// Streams per tunnel, as by default.
const STREAMS: u32 = 100;

type Leases = Pool<TunnelKey, ()>;

fn key() -> TunnelKey {
    let identity = |name| Identity::new("cluster.local", "default", name).expect("a valid name");
    TunnelKey {
        source: identity("client"),
        expected: IdentitySet::single(identity("server")),
        destination: ([10, 0, 0, 2], 15_008).into(),
        source_ip: Some([10, 0, 0, 1].into()),
    }
}

/// A lease for `request`; a dial that it takes succeeds at once.
fn acquire(pool: &mut Leases, request: u64, key: &TunnelKey) -> TunnelId {
    pool.acquire(NOW, RequestId(request), key.clone());
    loop {
        match pool.poll_event().expect("an answer") {
            PoolEvent::Dial { tunnel, .. } => pool.handle_dialed(NOW, tunnel, Ok(STREAMS)),
            PoolEvent::Granted { tunnel, .. } => return tunnel,
            other => panic!("no lease: {other:?}"),
        }
    }
}

fn leases(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pool");
    let key = key();
    for streams in [1, 100, 10_000] {
        let config = PoolConfig { max_streams: STREAMS, idle: Duration::from_secs(300), max_tunnels: 10_000 };
        let mut pool = Leases::new(config);
        // One place is left, in the tunnel made last.
        let tunnels: Vec<_> = (1..streams).map(|request| acquire(&mut pool, request, &key)).collect();
        group.bench_function(BenchmarkId::new("acquire_release", streams), |bencher| {
            bencher.iter(|| {
                let tunnel = acquire(&mut pool, 0, &key);
                pool.release(NOW, tunnel);
            });
        });
        assert_eq!(pool.tunnels() as u64, streams.div_ceil(u64::from(STREAMS)), "{}", tunnels.len());
    }
    group.finish();
}

criterion_group!(benches, leases);
criterion_main!(benches);
