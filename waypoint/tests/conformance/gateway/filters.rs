//! What filters do to requests and answers.
use super::super::rig::{Client, Reply, route};
use super::{RIG, get};

pub(super) fn manifests() -> String {
    let filtered = |path: &str, filters: &str| {
        format!(
            "  - matches: [{{ path: {{ value: {path} }} }}]\n    filters: [{filters}]\n    backendRefs: [{{ name: echo-v1, port: 80 }}]\n"
        )
    };
    let response = |changes: &str| {
        format!("{{ type: ResponseHeaderModifier, responseHeaderModifier: {{ {changes} }} }}")
    };
    let request =
        |changes: &str| format!("{{ type: RequestHeaderModifier, requestHeaderModifier: {{ {changes} }} }}");
    let responses = [
        filtered("/set", &response("set: [{ name: X-Header-Set, value: set-overwrites-values }]")),
        filtered("/add", &response("add: [{ name: X-Header-Add, value: add-appends-values }]")),
        filtered("/remove", &response("remove: [X-Header-Remove]")),
        filtered(
            "/multiple",
            &response(
                "set: [{ name: X-Header-Set-1, value: header-set-1 }, { name: X-Header-Set-2, value: header-set-2 }], \
                 add: [{ name: X-Header-Add-1, value: header-add-1 }, { name: X-Header-Add-2, value: header-add-2 }], \
                 remove: [X-Header-Remove-1, X-Header-Remove-2]",
            ),
        ),
        filtered(
            "/case-insensitivity",
            &response("set: [{ name: x-header-set, value: header-set }], remove: [x-HEADER-remove]"),
        ),
        filtered(
            "/response-and-request-header-modifiers",
            &[
                response("set: [{ name: X-Header-Set-1, value: response }], remove: [X-Header-Remove-1]"),
                request("set: [{ name: X-Header-Set-2, value: request }], remove: [X-Header-Remove-2]"),
            ]
            .join(", "),
        ),
    ];
    let rewrite = |host: &str| format!("{{ type: URLRewrite, urlRewrite: {{ hostname: {host} }} }}");
    let hosts = [
        filtered("/one", &rewrite("one.example.org")),
        filtered("/", &rewrite("example.org")),
        filtered(
            "/rewrite-host-and-modify-headers",
            &[
                rewrite("test.example.org"),
                request(
                    "set: [{ name: X-Header-Set, value: set-overwrites-values }], add: [{ name: X-Header-Add, value: header-val-1 }, \
                     { name: X-Header-Add-Append, value: header-val-2 }], remove: [X-Header-Remove]",
                ),
            ]
            .join(", "),
        ),
    ];
    let to = |number: usize, filter: &str| {
        format!(
            "  - matches: [{{ path: {{ value: /{number} }} }}]\n    filters: [{{ type: RequestRedirect, requestRedirect: {{ hostname: example.org{filter} }} }}]\n"
        )
    };
    let redirects: String =
        REDIRECTS.iter().enumerate().map(|(number, (filter, ..))| to(number, filter)).collect();
    let own = |app: &str| {
        format!(
            "    - {{ name: echo-{app}, port: 80, weight: 10, filters: [{}, {}] }}\n",
            request(&format!("set: [{{ name: backend, value: {app} }}]")),
            response(&format!("set: [{{ name: x-backend, value: {app} }}]"))
        )
    };
    let cors = |path: &str, cors: &str| filtered(path, &format!("{{ type: CORS, cors: {{ {cors} }} }}"));
    let cors = [
        cors(
            "/cors-1",
            "allowOrigins: [\"https://www.foo.com\", \"https://*.bar.com\"], allowMethods: [GET, OPTIONS], allowHeaders: [x-header-1, x-header-2], \
             exposeHeaders: [x-header-3, x-header-4], allowCredentials: true, maxAge: 3600",
        ),
        cors("/cors-2", "allowOrigins: [\"https://www.foo.com\"], allowMethods: [\"*\"]"),
    ];
    let rules = |rules: String| format!("  rules:\n{rules}");
    [
        route("HTTPRoute", "response-headers", "response-headers", &rules(responses.concat())),
        route("HTTPRoute", "rewrite-host", "rewrite-host", &rules(hosts.concat())),
        route("HTTPRoute", "to-port-and-scheme", "to-port-and-scheme", &rules(redirects)),
        route(
            "HTTPRoute",
            "own-filters",
            "own-filters",
            &format!("  rules:\n  - backendRefs:\n{}{}", own("v1"), own("v2")),
        ),
        route("HTTPRoute", "cors", "cors", &rules(cors.concat())),
    ]
    .concat()
}

/// What a redirect says beside a host, and where it leads by the port that was asked: 80, 8080.
const REDIRECTS: &[(&str, &str, &str)] = &[
    ("", "http://example.org/", "http://example.org:8080/"),
    (", port: 80", "http://example.org/", "http://example.org/"),
    (", port: 8080", "http://example.org:8080/", "http://example.org:8080/"),
    (", scheme: https", "https://example.org/", "https://example.org/"),
    (", scheme: https, port: 443", "https://example.org/", "https://example.org/"),
    (", scheme: https, port: 8443", "https://example.org:8443/", "https://example.org:8443/"),
    (", scheme: http", "http://example.org/", "http://example.org/"),
    (", scheme: http, port: 8080", "http://example.org:8080/", "http://example.org:8080/"),
];

#[test]
fn http_route_redirect_port_and_scheme() {
    for (number, (filter, on_80, on_8080)) in REDIRECTS.iter().enumerate() {
        for (port, expected) in [(80, on_80), (8080, on_8080)] {
            let reply =
                RIG.client("to-port-and-scheme", port).ask("GET", &format!("/{number}/x?y=z"), &[], b"");
            let expected = format!("{expected}{number}/x?y=z");
            assert_eq!(
                (reply.status, reply.header("location")),
                (302, Some(&*expected)),
                "{filter} on {port}"
            );
        }
    }
}

/// All values that the client has of a header.
fn values<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
    reply.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn http_route_response_header_modifier() {
    for (path, said, name, expected) in [
        ("/set", "x-header-set=some-other-value", "x-header-set", &["set-overwrites-values"][..]),
        ("/set", "some-other-header=val", "x-header-set", &["set-overwrites-values"]),
        ("/set", "some-other-header=val", "some-other-header", &["val"]),
        ("/add", "some-other-header=val", "x-header-add", &["add-appends-values"]),
        (
            "/add",
            "x-header-add=some-other-value",
            "x-header-add",
            &["some-other-value", "add-appends-values"],
        ),
        ("/remove", "x-header-remove=val", "x-header-remove", &[]),
        ("/multiple", "x-header-set-2=set-val-2", "x-header-set-2", &["header-set-2"]),
        ("/multiple", "x-header-set-2=set-val-2", "x-header-set-1", &["header-set-1"]),
        ("/multiple", "x-header-add-2=add-val-2", "x-header-add-2", &["add-val-2", "header-add-2"]),
        ("/multiple", "x-header-remove-2=remove-val-2", "x-header-remove-2", &[]),
        ("/multiple", "another-header=val", "another-header", &["val"]),
        ("/case-insensitivity", "X-Header-Set=original", "x-header-set", &["header-set"]),
        ("/case-insensitivity", "X-Header-Remove=original", "x-header-remove", &[]),
        ("/response-and-request-header-modifiers", "x-header-remove-1=val", "x-header-remove-1", &[]),
        (
            "/response-and-request-header-modifiers",
            "x-header-set-2=of-the-answer",
            "x-header-set-2",
            &["of-the-answer"],
        ),
        ("/response-and-request-header-modifiers", "a=b", "x-header-set-1", &["response"]),
    ] {
        let reply =
            get("response-headers", path, &[("x-app-header", said), ("x-header-remove-2", "of-the-request")]);
        assert_eq!((reply.status, reply.app().as_str(), reply.path().as_str()), (200, "v1", path));
        assert_eq!(values(&reply, name), expected, "{path}, the application says {said}");
        if path == "/response-and-request-header-modifiers" {
            assert_eq!(
                (reply.saw("x-header-set-2").as_deref(), reply.saw("x-header-set-1")),
                (Some("request"), None)
            );
            assert_eq!(reply.saw("x-header-remove-2"), None);
        }
    }
}

#[test]
fn http_route_rewrite_host() {
    for (path, host) in [
        ("/one", "one.example.org"),
        ("/two?x=y", "example.org"),
        ("/rewrite-host-and-modify-headers", "test.example.org"),
    ] {
        let reply = get("rewrite-host", path, &[("host", "asked.example")]);
        assert_eq!((reply.status, reply.host().as_str(), reply.path().as_str()), (200, host, path));
    }
    let said = [
        ("X-Header-Remove", "remove-val"),
        ("X-Header-Add-Append", "append-val-1"),
        ("X-Header-Set", "some"),
    ];
    let reply = get("rewrite-host", "/rewrite-host-and-modify-headers", &said);
    let saw = ["x-header-set", "x-header-add", "x-header-add-append", "x-header-remove"]
        .map(|name| reply.saw(name));
    let expected = ["set-overwrites-values", "header-val-1", "append-val-1,header-val-2"]
        .map(|value| Some(value.to_owned()));
    assert_eq!(saw, [&expected[..], &[None]].concat()[..]);
}

/// Each backend's own filters, and no other's.
#[test]
fn http_route_request_header_modifier_backend_weights() {
    let mut client = RIG.client("own-filters", 80);
    let replies: Vec<_> = (0..60).map(|_| client.ask("GET", "/", &[], b"")).collect();
    for reply in &replies {
        assert_eq!(reply.saw("backend"), Some(reply.app()));
        assert_eq!(reply.header("x-backend"), Some(&*reply.app()));
    }
    assert!(["v1", "v2"].iter().all(|app| replies.iter().any(|reply| reply.app() == *app)));
}

#[test]
fn http_route_cors() {
    let preflight = |path: &str, origin: &str, method: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "x-header-1, x-header-2"),
        ];
        let entry = RIG.entry("cors", 80);
        Client::new(entry).ask("OPTIONS", path, &headers, b"")
    };
    for origin in ["https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"] {
        let reply = preflight("/cors-1", origin, "GET");
        assert_eq!(reply.status, 200);
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "GET, OPTIONS"),
            ("access-control-allow-headers", "x-header-1, x-header-2"),
            ("access-control-max-age", "3600"),
            ("access-control-allow-credentials", "true"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
        // The request itself goes on, and its answer says who may read it.
        let reply = get("cors", "/cors-1", &[("origin", origin)]);
        assert_eq!((reply.status, reply.app().as_str()), (200, "v1"));
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert_eq!(reply.header("access-control-expose-headers"), Some("x-header-3, x-header-4"));
    }
    for origin in ["https://foobar.com", "https://bar.com", "http://www.foo.com", "https://www.foo.com:8443"]
    {
        assert_eq!(
            preflight("/cors-1", origin, "GET").header("access-control-allow-origin"),
            None,
            "{origin}"
        );
        let reply = get("cors", "/cors-1", &[("origin", origin)]);
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None), "{origin}");
    }
    let reply = preflight("/cors-2", "https://www.foo.com", "POST");
    assert!(["POST", "*"].contains(&reply.header("access-control-allow-methods").unwrap()));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    // What the rules answer, the application has not seen.
    let seen = RIG.world.app("v1").unwrap().seen();
    assert!(!seen.iter().any(|seen| seen.method == "OPTIONS"
        && seen.headers.contains_key("access-control-request-method")
        && seen.headers.get("origin").is_some_and(|origin| origin == "https://www.foo.com")));
}
