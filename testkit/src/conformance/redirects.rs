//! Redirects: the status, and where they lead.
use super::{Ask, Behind, Case, get, route};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "MeshHTTPRouteRedirectHostAndStatus",
        services: &[("to-host", Behind::Both)],
        manifests: || rules("to-host"),
        asks: &[
            redirected("to-host", "/hostname-redirect", 302, "http://example.org/hostname-redirect"),
            redirected(
                "to-host",
                "/hostname-redirect/x?y=z",
                302,
                "http://example.org/hostname-redirect/x?y=z",
            ),
            redirected("to-host", "/host-and-status", 301, "http://example.org/host-and-status"),
            // The port that was asked is kept where it is not the scheme's own.
            redirected("to-host", "/hostname-redirect", 302, "http://example.org:8080/hostname-redirect")
                .port(8080),
        ],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRouteRedirectPath",
        services: &[("to-path", Behind::Both)],
        manifests: || rules("to-path"),
        asks: &[
            redirected(
                "to-path",
                "/original-prefix/lemon",
                302,
                "http://asked.example/replacement-prefix/lemon",
            ),
            redirected(
                "to-path",
                "/original-prefix/lemon?a=b",
                302,
                "http://asked.example/replacement-prefix/lemon?a=b",
            ),
            redirected("to-path", "/full/path/original", 302, "http://asked.example/full-path-replacement"),
            redirected("to-path", "/path-and-host/lemon", 302, "http://example.org/replacement-prefix/lemon"),
            redirected(
                "to-path",
                "/path-and-status/lemon",
                301,
                "http://asked.example/replacement-prefix/lemon",
            ),
            redirected("to-path", "/full-path-and-host/lemon", 302, "http://example.org/replacement-full"),
            redirected(
                "to-path",
                "/full-path-and-status/lemon",
                301,
                "http://asked.example/replacement-full",
            ),
        ],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRouteRedirectPort",
        services: &[("to-port", Behind::Both)],
        manifests: || rules("to-port"),
        asks: &[
            redirected("to-port", "/port", 302, "http://asked.example:8083/port"),
            redirected("to-port", "/port-and-host", 302, "http://example.org:8083/port-and-host"),
            redirected("to-port", "/port-and-status", 301, "http://asked.example:8083/port-and-status"),
            redirected(
                "to-port",
                "/port-and-host-and-status",
                302,
                "http://example.org:8083/port-and-host-and-status",
            ),
        ],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRouteSchemeRedirect",
        services: &[("to-scheme", Behind::Both)],
        manifests: || rules("to-scheme"),
        asks: &[
            redirected("to-scheme", "/scheme", 302, "https://asked.example/scheme"),
            redirected("to-scheme", "/scheme-and-host", 302, "https://example.org/scheme-and-host"),
            redirected("to-scheme", "/scheme-and-status", 301, "https://asked.example/scheme-and-status"),
            redirected(
                "to-scheme",
                "/scheme-and-host-and-status",
                302,
                "https://example.org/scheme-and-host-and-status",
            ),
        ],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRoute303Redirect",
        services: &[("to-303", Behind::Both)],
        manifests: || rules("to-303"),
        asks: &[redirected("to-303", "/303", 303, "http://example.org/303")],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRoute307Redirect",
        services: &[("to-307", Behind::Both)],
        manifests: || rules("to-307"),
        asks: &[redirected("to-307", "/307", 307, "http://example.org/307")],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRoute308Redirect",
        services: &[("to-308", Behind::Both)],
        manifests: || rules("to-308"),
        asks: &[redirected("to-308", "/308", 308, "http://example.org/308")],
        shares: &[],
    },
];

/// Who redirects is the waypoint, by the name that Istio's has.
const fn redirected(service: &'static str, path: &'static str, status: u16, location: &'static str) -> Ask {
    let asked = get(service).path(path).with(&[("host", "asked.example")]);
    asked.is(status).leads(location).told(&[("server", Some("istio-envoy"))])
}

fn rules(service: &str) -> String {
    let rules = RULES.iter().filter(|(of, ..)| *of == service).map(|(_, path, redirect)| {
        format!(
            "  - matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]\n    filters: [{{ type: RequestRedirect, \
             requestRedirect: {{ {redirect} }} }}]\n"
        )
    });
    route("HTTPRoute", service, &format!("  rules:\n{}", rules.collect::<String>()))
}

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
    ("to-303", "/303", "hostname: example.org, statusCode: 303"),
    ("to-307", "/307", "hostname: example.org, statusCode: 307"),
    ("to-308", "/308", "hostname: example.org, statusCode: 308"),
];
