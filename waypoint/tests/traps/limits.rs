//! Where nobody answers, or nobody may.
use adit_waypoint::demo::world::Plan;

use super::rig::servers::server;
use super::rig::{Rig, echo, route, soon};

#[test]
fn who_is_not_there_is_told_of_as_such() {
    let nobody = std::net::TcpListener::bind("127.0.3.9:0").unwrap();
    let closed = nobody.local_addr().unwrap();
    drop(nobody);
    let mut plan = Plan { empty: vec!["empty"], ..echo() };
    plan.servers = vec![("closed", closed, vec!["closed"])];
    let rules = r"  rules:
  - matches: [{ path: { value: /unknown } }]
    backendRefs: [{ name: nobody, port: 80 }]
  - matches: [{ path: { value: /port } }]
    backendRefs: [{ name: echo, port: 81 }]
  - matches: [{ path: { value: /nowhere } }]
    backendRefs: []
  - matches: [{ path: { value: /zero } }]
    backendRefs: [{ name: echo, port: 80, weight: 0 }]";
    let rig = Rig::new(&plan, &route("HTTPRoute", "r", "echo", rules));
    for (service, path, status, told) in [
        ("empty", "/empty", 503, " 503 UH no_healthy_upstream"),
        ("echo", "/unknown", 500, " 500 NC cluster_not_found"),
        ("echo", "/port", 500, " 500 NC cluster_not_found"),
        ("echo", "/nowhere", 500, " 500 - direct_response"),
        ("echo", "/zero", 500, " 500 - direct_response"),
        ("echo", "/none", 404, " 404 NR route_not_found"),
        ("closed", "/closed", 503, " 503 "),
    ] {
        assert_eq!(rig.get(service, path, &[]).status, status, "{path}");
        let lines = rig.lines(path, 1);
        assert!(lines[0].contains(told), "{lines:?}");
    }
    let line = rig.lines("/closed", 1).remove(0);
    assert!(line.contains(" UF") && line.contains("upstream_reset_before_response_started"), "{line}");
}

#[test]
fn a_breaker_lets_no_more_through() {
    let (entered, inside) = std::sync::mpsc::channel();
    let entered = std::sync::Mutex::new(entered);
    let held = server(10, move |mut stream| {
        let mut head = [0; 4096];
        if matches!(std::io::Read::read(&mut stream, &mut head), Ok(1..)) {
            let _ = entered.lock().unwrap().send(stream);
        }
    });
    let mut plan = echo();
    plan.servers = vec![("held", held, vec!["held"])];
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: d, namespace: demo }\nspec:\n  \
                host: held.demo.svc.cluster.local\n  trafficPolicy: { connectionPool: { http: { http2MaxRequests: 1 } } }\n";
    let rig = Rig::new(&plan, rule);
    let mut first = rig.client("held", 80);
    first.send("GET /first HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut answering = inside.recv_timeout(super::rig::PATIENCE).unwrap();
    let reply = rig.get("held", "/second", &[]);
    assert_eq!((reply.status, reply.header("x-envoy-overloaded")), (503, Some("true")));
    assert!(rig.lines("/second", 1)[0].contains(" 503 UO "));
    std::io::Write::write_all(&mut answering, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    assert_eq!(first.read().status, 200);
    // There is room again.
    let mut third = rig.client("held", 80);
    soon(|| rig.records.lines().iter().any(|line| line.contains("/first")));
    third.send("GET /third HTTP/1.1\r\nhost: a\r\n\r\n");
    drop(answering);
    let mut again = inside.recv_timeout(super::rig::PATIENCE).unwrap();
    std::io::Write::write_all(&mut again, b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    assert_eq!(third.read().status, 204);
}

#[test]
fn faults_are_told_as_such() {
    let service = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: f, namespace: demo }\nspec:\n  \
                   # No port is named: that of the request is meant.\n  hosts: [echo.demo.svc.cluster.local]\n  http:\n  - match: [{ uri: { prefix: /abort } }]\n    \
                   fault: { abort: { httpStatus: 418, percentage: { value: 100 } } }\n    route: [{ destination: { host: echo.demo.svc.cluster.local } }]\n  \
                   - match: [{ uri: { prefix: /delay } }]\n    fault: { delay: { fixedDelay: 0.05s, percentage: { value: 100 } } }\n    \
                   route: [{ destination: { host: echo.demo.svc.cluster.local } }]\n";
    let rig = Rig::new(&echo(), service);
    let begun = std::time::Instant::now();
    assert!(rig.world.problems.is_empty(), "{:#?}", rig.world.problems);
    assert_eq!(rig.get("echo", "/delay", &[]).status, 200);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(50));
    assert!(rig.lines("/delay", 1)[0].contains(" 200 DI "));
    let reply = rig.get("echo", "/abort", &[]);
    assert_eq!((reply.status, reply.body.as_slice()), (418, &b"fault filter abort"[..]));
    assert!(rig.lines("/abort", 1)[0].contains(" 418 FI fault_filter_abort"));
    assert!(rig.seen("v1", "/abort").is_empty() && rig.seen("v2", "/abort").is_empty());
}

#[test]
fn clients_stay_where_they_are() {
    let session = "  rules:\n  - sessionPersistence: { sessionName: stay, type: Cookie }\n    backendRefs: [{ name: echo, port: 80 }]";
    let hash = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: d, namespace: demo }\nspec:\n  \
                host: echo-both.demo.svc.cluster.local\n  trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: x-user } } }\n";
    let mut plan = echo();
    for (_, services) in &mut plan.apps {
        services.push("echo-both");
    }
    let rig = Rig::new(&plan, &format!("{}{hash}", route("HTTPRoute", "s", "echo", session)));
    for _ in 0..5 {
        let first = rig.get("echo", "/", &[]);
        let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        assert!(cookie.starts_with("stay="), "{cookie}");
        for _ in 0..10 {
            let reply = rig.get("echo", "/", &[("cookie", &cookie)]);
            assert_eq!((reply.app(), reply.header("set-cookie")), (first.app(), None));
        }
    }
    let mut apps = std::collections::BTreeSet::new();
    for user in 0..40 {
        let user = user.to_string();
        let answered = || rig.get("echo-both", "/", &[("x-user", &user)]).app();
        let first = answered();
        assert!((0..5).all(|_| answered() == first));
        apps.insert(first);
    }
    assert_eq!(apps.len(), 2, "all users are with one");
}
