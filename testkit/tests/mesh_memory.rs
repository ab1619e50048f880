//! What the mesh's tables cost in memory, by counted allocation: octets asked for, not what the system hands out.
//!
//! A test binary of its own, because the counter sees the whole process. `MESH_WORKLOADS=100000` measures the size that
//! the bar is about; the figure per workload hardly depends on it.
use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use adit_core::mesh::{Change, Mesh};
use adit_testkit::sim::cluster::{service, workload};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Replicas behind each service.
const REPLICAS: usize = 20;
/// Octets per workload, its share of services and all indexes included.
const BAR: usize = 700;

#[test]
fn a_workload_with_all_its_indexes_fits_and_loading_needs_little_more() {
    let workloads = env::var("MESH_WORKLOADS").map_or(20_000, |n| n.parse().unwrap());
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let started = Instant::now();
    let mut mesh = Mesh::empty("network-1".into());
    for n in 0..workloads {
        mesh.apply(Change::Workload(workload(n, REPLICAS))).unwrap();
        if n % REPLICAS == 0 {
            mesh.apply(Change::Service(service(n / REPLICAS))).unwrap();
        }
    }
    let took = started.elapsed();
    let held = HELD.load(Ordering::Relaxed) - before;
    let peak = PEAK.load(Ordering::Relaxed) - before;
    println!(
        "{workloads} workloads, {} services: {} octets per workload, peak {:.3} of that, loaded in {took:?}",
        workloads / REPLICAS,
        held / workloads,
        peak as f64 / held as f64,
    );
    assert_eq!(mesh.workload_count(), workloads);
    assert!(held / workloads <= BAR, "{} octets per workload", held / workloads);
    assert!(peak * 10 <= held * 12, "peak {peak} of {held} octets");

    // A change beside a copy that is still in use costs a few nodes, not the size of the mesh.
    let copy = mesh.clone();
    let before = HELD.load(Ordering::Relaxed);
    let mut changed = workload(workloads / 2, REPLICAS);
    changed.capacity = 7;
    mesh.apply(Change::Workload(changed)).unwrap();
    let cost = HELD.load(Ordering::Relaxed) - before;
    println!("one change beside a copy: {cost} octets");
    assert!(cost < 40_000, "one change copied {cost} octets");
    drop(copy);

    // The same again and again leaves nothing behind.
    for round in 0..3 {
        for n in (0..workloads).step_by(10) {
            let mut changed = workload(n, REPLICAS);
            changed.canonical_revision = format!("revision-{round}-{n}").into();
            mesh.apply(Change::Workload(changed)).unwrap();
        }
    }
    let grown = HELD.load(Ordering::Relaxed) - before;
    assert!(grown / workloads <= BAR / 10, "{} octets more per workload", grown / workloads);
    for n in 0..workloads {
        mesh.apply(Change::RemoveWorkload(workload(n, REPLICAS).uid)).unwrap();
    }
    let left = HELD.load(Ordering::Relaxed).saturating_sub(before - held);
    println!("{left} octets left with services only");
    assert!(left * 5 <= held, "{left} of {held} octets are left without workloads");
}
