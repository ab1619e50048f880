//! CUSTOM policies and their providers: the table of waypoint.md §11.11.
use std::time::Duration;

use adit_core::l7::authz::{BodyInCheck, Denial, HttpCheck, Pattern, Protocol, Provider, Unusable};

use super::*;

const POLICY: &str = "{action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: [/a]}}]}], \
    targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]}";

/// Who is asked about a path under these settings of the mesh, and what is said of them.
fn asked(mesh: &str, path: &str, tcp: bool) -> (Result<Vec<Provider>, Unusable>, Vec<String>) {
    let compiled = compiled(&[config(mesh), document("AuthorizationPolicy", "shop", "p", POLICY)].concat());
    let asked = Asked { path: Some(path.to_owned()), ..Asked::default() };
    let connection = Connection {
        source: None,
        source_ip: [10, 0, 0, 1].into(),
        destination: ([10, 9, 0, 1], 80).into(),
        sni: None,
    };
    let policies = &compiled.snapshot.policies;
    let set = policies.of(None);
    let said = if tcp {
        set.custom(&Subject::tcp(connection))
    } else {
        let remote_ip = [10, 0, 0, 1].into();
        set.custom(&Subject::http(connection, Http { request: &asked, remote_ip, auth: None }))
    };
    let said = said.map(|asked| asked.iter().map(|asked| Provider::clone(asked.provider)).collect());
    let said = said.map_err(|denial| match denial {
        Denial::Unusable { why, .. } => why,
        other => panic!("{other}"),
    });
    (said, compiled.problems.iter().map(ToString::to_string).collect())
}

fn grpc() -> Provider {
    Provider {
        name: "opa".into(),
        host: "opa.auth.svc".into(),
        namespace: None,
        port: 9000,
        timeout: Duration::from_secs(600),
        fail_open: false,
        status_on_error: 403,
        body: None,
        protocol: Protocol::Grpc,
    }
}

#[test]
fn every_field_of_a_provider() {
    let pattern = |text: &str| Pattern::new(text);
    let http = Provider { protocol: Protocol::Http(HttpCheck::default()), ..grpc() };
    let all_http = HttpCheck {
        path_prefix: "/check".into(),
        request_headers: vec![pattern("x-old"), pattern("cookie"), pattern("x-*")],
        additional_headers: vec![("x-from".into(), "adit".into())],
        upstream_on_allow: vec![pattern("x-user")],
        downstream_on_allow: vec![pattern("set-cookie")],
        downstream_on_deny: vec![pattern("*-reason")],
    };
    for (fields, expected) in [
        ("envoyExtAuthzGrpc: {service: opa.auth.svc, port: 9000}", grpc()),
        (
            "envoyExtAuthzGrpc: {service: auth/opa.auth.svc, port: 9000, timeout: 0.5s, failOpen: true, \
             statusOnError: \"503\", clearRouteCache: true, \
             includeRequestBodyInCheck: {maxRequestBytes: 1024, allowPartialMessage: true, packAsBytes: true}}",
            Provider {
                namespace: Some("auth".into()),
                timeout: Duration::from_millis(500),
                fail_open: true,
                status_on_error: 503,
                body: Some(BodyInCheck { max: 1024, allow_partial: true, as_bytes: true }),
                ..grpc()
            },
        ),
        ("envoyExtAuthzHttp: {service: opa.auth.svc, port: 9000}", http.clone()),
        (
            "envoyExtAuthzHttp: {service: opa.auth.svc, port: 9000, statusOnError: 500, pathPrefix: /check, \
             includeHeadersInCheck: [x-old], includeRequestHeadersInCheck: [Cookie, \"x-*\"], \
             includeAdditionalHeadersInCheck: {X-From: adit}, headersToUpstreamOnAllow: [x-user], \
             headersToDownstreamOnAllow: [set-cookie], headersToDownstreamOnDeny: [\"*-reason\"]}",
            Provider { status_on_error: 500, protocol: Protocol::Http(all_http), ..http },
        ),
    ] {
        let mesh = format!("extensionProviders: [{{name: opa, {fields}}}]");
        assert_eq!(asked(&mesh, "/a", false), (Ok(vec![expected]), vec![]), "{fields}");
        // Only what matches is asked about.
        assert_eq!(asked(&mesh, "/b", false).0, Ok(vec![]));
    }
}

#[test]
fn a_provider_that_cannot_be_asked_refuses_what_matches() {
    let service = "service: opa.auth.svc, port: 9000";
    for fields in [
        String::new(),
        "name: other, envoyExtAuthzGrpc: {service: opa.auth.svc, port: 9000}".to_owned(),
        "name: opa, opentelemetry: {service: opa.auth.svc, port: 9000}".to_owned(),
        "name: opa, envoyExtAuthzGrpc: {port: 9000}".to_owned(),
        "name: opa, envoyExtAuthzGrpc: {service: opa.auth.svc}".to_owned(),
        "name: opa, envoyExtAuthzGrpc: {service: \"\", port: 9000}".to_owned(),
        "name: opa, envoyExtAuthzGrpc: {service: opa.auth.svc, port: 0}".to_owned(),
        format!("name: opa, envoyExtAuthzGrpc: {{{service}, unknown: 1}}"),
        format!("name: opa, envoyExtAuthzGrpc: {{{service}, timeout: soon}}"),
        format!("name: opa, envoyExtAuthzGrpc: {{{service}, timeout: 0s}}"),
        format!("name: opa, envoyExtAuthzGrpc: {{{service}, statusOnError: 42}}"),
        format!("name: opa, envoyExtAuthzGrpc: {{{service}, pathPrefix: /a}}"),
        format!(
            "name: opa, envoyExtAuthzGrpc: {{{service}, includeRequestBodyInCheck: {{maxRequestBytes: 0}}}}"
        ),
        format!("name: opa, envoyExtAuthzHttp: {{{service}, includeRequestHeadersInCheck: [\"*\"]}}"),
        format!("name: opa, envoyExtAuthzHttp: {{{service}, pathPrefix: a}}"),
        format!(
            "name: opa, envoyExtAuthzHttp: {{{service}, includeAdditionalHeadersInCheck: {{a: \"%REQ(b)%\"}}}}"
        ),
        format!(
            "name: opa, envoyExtAuthzHttp: {{{service}, includeAdditionalHeadersInCheck: {{a: \"b\\nc\"}}}}"
        ),
    ] {
        let mesh = format!("extensionProviders: [{{{fields}}}]");
        let (said, problems) = asked(&mesh, "/a", false);
        assert!(said.is_err(), "{fields}");
        assert!(problems.iter().any(|text| text.contains("spec.provider")), "{fields}: {problems:?}");
        assert_eq!(asked(&mesh, "/b", false).0, Ok(vec![]), "{fields}");
    }
}

#[test]
fn about_plain_tcp_only_grpc_is_asked() {
    let mesh = |kind: &str| {
        format!("extensionProviders: [{{name: opa, {kind}: {{service: opa.auth.svc, port: 9000}}}}]")
    };
    assert_eq!(asked(&mesh("envoyExtAuthzGrpc"), "/", true).0, Ok(vec![grpc()]));
    assert_eq!(asked(&mesh("envoyExtAuthzHttp"), "/", true).0, Err(Unusable::NeedsHttp("opa".into())));
}
