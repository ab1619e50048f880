use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use adit_core::identity::Identity;
use adit_core::l7::telemetry::{Expression, Metric, MetricRule, Tag};
use adit_core::proxy::observed::ServiceLabels;

use super::super::record::{Grpc, Octets, Peer, ResponseFlags, Security};
use super::*;
use crate::metrics::Metrics;

/// waypoint.md §19.2, in its order.
const ALL: &str = "reporter, source_workload, source_workload_namespace, source_principal, source_app, source_version, \
    source_canonical_service, source_canonical_revision, source_cluster, destination_workload, \
    destination_workload_namespace, destination_principal, destination_app, destination_version, \
    destination_service, destination_service_name, destination_service_namespace, \
    destination_canonical_service, destination_canonical_revision, destination_cluster, request_protocol, \
    response_flags, connection_security_policy";

fn shown(metrics: &HttpMetrics) -> String {
    Metrics::waypoint("1.2", metrics, []).text()
}

/// The one line that begins so, as labels and value.
fn line<'a>(text: &'a str, start: &str) -> (BTreeMap<&'a str, &'a str>, &'a str) {
    let found = lines(text, start);
    let [line] = found.as_slice() else { panic!("{} lines {start} in\n{text}", found.len()) };
    parsed(line)
}

fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let here = |line: &&str| line.strip_prefix(start).is_some_and(|rest| rest.starts_with('{'));
    text.lines().filter(here).collect()
}

fn parsed(line: &str) -> (BTreeMap<&str, &str>, &str) {
    let (_, rest) = line.split_once('{').unwrap();
    let (labels, value) = rest.rsplit_once("} ").unwrap();
    let labels = labels.trim_end_matches('"').split("\",").filter(|label| !label.is_empty());
    (labels.map(|label| label.split_once("=\"").unwrap()).collect(), value)
}

fn peer(name: &str) -> Arc<Peer> {
    Arc::new(Peer {
        workload: name.into(),
        namespace: "shop".into(),
        principal: Some(Identity::new("cluster.local", "shop", name).unwrap()),
        app: format!("{name}-app").as_str().into(),
        version: "v1".into(),
        canonical_service: format!("{name}-canonical").as_str().into(),
        canonical_revision: "r1".into(),
        cluster: "c1".into(),
        ..Peer::default()
    })
}

fn service() -> Arc<ServiceLabels> {
    let hostname = "web.shop.svc.cluster.local".into();
    Arc::new(ServiceLabels { hostname, name: "web".into(), namespace: "shop".into() })
}

/// An ordinary request.
fn request<'a>(
    source: &'a Arc<Peer>,
    destination: &'a Arc<Peer>,
    service: &'a Arc<ServiceLabels>,
) -> Exchange<'a> {
    let mut exchange = Exchange::new(SystemTime::UNIX_EPOCH, Protocol::Http);
    exchange.source = Some(source);
    exchange.destination = Some(destination);
    exchange.service = Some(service);
    exchange.security = Security::MutualTls;
    exchange.http.status = 200;
    exchange.duration = Duration::from_micros(4500);
    exchange.received = Octets { body: 100, head: 60 };
    exchange.sent = Octets { body: 2000, head: 80 };
    exchange
}

#[test]
fn a_request_is_counted_with_exactly_istios_labels() {
    let metrics = HttpMetrics::new(Bounds::default());
    let (web, client, service) = (peer("web"), peer("client"), service());
    let exchange = request(&client, &web, &service);
    metrics.finished(Instant::now(), &Arc::default(), &exchange, Reported::default());
    let text = shown(&metrics);
    assert!(text.contains("\nistio_build{component=\"proxy\",tag=\"1.2\"} 1\n"), "{text}");
    let (labels, value) = line(&text, "istio_requests_total");
    assert_eq!(value, "1");
    let expected = BTreeMap::from([
        ("reporter", "waypoint"),
        ("source_workload", "client"),
        ("source_workload_namespace", "shop"),
        ("source_principal", "spiffe://cluster.local/ns/shop/sa/client"),
        ("source_app", "client-app"),
        ("source_version", "v1"),
        ("source_canonical_service", "client-canonical"),
        ("source_canonical_revision", "r1"),
        ("source_cluster", "c1"),
        ("destination_workload", "web"),
        ("destination_workload_namespace", "shop"),
        ("destination_principal", "spiffe://cluster.local/ns/shop/sa/web"),
        ("destination_app", "web-app"),
        ("destination_version", "v1"),
        ("destination_service", "web.shop.svc.cluster.local"),
        ("destination_service_name", "web"),
        ("destination_service_namespace", "shop"),
        ("destination_canonical_service", "web-canonical"),
        ("destination_canonical_revision", "r1"),
        ("destination_cluster", "c1"),
        ("request_protocol", "http"),
        ("response_code", "200"),
        ("grpc_response_status", ""),
        ("response_flags", "-"),
        ("connection_security_policy", "mutual_tls"),
    ]);
    assert_eq!(labels, expected);
    let names: BTreeSet<_> = labels.keys().copied().collect();
    let documented: BTreeSet<_> = ALL.split(", ").chain(["response_code", "grpc_response_status"]).collect();
    assert_eq!(names, documented);
    for (name, sum, bucket) in [
        ("istio_request_duration_milliseconds", "4.5", "5.0"),
        ("istio_request_bytes", "160.0", "250.0"),
        ("istio_response_bytes", "2080.0", "2500.0"),
    ] {
        assert_eq!(line(&text, &format!("{name}_sum")), (expected.clone(), sum));
        assert_eq!(line(&text, &format!("{name}_count")), (expected.clone(), "1"));
        let buckets = lines(&text, &format!("{name}_bucket"));
        let bounds: Vec<_> = buckets.iter().map(|line| parsed(line)).collect();
        let first = bounds.iter().find(|(_, value)| *value == "1").map(|(labels, _)| labels["le"]);
        assert_eq!(first, Some(bucket));
        let ends: Vec<f64> =
            bounds.iter().map(|(labels, _)| labels["le"].replace('+', "").parse().unwrap()).collect();
        assert_eq!(ends, [&BOUNDS[..], &[f64::INFINITY]].concat());
    }
    // No TCP, no messages: no such series.
    assert!(lines(&text, "istio_tcp_connections_opened_total").is_empty());
    assert!(lines(&text, "istio_request_messages_total").is_empty());
}

#[test]
fn what_is_unknown_says_so() {
    let metrics = HttpMetrics::new(Bounds::default());
    let mut exchange = Exchange::new(SystemTime::UNIX_EPOCH, Protocol::Grpc);
    exchange.http.grpc = Some(Grpc { status: Some(14), ..Grpc::default() });
    exchange.flags = ResponseFlags::NO_HEALTHY_UPSTREAM | ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
    metrics.finished(Instant::now(), &Arc::default(), &exchange, Reported::default());
    let text = shown(&metrics);
    let (labels, _) = line(&text, "istio_requests_total");
    for (name, value) in &labels {
        let expected = match *name {
            "reporter" => "waypoint",
            "source_canonical_revision" | "destination_canonical_revision" => "latest",
            "request_protocol" => "grpc",
            "response_code" => "0",
            "grpc_response_status" => "14",
            "response_flags" => "UH,URX",
            _ => "unknown",
        };
        assert_eq!(*value, expected, "{name}");
    }
    assert_eq!(labels.len(), 25);
}

#[test]
fn connections_are_counted_as_they_go_on() {
    let metrics = HttpMetrics::new(Bounds::default());
    let (web, client, service) = (peer("web"), peer("client"), service());
    let (now, rules) = (Instant::now(), Arc::default());
    let mut exchange = request(&client, &web, &service);
    exchange.protocol = Protocol::Tcp;
    exchange.http.status = 0;
    exchange.received = Octets::default();
    exchange.sent = Octets::default();
    metrics.opened(now, &rules, &exchange);
    let mut reported = Reported::default();
    metrics.progress(now, &rules, &exchange, &mut reported);
    exchange.received.body = 10;
    exchange.sent.body = 1000;
    metrics.progress(now, &rules, &exchange, &mut reported);
    metrics.progress(now, &rules, &exchange, &mut reported);
    let text = shown(&metrics);
    let value = |text: &str, name: &str| line(text, name).1.to_owned();
    assert_eq!(value(&text, "istio_tcp_received_bytes_total"), "10");
    assert_eq!(value(&text, "istio_tcp_sent_bytes_total"), "1000");
    assert!(lines(&text, "istio_tcp_connections_closed_total").is_empty());
    exchange.received.body = 12;
    exchange.flags = ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
    metrics.finished(now, &rules, &exchange, reported);
    let text = shown(&metrics);
    let (labels, _) = line(&text, "istio_tcp_connections_closed_total");
    assert_eq!((labels["response_flags"], labels["request_protocol"]), ("UF", "tcp"));
    assert_eq!(labels.keys().copied().collect::<BTreeSet<_>>(), ALL.split(", ").collect());
    assert_eq!(value(&text, "istio_tcp_connections_opened_total"), "1");
    let received: Vec<_> = lines(&text, "istio_tcp_received_bytes_total");
    let received: BTreeMap<_, _> =
        received.iter().map(|l| parsed(l)).map(|(l, v)| (l["response_flags"], v)).collect();
    assert_eq!(received, BTreeMap::from([("-", "10"), ("UF", "2")]));
    assert!(lines(&text, "istio_requests_total").is_empty());
}

#[test]
fn messages_are_counted_while_a_call_goes_on() {
    let metrics = HttpMetrics::new(Bounds::default());
    let (web, client, service) = (peer("web"), peer("client"), service());
    let (now, rules) = (Instant::now(), Arc::default());
    let mut exchange = request(&client, &web, &service);
    exchange.protocol = Protocol::Grpc;
    let mut reported = Reported::default();
    exchange.http.grpc = Some(Grpc { status: None, request_messages: 1, response_messages: 5 });
    metrics.progress(now, &rules, &exchange, &mut reported);
    exchange.http.grpc = Some(Grpc { status: Some(0), request_messages: 1, response_messages: 7 });
    metrics.finished(now, &rules, &exchange, reported);
    let text = shown(&metrics);
    let sum =
        |name: &str| lines(&text, name).iter().map(|l| parsed(l).1.parse::<u64>().unwrap()).sum::<u64>();
    assert_eq!((sum("istio_request_messages_total"), sum("istio_response_messages_total")), (1, 7));
    assert_eq!(line(&text, "istio_requests_total").0["grpc_response_status"], "0");
}

#[test]
fn rules_remove_add_and_disable() {
    let metrics = HttpMetrics::new(Bounds::default());
    let (web, client, service) = (peer("web"), peer("client"), service());
    let mut rules = MetricRules::default();
    let method = rules.expression(Expression::new("request.method").unwrap());
    let host = rules.expression(Expression::new("has(request.host) ? request.host : 'none'").unwrap());
    let tags = BTreeMap::from([
        ("response_code".into(), Tag::Remove),
        ("method".into(), Tag::Set(method)),
        ("source_app".into(), Tag::Set(host)),
    ]);
    rules.by_metric.insert(Metric::RequestCount, MetricRule { disabled: false, tags });
    rules.by_metric.insert(Metric::ResponseSize, MetricRule { disabled: true, ..MetricRule::default() });
    let rules = Arc::new(rules);
    let mut exchange = request(&client, &web, &service);
    exchange.http.method = b"GET\"\n";
    for status in [200, 500] {
        exchange.http.status = status;
        metrics.finished(Instant::now(), &rules, &exchange, Reported::default());
    }
    let text = shown(&metrics);
    // Without the status both are one; a method cannot break out of its label.
    let (labels, value) = line(&text, "istio_requests_total");
    assert_eq!((value, labels["source_app"], labels.get("response_code")), ("2", "none", None));
    assert_eq!(labels["method"], "GET\\\"\\n");
    assert_eq!(lines(&text, "istio_request_bytes_count").len(), 2);
    assert!(lines(&text, "istio_response_bytes_count").is_empty());
    // Rules of before do not make two series of one.
    metrics.finished(Instant::now(), &Arc::default(), &exchange, Reported::default());
    let text = shown(&metrics);
    let counts: Vec<_> = lines(&text, "istio_request_bytes_count").iter().map(|l| parsed(l).1).collect();
    assert_eq!(counts, ["1", "2"]);
}

#[test]
fn equal_peers_share_a_series_wherever_they_are() {
    let metrics = HttpMetrics::new(Bounds::default());
    let service = service();
    for _ in 0..3 {
        let (web, client) = (peer("web"), peer("client"));
        let exchange = request(&client, &web, &service);
        for _ in 0..2 {
            metrics.finished(Instant::now(), &Arc::default(), &exchange, Reported::default());
        }
    }
    assert_eq!(line(&shown(&metrics), "istio_requests_total").1, "6");
}

#[test]
fn series_have_a_cap_expire_and_go_with_their_workloads() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let bounds = Bounds { series: 10, idle: Duration::from_secs(3600) };
    let metrics = HttpMetrics::new(bounds);
    let (web, service, rules) = (peer("web"), service(), Arc::default());
    let ask = |seconds, name: &str| {
        let client = peer(name);
        metrics.finished(at(seconds), &rules, &request(&client, &web, &service), Reported::default());
    };
    for n in 0..13 {
        ask(0, &format!("client-{n}"));
        ask(0, &format!("client-{n}"));
    }
    let text = shown(&metrics);
    assert_eq!(lines(&text, "istio_requests_total").len(), 11);
    let other = lines(&text, "istio_requests_total").into_iter().map(parsed);
    let other: Vec<_> = other.filter(|(labels, _)| labels["source_workload"] == "other").collect();
    let [(labels, "6")] = other.as_slice() else { panic!("{other:?}") };
    assert_eq!((labels["response_code"], labels["request_protocol"], labels.len()), ("other", "http", 25));
    assert!(text.contains("adit_http_metrics_collapsed_total 6\n"), "{text}");

    metrics.forget(at(10), "shop", "client-0");
    metrics.forget(at(10), "shop", "client-1");
    ask(20, "client-1");
    metrics.expire(at(200));
    let of = |name: &str| shown(&metrics).matches(&format!("source_workload=\"{name}\"")).count();
    assert_eq!((of("client-0"), of("client-1") > 0), (0, true));
    metrics.expire(at(3605));
    assert_eq!(of("client-2"), 0);
    assert!(of("client-1") > 0);
    ask(3700, "client-12");
    assert!(of("client-12") > 0);
}
