//! nghttp and h2load: nghttp2's clients.
use std::process::Command;
use std::sync::LazyLock;

use adit_testkit::foreign::{Folder, Ran, run};
use adit_waypoint::demo::app::octets;
use serde_json::Value;

use super::rig::{PATIENCE, Rig, echo};

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::new(&echo(), ""));

const PACKAGE: &str = "the package nghttp2-client";

/// Runs one of them against a path of the service `echo-v1`.
fn ask(program: &str, folder: &Folder, arguments: &[&str], path: &str) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments).arg(format!("http://{}{path}", RIG.entry("echo-v1", 80)));
    let ran = run(&mut command, PACKAGE, &folder.0, PATIENCE);
    assert!(ran.status.success(), "{program} {arguments:?}: {}\n{}", ran.text(), ran.stderr);
    ran
}

fn nghttp(folder: &Folder, arguments: &[&str], path: &str) -> Ran {
    ask("nghttp", folder, arguments, path)
}

/// How many answers had that status, as `-v` tells.
fn answers(ran: &Ran, status: u16) -> usize {
    let told = format!(":status: {status}");
    ran.text().lines().filter(|line| line.contains("recv (") && line.ends_with(&told)).count()
}

fn file(folder: &Folder, content: &[u8]) -> String {
    folder.file("body", content).to_str().unwrap().to_owned()
}

#[test]
fn streams_of_one_connection_are_answered() {
    let folder = Folder::new("nghttp-streams");
    let ran = nghttp(&folder, &["-nv", "-m", "20", "-H", "x-app-size: 50000"], "/streams");
    assert_eq!(answers(&ran, 200), 20, "{}", ran.text());
    assert_eq!(RIG.seen("v1", "/streams").len(), 20);
    // With weights and dependencies, which nobody has to follow, and without.
    let ran = nghttp(&folder, &["-nv", "-m", "5", "--no-dep"], "/no-dep");
    assert_eq!(answers(&ran, 200), 5, "{}", ran.text());
}

#[test]
fn bodies_trailers_and_expectations_arrive() {
    let folder = Folder::new("nghttp-bodies");
    let body: Vec<u8> = octets(300_000).into_iter().map(|octet| b'a' + octet % 26).collect();
    let file = file(&folder, &body);
    for (path, more) in [
        ("/sized", vec![]),
        ("/unsized", vec!["--no-content-length"]),
        ("/padded", vec!["-b", "255"]),
        ("/trailers", vec!["--trailer", "x-end: 1", "-H", "te: trailers"]),
    ] {
        let ran = nghttp(&folder, &[&["-d", &file][..], &more].concat(), path);
        let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!((&told["method"], &told["version"]), (&"POST".into(), &"HTTP/2.0".into()));
        assert!(told["body"].as_str().map(str::as_bytes) == Some(&body[..]), "{path}");
        let [seen] = &RIG.seen("v1", path)[..] else { panic!("{path} was not seen once") };
        assert!(seen.body == body, "{path}");
        let trailers: Vec<_> =
            seen.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(trailers, if path == "/trailers" { vec![("x-end", "1")] } else { vec![] });
    }
    // Nobody tells it to go on, and it does so after a second: docs/compatibility.md.
    let ran = nghttp(&folder, &["-nv", "-d", &file, "--expect-continue"], "/expect");
    assert_eq!(answers(&ran, 200), 1, "{}", ran.text());
    let ran = nghttp(&folder, &["-nv", "-H", "x-app-trailers: 1"], "/end");
    assert!(ran.text().lines().any(|line| line.ends_with("x-app-trailer: 1")), "{}", ran.text());
}

#[test]
fn small_windows_and_large_headers_are_managed() {
    let folder = Folder::new("nghttp-windows");
    let ran = nghttp(&folder, &["-w", "10", "-W", "16", "-H", "x-app-size: 1000000"], "/windows");
    assert!(ran.stdout == octets(1_000_000), "{} octets", ran.stdout.len());
    // A head of 18 KiB, which takes frames of CONTINUATION.
    let ran = nghttp(&folder, &["-nv", "--continuation"], "/continuation");
    assert_eq!(answers(&ran, 200), 1, "{}", ran.text());
}

#[test]
fn a_thousand_requests_of_ten_clients_all_succeed() {
    let folder = Folder::new("h2load");
    let file = file(&folder, &octets(10_000));
    for (path, more) in [
        ("/load", vec!["-m", "10"]),
        ("/load-post", vec!["-m", "10", "-d", &file]),
        ("/load-h1", vec!["-m", "1", "--h1"]),
    ] {
        let ran = ask("h2load", &folder, &[&["-n", "1000", "-c", "10"][..], &more].concat(), path);
        let told = ran.text();
        let done =
            "requests: 1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(told.contains(done), "{path}: {told}");
        assert!(told.contains("status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{path}: {told}");
        assert_eq!(RIG.lines(path, 1000).len(), 1000);
    }
}
