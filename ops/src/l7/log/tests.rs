use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use adit_core::hbone::TraceParent;
use adit_core::identity::Identity;
use adit_core::l7::telemetry::Expression;
use proptest::prelude::*;

use super::super::record::{Details, Octets, Peer, Protocol, ResponseFlags, Version};
use super::*;
use crate::logging::{Queue, Shared};

fn written(format: LogFormat, exchange: &Exchange<'_>) -> String {
    let mut out = Vec::new();
    line(&mut out, format, exchange);
    String::from_utf8(out).unwrap()
}

fn started() -> Exchange<'static> {
    Exchange::new(UNIX_EPOCH + Duration::from_millis(1_767_323_045_678), Protocol::Http)
}

/// An exchange of which everything is known.
fn whole<'a>(client: &'a Arc<Peer>, web: &'a Arc<Peer>, details: &'a Details) -> Exchange<'a> {
    let mut exchange = started();
    exchange.duration = Duration::from_micros(12_900);
    exchange.http.method = b"GET";
    exchange.http.path = b"/api/v1?x=1";
    exchange.http.version = Some(Version::Http2);
    exchange.http.status = 503;
    exchange.http.forwarded_for = b"10.1.0.9";
    exchange.http.user_agent = b"curl/8.5 (x)";
    exchange.http.request_id = b"e3f1c7f4-0000-4000-8000-000000000001";
    exchange.http.authority = b"web.shop:8080";
    exchange.received = Octets { body: 12, head: 100 };
    exchange.sent = Octets { body: 345, head: 100 };
    exchange.flags =
        ResponseFlags::UPSTREAM_CONNECTION_FAILURE | ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
    exchange.details = Some(details);
    exchange.termination = "policy";
    exchange.upstream.transport_failure = "TLS error: no peer";
    exchange.upstream.host = "10.1.2.3:80".parse().ok();
    exchange.upstream.cluster = "web.shop.svc.cluster.local:8080";
    exchange.upstream.local = "10.1.0.1:40000".parse().ok();
    exchange.upstream.service_time = Some(Duration::from_millis(7));
    exchange.upstream.retries = 2;
    exchange.upstream.reused = true;
    exchange.downstream.local = "10.96.0.5:8080".parse().ok();
    exchange.downstream.remote = "[fd00::9]:51000".parse().ok();
    exchange.downstream.server_name = "web.shop";
    exchange.route = "HTTPRoute shop/canary";
    exchange.source = Some(client);
    exchange.destination = Some(web);
    exchange.policy = "shop/deny";
    exchange.trace = Some(TraceParent { trace_id: 0xabc, span_id: 0xdef, flags: 1 });
    exchange.connection = Some(TraceParent { trace_id: 0x123, span_id: 1, flags: 0 });
    exchange
}

fn peer(name: &str) -> Arc<Peer> {
    let principal = Some(Identity::new("cluster.local", "shop", name).unwrap());
    Arc::new(Peer { workload: name.into(), namespace: "shop".into(), principal, ..Peer::default() })
}

#[test]
fn a_line_of_text_is_envoys() {
    let (client, web, details) = (peer("client"), peer("web"), Details::ViaUpstream);
    assert_eq!(
        written(LogFormat::Text, &whole(&client, &web, &details)),
        "[2026-01-02T03:04:05.678Z] \"GET /api/v1?x=1 HTTP/2\" 503 UF,URX via_upstream policy \
         \"TLS error: no peer\" 12 345 12 7 \"10.1.0.9\" \"curl/8.5 (x)\" \
         \"e3f1c7f4-0000-4000-8000-000000000001\" \"web.shop:8080\" \"10.1.2.3:80\" \
         web.shop.svc.cluster.local:8080 10.1.0.1:40000 10.96.0.5:8080 [fd00::9]:51000 web.shop \
         HTTPRoute\\x20shop/canary\n"
    );
    assert_eq!(
        written(LogFormat::Text, &started()),
        "[2026-01-02T03:04:05.678Z] \"- - -\" 0 - - - \"-\" 0 0 0 - \"-\" \"-\" \"-\" \"-\" \"-\" - - - - - -\n"
    );
}

#[test]
fn a_line_of_json_has_istios_keys_and_then_ours() {
    let (client, web, details) = (peer("client"), peer("web"), Details::ViaUpstream);
    assert_eq!(
        written(LogFormat::Json, &whole(&client, &web, &details)),
        "{\"start_time\":\"2026-01-02T03:04:05.678Z\",\"route_name\":\"HTTPRoute shop/canary\",\"method\":\"GET\",\
         \"path\":\"/api/v1?x=1\",\"protocol\":\"HTTP/2\",\"response_code\":503,\"response_flags\":\"UF,URX\",\
         \"response_code_details\":\"via_upstream\",\"connection_termination_details\":\"policy\",\
         \"bytes_received\":12,\"bytes_sent\":345,\"duration\":12,\"upstream_service_time\":\"7\",\
         \"x_forwarded_for\":\"10.1.0.9\",\"user_agent\":\"curl/8.5 (x)\",\
         \"request_id\":\"e3f1c7f4-0000-4000-8000-000000000001\",\"authority\":\"web.shop:8080\",\
         \"upstream_host\":\"10.1.2.3:80\",\"upstream_cluster\":\"web.shop.svc.cluster.local:8080\",\
         \"upstream_local_address\":\"10.1.0.1:40000\",\"downstream_local_address\":\"10.96.0.5:8080\",\
         \"downstream_remote_address\":\"[fd00::9]:51000\",\"requested_server_name\":\"web.shop\",\
         \"upstream_transport_failure_reason\":\"TLS error: no peer\",\
         \"source_principal\":\"spiffe://cluster.local/ns/shop/sa/client\",\"source_workload\":\"client\",\
         \"source_namespace\":\"shop\",\"destination_principal\":\"spiffe://cluster.local/ns/shop/sa/web\",\
         \"destination_workload\":\"web\",\"destination_namespace\":\"shop\",\"policy\":\"shop/deny\",\
         \"retries\":2,\"tunnel_reused\":true,\"trace_id\":\"00000000000000000000000000000abc\",\
         \"span_id\":\"0000000000000def\",\"connection_id\":\"00000000000000000000000000000123\"}\n"
    );
    let nothing: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, &started())).unwrap();
    let told: Vec<_> =
        nothing.as_object().unwrap().iter().filter(|(_, v)| !v.is_null()).map(|(k, _)| k).collect();
    let told: std::collections::BTreeSet<_> = told.into_iter().map(String::as_str).collect();
    let expected =
        "start_time response_code response_flags bytes_received bytes_sent duration retries tunnel_reused";
    assert_eq!(told, expected.split(' ').collect());
}

/// waypoint.md §20.3, in its order.
const KEYS: &str = "start_time, route_name, method, path, protocol, response_code, response_flags, \
    response_code_details, connection_termination_details, bytes_received, bytes_sent, duration, \
    upstream_service_time, x_forwarded_for, user_agent, request_id, authority, upstream_host, upstream_cluster, \
    upstream_local_address, downstream_local_address, downstream_remote_address, requested_server_name, \
    upstream_transport_failure_reason";

#[test]
fn the_keys_are_the_documented_ones_in_their_order() {
    let line = written(LogFormat::Json, &started());
    let keys: Vec<_> =
        line.split("\":").filter_map(|part| part.rsplit_once('"')).map(|(_, key)| key).collect();
    let documented: Vec<_> = KEYS.split(", ").collect();
    assert_eq!(keys[..documented.len()], documented);
    let ours = [
        "source_principal",
        "source_workload",
        "source_namespace",
        "destination_principal",
        "destination_workload",
        "destination_namespace",
        "policy",
        "retries",
        "tunnel_reused",
        "trace_id",
        "span_id",
        "connection_id",
    ];
    assert_eq!(keys[documented.len()..], ours);
}

#[test]
fn a_peer_cannot_forge_lines_or_fields() {
    let mut exchange = started();
    let evil = b"a\" 200 - x\r\n[2026-01-02T03:04:05.678Z] \"GET / HTTP/1.1\" 200\x1b[31m\\\xff";
    exchange.http.method = evil;
    exchange.http.path = evil;
    exchange.http.user_agent = evil;
    exchange.http.authority = evil;
    exchange.downstream.server_name = "a b\"\n";
    let text = written(LogFormat::Text, &exchange);
    let escaped = "a\\x22\\x20200\\x20-\\x20x\\x0d\\x0a[2026";
    assert!(text.contains(&format!("] \"{escaped}")), "{text}");
    assert!(text.contains(" \"a\\x22 200 - x\\x0d\\x0a[2026-01-02T03:04:05.678Z] \\x22GET / HTTP/1.1\\x22 200\\x1b[31m\\x5c\\xff\" "));
    assert!(text.ends_with(" a\\x20b\\x22\\x0a -\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, &exchange)).unwrap();
    let same = String::from_utf8_lossy(evil);
    assert_eq!((&json["method"], &json["user_agent"]), (&serde_json::json!(same), &serde_json::json!(same)));
}

proptest! {
    #[test]
    fn any_octets_give_one_line_of_as_many_fields(
        octets in proptest::collection::vec(any::<u8>(), 0..60),
        words in "[ -~\\n\\t\"\\\\é]{0,20}",
    ) {
        let mut exchange = started();
        exchange.http.method = &octets;
        exchange.http.path = &octets;
        exchange.http.forwarded_for = &octets;
        exchange.http.user_agent = &octets;
        exchange.http.request_id = &octets;
        exchange.http.authority = &octets;
        exchange.termination = &words;
        exchange.route = &words;
        exchange.upstream.transport_failure = &words;
        exchange.upstream.cluster = &words;
        exchange.downstream.server_name = &words;
        let text = written(LogFormat::Text, &exchange);
        prop_assert_eq!(text.matches('\n').count(), 1);
        prop_assert!(text.bytes().all(|octet| octet == b'\n' || (b' '..=b'~').contains(&octet)));
        // As many quotes and, outside of them, as many blanks as in any line.
        let parts: Vec<&str> = text.split('"').collect();
        prop_assert_eq!(parts.len(), 15);
        let blanks: usize = parts.iter().step_by(2).map(|part| part.matches(' ').count()).sum();
        prop_assert_eq!(blanks, 21);
        prop_assert_eq!(parts[1].matches(' ').count(), 2);
        let json = written(LogFormat::Json, &exchange);
        prop_assert_eq!(json.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(value.as_object().unwrap().len(), 36);
    }
}

#[test]
fn filters_decide_which_exchanges_have_a_line() {
    let out = Shared::default();
    let (_queue, guard) = Queue::start(out.clone(), io::sink()).unwrap();
    let mut logger = AccessLogger::new(guard.access());
    let filter = Some(Expression::condition("response.code >= 400").unwrap());
    let logs =
        [AccessLog { format: LogFormat::Text, filter }, AccessLog { format: LogFormat::Json, filter: None }];
    let mut exchange = started();
    for status in [200, 404] {
        exchange.http.status = status;
        logger.log(&logs, &exchange);
    }
    guard.flush();
    let text = out.text();
    let starts: Vec<_> = text.lines().map(|line| line.chars().next().unwrap()).collect();
    assert_eq!(starts, ['{', '[', '{']);
    assert_eq!(guard.access().dropped(), 0);
}
