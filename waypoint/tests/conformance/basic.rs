//! Which route is for a request, and how many go where.
use super::rig::{Client, route};
use super::{RIG, get};

const TO_V1: &str = "[{ name: echo-v1, port: 80 }]";

pub(crate) fn manifests() -> String {
    let marked = |with: &str, port: &str| {
        format!(
            "  rules:\n  - filters: [{{ type: ResponseHeaderModifier, responseHeaderModifier: {{ set: [{{ name: x-route, value: {with} }}] }} }}]\n    \
             backendRefs: [{{ name: echo-v1, port: {port} }}]"
        )
    };
    let split = "  rules:\n  - matches: [{ path: { type: Exact, value: /v1 } }]\n    backendRefs: [{ name: echo-v1, port: 80 }]\n  \
                 - matches: [{ path: { type: Exact, value: /v2 } }]\n    backendRefs: [{ name: echo-v2, port: 80 }]";
    let front = "  rules:\n  - filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-route, value: front }] } }]\n    \
                 backendRefs: [{ name: echo-v2, port: 80 }]";
    let named = format!(
        "  rules:\n  - name: named-rule\n    matches: [{{ path: {{ type: PathPrefix, value: /named }} }}]\n    backendRefs: {TO_V1}\n  \
         - matches: [{{ path: {{ type: PathPrefix, value: /unnamed }} }}]\n    backendRefs: [{{ name: echo-v2, port: 80 }}]"
    );
    let weight = "  rules:\n  - backendRefs:\n    - { name: echo-v1, port: 80, weight: 70 }\n    - { name: echo-v2, port: 80, weight: 30 }\n    \
                  - { name: echo, port: 80, weight: 0 }";
    let consumer = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: consumer, namespace: consumer }\nspec:\n  \
                    parentRefs: [{ group: \"\", kind: Service, name: consumed, namespace: demo, port: 80 }]\n  rules:\n  \
                    - filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-route, value: consumer }] } }]\n    \
                    backendRefs: [{ name: consumed, namespace: demo, port: 80 }]\n";
    let ports = route("HTTPRoute", "ports", "ports", &marked("one-port", "80"))
        .replace("name: ports }]", "name: ports, port: 80 }]");
    [
        route("HTTPRoute", "split", "split", split),
        route("HTTPRoute", "front", "front", front),
        route("HTTPRoute", "host-a", "host-a", &marked("a", "80")),
        route("HTTPRoute", "host-b", "host-b", &marked("b", "80")),
        ports,
        route("HTTPRoute", "ports-all", "ports-all", &marked("all-ports", "80")),
        route("HTTPRoute", "named", "named", &named),
        route("HTTPRoute", "simple", "simple", &format!("  rules: [{{ backendRefs: {TO_V1} }}]")),
        route("HTTPRoute", "weight", "weight", weight),
        consumer.to_owned(),
    ]
    .concat()
}

#[test]
fn mesh_basic() {
    let reply = get("echo", "/a?b=c", &[("x-mine", "1")]);
    assert_eq!((reply.status, reply.path().as_str(), reply.host().as_str()), (200, "/a?b=c", "echo"));
    assert_eq!(reply.saw("x-mine").as_deref(), Some("1"));
}

#[test]
fn mesh_traffic_split() {
    for (path, app) in [("/v1", "v1"), ("/v2", "v2")] {
        for _ in 0..10 {
            let reply = get("split", path, &[]);
            assert_eq!((reply.status, reply.app().as_str(), reply.path().as_str()), (200, app, path));
        }
    }
    assert_eq!(get("split", "/v3", &[]).status, 404);
    assert_eq!(get("split", "/v1/", &[]).status, 404);
}

#[test]
fn mesh_frontend() {
    let by_service = get("front", "/", &[]);
    assert_eq!((by_service.status, by_service.header("x-route")), (200, Some("front")));
    let pod = RIG.world.direct("web", "v2").unwrap();
    let by_pod = Client::new(pod).ask("GET", "/pod", &[("host", "front")], b"");
    assert_eq!((by_pod.status, by_pod.header("x-route"), by_pod.app().as_str()), (200, None, "v2"));
}

#[test]
fn mesh_frontend_hostname() {
    for host in ["host-a", "host-b", "host-b.demo.svc.cluster.local", "echo.demo", "nobody.example"] {
        let reply = get("host-a", "/", &[("host", host)]);
        assert_eq!((reply.status, reply.header("x-route")), (200, Some("a")), "{host}");
        assert_eq!(reply.host(), host);
        let reply = get("host-b", "/", &[("host", host)]);
        assert_eq!((reply.status, reply.header("x-route")), (200, Some("b")), "{host}");
    }
}

#[test]
fn mesh_ports() {
    for (service, port, marked) in [
        ("ports", 80, Some("one-port")),
        ("ports", 8080, None),
        ("ports-all", 80, Some("all-ports")),
        ("ports-all", 8080, Some("all-ports")),
    ] {
        let reply = RIG.client(service, port).ask("GET", "/", &[], b"");
        assert_eq!((reply.status, reply.header("x-route")), (200, marked), "{service}:{port}");
    }
}

#[test]
fn mesh_consumer_route() {
    for (client, marked) in [("web", None), ("shop.consumer", Some("consumer"))] {
        let entry = RIG.world.entry(client, "consumed", 80).unwrap();
        let reply = Client::new(entry).ask("GET", "/", &[], b"");
        assert_eq!(
            (reply.status, reply.header("x-route"), reply.app().as_str()),
            (200, marked, "v1"),
            "{client}"
        );
    }
}

#[test]
fn mesh_http_route_named_rule() {
    for (path, app) in [("/named", "v1"), ("/named/x", "v1"), ("/unnamed", "v2")] {
        let reply = get("named", path, &[]);
        assert_eq!((reply.status, reply.app().as_str(), reply.path().as_str()), (200, app, path));
    }
    assert!(RIG.lines("/named/x", 1)[0].ends_with("demo.named.named-rule"));
}

#[test]
fn mesh_http_route_simple_same_namespace() {
    for _ in 0..20 {
        let reply = get("simple", "/", &[]);
        assert_eq!((reply.status, reply.app().as_str()), (200, "v1"));
    }
}

#[test]
fn mesh_http_route_weight() {
    let mut client = RIG.client("weight", 80);
    let mut first = 0;
    for _ in 0..500 {
        let reply = client.ask("GET", "/", &[], b"");
        assert_eq!(reply.status, 200);
        first += usize::from(reply.app() == "v1");
    }
    // 350 are expected; six times the standard deviation of chance is 61.
    assert!((289..=411).contains(&first), "v1 has answered {first} of 500");
}
