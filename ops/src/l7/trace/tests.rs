use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use adit_core::l7::Fraction;
use adit_core::l7::telemetry::{Collector, CollectorProtocol, CustomTag};
use adit_core::proxy::observed::ServiceLabels;
use adit_core::rng::Rng;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use proptest::prelude::*;

use super::super::record::{Exchange, Grpc, Octets, Peer, Protocol, ResponseFlags, Version};
use super::*;

type Known = Vec<(Box<str>, Box<[u8]>)>;

fn known(headers: &[(&str, &str)]) -> Known {
    headers.iter().map(|(name, value)| ((*name).into(), value.as_bytes().into())).collect()
}

fn tracing(numerator: u32) -> Tracing {
    let collector = Collector {
        name: "otel".into(),
        host: "127.0.0.1".into(),
        port: 4317,
        protocol: CollectorProtocol::Grpc { metadata: Vec::new() },
        timeout: Duration::from_secs(5),
    };
    let sampling = Fraction { numerator, denominator: 100 };
    Tracing { collector: Some(Arc::new(collector)), sampling, ..Tracing::default() }
}

fn begun(tracing: &Tracing, headers: &[(&str, &str)]) -> Traced {
    Traced::begin(tracing, &known(headers), &mut Rng::new(7)).unwrap()
}

const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const W3C_NOT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const SPAN: u64 = 0xb7ad_6b71_6920_3331;
const B3_NOT: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0-00f067aa0ba902b7";
const HALF: &str = "8448eb211c80319c";

#[test]
fn contexts_are_read_in_every_form() {
    use Form::{B3Several, B3Single, W3c};
    let ids = |sampled, form| Context { trace_id: Some(TRACE), parent: Some(SPAN), sampled, form };
    let bare = |sampled, form| Context { sampled: Some(sampled), form, ..Context::default() };
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let only = |trace| format!("{trace}-{span}");
    for (headers, expected) in [
        (vec![("traceparent", W3C)], ids(Some(true), W3c)),
        (vec![("traceparent", W3C_NOT)], ids(Some(false), W3c)),
        (vec![("traceparent", "nonsense"), ("b3", B3_NOT)], ids(Some(false), B3Single)),
        (vec![("traceparent", W3C), ("b3", "0")], ids(Some(true), W3c)),
        (vec![("b3", &*only(trace))], ids(None, B3Single)),
        (vec![("b3", &*(only(trace) + "-d"))], ids(Some(true), B3Single)),
        (
            vec![("b3", &*(only(HALF) + "-1"))],
            Context { trace_id: Some(0x8448_eb21_1c80_319c), ..ids(Some(true), B3Single) },
        ),
        (vec![("b3", "0")], bare(false, B3Single)),
        (
            vec![("x-b3-traceid", trace), ("x-b3-spanid", span), ("x-b3-sampled", "1")],
            ids(Some(true), B3Several),
        ),
        (
            vec![("x-b3-traceid", trace), ("x-b3-spanid", span), ("x-b3-flags", "1"), ("x-b3-sampled", "0")],
            ids(Some(true), B3Several),
        ),
        (vec![("x-b3-traceid", trace), ("x-b3-spanid", span)], ids(None, B3Several)),
        (vec![("x-b3-traceid", trace), ("x-b3-sampled", "false")], bare(false, B3Several)),
        (vec![("x-b3-traceid", trace)], Context::default()),
        (vec![("b3", "00000000000000000000000000000000-b7ad6b7169203331-1")], Context::default()),
        (vec![("b3", "b7ad6b7169203331-b7ad6b7169203331-2")], Context::default()),
        (vec![("b3", &*(only(trace) + "-1-b7ad6b7169203331-x"))], Context::default()),
        (vec![], Context::default()),
    ] {
        assert_eq!(Context::extract(&known(&headers)), expected, "{headers:?}");
    }
}

#[test]
fn the_clients_decision_is_followed_and_else_the_dice_decide() {
    let (always, never) = (tracing(100), tracing(0));
    assert!(!begun(&always, &[("traceparent", W3C_NOT)]).recorded());
    assert!(!begun(&always, &[("b3", "0")]).recorded());
    let traced = begun(&never, &[("traceparent", W3C)]);
    assert_eq!((traced.reason, traced.parent, traced.span.trace_id), (Reason::Sampled, Some(SPAN), TRACE));
    assert_ne!(traced.span.span_id, SPAN);
    assert_eq!(traced.span.flags, 1);
    assert_eq!(begun(&always, &[]).reason, Reason::Sampled);
    let not = begun(&never, &[]);
    assert_eq!((not.reason, not.span.flags, not.parent), (Reason::NotTraced, 0, None));
    // What a request id and the client's own wish say.
    let id = |digit: char| format!("0f8fad5b-d9cb-{digit}69f-a165-70867728950e");
    assert_eq!(begun(&never, &[("x-request-id", &id('9'))]).reason, Reason::Sampled);
    assert_eq!(begun(&never, &[("x-request-id", &id('a'))]).reason, Reason::Server);
    assert_eq!(begun(&always, &[("x-request-id", &id('4'))]).reason, Reason::Sampled);
    assert_eq!(begun(&never, &[("x-client-trace-id", "x")]).reason, Reason::Client);
    let unread = Tracing { use_request_id: false, ..tracing(0) };
    assert_eq!(begun(&unread, &[("x-request-id", &id('9'))]).reason, Reason::NotTraced);
    // So many of all.
    let mut rng = Rng::new(3);
    let count = |part: &Tracing, rng: &mut Rng| {
        (0..4000).filter(|_| Traced::begin(part, &known(&[]), rng).unwrap().recorded()).count()
    };
    let quarter = count(&tracing(25), &mut rng);
    assert!((850..1150).contains(&quarter), "{quarter}");
    assert_eq!(Traced::begin(&Tracing::default(), &known(&[]), &mut rng), None);
}

#[test]
fn the_request_sent_on_names_our_span_in_the_form_it_came_in() {
    let names = |headers: &[(&str, &str)]| -> Vec<&str> {
        let tracing = tracing(100);
        begun(&tracing, headers).headers(&tracing).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(&[]), ["traceparent"]);
    assert_eq!(names(&[("traceparent", W3C)]), ["traceparent"]);
    assert_eq!(names(&[("b3", B3_NOT)]), ["traceparent", "b3"]);
    let several = [("x-b3-traceid", HALF), ("x-b3-spanid", HALF)];
    assert_eq!(
        names(&several),
        ["traceparent", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-parentspanid"]
    );
    let silent = Tracing { propagate: false, ..tracing(100) };
    assert_eq!(begun(&silent, &[("traceparent", W3C)]).headers(&silent), []);
    // What is written is read again as what it was, in each form by itself.
    for headers in [&[("traceparent", W3C)][..], &[("b3", B3_NOT)], &several] {
        let traced = begun(&tracing(100), headers);
        for skip in [0, 1] {
            let written: Vec<_> = traced.headers(&tracing(100)).into_iter().skip(skip).collect();
            let written: Vec<_> = written.iter().map(|(name, value)| (*name, value.as_str())).collect();
            if written.is_empty() {
                continue;
            }
            let read = Context::extract(&known(&written));
            assert_eq!((read.trace_id, read.parent), (Some(traced.span.trace_id), Some(traced.span.span_id)));
            assert_eq!(read.sampled, Some(traced.recorded()));
        }
    }
}

/// Tags by name, as texts.
fn tags(span: &Span) -> BTreeMap<&str, &str> {
    fn text(tag: &KeyValue) -> &str {
        match &tag.value {
            Some(AnyValue { value: Some(any_value::Value::StringValue(text)) }) => text,
            other => panic!("{other:?}"),
        }
    }
    let tags: BTreeMap<_, _> = span.attributes.iter().map(|tag| (tag.key.as_str(), text(tag))).collect();
    assert_eq!(tags.len(), span.attributes.len(), "a name twice");
    tags
}

fn peer(name: &str) -> Arc<Peer> {
    Arc::new(Peer { workload: name.into(), namespace: "shop".into(), ..Peer::default() })
}

#[test]
fn a_span_says_what_envoy_and_istio_say() {
    let own = Own {
        node_id: "waypoint~1".into(),
        canonical_service: "waypoint".into(),
        canonical_revision: "v1".into(),
        mesh_id: "m".into(),
        namespace: "shop".into(),
        cluster_id: "c".into(),
    };
    let hostname = "web.shop.svc.cluster.local".into();
    let service = Arc::new(ServiceLabels { hostname, name: "web".into(), namespace: "shop".into() });
    let (client, web) = (peer("client"), peer("web"));
    let headers = known(&[("x-tenant", "blue")]);
    let mut exchange = Exchange::new(UNIX_EPOCH + Duration::from_secs(1000), Protocol::Http);
    exchange.duration = Duration::from_millis(5);
    exchange.http.method = b"GET";
    let path = [&b"/"[..], &[b'x'; 300]].concat();
    exchange.http.path = &path;
    exchange.http.authority = b"web.shop";
    exchange.http.version = Some(Version::Http11);
    exchange.http.status = 503;
    exchange.http.request_id = b"id-1";
    exchange.http.request_headers = &headers;
    exchange.received = Octets { body: 3, head: 9 };
    exchange.sent = Octets { body: 4, head: 9 };
    exchange.flags = ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
    exchange.downstream.local = "10.96.0.5:8080".parse().ok();
    exchange.downstream.remote = "10.1.0.9:5000".parse().ok();
    exchange.upstream.cluster = "web:8080";
    exchange.upstream.host = "10.1.2.3:80".parse().ok();
    exchange.service = Some(&service);
    exchange.source = Some(&client);
    exchange.destination = Some(&web);
    exchange.connection = Some(TraceParent { trace_id: 0xabc, span_id: 1, flags: 0 });
    let tracing = Tracing {
        tags: BTreeMap::from([
            ("tenant".into(), CustomTag::Header("x-tenant".into(), None)),
            ("gone".into(), CustomTag::Header("x-gone".into(), None)),
            ("other".into(), CustomTag::Header("x-gone".into(), Some("none".into()))),
            ("fixed".into(), CustomTag::Literal("1".into())),
            ("zone".into(), CustomTag::Environment("ZONE".into(), None)),
            ("unset".into(), CustomTag::Environment("NO".into(), Some("default".into()))),
            ("absent".into(), CustomTag::Environment("NO".into(), None)),
        ]),
        ..tracing(100)
    };
    let made = Tags::new(&tracing, |name| (name == "ZONE").then(|| "eu".to_owned()));
    let traced = begun(&tracing, &[("traceparent", W3C)]);
    let said = span(&own, &tracing, &made, &traced, "", &exchange);
    assert_eq!(said.name, "web.shop.svc.cluster.local:8080/*");
    assert_eq!(said.trace_id, TRACE.to_be_bytes());
    assert_eq!(said.parent_span_id, SPAN.to_be_bytes());
    assert_eq!(said.span_id, traced.span.span_id.to_be_bytes());
    assert_eq!((said.kind, said.status.as_ref().unwrap().code), (2, 2));
    assert_eq!((said.start_time_unix_nano, said.end_time_unix_nano), (1_000_000_000_000, 1_000_005_000_000));
    let url = format!("http://web.shop/{}", "x".repeat(255));
    let mut expected = BTreeMap::from([
        ("component", "proxy"),
        ("node_id", "waypoint~1"),
        ("guid:x-request-id", "id-1"),
        ("http.url", url.as_str()),
        ("http.method", "GET"),
        ("http.status_code", "503"),
        ("http.protocol", "HTTP/1.1"),
        ("downstream_cluster", "-"),
        ("user_agent", "-"),
        ("peer.address", "10.1.0.9"),
        ("request_size", "3"),
        ("response_size", "4"),
        ("response_flags", "UF"),
        ("upstream_cluster", "web:8080"),
        ("upstream_cluster.name", "web:8080"),
        ("upstream_address", "10.1.2.3:80"),
        ("error", "true"),
        ("connection.id", "00000000000000000000000000000abc"),
        ("istio.canonical_revision", "v1"),
        ("istio.canonical_service", "waypoint"),
        ("istio.mesh_id", "m"),
        ("istio.namespace", "shop"),
        ("istio.cluster_id", "c"),
        ("tenant", "blue"),
        ("other", "none"),
        ("fixed", "1"),
        ("zone", "eu"),
        ("unset", "default"),
    ]);
    let nine = "workload namespace cluster_id canonical_service canonical_revision app app_version workload_type \
                instance_name";
    let ends: Vec<(String, &str)> = ["source", "destination"]
        .into_iter()
        .flat_map(|end| nine.split_whitespace().map(move |key| (end, key)))
        .map(|(end, key)| {
            let value = match (key, end) {
                ("workload", "source") => "client",
                ("workload", _) => "web",
                ("namespace", _) => "shop",
                _ => "unknown",
            };
            (format!("istio.{end}_{key}"), value)
        })
        .collect();
    expected.extend(ends.iter().map(|(key, value)| (key.as_str(), *value)));
    assert_eq!(tags(&said), expected);

    exchange.protocol = Protocol::Grpc;
    exchange.http.status = 200;
    exchange.http.grpc = Some(Grpc { status: Some(5), ..Grpc::default() });
    let answer = known(&[("grpc-message", "no such thing")]);
    exchange.http.response_headers = &answer;
    let plain = Tracing { istio_tags: false, tags: BTreeMap::new(), ..tracing };
    let said = span(&own, &plain, &Tags::default(), &traced, "my-operation", &exchange);
    assert_eq!((said.name.as_str(), said.status.as_ref().unwrap().code), ("my-operation", 0));
    let said = tags(&said);
    let grpc: Vec<_> =
        said.iter().filter(|(key, _)| key.starts_with("grpc.")).map(|(_, value)| *value).collect();
    assert_eq!(grpc, ["web.shop", "no such thing", &url["http://web.shop".len()..], "5"]);
    assert!(!said.contains_key("error") && !said.keys().any(|key| key.starts_with("istio.")));
}

proptest! {
    #[test]
    fn any_headers_are_read_and_give_a_trace(
        values in proptest::collection::vec("[0-9a-fA-F-]{0,60}|[ -~]{0,60}|.{0,20}", 7),
        seed in any::<u64>(),
    ) {
        let names = ["traceparent", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags", "x-request-id"];
        let headers: Vec<_> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
        let traced = Traced::begin(&tracing(50), &known(&headers), &mut Rng::new(seed)).unwrap();
        prop_assert!(traced.span.trace_id != 0 && traced.span.span_id != 0);
        let again = TraceParent::parse(traced.headers(&tracing(50))[0].1.as_bytes());
        prop_assert_eq!(again, Some(traced.span));
    }

    /// The propagator of the OpenTelemetry SDK reads what we write.
    #[test]
    fn the_sdk_reads_our_header(seed in any::<u64>(), numerator in 0..=100_u32) {
        let tracing = tracing(numerator);
        let traced = Traced::begin(&tracing, &known(&[]), &mut Rng::new(seed)).unwrap();
        let headers: HashMap<String, String> =
            traced.headers(&tracing).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let context = TraceContextPropagator::new().extract(&headers);
        let read = context.span().span_context().clone();
        prop_assert_eq!(read.trace_id().to_bytes(), traced.span.trace_id.to_be_bytes());
        prop_assert_eq!(read.span_id().to_bytes(), traced.span.span_id.to_be_bytes());
        prop_assert_eq!(read.is_sampled(), traced.recorded());
    }
}
