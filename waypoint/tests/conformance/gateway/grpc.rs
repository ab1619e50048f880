//! Calls of gRPC.
use super::super::rig::h2c::{self, call};
use super::super::rig::route;
use super::{RIG, rule};

const SERVICE: &str = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho";

pub(super) fn manifests() -> String {
    let method = |method: &str| format!("{{ method: {{ service: {SERVICE}, method: {method} }} }}");
    let exact = rule(&method("Echo"), "v1") + &rule(&method("EchoTwo"), "v2");
    let header = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| format!("{{ name: {name}, value: {value} }}")).collect();
        format!("{{ headers: [{}] }}", pairs.join(", "))
    };
    let headers = [
        rule(&header(&[("version", "one")]), "v1"),
        rule(&header(&[("version", "two")]), "v2"),
        rule(&header(&[("version", "two"), ("color", "orange")]), "v1"),
        rule(&format!("{}, {}", header(&[("color", "blue")]), header(&[("color", "green")])), "v1"),
    ];
    [
        route("GRPCRoute", "grpc-exact", "grpc-exact", &format!("  rules:\n{exact}")),
        route("GRPCRoute", "grpc-headers", "grpc-headers", &format!("  rules:\n{}", headers.concat())),
    ]
    .concat()
}

/// Who answers; nobody: `unimplemented`, as gRPC's clients understand it.
fn answered(service: &str, calls: &[(&str, &[(&str, &str)], Option<&str>)]) {
    let asked =
        calls.iter().map(|(method, headers, _)| call(&format!("/{SERVICE}/{method}"), headers)).collect();
    let replies = h2c::ask(RIG.entry(service, 80), asked, b"\0\0\0\0\0", None);
    for (reply, (method, headers, app)) in replies.iter().zip(calls) {
        match app {
            Some(app) => {
                assert_eq!((reply.status, reply.app().as_str()), (200, *app), "{method} {headers:?}");
                assert_eq!(reply.told()["path"], format!("/{SERVICE}/{method}"));
            }
            None => assert_eq!(reply.headers["grpc-status"].as_bytes(), b"12", "{method} {headers:?}"),
        }
    }
}

#[test]
fn grpc_exact_method_matching() {
    answered(
        "grpc-exact",
        &[("Echo", &[], Some("v1")), ("EchoTwo", &[], Some("v2")), ("EchoThree", &[], None)],
    );
}

#[test]
fn grpc_route_header_matching() {
    answered(
        "grpc-headers",
        &[
            ("Echo", &[("version", "one")], Some("v1")),
            ("Echo", &[("version", "two")], Some("v2")),
            ("Echo", &[("version", "two"), ("color", "orange")], Some("v1")),
            ("Echo", &[("version", "two"), ("color", "blue")], Some("v2")),
            ("Echo", &[("color", "green")], Some("v1")),
            ("Echo", &[("color", "orange")], None),
            ("Echo", &[], None),
        ],
    );
}
