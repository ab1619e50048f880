//! Whoever is asked first (CUSTOM policies): yes, no, no answer.
use adit_waypoint::demo::world::Plan;

use crate::rig::Rig;

/// An authorizer by HTTP, which is one of the mesh's applications: its status is what the client asks it to be.
fn manifests(fail_open: bool) -> String {
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{ name: istio, namespace: istio-system }}
data:
  mesh: |
    extensionProviders:
    - name: asked-first
      envoyExtAuthzHttp:
        service: authorizer.demo.svc.cluster.local
        port: 80
        failOpen: {fail_open}
        pathPrefix: /check
        includeRequestHeadersInCheck: [x-app-status, x-app-header]
        headersToUpstreamOnAllow: [x-user]
        headersToDownstreamOnDeny: [x-why]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: ask, namespace: demo }}
spec:
  targetRefs: [{{ group: \"\", kind: Service, name: echo }}]
  action: CUSTOM
  provider: {{ name: asked-first }}
  rules: [{{ to: [{{ operation: {{ paths: [\"/asked*\"] }} }}] }}]
"
    )
}

fn plan(there: bool) -> Plan {
    let mut plan = Plan {
        clients: vec!["web"],
        apps: vec![("echo", vec!["echo"])],
        empty: vec![],
        ports: vec![80],
        ..Plan::default()
    };
    match there {
        true => plan.apps.push(("authorizer", vec!["authorizer"])),
        false => plan.empty.push("authorizer"),
    }
    plan
}

#[test]
fn an_authorizer_says_who_may_and_tells_the_backend_more() {
    let rig = Rig::new(&plan(true), &manifests(false));
    let allowed = rig.get("echo", "/asked?x=1", &[("x-app-header", "x-user=alice")]);
    assert_eq!((allowed.status, allowed.app()), (200, "echo".to_owned()));
    assert_eq!(allowed.saw("x-user").as_deref(), Some("alice"));
    let asked = rig.seen("authorizer", "/check/asked?x=1").remove(0);
    assert_eq!((&*asked.method, asked.headers.contains_key("user-agent")), ("GET", false));
    let denied = rig.get("echo", "/asked", &[("x-app-status", "418"), ("x-app-header", "x-why=tea")]);
    assert_eq!((denied.status, denied.header("x-why")), (418, Some("tea")));
    assert!(rig.lines("/asked", 1)[0].contains(" 418 UAEX ext_authz_denied"));
    // What the policy is not for is not asked about.
    assert_eq!(rig.get("echo", "/free", &[]).status, 200);
    assert!(rig.seen("authorizer", "/check/free").is_empty());
}

#[test]
fn who_cannot_be_asked_says_no_unless_told_otherwise() {
    let closed = Rig::new(&plan(false), &manifests(false));
    assert_eq!(closed.get("echo", "/asked", &[]).status, 403);
    assert!(closed.lines("/asked", 1)[0].contains(" 403 UAEX ext_authz_error"));
    let open = Rig::new(&plan(false), &manifests(true));
    assert_eq!(open.get("echo", "/asked", &[]).status, 200);
}
