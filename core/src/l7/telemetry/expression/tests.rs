use std::collections::BTreeMap;
use std::string::{String, ToString as _};
use std::vec;

use proptest::prelude::*;

use super::*;

/// Values by path.
struct Known(BTreeMap<&'static str, Value<'static>>);

impl Attributes for Known {
    fn get<'a>(&'a self, attribute: &'a Attribute) -> Value<'a> {
        let found = match attribute {
            Attribute::RequestHeader(name) => self.0.get(&**name),
            other => {
                self.0.iter().find(|(path, _)| Attribute::of(path).as_ref() == Some(other)).map(|(_, v)| v)
            }
        };
        found.map_or(Value::Absent, borrowed)
    }
}

fn answered() -> Known {
    Known(BTreeMap::from([
        ("response.code", Value::Int(503)),
        ("response.grpc_status", Value::Int(14)),
        ("request.method", Value::made("GET".into())),
        ("request.path", Value::made("/api/v1?x=1".into())),
        ("request.duration", Value::Duration(1_500_000_000)),
        ("connection.mtls", Value::Bool(true)),
        ("upstream_peer.workload", Value::made("web".into())),
        ("x-canary", Value::made("yes".into())),
    ]))
}

#[test]
fn conditions_hold_as_in_cel() {
    for (condition, holds) in [
        ("response.code >= 400", true),
        ("response.code < 400", false),
        ("response.code == 503 && request.method == 'GET'", true),
        ("response.code != 503 || connection.mtls", true),
        ("!has(response.code) || response.code >= 500", true),
        ("has(request.id)", false),
        ("!(response.code == 503)", false),
        ("!connection.mtls", false),
        // What is absent is an error; a side that decides does so in spite of it.
        ("request.id == 'a' || connection.mtls", true),
        ("connection.mtls || request.id == 'a'", true),
        ("!(request.id == 'a' && response.code == 200)", true),
        ("request.id == 'a'", false),
        ("request.id != 'a'", false),
        ("!(request.id == 'a')", false),
        ("request.headers['X-Canary'] == \"yes\"", true),
        ("has(request.headers['x-other'])", false),
        (
            "request.path.startsWith('/api') && request.path.contains('v1') && request.path.endsWith('=1')",
            true,
        ),
        ("request.path.matches('^/api/v[0-9]')", true),
        ("request.path.matches('v[0-9]')", true),
        ("request.path.matches('^v[0-9]$')", false),
        ("request.duration > duration('1s') && request.duration <= duration('1.5s')", true),
        ("response.code == 503 ? true : false", true),
        ("(response.code == 200 ? 'a' : 'b') == 'b'", true),
        ("-1 < response.code", true),
        ("string(response.code) == '503'", true),
        ("true", true),
        ("'' == ''", true),
        ("'a\\'\\n' == \"a'\\n\"", true),
        // && binds closer than ||.
        ("true || false && false", true),
        ("(true || false) && false", false),
    ] {
        let compiled =
            Expression::condition(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
        assert_eq!(compiled.holds(&answered()), holds, "{condition}");
        assert_eq!(compiled.as_str(), condition);
    }
}

#[test]
fn values_become_texts() {
    for (expression, text) in [
        ("request.method", "GET"),
        ("response.code", "503"),
        ("connection.mtls", "true"),
        ("request.duration", "1.5s"),
        ("upstream_peer.workload", "web"),
        ("request.id", "unknown"),
        ("has(request.id) ? request.id : 'none'", "none"),
        ("'a literal'", "a literal"),
    ] {
        assert_eq!(Expression::new(expression).unwrap().text(&answered()), text, "{expression}");
    }
}

#[test]
fn what_is_not_of_the_closed_set_is_refused_by_name() {
    for bad in [
        "",
        "response.code >=",
        "response.code > 'a'",
        "response.code = 4",
        "request.method",
        "request.nothing == 'a'",
        "node.metadata['x'] == 'a'",
        "filter_state['x'] == 'a'",
        "response.code + 1 == 2",
        "request.method.size() == 3",
        "request.method.matches('(')",
        "request.method.matches(request.path)",
        "[1, 2] == [1, 2]",
        "true ? 1 : 'a'",
        "!response.code",
        "'open",
        "'\\x41' == 'A'",
        "99999999999999999999 == 1",
        "duration('1y') == duration('1s')",
        "true true",
        "has('a')",
        "a",
    ] {
        assert!(Expression::condition(bad).is_err(), "{bad}");
    }
    let error = |text: &str| Expression::condition(text).unwrap_err().to_string();
    assert!(error("node.metadata['x'] == 'a'").starts_with("\"node.metadata\" is not supported"));
    assert_eq!(error("response.code > 'a'"), "the right side of a comparison needs int, not string");
    assert_eq!(error("request.method"), "a condition needs bool, not string");
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |depth: usize| std::format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expression::new(&nested(10)).is_ok());
    for deep in [nested(1000), std::format!("{}true", "!".repeat(1000)), ["true"; 500].join("||")] {
        assert_eq!(Expression::new(&deep), Err(ExpressionError::TooDeep));
    }
    assert_eq!(Expression::new(&" ".repeat(5000)), Err(ExpressionError::TooLong));
}

proptest! {
    #[test]
    fn any_text_is_compiled_or_refused_and_computes(text in "[a-z.'()!&|=<>?: 0-9\\[\\]_-]{0,60}") {
        if let Ok(expression) = Expression::new(&text) {
            let _ = expression.text(&answered());
        }
    }

    #[test]
    fn words_in_any_order_are_compiled_or_refused(words in proptest::collection::vec(prop::sample::select(vec![
        "response.code", "request.method", "has(", "(", ")", "&&", "||", "!", "==", ">", "'a'", "1", "?", ":", "true",
        ".contains('a')", ".matches('a')", "request.headers['a']", "string(", "duration('1s')", "-",
    ]), 0..30)) {
        if let Ok(expression) = Expression::new(&words.join(" ")) {
            let value = expression.evaluate(&answered()).to_text();
            prop_assert!(value.is_none_or(|text: String| text.len() < 100));
        }
    }
}
