//! The judge beside a slow one that was written from the tables, and what holds for any policies.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::identity::Identity;
use crate::l7::jwt::{Authenticated, Claim};
use crate::l7::tests::Asked as Request;
use crate::mesh::{PolicyName, Service, ServiceName};

mod attached;
mod closed;
mod reference;

fn name(name: &str) -> PolicyName {
    PolicyName { namespace: "ns".into(), name: name.into() }
}

/// A rule of conditions that must all hold.
fn rule(conditions: impl IntoIterator<Item = Condition>) -> Rule {
    let clause = |condition| Clause { matches: vec![Match { conditions: vec![condition] }] };
    Rule::new(conditions.into_iter().map(clause).collect())
}

fn policy(named: &str, action: Action, rules: Vec<Rule>) -> Policy {
    Policy { name: name(named), action, targets: vec![Target::Gateway], rules, dry_run: false }
}

fn is(attribute: Attribute, values: &[&str]) -> Condition {
    Condition::new(attribute, values, &[], "ns")
}

fn is_not(attribute: Attribute, values: &[&str]) -> Condition {
    Condition::new(attribute, &[], values, "ns")
}

fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

fn connection(source: Option<&Identity>) -> Connection<'_> {
    Connection {
        source,
        source_ip: "10.0.1.7".parse().unwrap(),
        destination: "10.0.2.9:8080".parse().unwrap(),
        sni: None,
    }
}

fn http<'a>(request: &'a Request, auth: Option<&'a Authenticated>) -> Http<'a, Request> {
    Http { request, remote_ip: "192.0.2.1".parse().unwrap(), auth }
}

fn decide<R: crate::l7::Request>(policies: &[Policy], subject: &Subject<'_, R>) -> Verdict {
    Policies::new(policies.to_vec()).of(None).judge(subject).verdict
}

fn service(namespace: &str, hostname: &str, object: &str) -> Service {
    let name = ServiceName { namespace: namespace.into(), hostname: hostname.into() };
    Service { object_name: object.into(), ..Service::new(name) }
}

#[test]
fn whose_request_it_is_is_said_by_the_last_proxy_that_is_trusted() {
    let peer: IpAddr = "10.0.0.1".parse().unwrap();
    for (headers, hops, expected) in [
        (&[][..], 0, "10.0.0.1"),
        (&["192.0.2.1"], 0, "192.0.2.1"),
        (&["192.0.2.1, 192.0.2.2"], 0, "192.0.2.2"),
        (&["192.0.2.1, 192.0.2.2"], 1, "192.0.2.1"),
        (&["192.0.2.1", "192.0.2.2,192.0.2.3"], 2, "192.0.2.1"),
        (&["192.0.2.1"], 1, "10.0.0.1"),
        (&["evil"], 0, "10.0.0.1"),
        (&["192.0.2.1:80"], 0, "10.0.0.1"),
        (&["fd00::1"], 0, "fd00::1"),
        (&["192.0.2.1"], u32::MAX, "10.0.0.1"),
    ] {
        let request = headers.iter().fold(Request::get("/"), |r, value| r.with("x-forwarded-for", value));
        assert_eq!(client_ip(&request, peer, hops).to_string(), expected, "{headers:?} {hops}");
    }
}

#[test]
fn actions_count_in_their_order() {
    let request = Request::get("/admin");
    let subject = Subject::http(connection(None), http(&request, None));
    let hits = || vec![rule([is(Attribute::Path, &["/admin"])])];
    let misses = || vec![rule([is(Attribute::Path, &["/other"])])];
    let allow = |rules| policy("allow", Action::Allow, rules);
    let deny = |rules| policy("deny", Action::Deny, rules);
    let by = |policy: &str| RuleName { policy: name(policy), rule: 0 };
    for (policies, expected) in [
        (vec![], Verdict::Allow { by: None }),
        (vec![allow(vec![])], Verdict::Deny(Denial::NoneAllowed)),
        (vec![allow(misses())], Verdict::Deny(Denial::NoneAllowed)),
        (vec![allow(vec![Rule::default()])], Verdict::Allow { by: Some(by("allow")) }),
        (vec![allow(hits())], Verdict::Allow { by: Some(by("allow")) }),
        (vec![deny(vec![])], Verdict::Allow { by: None }),
        (vec![deny(misses())], Verdict::Allow { by: None }),
        (vec![deny(vec![Rule::default()])], Verdict::Deny(Denial::Explicit(by("deny")))),
        (vec![allow(hits()), deny(hits())], Verdict::Deny(Denial::Explicit(by("deny")))),
        (vec![allow(misses()), deny(misses())], Verdict::Deny(Denial::NoneAllowed)),
        (vec![policy("audit", Action::Audit, hits())], Verdict::Allow { by: None }),
    ] {
        assert_eq!(decide(&policies, &subject), expected, "{policies:?}");
    }
    let audit = Policies::new([policy("audit", Action::Audit, hits())]);
    assert_eq!(audit.of(None).judge(&subject).audit, Some(by("audit")));
}

#[test]
fn a_denial_is_told_as_in_envoy() {
    let denial = Denial::Explicit(RuleName { policy: name("p"), rule: 2 });
    assert_eq!(denial.details(), "rbac_access_denied_matched_policy[ns[ns]-policy[p]-rule[2]]");
    assert_eq!(Denial::NoneAllowed.details(), "rbac_access_denied_matched_policy[none]");
    assert_eq!((Denial::STATUS, Denial::BODY), (403, "RBAC: access denied"));
}

#[test]
fn policies_on_trial_are_told_and_not_done() {
    let request = Request::get("/a");
    let subject = Subject::http(connection(None), http(&request, None));
    let trial = |named, action, path: &str| Policy {
        dry_run: true,
        ..policy(named, action, vec![rule([is(Attribute::Path, &[path])])])
    };
    let told = |policies: Vec<Policy>| {
        let decision = Policies::new(policies).of(None).judge(&subject);
        assert_eq!(decision.verdict, Verdict::Allow { by: None });
        decision.on_trial.tags().into_iter().map(|(tag, value)| format!("{tag}={value}")).collect::<Vec<_>>()
    };
    let tag = "istio.authorization.dry_run";
    assert_eq!(told(vec![]), Vec::<String>::new());
    assert_eq!(
        told(vec![trial("d", Action::Deny, "/a"), trial("w", Action::Allow, "/b")]),
        [
            format!("{tag}.allow_policy.result=denied"),
            format!("{tag}.deny_policy.result=denied"),
            format!("{tag}.deny_policy.name=ns[ns]-policy[d]-rule[0]"),
        ]
    );
    assert_eq!(
        told(vec![trial("d", Action::Deny, "/b"), trial("w", Action::Allow, "/a")]),
        [
            format!("{tag}.allow_policy.result=allowed"),
            format!("{tag}.allow_policy.name=ns[ns]-policy[w]-rule[0]"),
            format!("{tag}.deny_policy.result=allowed"),
        ]
    );
}
