//! What `explain` says of a request is what becomes of it, over real sockets.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use adit_waypoint::demo::world::{Plan, Records, World};
use adit_waypoint::explain::{Outcome, Question, target};
use adit_waypoint::settings::Settings;

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

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn what_is_explained_is_what_happens() {
    let plan = Plan {
        clients: vec!["web"],
        apps: vec![("v1", vec!["echo", "echo-v1"]), ("v2", vec!["echo", "echo-v2"])],
        empty: vec!["empty"],
        ports: vec![80],
        ..Plan::default()
    };
    let world = World::start(&plan, MANIFESTS, Settings::default(), Records::default().recorders()).unwrap();
    let entry = world.entry("web", "echo", 80).unwrap();
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
        let headers = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let request = format!("GET {path} HTTP/1.1\r\nhost: echo\r\n{headers}connection: close\r\n\r\n");
        let answer = ask(entry, &request);
        let question = Question {
            path: path.to_owned(),
            host: Some("echo".to_owned()),
            headers: if header.is_empty() { vec![] } else { vec![header.parse().unwrap()] },
            from: Some("demo/web".parse().unwrap()),
            ..Question::get(target("echo.demo:80").unwrap())
        };
        let report = world.explain(&question).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}\n{report}");
        match report.verdict.outcome {
            Outcome::Sent => {
                assert_eq!(status, 200, "{path}: {report}");
                let forward = report.forward.unwrap();
                let path = format!("\"{}\"", forward.path);
                assert!(
                    answer.contains(&format!("\"app\":\"{app}\"")) && answer.contains(&path),
                    "{path}: {answer}"
                );
                assert!(
                    forward.backends[0].target.starts_with(&format!("echo-{app}.")),
                    "{:?}",
                    forward.backends
                );
            }
            Outcome::Answered | Outcome::Refused => {
                assert_eq!(report.verdict.status, Some(status), "{path}: {answer}\n{report}");
                for it in report.answer.iter().flat_map(|answer| &answer.headers) {
                    assert!(
                        answer.contains(&format!("{}: {}\r\n", it.name, it.value)),
                        "{path}: {answer}\n{report}"
                    );
                }
            }
        }
    }
}
