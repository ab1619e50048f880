//! Cases of the gateway suite (conformance.md §1.3) with the service in place of the gateway, by the names they have there.
//! What needs a listener's host or certificate, or a grant, has no counterpart in a mesh.
use super::*;

fn to(name: &str) -> String {
    format!("backendRefs: [{{name: {name}, port: 8080}}]")
}

/// Asks and compares status or backend alone.
fn goes(given: &Given, table: &[(Asked, &str)]) {
    for (asked, expected) in table {
        let answer = given.ask(asked);
        assert_eq!(answer.split([':', ' ']).next(), Some(*expected), "{asked:?}: {answer}");
    }
}

#[test]
fn http_route_exact_path_matching() {
    let rule = |path: &str, name: &str| {
        format!("{{matches: [{{path: {{type: Exact, value: {path}}}}}], {}}}", to(name))
    };
    let given = given(&http("r", &[rule("/one", "echo-v1"), rule("/two", "echo-v2")].join("\n"))).fine();
    goes(
        &given,
        &[
            (get("/one"), "echo-v1"),
            (get("/two"), "echo-v2"),
            (get("/"), "404"),
            (get("/one/example"), "404"),
            (get("/two/"), "404"),
            (get("/Two"), "404"),
        ],
    );
}

/// The rules of the header cases, which are the same for both kinds.
fn header_rules() -> [String; 5] {
    let header = |name: &str, value: &str| format!("{{name: {name}, value: {value}}}");
    let rule = |matches: &[String], name: &str| {
        let matches: Vec<_> = matches.iter().map(|headers| format!("{{headers: [{headers}]}}")).collect();
        format!("{{matches: [{}], {}}}", matches.join(", "), to(name))
    };
    [
        rule(&[header("version", "one")], "echo-v1"),
        rule(&[header("version", "two")], "echo-v2"),
        rule(&[[header("version", "two"), header("color", "orange")].join(", ")], "echo-v1"),
        rule(&[header("color", "blue"), header("color", "green")], "echo-v1"),
        rule(&[header("color", "red"), header("color", "yellow")], "echo-v2"),
    ]
}

#[test]
fn http_route_and_grpc_route_header_matching() {
    let rules = header_rules();
    let grpc: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
    for (given, base) in [
        (given(&http("r", &rules.join("\n"))), get("/")),
        (
            given(&route("GRPCRoute", "r", &format!("  rules:\n{grpc}"))),
            get("/grpcecho.GrpcEcho/Echo").by("POST"),
        ),
    ] {
        let given = given.fine();
        let with = |headers: &[(&str, &str)]| {
            headers.iter().fold(base.clone(), |asked, (name, value)| asked.with(name, value))
        };
        goes(
            &given,
            &[
                (with(&[("Version", "one")]), "echo-v1"),
                (with(&[("Version", "two")]), "echo-v2"),
                (with(&[("Version", "two"), ("Color", "orange")]), "echo-v1"),
                (with(&[("Version", "two"), ("Color", "blue")]), "echo-v2"),
                (with(&[("Color", "orange")]), "404"),
                (with(&[("Some-Other-Header", "one")]), "404"),
                (with(&[("Color", "blue")]), "echo-v1"),
                (with(&[("Color", "green")]), "echo-v1"),
                (with(&[("Color", "red")]), "echo-v2"),
                (with(&[("Color", "yellow")]), "echo-v2"),
                (with(&[("Color", "purple")]), "404"),
            ],
        );
    }
}

#[test]
fn http_route_matching_across_routes() {
    let route = |name: &str, path: &str, version: &str, backend: &str| {
        http(
            name,
            &format!(
                "{{matches: [{{path: {{value: {path}}}}}, {{headers: [{{name: version, value: {version}}}]}}], {}}}",
                to(backend)
            ),
        )
    };
    let given =
        given(&(route("part1", "/", "one", "echo-v1") + &route("part2", "/v2", "two", "echo-v2"))).fine();
    goes(
        &given,
        &[
            (get("/"), "echo-v1"),
            (get("/example"), "echo-v1"),
            (get("/example").with("Version", "one"), "echo-v1"),
            (get("/v2"), "echo-v2"),
            (get("/v2/example"), "echo-v2"),
            (get("/").with("Version", "two"), "echo-v2"),
        ],
    );
}

#[test]
fn http_route_method_matching() {
    let under = |path: &str| format!("path: {{value: {path}}}");
    let version = |value: &str| format!("headers: [{{name: version, value: {value}}}]");
    let rule = |matches: &str, name: &str| format!("{{matches: [{matches}], {}}}", to(name));
    let rules = [
        rule("{method: POST}", "echo-v1"),
        rule("{method: GET}", "echo-v2"),
        rule(&format!("{{{}, method: GET}}", under("/path1")), "echo-v1"),
        rule(&format!("{{{}, method: PUT}}", version("one")), "echo-v2"),
        rule(&format!("{{{}, {}, method: POST}}", under("/path2"), version("two")), "echo"),
        rule(
            &format!(
                "{{{}, method: PATCH}}, {{{}, {}, method: DELETE}}",
                under("/path3"),
                under("/path4"),
                version("three")
            ),
            "echo-v1",
        ),
        rule(&format!("{{{}}}", under("/path5")), "echo-v1"),
        rule("{method: PATCH}", "echo-v2"),
        rule(&format!("{{{}}}", version("four")), "echo"),
    ];
    let given = given(&http("r", &rules.join("\n"))).fine();
    let ask = |method: &str, path: &str, version: &str| {
        let asked = get(path).by(method);
        if version.is_empty() { asked } else { asked.with("version", version) }
    };
    goes(
        &given,
        &[
            (ask("POST", "/", ""), "echo-v1"),
            (ask("GET", "/", ""), "echo-v2"),
            (ask("HEAD", "/", ""), "404"),
            (ask("GET", "/path1", ""), "echo-v1"),
            (ask("PUT", "/", "one"), "echo-v2"),
            (ask("POST", "/path2", "two"), "echo"),
            (ask("PATCH", "/path3", ""), "echo-v1"),
            (ask("DELETE", "/path4", "three"), "echo-v1"),
            (ask("PUT", "/", ""), "404"),
            (ask("DELETE", "/path4", ""), "404"),
            (ask("PATCH", "/path5", ""), "echo-v1"),
            (ask("PATCH", "/", "four"), "echo-v2"),
        ],
    );
}

#[test]
fn http_route_path_match_order() {
    let rules = [
        ("Exact", "/match", "echo-v1"),
        ("Exact", "/match/exact", "echo-v2"),
        ("Exact", "/match/exact/one", "echo"),
        ("PathPrefix", "/match/", "echo"),
        ("PathPrefix", "/match/prefix/", "echo-v1"),
        ("PathPrefix", "/match/prefix/one", "echo-v2"),
    ];
    let rules = rules.map(|(kind, path, name)| {
        format!("{{matches: [{{path: {{type: {kind}, value: {path}}}}}], {}}}", to(name))
    });
    // In whatever order they are written.
    for turn in 0..rules.len() {
        let mut rules = rules.clone();
        rules.rotate_left(turn);
        goes(
            &given(&http("r", &rules.join("\n"))).fine(),
            &[
                (get("/match/exact/one"), "echo"),
                (get("/match/exact"), "echo-v2"),
                (get("/match"), "echo-v1"),
                (get("/match/prefix/one/any"), "echo-v2"),
                (get("/match/prefix/any"), "echo-v1"),
                (get("/match/any"), "echo"),
            ],
        );
    }
}

#[test]
fn http_route_redirect_port_and_scheme() {
    for (to, filter, expected) in [
        ("echo:80", "", "http://example.org/x"),
        ("echo:80", ", port: 80", "http://example.org/x"),
        ("echo:80", ", port: 8080", "http://example.org:8080/x"),
        ("echo:80", ", scheme: https", "https://example.org/x"),
        ("echo:80", ", scheme: https, port: 443", "https://example.org/x"),
        ("echo:80", ", scheme: https, port: 8443", "https://example.org:8443/x"),
        ("echo:8080", "", "http://example.org:8080/x"),
        ("echo:8080", ", port: 80", "http://example.org/x"),
        ("echo:8080", ", scheme: https", "https://example.org/x"),
    ] {
        let filter = format!("{{type: RequestRedirect, requestRedirect: {{hostname: example.org{filter}}}}}");
        let given = given(&http("r", &format!("{{filters: [{filter}]}}"))).fine();
        assert_eq!(given.ask_as(to, NS, &get("/x")), format!("302 {expected}"), "{to} {filter}");
    }
}

#[test]
fn http_route_rewrite_host() {
    let rewrite = |host: &str| format!("{{type: URLRewrite, urlRewrite: {{hostname: {host}}}}}");
    let headers = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Header-Set, value: set-overwrites-values}], \
                   add: [{name: X-Header-Add, value: header-val-1}, {name: X-Header-Add-Append, value: header-val-2}], remove: [X-Header-Remove]}}";
    let rules = [
        format!(
            "{{matches: [{{path: {{value: /one}}}}], filters: [{}], {}}}",
            rewrite("one.example.org"),
            to("echo-v1")
        ),
        format!("{{filters: [{}], {}}}", rewrite("example.org"), to("echo-v2")),
        format!(
            "{{matches: [{{path: {{value: /rewrite-host-and-modify-headers}}}}], filters: [{}, {headers}], {}}}",
            rewrite("test.example.org"),
            to("echo-v2")
        ),
    ];
    let given = given(&http("r", &rules.join("\n"))).fine();
    assert_eq!(given.ask(&get("/one")), "echo-v1:8080 /one host=one.example.org");
    assert_eq!(given.ask(&get("/two")), "echo-v2:8080 /two host=example.org");
    let asked = get("/rewrite-host-and-modify-headers")
        .with("X-Header-Remove", "remove-val")
        .with("X-Header-Add-Append", "append-val-1");
    assert!(given.ask(&asked).ends_with("host=test.example.org"));
    let seen = given.seen(&asked);
    let values = ["x-header-set", "x-header-add", "x-header-add-append", "x-header-remove"]
        .map(|name| seen.value(name));
    assert_eq!(values, ["set-overwrites-values", "header-val-1", "append-val-1,header-val-2", ""]);
}

#[test]
fn grpc_exact_method_matching() {
    let service = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho";
    let rule = |method: &str, name: &str| {
        format!("  - {{matches: [{{method: {{service: {service}, method: {method}}}}}], {}}}\n", to(name))
    };
    let rules = rule("Echo", "echo-v1") + &rule("EchoTwo", "echo-v2");
    let given = given(&route("GRPCRoute", "r", &format!("  rules:\n{rules}"))).fine();
    let call = |method: &str| get(&format!("/{service}/{method}")).by("POST");
    goes(&given, &[(call("Echo"), "echo-v1"), (call("EchoTwo"), "echo-v2"), (call("EchoThree"), "404")]);
}

#[test]
fn http_route_omitted_backend_refs() {
    let rules = [
        "{matches: [{path: {type: Exact, value: /omitted-no-forward}}]}".to_owned(),
        "{matches: [{path: {type: Exact, value: /empty-no-forward}}], backendRefs: []}".into(),
        format!("{{matches: [{{path: {{value: /}}}}], {}}}", to("echo-v1")),
    ];
    let given = given(&http("r", &rules.join("\n"))).fine();
    goes(
        &given,
        &[
            (get("/forward"), "echo-v1"),
            (get("/omitted-no-forward"), "500"),
            (get("/empty-no-forward"), "500"),
        ],
    );
    assert_eq!(given.status("r"), (true, Reason::Accepted, Reason::ResolvedRefs, false));
}

#[test]
fn http_route_request_header_modifier_backend_weights() {
    let backend = |name: &str| {
        let filter = format!(
            "{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: Backend, value: {name}}}]}}}}"
        );
        format!("{{name: {name}, port: 8080, weight: 10, filters: [{filter}]}}")
    };
    let given =
        given(&http("r", &format!("{{backendRefs: [{}, {}]}}", backend("echo-v1"), backend("echo-v2"))))
            .fine();
    let (forward, mut rng) = (given.forward(&get("/")), Rng::new(5));
    for _ in 0..100 {
        let (backend, target) = forward.backends.draw(&mut rng).unwrap();
        let mut seen = get("/");
        backend.request.apply(&mut seen);
        assert!(target.service.hostname.starts_with(&seen.value("backend")), "its own filter and no other's");
    }
}

#[test]
fn http_route_invalid_backend_refs() {
    let unknown =
        "{backendRefs: [{group: unknownkind.example.com, kind: NonExistent, name: echo-v1, port: 8080}]}";
    let given = given(&http("r", unknown));
    goes(&given, &[(get("/v2"), "500")]);
    assert_eq!(given.status("r"), (true, Reason::Accepted, Reason::InvalidKind, false));
    let missing = super::given(&http("r", "{backendRefs: [{name: nonexistent, port: 8080}]}"));
    assert_eq!(missing.status("r"), (true, Reason::Accepted, Reason::BackendNotFound, false));
}

#[test]
fn http_route_cors() {
    let cors = |path: &str, cors: &str| {
        format!(
            "{{matches: [{{path: {{value: {path}}}}}], filters: [{{type: CORS, cors: {{{cors}}}}}], {}}}",
            to("echo-v1")
        )
    };
    let rules = [
        cors(
            "/cors-1",
            "allowOrigins: ['https://www.foo.com', 'https://*.bar.com'], allowMethods: [GET, OPTIONS], allowHeaders: [x-header-1, x-header-2], \
             exposeHeaders: [x-header-3, x-header-4], allowCredentials: true, maxAge: 3600",
        ),
        cors("/cors-2", "allowOrigins: ['https://www.foo.com'], allowMethods: ['*']"),
    ];
    let given = given(&http("r", &rules.join("\n"))).fine();
    let preflight = |path: &str, origin: &str, method: &str, headers: &str| {
        let asked =
            get(path).by("OPTIONS").with("origin", origin).with("access-control-request-method", method);
        let asked = asked.with("access-control-request-headers", headers);
        let rule = given.found("echo", NS, &asked).flatten().unwrap().rule;
        rule.cors.as_ref().unwrap().preflight(&asked).unwrap().headers.into_iter().collect::<BTreeMap<_, _>>()
    };
    for origin in ["https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"] {
        let told = preflight("/cors-1", origin, "GET", "x-header-1, x-header-2");
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "GET, OPTIONS"),
            ("access-control-allow-headers", "x-header-1, x-header-2"),
            ("access-control-expose-headers", "x-header-3, x-header-4"),
            ("access-control-max-age", "3600"),
            ("access-control-allow-credentials", "true"),
        ] {
            assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
        }
    }
    assert!(
        !preflight("/cors-1", "https://foobar.com", "GET", "").contains_key("access-control-allow-origin")
    );
    let told = preflight("/cors-2", "https://www.foo.com", "POST", "");
    assert!(["POST", "*"].contains(&&*told["access-control-allow-methods"]));
    assert!(!told.contains_key("access-control-allow-credentials"));
    let simple = |origin: &str| {
        let asked = get("/cors-1").with("origin", origin);
        let told =
            given.found("echo", NS, &asked).flatten().unwrap().rule.cors.as_ref().unwrap().answer(&asked);
        told.into_iter().find(|(name, _)| *name == "access-control-allow-origin").map(|(_, value)| value)
    };
    assert_eq!(simple("https://www.bar.com").as_deref(), Some("https://www.bar.com"));
    assert_eq!(simple("https://foobar.com"), None);
}
