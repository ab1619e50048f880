//! Filters and which can be together (waypoint.md §10.5).
use std::time::Duration;

use adit_core::l7::{Allowed, Fraction};

use super::*;

const BACKEND: &str = "backendRefs: [{name: echo-v1, port: 80}]";

fn filtered(filters: &str) -> Given {
    given(&http("r", &format!("{{filters: [{filters}], {BACKEND}}}")))
}

#[test]
fn what_cannot_be_honoured_fails_and_is_never_left_out() {
    let rewrite = "{type: URLRewrite, urlRewrite: {hostname: a.b}}";
    let redirect = "{type: RequestRedirect, requestRedirect: {hostname: a.b}}";
    let mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: echo-v2, port: 80}}}";
    let set = |name: &str, value: &str| {
        format!(
            "{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: '{name}', value: {value}}}]}}}}"
        )
    };
    let answers = |name: &str| {
        format!("{{type: ResponseHeaderModifier, responseHeaderModifier: {{remove: ['{name}']}}}}")
    };
    for (filters, said) in [
        ("{type: Unknown}".to_owned(), "UnsupportedValue: Unknown is no filter"),
        ("{type: ExtensionRef, extensionRef: {group: a, kind: b, name: c}}".into(), "this filter is not supported"),
        ("{type: ExternalAuth, externalAuth: {protocol: GRPC}}".into(), "this filter is not supported"),
        ("{type: URLRewrite}".into(), "is missing from a filter of type URLRewrite"),
        ("{type: URLRewrite, urlRewrite: {hostname: a.b}, cors: {}}".into(), "has no place in a filter of type URLRewrite"),
        ("{type: URLRewrite, urlRewrite: {hostname: '*.b'}}".into(), "no host name without a wildcard"),
        ("{type: URLRewrite, urlRewrite: {hostnam: a.b}}".into(), "no such field is known"),
        ("{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}".into(), "expected ReplaceFullPath with"),
        ("{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: a}}}".into(), "is no path"),
        ("{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: '/a?b'}}}".into(), "is no path"),
        ("{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /a, replacePrefixMatch: /b}}}".into(), "alone"),
        (format!("{rewrite}, {rewrite}"), "only one filter of this type"),
        (format!("{rewrite}, {}", set("Host", "c.d")), "the host is set by a header and rewritten"),
        (set("Content-Length", "'0'"), "belongs to the connection"),
        (set("Transfer-Encoding", "chunked"), "belongs to the connection"),
        (set("x-a", "\"b\\r\\nx-evil: 1\""), "no value of header"),
        (set("x a", "b"), "no name of a header"),
        (set("host", "'a b'"), "no value of header host"),
        (answers("host"), "belongs to the connection"),
        ("{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 101}}".into(), "not within 0 to 100"),
        ("{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 1, fraction: {numerator: 1}}}".into(), "both there"),
        ("{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, fraction: {numerator: 3, denominator: 2}}}".into(), "no fraction"),
        ("{type: CORS, cors: {allowOrigins: ['*', 'https://a']}}".into(), "* allows all"),
        ("{type: CORS, cors: {allowOrigins: [a]}}".into(), "no origin"),
        ("{type: CORS, cors: {allowMethods: [get]}}".into(), "cannot be in this list"),
        ("{type: CORS, cors: {allowHeaders: ['*', x-a]}}".into(), "cannot be in this list"),
        ("{type: CORS, cors: {maxAge: 0}}".into(), "expected seconds"),
    ] {
        let given = filtered(&filters);
        assert!(given.problems().iter().any(|problem| problem.contains(said)), "{filters}: {:?}", given.problems());
        assert!(given.ask(&get("/")).starts_with("500 spec.rules[0].filters"), "{filters}: {}", given.ask(&get("/")));
        assert!(!given.status("r").0, "{filters}");
    }
    for (filters, with, said) in [
        (format!("{redirect}, {rewrite}"), "", "RequestRedirect and URLRewrite cannot be together"),
        (format!("{redirect}, {mirror}"), "", "RequestRedirect and RequestMirror cannot be together"),
        (redirect.to_owned(), BACKEND, "a rule that redirects has no backends"),
        (
            "{type: RequestRedirect, requestRedirect: {statusCode: 300}}".into(),
            "",
            "expected 301, 302, 303, 307 or 308",
        ),
        ("{type: RequestRedirect, requestRedirect: {scheme: ftp}}".into(), "", "expected http or https"),
        ("{type: RequestRedirect, requestRedirect: {port: 0}}".into(), "", "expected 1 to 65535"),
    ] {
        let given = given(&http("r", &format!("{{filters: [{filters}], {with}}}")));
        given.one_problem(said);
        assert!(given.ask(&get("/")).starts_with("500 "), "{filters}");
    }
    let incompatible = given(&http("r", &format!("{{filters: [{redirect}, {rewrite}]}}")));
    assert_eq!(incompatible.status("r").1, Reason::IncompatibleFilters);
    assert_eq!(filtered("{type: Unknown}").status("r").1, Reason::UnsupportedValue);
}

#[test]
fn a_prefix_is_replaced_only_where_one_was_matched() {
    let replace = "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}]";
    for (matches, holds) in [
        ("", true),
        ("matches: [{path: {value: /a}}],", true),
        ("matches: [{headers: [{name: a, value: b}]}],", true),
        ("matches: [{path: {type: Exact, value: /a}}],", false),
        ("matches: [{path: {type: RegularExpression, value: '/a.*'}}],", false),
        ("matches: [{path: {value: /a}}, {path: {value: /b}}],", false),
    ] {
        let given = given(&http("r", &format!("{{{matches} {replace}, {BACKEND}}}")));
        match holds {
            true => drop(given.fine()),
            false => given.one_problem("IncompatibleFilters: a prefix can be replaced only if"),
        }
    }
    let empty = "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}}}]";
    let given =
        given(&http("r", &format!("{{matches: [{{path: {{value: /a}}}}], {empty}, {BACKEND}}}"))).fine();
    assert_eq!([given.ask(&get("/a/b")), given.ask(&get("/a"))], ["echo-v1:80 /b", "echo-v1:80 /"]);
}

#[test]
fn another_host_is_asked_for_by_rewrite_or_by_header() {
    for filter in [
        "{type: URLRewrite, urlRewrite: {hostname: one.example.org}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: one.example.org}]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: ':authority', value: one.example.org}]}}",
    ] {
        assert_eq!(filtered(filter).fine().ask(&get("/a?b")), "echo-v1:80 /a?b host=one.example.org");
    }
}

#[test]
fn headers_of_answers_are_changed_at_rule_and_backend() {
    let filter = |name: &str, value: &str| {
        format!(
            "{{type: ResponseHeaderModifier, responseHeaderModifier: {{add: [{{name: {name}, value: {value}}}]}}}}"
        )
    };
    let rule = format!(
        "{{filters: [{}], backendRefs: [{{name: echo-v1, port: 80, filters: [{}]}}]}}",
        filter("X-Rule", "one"),
        filter("X-Backend", "two")
    );
    let told = given(&http("r", &rule)).fine().told("echo", NS, &get("/")).unwrap();
    assert_eq!([told.value("x-rule"), told.value("x-backend")], ["one", "two"]);
    let redirect = format!(
        "{{filters: [{}, {{type: RequestRedirect, requestRedirect: {{port: 81}}}}]}}",
        filter("X-Rule", "one")
    );
    let given = given(&http("r", &redirect)).fine();
    assert_eq!(given.told("echo", NS, &get("/")).unwrap().value("x-rule"), "one", "answers of ours as well");
}

#[test]
fn copies_go_to_mirrors_and_bad_mirrors_get_none() {
    let mirror = |backend: &str, more: &str| {
        format!("{{type: RequestMirror, requestMirror: {{backendRef: {{{backend}}}{more}}}}}")
    };
    let given = filtered(
        &[
            mirror("name: echo-v2, port: 80", ""),
            mirror("name: echo-v2, port: 8080", ", percent: 25"),
            mirror("name: echo-v2, port: 9090", ", fraction: {numerator: 5, denominator: 1000}"),
            mirror("name: echo-v2, port: 7070", ", fraction: {numerator: 5}"),
        ]
        .join(", "),
    )
    .fine();
    let mirrors = given.forward(&get("/")).mirrors;
    let of = |numerator, denominator| Fraction { numerator, denominator };
    let expected = [(80, Fraction::ALL), (8080, of(25, 100)), (9090, of(5, 1000)), (7070, of(5, 100))];
    assert_eq!(
        mirrors.iter().map(|mirror| (mirror.target.port, mirror.fraction)).collect::<Vec<_>>(),
        expected
    );
    for (bad, reason) in [
        (mirror("kind: Bucket, group: s3, name: b", ""), Reason::InvalidKind),
        (mirror("name: echo-v2", ""), Reason::BackendNotFound),
    ] {
        let given = filtered(&bad);
        given.one_problem("nothing is mirrored");
        assert_eq!(given.ask(&get("/")), "echo-v1:80 /", "the route is none the worse");
        assert!(given.forward(&get("/")).mirrors.is_empty());
        assert_eq!(given.status("r"), (true, Reason::Accepted, reason, false));
    }
}

#[test]
fn cors_is_read_with_its_defaults() {
    let filter = "{type: CORS, cors: {allowOrigins: ['https://www.foo.com', 'https://*.bar.com'], allowMethods: [GET, PUT], \
                  allowHeaders: ['*'], exposeHeaders: [x-c], allowCredentials: true, maxAge: 60}}";
    let given = filtered(filter).fine();
    let cors = given.found("echo", NS, &get("/")).flatten().unwrap().rule.cors.clone().unwrap();
    assert_eq!((cors.origins.len(), cors.credentials, cors.max_age), (2, true, Duration::from_secs(60)));
    assert_eq!((cors.headers, cors.expose), (Allowed::Any, Allowed::Only(vec!["x-c".into()])));
    let bare = filtered("{type: CORS, cors: {allowOrigins: ['*']}}").fine();
    let cors = bare.found("echo", NS, &get("/")).flatten().unwrap().rule.cors.clone().unwrap();
    assert_eq!((cors.credentials, cors.max_age), (false, Duration::from_secs(5)));
}

#[test]
fn what_has_no_effect_beside_a_redirect_is_told() {
    let rule = "{filters: [{type: RequestRedirect, requestRedirect: {port: 81}}], timeouts: {request: 1s}}";
    let given = given(&http("r", rule));
    given.one_problem("nothing is sent on from here");
    assert_eq!(given.ask(&get("/")), "302 http://echo:81/");
}

#[test]
fn grpc_routes_know_fewer_filters() {
    let with = |filter: &str| {
        given(&route(
            "GRPCRoute",
            "r",
            &format!("  rules:\n  - {{filters: [{filter}], backendRefs: [{{name: echo-v1, port: 7070}}]}}"),
        ))
    };
    with("{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [a]}}").fine();
    for filter in [
        "{type: URLRewrite, urlRewrite: {hostname: a.b}}",
        "{type: RequestRedirect, requestRedirect: {port: 81}}",
        "{type: CORS, cors: {allowOrigins: ['*']}}",
    ] {
        let given = with(filter);
        given.one_problem("this filter is not supported here");
        assert!(given.ask_as("echo:7070", NS, &get("/a/B")).starts_with("500 "));
    }
}
