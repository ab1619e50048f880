//! What filters do to requests and answers, as far as no table says it.
use super::super::rig::{Client, route};
use super::RIG;

pub(super) fn manifests() -> String {
    let request =
        |changes: &str| format!("{{ type: RequestHeaderModifier, requestHeaderModifier: {{ {changes} }} }}");
    let response = |changes: &str| {
        format!("{{ type: ResponseHeaderModifier, responseHeaderModifier: {{ {changes} }} }}")
    };
    let own = |app: &str| {
        format!(
            "    - {{ name: echo-{app}, port: 80, weight: 10, filters: [{}, {}] }}\n",
            request(&format!("set: [{{ name: backend, value: {app} }}]")),
            response(&format!("set: [{{ name: x-backend, value: {app} }}]"))
        )
    };
    let cors = "  rules:\n  - filters: [{ type: CORS, cors: { allowOrigins: [\"https://www.foo.com\"], allowMethods: [\"*\"] } }]\n    \
                backendRefs: [{ name: echo-v1, port: 80 }]\n";
    [
        route(
            "HTTPRoute",
            "own-filters",
            "own-filters",
            &format!("  rules:\n  - backendRefs:\n{}{}", own("v1"), own("v2")),
        ),
        route("HTTPRoute", "cors", "cors", cors),
    ]
    .concat()
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

/// What the rules answer, the application has not seen.
#[test]
fn http_route_cors() {
    let headers = [("origin", "https://www.foo.com"), ("access-control-request-method", "POST")];
    let reply = Client::new(RIG.entry("cors", 80)).ask("OPTIONS", "/asked-first", &headers, b"");
    assert_eq!(reply.status, 200);
    assert!(["POST", "*"].contains(&reply.header("access-control-allow-methods").unwrap()));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    assert!(RIG.seen("v1", "/asked-first").is_empty());
}
