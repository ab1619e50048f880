//! What routes attach to, what of them is told, and what is read beside them (waypoint.md §5.1, §10.1, §10.2, §10.13, §10.14).
use adit_core::l7::{Protocol, Target};

use super::*;

/// A route with these parents.
fn attached(kind: &str, parents: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r, namespace: {NS}, generation: 7}}\nspec:\n  parentRefs: [{parents}]\n  rules:\n  - backendRefs: [{{name: echo-v1, port: 80}}]\n"
    )
}

const ENTRY: &str = "---\n{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: out, namespace: gateway-conformance-mesh}, \
                     spec: {hosts: [api.example.com, www.example.com], ports: [{number: 443, name: secure, protocol: HTTPS}, {number: 80, name: plain, protocol: HTTP}], resolution: DNS}}\n";

#[test]
fn parents_are_services_and_their_ports() {
    let kind = "group: '', kind: Service, name: echo";
    for (parent, on) in [
        (kind.to_owned(), vec![80, 8080, 443]),
        (format!("{kind}, port: 8080"), vec![8080]),
        (format!("{kind}, sectionName: http"), vec![80]),
        (format!("{kind}, sectionName: http, port: 80"), vec![80]),
        (format!("{kind}, port: 80}}, {{{kind}, port: 443"), vec![80, 443]),
    ] {
        let given = given(&attached("HTTPRoute", &format!("{{{parent}}}"))).fine();
        for port in [80, 8080, 443] {
            let answer = given.ask_as(&format!("echo:{port}"), NS, &get("/"));
            assert_eq!(answer != "-", on.contains(&port), "{parent} {port}: {answer}");
        }
        assert_eq!(given.compiled.statuses[0].generation, 7);
    }
}

#[test]
fn a_service_entry_is_all_of_its_hosts() {
    let parent = "{group: networking.istio.io, kind: ServiceEntry, name: out}";
    let given = given(&(attached("HTTPRoute", parent) + ENTRY)).fine();
    for host in ["api.example.com", "www.example.com"] {
        let service = adit_core::mesh::ServiceName { namespace: NS.into(), hostname: host.into() };
        assert!(given.compiled.snapshot.frontends.table(&service, 80, None).is_some());
        let of = |port| given.compiled.snapshot.protocols.of(&Target { service: service.clone(), port });
        assert_eq!([of(443), of(80), of(81)], [Protocol::Tls, Protocol::Http, Protocol::Detect]);
    }
}

#[test]
fn what_can_be_no_parent_is_told() {
    let service = |name: &str, spec: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {NS}}}, spec: {{{spec}}}}}\n"
        )
    };
    let more = service("external", "type: ExternalName")
        + &service("headless", "clusterIP: None, ports: [{port: 80}]");
    for (parent, said) in [
        (
            "group: '', kind: Service, name: gone",
            "Service gateway-conformance-mesh/gone is not among the resources",
        ),
        ("group: '', kind: Service, name: echo, port: 81", "with port 81 is not among the resources"),
        ("group: '', kind: Service, name: echo, sectionName: web", "no port of the name web"),
        ("group: '', kind: Service, name: echo, sectionName: http, port: 8080", "is 80, not the one"),
        ("group: '', kind: Service, name: external", "ExternalName"),
        ("group: '', kind: Service, name: headless", "headless"),
        ("group: networking.istio.io, kind: ServiceEntry, name: gone", "not among the resources"),
        ("kind: Gateway, name: waypoint", "not to its Gateway"),
    ] {
        let given = given(&(attached("HTTPRoute", &format!("{{{parent}}}")) + &more));
        given.one_problem(said);
        assert_eq!(given.status("r"), (false, Reason::NoMatchingParent, Reason::ResolvedRefs, false));
        assert_eq!(given.ask(&get("/")), "-");
    }
    // It is attached all the same: what is given may not be all.
    for (to, parent) in [("gone", "name: gone"), ("echo:81", "name: echo, port: 81")] {
        let given = given(&attached("HTTPRoute", &format!("{{group: '', kind: Service, {parent}}}")));
        assert_eq!(given.ask_as(to, NS, &get("/")), "echo-v1:80 /");
    }
    let nothing = given(&attached("HTTPRoute", ""));
    nothing.one_problem("the route is for nothing");
    // Somebody else's: nothing is said of it in the status.
    for parent in ["{name: ingress}", "{group: x.io, kind: Mesh, name: m}"] {
        let given = given(&attached("HTTPRoute", parent));
        given.one_problem("left to its own controller");
        assert!(given.compiled.statuses.is_empty());
    }
    // Services of which nothing is given are taken at their word.
    alone(&attached("HTTPRoute", "{group: '', kind: Service, name: gone, port: 80}")).fine();
}

#[test]
fn only_routes_of_the_most_specific_kind_count_on_a_port() {
    let grpc = attached("GRPCRoute", "{group: '', kind: Service, name: echo, port: 7070}")
        .replace("name: r,", "name: g,");
    let all = attached("HTTPRoute", "{group: '', kind: Service, name: echo}");
    let given = given(&(grpc.clone() + &all));
    given.one_problem("a GRPCRoute is there for port 7070");
    assert!(given.status("r").0, "it counts on the other ports");
    let same = attached("HTTPRoute", "{group: '', kind: Service, name: echo, port: 7070}");
    let given = super::given(&(grpc + &same));
    given.one_problem("a GRPCRoute is there for port 7070");
    assert_eq!(given.status("r"), (false, Reason::Conflicted, Reason::ResolvedRefs, false));
    assert!(given.status("g").0);
    let tls = attached("TLSRoute", "{group: '', kind: Service, name: echo, port: 443}")
        .replace("name: r,", "name: t,");
    let tcp = attached("TCPRoute", "{group: '', kind: Service, name: echo, port: 443}");
    let given = super::given(&(tls + &tcp));
    assert_eq!((given.status("r").1, given.status("t").1), (Reason::Conflicted, Reason::Accepted));
}

#[test]
fn consumers_have_routes_of_their_own() {
    let own = attached("HTTPRoute", &format!("{{group: '', kind: Service, name: echo, namespace: {NS}}}"))
        .replace(&format!("namespace: {NS}, generation"), "namespace: shop, generation")
        .replace("name: echo-v1, port: 80", &format!("name: echo-v2, namespace: {NS}, port: 80"));
    let producer = attached("HTTPRoute", "{group: '', kind: Service, name: echo}");
    let given = given(&(own.clone() + &producer)).fine();
    assert_eq!(given.ask_as("echo", "shop", &get("/")), "echo-v2:80 /");
    assert_eq!(given.ask_as("echo", "other", &get("/")), "echo-v1:80 /");
    let given = super::given(&own).fine();
    assert_eq!(given.ask_as("echo", "other", &get("/")), "-");
}

#[test]
fn what_has_no_effect_is_told() {
    let hostnames =
        route("HTTPRoute", "r", "  hostnames: [a.b]\n  rules: [{backendRefs: [{name: echo-v1, port: 80}]}]");
    let given = given(&hostnames);
    given.one_problem("have no effect in a mesh");
    assert_eq!(given.ask(&get("/").at("other")), "echo-v1:80 / host=other");
    let grant = "---\n{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: g}, spec: {from: [], to: []}}\n";
    super::given(grant).one_problem("may refer to backends of any namespace");
    super::given("---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}\n")
        .one_problem("Deployment of group \"apps\" is not supported");
}

#[test]
fn malformed_routes_are_told_and_what_can_be_read_of_them_fails() {
    let given = given(&route(
        "HTTPRoute",
        "r",
        "  rules: [{matches: [{path: {value: /a}}], filters: none}, {backendRefs: [{name: echo-v1, port: 80}]}]",
    ));
    given.one_problem("spec.rules[0].filters");
    assert!(given.ask(&get("/a")).starts_with("500 spec.rules[0].filters"));
    assert_eq!(given.ask(&get("/b")), "echo-v1:80 /b");
    super::given(&route("HTTPRoute", "r", "  rules: none")).one_problem("spec.rules");
    let bare = super::given(&route("HTTPRoute", "r", "")).fine();
    assert!(bare.ask(&get("/")).starts_with("500 "), "a rule for all, without backends");
}

fn gateway(name: &str, spec: &str) -> Given {
    alone(&format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: {name}, namespace: {NS}}}, spec: {{{spec}}}}}"
    ))
}

#[test]
fn our_gateway_is_one_that_a_waypoint_can_be() {
    let good =
        "listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}]";
    gateway("waypoint", &format!("gatewayClassName: adit-waypoint, {good}")).fine();
    for (spec, said, reason) in [
        (format!("gatewayClassName: nginx, {good}"), "none of our classes", Reason::Invalid),
        ("gatewayClassName: adit-waypoint".into(), "has one listener", Reason::UnsupportedProtocol),
        (
            "gatewayClassName: adit-waypoint, listeners: [{name: a, port: 80, protocol: HTTP}]".into(),
            "port 15008, protocol HBONE",
            Reason::UnsupportedProtocol,
        ),
    ] {
        let given = gateway("waypoint", &spec);
        given.one_problem(said);
        assert_eq!(given.status("waypoint").1, reason);
    }
    gateway("other", "gatewayClassName: istio").one_problem("is not the Gateway that this waypoint is");
    let tls = format!("gatewayClassName: adit-waypoint, {}", good.replace("HBONE", "HBONE, hostname: a.b"));
    gateway("waypoint", &tls).one_problem("have no effect");
    for (name, value, asked) in
        [("waypoint", "'true'", true), ("waypoint", "'false'", false), ("other", "'true'", false)]
    {
        let annotations = format!("{{ambient.istio.io/xfcc-include-client-identity: {value}}}");
        let told = alone(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: {name}, namespace: {NS}, annotations: {annotations}}}, spec: {{gatewayClassName: adit-waypoint, {good}}}}}"
        ));
        assert_eq!(told.compiled.snapshot.client_identity, asked, "{name}: {value}");
    }
}

#[test]
fn ports_speak_what_services_say() {
    let given = given("").fine();
    let of = |port| {
        given
            .compiled
            .snapshot
            .protocols
            .of(&Target { service: World::new(NS, "w").service(NS, "echo"), port })
    };
    let spoken = [80, 8080, 443, 9090, 7070, 22].map(of);
    let expected =
        [Protocol::Http, Protocol::Http, Protocol::Tls, Protocol::Tcp, Protocol::Grpc, Protocol::Detect];
    assert_eq!(spoken, expected);
    let udp = "---\n{apiVersion: v1, kind: Service, metadata: {name: d, namespace: gateway-conformance-mesh}, spec: {ports: [{port: 5353, name: dns, protocol: UDP}]}}\n";
    let given = super::given(udp).fine();
    let service = World::new(NS, "w").service(NS, "d");
    assert_eq!(given.compiled.snapshot.protocols.of(&Target { service, port: 5353 }), Protocol::Udp);
}
