//! A slow judge that knows no pattern but regular expressions, and random policies for both.
use alloc::boxed::Box;
use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::*;
use crate::l7::Regex;

/// A condition as it is written.
#[derive(Clone, Debug)]
struct Raw {
    attribute: Option<Attribute>,
    values: Vec<&'static str>,
    not_values: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct RawPolicy {
    action: usize,
    rules: Vec<Vec<Vec<Vec<Raw>>>>,
}

/// What is asked about, as texts.
#[derive(Clone, Debug)]
struct Case {
    source: Option<Identity>,
    request: Option<Request>,
    auth: Option<Authenticated>,
    sni: Option<&'static str>,
}

const TEXTS: [&str; 11] = ["a", "b", "a*", "*b", "*", "ab", "A", "", "a*b", "a/b", "GET"];
const PATHS: [&str; 8] = ["/a", "/a*", "*b", "*", "/a/{*}", "/a/{**}", "/{*}/b", "/bad{*}"];
const PRINCIPALS: [&str; 6] = ["td/ns/a/sa/b", "td/*", "*/sa/b", "*", "other/ns/a/sa/b", "td/ns/a*"];
const TOKENS: [&str; 6] = ["https://i/s", "https://i/*", "*", "*/s", "i/s", "https*"];
const NETS: [&str; 5] = ["10.0.1.7", "10.0.1.0/24", "192.0.2.0/24", "0.0.0.0/0", "bad"];
const PORTS: [&str; 3] = ["8080", "80", "bad"];
const ACCOUNTS: [&str; 4] = ["a/b", "b", "ns/b", "*"];
const HOSTS: [&str; 5] = ["echo", "ECHO", "echo:80", "*", "ec*"];

fn attributes() -> Vec<(Option<Attribute>, &'static [&'static str])> {
    let claim = |names: &[&str]| Attribute::Claim(names.iter().map(|&name| Box::from(name)).collect());
    vec![
        (Some(Attribute::Principal), &PRINCIPALS),
        (Some(Attribute::ServiceAccount), &ACCOUNTS),
        (Some(Attribute::Namespace), &TEXTS),
        (Some(Attribute::TrustDomain), &["td", "t*", "other"]),
        (Some(Attribute::RequestPrincipal), &TOKENS),
        (Some(Attribute::SourceIp), &NETS),
        (Some(Attribute::RemoteIp), &NETS),
        (Some(Attribute::DestinationIp), &NETS),
        (Some(Attribute::DestinationPort), &PORTS),
        (Some(Attribute::Host), &HOSTS),
        (Some(Attribute::Method), &TEXTS),
        (Some(Attribute::Path), &PATHS),
        (Some(Attribute::Sni), &TEXTS),
        (Some(Attribute::Header("x".into())), &TEXTS),
        (Some(Attribute::Audience), &TEXTS),
        (Some(Attribute::Presenter), &TEXTS),
        (Some(claim(&["scope"])), &TEXTS),
        (Some(claim(&["deep", "er"])), &TEXTS),
        (None, &TEXTS),
    ]
}

/// `x*` and the like, as an expression.
fn holds(value: &str, text: &str) -> bool {
    let quote = |text: &str| text.chars().map(|c| format!("\\x{{{:x}}}", u32::from(c))).collect::<String>();
    let expression = match value {
        "*" => ".+".to_string(),
        _ if value.starts_with('*') => format!(".*{}", quote(&value[1..])),
        _ if value.ends_with('*') => format!("{}.*", quote(&value[..value.len() - 1])),
        _ => quote(value),
    };
    Regex::new(&format!("(?s){expression}")).unwrap().matches(text.as_bytes())
}

/// Whether one value hits; `None`: it cannot be read.
fn hit(case: &Case, attribute: &Attribute, value: &str, in_doubt: bool) -> Option<bool> {
    let texts: Vec<String> = match attribute {
        Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp => {
            let ip: IpAddr = match attribute {
                Attribute::DestinationIp => "10.0.2.9",
                Attribute::RemoteIp if case.request.is_some() => "192.0.2.1",
                _ => "10.0.1.7",
            }
            .parse()
            .unwrap();
            let net = value.parse().ok().or_else(|| value.parse::<IpAddr>().ok().map(IpNet::from))?;
            return Some(net.contains(&ip));
        }
        Attribute::DestinationPort => return Some(value.parse::<u16>().ok()? == 8080),
        Attribute::ServiceAccount => {
            if value.contains('*') {
                return None;
            }
            let full = if value.contains('/') { value.to_string() } else { format!("ns/{value}") };
            let own = |id: &Identity| format!("{}/{}", id.namespace(), id.service_account());
            return Some(case.source.as_ref().map(own) == Some(full));
        }
        Attribute::RequestPrincipal => {
            let Some(auth) = &case.auth else { return Some(false) };
            let Some(subject) = auth.subject() else { return Some(false) };
            return Some(match value.rsplit_once('/') {
                Some((issuer, to)) => holds(issuer, auth.issuer()) && holds(to, subject),
                None => holds(value, &format!("{}/{subject}", auth.issuer())),
            });
        }
        Attribute::Path if value.contains('{') => {
            let expression = match value {
                "/a/{*}" => "/a/[^/]+",
                "/a/{**}" => "/a/.*",
                "/{*}/b" => "/[^/]+/b",
                _ => return None,
            };
            let path = case.request.as_ref().map(|request| crate::l7::Request::path(request).to_string());
            return Some(path.is_some_and(|path| Regex::new(expression).unwrap().matches(path.as_bytes())));
        }
        Attribute::Principal => case.source.iter().map(|id| id.principal().to_string()).collect(),
        Attribute::Namespace => case.source.iter().map(|id| id.namespace().to_string()).collect(),
        Attribute::TrustDomain => case.source.iter().map(|id| id.trust_domain().to_string()).collect(),
        Attribute::Sni => case.sni.iter().map(ToString::to_string).collect(),
        Attribute::Host | Attribute::Method | Attribute::Path | Attribute::Header(_) => {
            let Some(request) = &case.request else { return Some(false) };
            match attribute {
                Attribute::Host => return Some(holds(&value.to_lowercase(), "echo")),
                Attribute::Method => vec![crate::l7::Request::method(request).to_string()],
                Attribute::Path => vec![crate::l7::Request::path(request).to_string()],
                _ => {
                    let each = request.values("x");
                    let joined = (!each.is_empty()).then(|| each.join(","));
                    let alone = each.iter().filter(|_| in_doubt).map(ToString::to_string);
                    joined.into_iter().chain(alone).collect()
                }
            }
        }
        Attribute::Audience | Attribute::Presenter | Attribute::Claim(_) => {
            let Some(auth) = &case.auth else { return Some(false) };
            let claim = match attribute {
                Attribute::Audience => auth.claims().get("aud"),
                Attribute::Presenter => auth.claims().get("azp").filter(|azp| azp.text().is_some()),
                Attribute::Claim(path) => auth.claims().at(path.iter().map(|name| &**name)),
                _ => None,
            };
            let split = matches!(attribute, Attribute::Claim(path) if *path[0] == *"scope");
            let whole: Vec<String> = match claim {
                Some(Claim::Text(text)) => vec![text.to_string()],
                Some(Claim::List(list)) => list.iter().filter_map(Claim::text).map(Into::into).collect(),
                _ => vec![],
            };
            match split {
                true => whole.iter().flat_map(|text| text.split_whitespace()).map(Into::into).collect(),
                false => whole,
            }
        }
    };
    if *attribute == Attribute::Namespace && value == "a*b" {
        return Some(texts.iter().any(|text| Regex::new("a.*b").unwrap().matches(text.as_bytes())));
    }
    Some(texts.iter().any(|text| holds(value, text)))
}

fn condition(case: &Case, raw: &Raw, allow: bool) -> bool {
    let Some(attribute) = &raw.attribute else { return !allow };
    if case.request.is_none() && attribute.is_http_only() {
        return !allow;
    }
    let any = |values: &[&str], in_doubt: bool| {
        values.iter().any(|value| hit(case, attribute, value, in_doubt).unwrap_or(in_doubt))
    };
    (raw.values.is_empty() || any(&raw.values, !allow)) && !any(&raw.not_values, allow)
}

fn matching(case: &Case, policy: &RawPolicy) -> bool {
    let allow = policy.action == 0;
    let dropped = |rule: &[Vec<Vec<Raw>>]| {
        allow
            && rule.iter().flatten().flatten().any(|raw| {
                let http = raw.attribute.as_ref().is_some_and(Attribute::is_http_only);
                raw.attribute.is_none() || (http && case.request.is_none())
            })
    };
    policy.rules.iter().any(|rule| {
        !dropped(rule)
            && rule.iter().all(|clause| {
                clause.is_empty() || clause.iter().any(|m| m.iter().all(|raw| condition(case, raw, allow)))
            })
    })
}

/// Denied, audited.
fn judge(case: &Case, policies: &[RawPolicy]) -> (bool, bool) {
    let any = |action| policies.iter().any(|policy| policy.action == action && matching(case, policy));
    let allows = policies.iter().any(|policy| policy.action == 0);
    (any(1) || (allows && !any(0)), any(2))
}

fn real(policies: &[RawPolicy]) -> Vec<Policy> {
    let of = |raw: &Raw| match &raw.attribute {
        None => Condition::Unknown("x".into()),
        Some(attribute) => Condition::new(attribute.clone(), &raw.values, &raw.not_values, "ns"),
    };
    let clause = |clause: &Vec<Vec<Raw>>| Clause {
        matches: clause.iter().map(|m| Match { conditions: m.iter().map(of).collect() }).collect(),
    };
    let rules = |rules: &[Vec<Vec<Vec<Raw>>>]| {
        rules.iter().map(|rule| Rule::new(rule.iter().map(clause).collect())).collect()
    };
    let action = |action: usize| [Action::Allow, Action::Deny, Action::Audit][action].clone();
    let policies = policies.iter().enumerate();
    policies
        .map(|(number, raw)| policy(&format!("p{number}"), action(raw.action), rules(&raw.rules)))
        .collect()
}

fn decided(case: &Case, policies: Vec<Policy>) -> Decision {
    let connection = Connection { sni: case.sni, ..connection(case.source.as_ref()) };
    let policies = Policies::new(policies);
    let set = policies.of(None);
    match &case.request {
        Some(request) => set.judge(&Subject::http(connection, http(request, case.auth.as_ref()))),
        None => set.judge(&Subject::tcp(connection)),
    }
}

fn raw() -> impl Strategy<Value = Raw> {
    prop::sample::select(attributes()).prop_flat_map(|(attribute, pool)| {
        let values = || prop::collection::vec(prop::sample::select(pool), 0..3);
        (values(), values()).prop_map(move |(values, not_values)| Raw {
            attribute: attribute.clone(),
            values,
            not_values,
        })
    })
}

fn policies() -> impl Strategy<Value = Vec<RawPolicy>> {
    let m = prop::collection::vec(raw(), 1..3);
    let clause = prop::collection::vec(m, 0..3);
    let rule = prop::collection::vec(clause, 0..3);
    let policy = (0_usize..3, prop::collection::vec(rule, 0..3));
    prop::collection::vec(policy.prop_map(|(action, rules)| RawPolicy { action, rules }), 0..5)
}

fn case() -> impl Strategy<Value = Case> {
    let source = prop::sample::select(vec![
        None,
        Some("spiffe://td/ns/a/sa/b"),
        Some("spiffe://other/ns/b/sa/b"),
        Some("spiffe://td/ns/ab/sa/ns"),
    ]);
    let values = prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", ""]), 0..3);
    let path = prop::sample::select(vec!["/a", "/a/", "/a/b", "/x/b", "/", "/a/b/c"]);
    let method = prop::sample::select(vec!["GET", "a"]);
    let request = prop::option::weighted(0.8, (path, method, values));
    let claims = ["a b", "b", ""].map(|text| Claim::Text(text.into()));
    let claim =
        prop::sample::select([claims.to_vec(), vec![Claim::List(claims.to_vec()), Claim::Null]].concat());
    let auth = prop::option::of((claim.clone(), claim.clone(), claim, any::<bool>()));
    let sni = prop::option::of(prop::sample::select(vec!["a", "b"]));
    (source, request, auth, sni).prop_map(|(source, request, auth, sni)| {
        let request = request.map(|(path, method, values)| {
            values.iter().fold(Request::get(path).by(method), |request, value| request.with("x", value))
        });
        let auth = auth.filter(|_| request.is_some()).map(|(aud, scope, deep, known)| {
            let mut claims: BTreeMap<Box<str>, Claim> = BTreeMap::new();
            claims.insert("azp".into(), aud.clone());
            claims.insert("aud".into(), aud);
            claims.insert("scope".into(), scope);
            claims.insert("deep".into(), Claim::Map([("er".into(), deep)].into()));
            if known {
                claims.insert("sub".into(), Claim::Text("s".into()));
            }
            Authenticated::new(Claim::Map(claims), "https://i", [])
        });
        Case { source: source.map(identity), request, auth, sni }
    })
}

proptest! {
    #[test]
    fn decides_as_the_slow_judge(case in case(), policies in policies()) {
        let decision = decided(&case, real(&policies));
        prop_assert_eq!((decision.verdict.is_deny(), decision.audit.is_some()), judge(&case, &policies));
    }

    #[test]
    fn another_deny_policy_admits_nobody(case in case(), policies in policies(), more in policies()) {
        let before = decided(&case, real(&policies));
        let mut all = policies;
        all.extend(more.into_iter().map(|policy| RawPolicy { action: 1, ..policy }));
        prop_assert!(!before.verdict.is_deny() || decided(&case, real(&all)).verdict.is_deny());
    }

    #[test]
    fn the_order_of_policies_means_nothing(case in case(), policies in policies(), turn in 0_usize..5) {
        let real = real(&policies);
        let mut turned = real.clone();
        turned.reverse();
        let by = turn.min(turned.len());
        turned.rotate_left(by);
        prop_assert_eq!(decided(&case, real), decided(&case, turned));
    }
}
