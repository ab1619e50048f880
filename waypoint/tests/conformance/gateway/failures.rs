//! Backends that are none, or not there.
use adit_waypoint::demo::world::Plan;

use super::super::rig::{Rig, echo, route};

#[test]
fn http_route_invalid_backend_refs() {
    let to =
        |path: &str, backends: &str| format!("  - matches: [{{ path: {{ value: {path} }} }}]\n{backends}");
    let rules = [
        // HTTPRouteInvalidNonExistentBackendRef
        to("/nonexistent", "    backendRefs: [{ name: nonexistent, port: 80 }]\n"),
        // HTTPRouteInvalidBackendRefUnknownKind
        to(
            "/kind",
            "    backendRefs: [{ group: unknownkind.example.com, kind: NonExistent, name: echo-v1, port: 80 }]\n",
        ),
        // HTTPRouteInvalidCrossNamespaceBackendRef: nobody of this name is in that namespace.
        to("/namespace", "    backendRefs: [{ name: echo-v1, namespace: elsewhere, port: 80 }]\n"),
        to("/omitted", ""),
        to("/empty", "    backendRefs: []\n"),
        to("/unready", "    backendRefs: [{ name: unready, port: 80 }]\n"),
        // HTTPRoutePartiallyInvalid: each has its share, the invalid ones too.
        to(
            "/partly",
            "    backendRefs: [{ name: echo-v1, port: 80, weight: 50 }, { name: nonexistent, port: 80, weight: 50 }]\n",
        ),
        to(
            "/partly-kind",
            "    backendRefs: [{ name: echo-v1, port: 80, weight: 50 }, { group: x.example, kind: Y, name: z, port: 80, weight: 50 }]\n",
        ),
        to("/fine", "    backendRefs: [{ name: echo-v1, port: 80 }]\n"),
    ];
    let plan = Plan { empty: vec!["unready"], ..echo() };
    let rig = Rig::new(&plan, &route("HTTPRoute", "r", "echo", &format!("  rules:\n{}", rules.concat())));
    assert!(
        rig.world.problems.iter().any(|problem| problem.text.contains("NonExistent")),
        "{:#?}",
        rig.world.problems
    );
    for (path, status) in [
        ("/nonexistent", 500),
        ("/kind", 500),
        ("/namespace", 500),
        ("/omitted", 500),
        ("/empty", 500),
        // HTTPRouteServiceTypes and HTTPRouteBackendRefsWithoutEndpoints: known, and nobody is there.
        ("/unready", 503),
        ("/fine", 200),
        ("/none", 404),
    ] {
        assert_eq!(rig.get("echo", path, &[]).status, status, "{path}");
    }
    for path in ["/partly", "/partly-kind"] {
        let mut client = rig.client("echo", 80);
        let mut fine = 0;
        for _ in 0..200 {
            let reply = client.ask("GET", path, &[], b"");
            match reply.status {
                200 => {
                    assert_eq!((reply.app().as_str(), reply.path().as_str()), ("v1", path));
                    fine += 1;
                }
                status => assert_eq!(status, 500, "{path}"),
            }
        }
        // 100 are expected; six times the standard deviation of chance is 43.
        assert!((57..=143).contains(&fine), "{path}: {fine} of 200");
    }
}
