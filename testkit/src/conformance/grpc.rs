//! gRPC. The messages are not looked at, so that any octets do.
use super::{Behind, Case, Share, V1, basic, call, route};

const ECHO: &str = "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/Echo";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "MeshGRPCRouteRequestHeaderModifier",
        services: &[("grpc-headers", Behind::Both)],
        manifests: || {
            let rules = HEADERS.map(|(by, change)| {
                format!(
                    "  - matches: [{{ headers: [{{ name: x-do, value: {by} }}] }}]\n    filters: [{{ type: RequestHeaderModifier, \
                     requestHeaderModifier: {{ {change} }} }}]\n    backendRefs: [{{ name: {V1}, port: 7070 }}]\n"
                )
            });
            route("GRPCRoute", "grpc-headers", &format!("  rules:\n{}", rules.concat()))
        },
        asks: &[
            call("grpc-headers", ECHO)
                .with(&[("x-do", "set"), ("x-header-set", "some-other-value")])
                .by(V1)
                .sees(&[("x-header-set", Some("set-overwrites-values"))]),
            call("grpc-headers", ECHO)
                .with(&[("x-do", "add"), ("x-header-add", "some-other-value")])
                .by(V1)
                .sees(&[("x-header-add", Some("some-other-value,add-appends-values"))]),
            call("grpc-headers", ECHO)
                .with(&[("x-do", "remove"), ("x-header-remove", "val"), ("another-header", "kept")])
                .by(V1)
                .sees(&[("x-header-remove", None), ("another-header", Some("kept"))]),
            call("grpc-headers", ECHO)
                .with(&[("x-do", "multiple"), ("x-header-set-1", "val"), ("x-header-remove-1", "val")])
                .by(V1)
                .sees(&[
                    ("x-header-set-1", Some("header-set-1")),
                    ("x-header-add-1", Some("header-add-1")),
                    ("x-header-remove-1", None),
                ]),
        ],
        shares: &[],
    },
    Case {
        name: "MeshGRPCRouteWeight",
        services: &[("grpc-weight", Behind::Both)],
        manifests: || route("GRPCRoute", "grpc-weight", &basic::weighted().replace("port: 80", "port: 7070")),
        asks: &[],
        // As for HTTP.
        shares: &[Share { ask: call("grpc-weight", ECHO).times(500), app: V1, least: 289, most: 411 }],
    },
];

/// By which header, and the change.
const HEADERS: [(&str, &str); 4] = [
    ("set", "set: [{ name: X-Header-Set, value: set-overwrites-values }]"),
    ("add", "add: [{ name: X-Header-Add, value: add-appends-values }]"),
    ("remove", "remove: [X-Header-Remove]"),
    (
        "multiple",
        "set: [{ name: X-Header-Set-1, value: header-set-1 }], add: [{ name: X-Header-Add-1, value: header-add-1 }], \
         remove: [X-Header-Remove-1, X-Header-Remove-2]",
    ),
];
