//! What cannot be read, or is not there, refuses more and never less.
use alloc::sync::Arc;
use core::time::Duration;

use super::*;

fn denied(action: Action, condition: Condition, request: &Request) -> bool {
    let subject = Subject::http(connection(None), http(request, None));
    decide(&[policy("p", action, vec![rule([condition])])], &subject).is_deny()
}

#[test]
fn what_is_unknown_never_allows_and_always_denies() {
    let request = Request::get("/");
    let unknown = || Condition::Unknown("source.user".into());
    assert!(denied(Action::Allow, unknown(), &request));
    assert!(denied(Action::Deny, unknown(), &request));
    // The rest of a DENY rule still counts; an ALLOW rule is gone whole, and its neighbour stays.
    let subject = Subject::http(connection(None), http(&request, None));
    let with = |path| rule([unknown(), is(Attribute::Path, &[path])]);
    assert!(!decide(&[policy("p", Action::Deny, vec![with("/other")])], &subject).is_deny());
    let rules = vec![with("/"), rule([is(Attribute::Path, &["/"])])];
    let by = RuleName { policy: name("p"), rule: 1 };
    assert_eq!(decide(&[policy("p", Action::Allow, rules)], &subject), Verdict::Allow { by: Some(by) });
}

#[test]
fn values_that_cannot_be_read_refuse() {
    let request = Request::get("/");
    for attribute in [Attribute::SourceIp, Attribute::DestinationPort, Attribute::Path] {
        let bad = ["{not"];
        for (condition, allow, deny) in [
            (is(attribute.clone(), &bad), true, true),
            // An exception from a refusal that nobody can read excepts nobody.
            (is_not(attribute.clone(), &bad), true, true),
        ] {
            assert_eq!(denied(Action::Allow, condition.clone(), &request), allow, "{condition:?}");
            assert_eq!(denied(Action::Deny, condition.clone(), &request), deny, "{condition:?}");
        }
    }
}

#[test]
fn a_second_value_of_a_header_is_no_way_around() {
    let header = || Attribute::Header("x-role".into());
    let one = Request::get("/").with("x-role", "guest");
    let two = Request::get("/").with("x-role", "root").with("x-role", "guest");
    assert!(denied(Action::Deny, is(header(), &["guest"]), &one));
    assert!(denied(Action::Deny, is(header(), &["guest"]), &two));
    assert!(denied(Action::Deny, is(header(), &["root,guest"]), &two));
    assert!(!denied(Action::Allow, is(header(), &["guest"]), &one));
    assert!(denied(Action::Allow, is(header(), &["guest"]), &two));
    assert!(!denied(Action::Allow, is(header(), &["root,guest"]), &two));
    assert!(denied(Action::Allow, is_not(header(), &["guest"]), &two));
}

#[test]
fn a_header_that_is_missing_or_empty() {
    let header = || Attribute::Header("x".into());
    let (none, empty) = (Request::get("/"), Request::get("/").with("x", ""));
    for request in [&none, &empty] {
        assert!(denied(Action::Allow, is(header(), &["*"]), request));
        assert!(!denied(Action::Allow, is_not(header(), &["*"]), request));
        assert!(!denied(Action::Allow, is_not(header(), &["a"]), request));
    }
    // A prefix of nothing holds for what is there.
    assert!(!denied(Action::Allow, is(header(), &[""]), &empty));
    assert!(denied(Action::Allow, is(header(), &[""]), &none));
}

// waypoint.md §11.8.
#[test]
fn without_http_an_allow_rule_on_it_is_gone_and_a_deny_rule_holds_more() {
    let me = identity("spiffe://td/ns/a/sa/b");
    for attribute in [
        Attribute::RequestPrincipal,
        Attribute::Host,
        Attribute::Method,
        Attribute::Path,
        Attribute::Header("x".into()),
        Attribute::Audience,
        Attribute::Presenter,
        Attribute::Claim(["a".into()].into()),
    ] {
        for condition in [is(attribute.clone(), &["x"]), is_not(attribute.clone(), &["x"])] {
            let with = |port| rule([condition.clone(), is(Attribute::DestinationPort, &[port])]);
            let subject = Subject::tcp(connection(Some(&me)));
            let denied = |action, port| decide(&[policy("p", action, vec![with(port)])], &subject).is_deny();
            assert!(denied(Action::Allow, "8080"), "{attribute}");
            assert!(denied(Action::Deny, "8080"), "{attribute}");
            assert!(!denied(Action::Deny, "80"), "{attribute}");
        }
    }
    for attribute in [Attribute::SourceIp, Attribute::RemoteIp] {
        let subject = Subject::tcp(connection(None));
        let allow = policy("p", Action::Allow, vec![rule([is(attribute, &["10.0.1.0/24"])])]);
        assert!(!decide(&[allow], &subject).is_deny());
    }
}

fn provider(name: &str, protocol: Protocol) -> Arc<Provider> {
    Arc::new(Provider {
        name: name.into(),
        host: "authz.example".into(),
        namespace: None,
        port: 9000,
        timeout: Duration::from_secs(1),
        fail_open: true,
        status_on_error: 403,
        body: None,
        protocol,
    })
}

#[test]
fn custom_policies_ask_each_provider_once_or_refuse() {
    let request = Request::get("/");
    let subject = Subject::http(connection(None), http(&request, None));
    let custom = |named, provider, path: &str| {
        policy(named, Action::Custom(provider), vec![rule([is(Attribute::Path, &[path])])])
    };
    let (one, two) = (provider("one", Protocol::Grpc), provider("two", Protocol::Http(HttpCheck::default())));
    let policies = Policies::new([
        custom("a", Ok(one.clone()), "/"),
        custom("b", Ok(one.clone()), "/"),
        custom("c", Ok(two.clone()), "/"),
        custom("d", Ok(two.clone()), "/other"),
    ]);
    let set = policies.of(None);
    let asked: Vec<_> = set.custom(&subject).unwrap().iter().map(|asked| asked.by.policy.clone()).collect();
    assert_eq!(asked, [name("a"), name("c")]);
    assert!(set.has_custom());
    assert_eq!(set.judge(&subject).verdict, Verdict::Allow { by: None });

    let unknown = Unusable::Unknown("who".into());
    let broken = |path| Policies::new([custom("x", Err(unknown.clone()), path)]);
    let by = RuleName { policy: name("x"), rule: 0 };
    let denial = Denial::Unusable { by: by.clone(), why: unknown.clone() };
    assert_eq!(denial.details(), "rbac_access_denied_matched_policy[ns[ns]-policy[x]-rule[0]]");
    assert_eq!(broken("/").of(None).custom(&subject), Err(denial.clone()));
    assert_eq!(broken("/").of(None).explain(&subject).custom, Err(denial));
    assert!(broken("/other").of(None).custom(&subject).unwrap().is_empty());

    // About plain TCP only gRPC can be asked; a rule's path asks nothing there.
    let tcp = Subject::tcp(connection(None));
    let asks = |provider: &Arc<Provider>| {
        let policies = Policies::new([custom("x", Ok(provider.clone()), "/")]);
        policies.of(None).custom(&tcp).map(|asked| asked.len())
    };
    assert_eq!(asks(&one), Ok(1));
    assert_eq!(asks(&two), Err(Denial::Unusable { by, why: Unusable::NeedsHttp("two".into()) }));
}

#[test]
fn a_policy_that_nobody_could_read_refuses_everybody() {
    let request = Request::get("/");
    let subject = Subject::http(connection(None), http(&request, None));
    let policy = Policy::unreadable(name("p"), vec![Target::Gateway]);
    assert!(decide(&[policy], &subject).is_deny());
}
