//! What the header block of a CONNECT costs, to write and to read: a bare one, and one with all we ever send.
use std::hint::black_box;

use adit_core::hbone::{Authority, ConnectRequest, Forwarded, TraceParent};
use adit_core::http2::Field;
use adit_core::http2::hpack::{Decoder, Limits, encode};
use adit_core::identity::Identity;
use adit_core::mesh::Workload;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// What a server allows by default.
const LIMITS: Limits = Limits { list_size: 16_384, fields: 128 };

fn bare() -> ConnectRequest {
    let authority = Authority::Address(([10, 0, 0, 2], 8080).into());
    ConnectRequest { authority, baggage: None, forwarded: None, traceparent: None, forwarded_network: None }
}

fn whole() -> ConnectRequest {
    let identity = Identity::new("cluster.local", "default", "web").expect("a valid name");
    let mut workload = Workload::new("Kubernetes//Pod/default/web-0", "web-0", identity);
    workload.workload_name = "web".into();
    workload.canonical_name = "web".into();
    workload.canonical_revision = "v1".into();
    let host = "echo.default.svc.cluster.local".into();
    ConnectRequest {
        baggage: Some(workload.baggage()),
        forwarded: Some(Forwarded { source: Some(([10, 0, 0, 1], 40_000).into()), host: Some(host) }),
        traceparent: Some(TraceParent { trace_id: 0x0af7_6519_16cd_43dd, span_id: 0xb7ad_6b71, flags: 1 }),
        ..bare()
    }
}

fn write(fields: &[Field], block: &mut Vec<u8>) {
    block.clear();
    encode(fields.iter().map(|field| (&*field.name, &*field.value)), block);
}

fn hpack(criterion: &mut Criterion) {
    for (name, request) in [("bare", bare()), ("whole", whole())] {
        let fields = request.to_fields();
        let mut block = Vec::new();
        write(&fields, &mut block);
        let mut group = criterion.benchmark_group("hpack");
        group.throughput(Throughput::Bytes(block.len() as u64));
        group.bench_function(BenchmarkId::new("encode", name), |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| write(black_box(&fields), &mut out));
        });
        let mut decoder = Decoder::new(4096);
        assert_eq!(decoder.decode(&block, LIMITS), Ok(Some(fields)));
        group.bench_function(BenchmarkId::new("decode", name), |bencher| {
            bencher.iter(|| decoder.decode(black_box(&block), LIMITS));
        });
        group.finish();
    }
}

criterion_group!(benches, hpack);
criterion_main!(benches);
