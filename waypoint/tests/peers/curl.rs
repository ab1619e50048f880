//! curl, in HTTP/1.1 and in HTTP/2 with prior knowledge.
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
    for (version, named) in VERSIONS {
        let curl = Curl::new("several", "echo", version);
        let each = "%{http_code} %{http_version} %{num_connects}\\n";
        let out = [
            "-w",
            each,
            "http://echo/a",
            "-o",
            "/dev/null",
            "http://echo/b?c",
            "-o",
            "/dev/null",
            "http://echo/d",
            "-o",
            "/dev/null",
        ];
        assert_eq!(curl.run(&out).text(), format!("200 {named} 1\n200 {named} 0\n200 {named} 0\n"));
    }
}

#[test]
fn streams_run_beside_each_other() {
    let curl = Curl::new("parallel", "echo", "--http2-prior-knowledge");
    let each = "%{http_code} %{size_download}\\n";
    let from = "http://echo/parallel?[1-40]";
    let ran = curl.run(&[
        "-Z",
        "--parallel-max",
        "40",
        "-H",
        "x-app-size: 100000",
        "-w",
        each,
        "-o",
        "/dev/null",
        from,
    ]);
    assert_eq!(ran.text(), "200 100000\n".repeat(40));
}

#[test]
fn uploads_arrive_whole_and_are_sent_back() {
    // Letters only, as the application sends them back within JSON.
    let body: Vec<u8> = octets(3 << 20).into_iter().map(|octet| b'a' + octet % 26).collect();
    for (version, named) in VERSIONS {
        let curl = Curl::new("uploads", "echo", version);
        let file = curl.file("body", &body);
        let from = format!("@{file}");
        for (way, arguments) in [
            ("sized", vec!["--data-binary", &from, "-H", "expect:"]),
            (
                "expecting",
                vec!["--data-binary", &from, "-H", "expect: 100-continue", "--expect100-timeout", "60", "-v"],
            ),
            ("chunked", vec!["-T", &file, "-H", "transfer-encoding: chunked", "-H", "expect:"]),
        ] {
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
            if way == "expecting" {
                let told = ran.stderr.lines().any(|line| line.starts_with(&format!("< HTTP/{named} 100")));
                assert!(told, "{target}: {}", ran.stderr);
            }
        }
    }
}

#[test]
fn large_downloads_arrive_whole() {
    const SIZE: usize = 32 << 20;
    for (version, named) in VERSIONS {
        let curl = Curl::new("downloads", "echo", version);
        let ran = curl.run(&["-H", &format!("x-app-size: {SIZE}"), &format!("http://echo/download-{named}")]);
        assert!(ran.stdout == octets(SIZE), "{} octets by {version}", ran.stdout.len());
        // Without its length, in chunks where there are such.
        let chunked = curl.run(&[
            "-D",
            "-",
            "-o",
            "/dev/null",
            "-H",
            "x-app-trailers: 1",
            "-H",
            &format!("x-app-size: {SIZE}"),
            "-w",
            "%{size_download}",
            &format!("http://echo/chunked-{named}"),
        ]);
        assert!(chunked.text().ends_with(&format!("\r\n{SIZE}")), "{}", chunked.text());
    }
}

#[test]
fn a_head_has_no_body_and_leaves_the_connection_usable() {
    for (version, named) in VERSIONS {
        let curl = Curl::new("head", "echo", version);
        let ran = curl.run(&[
            "-I",
            "-H",
            "x-app-size: 1234",
            "http://echo/head",
            "-w",
            "%{num_connects} %{size_download}\\n",
            "http://echo/head",
        ]);
        let text = ran.text().to_ascii_lowercase();
        assert_eq!(text.matches(&format!("http/{named} 200")).count(), 2, "{text}");
        assert_eq!(text.matches("content-length: 1234\r\n").count(), 2, "{text}");
        assert!(text.contains("1 0\n") && text.ends_with("0 0\n"), "{text}");
    }
}

#[test]
fn redirects_are_followed() {
    for (version, named) in VERSIONS {
        let curl = Curl::new("redirects", "echo", version);
        let target = format!("/old/{named}?x=y");
        let ran = curl.run(&[
            "-L",
            "-w",
            "%{num_redirects} %{http_code} %{url_effective}",
            "-o",
            "/dev/null",
            &format!("http://echo{target}"),
        ]);
        assert_eq!(ran.text(), format!("1 200 http://echo/new/{named}?x=y"));
        assert_eq!(seen(&format!("/new/{named}?x=y")).host, "echo");
    }
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
