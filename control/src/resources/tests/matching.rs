//! Matches, precedence and limits (waypoint.md §10.3, §10.4, §10.9).
use super::*;

/// Rules by their match, each to a backend of its number's port.
fn matches(matches: &[&str]) -> String {
    let rule = |(n, matched): (usize, &&str)| {
        format!("{{matches: [{matched}], backendRefs: [{{name: other, port: {}}}]}}", n + 1)
    };
    http("r", &matches.iter().enumerate().map(rule).collect::<Vec<_>>().join("\n"))
}

/// The number of the rule that a request meets; 0: none.
fn rule(given: &Given, asked: &Asked) -> u16 {
    match given.found("echo", NS, asked).unwrap() {
        None => 0,
        Some(found) => match &found.rule.action {
            Action::Forward(forward) => forward.backends.0[0].target.as_ref().unwrap().port,
            other => panic!("{other:?}"),
        },
    }
}

#[test]
fn each_condition_holds_as_the_api_says() {
    let given = alone(&matches(&[
        "{path: {type: PathPrefix, value: /foo/}}",
        "{path: {type: Exact, value: /Exact}}",
        "{path: {type: RegularExpression, value: '/re/[0-9]+'}}",
        "{headers: [{name: X-One, value: a}, {name: x-one, value: b}]}",
        "{headers: [{type: RegularExpression, name: x-two, value: 'a.*'}]}",
        "{queryParams: [{name: Q, value: 1}]}".replace(": 1}", ": '1'}").as_str(),
        "{queryParams: [{type: RegularExpression, name: r, value: '[a-c]+'}]}",
        "{method: DELETE}",
    ]))
    .fine();
    for (asked, expected) in [
        (get("/foo"), 1),
        (get("/foo/"), 1),
        (get("/foo/x"), 1),
        (get("/foobar"), 0),
        (get("/Foo"), 0),
        (get("/foo?x"), 1),
        (get("/Exact"), 2),
        (get("/Exact/"), 0),
        (get("/exact"), 0),
        (get("/re/12"), 3),
        (get("/re/12x"), 0),
        (get("/x/re/12"), 0),
        (get("/").with("x-one", "a"), 4),
        (get("/").with("x-one", "b"), 0),
        (get("/").with("X-Two", "ab"), 5),
        (get("/").with("x-two", "ba"), 0),
        (get("/").with("x-two", "a").with("x-two", "z"), 5),
        (get("/?Q=1&Q=2"), 6),
        (get("/?Q=2&Q=1"), 0),
        (get("/?q=1"), 0),
        (get("/?r=abc"), 7),
        (get("/?r=abcd"), 0),
        (get("/").by("DELETE"), 8),
        (get("/").by("delete"), 0),
    ] {
        assert_eq!(rule(&given, &asked), expected, "{asked:?}");
    }
}

#[test]
fn the_more_specific_match_is_taken_whatever_the_order() {
    let given = alone(&matches(&[
        "{path: {value: /}}",
        "{path: {type: RegularExpression, value: '/a.*'}}",
        "{path: {value: /a}}",
        "{path: {value: /a}, headers: [{name: h, value: v}]}",
        "{path: {value: /a}, method: GET}",
        "{path: {value: /a}, queryParams: [{name: q, value: v}]}",
        "{path: {value: /a/b}}",
        "{path: {type: Exact, value: /a/b}}",
    ]))
    .fine();
    for (asked, expected) in [
        (get("/x").by("PUT"), 1),
        (get("/ab").by("PUT"), 2),
        (get("/a/x").by("PUT"), 3),
        (get("/a").by("PUT").with("h", "v"), 4),
        (get("/a").with("h", "v"), 5),
        (get("/a?q=v").by("PUT"), 6),
        (get("/a?q=v").by("PUT").with("h", "v"), 4),
        (get("/a/b/c").with("h", "v"), 7),
        (get("/a/b"), 8),
    ] {
        assert_eq!(rule(&given, &asked), expected, "{asked:?}");
    }
}

#[test]
fn equal_matches_go_to_the_oldest_route_then_to_the_first_by_name() {
    let aged = |name: &str, created: &str, port: u16| {
        let route = http(name, &format!("{{backendRefs: [{{name: other, port: {port}}}]}}"));
        route.replace(&format!("name: {name}, "), &format!("name: {name}, {created}"))
    };
    let (old, new) =
        ("creationTimestamp: '2020-01-01T00:00:00Z', ", "creationTimestamp: '2021-01-01T00:00:00Z', ");
    for (manifests, expected) in [
        (aged("a", new, 1) + &aged("b", old, 2), 2),
        (aged("a", old, 1) + &aged("b", old, 2), 1),
        (aged("b", "", 2) + &aged("a", "", 1), 1),
    ] {
        assert_eq!(rule(&alone(&manifests).fine(), &get("/")), expected);
    }
    // Rules of two routes stand in one order: the longer prefix of the younger is first.
    let young = http("b", "{matches: [{path: {value: /a/b}}], backendRefs: [{name: other, port: 2}]}");
    let given = alone(&(aged("a", old, 1) + &young)).fine();
    assert_eq!([rule(&given, &get("/a/b")), rule(&given, &get("/a"))], [2, 1]);
}

#[test]
fn grpc_methods_are_matched_and_the_longer_name_first() {
    let rule_of = |(n, matched): (usize, &str)| {
        format!("  - {{matches: [{matched}], backendRefs: [{{name: other, port: {}}}]}}\n", n + 1)
    };
    let rules = [
        "{method: {service: com.example.Service}}",
        "{method: {service: com.example.Service, method: Login}}",
        "{method: {method: Anything}}",
        "{method: {type: RegularExpression, service: 'com\\.[a-z]+', method: 'Get.*'}}",
        "{headers: [{name: v, value: one}]}",
    ];
    let rules: String = rules.into_iter().enumerate().map(rule_of).collect();
    let given = alone(&route("GRPCRoute", "r", &format!("  rules:\n{rules}"))).fine();
    for (asked, expected) in [
        (get("/com.example.Service/Login"), 2),
        (get("/com.example.Service/Logout"), 1),
        (get("/com.example.Service2/Login"), 0),
        (get("/other/Anything"), 3),
        (get("/com.example.Service/Anything"), 1),
        (get("/com.abc/GetAll"), 4),
        (get("/com.abc/Put"), 0),
        (get("/other/Put").with("v", "one"), 5),
        (get("/other"), 0),
        (get("/com.example.Service/Login/x"), 0),
    ] {
        assert_eq!(rule(&given, &asked.clone().by("POST")), expected, "{asked:?}");
    }
}

#[test]
fn a_match_that_cannot_be_read_is_for_nobody_and_its_rule_fails() {
    for (matched, said) in [
        ("{path: {type: RegularExpression, value: '('}}", "no regular expression"),
        ("{path: {type: Glob, value: /a}}", "expected Exact, PathPrefix or RegularExpression"),
        ("{path: {value: a}}", "is no path"),
        ("{path: {value: /a//b}}", "is no path"),
        ("{path: {value: /a/../b}}", "is no path"),
        ("{path: {value: /a%2fb}}", "is no path"),
        ("{path: {value: '/a b'}}", "is no path"),
        ("{path: {type: Exact, value: '/a?b'}}", "is no path"),
        ("{method: get}", "expected one of GET"),
        ("{headers: [{name: 'a b', value: c}]}", "is no name"),
        ("{headers: [{name: a, value: ''}]}", "expected 1 to 4096 characters"),
        ("{headers: [{type: Prefix, name: a, value: c}]}", "expected Exact or RegularExpression"),
        ("{queryParams: [{name: a}]}", "missing field `value`"),
        ("{cookies: []}", "no such field is known"),
    ] {
        let rules = format!(
            "{{matches: [{matched}, {{path: {{value: /good}}}}], backendRefs: [{{name: other, port: 1}}]}}\n{{backendRefs: [{{name: other, port: 2}}]}}"
        );
        let given = alone(&http("r", &rules));
        given.one_problem(said);
        assert!(given.problems()[0].contains("spec.rules[0].matches[0]"), "{:?}", given.problems());
        assert!(given.ask(&get("/good")).starts_with("500 spec.rules[0].matches[0]"), "{matched}");
        // What is known of it after all stays invalid; others are not touched.
        let other = if matched.contains("cookies") { "500" } else { "other:2" };
        assert!(given.ask(&get("/x")).starts_with(other), "{matched}");
        assert_eq!(given.status("r"), (true, Reason::Accepted, Reason::ResolvedRefs, true));
    }
}

#[test]
fn limits_of_the_api_hold() {
    let many = |count: usize, item: &str| {
        (0..count).map(|n| item.replace('#', &n.to_string())).collect::<Vec<_>>().join(", ")
    };
    let backend = "backendRefs: [{name: other, port: 1}]";
    let headers =
        |count| format!("{{matches: [{{headers: [{}]}}], {backend}}}", many(count, "{name: h#, value: v}"));
    let queries = |count| {
        format!("{{matches: [{{queryParams: [{}]}}], {backend}}}", many(count, "{name: h#, value: v}"))
    };
    let matches = |count| format!("{{matches: [{}], {backend}}}", many(count, "{path: {value: /p#}}"));
    let backends = |count| format!("{{backendRefs: [{}]}}", many(count, "{name: other, port: 1}"));
    let set = |count| {
        let set = many(count, "{name: h#, value: v}");
        format!(
            "{{filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{set}]}}}}], {backend}}}"
        )
    };
    for (rule, most) in [
        (&headers as &dyn Fn(usize) -> String, 16),
        (&queries, 16),
        (&matches, 64),
        (&backends, 16),
        (&set, 16),
    ] {
        alone(&http("r", &rule(most))).fine();
        alone(&http("r", &rule(most + 1)))
            .one_problem(&format!("{} items, but at most {most} are allowed", most + 1));
    }
    let rules = |count: usize| {
        (0..count)
            .map(|n| format!("{{matches: [{{path: {{value: /p{n}}}}}], {backend}}}"))
            .collect::<Vec<_>>()
    };
    alone(&http("r", &rules(16).join("\n"))).fine();
    let given = alone(&http("r", &rules(17).join("\n")));
    given.one_problem("at most 16 rules");
    assert!(given.ask(&get("/p16")).starts_with("500 ") && given.ask(&get("/p15")).starts_with("other"));
    alone(&http("r", &[matches(64), matches(64)].join("\n"))).fine();
    alone(&http("r", &[matches(64), matches(64), matches(1)].join("\n")))
        .one_problem("more than 128 matches");
}
