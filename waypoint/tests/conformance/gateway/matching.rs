//! Which rule is for a request.
use super::super::rig::{Client, route};
use super::{RIG, check, get, rule};

pub(super) fn manifests() -> String {
    let exact = |path: &str| format!("{{ path: {{ type: Exact, value: {path} }} }}");
    let under = |path: &str| format!("{{ path: {{ type: PathPrefix, value: {path} }} }}");
    let named = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| format!("{{ name: {name}, value: {value} }}")).collect();
        pairs.join(", ")
    };
    let headers = |pairs: &[(&str, &str)]| format!("{{ headers: [{}] }}", named(pairs));
    let params = |pairs: &[(&str, &str)]| format!("{{ queryParams: [{}] }}", named(pairs));
    let rules = |rules: &[String]| format!("  rules:\n{}", rules.concat());
    let exact_rules = rules(&[rule(&exact("/one"), "v1"), rule(&exact("/two"), "v2")]);
    let header_rules = rules(&[
        rule(&headers(&[("version", "one")]), "v1"),
        rule(&headers(&[("version", "two")]), "v2"),
        rule(&headers(&[("version", "two"), ("color", "orange")]), "v1"),
        rule(&format!("{}, {}", headers(&[("color", "blue")]), headers(&[("color", "green")])), "v1"),
        rule(&format!("{}, {}", headers(&[("color", "red")]), headers(&[("color", "yellow")])), "v2"),
    ]);
    let part = |path: &str, version: &str, app: &str| {
        rules(&[rule(&format!("{}, {}", under(path), headers(&[("version", version)])), app)])
    };
    let method = rules(&[
        rule("{ method: POST }", "v1"),
        rule("{ method: GET }", "v2"),
        rule("{ path: { value: /path1 }, method: GET }", "v1"),
        rule("{ headers: [{ name: version, value: one }], method: PUT }", "v2"),
        rule("{ path: { value: /path2 }, headers: [{ name: version, value: two }], method: POST }", "v3"),
        rule(
            "{ path: { value: /path3 }, method: PATCH }, { path: { value: /path4 }, headers: [{ name: version, value: three }], method: DELETE }",
            "v1",
        ),
        rule("{ path: { value: /path5 } }", "v1"),
        rule("{ method: PATCH }", "v2"),
        rule("{ headers: [{ name: version, value: four }] }", "v3"),
    ]);
    let query = rules(&[
        rule(&params(&[("animal", "whale")]), "v1"),
        rule(&params(&[("animal", "dolphin")]), "v2"),
        rule(&params(&[("animal", "dolphin"), ("color", "blue")]), "v3"),
        rule(&params(&[("ANIMAL", "Whale")]), "v3"),
        rule("{ path: { value: /path1 }, queryParams: [{ name: animal, value: whale }] }", "v2"),
    ]);
    // The last is written first, and so on.
    let order = rules(&[
        rule(&under("/match/prefix/one"), "v2"),
        rule(&under("/match/prefix/"), "v1"),
        rule(&under("/match/"), "v3"),
        rule(&exact("/match/exact/one"), "v3"),
        rule(&exact("/match/exact"), "v2"),
        rule(&exact("/match"), "v1"),
    ]);
    let aged = |name: &str, created: &str, app: &str| {
        let text = route("HTTPRoute", name, "age", &rules(&[rule(&under("/same"), app)]));
        text.replace("namespace: demo }", &format!("namespace: demo, creationTimestamp: \"{created}\" }}"))
    };
    let named_rules = "  rules:\n  - name: first\n    matches: [{ path: { value: /first } }]\n    backendRefs: [{ name: echo-v1, port: 80 }]\n  \
                       - matches: [{ path: { value: /second } }]\n    backendRefs: [{ name: echo-v2, port: 80 }]";
    // A service of another namespace than the route's; a mesh needs no grant for it.
    let cross = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: cross, namespace: consumer }\nspec:\n  \
                 parentRefs: [{ group: \"\", kind: Service, name: cross, namespace: demo }]\n  rules:\n  \
                 - backendRefs: [{ name: echo-v3, namespace: demo, port: 80 }]\n";
    [
        route("HTTPRoute", "exact", "exact", &exact_rules),
        route("HTTPRoute", "headers", "headers", &header_rules),
        route("HTTPRoute", "part1", "across", &part("/", "one", "v1")),
        route("HTTPRoute", "part2", "across", &part("/v2", "two", "v2")),
        route("HTTPRoute", "method", "method", &method),
        route("HTTPRoute", "query", "query", &query),
        route("HTTPRoute", "order", "order", &order),
        aged("a-younger", "2024-01-01T00:00:00Z", "v1"),
        aged("b-older", "2020-01-01T00:00:00Z", "v2"),
        aged("c-as-old", "2020-01-01T00:00:00Z", "v3"),
        route("HTTPRoute", "names", "named", named_rules),
        cross.to_owned(),
    ]
    .concat()
}

#[test]
fn http_route_exact_path_matching() {
    check(
        "exact",
        &[
            ("GET", "/one", &[], Some("v1")),
            ("GET", "/two", &[], Some("v2")),
            ("GET", "/one?x=y", &[], Some("v1")),
            ("GET", "/", &[], None),
            ("GET", "/one/example", &[], None),
            ("GET", "/two/", &[], None),
            ("GET", "/Two", &[], None),
        ],
    );
}

#[test]
fn http_route_header_matching() {
    check(
        "headers",
        &[
            ("GET", "/", &[("Version", "one")], Some("v1")),
            ("GET", "/", &[("Version", "two")], Some("v2")),
            ("GET", "/", &[("Version", "two"), ("Color", "orange")], Some("v1")),
            ("GET", "/", &[("Version", "two"), ("Color", "blue")], Some("v2")),
            ("GET", "/", &[("Color", "orange")], None),
            ("GET", "/", &[("Some-Other-Header", "one")], None),
            ("GET", "/", &[("Color", "blue")], Some("v1")),
            ("GET", "/", &[("Color", "green")], Some("v1")),
            ("GET", "/", &[("Color", "red")], Some("v2")),
            ("GET", "/", &[("Color", "yellow")], Some("v2")),
            ("GET", "/", &[("Color", "purple")], None),
        ],
    );
}

#[test]
fn http_route_matching_across_routes() {
    check(
        "across",
        &[
            ("GET", "/", &[], Some("v1")),
            ("GET", "/example", &[], Some("v1")),
            ("GET", "/example", &[("Version", "one")], Some("v1")),
            ("GET", "/v2", &[], Some("v2")),
            ("GET", "/v2/example", &[], Some("v2")),
            ("GET", "/v2/example", &[("Version", "one")], Some("v2")),
            ("GET", "/", &[("Version", "two")], Some("v2")),
        ],
    );
}

#[test]
fn http_route_method_matching() {
    check(
        "method",
        &[
            ("POST", "/", &[], Some("v1")),
            ("GET", "/", &[], Some("v2")),
            ("GET", "/path1", &[], Some("v1")),
            ("PUT", "/", &[("version", "one")], Some("v2")),
            ("POST", "/path2", &[("version", "two")], Some("v3")),
            ("PATCH", "/path3", &[], Some("v1")),
            ("DELETE", "/path4", &[("version", "three")], Some("v1")),
            ("PUT", "/", &[], None),
            ("DELETE", "/path4", &[], None),
            ("PATCH", "/path5", &[], Some("v1")),
            ("PATCH", "/", &[("version", "four")], Some("v2")),
        ],
    );
    let entry = RIG.entry("method", 80);
    let head = Client::new(entry).try_ask("HEAD", "/", &[], b"").unwrap();
    assert_eq!(head.status, 404);
}

#[test]
fn http_route_query_param_matching() {
    check(
        "query",
        &[
            ("GET", "/?animal=whale", &[], Some("v1")),
            ("GET", "/?animal=dolphin", &[], Some("v2")),
            ("GET", "/?animal=dolphin&color=blue", &[], Some("v3")),
            ("GET", "/?ANIMAL=Whale", &[], Some("v3")),
            ("GET", "/?animal=whale&otherparam=irrelevant", &[], Some("v1")),
            ("GET", "/?animal=dolphin&color=yellow", &[], Some("v2")),
            ("GET", "/path1?animal=whale", &[], Some("v2")),
            ("GET", "/?color=blue", &[], None),
            ("GET", "/?animal=dog", &[], None),
            ("GET", "/?animal=whaledolphin", &[], None),
            ("GET", "/", &[], None),
        ],
    );
}

#[test]
fn http_route_path_match_order() {
    check(
        "order",
        &[
            ("GET", "/match/exact/one", &[], Some("v3")),
            ("GET", "/match/exact", &[], Some("v2")),
            ("GET", "/match", &[], Some("v1")),
            ("GET", "/match/prefix/one/any", &[], Some("v2")),
            ("GET", "/match/prefix/any", &[], Some("v1")),
            ("GET", "/match/any", &[], Some("v3")),
        ],
    );
}

/// Among equals the oldest route counts, then the first by name; the suite asks for it without a case of its own.
#[test]
fn http_route_precedence_by_age() {
    check(
        "age",
        &[("GET", "/same", &[], Some("v2")), ("GET", "/same/more", &[], Some("v2")), ("GET", "/", &[], None)],
    );
}

#[test]
fn http_route_named_rule() {
    check("named", &[("GET", "/first", &[], Some("v1")), ("GET", "/second/x", &[], Some("v2"))]);
    assert!(RIG.lines("/first", 1)[0].ends_with("demo.names.first"));
}

#[test]
fn http_route_cross_namespace() {
    for _ in 0..10 {
        let reply =
            Client::new(RIG.world.entry("shop.consumer", "cross", 80).unwrap()).ask("GET", "/x?y", &[], b"");
        assert_eq!((reply.status, reply.app().as_str(), reply.path().as_str()), (200, "v3", "/x?y"));
    }
    // Clients of other namespaces do not have it.
    assert!((0..30).any(|_| get("cross", "/", &[]).app() != "v3"));
}
