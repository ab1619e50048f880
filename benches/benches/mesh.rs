//! What the mesh's tables cost with 100 000 workloads and 5 000 services: look-ups, one change, one copy.
//!
//! The bar for a look-up is 1 µs. Keys are drawn from all over the tables, so most of what is read is in no cache.
use std::env;
use std::hint::black_box;

use adit_core::mesh::{Change, Mesh};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

use cluster::{pod_ip, service, service_name, vip, workload};

#[expect(unreachable_pub, reason = "public where it belongs: testkit")]
#[path = "../../testkit/src/sim/cluster.rs"]
mod cluster;

const REPLICAS: usize = 20;
const NETWORK: &str = "network-1";

fn load(workloads: usize) -> Mesh {
    let mut mesh = Mesh::empty(NETWORK.into());
    let pods = (0..workloads).map(|n| Change::Workload(workload(n, REPLICAS)));
    let services = (0..workloads / REPLICAS).map(|n| Change::Service(service(n)));
    pods.chain(services).for_each(|change| mesh.apply(change).expect("a consistent entry"));
    mesh
}

/// Numbers below `end` all over the place, always the same.
fn scattered(end: usize) -> impl Iterator<Item = usize> {
    (0..4096_usize).map(move |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % end)
}

fn mesh(criterion: &mut Criterion) {
    // Run as a test it only has to run.
    let workloads = if env::args().any(|argument| argument == "--bench") { 100_000 } else { 2000 };
    let mut mesh = load(workloads);
    let mut group = criterion.benchmark_group("mesh");

    let addresses: Vec<_> = scattered(workloads).map(pod_ip).collect();
    let mut next = addresses.iter().cycle();
    group.bench_function("workload_by_address", |bencher| {
        bencher.iter(|| mesh.workload_by_address(NETWORK, *next.next()?).map(|found| found.capacity));
    });
    let uids: Vec<_> = scattered(workloads).map(|n| workload(n, REPLICAS).uid).collect();
    let mut next = uids.iter().cycle();
    group.bench_function("workload", |bencher| {
        bencher.iter(|| mesh.workload(next.next()?).map(|found| found.capacity));
    });
    let vips: Vec<_> = scattered(workloads / REPLICAS).map(vip).collect();
    let mut next = vips.iter().cycle();
    group.bench_function("service_by_vip", |bencher| {
        bencher.iter(|| mesh.service_by_vip(NETWORK, *next.next()?, "other").map(|found| found.canonical));
    });
    // As a connection to somewhere outside the mesh asks.
    group.bench_function("service_by_vip_unknown", |bencher| {
        bencher.iter(|| mesh.service_by_vip(NETWORK, black_box(pod_ip(1)), "other").is_some());
    });
    let names: Vec<_> = scattered(workloads / REPLICAS).map(service_name).collect();
    let mut next = names.iter().cycle();
    group.bench_function("service_by_hostname", |bencher| {
        bencher
            .iter(|| mesh.service_by_hostname(&next.next()?.hostname, "other").map(|found| found.canonical));
    });
    let mut next = names.iter().cycle();
    group.bench_function("endpoints_of_20", |bencher| {
        bencher.iter(|| next.next().map(|name| mesh.endpoints(name).len()));
    });

    group.bench_function("copy", |bencher| bencher.iter_with_large_drop(|| mesh.clone()));
    let change = |n, capacity| {
        let mut workload = workload(n, REPLICAS);
        workload.capacity = capacity;
        Change::Workload(workload)
    };
    let mut round = 1;
    let mut changes = || {
        round += 1;
        change(round as usize * 7919 % workloads, round)
    };
    group.bench_function("change_in_place", |bencher| {
        bencher.iter_batched(&mut changes, |change| mesh.apply(change), BatchSize::SmallInput);
    });
    group.bench_function("change_beside_a_copy", |bencher| {
        bencher.iter_batched(
            &mut changes,
            |change| {
                let copy = mesh.clone();
                mesh.apply(change).map(|()| copy)
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, mesh);
criterion_main!(benches);
