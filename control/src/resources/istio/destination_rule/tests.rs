use std::time::Duration;

use adit_core::l7::upstream::{
    Balancer, ConnectionSettings, CookieKey, HashTable, Http2Upgrade, Keepalive, KeySource, Label,
    LocalityRule, PriorityLabel, ProxyProtocol, RetryShare, TrafficPolicy, UpstreamTls,
};
use adit_core::l7::{Limits, OutlierDetection};
use adit_core::mesh::ServiceName;

use super::super::super::testing::{indented, objects, told, world};
use super::*;

fn service(name: &str) -> ServiceName {
    world().service("shop", name)
}

fn read(yaml: &str) -> (Destinations, Vec<(String, String)>) {
    let mut problems = Problems::default();
    let destinations = translate(&objects(yaml), &world(), &mut problems);
    (destinations, told(problems))
}

/// A rule for `web` with this policy.
fn policy(yaml: &str) -> (TrafficPolicy, Vec<String>) {
    let head = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, namespace: shop}\nspec:\n  host: web\n";
    let (destinations, problems) = read(&format!("{head}  trafficPolicy:\n{}", indented(yaml, 4)));
    let settled = destinations.settle(&service("web"), 80, None).unwrap();
    let fields = problems.into_iter().map(|(field, _)| field.replace("spec.trafficPolicy.", ""));
    (TrafficPolicy::clone(settled.policy), fields.collect())
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn hash(key: KeySource, table: HashTable) -> Balancer {
    Balancer::Hash { key, table }
}

#[test]
fn each_way_to_balance_is_read() {
    let header = || KeySource::Header("x-user".into());
    let cookie = |ttl, path: &str| {
        KeySource::Cookie(CookieKey { name: "user".into(), path: path.into(), ttl, attributes: vec![] })
    };
    let ring = HashTable::default;
    for (yaml, expected, problems) in [
        ("simple: LEAST_REQUEST", Balancer::LeastRequest, &[][..]),
        ("simple: LEAST_CONN", Balancer::LeastRequest, &[]),
        ("simple: UNSPECIFIED", Balancer::LeastRequest, &[]),
        ("simple: ROUND_ROBIN", Balancer::RoundRobin, &[]),
        ("simple: RANDOM", Balancer::Random, &[]),
        ("simple: PASSTHROUGH", Balancer::LeastRequest, &["loadBalancer.simple"]),
        ("consistentHash: {httpHeaderName: X-User}", hash(header(), ring()), &[]),
        ("consistentHash: {useSourceIp: true}", hash(KeySource::SourceIp, ring()), &[]),
        ("consistentHash: {httpQueryParameterName: u}", hash(KeySource::Query("u".into()), ring()), &[]),
        ("consistentHash: {httpCookie: {name: user}}", hash(cookie(None, ""), ring()), &[]),
        (
            "consistentHash: {httpCookie: {name: user, path: /, ttl: 0s}}",
            hash(cookie(Some(Duration::ZERO), "/"), ring()),
            &[],
        ),
        (
            "consistentHash: {httpHeaderName: x-user, minimumRingSize: 16}",
            hash(header(), HashTable::Ring { minimum: 16 }),
            &[],
        ),
        (
            "consistentHash: {httpHeaderName: x-user, ringHash: {minimumRingSize: 8}}",
            hash(header(), HashTable::Ring { minimum: 8 }),
            &[],
        ),
        (
            "consistentHash: {httpHeaderName: x-user, maglev: {}}",
            hash(header(), HashTable::Maglev { size: 65_537 }),
            &[],
        ),
        (
            "consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 101}}",
            hash(header(), HashTable::Maglev { size: 101 }),
            &[],
        ),
        (
            "consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 100}}",
            hash(header(), HashTable::Maglev { size: 65_537 }),
            &["loadBalancer.consistentHash.maglev.tableSize"],
        ),
        ("consistentHash: {}", Balancer::Random, &["loadBalancer.consistentHash"]),
        (
            "consistentHash: {httpHeaderName: x-user, useSourceIp: true}",
            hash(header(), ring()),
            &["loadBalancer.consistentHash"],
        ),
        (
            "{simple: RANDOM, consistentHash: {useSourceIp: true}}",
            hash(KeySource::SourceIp, ring()),
            &["loadBalancer"],
        ),
        ("zoneAwareLbSetting: {enabled: true}", Balancer::LeastRequest, &["loadBalancer.zoneAwareLbSetting"]),
        ("backendUtilization: {}", Balancer::LeastRequest, &["loadBalancer.backendUtilization"]),
    ] {
        let (policy, found) = policy(&format!("loadBalancer:\n{}", indented(yaml, 2)));
        assert_eq!(
            (policy.balancer, found),
            (expected, problems.iter().map(ToString::to_string).collect()),
            "{yaml}"
        );
    }
}

#[test]
fn places_and_warmups_are_read() {
    let rule = |yaml: &str| {
        let (policy, problems) = policy(&format!("loadBalancer: {{localityLbSetting: {yaml}}}"));
        (policy.locality, problems.len())
    };
    assert_eq!(rule("{enabled: false}"), (LocalityRule::Off, 0));
    assert_eq!(rule("{}"), (LocalityRule::Failover(vec![]), 0));
    let failover = LocalityRule::Failover(vec![("us".into(), "eu".into())]);
    assert_eq!(rule("{failover: [{from: us, to: eu}]}"), (failover, 0));
    let label = |label, value: Option<&str>| PriorityLabel { label, value: value.map(Into::into) };
    let labels = vec![label(Label::Network, None), label(Label::Region, Some("eu"))];
    let priority = "failoverPriority: [topology.istio.io/network, topology.kubernetes.io/region=eu";
    assert_eq!(rule(&format!("{{{priority}]}}")), (LocalityRule::Priority(labels.clone()), 0));
    assert_eq!(
        rule(&format!("{{{priority}, tier, topology.istio.io/cluster]}}")),
        (LocalityRule::Priority(labels), 1)
    );
    let LocalityRule::Distribute(shares) =
        rule("{distribute: [{from: us/a/*, to: {us/a/*: 80, us/b/*: 20}}]}").0
    else {
        panic!("shares")
    };
    assert_eq!((shares.len(), shares[0].to.len()), (1, 2));
    assert_eq!(
        rule("{distribute: [{from: us/a/*, to: {us/a/*: 80}}]}"),
        (LocalityRule::Distribute(vec![]), 1)
    );
    assert_eq!(rule("{distribute: [{from: '*/a', to: {us: 100}}]}"), (LocalityRule::Distribute(vec![]), 1));

    let warmup = |yaml: &str| policy(&format!("loadBalancer: {{{yaml}}}"));
    let curve = warmup("warmup: {duration: 100s, minimumPercent: 20, aggression: 2}").0.warmup.unwrap();
    assert_eq!(curve.duration, secs(100));
    // The square root, from a fifth up.
    assert_eq!([curve.shares[0], curve.shares[3], curve.shares[25], curve.shares[81]], [200, 200, 500, 900]);
    let plain = warmup("warmupDurationSecs: 10s").0.warmup.unwrap();
    assert_eq!([plain.shares[0], plain.shares[50]], [100, 500]);
    let (without, problems) = warmup("simple: RANDOM, warmup: {duration: 100s}");
    assert_eq!((without.warmup, problems), (None, vec!["loadBalancer.warmup".to_owned()]));
}

#[test]
fn each_field_of_the_connection_pool_is_read() {
    let yaml = "connectionPool:
  tcp:
    maxConnections: 1
    connectTimeout: 2s
    tcpKeepalive: {probes: 3, time: 4s, interval: 5s}
    maxConnectionDuration: 6s
    idleTimeout: 7s
  http:
    http1MaxPendingRequests: 8
    http2MaxRequests: 9
    maxRequestsPerConnection: 10
    maxRetries: 11
    idleTimeout: 12s
    h2UpgradePolicy: UPGRADE
    useClientProtocol: true
    maxConcurrentStreams: 13
    http2KeepAlive: {interval: 14s, timeout: 15s}
";
    let connections = ConnectionSettings {
        connect_timeout: secs(2),
        max_age: Some(secs(6)),
        tcp_idle: Some(secs(7)),
        http_idle: Some(secs(12)),
        max_requests: Some(10),
        upgrade: Http2Upgrade::Always,
        use_client_protocol: true,
        max_streams: Some(13),
        http2_keepalive: Some(Keepalive { interval: secs(14), timeout: secs(15) }),
    };
    let limits = Limits { connections: 1, pending: 8, requests: 9 };
    let expected = TrafficPolicy { limits, max_retries: 11, connections, ..TrafficPolicy::default() };
    assert_eq!(policy(yaml), (expected, vec!["connectionPool.tcp.tcpKeepalive".into()]));
    // Zeros are what is not said; an idle timeout of zero is none.
    let zeros = "connectionPool: {tcp: {maxConnections: 0, idleTimeout: 0s}, http: {maxRetries: 0, maxRequestsPerConnection: 0}}";
    let connections = ConnectionSettings { tcp_idle: None, ..ConnectionSettings::default() };
    assert_eq!(policy(zeros).0, TrafficPolicy { connections, ..TrafficPolicy::default() });
    let half = policy("connectionPool: {http: {http2KeepAlive: {interval: 1s}}}").1;
    assert_eq!(half, ["connectionPool.http.http2KeepAlive"]);
}

#[test]
fn each_field_of_outlier_detection_is_read() {
    let yaml = "outlierDetection:
  consecutive5xxErrors: 1
  consecutiveGatewayErrors: 2
  splitExternalLocalOriginErrors: true
  consecutiveLocalOriginFailures: 3
  interval: 4s
  baseEjectionTime: 400s
  maxEjectionPercent: 6
  minHealthPercent: 7
  outlierDetectionHttpErrorCodes: [429]
";
    let outliers = OutlierDetection {
        consecutive_5xx: 1,
        consecutive_gateway_errors: 2,
        consecutive_local_failures: 3,
        error_codes: vec![429],
        split: true,
        interval: secs(4),
        base_ejection_time: secs(400),
        max_ejection_time: secs(400),
        max_ejection_percent: 6,
    };
    let expected =
        TrafficPolicy { outliers: Some(outliers), min_health_percent: 7, ..TrafficPolicy::default() };
    assert_eq!(policy(yaml), (expected, vec![]));
    assert_eq!(policy("outlierDetection: {}").0.outliers, Some(OutlierDetection::default()));
    assert_eq!(policy("outlierDetection: {consecutive5xxErrors: 0}").0.outliers.unwrap().consecutive_5xx, 0);
    assert_eq!(policy("outlierDetection: {consecutiveErrors: 3}").1, ["outlierDetection.consecutiveErrors"]);
    let code = policy("outlierDetection: {outlierDetectionHttpErrorCodes: [99]}").1;
    assert_eq!(code, ["outlierDetection.outlierDetectionHttpErrorCodes"]);
}

#[test]
fn tls_is_data_for_who_connects_and_what_cannot_be_done_refuses() {
    let tls = |yaml: &str| {
        let (policy, problems) = policy(&format!("tls: {{{yaml}}}"));
        (policy.tls, problems.len())
    };
    assert_eq!([tls("mode: DISABLE"), tls("mode: ISTIO_MUTUAL"), tls("")], [(None, 0), (None, 0), (None, 0)]);
    let plain = UpstreamTls { sni: Some("api".into()), ..UpstreamTls::default() };
    assert_eq!(tls("mode: SIMPLE, sni: api"), (Some(Ok(Arc::new(plain))), 0));
    let whole = UpstreamTls {
        sni: None,
        subject_alt_names: vec!["a".into()],
        ca_file: Some("/ca".into()),
        client: Some(("/c".into(), "/k".into())),
        credential: None,
        skip_verify: true,
    };
    let yaml = "mode: MUTUAL, subjectAltNames: [a], caCertificates: /ca, clientCertificate: /c, privateKey: /k, insecureSkipVerify: true";
    assert_eq!(tls(yaml), (Some(Ok(Arc::new(whole))), 0));
    for refused in ["mode: MUTUAL", "mode: SIMPLE, caCrl: /crl", "mode: MUTUAL, clientCertificate: /c"] {
        let (tls, problems) = tls(refused);
        assert!(matches!(tls, Some(Err(_))) && problems == 1, "{refused}");
    }
}

#[test]
fn the_rest_is_read_and_what_is_not_supported_is_told() {
    assert_eq!(policy("proxyProtocol: {}").0.proxy_protocol, Some(ProxyProtocol::V1));
    assert_eq!(policy("proxyProtocol: {version: V2}").0.proxy_protocol, Some(ProxyProtocol::V2));
    assert_eq!(policy("retryBudget: {}").0.retries, Some(RetryShare { percent: 20, min: 3 }));
    let (budget, problems) =
        policy("retryBudget: {percent: 7.6, minRetryConcurrency: 9, budgetInterval: 1s}");
    assert_eq!(
        (budget.retries, problems),
        (Some(RetryShare { percent: 8, min: 9 }), vec!["retryBudget.budgetInterval".into()])
    );
    assert_eq!(policy("tunnel: {protocol: CONNECT}").1, ["tunnel"]);
    assert_eq!(policy("loadBalancre: {}").1, ["loadBalancre"]);
    assert_eq!(
        policy("connectionPool: {tcp: {connectTimeout: 10}}").1,
        ["connectionPool.tcp.connectTimeout"]
    );
    assert_eq!(policy("portLevelSettings: [{tls: {mode: SIMPLE}}]").1, ["portLevelSettings[0]"]);
}

const LAYERS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: r, namespace: shop}
spec:
  host: web
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool: {tcp: {maxConnections: 1}}
    retryBudget: {percent: 50}
    portLevelSettings:
    - port: {number: 81}
      connectionPool: {tcp: {maxConnections: 2}}
  subsets:
  - name: plain
    labels: {version: v1}
  - name: own
    labels: {version: v2}
    trafficPolicy:
      connectionPool: {tcp: {maxConnections: 3}}
      portLevelSettings:
      - port: {number: 82}
        loadBalancer: {simple: ROUND_ROBIN}
  - name: odd
    labels: {tier: front}
";

#[test]
fn subsets_and_ports_take_the_place_of_blocks() {
    let (destinations, problems) = read(LAYERS);
    for (subset, port, balancer, connections, percent) in [
        (None, 80, Balancer::Random, 1, Some(50)),
        // Of a port nothing is inherited.
        (None, 81, Balancer::LeastRequest, 2, None),
        (Some("plain"), 80, Balancer::Random, 1, Some(50)),
        (Some("plain"), 81, Balancer::LeastRequest, 2, None),
        // Of a subset, the block that it has is its own, and the others are the host's.
        (Some("own"), 80, Balancer::Random, 3, Some(50)),
        (Some("own"), 81, Balancer::LeastRequest, 3, None),
        (Some("own"), 82, Balancer::RoundRobin, u32::MAX, Some(50)),
    ] {
        let policy = destinations.settle(&service("web"), port, subset).unwrap().policy;
        let found = (policy.balancer.clone(), policy.limits.connections, policy.retries.map(|it| it.percent));
        assert_eq!(found, (balancer, connections, percent), "{subset:?} {port}");
    }
    let selector = |subset| {
        destinations.settle(&service("web"), 80, Some(subset)).map(|it| it.selector.unwrap().clone())
    };
    assert_eq!(selector("own"), Some(Selector::Labels(vec![(Label::Version, "v2".into())])));
    assert_eq!(selector("odd"), Some(Selector::Unknown("tier".into())), "nobody, not everybody");
    assert_eq!(selector("none"), None);
    let fields: Vec<_> = problems.iter().map(|(field, _)| &**field).collect();
    assert_eq!(fields, ["spec.subsets[2].labels.tier"]);
}

/// A rule that is told by how many connections it allows.
fn rule(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn limit(connections: u32) -> String {
    format!("trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {connections}}}}}}}")
}

#[test]
fn the_rule_is_found_by_namespace_then_by_host() {
    let (here, there, common) = (limit(1), limit(2), limit(3));
    let own = rule("shop", "a", &format!("{{host: '*.bank.svc.cluster.local', {here}}}"));
    let service_rule = rule("bank", "b", &format!("{{host: vault.bank.svc.cluster.local, {there}}}"));
    let hidden = rule("bank", "c", &format!("{{host: till, exportTo: ['.'], {there}}}"));
    let selects =
        rule("bank", "d", &format!("{{host: till, workloadSelector: {{matchLabels: {{a: b}}}}, {there}}}"));
    let odd = rule("bank", "e", &format!("{{host: 'a*', {there}}}"));
    let root = rule("istio-system", "f", &format!("{{host: '*', {common}}}"));
    let found = |yaml: &[&String], name: &str| {
        let yaml: String = yaml.iter().map(|text| text.as_str()).collect();
        let (destinations, problems) = read(&yaml);
        let settled = destinations.settle(&world().service("bank", name), 80, None).unwrap();
        (settled.policy.limits.connections, problems.len())
    };
    assert_eq!(found(&[&own, &service_rule, &root], "vault"), (1, 0));
    assert_eq!(found(&[&service_rule, &root], "vault"), (2, 0));
    assert_eq!(found(&[&service_rule, &root], "till"), (3, 0));
    assert_eq!(found(&[&hidden, &root], "till"), (3, 0));
    assert_eq!(found(&[&selects, &root], "till"), (3, 1));
    assert_eq!(found(&[&odd], "till"), (u32::MAX, 1));
}

#[test]
fn rules_of_one_host_are_put_together() {
    let subsets = "subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]";
    let yaml = rule("shop", "a", &format!("{{host: web, {}, subsets: [{{name: v1}}]}}", limit(1)))
        + &rule("shop", "b", &format!("{{host: web.shop.svc.cluster.local, {}, {subsets}}}", limit(2)));
    let (destinations, problems) = read(&yaml);
    let of = |subset| destinations.settle(&service("web"), 80, subset).unwrap();
    assert_eq!(of(None).policy.limits.connections, 1);
    assert_eq!(
        (of(Some("v1")).selector.cloned(), of(Some("v2")).policy.limits.connections),
        (Some(Selector::Labels(vec![])), 1)
    );
    let fields: Vec<_> = problems.iter().map(|(field, _)| &**field).collect();
    assert_eq!(fields, ["spec.subsets[0].name", "spec.trafficPolicy"]);
}
