//! gRPC. The messages are not looked at, so that any octets do.
use super::RIG;
use super::rig::h2c::{self, call};
use super::rig::route;

const ECHO: &str = "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/Echo";

pub(crate) fn manifests() -> String {
    let headers = [
        ("set", "set: [{ name: X-Header-Set, value: set-overwrites-values }]"),
        ("add", "add: [{ name: X-Header-Add, value: add-appends-values }]"),
        ("remove", "remove: [X-Header-Remove]"),
        (
            "multiple",
            "set: [{ name: X-Header-Set-1, value: header-set-1 }], add: [{ name: X-Header-Add-1, value: header-add-1 }], \
             remove: [X-Header-Remove-1, X-Header-Remove-2]",
        ),
    ];
    let rules = headers.map(|(by, change)| {
        format!(
            "  - matches: [{{ headers: [{{ name: x-do, value: {by} }}] }}]\n    filters: [{{ type: RequestHeaderModifier, \
             requestHeaderModifier: {{ {change} }} }}]\n    backendRefs: [{{ name: echo-v1, port: 80 }}]\n"
        )
    });
    let weight = "  rules:\n  - backendRefs:\n    - { name: echo-v1, port: 80, weight: 70 }\n    - { name: echo-v2, port: 80, weight: 30 }\n    \
                  - { name: echo, port: 80, weight: 0 }";
    let methods = r"  rules:
  - matches: [{ method: { service: a.B, method: C } }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ method: { service: a.B } }]
    backendRefs: [{ name: echo-v2, port: 80 }]";
    [
        route("GRPCRoute", "grpc-headers", "grpc-headers", &format!("  rules:\n{}", rules.concat())),
        route("GRPCRoute", "grpc-weight", "grpc-weight", weight),
        route("GRPCRoute", "grpc-methods", "grpc-methods", methods),
    ]
    .concat()
}

#[test]
fn mesh_grpc_route_request_header_modifier() {
    let calls = vec![
        call(ECHO, &[("x-do", "set"), ("x-header-set", "some-other-value")]),
        call(ECHO, &[("x-do", "add"), ("x-header-add", "some-other-value")]),
        call(ECHO, &[("x-do", "remove"), ("x-header-remove", "val"), ("another-header", "kept")]),
        call(ECHO, &[("x-do", "multiple"), ("x-header-set-1", "val"), ("x-header-remove-1", "val")]),
    ];
    let replies = h2c::ask(RIG.entry("grpc-headers", 80), calls, b"\0\0\0\0\0", None);
    for reply in &replies {
        assert_eq!((reply.status, reply.app().as_str()), (200, "v1"));
        assert_eq!(reply.told()["path"], ECHO);
        assert_eq!(reply.told()["version"], "HTTP/2.0");
        assert_eq!(reply.saw("te").as_deref(), Some("trailers"));
    }
    let saw = |number: usize, name: &str| replies[number].saw(name);
    assert_eq!(saw(0, "x-header-set").as_deref(), Some("set-overwrites-values"));
    assert_eq!(saw(1, "x-header-add").as_deref(), Some("some-other-value,add-appends-values"));
    assert_eq!((saw(2, "x-header-remove"), saw(2, "another-header").as_deref()), (None, Some("kept")));
    assert_eq!(saw(3, "x-header-set-1").as_deref(), Some("header-set-1"));
    assert_eq!(saw(3, "x-header-add-1").as_deref(), Some("header-add-1"));
    assert_eq!(saw(3, "x-header-remove-1"), None);
}

#[test]
fn mesh_grpc_route_weight() {
    let calls = (0..500).map(|_| call(ECHO, &[])).collect();
    let replies = h2c::ask(RIG.entry("grpc-weight", 80), calls, b"\0\0\0\0\0", None);
    assert!(replies.iter().all(|reply| reply.status == 200));
    let first = replies.iter().filter(|reply| reply.app() == "v1").count();
    // As for HTTP.
    assert!((289..=411).contains(&first), "v1 has answered {first} of 500");
}

/// Transposed from the gateway's cases: rules by service and method; what no rule is for is "unimplemented" to gRPC clients.
#[test]
fn grpc_route_methods() {
    let calls = ["/a.B/C", "/a.B/D", "/a.X/C"].map(|path| call(path, &[])).to_vec();
    let replies = h2c::ask(RIG.entry("grpc-methods", 80), calls, b"\0\0\0\0\0", None);
    assert_eq!([replies[0].app(), replies[1].app()], ["v1", "v2"]);
    assert_eq!((replies[2].status, replies[2].headers["grpc-status"].as_bytes()), (200, &b"12"[..]));
}
