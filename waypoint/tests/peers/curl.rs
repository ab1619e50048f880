//! curl, in HTTP/1.1 and in HTTP/2 with prior knowledge.
//!
//! In HTTP/2 each request has a curl of its own: that of Debian 12 (7.88) breaks a connection off when it is to use it once more,
//! whoever the server is. Several streams of one connection are [`nghttp2`](super::nghttp2)'s business.
use std::net::SocketAddr;
use std::process::Command;
use std::sync::LazyLock;

use adit_testkit::foreign::{Folder, Ran, run};
use adit_waypoint::demo::app::{Seen, octets};
use serde_json::Value;

use super::rig::{PATIENCE, Rig, echo, route};

const RULES: &str = "  rules:
  - matches: [{ path: { value: /old } }]
    filters: [{ type: RequestRedirect, requestRedirect: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }]
  - backendRefs: [{ name: echo, port: 80 }]
";

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::new(&echo(), &route("HTTPRoute", "curl", "echo", RULES)));

/// What curl is told of each version, and what it then calls it.
const VERSIONS: [(&str, &str); 2] = [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")];

/// curl at work for one test.
struct Curl {
    folder: Folder,
    entry: SocketAddr,
    version: &'static str,
}

impl Curl {
    fn new(test: &str, service: &str, version: &'static str) -> Self {
        let folder = Folder::new(&format!("curl-{test}{version}"));
        Self { folder, entry: RIG.entry(service, 80), version }
    }

    /// Runs it; every host that it is to ask is behind the entry.
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("curl");
        // No configuration of whoever runs this, no proxy.
        command.args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--path-as-is"]);
        command.args(["--connect-to", &format!("::{}", self.entry), self.version]).args(arguments);
        let ran = run(&mut command, "the package curl", &self.folder.0, PATIENCE);
        assert!(ran.status.success(), "{}: {}", self.version, ran.stderr);
        ran
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        self.folder.file(name, content).to_str().unwrap().to_owned()
    }
}

/// The one request for `target` that any application has seen.
fn seen(target: &str) -> Seen {
    let mut seen = [RIG.seen("v1", target), RIG.seen("v2", target)].concat();
    assert_eq!(seen.len(), 1, "{target}");
    seen.remove(0)
}

#[test]
fn several_urls_share_a_connection() {
    let curl = Curl::new("several", "echo", "--http1.1");
    let each = "%{http_code} %{num_connects}\\n";
    let (a, b, c) = ("http://echo/a", "http://echo/b?c", "http://echo/d");
    let ran = curl.run(&["-w", each, a, "-o", "/dev/null", b, "-o", "/dev/null", c, "-o", "/dev/null"]);
    assert_eq!(ran.text(), "200 1\n200 0\n200 0\n");
}

#[test]
fn many_connections_are_served_beside_each_other() {
    let curl = Curl::new("parallel", "echo", "--http1.1");
    let each = "%{http_code} %{size_download}\\n";
    let more = ["-Z", "--parallel-max", "40", "--parallel-immediate", "-H", "x-app-size: 100000"];
    let to = ["-w", each, "-o", "/dev/null", "http://echo/parallel?[1-40]"];
    assert_eq!(curl.run(&[&more[..], &to].concat()).text(), "200 100000\n".repeat(40));
}

#[test]
fn uploads_arrive_whole_and_are_sent_back() {
    // Letters only, as the application sends them back within JSON.
    let body: Vec<u8> = octets(3 << 20).into_iter().map(|octet| b'a' + octet % 26).collect();
    for (version, named) in VERSIONS {
        let curl = Curl::new("uploads", "echo", version);
        let file = curl.file("body", &body);
        let from = format!("@{file}");
        for (way, mut arguments) in [
            ("sized", vec!["--data-binary", &from, "-H", "expect:"]),
            ("expecting", vec!["--data-binary", &from, "-H", "expect: 100-continue", "-v"]),
            ("chunked", vec!["-T", &file, "-H", "transfer-encoding: chunked", "-H", "expect:"]),
        ] {
            // Over HTTP/2 nobody tells it to go on: it does so by itself, after a second (docs/compatibility.md).
            let told_to_go_on = way == "expecting" && named == "1.1";
            if told_to_go_on {
                arguments.extend(["--expect100-timeout", "60"]);
            }
            let target = format!("/upload-{way}-{named}");
            let ran = curl.run(&[&arguments[..], &[&format!("http://echo{target}")]].concat());
            let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
            // Not by `assert_eq!`, which would print megabytes.
            assert!(told["body"].as_str().map(str::as_bytes) == Some(&body[..]), "{target}");
            let seen = seen(&target);
            assert!(seen.body == body, "{target}");
            let sized = seen.headers.get("content-length").map(String::as_str);
            assert_eq!(sized.is_some(), way != "chunked", "{target}: {sized:?}");
            assert_eq!(seen.method, if way == "chunked" { "PUT" } else { "POST" });
            assert_eq!(seen.version, if named == "2" { "HTTP/2.0" } else { "HTTP/1.1" });
            if told_to_go_on {
                assert!(ran.stderr.contains("< HTTP/1.1 100"), "{target}: {}", ran.stderr);
            }
        }
    }
}

#[test]
fn large_downloads_arrive_whole() {
    const SIZE: usize = 8 << 20;
    for (version, named) in VERSIONS {
        let curl = Curl::new("downloads", "echo", version);
        let ran = curl.run(&["-H", &format!("x-app-size: {SIZE}"), &format!("http://echo/download-{named}")]);
        assert!(ran.stdout == octets(SIZE), "{} octets by {version}", ran.stdout.len());
        // Without its length, in chunks where there are such.
        let (size, url) = (format!("x-app-size: {SIZE}"), format!("http://echo/chunked-{named}"));
        let ran = curl.run(&["-H", "x-app-trailers: 1", "-H", &size, &url]);
        assert!(ran.stdout == octets(SIZE), "{} octets by {version}, unsized", ran.stdout.len());
    }
}

/// Whoever answers: the application, or the waypoint (a path that is refused).
#[test]
fn a_head_has_no_body() {
    for (version, named) in VERSIONS {
        let curl = Curl::new("head", "echo", version);
        for (path, status, length) in [("/head", 200, 1234), ("/../x", 400, 19)] {
            let size = "%{size_download}";
            let ran = curl.run(&["-I", "-H", "x-app-size: 1234", "-w", size, &format!("http://echo{path}")]);
            let text = ran.text().to_ascii_lowercase();
            assert!(text.starts_with(&format!("http/{named} {status} ")), "{text}");
            assert!(text.contains(&format!("\r\ncontent-length: {length}\r\n")), "{text}");
            assert!(text.ends_with("\r\n0"), "{text}");
        }
    }
    // The next request on the connection is understood.
    let curl = Curl::new("head", "echo", "--http1.1");
    let ran = curl.run(&["-I", "-w", "%{num_connects} ", "http://echo/first", "http://echo/second"]);
    assert!(ran.text().ends_with("\r\n0 ") && ran.text().contains("\r\n1 HTTP/1.1 200"), "{}", ran.text());
}

#[test]
fn redirects_are_followed() {
    let curl = Curl::new("redirects", "echo", "--http1.1");
    let told = "%{num_redirects} %{http_code} %{url_effective}";
    let ran = curl.run(&["-L", "-w", told, "-o", "/dev/null", "http://echo/old/a?x=y"]);
    assert_eq!(ran.text(), "1 200 http://echo/new/a?x=y");
    assert_eq!(seen("/new/a?x=y").host, "echo");
    let curl = Curl::new("redirects", "echo", "--http2-prior-knowledge");
    let ran = curl.run(&["-w", "%{http_code} %{redirect_url}", "-o", "/dev/null", "http://echo/old/b"]);
    assert_eq!(ran.text(), "302 http://echo/new/b");
}

#[test]
fn trailers_of_the_application_reach_it() {
    for (version, _) in VERSIONS {
        let curl = Curl::new("trailers", "echo", version);
        let ran = curl.run(&[
            "-D",
            "-",
            "-o",
            "/dev/null",
            "-H",
            "te: trailers",
            "-H",
            "x-app-trailers: 1",
            "http://echo/trailers",
        ]);
        // Behind the empty line that ends the head.
        let head = ran.text();
        let (_, trailers) = head.split_once("\r\n\r\n").unwrap_or_default();
        assert!(trailers.contains("x-app-trailer: 1"), "{version}: {head}");
    }
}

/// HTTP/1.1 that offers HTTP/2 is answered in HTTP/1.1 (RFC 9110 §7.8 lets a server ignore an upgrade), and not sent on.
#[test]
fn an_offer_of_http2_is_passed_over() {
    let curl = Curl::new("offer", "echo", "--http2");
    let ran = curl.run(&["-w", "%{http_code} %{http_version}", "-o", "/dev/null", "http://echo/offer"]);
    assert_eq!(ran.text(), "200 1.1");
    let seen = seen("/offer").headers;
    assert!(!seen.contains_key("upgrade") && !seen.contains_key("http2-settings"), "{seen:?}");
}

#[test]
fn http_1_0_is_told_to_come_with_another() {
    let curl = Curl::new("old", "echo", "--http1.0");
    assert_eq!(curl.run(&["-w", "%{http_code}", "-o", "/dev/null", "http://echo/1.0"]).text(), "426");
}
