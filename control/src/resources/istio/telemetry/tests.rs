use adit_core::l7::Fraction;
use adit_core::l7::telemetry::{AccessLog, CollectorProtocol, CustomTag, Expression, LogFormat, Metric, Tag};

use super::super::super::testing::{indented, objects, told, world};
use super::*;

/// A policy's document; `created` is the second of its making.
fn policy(namespace: &str, name: &str, created: u8, spec: &str) -> String {
    format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: {name}, namespace: {namespace}, \
         creationTimestamp: \"2026-01-01T00:00:{created:02}Z\"}}\nspec:\n{}---\n",
        indented(spec, 2)
    )
}

fn mesh_config(settings: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n{}---\n",
        indented(settings, 4)
    )
}

fn read(yaml: &str) -> (Telemetries, Vec<(String, String)>) {
    let yaml = yaml.trim_end_matches("---\n");
    let objects = if yaml.is_empty() { Objects::default() } else { objects(yaml) };
    let (world, mut problems) = (world(), Problems::default());
    let mesh = MeshConfig::of(&objects, &world, &mut problems);
    let services = Services::new(&objects, &world, &mut problems);
    let telemetries = translate(&objects, &world, &services, &mesh, &mut problems);
    (telemetries, told(problems))
}

/// What is read when nothing is wrong.
fn good(yaml: &str) -> Telemetries {
    let (telemetries, problems) = read(yaml);
    assert_eq!(problems, []);
    telemetries
}

/// The fields that something is wrong with.
fn fields(yaml: &str) -> Vec<String> {
    read(yaml).1.into_iter().map(|(field, _)| field).collect()
}

fn service(namespace: &str, name: &str) -> ServiceName {
    world().service(namespace, name)
}

fn sampled(telemetry: &Telemetry) -> u32 {
    assert_eq!(telemetry.tracing.sampling.denominator, 1_000_000);
    telemetry.tracing.sampling.numerator / 10_000
}

const SAMPLING: &str = "tracing: [{randomSamplingPercentage: ";

/// A policy that samples so much, told by that.
fn sampling(namespace: &str, name: &str, created: u8, percent: u32, target: &str) -> String {
    policy(namespace, name, created, &format!("{SAMPLING}{percent}}}]\n{target}"))
}

#[test]
fn later_layers_override_earlier_ones() {
    let root = sampling("istio-system", "root", 1, 10, "");
    let ours = sampling("shop", "ours", 1, 20, "");
    let other = sampling("other", "other", 1, 30, "");
    let kind = |group: &str, kind: &str, name: &str| {
        format!("targetRefs: [{{group: {group:?}, kind: {kind}, name: {name}}}]")
    };
    let gateways = "gateway.networking.k8s.io";
    let class = sampling("istio-system", "class", 1, 40, &kind(gateways, "GatewayClass", "adit-waypoint"));
    let gateway = sampling("shop", "gateway", 1, 50, &kind(gateways, "Gateway", "waypoint"));
    let web = sampling("shop", "web", 1, 60, &kind("", "Service", "web"));
    let api = sampling("other", "api", 1, 70, &kind("", "Service", "api"));
    let names = [
        None,
        Some(service("shop", "x")),
        Some(service("other", "x")),
        Some(service("shop", "web")),
        Some(service("other", "api")),
    ];
    let all = |yaml: &[&String]| {
        let yaml: String = yaml.iter().map(|document| document.as_str()).collect();
        let telemetries = good(&yaml);
        names.clone().map(|name| sampled(telemetries.of(name.as_ref())))
    };
    for (yaml, expected) in [
        (&[&root][..], [10, 10, 10, 10, 10]),
        (&[&root, &ours], [20, 20, 20, 20, 20]),
        (&[&root, &ours, &other], [20, 20, 30, 20, 30]),
        (&[&ours, &other, &class], [40, 40, 40, 40, 40]),
        (&[&class, &gateway, &root], [50, 50, 50, 50, 50]),
        (&[&gateway, &web, &api], [50, 50, 50, 60, 70]),
        (&[&root, &ours, &other, &web, &api], [20, 20, 30, 60, 70]),
    ] {
        assert_eq!(all(yaml), expected);
    }
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: ext, namespace: shop}\n\
                 spec: {hosts: [api.example.org, Legacy]}\n---\n";
    let external = sampling("shop", "ext", 1, 80, &kind("networking.istio.io", "ServiceEntry", "ext"));
    let telemetries = good(&format!("{entry}{external}"));
    // As the mesh knows it: no name of a cluster is made of what has no dots.
    for hostname in ["api.example.org", "legacy"] {
        let name = ServiceName { namespace: "shop".into(), hostname: hostname.into() };
        assert_eq!(sampled(telemetries.of(Some(&name))), 80);
    }
}

#[test]
fn the_oldest_of_a_namespace_counts_and_others_targets_are_not_ours() {
    let two = sampling("shop", "young", 9, 90, "") + &sampling("shop", "old", 2, 20, "");
    let (telemetries, problems) = read(&two);
    assert_eq!(sampled(&telemetries.default), 20);
    let text = "an older policy is for the same namespace already; this one has no effect";
    assert_eq!(problems, [("metadata.name".to_owned(), text.to_owned())]);
    // Nobody has asked for more: one in a hundred.
    let none = good(&sampling(
        "shop",
        "a",
        1,
        50,
        "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: another}]",
    ));
    assert_eq!(none.default.tracing.sampling, Fraction { numerator: 1, denominator: 100 });
    for (namespace, target, field) in [
        ("shop", "selector: {matchLabels: {app: x}}", "spec.selector"),
        (
            "shop",
            "targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: adit-waypoint}]",
            "spec.targetRefs[0]",
        ),
        (
            "shop",
            "targetRefs: [{group: '', kind: Service, name: x, namespace: other}]",
            "spec.targetRefs[0].namespace",
        ),
        ("shop", "targetRef: {group: apps, kind: Deployment, name: x}", "spec.targetRefs[0]"),
        (
            "shop",
            "targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: gone}]",
            "spec.targetRefs[0]",
        ),
    ] {
        let yaml = sampling(namespace, "a", 1, 50, target);
        assert_eq!(fields(&yaml), [field], "{target}");
        assert_eq!(read(&yaml).0.default.tracing.sampling.denominator, 100);
    }
}

#[test]
fn metrics_are_disabled_and_tagged_in_order() {
    let spec = "metrics:\n- providers: [{name: prometheus}]\n  reportingInterval: 10s\n  overrides:\n\
                \x20 - {disabled: true}\n\
                \x20 - {match: {metric: REQUEST_COUNT}, disabled: false, tagOverrides: {\n\
                \x20     request_method: {value: request.method}, source_app: {operation: REMOVE}}}\n\
                \x20 - {match: {metric: REQUEST_SIZE, mode: CLIENT}, disabled: false}\n\
                \x20 - {match: {metric: RESPONSE_SIZE, mode: SERVER}, disabled: false, tagOverrides: {\n\
                \x20     m: {value: request.method}}}\n";
    let rules = Arc::clone(&good(&policy("shop", "a", 1, spec)).default.metrics);
    let disabled: Vec<_> =
        Metric::ALL.iter().filter(|metric| !rules.of(**metric).is_some_and(|rule| rule.disabled)).collect();
    assert_eq!(disabled, [&Metric::RequestCount, &Metric::ResponseSize]);
    assert_eq!(rules.expressions, [Expression::new("request.method").unwrap()]);
    let count = &rules.by_metric[&Metric::RequestCount];
    let tags = [("request_method".into(), Tag::Set(0)), ("source_app".into(), Tag::Remove)];
    assert_eq!(count.tags, BTreeMap::from(tags));
    assert_eq!(rules.interval, Some(std::time::Duration::from_secs(10)));
    assert_eq!(good("").default.metrics, Arc::default());
}

#[test]
fn what_metrics_cannot_do_is_told() {
    for (entry, field) in [
        ("{providers: [{name: stackdriver}]}", "providers[0]"),
        ("{overrides: [{match: {metric: REQUESTS}}]}", "overrides[0].match.metric"),
        ("{overrides: [{match: {customMetric: mine}}]}", "overrides[0].match.customMetric"),
        ("{overrides: [{tagOverrides: {a: {}}}]}", "overrides[0].tagOverrides.a.value"),
        ("{overrides: [{tagOverrides: {a: {value: 'x('}}}]}", "overrides[0].tagOverrides.a.value"),
        (
            "{overrides: [{tagOverrides: {a: {value: \"node.metadata['A']\"}}}]}",
            "overrides[0].tagOverrides.a.value",
        ),
        (
            "{overrides: [{tagOverrides: {a: {operation: REMOVE, value: x}}}]}",
            "overrides[0].tagOverrides.a.value",
        ),
        ("{overrides: [{tagOverrides: {a-b: {operation: REMOVE}}}]}", "overrides[0].tagOverrides.a-b"),
        ("{overrides: [{tagOverrides: {le: {operation: REMOVE}}}]}", "overrides[0].tagOverrides.le"),
        ("{overrides: [{tagOverride: {}}]}", "overrides[0].tagOverride"),
        ("{reportingInterval: soon}", "reportingInterval"),
    ] {
        let yaml = policy("shop", "a", 1, &format!("metrics:\n- {entry}"));
        assert_eq!(fields(&yaml), [format!("spec.metrics[0].{field}")], "{entry}");
        let rules = Arc::clone(&read(&yaml).0.default.metrics);
        assert!(Metric::ALL.iter().all(|metric| rules.of(*metric).is_none()), "{entry}");
    }
}

const TEXT: AccessLog = AccessLog { format: LogFormat::Text, filter: None };
const JSON: AccessLog = AccessLog { format: LogFormat::Json, filter: None };

#[test]
fn access_logs_follow_the_mesh_and_then_policies() {
    let logs = |mesh: Option<&str>, spec: &str| {
        let mesh = mesh.map(mesh_config).unwrap_or_default();
        let policy = if spec.is_empty() { String::new() } else { policy("shop", "a", 1, spec) };
        good(&(mesh + &policy)).default.access_logs.clone()
    };
    let providers = "extensionProviders: [{name: json, envoyFileAccessLog: {path: /dev/stdout, logFormat: {labels: {}}}}]\n";
    let filtered = |text: &str| {
        vec![AccessLog { format: LogFormat::Text, filter: Some(Expression::condition(text).unwrap()) }]
    };
    for (mesh, spec, expected) in [
        (None, "", vec![TEXT]),
        (Some("trustDomain: cluster.local"), "", vec![]),
        (Some("accessLogFile: /dev/stdout"), "", vec![TEXT]),
        (Some("{accessLogFile: /dev/stdout, accessLogEncoding: JSON}"), "", vec![JSON]),
        (Some("trustDomain: cluster.local"), "accessLogging: [{providers: [{name: envoy}]}]", vec![TEXT]),
        (None, "accessLogging: [{disabled: true}]", vec![]),
        (None, "accessLogging: [{match: {mode: CLIENT}, disabled: true}]", vec![TEXT]),
        (None, "accessLogging: [{match: {mode: SERVER}, disabled: true}]", vec![]),
        (
            None,
            "accessLogging: [{filter: {expression: response.code >= 500}}]",
            filtered("response.code >= 500"),
        ),
        (Some(providers), "accessLogging: [{providers: [{name: json}]}]", vec![JSON]),
        (Some(providers), "accessLogging: [{providers: [{name: json}, {name: envoy}]}]", vec![TEXT, JSON]),
        (
            Some("defaultProviders: {accessLogging: [envoy]}"),
            "accessLogging: [{filter: {expression: has(request.id)}}]",
            filtered("has(request.id)"),
        ),
    ] {
        assert_eq!(logs(mesh, spec), expected, "{mesh:?} {spec}");
    }
    // A later layer names others.
    let yaml = mesh_config(providers)
        + &policy("istio-system", "root", 1, "accessLogging: [{providers: [{name: envoy}]}]")
        + &policy("shop", "a", 1, "accessLogging: [{providers: [{name: json}]}]");
    assert_eq!(good(&yaml).default.access_logs, [JSON]);
    let off = "accessLogging: [{providers: [{name: envoy}], disabled: true}]";
    let yaml = policy("istio-system", "root", 1, "accessLogging: [{providers: [{name: envoy}]}]")
        + &policy("other", "a", 1, off);
    let telemetries = good(&yaml);
    assert_eq!(telemetries.of(Some(&service("other", "x"))).access_logs, []);
    assert_eq!(telemetries.default.access_logs, [TEXT]);
}

#[test]
fn what_access_logs_cannot_do_is_told() {
    let at = |tail: &str| vec![format!("spec.accessLogging[0].{tail}")];
    let policy_fields = |entry: &str| fields(&policy("shop", "a", 1, &format!("accessLogging:\n- {entry}")));
    assert_eq!(policy_fields("{providers: [{name: gone}]}"), at("providers[0].name"));
    assert_eq!(policy_fields("{filter: {expression: response.code}}"), at("filter.expression"));
    assert_eq!(
        policy_fields("{filter: {expression: \"filter_state['x'] == 'a'\"}}"),
        at("filter.expression")
    );
    let mesh_fields = |settings: &str| fields(&mesh_config(settings));
    let one = |kind: &str| mesh_fields(&format!("extensionProviders: [{{name: a, {kind}}}]"));
    let provider = |tail: &str| vec![format!("data.mesh.extensionProviders[0].{tail}")];
    assert_eq!(one("envoyFileAccessLog: {path: /tmp/x}"), provider("envoyFileAccessLog.path"));
    let custom = "envoyFileAccessLog: {logFormat: {text: '%X%'}}";
    assert_eq!(one(custom), provider("envoyFileAccessLog.logFormat.text"));
    let labels = "envoyFileAccessLog: {logFormat: {labels: {a: b}}}";
    assert_eq!(one(labels), provider("envoyFileAccessLog.logFormat.labels"));
    assert_eq!(one("envoyOtelAls: {service: x, port: 1}"), provider("envoyOtelAls"));
    for settings in ["{accessLogging: [gone]}", "{accessLogging: envoy}", "{accessLogging: [1]}"] {
        let settings = format!("defaultProviders: {settings}");
        assert_eq!(mesh_fields(&settings), ["data.mesh.defaultProviders.accessLogging"], "{settings}");
    }
    assert_eq!(
        mesh_fields("defaultProviders: {metrics: [stackdriver]}"),
        ["data.mesh.defaultProviders.metrics"]
    );
    assert_eq!(mesh_fields("accessLogFile: 5"), ["data.mesh.accessLogFile"]);
    assert_eq!(mesh_fields("accessLogFormat: x"), ["data.mesh.accessLogFormat"]);
    assert_eq!(mesh_fields("accessLogFile: /tmp/x"), ["data.mesh.accessLogFile"]);
    assert_eq!(mesh_fields("accessLogEncoding: XML"), ["data.mesh.accessLogEncoding"]);
}

#[test]
fn tracing_is_sent_where_the_provider_says() {
    let mesh = "defaultConfig: {tracing: {sampling: 25, maxPathTagLength: 99}}\nextensionProviders:\n\
        - {name: grpc, opentelemetry: {service: observability/otel.obs.svc.cluster.local, port: 4317, \
        grpc: {timeout: 3s, initialMetadata: [{name: X-Tenant, value: blue}]}}}\n\
        - {name: http, opentelemetry: {service: otel.obs.svc, port: 4318, maxTagLength: 64, \
        http: {path: v1/x, timeout: 1s}, resourceDetectors: {environment: {}}}}\n";
    let spec = "tracing:\n- providers: [{name: grpc}]\n  disableSpanReporting: true\n\
        \x20 useRequestIdForTraceSampling: false\n  enableIstioTags: false\n  disableContextPropagation: true\n\
        \x20 customTags: {a: {literal: {value: x}}, b: {environment: {name: B, defaultValue: y}}, \
        c: {header: {name: X-C}}}\n";
    let telemetries = good(&(mesh_config(mesh) + &policy("shop", "a", 1, spec)));
    let tracing = &telemetries.default.tracing;
    let collector = tracing.collector.as_ref().unwrap();
    assert_eq!(
        (&*collector.name, &*collector.host, collector.port),
        ("grpc", "otel.obs.svc.cluster.local", 4317)
    );
    let metadata = vec![("x-tenant".into(), "blue".into())];
    assert_eq!(collector.protocol, CollectorProtocol::Grpc { metadata });
    assert_eq!(collector.timeout.as_secs(), 3);
    assert_eq!((sampled(&telemetries.default), tracing.max_path), (25, 99));
    let switches = [tracing.report, tracing.use_request_id, tracing.istio_tags, tracing.propagate];
    assert_eq!(switches, [false; 4]);
    let tags = [
        ("a".into(), CustomTag::Literal("x".into())),
        ("b".into(), CustomTag::Environment("B".into(), Some("y".into()))),
        ("c".into(), CustomTag::Header("x-c".into(), None)),
    ];
    assert_eq!(tracing.tags, BTreeMap::from(tags));
    let telemetries = good(&mesh_config(&format!("{mesh}defaultProviders: {{tracing: [http]}}\n")));
    let tracing = &telemetries.default.tracing;
    let protocol = &tracing.collector.as_ref().unwrap().protocol;
    assert_eq!(*protocol, CollectorProtocol::Http { path: "/v1/x".into(), headers: vec![] });
    assert_eq!(tracing.max_path, 64);
    // A policy for clients says nothing to us; one without provider keeps that of before.
    let spec = "tracing: [{match: {mode: CLIENT}, randomSamplingPercentage: 100}, {enableIstioTags: false}]";
    let yaml = mesh_config(&format!("{mesh}defaultProviders: {{tracing: [http]}}\n"))
        + &policy("shop", "a", 1, spec);
    let telemetries = good(&yaml);
    assert_eq!(sampled(&telemetries.default), 25);
    assert!(telemetries.default.tracing.collector.is_some());
    assert_eq!(good("").default.tracing.collector, None);
}

#[test]
fn what_tracing_cannot_do_is_told() {
    let policy_fields = |entry: &str| fields(&policy("shop", "a", 1, &format!("tracing:\n- {entry}")));
    let at = |tail: &str| vec![format!("spec.tracing[0].{tail}")];
    assert_eq!(policy_fields("{providers: [{name: gone}]}"), at("providers[0].name"));
    assert_eq!(policy_fields("{randomSamplingPercentage: 101}"), at("randomSamplingPercentage"));
    assert_eq!(policy_fields("{randomSamplingPercentage: -1}"), at("randomSamplingPercentage"));
    assert_eq!(policy_fields("{customTags: {a: {formatter: {value: '%X%'}}}}"), at("customTags.a.formatter"));
    assert_eq!(policy_fields("{customTags: {a: {}}}"), at("customTags.a"));
    assert_eq!(policy_fields("{customTags: {a: {header: {name: 'a b'}}}}"), at("customTags.a.header.name"));
    assert_eq!(policy_fields("{spanNaming: {}}"), at("spanNaming"));
    let wrong = policy("shop", "a", 1, &format!("{SAMPLING}101}}]\n"));
    assert_eq!(sampled(&read(&wrong).0.default), 1);
    let one = |kind: &str| fields(&mesh_config(&format!("extensionProviders: [{{name: a, {kind}}}]")));
    let provider = |tail: &str| vec![format!("data.mesh.extensionProviders[0].{tail}")];
    assert_eq!(one("zipkin: {service: x, port: 1}"), provider("zipkin"));
    let otel = |more: &str| one(&format!("opentelemetry: {{service: x, port: 1, {more}}}"));
    for (more, field) in [
        ("resourceDetectors: {dynatrace: {}}", "resourceDetectors.dynatrace"),
        ("dynatraceSampler: {}", "dynatraceSampler"),
        ("serviceAttributeEnrichment: OTEL_SEMANTIC_CONVENTIONS", "serviceAttributeEnrichment"),
        ("http: {headers: [{name: a, envName: A}]}", "http.headers[0].envName"),
        ("http: {headers: [{name: 'a b', value: x}]}", "http.headers[0]"),
        ("http: {}, grpc: {}", "grpc"),
        ("tls: {}", "tls"),
    ] {
        assert_eq!(otel(more), provider(&format!("opentelemetry.{field}")), "{more}");
    }
    let gone = fields(&mesh_config("defaultProviders: {tracing: [gone]}"));
    assert_eq!(gone, ["data.mesh.defaultProviders.tracing"]);
    let legacy = fields(&mesh_config("defaultConfig: {tracing: {zipkin: {address: x}}}"));
    assert_eq!(legacy, ["data.mesh.defaultConfig.tracing.zipkin"]);
}
