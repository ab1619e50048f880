//! A collector of spans: what it is sent is what the application saw in its headers, and what waypoint.md §21 lists.
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use adit_ops::l7::Reporter;
use adit_ops::l7::log::AccessLogger;
use adit_ops::l7::metrics::{HttpMetrics, Reported};
use adit_ops::l7::trace::Own;
use adit_ops::logging::{LogGuard, Queue};
use adit_ops::metrics::Bounds;
use adit_testkit::otlp::{OtlpCollector, SeenSpan, Speaks};
use adit_waypoint::demo::world::{Plan, Records, World};
use adit_waypoint::observe::{Recorder, Recorders, Told, telling};
use adit_waypoint::settings::Settings;

use super::rig::{PATIENCE, Reply, Rig, echo, h2c};

/// Makes spans, and then lines: who has seen a request's line knows that its span is on its way.
struct Both {
    spans: Rc<dyn Recorder>,
    lines: Rc<dyn Recorder>,
}

impl Recorder for Both {
    fn finished(&self, told: &Told<'_>, reported: Reported) {
        self.spans.finished(told, reported);
        self.lines.finished(told, reported);
    }
}

/// A mesh whose waypoint traces, and its collector.
struct Traced {
    rig: Rig,
    collector: OtlpCollector,
    _log: LogGuard,
}

/// The collector, as the mesh's settings name it.
fn provider(collector: &OtlpCollector, speaks: Speaks) -> String {
    let http = match speaks {
        Speaks::Grpc => "",
        Speaks::Http => ", http: {path: /v1/traces}",
    };
    let (host, port) = (collector.address().ip(), collector.address().port());
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: istio, namespace: istio-system }}\ndata:\n  mesh: |\n    \
         extensionProviders: [{{name: otel, opentelemetry: {{service: {host}, port: {port}{http}}}}}]\n"
    )
}

impl Traced {
    /// `tracing` is what the policy says besides who the collector is.
    fn new(speaks: Speaks, tracing: &str) -> Self {
        let collector = OtlpCollector::start(speaks).unwrap();
        let policy = format!(
            "---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{ name: t, namespace: demo }}\n\
             spec: {{ tracing: [{{ providers: [{{ name: otel }}], {tracing} }}] }}\n"
        );
        let manifests = provider(&collector, speaks) + &policy;
        let (_queue, log) = Queue::start(io::sink(), io::sink()).unwrap();
        let own = Own {
            node_id: "waypoint~127.0.1.1~waypoint.demo~demo.svc.cluster.local".into(),
            canonical_service: "waypoint".into(),
            canonical_revision: "latest".into(),
            mesh_id: "mesh1".into(),
            namespace: "demo".into(),
            cluster_id: "Kubernetes".into(),
        };
        let reporter = Reporter::new(
            HttpMetrics::new(Bounds::default()),
            AccessLogger::new(log.access()),
            Arc::new(own),
        );
        let (spans, records) = (telling(reporter), Records::default());
        let lines = records.recorders();
        let both: Recorders = Arc::new(move || Rc::new(Both { spans: spans(), lines: lines() }));
        let plan = Plan { empty: vec!["empty"], ..echo() };
        let world = World::start(&plan, &manifests, Settings::default(), both).unwrap();
        assert!(world.problems.is_empty(), "{:?}", world.problems);
        Self { rig: Rig { world, records }, collector, _log: log }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.rig.get("echo-v1", path, headers)
    }

    /// All spans of requests for `paths`, which have been asked for once each and are all answered.
    fn spans<const N: usize>(mut self, paths: [&str; N], traced: usize) -> Vec<SeenSpan> {
        for path in paths {
            self.rig.lines(path, 1);
        }
        // A collector that nobody names any more is sent what there is for it, at once.
        self.rig.world.apply("").unwrap();
        let spans = self.collector.spans(traced, PATIENCE);
        assert_eq!(spans.len(), traced, "{spans:#?}");
        spans
    }
}

/// The span of a request, by its path.
fn of<'a>(spans: &'a [SeenSpan], path: &str) -> &'a SeenSpan {
    let mut found = spans.iter().filter(|span| span.tags["http.url"].ends_with(path));
    let (Some(span), None) = (found.next(), found.next()) else { panic!("not one of {path}: {spans:#?}") };
    span
}

const ALL: &str = "randomSamplingPercentage: 100";
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const PARENT: u64 = 0x00f0_67aa_0ba9_02b7;

fn traceparent(flags: u8) -> String {
    format!("00-{TRACE:032x}-{PARENT:016x}-{flags:02x}")
}

/// What the application is told of a span in W3C's form.
fn w3c(span: &SeenSpan) -> String {
    format!("00-{:032x}-{:016x}-01", span.trace_id, span.span_id)
}

#[test]
fn a_span_goes_on_from_the_clients_and_is_the_applications_parent() {
    for speaks in [Speaks::Grpc, Speaks::Http] {
        let traced = Traced::new(speaks, ALL);
        let parent = traceparent(1);
        let given = [("traceparent", parent.as_str()), ("tracestate", "a=b"), ("baggage", "user=ann")];
        let reply = traced.get("/joined", &given);
        let alone = traced.get("/alone", &[("x-app-delay-ms", "20")]);
        let spans = traced.spans(["/joined", "/alone"], 2);
        let joined = of(&spans, "/joined");
        assert_eq!((joined.trace_id, joined.parent, joined.error), (TRACE, Some(PARENT), false));
        assert_eq!(reply.saw("traceparent"), Some(w3c(joined)), "{speaks:?}");
        assert_eq!(
            [reply.saw("tracestate").as_deref(), reply.saw("baggage").as_deref()],
            [Some("a=b"), Some("user=ann")]
        );
        let begun = of(&spans, "/alone");
        assert_eq!((begun.parent, alone.saw("traceparent")), (None, Some(w3c(begun))));
        assert_ne!(begun.trace_id, TRACE);
        assert!(begun.took >= Duration::from_millis(20), "{begun:?}");
        assert!(spans.iter().all(|span| span.service == "waypoint.demo" && span.server), "{spans:#?}");
    }
}

#[test]
fn b3_goes_on_as_it_came() {
    let traced = Traced::new(Speaks::Grpc, ALL);
    let (trace, parent) = (format!("{TRACE:032x}"), format!("{PARENT:016x}"));
    let single = traced.get("/single", &[("b3", &format!("{trace}-{parent}-1"))]);
    let several = traced
        .get("/several", &[("x-b3-traceid", &*trace), ("x-b3-spanid", &*parent), ("x-b3-sampled", "1")]);
    let short = traced.get("/short", &[("x-b3-traceid", &trace[16..]), ("x-b3-spanid", &*parent)]);
    let spans = traced.spans(["/single", "/several", "/short"], 3);
    let span = of(&spans, "/single");
    assert_eq!((span.trace_id, span.parent), (TRACE, Some(PARENT)));
    assert_eq!(single.saw("b3"), Some(format!("{trace}-{:016x}-1-{parent}", span.span_id)));
    assert_eq!(single.saw("traceparent"), Some(w3c(span)));
    let span = of(&spans, "/several");
    assert_eq!((span.trace_id, span.parent), (TRACE, Some(PARENT)));
    let told = ["traceid", "spanid", "parentspanid", "sampled"]
        .map(|name| several.saw(&format!("x-b3-{name}")).unwrap());
    assert_eq!(told, [trace, format!("{:016x}", span.span_id), parent, "1".to_owned()]);
    // Of 64 bits, as old clients have them.
    let span = of(&spans, "/short");
    assert_eq!(span.trace_id, TRACE & u128::from(u64::MAX));
    assert_eq!(short.saw("x-b3-traceid"), Some(format!("{:032x}", span.trace_id)));
}

#[test]
fn what_is_not_sampled_has_no_span_and_says_so() {
    let traced = Traced::new(Speaks::Grpc, "randomSamplingPercentage: 0");
    for number in 0..20 {
        let reply = traced.get(&format!("/none-{number}"), &[]);
        assert!(reply.saw("traceparent").unwrap().ends_with("-00"));
        assert_eq!(reply.saw("x-request-id").unwrap().as_bytes()[14], b'4');
    }
    // Whoever's trace is recorded has it recorded here as well; it comes last, so that any other span would have come too.
    let reply = traced.get("/forced", &[("traceparent", &traceparent(1))]);
    let spans = traced.spans(["/none-0", "/none-19", "/forced"], 1);
    assert_eq!(reply.saw("traceparent"), Some(w3c(of(&spans, "/forced"))));

    let traced = Traced::new(Speaks::Grpc, ALL);
    let reply = traced.get("/not", &[("traceparent", &traceparent(0))]);
    let told = reply.saw("traceparent").unwrap();
    assert!(told.starts_with(&format!("00-{TRACE:032x}-")) && told.ends_with("-00"), "{told}");
    let reply = traced.get("/sampled", &[]);
    let spans = traced.spans(["/not", "/sampled"], 1);
    let id = reply.saw("x-request-id").unwrap();
    assert_eq!((id.as_bytes()[14], &of(&spans, "/sampled").tags["guid:x-request-id"]), (b'9', &id));
}

#[test]
fn spans_have_the_tags_of_envoy_and_istio_and_ones_own() {
    let custom = "customTags: { here: { literal: { value: demo } }, \
                  env: { environment: { name: ADIT_NO_SUCH_VARIABLE, defaultValue: unset } }, \
                  user: { header: { name: X-User, defaultValue: nobody } } }";
    let traced = Traced::new(Speaks::Grpc, &format!("{ALL}, {custom}"));
    let body = b"some octets";
    let headers = [("user-agent", "peers/1"), ("x-user", "ann"), ("x-request-id", "mine")];
    let reply = traced.rig.client("echo-v1", 80).ask("POST", "/tags?a=b", &headers, body);
    let address = traced.rig.world.app("v1").unwrap().address();
    traced.rig.lines("/tags?a=b", 1);
    let spans = traced.spans([], 1);
    let mut tags = spans[0].tags.clone();
    assert_eq!(spans[0].name, "echo-v1.demo.svc.cluster.local:80/*");
    // What ties it to the lines that node proxies write. The client's address is no pod's here: it is known by what its proxy
    // says of it, which has no name of a pod.
    let connection = tags.remove("connection.id").unwrap();
    assert!(
        connection.len() == 32 && connection.bytes().all(|digit| digit.is_ascii_hexdigit()),
        "{connection}"
    );
    let cluster = "inbound-vip|80|http|echo-v1.demo.svc.cluster.local";
    let (size, address) = (reply.body.len().to_string(), address.to_string());
    let expected = [
        ("component", "proxy"),
        ("downstream_cluster", "-"),
        ("env", "unset"),
        ("guid:x-request-id", "mine"),
        ("here", "demo"),
        ("http.method", "POST"),
        ("http.protocol", "HTTP/1.1"),
        ("http.status_code", "200"),
        ("http.url", "http://echo/tags?a=b"),
        ("istio.canonical_revision", "latest"),
        ("istio.canonical_service", "waypoint"),
        ("istio.cluster_id", "Kubernetes"),
        ("istio.destination_app", "v1"),
        ("istio.destination_app_version", "latest"),
        ("istio.destination_canonical_revision", "latest"),
        ("istio.destination_canonical_service", "v1"),
        ("istio.destination_cluster_id", "Kubernetes"),
        ("istio.destination_instance_name", "v1"),
        ("istio.destination_namespace", "demo"),
        ("istio.destination_workload", "v1"),
        ("istio.destination_workload_type", "deployment"),
        ("istio.mesh_id", "mesh1"),
        ("istio.namespace", "demo"),
        ("istio.source_app", "web"),
        ("istio.source_app_version", "latest"),
        ("istio.source_canonical_revision", "latest"),
        ("istio.source_canonical_service", "web"),
        ("istio.source_cluster_id", "Kubernetes"),
        ("istio.source_instance_name", "unknown"),
        ("istio.source_namespace", "demo"),
        ("istio.source_workload", "web"),
        ("istio.source_workload_type", "deployment"),
        ("node_id", "waypoint~127.0.1.1~waypoint.demo~demo.svc.cluster.local"),
        ("peer.address", "127.0.0.1"),
        ("request_size", "11"),
        ("response_flags", "-"),
        ("response_size", &size),
        ("upstream_address", &address),
        ("upstream_cluster", cluster),
        ("upstream_cluster.name", cluster),
        ("user", "ann"),
        ("user_agent", "peers/1"),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    assert_eq!(tags, expected);
}

#[test]
fn failures_retries_and_calls_of_grpc_are_told() {
    let traced = Traced::new(Speaks::Http, &format!("{ALL}, enableIstioTags: false"));
    let statuses = [("/failed", "x-app-status", 500), ("/reset", "x-app-reset", 503)];
    for (path, header, status) in statuses {
        assert_eq!(traced.get(path, &[(header, "500")]).status, status, "{path}");
    }
    assert_eq!(traced.rig.get("empty", "/empty", &[]).status, 503);
    let call = h2c::call("/a.B/C", &[("x-app-header", "grpc-status=5"), ("x-app-status", "200")]);
    let replies = h2c::ask(traced.rig.entry("echo-v1", 80), vec![call], b"\0\0\0\0\0", None);
    assert_eq!(replies[0].status, 200);
    let spans = traced.spans(["/failed", "/reset", "/empty", "/a.B/C"], 4);
    for (path, status, flags) in [("/failed", "500", "-"), ("/reset", "503", "UC"), ("/empty", "503", "UH")] {
        let span = of(&spans, path);
        let told = ["http.status_code", "response_flags", "error"].map(|key| span.tags[key].as_str());
        assert_eq!((span.error, told), (true, [status, flags, "true"]), "{path}");
    }
    assert!(!of(&spans, "/empty").tags.contains_key("upstream_address"));
    let call = of(&spans, "/a.B/C");
    let told = ["grpc.path", "grpc.authority", "grpc.status_code", "http.protocol"]
        .map(|key| call.tags[key].as_str());
    assert_eq!((call.error, told), (false, ["/a.B/C", "echo", "5", "HTTP/2"]));
    assert!(spans.iter().all(|span| span.tags.keys().all(|key| !key.starts_with("istio."))), "{spans:#?}");
}

#[test]
fn a_trace_that_is_not_told_on_still_has_its_span() {
    let traced = Traced::new(Speaks::Grpc, &format!("{ALL}, disableContextPropagation: true"));
    let parent = traceparent(1);
    let reply = traced.get("/kept", &[("traceparent", &parent)]);
    // The client's own header is none of ours.
    assert_eq!(reply.saw("traceparent"), Some(parent));
    assert_eq!(traced.get("/quiet", &[]).saw("traceparent"), None);
    let spans = traced.spans(["/kept", "/quiet"], 2);
    assert_eq!((of(&spans, "/kept").parent, of(&spans, "/quiet").parent), (Some(PARENT), None));
}
