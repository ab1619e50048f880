//! What `explain` says of a request is what becomes of it, over real sockets.
#[path = "rig/mod.rs"]
mod rig;

use adit_waypoint::demo::world::Plan;
use adit_waypoint::explain::{Outcome, Question, target};
use rig::{Rig, echo};

const MANIFESTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: echo, namespace: demo }
spec:
  parentRefs: [{ group: '', kind: Service, name: echo }]
  rules:
    - name: old
      matches: [{ path: { type: PathPrefix, value: /old } }]
      filters: [{ type: RequestRedirect, requestRedirect: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }]
    - name: api
      matches: [{ path: { type: PathPrefix, value: /api } }]
      filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /inner } } }]
      backendRefs: [{ name: echo-v2, port: 80 }]
    - name: nobody
      matches: [{ path: { type: PathPrefix, value: /nobody } }]
      backendRefs: [{ name: empty, port: 80 }]
    - name: gone
      matches: [{ path: { type: PathPrefix, value: /gone } }]
      backendRefs: [{ name: gone, port: 80 }]
    - name: get
      matches: [{ method: GET, headers: [{ name: x-group, value: testers }] }]
      backendRefs: [{ name: echo-v1, port: 80 }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-admin, namespace: demo }
spec:
  targetRefs: [{ group: '', kind: Service, name: echo }]
  action: DENY
  rules: [{ to: [{ operation: { paths: ['/admin*'] } }], from: [{ source: { namespaces: [demo] } }] }]
";

#[test]
fn what_is_explained_is_what_happens() {
    let rig = Rig::new(&Plan { empty: vec!["empty"], ..echo() }, MANIFESTS);
    for (path, header, status, app) in [
        ("/old/x?y", "", 302, ""),
        ("/api/x?y", "", 200, "v2"),
        ("/./api/x/../z", "", 200, "v2"),
        ("/nobody", "", 503, ""),
        ("/gone", "", 500, ""),
        ("/", "x-group: testers", 200, "v1"),
        ("/", "x-group: others", 404, ""),
        ("/x/../admin/a", "x-group: testers", 403, ""),
        ("/../x", "", 400, ""),
    ] {
        let sent = header.split_once(": ");
        let reply = rig.get("echo", path, sent.as_slice());
        let question = Question {
            path: path.to_owned(),
            host: Some("echo".to_owned()),
            headers: if header.is_empty() { vec![] } else { vec![header.parse().unwrap()] },
            from: Some("demo/web".parse().unwrap()),
            ..Question::get(target("echo.demo:80").unwrap())
        };
        let report = rig.world.explain(&question).unwrap();
        assert_eq!(reply.status, status, "{path}: {reply:?}\n{report}");
        match report.verdict.outcome {
            Outcome::Sent => {
                assert_eq!(status, 200, "{path}: {report}");
                let forward = report.forward.unwrap();
                assert_eq!((reply.app().as_str(), reply.path().as_str()), (app, &*forward.path), "{path}");
                assert!(
                    forward.backends[0].target.starts_with(&format!("echo-{app}.")),
                    "{:?}",
                    forward.backends
                );
            }
            Outcome::Answered | Outcome::Refused => {
                assert_eq!(report.verdict.status, Some(status), "{path}: {reply:?}\n{report}");
                for it in report.answer.iter().flat_map(|answer| &answer.headers) {
                    let told = reply.header(&it.name);
                    assert_eq!(told, Some(&*it.value), "{path}, {}: {reply:?}\n{report}", it.name);
                }
            }
        }
    }
}
