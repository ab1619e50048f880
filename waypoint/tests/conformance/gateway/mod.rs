//! Cases of Gateway API's *gateway* suite with a service in place of the gateway (conformance.md §1.3), by their names there. Left
//! out is what needs a listener: hosts and certificates of listeners, attachment, grants for references to them.
mod connections;
mod failures;
mod filters;
mod grpc;
mod matching;
mod mirrors;
mod resilience;

use std::sync::LazyLock;

use adit_waypoint::demo::world::Plan;

use super::rig::{Reply, Rig};

/// Services that routes are for, each with all three applications behind.
const PARENTS: [&str; 22] = [
    "exact",
    "headers",
    "across",
    "method",
    "query",
    "order",
    "age",
    "named",
    "to-port",
    "to-port-and-scheme",
    "rewrite-host",
    "response-headers",
    "own-filters",
    "cors",
    "mirror",
    "mirrors",
    "percent",
    "timeouts",
    "retries",
    "grpc-exact",
    "grpc-headers",
    "cross",
];

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
    let manifests = [
        matching::manifests(),
        filters::manifests(),
        mirrors::manifests(),
        resilience::manifests(),
        grpc::manifests(),
    ];
    let rig = Rig::new(&plan, &manifests.concat());
    assert!(rig.world.problems.is_empty(), "{:#?}", rig.world.problems);
    rig
});

fn get(service: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    RIG.get(service, path, headers)
}

/// A rule for what `matches` say, to `app`.
fn rule(matches: &str, app: &str) -> String {
    format!("  - matches: [{matches}]\n    backendRefs: [{{ name: echo-{app}, port: 80 }}]\n")
}

/// Asks for each path by a method, with headers; compares who answers and what it was asked for. Nobody: 404.
fn check(service: &str, cases: &[(&str, &str, &[(&str, &str)], Option<&str>)]) {
    for (method, path, headers, app) in cases {
        let reply = RIG.client(service, 80).ask(method, path, headers, b"");
        match app {
            Some(app) => {
                let told = (reply.status, reply.app(), reply.path(), reply.told()["method"].clone());
                let expected = (200, (*app).to_owned(), (*path).to_owned(), (*method).into());
                assert_eq!(told, expected, "{method} {path} {headers:?}");
            }
            None => assert_eq!(reply.status, 404, "{method} {path} {headers:?}"),
        }
    }
}
