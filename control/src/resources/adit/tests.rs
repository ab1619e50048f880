use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::rate::{GlobalLimit, LimitAnswer, LocalLimit, Masked, Part, RatePolicy, Unit};
use adit_core::l7::{Abort, FaultPolicy, Fraction, Kind, Rate, RouteId, Snapshot};
use adit_core::time::UnixTime;

use super::super::compile;
use super::super::testing::{indented, objects, world};

const SERVICE: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{name: http, port: 80}]}\n";

fn read(kind: &str, spec: &str) -> (Arc<Snapshot>, Vec<String>) {
    let head = format!(
        "---\napiVersion: adit.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: p, namespace: shop}}\nspec:\n"
    );
    let compiled = compile(&objects(&(head + &indented(spec, 2) + SERVICE)), &world());
    (compiled.snapshot, compiled.problems.into_iter().map(|problem| problem.field).collect())
}

const TARGET: &str = "targetRefs: [{kind: Service, name: web}]\n";

fn rate(spec: &str) -> (RatePolicy, Vec<String>) {
    let (snapshot, problems) = read("RateLimitPolicy", &format!("{TARGET}{spec}"));
    let service = world().service("shop", "web");
    let found = snapshot.rates.of(&service, 80, None);
    (RatePolicy::clone(found.first().expect("a policy")), problems)
}

#[test]
fn local_limits_are_read() {
    let (policy, problems) = rate(
        "local: [{requests: 10, per: 1m}, {requests: 5, per: 1s, burst: 20, by: [principal], maxKeys: 7}]",
    );
    assert_eq!((&*policy.name, policy.shadow, problems), ("shop/p", false, vec![]));
    let rate = |max_tokens, tokens_per_fill, secs| Rate {
        max_tokens,
        tokens_per_fill,
        fill_interval: Duration::from_secs(secs),
    };
    assert_eq!(
        policy.local,
        [
            LocalLimit { rate: rate(10, 10, 60), by: vec![], max_keys: 10_000 },
            LocalLimit { rate: rate(20, 5, 1), by: vec![Part::Principal], max_keys: 7 },
        ]
    );
}

#[test]
fn each_part_is_read() {
    for (yaml, expected) in [
        ("genericKey: {value: v}", Part::Generic { key: "generic_key".into(), value: "v".into() }),
        (
            "header: {name: X-User}",
            Part::Header { key: "X-User".into(), name: "x-user".into(), optional: false },
        ),
        (
            "header: {name: x, key: k, optional: true}",
            Part::Header { key: "k".into(), name: "x".into(), optional: true },
        ),
        ("queryParameter: {name: q}", Part::Query { key: "q".into(), name: "q".into(), optional: false }),
        ("remoteAddress", Part::RemoteAddress),
        ("maskedAddress: {v4PrefixLength: 24}", Part::MaskedAddress(Masked { v4: 24, v6: 128 })),
        ("sourceCluster", Part::SourceCluster),
        ("destination", Part::Destination),
        ("principal", Part::Principal),
        ("namespace", Part::Namespace),
        ("claim: {name: sub}", Part::Claim { key: "sub".into(), path: vec!["sub".into()] }),
        (
            "claim: {path: [a, b], key: k}",
            Part::Claim { key: "k".into(), path: vec!["a".into(), "b".into()] },
        ),
        ("grpcMethod", Part::GrpcMethod),
        ("method", Part::Method),
        ("path", Part::Path),
    ] {
        let (policy, problems) = rate(&format!("local: [{{requests: 1, per: 1s, by: [{yaml}]}}]"));
        assert_eq!((&policy.local[0].by[0], problems), (&expected, vec![]), "{yaml}");
    }
    let matching = "{value: v, conditions: [{name: A, exact: '1'}], expectMatch: false}";
    let (policy, _) = rate(&format!(
        "local: [{{requests: 1, per: 1s, by: [headerMatch: {matching}, queryMatch: {matching}]}}]"
    ));
    let [Part::HeaderMatch { headers, expect: false, .. }, Part::QueryMatch { parameters, .. }] =
        &*policy.local[0].by
    else {
        panic!("{policy:?}")
    };
    assert_eq!((&*headers[0].name, &*parameters[0].name), ("a", "A"));
}

#[test]
fn global_limits_and_answers_are_read() {
    let (policy, problems) = rate(
        "mode: Shadow
global:
  service: {name: limits, namespace: infra, port: 8081}
  domain: shop
  timeout: 50ms
  failureMode: Deny
  descriptors:
  - {entries: [principal, {header: {name: h}}], limit: {requests: 5, unit: Minute}, hits: 2}
response: {status: 503, resourceExhausted: true, rateLimitHeaders: true, retryAfter: false, envoyHeader: false}",
    );
    let GlobalLimit { service, domain, descriptors, timeout, deny_on_failure } = policy.global.unwrap();
    assert_eq!(
        (&*service.service.hostname, service.port, &*domain),
        ("limits.infra.svc.cluster.local", 8081, "shop")
    );
    assert_eq!((timeout, deny_on_failure, problems), (Duration::from_millis(50), true, vec![]));
    assert_eq!(
        (descriptors[0].parts.len(), descriptors[0].limit, descriptors[0].hits),
        (2, Some((5, Unit::Minute)), Some(2))
    );
    let answer = LimitAnswer {
        status: 503,
        resource_exhausted: true,
        quota_headers: true,
        retry_after: false,
        envoy_header: false,
    };
    assert_eq!((policy.answer, policy.shadow), (answer, true));
}

#[test]
fn what_makes_no_sense_is_told() {
    let local = "local: [{requests: 1, per: 1s}]";
    for (spec, field) in [
        (TARGET.to_owned(), "spec"),
        (format!("{TARGET}local: [{{requests: 1, per: 0s}}]"), "spec.local[0].per"),
        (
            format!("{TARGET}local: [{{requests: 1, per: 1s, by: [maskedAddress: {{v4PrefixLength: 33}}]}}]"),
            "spec.local[0].by[0].maskedAddress",
        ),
        (
            format!("{TARGET}local: [{{requests: 1, per: 1s, by: [claim: {{}}]}}]"),
            "spec.local[0].by[0].claim",
        ),
        (
            format!(
                "{TARGET}local: [{{requests: 1, per: 1s, by: [headerMatch: {{value: v, conditions: [{{name: a}}]}}]}}]"
            ),
            "spec.local[0].by[0].headerMatch.conditions[0]",
        ),
        (
            format!("{TARGET}{local}\nglobal: {{service: {{name: l, port: 1}}, domain: d, descriptors: []}}"),
            "spec.global.descriptors",
        ),
        (format!("{TARGET}{local}\nresponse: {{status: 200}}"), "spec.response.status"),
        (format!("{TARGET}{local}\nlokal: []"), "spec.lokal"),
        (local.to_owned(), "spec.targetRefs"),
        (format!("targetRefs: [{{kind: Pod, name: web}}]\n{local}"), "spec.targetRefs[0]"),
        (format!("targetRefs: [{{kind: Service, name: gone}}]\n{local}"), "spec.targetRefs[0]"),
        (
            format!("targetRefs: [{{kind: Service, name: web, sectionName: odd}}]\n{local}"),
            "spec.targetRefs[0].sectionName",
        ),
    ] {
        assert_eq!(read("RateLimitPolicy", &spec).1, [field], "{spec}");
    }
}

#[test]
fn targets_are_services_ports_routes_and_rules() {
    let service = world().service("shop", "web");
    let id = |kind| RouteId { kind, namespace: "shop".into(), name: "r".into() };
    let rule: Arc<str> = "first".into();
    let gateway = "group: gateway.networking.k8s.io";
    for (target, of) in [
        ("{kind: Service, name: web}".to_owned(), [1, 1, 1, 1]),
        ("{kind: Service, name: web, sectionName: http}".to_owned(), [1, 0, 1, 1]),
        ("{kind: Service, name: web, sectionName: '81'}".to_owned(), [0, 1, 0, 0]),
        (format!("{{{gateway}, kind: HTTPRoute, name: r}}"), [0, 0, 1, 1]),
        (format!("{{{gateway}, kind: HTTPRoute, name: r, sectionName: first}}"), [0, 0, 1, 0]),
        (format!("{{{gateway}, kind: GRPCRoute, name: r}}"), [0, 0, 0, 0]),
        ("{group: networking.istio.io, kind: VirtualService, name: r}".to_owned(), [0, 0, 0, 0]),
    ] {
        let (snapshot, _) =
            read("RateLimitPolicy", &format!("targetRefs: [{target}]\nlocal: [{{requests: 1, per: 1s}}]"));
        let (route, rates) = (id(Kind::Http), &snapshot.rates);
        let found = [
            rates.of(&service, 80, None).len(),
            rates.of(&service, 81, None).len(),
            rates.of(&service, 80, Some((&route, Some(&rule)))).len(),
            rates.of(&service, 80, Some((&route, None))).len(),
        ];
        assert_eq!(found, of, "{target}");
    }
}

#[test]
fn faults_are_read_whole_or_not_at_all() {
    let fault = |spec: &str| {
        let (snapshot, problems) = read("FaultPolicy", &format!("{TARGET}{spec}"));
        let service = world().service("shop", "web");
        let found: Option<FaultPolicy> =
            snapshot.faults.of(&service, 80, None).first().map(|it| FaultPolicy::clone(it));
        (found, problems)
    };
    let expires = "expires: 2026-01-02T03:04:05Z";
    let (policy, problems) = fault(&format!(
        "delay: {{duration: 2s, percentage: 50}}
abort: {{grpcStatus: 14, percentage: 0.5}}
when: {{headers: [{{name: X-Test, exact: '1'}}], principals: ['spiffe://td/ns/a/sa/b']}}
{expires}"
    ));
    let policy = policy.unwrap();
    let million = |numerator| Fraction { numerator, denominator: 1_000_000 };
    assert_eq!(policy.faults.delay, Some((Duration::from_secs(2), million(500_000))));
    assert_eq!(policy.faults.abort, Some((Abort::Grpc(14), million(5_000))));
    assert_eq!((&*policy.headers[0].name, policy.principals.len()), ("x-test", 1));
    assert_eq!((policy.expires, problems), (UnixTime(1_767_323_045), vec![]));
    for (spec, field) in [
        (expires.to_owned(), "spec"),
        (format!("abort: {{percentage: 1}}\n{expires}"), "spec.abort"),
        (format!("abort: {{httpStatus: 503, percentage: 101}}\n{expires}"), "spec.abort.percentage"),
        (format!("delay: {{duration: 1s, percentage: -1}}\n{expires}"), "spec.delay.percentage"),
        ("delay: {duration: 1s, percentage: 1}\nexpires: soon".to_owned(), "spec.expires"),
        (
            format!("delay: {{duration: 1s, percentage: 1}}\nwhen: {{headers: [{{name: a}}]}}\n{expires}"),
            "spec.when.headers[0]",
        ),
        (format!("delay: {{duration: 1s, percentage: 1}}\nwhne: {{}}\n{expires}"), "spec.whne"),
        ("delay: {duration: 1s, percentage: 1}".to_owned(), "spec"),
    ] {
        assert_eq!(fault(&spec), (None, vec![field.to_owned()]), "{spec}");
    }
}
