//! The mesh cases of the Gateway API's conformance suite (conformance.md §1.2), by their short names, as decisions; and what the
//! suite declares but does not compare: paths that backends see, and locations.
use super::*;

fn sends(given: &Given, table: &[(Asked, &str)]) {
    for (asked, expected) in table {
        assert_eq!(given.ask(asked), *expected, "{asked:?}");
    }
}

#[test]
fn mesh_basic() {
    assert_eq!(given("").fine().ask(&get("/")), "-", "without a route it goes to the service itself");
}

#[test]
fn mesh_traffic_split() {
    let rules = "{matches: [{path: {type: Exact, value: /v1}}], backendRefs: [{name: echo-v1, port: 80}]}
                 {matches: [{path: {type: Exact, value: /v2}}], backendRefs: [{name: echo-v2, port: 80}]}";
    let given = given(&http("mesh-split", rules)).fine();
    sends(&given, &[(get("/v1"), "echo-v1:80 /v1"), (get("/v2"), "echo-v2:80 /v2"), (get("/v3"), "404")]);
    assert_eq!(given.status("mesh-split"), (true, Reason::Accepted, Reason::ResolvedRefs, false));
}

/// A route for `service` (with more of the reference) that sets `x-header-set` of its answers.
fn telling(name: &str, namespace: &str, parent: &str, backend: &str, value: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  parentRefs: [{{group: '', kind: Service, {parent}}}]\n  rules:\n  - filters:\n    - type: ResponseHeaderModifier\n      \
         responseHeaderModifier: {{set: [{{name: X-Header-Set, value: {value}}}]}}\n    backendRefs: [{{{backend}, port: 80}}]\n"
    )
}

fn told(given: &Given, to: &str, client: &str, asked: &Asked) -> String {
    given.told(to, client, asked).map_or_else(|| "-".to_owned(), |told| told.value("x-header-set"))
}

#[test]
fn mesh_frontend_and_hostname() {
    let given = given(&telling("r", NS, "name: echo-v2", "name: echo-v2", "set")).fine();
    assert_eq!(told(&given, "echo-v2", NS, &get("/")), "set");
    // Who is asked for is the address, not what Host says.
    assert_eq!(told(&given, "echo-v2", NS, &get("/").at("echo-v1")), "set");
    assert_eq!(told(&given, "echo-v1", NS, &get("/").at("echo-v2")), "-");
}

#[test]
fn mesh_ports() {
    let manifests = telling("one", NS, "name: echo-v1, port: 80", "name: echo-v1", "v1")
        + &telling("all", NS, "name: echo-v2", "name: echo-v2", "v2");
    let given = given(&manifests).fine();
    for (to, expected) in
        [("echo-v1:80", "v1"), ("echo-v1:8080", "-"), ("echo-v2:80", "v2"), ("echo-v2:8080", "v2")]
    {
        assert_eq!(told(&given, to, NS, &get("/")), expected, "{to}");
    }
}

#[test]
fn mesh_consumer_route() {
    let consumer = "gateway-conformance-mesh-consumer";
    let parent = format!("name: echo-v1, namespace: {NS}");
    let given = given(&telling("r", consumer, &parent, &parent, "set")).fine();
    assert_eq!(told(&given, "echo-v1", consumer, &get("/")), "set");
    assert_eq!(told(&given, "echo-v1", NS, &get("/")), "-");
}

#[test]
fn mesh_http_route_matching() {
    let rules = "{matches: [{path: {type: PathPrefix, value: /}}, {headers: [{name: version, value: one}]}], backendRefs: [{name: echo-v1, port: 8080}]}
                 {matches: [{path: {type: PathPrefix, value: /v2}}, {headers: [{name: version, value: two}]}], backendRefs: [{name: echo-v2, port: 8080}]}";
    let given = given(&http("r", rules)).fine();
    for (asked, backend) in [
        (get("/"), "echo-v1"),
        (get("/example"), "echo-v1"),
        (get("/").with("Version", "one"), "echo-v1"),
        (get("/v2"), "echo-v2"),
        (get("/v2/example"), "echo-v2"),
        (get("/").with("Version", "two"), "echo-v2"),
        (get("/v2/"), "echo-v2"),
        (get("/v2example"), "echo-v1"),
        (get("/foo/v2/example"), "echo-v1"),
    ] {
        assert_eq!(given.ask(&asked), format!("{backend}:8080 {}", asked.path), "{asked:?}");
    }
}

#[test]
fn mesh_http_route_query_param_matching() {
    let animal = |name: &str| format!("queryParams: [{{name: animal, value: {name}}}]");
    let to = |name: &str| format!("backendRefs: [{{name: {name}, port: 8080}}]");
    let under = |path: &str| format!("path: {{type: PathPrefix, value: {path}}}");
    let version = |value: &str| format!("headers: [{{name: version, value: {value}}}]");
    let rules = [
        format!("{{matches: [{{{}}}], {}}}", animal("whale"), to("echo-v1")),
        format!("{{matches: [{{{}}}], {}}}", animal("dolphin"), to("echo-v2")),
        format!("{{matches: [{{{}, {}}}], {}}}", under("/path1"), animal("whale"), to("echo-v1")),
        format!("{{matches: [{{{}, {}}}], {}}}", version("one"), animal("whale"), to("echo-v2")),
        format!(
            "{{matches: [{{{}, {}}}, {{{}, {}, {}}}], {}}}",
            under("/path3"),
            animal("shark"),
            under("/path4"),
            version("three"),
            animal("kraken"),
            to("echo-v1")
        ),
        format!("{{matches: [{{{}}}], {}}}", under("/path5"), to("echo-v1")),
        format!("{{matches: [{{{}}}], {}}}", animal("hydra"), to("echo-v2")),
    ];
    let given = given(&http("r", &rules.join("\n"))).fine();
    for (asked, backend) in [
        (get("/?animal=whale"), "echo-v1"),
        (get("/?animal=dolphin"), "echo-v2"),
        (get("/?animal=whale&otherparam=irrelevant"), "echo-v1"),
        (get("/?animal=dolphin&color=yellow"), "echo-v2"),
        (get("/?color=blue"), "404"),
        (get("/?animal=dog"), "404"),
        (get("/?animal=whaledolphin"), "404"),
        (get("/"), "404"),
        (get("/path1?animal=whale"), "echo-v1"),
        (get("/?animal=whale").with("version", "one"), "echo-v2"),
        (get("/path3?animal=shark"), "echo-v1"),
        (get("/path4?animal=kraken").with("version", "three"), "echo-v1"),
        (get("/?animal=shark"), "404"),
        (get("/path4?animal=kraken"), "404"),
        (get("/path5?animal=hydra"), "echo-v1"),
    ] {
        let answer = given.ask(&asked);
        assert_eq!(answer.split(':').next(), Some(backend), "{asked:?}: {answer}");
        assert!(
            backend == "404" || answer.ends_with(&format!("?{}", asked.query.unwrap())),
            "the query stays"
        );
    }
}

#[test]
fn mesh_http_route_named_rule() {
    let rules =
        "{name: named-rule, matches: [{path: {value: /named}}], backendRefs: [{name: echo-v1, port: 8080}]}
                 {matches: [{path: {value: /unnamed}}], backendRefs: [{name: echo-v2, port: 8080}]}";
    let given = given(&http("r", rules)).fine();
    sends(&given, &[(get("/named"), "echo-v1:8080 /named"), (get("/unnamed"), "echo-v2:8080 /unnamed")]);
    let found = given.found("echo", NS, &get("/named")).flatten().unwrap();
    assert_eq!(found.rule.name.as_deref(), Some("named-rule"));
}

#[test]
fn mesh_http_route_simple_same_namespace() {
    let given = given(&http("r", "{backendRefs: [{name: echo-v1, port: 8080}]}")).fine();
    sends(&given, &[(get("/"), "echo-v1:8080 /"), (get("/a?b"), "echo-v1:8080 /a?b")]);
}

fn seventy_thirty(shares: &BTreeMap<String, u32>) {
    let of = |name: &str| shares.get(name).copied().unwrap_or_default();
    assert!((6700..7300).contains(&of("echo-v1")) && of("echo-v1") + of("echo-v2") == 10_000, "{shares:?}");
}

#[test]
fn mesh_http_route_weight() {
    let rule =
        "{backendRefs: [{name: echo-v1, port: 8080, weight: 70}, {name: echo-v2, port: 8080, weight: 30}]}";
    seventy_thirty(&given(&http("r", rule)).fine().shares(&get("/")));
}

#[test]
fn mesh_grpc_route_weight() {
    let rules = "  rules:\n  - backendRefs: [{name: echo-v1, port: 7070, weight: 70}, {name: echo-v2, port: 7070, weight: 30}, {name: echo-v3, port: 7070, weight: 0}]";
    let given = given(&route("GRPCRoute", "r", rules));
    given.one_problem("BackendNotFound: no Service gateway-conformance-mesh/echo-v3 with port 7070");
    seventy_thirty(&given.shares(&get("/proto.EchoTestService/Echo").by("POST")));
}

/// The five rules of the header cases, whose filters are at the rule or at the backend.
fn header_rules(at_backend: bool) -> String {
    let rules = [
        ("/set", "set: [{name: X-Header-Set, value: set-overwrites-values}]"),
        ("/add", "add: [{name: X-Header-Add, value: add-appends-values}]"),
        ("/remove", "remove: [X-Header-Remove]"),
        (
            "/multiple",
            "set: [{name: X-Header-Set-1, value: header-set-1}, {name: X-Header-Set-2, value: header-set-2}], \
             add: [{name: X-Header-Add-1, value: header-add-1}, {name: X-Header-Add-2, value: header-add-2}, {name: X-Header-Add-3, value: header-add-3}], \
             remove: [X-Header-Remove-1, X-Header-Remove-2]",
        ),
        (
            "/case-insensitivity",
            "set: [{name: X-Header-Set, value: header-set}], add: [{name: X-Header-Add, value: header-add}], remove: [X-Header-Remove]",
        ),
    ];
    let rules = rules.map(|(path, changes)| {
        let filter = format!("filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{{changes}}}}}]");
        let (rule, backend) = if at_backend { ("".into(), format!(", {filter}")) } else { (format!("{filter}, "), "".into()) };
        format!("{{matches: [{{path: {{value: {path}}}}}], {rule}backendRefs: [{{name: echo-v1, port: 8080{backend}}}]}}")
    });
    http("r", &rules.join("\n"))
}

#[test]
fn mesh_http_route_request_header_modifier_at_rule_and_backend() {
    for at_backend in [false, true] {
        let given = given(&header_rules(at_backend)).fine();
        let other = || get("/set").with("Some-Other-Header", "val");
        for (asked, name, expected) in [
            (other(), "x-header-set", "set-overwrites-values"),
            (other(), "some-other-header", "val"),
            (other().with("X-Header-Set", "some-other-value"), "x-header-set", "set-overwrites-values"),
            (get("/add"), "x-header-add", "add-appends-values"),
            (
                get("/add").with("X-Header-Add", "some-other-value"),
                "x-header-add",
                "some-other-value,add-appends-values",
            ),
            (get("/remove").with("X-Header-Remove", "val"), "x-header-remove", ""),
        ] {
            assert_eq!(given.seen(&asked).value(name), expected, "{asked:?}");
        }
        let many = given.seen(
            &get("/multiple")
                .with("X-Header-Set-2", "set-val-2")
                .with("X-Header-Add-2", "add-val-2")
                .with("X-Header-Remove-2", "remove-val-2")
                .with("Another-Header", "another-header-val"),
        );
        let expected = [
            ("x-header-set-1", "header-set-1"),
            ("x-header-set-2", "header-set-2"),
            ("x-header-add-1", "header-add-1"),
            ("x-header-add-2", "add-val-2,header-add-2"),
            ("x-header-add-3", "header-add-3"),
            ("x-header-remove-1", ""),
            ("x-header-remove-2", ""),
            ("another-header", "another-header-val"),
        ];
        expected.iter().for_each(|(name, expected)| assert_eq!(many.value(name), *expected, "{name}"));
        let lower = given.seen(
            &get("/case-insensitivity")
                .with("x-header-set", "original-val-set")
                .with("x-header-add", "original-val-add")
                .with("x-header-remove", "original-val-remove"),
        );
        let values = ["x-header-set", "x-header-add", "x-header-remove"].map(|name| lower.value(name));
        assert_eq!(values, ["header-set", "original-val-add,header-add", ""]);
    }
}

#[test]
fn mesh_grpc_route_request_header_modifier() {
    let rule = |case: &str, changes: &str, backend: &str| {
        format!(
            "  - {{matches: [{{headers: [{{name: x-test-case, value: {case}}}]}}], filters: [{{type: RequestHeaderModifier, \
             requestHeaderModifier: {{{changes}}}}}], backendRefs: [{{name: {backend}, port: 7070}}]}}\n"
        )
    };
    let rules = rule("set", "set: [{name: x-header-set, value: set-overwrites-values}]", "echo-v1")
        + &rule("add", "add: [{name: x-header-add, value: add-appends-values}]", "echo-v1")
        + &rule("remove", "remove: [x-header-remove]", "echo-v1")
        + &rule(
            "multi",
            "set: [{name: x-header-set-1, value: header-set-1}], add: [{name: x-header-add-2, value: header-add-2}], remove: [x-header-remove-1]",
            "echo-v2",
        );
    let given = given(&route("GRPCRoute", "r", &format!("  rules:\n{rules}"))).fine();
    let call = |case: &str| get("/proto.EchoTestService/Echo").by("POST").with("x-test-case", case);
    for (asked, backend, name, expected) in [
        (call("set").with("x-header-set", "old"), "echo-v1", "x-header-set", "set-overwrites-values"),
        (call("add").with("x-header-add", "old"), "echo-v1", "x-header-add", "old,add-appends-values"),
        (call("remove").with("x-header-remove", "old"), "echo-v1", "x-header-remove", ""),
        (call("multi"), "echo-v2", "x-header-set-1", "header-set-1"),
        (call("multi").with("x-header-add-2", "old"), "echo-v2", "x-header-add-2", "old,header-add-2"),
    ] {
        assert_eq!(given.seen(&asked).value(name), expected);
        assert!(given.ask(&asked).starts_with(backend));
    }
    assert_eq!(given.ask(&call("other")), "404");
}

#[test]
fn mesh_http_route_rewrite_path() {
    let rule = |path: &str, kind: &str, field: &str, text: &str, more: &str| {
        format!(
            "{{matches: [{{path: {{value: {path}}}}}], filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: {kind}, {field}: {text}}}}}}}{more}], \
             backendRefs: [{{name: echo-v1, port: 80}}]}}"
        )
    };
    let headers = ", {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Header-Set, value: set-overwrites-values}], \
                   add: [{name: X-Header-Add, value: header-val-1}], remove: [X-Header-Remove]}}";
    let rules = [
        rule("/prefix/one", "ReplacePrefixMatch", "replacePrefixMatch", "/one", ""),
        rule("/strip-prefix", "ReplacePrefixMatch", "replacePrefixMatch", "/", ""),
        rule("/full/one", "ReplaceFullPath", "replaceFullPath", "/one", ""),
        rule("/full/rewrite-path-and-modify-headers", "ReplaceFullPath", "replaceFullPath", "/test", headers),
        rule(
            "/prefix/rewrite-path-and-modify-headers",
            "ReplacePrefixMatch",
            "replacePrefixMatch",
            "/prefix",
            headers,
        ),
    ];
    let given = given(&http("r", &rules.join("\n"))).fine();
    sends(
        &given,
        &[
            (get("/prefix/one/two"), "echo-v1:80 /one/two"),
            (get("/prefix/one"), "echo-v1:80 /one"),
            (get("/strip-prefix/three"), "echo-v1:80 /three"),
            (get("/strip-prefix/three?q=1"), "echo-v1:80 /three?q=1"),
            (get("/strip-prefix"), "echo-v1:80 /"),
            (get("/strip-prefix/"), "echo-v1:80 /"),
            (get("/full/one/two"), "echo-v1:80 /one"),
            (get("/full/rewrite-path-and-modify-headers/test"), "echo-v1:80 /test"),
            (get("/prefix/rewrite-path-and-modify-headers/one"), "echo-v1:80 /prefix/one"),
        ],
    );
    let asked = get("/full/rewrite-path-and-modify-headers/test")
        .with("X-Header-Remove", "x")
        .with("X-Header-Set", "y");
    let seen = given.seen(&asked);
    let values = ["x-header-set", "x-header-add", "x-header-remove"].map(|name| seen.value(name));
    assert_eq!(values, ["set-overwrites-values", "header-val-1", ""]);
}

/// Rules that redirect: by path, with this filter.
fn redirects(rules: &[(&str, &str)]) -> Given {
    let rule = |(path, filter): &(&str, &str)| {
        format!(
            "{{matches: [{{path: {{value: {path}}}}}], filters: [{{type: RequestRedirect, requestRedirect: {{{filter}}}}}]}}"
        )
    };
    given(&http("r", &rules.iter().map(rule).collect::<Vec<_>>().join("\n"))).fine()
}

#[test]
fn mesh_http_route_redirect_host_and_status() {
    let given = redirects(&[
        ("/hostname-redirect", "hostname: example.org"),
        ("/host-and-status", "statusCode: 301, hostname: example.org"),
    ]);
    sends(
        &given,
        &[
            (get("/hostname-redirect"), "302 http://example.org/hostname-redirect"),
            (get("/host-and-status"), "301 http://example.org/host-and-status"),
        ],
    );
}

#[test]
fn mesh_http_route_redirect_path() {
    let prefix = "path: {type: ReplacePrefixMatch, replacePrefixMatch: /replacement-prefix}";
    let full = "path: {type: ReplaceFullPath, replaceFullPath: /replacement-full}";
    let given = redirects(&[
        ("/original-prefix", prefix),
        ("/full", full),
        ("/path-and-host", &format!("hostname: example.org, {prefix}")),
        ("/path-and-status", &format!("{prefix}, statusCode: 301")),
        ("/full-path-and-host", &format!("hostname: example.org, {full}")),
        ("/full-path-and-status", &format!("{full}, statusCode: 301")),
    ]);
    sends(
        &given,
        &[
            (get("/original-prefix/lemon"), "302 http://echo/replacement-prefix/lemon"),
            (get("/full/path/original"), "302 http://echo/replacement-full"),
            (get("/path-and-host"), "302 http://example.org/replacement-prefix"),
            (get("/path-and-status?a=b"), "301 http://echo/replacement-prefix?a=b"),
            (get("/full-path-and-host"), "302 http://example.org/replacement-full"),
            (get("/full-path-and-status"), "301 http://echo/replacement-full"),
        ],
    );
}

#[test]
fn mesh_http_route_redirect_port() {
    let given = redirects(&[
        ("/port", "port: 8083"),
        ("/port-and-host", "port: 8083, hostname: example.org"),
        ("/port-and-status", "port: 8083, statusCode: 301"),
        ("/port-and-host-and-status", "port: 8083, hostname: example.org, statusCode: 302"),
    ]);
    sends(
        &given,
        &[
            (get("/port"), "302 http://echo:8083/port"),
            (get("/port-and-host"), "302 http://example.org:8083/port-and-host"),
            (get("/port-and-status"), "301 http://echo:8083/port-and-status"),
            (get("/port-and-host-and-status"), "302 http://example.org:8083/port-and-host-and-status"),
        ],
    );
}

#[test]
fn mesh_http_route_scheme_redirect() {
    let given = redirects(&[
        ("/scheme", "scheme: https"),
        ("/scheme-and-host", "scheme: https, hostname: example.org"),
        ("/scheme-and-status", "scheme: https, statusCode: 301"),
        ("/scheme-and-host-and-status", "scheme: https, statusCode: 302, hostname: example.org"),
    ]);
    sends(
        &given,
        &[
            (get("/scheme"), "302 https://echo/scheme"),
            (get("/scheme-and-host"), "302 https://example.org/scheme-and-host"),
            (get("/scheme-and-status"), "301 https://echo/scheme-and-status"),
            (get("/scheme-and-host-and-status"), "302 https://example.org/scheme-and-host-and-status"),
        ],
    );
}

#[test]
fn mesh_http_route_303_307_and_308_redirect() {
    for status in ["303", "307", "308"] {
        let given = redirects(&[("/moved", &format!("statusCode: {status}"))]);
        assert_eq!(given.ask(&get("/moved")), format!("{status} http://echo/moved"));
    }
}
