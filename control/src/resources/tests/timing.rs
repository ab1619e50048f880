//! Timeouts, retries and sessions (waypoint.md §10.7, §10.8).
use std::time::Duration;

use adit_core::l7::{Keeper, RetryOn, SessionKey, Target};
use adit_core::time::UnixTime;

use super::*;

fn with(fields: &str) -> Given {
    given(&http("r", &format!("{{{fields}, backendRefs: [{{name: echo-v1, port: 80}}]}}")))
}

#[test]
fn a_rule_that_says_nothing_has_istios_default() {
    assert_eq!(*with("name: plain").fine().retry(), RetryPolicy::istio_default());
    let rules = "  rules:\n  - backendRefs: [{name: echo-v1, port: 7070}]";
    let grpc = given(&route("GRPCRoute", "r", rules)).fine();
    assert_eq!(*grpc.forward(&get("/a/B")).retry, RetryPolicy::istio_default());
}

#[test]
fn timeouts_are_read_and_zero_is_none() {
    let millis = Duration::from_millis;
    for (fields, request, attempt) in [
        ("request: 10s", Some(millis(10_000)), None),
        ("backendRequest: 500ms", None, Some(millis(500))),
        ("request: 1m, backendRequest: 1m", Some(millis(60_000)), Some(millis(60_000))),
        ("request: 0s, backendRequest: 2s", None, Some(millis(2000))),
        ("request: 1s, backendRequest: 0s", Some(millis(1000)), None),
    ] {
        let policy = with(&format!("timeouts: {{{fields}}}")).fine().retry();
        assert_eq!((policy.timeout, policy.per_try), (request, attempt), "{fields}");
        assert_eq!(policy.retries, 2, "still Istio's default");
    }
}

#[test]
fn retries_are_read_with_istios_defaults() {
    let policy = with("retry: {codes: [500, 503], attempts: 4, backoff: 100ms}").fine().retry();
    assert_eq!((policy.retries, policy.backoff), (4, Duration::from_millis(100)));
    let all =
        RetryOn { reset: true, timeout: true, status: vec![500, 503], ..RetryPolicy::istio_default().on };
    assert_eq!(policy.on, all);
    let policy = with("retry: {codes: [502]}").fine().retry();
    assert_eq!((policy.retries, policy.backoff), (2, Duration::from_millis(25)));
    assert_eq!(with("retry: {attempts: 0}").fine().retry().retries, 0);
}

#[test]
fn what_makes_no_sense_fails() {
    for (fields, said) in [
        ("timeouts: {request: 1.5s}", "is no duration"),
        ("timeouts: {request: 10}", "expected a string"),
        ("timeouts: {request: 1s, backendRequest: 2s}", "longer than the request as a whole"),
        ("timeouts: {idle: 1s}", "no such field is known"),
        ("retry: {codes: [399]}", "expected 400 to 599"),
        ("retry: {attempts: -1}", "expected 0 or more"),
        ("retry: {backoff: soon}", "is no duration"),
        ("sessionPersistence: {idleTimeout: 1h}", "idleTimeout"),
        ("sessionPersistence: {absoluteTimeout: long}", "is no duration"),
        ("sessionPersistence: {type: Query}", "expected Cookie with cookie"),
        ("sessionPersistence: {type: Header, cookie: {name: a}}", "expected Cookie with cookie"),
        ("sessionPersistence: {cookie: {name: 'a b'}}", "is no name of a cookie"),
        ("sessionPersistence: {cookie: {path: 'a;b'}}", "is no path of a cookie"),
        ("sessionPersistence: {cookie: {lifetimeType: Permanent}}", "a permanent cookie needs it"),
        ("sessionPersistence: {cookie: {lifetimeType: Long}}", "expected Session or Permanent"),
    ] {
        let given = with(fields);
        given.one_problem(said);
        assert!(given.ask(&get("/")).starts_with("500 spec.rules[0]."), "{fields}");
    }
    let grpc = "  rules:\n  - {timeouts: {request: 1s}, backendRefs: [{name: echo-v1, port: 7070}]}";
    given(&route("GRPCRoute", "r", grpc)).one_problem("neither timeouts nor retry");
}

#[test]
fn sessions_are_kept_where_the_route_says() {
    assert_eq!(with("name: plain").fine().persistence(), None);
    let of = |fields: &str| with(&format!("sessionPersistence: {{{fields}}}")).fine().persistence().unwrap();
    let cookie = |name: &str, path: &str, permanent| Keeper::Cookie {
        name: name.into(),
        path: path.into(),
        permanent,
    };
    for (fields, keeper, seconds) in [
        ("cookie: {name: s}", cookie("s", "/", false), None),
        ("sessionName: s", cookie("s", "/", false), None),
        ("type: Cookie, cookie: {name: s, path: /x}", cookie("s", "/x", false), None),
        (
            "sessionName: s, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}",
            cookie("s", "/", true),
            Some(3600),
        ),
        ("type: Header, header: {name: X-Session}", Keeper::Header { name: "x-session".into() }, None),
        (
            "type: Header, sessionName: X-Session, absoluteTimeout: 10s",
            Keeper::Header { name: "x-session".into() },
            Some(10),
        ),
    ] {
        let persistence = of(fields);
        assert_eq!(
            (&persistence.keeper, persistence.timeout),
            (&keeper, seconds.map(Duration::from_secs)),
            "{fields}"
        );
    }
    // Without a name each rule has one of its own, always the same.
    let rules = "{sessionPersistence: {}, backendRefs: [{name: echo-v1, port: 80}]}\n{matches: [{path: {value: /b}}], sessionPersistence: {}, backendRefs: [{name: echo-v1, port: 80}]}";
    let names = || {
        let given = given(&http("r", rules)).fine();
        ["/", "/b"].map(|path| given.forward(&get(path)).persistence.unwrap().keeper.clone())
    };
    assert!(names() == names() && names()[0] != names()[1]);
}

#[test]
fn a_session_holds_over_decisions() {
    let given = with("sessionPersistence: {cookie: {name: s}, absoluteTimeout: 1m}").fine();
    let forward = given.forward(&get("/"));
    let (persistence, key, now) = (forward.persistence.unwrap(), SessionKey::new(42), UnixTime(1_000_000));
    let Ok(Target { service, port }) = forward.backends.0[0].target.clone() else { panic!() };
    let target = Target { service, port };
    let (_, cookie) = persistence.keep(None, &target, "cluster//Pod/ns/a", now, &key).unwrap();
    let again = get("/").with("cookie", cookie.split(';').next().unwrap());
    let session = persistence.session(&again, now, &key).unwrap();
    assert!(
        session.is_with(&key, &target, "cluster//Pod/ns/a")
            && !session.is_with(&key, &target, "cluster//Pod/ns/b")
    );
}
