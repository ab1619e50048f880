//! Calls of gRPC.
use super::super::{Behind, Case, V1, V2, call, route};

const ECHO: &str = "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/Echo";
const ECHO_TWO: &str = "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/EchoTwo";
const ECHO_THREE: &str = "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/EchoThree";
/// As clients of gRPC understand it: "unimplemented".
const NOBODY: super::super::Fields = &[("grpc-status", Some("12"))];

fn ruled(service: &str, rules: &[(&str, &str)]) -> String {
    let rules = rules.iter().map(|(matches, app)| {
        format!("  - matches: [{matches}]\n    backendRefs: [{{ name: {app}, port: 7070 }}]\n")
    });
    route("GRPCRoute", service, &format!("  rules:\n{}", rules.collect::<String>()))
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "GRPCExactMethodMatching",
        services: &[("grpc-exact", Behind::Both)],
        manifests: || {
            let method = |method: &str| {
                format!(
                    "{{ method: {{ service: gateway_api_conformance.echo_basic.grpcecho.GrpcEcho, method: {method} }} }}"
                )
            };
            ruled("grpc-exact", &[(&method("Echo"), V1), (&method("EchoTwo"), V2)])
        },
        asks: &[
            call("grpc-exact", ECHO).by(V1),
            call("grpc-exact", ECHO_TWO).by(V2),
            call("grpc-exact", ECHO_THREE).is(200).told(NOBODY),
        ],
        shares: &[],
    },
    Case {
        // Not of the suite: a service without a method.
        name: "GRPCServiceMatching",
        services: &[("grpc-methods", Behind::Both)],
        manifests: || {
            ruled(
                "grpc-methods",
                &[("{ method: { service: a.B, method: C } }", V1), ("{ method: { service: a.B } }", V2)],
            )
        },
        asks: &[
            call("grpc-methods", "/a.B/C").by(V1),
            call("grpc-methods", "/a.B/D").by(V2),
            call("grpc-methods", "/a.X/C").is(200).told(NOBODY),
        ],
        shares: &[],
    },
    Case {
        name: "GRPCRouteHeaderMatching",
        services: &[("grpc-by-header", Behind::Both)],
        manifests: || {
            ruled(
                "grpc-by-header",
                &[
                    ("{ headers: [{ name: version, value: one }] }", V1),
                    ("{ headers: [{ name: version, value: two }] }", V2),
                    ("{ headers: [{ name: version, value: two }, { name: color, value: orange }] }", V1),
                    (
                        "{ headers: [{ name: color, value: blue }] }, { headers: [{ name: color, value: green }] }",
                        V1,
                    ),
                ],
            )
        },
        asks: &[
            call("grpc-by-header", ECHO).with(&[("version", "one")]).by(V1),
            call("grpc-by-header", ECHO).with(&[("version", "two")]).by(V2),
            call("grpc-by-header", ECHO).with(&[("version", "two"), ("color", "orange")]).by(V1),
            call("grpc-by-header", ECHO).with(&[("version", "two"), ("color", "blue")]).by(V2),
            call("grpc-by-header", ECHO).with(&[("color", "green")]).by(V1),
            call("grpc-by-header", ECHO).with(&[("color", "orange")]).is(200).told(NOBODY),
            call("grpc-by-header", ECHO).is(200).told(NOBODY),
        ],
        shares: &[],
    },
];
