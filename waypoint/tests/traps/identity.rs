//! Who calls, as backends are told.
use adit_waypoint::explain::{Outcome, Question, target};

use super::rig::{Rig, echo, h2c};

const CLIENT_CERT: &str = "x-forwarded-client-cert";

const GATEWAY: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: waypoint
  namespace: demo
  annotations: { ambient.istio.io/xfcc-include-client-identity: "true" }
spec:
  gatewayClassName: adit-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: seen, namespace: demo }
spec:
  targetRefs: [{ group: "", kind: Service, name: echo-v2 }]
  action: DENY
  rules: [{ when: [{ key: "request.headers[x-forwarded-client-cert]", values: ["*sa/web"] }] }]
"#;

#[test]
fn a_clients_own_word_counts_for_nothing() {
    let rig = Rig::new(&echo(), "");
    assert_eq!(rig.get("echo-v1", "/", &[(CLIENT_CERT, "By=me")]).saw(CLIENT_CERT), None);
}

#[test]
fn backends_are_told_who_calls_where_the_gateway_says_so() {
    let rig = Rig::new(&echo(), GATEWAY);
    assert!(rig.world.problems.is_empty(), "{:#?}", rig.world.problems);
    let expected = "By=spiffe://cluster.local/ns/demo/sa/waypoint;URI=spiffe://cluster.local/ns/demo/sa/web";
    for forged in [&[][..], &[(CLIENT_CERT, "By=me")], &[(CLIENT_CERT, "By=me"), (CLIENT_CERT, "URI=you")]] {
        assert_eq!(rig.get("echo-v1", "/", forged).saw(CLIENT_CERT).as_deref(), Some(expected));
    }
    let replies = h2c::ask(rig.entry("echo-v1", 80), vec![h2c::request("GET", "/", &[])], b"", None);
    assert_eq!(replies[0].saw(CLIENT_CERT).as_deref(), Some(expected));
    // Policies see it as backends do.
    assert_eq!(rig.get("echo-v2", "/", &[]).status, 403);
    let question = Question {
        to: target("echo-v2.demo:80").unwrap(),
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        from: Some("demo/web".parse().unwrap()),
    };
    let verdict = rig.world.explain(&question).unwrap().verdict;
    assert_eq!((verdict.outcome, verdict.status), (Outcome::Refused, Some(403)));
}
