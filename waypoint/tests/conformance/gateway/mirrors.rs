//! Requests that others get a copy of.
use super::super::rig::{route, soon};
use super::{RIG, get};

pub(super) fn manifests() -> String {
    let mirror = |app: &str, share: &str| {
        format!(
            "{{ type: RequestMirror, requestMirror: {{ backendRef: {{ name: echo-{app}, port: 80 }}{share} }} }}"
        )
    };
    let rule = |path: &str, filters: &str| {
        format!(
            "  - matches: [{{ path: {{ value: {path} }} }}]\n    filters: [{filters}]\n    backendRefs: [{{ name: echo-v1, port: 80 }}]\n"
        )
    };
    let changed = "{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Header-Set, value: changed }], remove: [X-Header-Remove] } }";
    let rewritten = "{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /rewritten } } }";
    let one = [
        rule("/mirror", &mirror("v2", "")),
        rule("/mirror-and-modify-headers", &[changed, &mirror("v2", "")].join(", ")),
        rule("/mirror-and-rewrite", &[rewritten, &mirror("v2", "")].join(", ")),
    ];
    let percent = [
        rule("/percent-20", &mirror("v2", ", percent: 20")),
        rule("/percent-0", &mirror("v2", ", percent: 0")),
        rule("/percent-100", &mirror("v2", ", percent: 100")),
        rule("/fraction", &mirror("v2", ", fraction: { numerator: 1, denominator: 2 }")),
    ];
    [
        route("HTTPRoute", "mirror", "mirror", &format!("  rules:\n{}", one.concat())),
        route(
            "HTTPRoute",
            "mirrors",
            "mirrors",
            &format!("  rules:\n{}", rule("/multi", &[mirror("v2", ""), mirror("v3", "")].join(", "))),
        ),
        route("HTTPRoute", "percent", "percent", &format!("  rules:\n{}", percent.concat())),
    ]
    .concat()
}

fn seen(app: &str, target: &str) -> usize {
    RIG.seen(app, target).len()
}

#[test]
fn http_route_request_mirror() {
    let mut client = RIG.client("mirror", 80);
    let reply = client.ask("POST", "/mirror/x?y=z", &[("x-mine", "1")], b"the body");
    assert_eq!((reply.status, reply.app().as_str(), reply.path().as_str()), (200, "v1", "/mirror/x?y=z"));
    soon(|| seen("v2", "/mirror/x?y=z") > 0);
    let copy = RIG.seen("v2", "/mirror/x?y=z").remove(0);
    assert_eq!((copy.method.as_str(), &*copy.body), ("POST", &b"the body"[..]));
    assert_eq!(copy.headers["x-mine"], "1");
    // The copy is as changed as the request.
    let said = [("x-header-set", "original"), ("x-header-remove", "1")];
    assert_eq!(get("mirror", "/mirror-and-modify-headers", &said).app(), "v1");
    soon(|| seen("v2", "/mirror-and-modify-headers") > 0);
    let copy = RIG.seen("v2", "/mirror-and-modify-headers").remove(0);
    assert_eq!(
        (copy.headers["x-header-set"].as_str(), copy.headers.get("x-header-remove")),
        ("changed", None)
    );
    assert_eq!(get("mirror", "/mirror-and-rewrite/a", &[]).path(), "/rewritten/a");
    soon(|| seen("v2", "/rewritten/a") > 0);
    // Each has one copy, and the request itself goes to nobody else.
    assert_eq!(
        [seen("v1", "/rewritten/a"), seen("v2", "/rewritten/a"), seen("v3", "/rewritten/a")],
        [1, 1, 0]
    );
}

#[test]
fn http_route_request_multiple_mirrors() {
    let reply = get("mirrors", "/multi/mirrors?a=b", &[]);
    assert_eq!(
        (reply.status, reply.app().as_str(), reply.path().as_str()),
        (200, "v1", "/multi/mirrors?a=b")
    );
    soon(|| seen("v2", "/multi/mirrors?a=b") == 1 && seen("v3", "/multi/mirrors?a=b") == 1);
    assert_eq!(seen("v1", "/multi/mirrors?a=b"), 1);
}

#[test]
fn http_route_request_percentage_mirror() {
    let mut client = RIG.client("percent", 80);
    for path in ["/percent-20", "/percent-0", "/percent-100", "/fraction"] {
        for _ in 0..200 {
            assert_eq!(client.ask("GET", path, &[], b"").app(), "v1");
        }
    }
    // So many, and six times the standard deviation of chance.
    for (path, least, most) in
        [("/percent-20", 6, 74), ("/percent-0", 0, 0), ("/percent-100", 200, 200), ("/fraction", 57, 143)]
    {
        soon(|| seen("v2", path) >= least);
        assert!(seen("v2", path) <= most, "{path}: {} of 200", seen("v2", path));
    }
}
