//! Cases of Gateway API's *gateway* suite with a service in place of the gateway (conformance.md §1.3), by their names there: those of
//! which a table of requests and answers does not say all. Left out is what needs a listener: hosts and certificates of listeners,
//! attachment, grants for references to them.
mod connections;
mod failures;
mod filters;
mod mirrors;
mod resilience;

use std::sync::LazyLock;

use adit_waypoint::demo::world::Plan;

use super::rig::{Reply, Rig};

/// Services that routes are for, each with all three applications behind.
const PARENTS: [&str; 6] = ["own-filters", "cors", "mirror", "mirrors", "percent", "retries"];

/// One mesh for all cases: each has services of its own.
static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let with = |own: &'static str| [&PARENTS[..], &[own]].concat();
    let plan = Plan {
        clients: vec!["web", "shop.consumer"],
        apps: vec![("v1", with("echo-v1")), ("v2", with("echo-v2")), ("v3", with("echo-v3"))],
        ports: vec![80, 8080],
        threads: 2,
        ..Plan::default()
    };
    let manifests = [filters::manifests(), mirrors::manifests(), resilience::manifests()];
    let rig = Rig::new(&plan, &manifests.concat());
    assert!(rig.world.problems.is_empty(), "{:#?}", rig.world.problems);
    rig
});

fn get(service: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    RIG.get(service, path, headers)
}
