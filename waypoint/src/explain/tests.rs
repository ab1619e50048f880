//! The demo's manifests, asked about without a socket: offline, and through the page of a waypoint that runs.
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use adit_core::l7::SessionKey;
use adit_ops::http::{Body, Handler as _, Method, Request, Response};
use adit_ops::l7::metrics::Reported;
use adit_ops::l7::otlp::{ExportFigures, Exporters, Limits, Resource};
use adit_process::tables::Tables as Published;
use tokio::sync::watch;

use super::*;
use crate::cli::{How, Pod};
use crate::demo::token::Issuer;
use crate::observe::{InForce, Recorder, Told};
use crate::pages::Pages;
use crate::settings::Settings;
use crate::shared::{self, Shared};

const MESH: &str = "\
workloads:
- { name: waypoint, namespace: demo, serviceAccount: waypoint, workloadIps: [10.0.0.1], protocol: HBONE, services: {} }
- { name: web, namespace: demo, serviceAccount: web, workloadIps: [10.0.0.2], protocol: HBONE, services: {} }
- { name: v1, namespace: demo, serviceAccount: v1, workloadIps: [10.0.0.3], protocol: HBONE, services: { demo/reviews.demo.svc.cluster.local: { 80: 8080 }, demo/reviews-v1.demo.svc.cluster.local: { 80: 8080 } } }
- { name: v2, namespace: demo, serviceAccount: v2, workloadIps: [10.0.0.4], protocol: HBONE, services: { demo/reviews.demo.svc.cluster.local: { 80: 8080 }, demo/reviews-v2.demo.svc.cluster.local: { 80: 8080 } } }
services:
- { name: reviews, namespace: demo, hostname: reviews.demo.svc.cluster.local, vips: [/10.1.0.1], ports: { 80: 8080, 3306: 3306 }, waypoint: { destination: /10.0.0.1, hboneMtlsPort: 15008 } }
- { name: reviews-v1, namespace: demo, hostname: reviews-v1.demo.svc.cluster.local, vips: [/10.1.0.2], ports: { 80: 8080 }, waypoint: { destination: /10.0.0.1, hboneMtlsPort: 15008 } }
- { name: reviews-v2, namespace: demo, hostname: reviews-v2.demo.svc.cluster.local, vips: [/10.1.0.3], ports: { 80: 8080 }, waypoint: { destination: /10.0.0.1, hboneMtlsPort: 15008 } }
- { name: shadow, namespace: demo, hostname: shadow.demo.svc.cluster.local, vips: [/10.1.0.4], ports: { 80: 8080 }, waypoint: { destination: /10.0.0.1, hboneMtlsPort: 15008 } }
- { name: other, namespace: demo, hostname: other.demo.svc.cluster.local, vips: [/10.1.0.5], ports: { 80: 8080 } }
";

/// Beside the demo's own.
const MORE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: more, namespace: demo }
spec:
  parentRefs: [{ group: '', kind: Service, name: reviews-v1 }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /old } }]
      filters: [{ type: RequestRedirect, requestRedirect: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }]
    - matches: [{ path: { type: PathPrefix, value: /api } }]
      filters:
        - { type: URLRewrite, urlRewrite: { hostname: inner, path: { type: ReplacePrefixMatch, replacePrefixMatch: / } } }
        - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-by, value: waypoint }], remove: [x-secret] } }
      timeouts: { request: 3s }
      backendRefs: [{ name: shadow, port: 80, weight: 1 }, { name: reviews-v2, port: 80, weight: 3 }]
    - matches: [{ path: { type: PathPrefix, value: /nobody } }]
      backendRefs: [{ name: shadow, port: 80 }]
";

/// A folder of manifests, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(manifests: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("adit-explain-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("all.yaml"), manifests).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Fixture {
    offline: Offline,
    mesh: Arc<Mesh>,
    issuer: Issuer,
    _folder: Folder,
}

impl Fixture {
    fn new() -> Self {
        let issuer = Issuer::new().unwrap();
        let demo = include_str!("../demo/manifests/routes.yaml").replace("JWKS", issuer.keys());
        let folder = Folder::new(&format!("{demo}{MORE}"));
        let mesh = Arc::new(local::parse("mesh".as_ref(), MESH, "").unwrap());
        let offline = Offline {
            config: folder.0.clone(),
            mesh: PathBuf::new(),
            workload: "demo/waypoint/waypoint".parse::<Pod>().unwrap(),
            gateway: "waypoint".into(),
            gateway_class: vec![],
            root_namespace: "istio-system".into(),
            cluster_domain: "cluster.local".into(),
            path_normalization: How(Settings::default().normalization),
        };
        Self { offline, mesh, issuer, _folder: folder }
    }

    fn ask(&self, question: &Question) -> Result<Report, ExplainError> {
        from_files(&self.offline, &self.mesh, question)
    }
}

fn question(to: &str, path: &str, headers: &[&str]) -> Question {
    Question {
        path: path.into(),
        headers: headers.iter().map(|header| header.parse().unwrap()).collect(),
        from: Some("demo/web".parse().unwrap()),
        ..Question::get(target(to).unwrap())
    }
}

/// Target, path, headers, outcome, the verdict's beginning.
type Case<'a> = (&'a str, &'a str, &'a [&'a str], Outcome, &'a str);

const V1: &str = "reviews-v1.demo.svc.cluster.local:80";

fn cases() -> Vec<Case<'static>> {
    use Outcome::{Answered, Refused, Sent};
    vec![
        (
            "reviews.demo:80",
            "/",
            &[],
            Sent,
            "sent on to reviews-v1.demo.svc.cluster.local:80 (90.0 %) or reviews-v2.demo.svc.cluster.local:80 (10.0 %)",
        ),
        ("reviews:80", "/x", &["x-group: testers"], Sent, "sent on to reviews-v2.demo.svc.cluster.local:80"),
        ("10.1.0.1:80", "/orders/1", &[], Sent, "sent on to reviews-v1"),
        (
            "reviews.demo:80",
            "/x/../admin",
            &[],
            Refused,
            "refused with status 403: denied by ns[demo]-policy[no-admin]-rule[0]",
        ),
        (
            "reviews.demo:80",
            "/",
            &["authorization: Bearer a.b.c"],
            Refused,
            "refused with status 401: Jwt header",
        ),
        ("reviews.demo:80", "/../x", &[], Refused, "refused with status 400: the path is no path"),
        ("reviews.demo:3306", "/", &[], Refused, "the port carries TCP"),
        (
            V1,
            "/old/x?y",
            &[],
            Answered,
            "answered with status 302: redirect to http://reviews-v1.demo.svc.cluster.local/new/x?y",
        ),
        (
            V1,
            "/api/x?y",
            &["x-secret: 1"],
            Sent,
            "sent on to reviews-v2.demo.svc.cluster.local:80 (75.0 %); shadow.demo.svc.cluster.local:80 (25.0 %) fails with status 503: nobody is behind it",
        ),
        (
            V1,
            "/nobody",
            &[],
            Refused,
            "refused with status 503: shadow.demo.svc.cluster.local:80: nobody is behind it",
        ),
        (V1, "/else", &[], Refused, "refused with status 404: no rule"),
        ("reviews-v2.demo:80", "/", &[], Sent, "sent on to reviews-v2.demo.svc.cluster.local:80"),
    ]
}

#[test]
fn each_request_has_its_verdict() {
    let fixture = Fixture::new();
    for (to, path, headers, outcome, expected) in cases() {
        let report = fixture.ask(&question(to, path, headers)).unwrap();
        assert_eq!(report.verdict.outcome, outcome, "{to}{path}: {report}");
        assert!(report.verdict.text.starts_with(expected), "{to}{path}: {}", report.verdict.text);
    }
    for (to, expected) in [
        ("nobody.demo:80", "the mesh has no service \"nobody.demo\""),
        ("other.demo:80", "this waypoint does not stand in front of"),
        ("reviews.demo:81", "service reviews.demo.svc.cluster.local has no port 81"),
    ] {
        let error = fixture.ask(&question(to, "/", &[])).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_filters_change_and_what_was_tried_is_told() {
    let fixture = Fixture::new();
    let report = fixture.ask(&question(V1, "/api/x?y", &[])).unwrap();
    let forward = report.forward.unwrap();
    assert_eq!((&*forward.path, &*forward.host), ("/x?y", "inner"));
    assert_eq!(forward.request.remove, ["x-secret"]);
    assert_eq!(forward.request.set, [Field { name: "x-by".into(), value: "waypoint".into() }]);
    assert_eq!(forward.retry.timeout_ms, Some(3000));
    let shares: Vec<_> = forward.backends.iter().map(|backend| (backend.weight, backend.share)).collect();
    assert_eq!(shares, [(1, 250), (3, 750)]);
    let endpoints = &forward.backends[1].cluster.as_ref().unwrap().endpoints;
    assert_eq!(
        (endpoints.len(), endpoints[0].port, endpoints[0].address.as_deref()),
        (1, 8080, Some("10.0.0.4"))
    );

    let report = fixture.ask(&question("reviews.demo:80", "/orders/1", &[])).unwrap();
    let (route, forward) = (report.route.unwrap(), report.forward.unwrap());
    assert_eq!(route.found.as_deref(), Some("demo.reviews.orders"));
    let tried: Vec<_> = route.tried.iter().map(|it| (&*it.rule, it.why_not.as_deref())).collect();
    assert_eq!(tried.last(), Some(&("demo.reviews.orders", None)));
    assert!(tried[..tried.len() - 1].iter().all(|(_, why)| why.is_some()), "{tried:?}");
    assert_eq!(forward.mirrors.len(), 1);
    assert_eq!(forward.mirrors[0].target, "shadow.demo.svc.cluster.local:80");
    let policies = report.authorization.unwrap().policies;
    assert_eq!(
        (&*policies[0].name, &*policies[0].action, policies[0].matched),
        ("demo/no-admin", "DENY", None)
    );
}

#[test]
fn a_token_of_the_issuer_is_taken() {
    let fixture = Fixture::new();
    let bearer = format!("authorization: Bearer {}", fixture.issuer.token("ann").unwrap());
    let report = fixture.ask(&question("reviews.demo:80", "/", &[&bearer])).unwrap();
    let token = report.token.unwrap();
    assert_eq!(token.principal.as_deref(), Some("https://issuer.example/ann"));
    assert_eq!(report.verdict.outcome, Outcome::Sent);
}

#[test]
fn a_caller_who_is_not_named_is_told_of() {
    let fixture = Fixture::new();
    let report = fixture.ask(&Question::get(target("reviews.demo:80").unwrap())).unwrap();
    assert_eq!((report.request.source, &*report.request.address), (None, "0.0.0.0"));
    assert!(report.notes[0].starts_with("nobody is said to call"), "{:?}", report.notes);
}

/// Hears nothing.
struct Deaf;

impl Recorder for Deaf {
    fn finished(&self, _: &Told<'_>, _: Reported) {}
}

#[test]
fn a_waypoint_that_runs_and_files_say_the_same_and_the_shape_is_known() {
    let fixture = Fixture::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let resource = Resource::new("waypoint.demo", None);
    let exporters =
        Exporters::new(runtime.handle().clone(), resource, Limits::default(), ExportFigures::default());
    let (_, loaded) = Directory::open(&fixture.offline.config, World::new("demo", "waypoint")).unwrap();
    let keys = Jwks::new();
    keys.update(loaded.compiled.snapshot.authentications.sources());
    let in_force = watch::Sender::new(InForce::new(Arc::clone(&loaded.compiled.snapshot), &exporters));
    let draining = watch::Sender::new(false);
    let (_sender, manifests) = watch::channel(loaded);
    let begun = Arc::new(OnceLock::new());
    let pages = Pages::new(|_: &Request| Response::text(200, "others"), manifests, Arc::clone(&begun));
    let page = |target: &str| {
        let response = pages.answer(&Request::new(Method::Get, target));
        let Body::Whole(body) = response.body else { panic!("it is whole") };
        (response.status, body)
    };
    // Before the mesh is known.
    assert_eq!((page("/explain?to=reviews.demo:80").0, page("/clusters").0), (503, 503));
    let shared = Shared::new(shared::Parts {
        in_force: in_force.subscribe(),
        tables: Arc::new(Published::new(Arc::clone(&fixture.mesh))),
        local: fixture.offline.workload.0.clone(),
        settings: Settings::default(),
        recorders: Arc::new(|| Rc::new(Deaf)),
        draining: draining.subscribe(),
        keys,
        session_key: SessionKey::new(1),
    });
    assert!(begun.set(Arc::new(shared)).is_ok());
    for (to, path, headers, ..) in cases() {
        let question = question(to, path, headers);
        let (status, body) = page(&format!("/explain?{}", question.to_query()));
        let live: Report = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &live), (200, &fixture.ask(&question).unwrap()), "{to}{path}");
        assert!(live.to_string().lines().last().unwrap().starts_with("verdict     "), "{live}");
    }
    let (status, body) = page("/explain?to=nobody:80");
    assert_eq!(status, 400);
    assert!(body.starts_with(b"the mesh has no service"), "{body:?}");

    let (_, body) = page("/explain?to=reviews.demo:80&path=/orders&from=demo/web");
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let keys_of =
        |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(
        keys_of(&json),
        ["answer", "authorization", "forward", "notes", "request", "route", "token", "verdict"]
    );
    assert_eq!(json["verdict"]["outcome"], "sent");
    assert_eq!(
        keys_of(&json["authorization"]),
        ["ask", "audit", "decision", "denied", "onTrial", "policies"]
    );
    assert_eq!(keys_of(&json["route"]), ["found", "hasRoutes", "tried"]);
    assert_eq!(keys_of(&json["route"]["tried"][0]), ["path", "route", "rule", "whyNot"]);
    assert_eq!(
        keys_of(&json["forward"]),
        [
            "backends",
            "faults",
            "host",
            "limits",
            "mirrors",
            "path",
            "persistence",
            "request",
            "response",
            "retry"
        ]
    );
    assert_eq!(
        keys_of(&json["forward"]["backends"][0]["cluster"]),
        [
            "balancer",
            "connectTimeoutMs",
            "endpoints",
            "exchanges",
            "leftOut",
            "limits",
            "name",
            "open",
            "outlierDetection",
            "protocol",
            "underWay"
        ]
    );
    assert_eq!(
        keys_of(&json["forward"]["backends"][0]["cluster"]["endpoints"][0]),
        ["address", "ejectedMs", "level", "outstanding", "port", "share", "uid", "weight"]
    );

    let (_, body) = page("/clusters");
    let clusters: Vec<ClusterReport> = serde_json::from_slice(&body).unwrap();
    let names: Vec<_> = clusters.iter().map(|cluster| (&*cluster.name, cluster.endpoints.len())).collect();
    assert_eq!(
        names,
        [
            ("inbound-vip|80|http|reviews-v1.demo.svc.cluster.local", 1),
            ("inbound-vip|80|http|reviews-v2.demo.svc.cluster.local", 1),
            ("inbound-vip|80|http|shadow.demo.svc.cluster.local", 0),
        ]
    );
    let (_, body) = page("/routes");
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let statuses = json["statuses"].as_array().unwrap();
    let more = statuses.iter().find(|status| status["object"]["name"] == "more").unwrap();
    assert_eq!(more["conditions"][0]["type"], "Accepted");
    assert!(json["problems"].is_array() && json["files"].as_array().unwrap().is_empty());
    assert_eq!(page("/else").1, "others");
}
