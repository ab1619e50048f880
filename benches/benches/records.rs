//! What protecting a record costs: sealed by one session and opened by another, ours in place against rustls's.
//!
//! `in_place` is ours over aws-lc-rs, `in_place_ring` over ring (`--features ring`), `rustls` is rustls's own record layer,
//! which allocates and copies each record. All negotiate the same suite, AES-256-GCM where the CPU has AES.
mod common;

use std::hint::black_box;
use std::sync::Arc;

use adit_core::tls::{Aead, HEADROOM, Input, RecordMode, Session, TAILROOM};
use adit_runtime::crypto;
use common::sessions;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Hands what `from` has to say on its own account to `to`.
fn transfer(from: &mut Session, to: &mut Session) -> bool {
    let mut records = Vec::new();
    from.poll_transmit(&mut records);
    let moved = !records.is_empty();
    let mut rest = records.as_mut_slice();
    while !rest.is_empty() {
        let len = Session::record_len(rest).expect("a good header").expect("a whole record");
        let (record, behind) = rest.split_at_mut(len);
        to.handle_record(record).expect("a good record");
        rest = behind;
    }
    moved
}

fn established(mode: RecordMode, aead: &Arc<dyn Aead>) -> [Session; 2] {
    let [mut client, mut server] = sessions(mode, aead);
    while transfer(&mut client, &mut server) | transfer(&mut server, &mut client) {}
    assert!(client.is_established() && server.is_established());
    [client, server]
}

/// What is compared: a name, who protects the records, and with which library.
fn contestants() -> Vec<(&'static str, RecordMode, Arc<dyn Aead>)> {
    vec![
        ("in_place", RecordMode::InPlace, crypto::aead()),
        #[cfg(feature = "ring")]
        ("in_place_ring", RecordMode::InPlace, Arc::new(crypto::RingAead)),
        ("rustls", RecordMode::Rustls, crypto::aead()),
    ]
}

fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("records");
    for payload in [64, 256, 1024, 4096, 16_384] {
        group.throughput(Throughput::Bytes(payload as u64));
        for (name, mode, aead) in contestants() {
            let [mut client, mut server] = established(mode, &aead);
            let mut record = vec![0; HEADROOM + payload + TAILROOM];
            group.bench_function(BenchmarkId::new(name, payload), |bencher| {
                bencher.iter(|| {
                    client.seal(&mut record).expect("sealed");
                    let opened = server.handle_record(black_box(&mut record)).expect("opened");
                    assert_eq!(opened, Input::Data(HEADROOM..HEADROOM + payload));
                    // A key update falls due in the millions of records that a long run takes.
                    if client.wants_transmit() {
                        transfer(&mut client, &mut server);
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, records);
criterion_main!(benches);
