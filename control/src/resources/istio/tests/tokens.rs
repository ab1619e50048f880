//! `RequestAuthentication`: the table of waypoint.md §12.1.
use std::time::Duration;

use adit_core::l7::jwt::{ClaimToHeader, JwtRule, KeySource, Place};

use super::*;

const JWKS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn rules(rule: &str) -> Compiled {
    let target = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]";
    compiled(&document("RequestAuthentication", "shop", "ra", &format!("{{{target}, jwtRules: [{rule}]}}")))
}

fn jwks() -> String {
    serde_json::to_string(JWKS).unwrap()
}

/// The one rule that is read.
fn rule(compiled: &Compiled) -> JwtRule {
    let rules = compiled.snapshot.authentications.of(None);
    let mut rules = rules.rules();
    let rule = rules.next().unwrap_or_else(|| panic!("{:?}", compiled.problems)).clone();
    assert!(rules.next().is_none());
    rule
}

#[test]
fn every_field_of_a_rule() {
    let inline = || KeySource::Inline(JWKS.into());
    let base = || JwtRule::new("https://iss/", inline());
    let with = |fields: &str| format!("{{issuer: https://iss/, jwks: {}, {fields}}}", jwks());
    let uri = |url: &str, seconds| KeySource::Uri { url: url.into(), timeout: Duration::from_secs(seconds) };
    for (text, expected) in [
        (with(""), base()),
        (with("audiences: [a, b]"), JwtRule { audiences: vec!["a".into(), "b".into()], ..base() }),
        (
            "{issuer: https://iss/, jwksUri: https://iss/keys}".to_owned(),
            JwtRule { keys: uri("https://iss/keys", 5), ..base() },
        ),
        (
            "{issuer: https://iss/, jwksUri: http://keys.ns.svc:8000/, timeout: 2s}".to_owned(),
            JwtRule { keys: uri("http://keys.ns.svc:8000/", 2), ..base() },
        ),
        (
            "{issuer: https://iss/}".to_owned(),
            JwtRule {
                keys: KeySource::Discovery { issuer: "https://iss/".into(), timeout: Duration::from_secs(5) },
                ..base()
            },
        ),
        (
            with(
                "fromHeaders: [{name: X-Jwt, prefix: \"JWT \"}, {name: x-b}], fromParams: [t], fromCookies: [c]",
            ),
            JwtRule {
                places: vec![
                    Place::Header { name: "x-jwt".into(), prefix: "JWT ".into() },
                    Place::Header { name: "x-b".into(), prefix: "".into() },
                    Place::Param("t".into()),
                    Place::Cookie("c".into()),
                ],
                ..base()
            },
        ),
        (with("forwardOriginalToken: true"), JwtRule { forward: true, ..base() }),
        (
            with("outputPayloadToHeader: X-Payload"),
            JwtRule { payload_header: Some("x-payload".into()), ..base() },
        ),
        (
            with("outputClaimToHeaders: [{header: X-Sub, claim: sub}]"),
            JwtRule {
                claim_headers: vec![ClaimToHeader { header: "x-sub".into(), claim: "sub".into() }],
                ..base()
            },
        ),
        (with("spaceDelimitedClaims: [roles]"), JwtRule { spaced: vec!["roles".into()], ..base() }),
    ] {
        let compiled = rules(&text);
        assert_eq!(compiled.problems, [], "{text}");
        assert_eq!(rule(&compiled), expected, "{text}");
        assert_eq!(compiled.snapshot.authentications.sources().collect::<Vec<_>>(), [&expected.keys]);
    }
}

#[test]
fn a_rule_with_a_mistake_in_it_accepts_no_token() {
    let inline = jwks();
    let secret = serde_json::to_string(r#"{"keys":[{"kty":"oct","k":"AQ"}]}"#).unwrap();
    let long = "x".repeat(2048);
    for (text, field) in [
        (format!("{{jwks: {inline}}}"), "issuer"),
        (format!("{{issuer: i, jwks: {inline}, jwksUri: https://a/}}"), "jwks"),
        (format!("{{issuer: i, jwks: {inline}, unknown: 1}}"), "unknown"),
        ("{issuer: i, jwks: nonsense}".to_owned(), "jwks"),
        (format!("{{issuer: i, jwks: {secret}}}"), "jwks"),
        ("{issuer: i, jwksUri: ftp://a/}".to_owned(), "jwksUri"),
        ("{issuer: i, jwksUri: keys.json}".to_owned(), "jwksUri"),
        (format!("{{issuer: i, jwksUri: https://a/{long}}}"), "jwksUri"),
        ("{issuer: not-a-url}".to_owned(), "jwksUri"),
        ("{issuer: i, jwksUri: https://a/, timeout: soon}".to_owned(), "timeout"),
        ("{issuer: i, jwksUri: https://a/, timeout: 0s}".to_owned(), "timeout"),
        (format!("{{issuer: i, jwks: {inline}, fromHeaders: [{{name: \"a b\"}}]}}"), "fromHeaders[0].name"),
        (format!("{{issuer: i, jwks: {inline}, outputPayloadToHeader: \"a b\"}}"), "outputPayloadToHeader"),
    ] {
        let compiled = rules(&text);
        let told = format!("spec.jwtRules[0].{field}");
        assert!(
            compiled.problems.iter().any(|problem| problem.field == told),
            "{text}: {:?}",
            compiled.problems
        );
        assert!(matches!(rule(&compiled).keys, KeySource::Unusable(_)), "{text}");
        assert!(!verdict(&compiled.snapshot, None, &Asked::default()).is_deny(), "{text}");
    }
}

#[test]
fn what_cannot_be_read_at_all_refuses_everything() {
    for text in ["7", "{issuer: [i]}", "{issuer: i, forwardOriginalToken: maybe}"] {
        let compiled = rules(text);
        assert!(!compiled.problems.is_empty());
        assert!(verdict(&compiled.snapshot, None, &Asked::default()).is_deny(), "{text}");
    }
    let ignored = document("RequestAuthentication", "shop", "ra", "{selector: {}, jwtRules: [7]}");
    let ignored = compiled(&ignored);
    assert!(ignored.snapshot.authentications.of(None).is_empty() && ignored.problems.len() == 1);
    assert!(!verdict(&ignored.snapshot, None, &Asked::default()).is_deny());
}
