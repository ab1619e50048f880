//! Whoever is asked first (CUSTOM policies): yes, no, no answer.
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

use adit_waypoint::demo::world::Plan;
use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::rig::servers::server;
use crate::rig::{Client, PATIENCE, Rig, soon};

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

/// An authorizer by gRPC: to each question `answer`, a message of the type CheckResponse. The questions are given as they came.
fn authorizer(last: u8, answer: &'static [u8]) -> (SocketAddr, Receiver<Vec<u8>>) {
    let (asked, questions) = channel();
    let address = server(last, move |stream| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            stream.set_nonblocking(true).unwrap();
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let asked = asked.clone();
                tokio::spawn(async move {
                    assert_eq!(request.uri().path(), "/envoy.service.auth.v3.Authorization/Check");
                    let (mut body, mut octets) = (request.into_body(), Vec::new());
                    while let Some(Ok(data)) = body.data().await {
                        octets.extend_from_slice(&data);
                    }
                    let _ = asked.send(octets);
                    let head = Response::builder().header("content-type", "application/grpc");
                    let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
                    let message = [&[0, 0, 0, 0, u8::try_from(answer.len()).unwrap()][..], answer].concat();
                    stream.send_data(Bytes::from(message), false).unwrap();
                    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), 0.into())]);
                    stream.send_trailers(trailers).unwrap();
                });
            }
        });
    });
    (address, questions)
}

const TCP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |
    extensionProviders:
    - { name: grpc, envoyExtAuthzGrpc: { service: authorizer.demo.svc.cluster.local, port: 80 } }
    - { name: http, envoyExtAuthzHttp: { service: authorizer.demo.svc.cluster.local, port: 80 } }
---
apiVersion: v1
kind: Service
metadata: { name: one, namespace: demo }
spec: { ports: [{ name: tcp, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: other, namespace: demo }
spec: { ports: [{ name: tcp, port: 80 }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ask, namespace: demo }
spec:
  targetRefs: [{ group: '', kind: Service, name: one }]
  action: CUSTOM
  provider: { name: grpc }
  rules: [{}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: cannot, namespace: demo }
spec:
  targetRefs: [{ group: '', kind: Service, name: other }]
  action: CUSTOM
  provider: { name: http }
  rules: [{}]
";

#[test]
fn an_authorizer_says_who_may_connect() {
    // CheckResponse.status: google.rpc.Status of code 0, then of code 7.
    for (last, answer, expected) in [(60, &[0x0a, 0][..], &b"one:x"[..]), (62, &[0x0a, 2, 0x08, 7], b"")] {
        let (authorizer, questions) = authorizer(last, answer);
        let one = server(last + 1, |mut stream| {
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            let _ = stream.write_all(&[b"one:", &heard[..]].concat());
        });
        let plan = Plan {
            clients: vec!["web"],
            servers: vec![("authorizer", authorizer, vec!["authorizer"]), ("one", one, vec!["one", "other"])],
            ports: vec![80],
            ..Plan::default()
        };
        let rig = Rig::new(&plan, TCP);
        let say = |service: &str| {
            let mut client = Client::new(rig.entry(service, 80));
            client.send("x");
            client.end();
            client.rest()
        };
        assert_eq!(say("one"), expected);
        let question = questions.recv_timeout(PATIENCE).unwrap();
        let says = |text: &str| question.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(
            says("spiffe://cluster.local/ns/demo/sa/web")
                && says("spiffe://cluster.local/ns/demo/sa/waypoint")
        );
        let told = |flags: &str| rig.records.lines().iter().any(|line| line.contains(flags));
        if expected.is_empty() {
            soon(|| told(" UAEX ext_authz_denied"));
        }
        // Of one that is asked about requests alone there is no answer for a connection.
        assert_eq!(say("other"), b"");
        soon(|| told(" - rbac_access_denied_matched_policy[ns[demo]-policy[cannot]-rule[0]]"));
        assert!(questions.try_recv().is_err());
    }
}
