//! The mesh cases of Gateway API's conformance suite (`MESH-HTTP`, `MESH-GRPC`) over real sockets, by their names there, and in
//! `gateway` those of gateways that a mesh has a counterpart for. Unlike the
//! suite's own runner, these also compare the path that an application is asked for, and where a redirect leads.
#[path = "../rig/mod.rs"]
mod rig;

mod basic;
mod gateway;
mod grpc;
mod headers;
mod matching;
mod redirects;
mod rewrite;

use std::sync::LazyLock;

use adit_waypoint::demo::world::Plan;
use rig::{Reply, Rig};

/// Services that routes are for, each with both versions behind.
const PARENTS: [&str; 22] = [
    "echo",
    "split",
    "host-a",
    "host-b",
    "ports",
    "ports-all",
    "named",
    "simple",
    "weight",
    "matching",
    "query",
    "headers",
    "backend-headers",
    "rewrite",
    "to-host",
    "to-path",
    "to-port",
    "to-scheme",
    "to-status",
    "grpc-headers",
    "grpc-weight",
    "grpc-methods",
];

/// One mesh for all cases: each has services of its own.
static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let with = |own: &[&'static str]| [&PARENTS[..], own].concat();
    let plan = Plan {
        clients: vec!["web", "shop.consumer"],
        apps: vec![("v1", with(&["echo-v1", "consumed"])), ("v2", with(&["echo-v2", "front"]))],
        ports: vec![80, 8080],
        threads: 2,
        ..Plan::default()
    };
    let manifests = [
        basic::manifests(),
        grpc::manifests(),
        headers::manifests(),
        matching::manifests(),
        redirects::manifests(),
        rewrite::manifests(),
    ];
    let rig = Rig::new(&plan, &manifests.concat());
    assert!(rig.world.problems.is_empty(), "{:#?}", rig.world.problems);
    rig
});

/// Asks `service` for `path`.
fn get(service: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    RIG.get(service, path, headers)
}
