//! What heads say, and who decides by it.
use std::sync::LazyLock;

use super::rig::{Client, Rig, echo, h2c, route};

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: p, namespace: demo }\nspec:\n  \
                  targetRefs: [{ group: \"\", kind: Service, name: echo-v1 }]\n  action: DENY\n  rules:\n  \
                  - to: [{ operation: { paths: [/admin, \"/admin/*\"] } }]\n  \
                  - to: [{ operation: { hosts: [secret.example] } }]\n";
    let to_v2 =
        route("HTTPRoute", "r", "echo-v2", "  rules: [{ backendRefs: [{ name: echo-v2, port: 80 }] }]");
    Rig::new(&echo(), &format!("{policy}{to_v2}"))
});

#[test]
fn host_chooses_no_service() {
    for host in ["echo-v2", "echo-v2.demo.svc.cluster.local:80", "ECHO-V2.demo.", "[::1]:80"] {
        let reply = RIG.get("echo-v1", "/", &[("host", host)]);
        assert_eq!((reply.status, reply.app().as_str(), reply.host().as_str()), (200, "v1", host));
    }
}

#[test]
fn an_absolute_target_is_the_host() {
    let mut client = RIG.client("echo-v1", 80);
    client.send("GET http://other.example/absolute?x HTTP/1.1\r\nhost: echo\r\n\r\n");
    let reply = client.read();
    assert_eq!(
        (reply.status, reply.host().as_str(), reply.path().as_str()),
        (200, "other.example", "/absolute?x")
    );
    // For policies as well.
    client.send("GET http://secret.example/ HTTP/1.1\r\nhost: echo\r\n\r\n");
    assert_eq!(client.read().status, 403);
    client.send("GET http://echo/admin/x HTTP/1.1\r\nhost: echo\r\n\r\n");
    assert_eq!(client.read().status, 403);
}

#[test]
fn paths_are_judged_as_they_are_meant() {
    for path in
        ["/admin", "/admin/x", "/x/../admin", "/./admin/", "/%2e/admin", "/x/%2e%2e/admin", "/x/%2E./admin/y"]
    {
        assert_eq!(RIG.get("echo-v1", path, &[]).status, 403, "{path}");
    }
    for path in ["/administrator", "/x/admin", "/x?path=/admin"] {
        let reply = RIG.get("echo-v1", path, &[]);
        assert_eq!((reply.status, reply.path().as_str()), (200, path));
    }
    // Above the root is nothing.
    assert_eq!(RIG.get("echo-v1", "/../x", &[]).status, 400);
}

#[test]
fn a_header_that_is_there_twice_stays_so() {
    let reply = RIG.get("echo-v1", "/", &[("x-twice", "a"), ("x-twice", "b"), ("x-empty", "")]);
    assert_eq!((reply.saw("x-twice").as_deref(), reply.saw("x-empty").as_deref()), (Some("a,b"), Some("")));
}

#[test]
fn what_only_proxies_may_say_is_taken_off() {
    let said = [
        ("x-forwarded-client-cert", "By=me"),
        ("x-istio-source", "waypoint"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ];
    let reply = RIG.get("echo-v1", "/", &said);
    for (name, _) in said {
        assert_eq!(reply.saw(name), None, "{name}");
    }
    assert!(reply.saw("x-request-id").is_some());
}

#[test]
fn the_backend_is_asked_in_the_clients_version() {
    let entry = RIG.entry("echo-v1", 80);
    assert_eq!(Client::new(entry).ask("GET", "/", &[], b"").told()["version"], "HTTP/1.1");
    let replies = h2c::ask(entry, vec![h2c::request("GET", "/", &[])], b"", None);
    assert_eq!(replies[0].told()["version"], "HTTP/2.0");
}

#[test]
fn each_request_is_told_once() {
    let mut client = RIG.client("echo-v2", 80);
    for _ in 0..5 {
        client.ask("GET", "/told", &[], b"");
    }
    for line in RIG.lines("/told", 5) {
        assert_eq!(line, "GET /told 200 - via_upstream demo.r.0");
    }
}
