use std::time::Duration;

use adit_core::l7::{
    Abort, Action, AllowOrigin, Allowed, Faults, Forward, Fraction, Frontends, RetryOn, RetryPolicy, Target,
};

use super::super::super::testing::{Asked, indented, objects, world};
use super::super::super::{Problem, compile};
use super::*;

const SUBSETS: &str = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
";

fn service(namespace: &str, name: &str) -> ServiceName {
    world().service(namespace, name)
}

fn document(namespace: &str, name: &str, spec: &str) -> String {
    let head = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n"
    );
    head + &indented(spec, 2)
}

fn read(yaml: &str) -> (Frontends, Vec<Problem>) {
    let compiled = compile(&objects(yaml), &world());
    (compiled.snapshot.frontends.clone(), compiled.problems)
}

/// The rules of a `VirtualService` for `web`, with problems by field.
fn http(rules: &str) -> (Frontends, Vec<String>) {
    let (frontends, problems) =
        read(&(document("shop", "vs", &format!("hosts: [web]\nhttp:\n{rules}")) + SUBSETS));
    (frontends, problems.into_iter().map(|problem| problem.field).collect())
}

fn found(frontends: &Frontends, asked: &Asked) -> Option<Rule> {
    let table = frontends.table(&service("shop", "web"), 80, Some("clients"))?;
    Some(table.find(asked)?.rule.clone())
}

/// What one rule does with everything, and fields with problems.
fn action(rule: &str) -> (Action, Vec<String>) {
    let (frontends, problems) = http(&format!("- {}", indented(rule, 2).trim_start()));
    (found(&frontends, &Asked::get("/")).expect("a rule").action, problems)
}

fn forward(rule: &str) -> (Forward, Vec<String>) {
    match action(&format!("{rule}\nroute: [{{destination: {{host: web}}}}]")) {
        (Action::Forward(forward), problems) => (forward, problems),
        (other, problems) => panic!("{other:?} {problems:?}"),
    }
}

const NONE: &[&str] = &[];

#[test]
fn each_condition_matches_what_it_says() {
    let get = Asked::get;
    for (condition, yes, no) in [
        ("uri: {exact: /a}", get("/a"), get("/a/")),
        ("uri: {prefix: /a}", get("/abc"), get("/b")),
        ("uri: {regex: '/v[0-9]+'}", get("/v12"), get("/v12/x")),
        ("{uri: {exact: /a}, ignoreUriCase: true}", get("/A"), get("/A/")),
        ("{uri: {prefix: /a.b}, ignoreUriCase: true}", get("/A.Bc"), get("/AxB")),
        ("scheme: {exact: http}", get("/"), get("/")),
        ("method: {regex: 'GET|PUT'}", get("/").by("PUT"), get("/").by("POST")),
        ("authority: {prefix: web.}", get("/").at("web.shop"), get("/").at("webxshop")),
        ("headers: {X-User: {exact: a}}", get("/").with("x-user", "a"), get("/").with("x-user", "ab")),
        ("headers: {x-user: {prefix: a}}", get("/").with("x-user", "ab"), get("/").with("x-user", "b")),
        ("headers: {x-user: {regex: 'a+'}}", get("/").with("x-user", "aa"), get("/").with("x-user", "ab")),
        ("headers: {x-user: {}}", get("/").with("x-user", ""), get("/")),
        ("headers: {x-user: {regex: '*'}}", get("/").with("x-user", "z"), get("/")),
        ("withoutHeaders: {x-user: {}}", get("/"), get("/").with("x-user", "a")),
        ("withoutHeaders: {x-user: {exact: a}}", get("/").with("x-user", "b"), get("/").with("x-user", "a")),
        ("queryParams: {q: {exact: '1'}}", get("/?q=1"), get("/?q=2")),
        ("queryParams: {q: {}}", get("/?q="), get("/?p=1")),
        ("{uri: {prefix: /a}, headers: {h: {exact: '1'}}}", get("/a").with("h", "1"), get("/a")),
        ("port: 80", get("/"), get("/")),
        ("gateways: [mesh]", get("/"), get("/")),
    ] {
        let rule = format!(
            "- name: r\n  match:\n  - {}  route: [{{destination: {{host: web}}}}]",
            indented(condition, 4).trim_start()
        );
        let (frontends, problems) = http(&rule);
        let name = |asked| found(&frontends, asked).and_then(|rule| rule.name);
        assert_eq!((name(&yes).as_deref(), problems), (Some("r"), vec![]), "{condition}");
        let all = condition.starts_with("port")
            || condition.starts_with("gateways")
            || condition.starts_with("scheme");
        assert_eq!(name(&no).is_some(), all, "{condition}");
    }
}

#[test]
fn a_match_that_cannot_be_honoured_is_left_out_whole() {
    for (condition, field) in [
        ("sourceLabels: {app: a}", "sourceLabels"),
        ("sourceNamespace: clients", "sourceNamespace"),
        ("gateways: [ingress]", "gateways"),
        ("{uri: {prefix: /a}, sourceLabels: {app: a}}", "sourceLabels"),
        ("headers: {'@request.auth.claims.group': {exact: a}}", "headers.@request.auth.claims.group"),
        ("headers: {':path': {exact: a}}", "headers.:path"),
        ("withoutHeaders: {'@request.auth.claims.group': {}}", "withoutHeaders.@request.auth.claims.group"),
        ("uri: {regex: '('}", "uri"),
        ("method: {exact: GET, regex: GET}", "method"),
    ] {
        let first = format!(
            "- name: first\n  match:\n  - {}  route: [{{destination: {{host: web}}}}]\n",
            indented(condition, 4).trim_start()
        );
        let (alone, problems) = http(&first);
        assert_eq!(problems, [format!("spec.http[0].match[0].{field}")], "{condition}");
        let table = alone.table(&service("shop", "web"), 80, None);
        assert!(table.is_none(), "without rules the service is reached as if there was nothing");
        let (beside, _) = http(&format!("{first}- name: second\n  route: [{{destination: {{host: web}}}}]"));
        assert_eq!(found(&beside, &Asked::get("/a")).unwrap().name.as_deref(), Some("second"), "{condition}");
    }
}

#[test]
fn the_first_rule_in_order_counts_and_ports_have_their_own() {
    let to = "route: [{destination: {host: web}}]";
    let rules = format!(
        "- {{name: a, match: [{{uri: {{prefix: /}}, headers: {{h: {{exact: '1'}}}}}}], {to}}}
- {{name: b, match: [{{uri: {{prefix: /x}}}}, {{name: by-port, port: 81}}], {to}}}
- {{name: c, match: [{{uri: {{exact: /x/long}}}}], {to}}}
- {{name: d, match: [{{port: 80}}], {to}}}\n"
    );
    let (frontends, problems) = http(&rules);
    assert_eq!(problems, NONE);
    let name = |port, asked: &Asked| {
        let table = frontends.table(&service("shop", "web"), port, None)?;
        table.find(asked)?.rule.name.clone()
    };
    for (port, asked, expected) in [
        (82, Asked::get("/x/long"), Some("b")),
        (82, Asked::get("/x").with("h", "1"), Some("a")),
        (82, Asked::get("/"), None),
        (81, Asked::get("/"), Some("b.by-port")),
        (80, Asked::get("/"), Some("d")),
        (80, Asked::get("/x/long"), Some("b")),
    ] {
        assert_eq!(name(port, &asked).as_deref(), expected, "{port} {asked:?}");
    }
}

#[test]
fn destinations_have_subsets_weights_and_headers() {
    let rule = "route:
- {destination: {host: web, subset: v1, port: {number: 8080}}, weight: 90}
- destination: {host: web.other.svc.cluster.local, subset: none}
  weight: 10
  headers: {request: {set: {a: '1'}, remove: [B]}, response: {add: {c: 50%%}}}
- {destination: {host: api.example.org}}
headers: {request: {set: {Host: api, d: '%PROTOCOL%'}}, response: {remove: [e, 'host']}}";
    let (action, problems) = action(rule);
    let Action::Forward(forward) = action else { panic!("{action:?}") };
    let backends: Vec<_> = forward
        .backends
        .0
        .iter()
        .map(|it| (it.target.clone().unwrap(), it.subset.as_deref(), it.weight))
        .collect();
    let outside = ServiceName { namespace: "shop".into(), hostname: "api.example.org".into() };
    assert_eq!(
        backends,
        [
            (Target { service: service("shop", "web"), port: 8080 }, Some("v1"), 90),
            (Target { service: service("other", "web"), port: Target::SAME_PORT }, Some("none"), 10),
            (Target { service: outside, port: Target::SAME_PORT }, None, 0),
        ]
    );
    assert_eq!(backends[1].0.at(81).port, 81);
    let own = &forward.backends.0[1];
    assert_eq!((own.request.set.len(), own.request.remove.len(), &*own.response.add[0].1), (1, 1, "50%"));
    assert_eq!(forward.rewrite.hostname.as_deref(), Some("api"));
    let expected = [
        "spec.http[0].headers.request.set.d",
        "spec.http[0].headers.response.remove[1]",
        "spec.http[0].route[1].destination.subset",
    ];
    assert_eq!(problems, expected);
    assert_eq!(self::forward("").0.backends.0[0].weight, 1, "one alone gets everything");
}

#[test]
fn paths_and_hosts_are_rewritten() {
    let to = "route: [{destination: {host: web}}]";
    for (condition, rewrite, path, expected) in [
        ("uri: {prefix: /a}", "uri: /x", "/abc", Some("/xbc")),
        ("uri: {prefix: /a/}", "uri: /", "/a/b", Some("/b")),
        ("uri: {exact: /a}", "uri: /x", "/a", Some("/x")),
        ("uri: {regex: '/a.*'}", "uri: /x", "/ab", Some("/x")),
        ("headers: {}", "uri: /x", "/a", Some("/xa")),
        (
            "uri: {prefix: /a}",
            "uriRegexRewrite: {match: '^/a/(.*)$', rewrite: '/b/\\1'}",
            "/a/c",
            Some("/b/c"),
        ),
        ("uri: {prefix: /a}", "authority: api", "/a", None),
    ] {
        let (frontends, problems) =
            http(&format!("- {{match: [{{{condition}}}], rewrite: {{{rewrite}}}, {to}}}"));
        assert_eq!(problems, NONE);
        let table = frontends.table(&service("shop", "web"), 80, None).unwrap();
        let asked = Asked::get(path);
        let found = table.find(&asked).unwrap();
        let Action::Forward(forward) = &found.rule.action else { panic!("{condition}") };
        let path = forward.rewrite.path.as_ref().map(|rewrite| rewrite.apply(path, found.matched.path()));
        assert_eq!(path.as_deref(), expected, "{condition} {rewrite}");
        assert_eq!(forward.rewrite.hostname.is_some(), rewrite.starts_with("authority"));
    }
    let (broken, problems) = action(&format!("rewrite: {{uriRegexRewrite: {{match: '('}}}}\n{to}"));
    assert!(matches!(broken, Action::Invalid(_)));
    assert_eq!(problems, ["spec.http[0].rewrite.uriRegexRewrite.match"]);
}

#[test]
fn redirects_and_answers_of_ours_are_read() {
    let location = |yaml: &str, asked: Asked| {
        let (action, problems) = action(&format!("redirect: {{{yaml}}}"));
        let Action::Redirect(redirect) = action else { panic!("{action:?}") };
        assert_eq!(problems, NONE);
        let location = redirect.location(&asked, 80, &adit_core::l7::PathMatch::Begins("/".into()));
        (location.status, location.location)
    };
    let get = || Asked::get("/a?b=c").at("web");
    for (yaml, asked, status, expected) in [
        ("uri: /x", get(), 301, "http://web/x?b=c"),
        ("authority: api, redirectCode: 307", get().at("web:8080"), 307, "http://api/a?b=c"),
        ("authority: 'api:99'", get(), 301, "http://api:99/a?b=c"),
        ("scheme: https", get(), 301, "https://web/a?b=c"),
        ("authority: api, scheme: https, redirectCode: 308", get(), 308, "https://api/a?b=c"),
        ("port: 8443, scheme: https", get(), 301, "https://web:8443/a?b=c"),
        ("derivePort: FROM_REQUEST_PORT, authority: api", get().at("web:81"), 301, "http://api:81/a?b=c"),
        ("prefixRewrite: /x/", get(), 301, "http://web/x/a?b=c"),
    ] {
        assert_eq!(location(yaml, asked), (status, expected.to_owned()), "{yaml}");
    }
    let (direct, problems) = action("directResponse: {status: 503, body: {string: later}}");
    let Action::Direct(direct) = direct else { panic!("{direct:?}") };
    assert_eq!((direct.status, &*direct.body, problems), (503, &b"later"[..], vec![]));
    for (refused, field) in [
        ("redirect: {redirectCode: 200}", "redirect.redirectCode"),
        ("redirect: {scheme: ftp}", "redirect.scheme"),
        ("directResponse: {status: 42}", "directResponse.status"),
        ("directResponse: {status: 200, body: {bytes: aGk=}}", "directResponse.body.bytes"),
        ("delegate: {name: other}", "delegate"),
    ] {
        let (action, problems) = action(refused);
        assert!(matches!(action, Action::Invalid(_)), "{refused}");
        assert_eq!(problems, [format!("spec.http[0].{field}")]);
    }
    let (both, problems) = action("{redirect: {uri: /}, directResponse: {status: 200}}");
    assert!(matches!(both, Action::Invalid(_)) && problems == ["spec.http[0]"]);
}

#[test]
fn retries_and_times_are_read() {
    let policy = |yaml: &str| {
        let (forward, problems) = forward(yaml);
        ((*forward.retry).clone(), problems)
    };
    assert_eq!(policy(""), (RetryPolicy::istio_default(), vec![]));
    let seconds = |secs| Some(Duration::from_secs(secs));
    assert_eq!(policy("timeout: 5s").0.timeout, seconds(5));
    assert_eq!(policy("timeout: 0s").0.timeout, None);
    let (full, problems) = policy(
        "retries: {attempts: 3, perTryTimeout: 2s, backoff: 1s, retryOn: 'connect-failure,503, reset'}",
    );
    assert_eq!(
        (full.retries, full.per_try, full.backoff, problems),
        (3, seconds(2), Duration::from_secs(1), vec![])
    );
    let on = |words: &str| policy(&format!("retries: {{attempts: 1, retryOn: '{words}'}}")).0.on;
    let none = RetryOn::default();
    for (words, expected) in [
        ("connect-failure", RetryOn { connect_failure: true, ..none.clone() }),
        ("refused-stream", RetryOn { refused_stream: true, ..none.clone() }),
        ("reset", RetryOn { reset: true, refused_stream: true, timeout: true, ..none.clone() }),
        ("reset-before-request", RetryOn { connect_failure: true, refused_stream: true, ..none.clone() }),
        ("gateway-error,503", RetryOn { status: vec![502, 503, 504], ..none.clone() }),
        ("retriable-4xx", RetryOn { status: vec![409], ..none.clone() }),
        ("retriable-status-codes,418", RetryOn { status: vec![418], ..none }),
        (
            "cancelled,deadline-exceeded,resource-exhausted,internal,unavailable",
            RetryOn { grpc_status: vec![1, 4, 8, 13, 14], ..RetryOn::default() },
        ),
    ] {
        assert_eq!(on(words), expected, "{words}");
    }
    let all = on("5xx");
    assert!(all.reset && all.timeout && all.connect_failure && all.status.len() == 100);
    assert_eq!(policy("retries: {attempts: 0}").0.retries, 0);
    for (yaml, field) in [
        ("retries: {attempts: 1, retryOn: retriable-headers}", "retryOn"),
        ("retries: {attempts: 1, retryRemoteLocalities: true}", "retryRemoteLocalities"),
        ("retries: {attempts: 1, retryIgnorePreviousHosts: false}", "retryIgnorePreviousHosts"),
    ] {
        assert_eq!(policy(yaml).1, [format!("spec.http[0].retries.{field}")]);
    }
}

#[test]
fn faults_and_mirrors_are_read() {
    let million = |numerator| Fraction { numerator, denominator: 1_000_000 };
    let faults = |yaml: &str| {
        let (forward, problems) = forward(&format!("fault: {{{yaml}}}"));
        (forward.faults, problems)
    };
    let delay = Some((Duration::from_secs(2), million(500_000)));
    let abort = |how, numerator| Some((how, million(numerator)));
    let second = Some((Duration::from_secs(2), million(0)));
    for (yaml, expected, problems) in [
        ("delay: {fixedDelay: 2s, percentage: {value: 50}}", Faults { delay, abort: None }, NONE),
        ("delay: {fixedDelay: 2s, percent: 50}", Faults { delay, abort: None }, NONE),
        ("delay: {fixedDelay: 2s}", Faults { delay: second, abort: None }, &["delay"]),
        ("delay: {exponentialDelay: 2s, percent: 1}", Faults::default(), &["delay.exponentialDelay"]),
        (
            "abort: {httpStatus: 418, percentage: {value: 0.01}}",
            Faults { delay: None, abort: abort(Abort::Status(418), 100) },
            NONE,
        ),
        (
            "abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}",
            Faults { delay: None, abort: abort(Abort::Grpc(14), 1_000_000) },
            NONE,
        ),
        ("abort: {httpStatus: 500}", Faults { delay: None, abort: abort(Abort::Status(500), 0) }, &["abort"]),
        ("abort: {grpcStatus: NOPE, percentage: {value: 1}}", Faults::default(), &["abort"]),
        ("abort: {http2Error: X, percentage: {value: 1}}", Faults::default(), &["abort.http2Error"]),
    ] {
        let problems: Vec<_> = problems.iter().map(|field| format!("spec.http[0].fault.{field}")).collect();
        assert_eq!(faults(yaml), (expected, problems), "{yaml}");
    }
    let mirrors = |yaml: &str| -> Vec<_> {
        let (forward, problems) = forward(yaml);
        assert_eq!(problems, NONE);
        forward.mirrors.iter().map(|it| (it.subset.clone(), it.fraction.numerator)).collect()
    };
    let v2 = || Some("v2".into());
    for (yaml, expected) in [
        ("mirror: {host: web, subset: v2}", &[(v2(), 1_000_000)][..]),
        ("{mirror: {host: web}, mirrorPercentage: {value: 10}}", &[(None, 100_000)]),
        ("{mirror: {host: web}, mirrorPercent: 10}", &[(None, 100_000)]),
        ("{mirror: {host: web}, mirror_percent: 10}", &[(None, 100_000)]),
        ("{mirror: {host: web}, mirrorPercentage: {value: 0}}", &[]),
        (
            "mirrors: [{destination: {host: web}}, {destination: {host: web, subset: v2}, percentage: {value: 1}}]",
            &[(None, 1_000_000), (v2(), 10_000)],
        ),
    ] {
        let yaml = yaml
            .strip_prefix('{')
            .and_then(|yaml| yaml.strip_suffix('}'))
            .map_or_else(|| yaml.to_owned(), |yaml| yaml.replace(", mirror", "\nmirror"));
        assert_eq!(mirrors(&yaml), expected, "{yaml}");
    }
}

#[test]
fn cors_is_read() {
    let rule = "- corsPolicy:
    allowOrigins: [{exact: 'https://a'}, {prefix: 'https://b'}, {exact: '*'}, {regex: '('}]
    allowMethods: [GET, PUT]
    allowHeaders: ['*']
    maxAge: 1m
    allowCredentials: true
    unmatchedPreflights: IGNORE
  route: [{destination: {host: web}}]";
    let (frontends, problems) = http(rule);
    let cors = found(&frontends, &Asked::get("/")).unwrap().cors.unwrap();
    assert_eq!(problems, ["spec.http[0].corsPolicy.allowOrigins[3]"]);
    assert!(cors.origins.len() == 3 && cors.origins[2] == AllowOrigin::Any && cors.credentials);
    assert_eq!(
        (cors.headers, cors.max_age, cors.forward_unmatched),
        (Allowed::Any, Duration::from_secs(60), false)
    );
    let (frontends, _) =
        http("- {corsPolicy: {allowOrigin: ['*', 'https://a']}, route: [{destination: {host: web}}]}");
    let cors = found(&frontends, &Asked::get("/")).unwrap().cors.unwrap();
    assert_eq!(cors.origins, [AllowOrigin::Any, AllowOrigin::Exact("https://a".into())]);
    assert!(cors.forward_unmatched && cors.methods == Allowed::Only(vec![]));
}

#[test]
fn it_is_for_services_of_its_own_namespace_and_the_oldest_counts() {
    let http = "http: [{route: [{destination: {host: web}}]}]";
    for (spec, field) in [
        ("hosts: ['*']", "spec.hosts[0]"),
        ("hosts: [web, web.other.svc.cluster.local]", "spec.hosts[1]"),
        ("hosts: [web]\ngateways: [ingress]", "spec.gateways"),
        ("hosts: [web]\ntcp: []", "spec.tcp"),
        ("hosts: [web]\ntls: []", "spec.tls"),
        ("hosts: [web]\nhtttp: []", "spec.htttp"),
    ] {
        let (_, problems) = read(&document("shop", "vs", &format!("{spec}\n{http}")));
        let fields: Vec<_> = problems.into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, [field], "{spec}");
    }
    let named = |name: &str| {
        format!("hosts: [web]\nhttp: [{{name: {name}, route: [{{destination: {{host: web}}}}]}}]")
    };
    let (frontends, problems) =
        read(&(document("shop", "a", &named("first")) + &document("shop", "b", &named("second"))));
    assert_eq!(found(&frontends, &Asked::get("/")).unwrap().name.as_deref(), Some("first"));
    assert_eq!(
        (problems.len(), problems[0].severity, &*problems[0].object.name),
        (1, Severity::Conflict, "b")
    );
    let hidden = document("shop", "a", &(named("x") + "\nexportTo: [other]"));
    assert!(found(&read(&hidden).0, &Asked::get("/")).is_none());
}

#[test]
fn it_gives_way_to_a_route_of_gateway_api() {
    let vs =
        document("shop", "vs", "hosts: [web]\nhttp: [{name: virtual, route: [{destination: {host: web}}]}]");
    let route = "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: route, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: web, port: 80}]
  rules: [{name: gateway, backendRefs: [{name: web, port: 80}]}]
";
    let (frontends, problems) = read(&(vs + route));
    let name = |port| {
        let table = frontends.table(&service("shop", "web"), port, None).unwrap();
        table.find(&Asked::get("/")).unwrap().rule.name.clone()
    };
    assert_eq!([name(80).as_deref(), name(81).as_deref()], [Some("gateway"), Some("virtual")]);
    let told: Vec<_> = problems.iter().map(|it| (&*it.object.kind, &*it.field, it.severity)).collect();
    assert_eq!(told, [("VirtualService", "spec.hosts", Severity::Conflict)]);
}
