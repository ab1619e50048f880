//! What routes cost a waypoint in memory, by counted allocation: the objects that are kept for the next change, and what requests
//! are decided by.
//!
//! A test binary of its own, because the counter sees the whole process. `ROUTES=10000` measures the size of the benchmark;
//! the figure per route hardly depends on it.
use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use adit_control::resources::{Objects, World, compile, documents};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
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

/// Octets of an object that is kept.
const OBJECT: usize = 2_000;
/// Octets of what becomes of it.
const COMPILED: usize = 4_000;

/// A route by a prefix and a header of its own, to one of two backends.
fn route(number: usize) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: route-{number}, namespace: shop, labels: {{app.kubernetes.io/name: shop}}}}\n\
         spec:\n  parentRefs: [{{group: '', kind: Service, name: web, port: 80}}]\n  rules:\n\
         \x20 - matches: [{{path: {{type: PathPrefix, value: /teams/{number}}}, headers: [{{name: x-team, value: team-{number}}}]}}]\n\
         \x20   backendRefs: [{{name: web-v1, port: 80, weight: 9}}, {{name: web-v2, port: 80, weight: 1}}]\n"
    )
}

#[test]
fn a_route_fits_and_so_does_what_becomes_of_it() {
    let routes = env::var("ROUTES").map_or(1_000, |n| n.parse().unwrap());
    let held = || HELD.load(Ordering::Relaxed);
    let before = held();
    let read = |number| documents::read(&route(number), false).unwrap().into_iter().map(Arc::new);
    let objects: Objects = (0..routes).flat_map(read).collect();
    let kept = (held() - before) / routes;
    let (before, started) = (held(), Instant::now());
    let compiled = compile(&objects, &World::new("shop", "waypoint"));
    let took = started.elapsed();
    let made = (held() - before) / routes;
    println!("{routes} routes: {kept} octets kept and {made} made of each, in {took:?}");
    assert_eq!(compiled.statuses.len(), routes);
    assert!(kept <= OBJECT, "{kept} octets are kept of a route");
    assert!(made <= COMPILED, "{made} octets are made of a route");
}
