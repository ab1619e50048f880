//! Redirects: the status, and where they lead.
use super::rig::route;
use super::{RIG, get};

/// What the redirect says, by service and path.
const RULES: &[(&str, &str, &str)] = &[
    ("to-host", "/hostname-redirect", "hostname: example.org"),
    ("to-host", "/host-and-status", "hostname: example.org, statusCode: 301"),
    (
        "to-path",
        "/original-prefix",
        "path: { type: ReplacePrefixMatch, replacePrefixMatch: /replacement-prefix }",
    ),
    ("to-path", "/full", "path: { type: ReplaceFullPath, replaceFullPath: /full-path-replacement }"),
    (
        "to-path",
        "/path-and-host",
        "hostname: example.org, path: { type: ReplacePrefixMatch, replacePrefixMatch: /replacement-prefix }",
    ),
    (
        "to-path",
        "/path-and-status",
        "path: { type: ReplacePrefixMatch, replacePrefixMatch: /replacement-prefix }, statusCode: 301",
    ),
    (
        "to-path",
        "/full-path-and-host",
        "hostname: example.org, path: { type: ReplaceFullPath, replaceFullPath: /replacement-full }",
    ),
    (
        "to-path",
        "/full-path-and-status",
        "path: { type: ReplaceFullPath, replaceFullPath: /replacement-full }, statusCode: 301",
    ),
    ("to-port", "/port", "port: 8083"),
    ("to-port", "/port-and-host", "port: 8083, hostname: example.org"),
    ("to-port", "/port-and-status", "port: 8083, statusCode: 301"),
    ("to-port", "/port-and-host-and-status", "port: 8083, statusCode: 302, hostname: example.org"),
    ("to-scheme", "/scheme", "scheme: https"),
    ("to-scheme", "/scheme-and-host", "scheme: https, hostname: example.org"),
    ("to-scheme", "/scheme-and-status", "scheme: https, statusCode: 301"),
    ("to-scheme", "/scheme-and-host-and-status", "scheme: https, hostname: example.org, statusCode: 302"),
    ("to-status", "/303", "hostname: example.org, statusCode: 303"),
    ("to-status", "/307", "hostname: example.org, statusCode: 307"),
    ("to-status", "/308", "hostname: example.org, statusCode: 308"),
];

pub(crate) fn manifests() -> String {
    ["to-host", "to-path", "to-port", "to-scheme", "to-status"]
        .map(|service| {
            let mut rules = String::from("  rules:\n");
            for (_, path, redirect) in RULES.iter().filter(|(of, ..)| *of == service) {
                rules.push_str(&format!(
                    "  - matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]\n    filters: [{{ type: RequestRedirect, \
                     requestRedirect: {{ {redirect} }} }}]\n"
                ));
            }
            route("HTTPRoute", service, service, &rules)
        })
        .concat()
}

fn check(service: &str, cases: &[(&str, u16, &str)]) {
    for (path, status, location) in cases {
        let reply = get(service, path, &[("host", "asked.example")]);
        assert_eq!((reply.status, reply.header("location")), (*status, Some(*location)), "{path}");
        assert_eq!(reply.header("server"), Some("istio-envoy"));
    }
}

#[test]
fn mesh_http_route_redirect_host_and_status() {
    check(
        "to-host",
        &[
            ("/hostname-redirect", 302, "http://example.org/hostname-redirect"),
            ("/hostname-redirect/x?y=z", 302, "http://example.org/hostname-redirect/x?y=z"),
            ("/host-and-status", 301, "http://example.org/host-and-status"),
        ],
    );
    // The port that was asked is kept where it is not the scheme's own.
    let reply = RIG.client("to-host", 8080).ask("GET", "/hostname-redirect", &[], b"");
    assert_eq!(reply.header("location"), Some("http://example.org:8080/hostname-redirect"));
}

#[test]
fn mesh_http_route_redirect_path() {
    check(
        "to-path",
        &[
            ("/original-prefix/lemon", 302, "http://asked.example/replacement-prefix/lemon"),
            ("/original-prefix/lemon?a=b", 302, "http://asked.example/replacement-prefix/lemon?a=b"),
            ("/full/path/original", 302, "http://asked.example/full-path-replacement"),
            ("/path-and-host/lemon", 302, "http://example.org/replacement-prefix/lemon"),
            ("/path-and-status/lemon", 301, "http://asked.example/replacement-prefix/lemon"),
            ("/full-path-and-host/lemon", 302, "http://example.org/replacement-full"),
            ("/full-path-and-status/lemon", 301, "http://asked.example/replacement-full"),
        ],
    );
}

#[test]
fn mesh_http_route_redirect_port() {
    check(
        "to-port",
        &[
            ("/port", 302, "http://asked.example:8083/port"),
            ("/port-and-host", 302, "http://example.org:8083/port-and-host"),
            ("/port-and-status", 301, "http://asked.example:8083/port-and-status"),
            ("/port-and-host-and-status", 302, "http://example.org:8083/port-and-host-and-status"),
        ],
    );
}

#[test]
fn mesh_http_route_scheme_redirect() {
    check(
        "to-scheme",
        &[
            ("/scheme", 302, "https://asked.example/scheme"),
            ("/scheme-and-host", 302, "https://example.org/scheme-and-host"),
            ("/scheme-and-status", 301, "https://asked.example/scheme-and-status"),
            ("/scheme-and-host-and-status", 302, "https://example.org/scheme-and-host-and-status"),
        ],
    );
}

#[test]
fn mesh_http_route_303_redirect() {
    check("to-status", &[("/303", 303, "http://example.org/303")]);
}

#[test]
fn mesh_http_route_307_redirect() {
    check("to-status", &[("/307", 307, "http://example.org/307")]);
}

#[test]
fn mesh_http_route_308_redirect() {
    check("to-status", &[("/308", 308, "http://example.org/308")]);
}
