//! Backends and weights (waypoint.md §10.6).
use super::*;

fn to(backends: &str) -> Given {
    given(&http("r", &format!("{{backendRefs: [{backends}]}}")))
}

#[test]
fn references_are_resolved_as_istio_does() {
    for (backend, expected) in [
        (
            "name: echo-v1, port: 80",
            "gateway-conformance-mesh/echo-v1.gateway-conformance-mesh.svc.cluster.local",
        ),
        ("name: x, namespace: other, port: 80", "other/x.other.svc.cluster.local"),
        ("group: '', kind: Service, name: x, namespace: other, port: 80", "other/x.other.svc.cluster.local"),
        (
            "group: multicluster.x-k8s.io, kind: ServiceImport, name: x, namespace: other, port: 80",
            "other/x.other.svc.clusterset.local",
        ),
        (
            "group: networking.istio.io, kind: Hostname, name: X.other.svc.cluster.local, port: 80",
            "other/x.other.svc.cluster.local",
        ),
        (
            "group: networking.istio.io, kind: Hostname, name: api.example.com, port: 443",
            "ext/api.example.com",
        ),
        (
            "group: networking.istio.io, kind: Hostname, name: unknown.example.com, port: 443",
            "gateway-conformance-mesh/unknown.example.com",
        ),
    ] {
        let entry = "---\n{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e, namespace: ext}, \
                     spec: {hosts: [api.example.com], ports: [{number: 443, name: https, protocol: TLS}]}}\n";
        let rule = http("r", &format!("{{backendRefs: [{{{backend}}}]}}"));
        let given = given(&(rule + entry));
        let backends = given.forward(&get("/")).backends;
        assert_eq!(backends.0[0].target.as_ref().unwrap().service.to_string(), expected);
        // That one is unknown here is told, and decided by the mesh's tables.
        assert!(
            given.problems().iter().all(|problem| problem.contains("BackendNotFound")),
            "{:?}",
            given.problems()
        );
    }
}

#[test]
fn shares_of_what_is_no_backend_fail_and_the_others_keep_theirs() {
    for (bad, said, reason) in [
        ("{kind: Bucket, group: s3, name: b, port: 1", "can be no backend", Reason::InvalidKind),
        ("{name: a.b.svc.cluster.local, port: 80", "is no name of a Service", Reason::BackendNotFound),
        ("{name: echo-v2", "port is missing", Reason::BackendNotFound),
        ("{name: echo-v2, port: 70000", "port is missing or none", Reason::BackendNotFound),
    ] {
        let given = to(&format!("{{name: echo-v1, port: 80, weight: 3}}, {bad}, weight: 1}}"));
        given.one_problem(said);
        let shares = given.shares(&get("/"));
        assert!(
            (7200..7800).contains(&shares["echo-v1"]) && shares["echo-v1"] + shares["500"] == 10_000,
            "{shares:?}"
        );
        assert_eq!(given.status("r"), (true, Reason::Accepted, reason, false));
    }
}

#[test]
fn weights_are_one_by_default_and_zero_is_never() {
    let shares =
        to("{name: echo, port: 80}, {name: echo-v1, port: 80, weight: 0}, {name: echo-v2, port: 80}")
            .fine()
            .shares(&get("/"));
    assert!(shares.len() == 2 && (4700..5300).contains(&shares["echo"]), "{shares:?}");
    let none = to("{name: echo, port: 80, weight: 0}").fine();
    assert_eq!(none.ask(&get("/")), "500 the rule has no backend with a weight above 0");
    assert!(given(&http("r", "{name: nothing}")).fine().ask(&get("/")).starts_with("500 "));
    for bad in ["-1", "1000001"] {
        let given = to(&format!("{{name: echo, port: 80, weight: {bad}}}"));
        given.one_problem("is no weight");
        assert!(given.ask(&get("/")).starts_with("500 "));
    }
    to("{name: echo, port: 80, weight: 1000000}").fine();
}

#[test]
fn missing_services_are_told_and_still_the_meshs_to_decide() {
    let given = to("{name: gone, port: 80}");
    given.one_problem("BackendNotFound: no Service gateway-conformance-mesh/gone with port 80");
    assert_eq!(given.ask(&get("/")), "gone:80 /");
    assert_eq!(given.status("r"), (true, Reason::Accepted, Reason::BackendNotFound, false));
    to("{name: echo, port: 81}").one_problem("BackendNotFound");
    // Nothing is given of that namespace: nothing is said.
    to("{name: gone, namespace: elsewhere, port: 80}").fine();
    let external = "---\n{apiVersion: v1, kind: Service, metadata: {name: out, namespace: gateway-conformance-mesh}, spec: {type: ExternalName, externalName: a.b}}\n";
    let given = super::given(&(external.to_owned() + &http("r", "{backendRefs: [{name: out, port: 80}]}")));
    given.one_problem("ExternalName");
    assert!(given.ask(&get("/")).starts_with("500 "));
}

#[test]
fn filters_that_a_backend_cannot_have_fail_its_share() {
    let rewrite = "filters: [{type: URLRewrite, urlRewrite: {hostname: a.b}}]";
    let given = to(&format!("{{name: echo-v1, port: 80}}, {{name: echo-v2, port: 80, {rewrite}}}"));
    given.one_problem("not supported at a backend");
    let shares = given.shares(&get("/"));
    assert!((4700..5300).contains(&shares["500"]), "{shares:?}");
}

#[test]
fn a_malformed_reference_makes_the_rule_fail() {
    let given = to("{name: echo-v1, port: 80}, {nam: echo-v2, port: 80}");
    assert!(given.ask(&get("/")).starts_with("500 spec.rules[0].backendRefs[1]"), "{}", given.ask(&get("/")));
}
