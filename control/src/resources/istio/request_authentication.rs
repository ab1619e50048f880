//! `RequestAuthentication` (security.istio.io/v1, waypoint.md §12).
use std::sync::Arc;

use adit_core::l7::authz::Policy;
use adit_core::l7::jwt::{ClaimToHeader, JwtRule, KeySource, Place, RequestAuthentication};
use serde::Deserialize;
use serde_json::Value;

use super::super::problem::{Problems, Severity};
use super::super::services::Services;
use super::super::{Object, Objects, World};
use super::SECURITY_GROUP;
use super::authorization_policy::{name, unreadable};
use super::duration;
use super::target::attached;
use crate::jwks::KeySet;

/// Kind.
pub(super) const KIND: &str = "RequestAuthentication";
/// Characters of a `jwksUri`, at most.
const MAX_URL: usize = 2048;
/// Items of `spaceDelimitedClaims`, at most.
const MAX_SPACED: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    /// Read one by one, so that one that makes no sense spoils no other.
    #[serde(default)]
    jwt_rules: Vec<Value>,
    // What it is for is read elsewhere.
    #[serde(rename = "selector")]
    _selector: Option<Value>,
    #[serde(rename = "targetRef")]
    _target_ref: Option<Value>,
    #[serde(rename = "targetRefs")]
    _target_refs: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleSpec {
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(alias = "jwks_uri")]
    jwks_uri: Option<String>,
    jwks: Option<String>,
    #[serde(default)]
    from_headers: Vec<FromHeader>,
    #[serde(default)]
    from_params: Vec<String>,
    #[serde(default)]
    from_cookies: Vec<String>,
    output_payload_to_header: Option<String>,
    #[serde(default)]
    forward_original_token: bool,
    #[serde(default)]
    output_claim_to_headers: Vec<ToHeader>,
    timeout: Option<String>,
    #[serde(default)]
    space_delimited_claims: Vec<String>,
}

#[derive(Deserialize)]
struct FromHeader {
    name: String,
    #[serde(default)]
    prefix: String,
}

#[derive(Deserialize)]
struct ToHeader {
    header: String,
    claim: String,
}

/// All that this waypoint goes by, and policies that refuse everything for what could not be read.
pub(super) fn translate(
    objects: &Objects,
    world: &World,
    services: &Services,
    problems: &mut Problems,
) -> (Vec<RequestAuthentication>, Vec<Policy>) {
    let (mut all, mut refusals) = (Vec::new(), Vec::new());
    for object in objects.of(SECURITY_GROUP, KIND) {
        let attached = attached(object, world, services, problems);
        if attached.targets.is_empty() {
            continue;
        }
        let before = problems.count();
        let spec = object.spec::<Spec>(problems);
        let sound = !attached.malformed && problems.count() == before;
        let rules = spec.filter(|_| sound).and_then(|spec| {
            let rules = spec.jwt_rules.iter().enumerate();
            rules
                .map(|(place, value)| rule(object, &format!("spec.jwtRules[{place}]"), value, problems))
                .collect()
        });
        match rules {
            Some(rules) => {
                let targets = attached.targets;
                all.push(RequestAuthentication { name: name(object), targets, rules });
            }
            None => {
                // Which tokens, in which places, told to the backend in which headers: nobody knows.
                let text = "nobody can tell which tokens this accepts: everything that it is for is denied";
                problems.push(object.id(), "spec", Severity::Malformed, text);
                refusals.push(unreadable(object, attached.targets));
            }
        }
    }
    (all, refusals)
}

/// `None`: it cannot be read at all. One with a mistake in it accepts no token.
fn rule(object: &Object, field: &str, value: &Value, problems: &mut Problems) -> Option<JwtRule> {
    let before = problems.count();
    let spec = object.read::<RuleSpec>(field, value, problems)?;
    let places = places(object, field, &spec, problems);
    let header = |name: &str, field: String, problems: &mut Problems| match http::HeaderName::try_from(name) {
        Ok(name) => Some(Box::from(name.as_str())),
        Err(_) => {
            problems.push(
                object.id(),
                field,
                Severity::Malformed,
                format!("{name:?} is no name of a header"),
            );
            None
        }
    };
    let payload_header = spec.output_payload_to_header.as_deref().filter(|name| !name.is_empty());
    let payload_header =
        payload_header.and_then(|name| header(name, format!("{field}.outputPayloadToHeader"), problems));
    let claim_headers = spec.output_claim_to_headers.iter().enumerate().filter_map(|(place, to)| {
        let field = format!("{field}.outputClaimToHeaders[{place}].header");
        Some(ClaimToHeader { header: header(&to.header, field, problems)?, claim: to.claim.as_str().into() })
    });
    let claim_headers = claim_headers.collect();
    if spec.space_delimited_claims.len() > MAX_SPACED {
        let field = format!("{field}.spaceDelimitedClaims");
        let text =
            format!("{} claims, but at most {MAX_SPACED} are allowed", spec.space_delimited_claims.len());
        problems.push(object.id(), field, Severity::Malformed, text);
    }
    if spec.issuer.is_empty() {
        let text = "is missing: tokens name their issuer, and only those of this one are accepted";
        problems.push(object.id(), format!("{field}.issuer"), Severity::Malformed, text);
    }
    let keys = keys(object, field, &spec, problems);
    let wrong = problems.iter().skip(before).find(|problem| problem.severity == Severity::Malformed);
    let keys = match wrong {
        Some(problem) => KeySource::Unusable(format!("{}: {}", problem.field, problem.text).into()),
        None => keys,
    };
    let boxed = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
    Some(JwtRule {
        issuer: spec.issuer.as_str().into(),
        audiences: boxed(&spec.audiences),
        keys,
        places,
        forward: spec.forward_original_token,
        payload_header,
        claim_headers,
        spaced: boxed(&spec.space_delimited_claims),
    })
}

fn places(object: &Object, field: &str, spec: &RuleSpec, problems: &mut Problems) -> Vec<Place> {
    let mut places = Vec::new();
    for (place, from) in spec.from_headers.iter().enumerate() {
        match http::HeaderName::try_from(&from.name) {
            Ok(name) => {
                places
                    .push(Place::Header { name: name.as_str().into(), prefix: from.prefix.as_str().into() });
            }
            Err(_) => {
                let field = format!("{field}.fromHeaders[{place}].name");
                let text = format!("{:?} is no name of a header", from.name);
                problems.push(object.id(), field, Severity::Malformed, text);
            }
        }
    }
    places.extend(spec.from_params.iter().map(|name| Place::Param(name.as_str().into())));
    places.extend(spec.from_cookies.iter().map(|name| Place::Cookie(name.as_str().into())));
    if places.is_empty() { Place::defaults() } else { places }
}

fn keys(object: &Object, field: &str, spec: &RuleSpec, problems: &mut Problems) -> KeySource {
    let mut told = |name: &str, severity, text: String| {
        problems.push(object.id(), format!("{field}.{name}"), severity, text);
    };
    let timeout = match &spec.timeout {
        None => KeySource::TIMEOUT,
        Some(text) => match duration::parse(text) {
            Ok(timeout) if !timeout.is_zero() => timeout,
            Ok(_) => {
                told("timeout", Severity::Malformed, "must be more than nothing".to_owned());
                KeySource::TIMEOUT
            }
            Err(error) => {
                told("timeout", Severity::Malformed, error.to_string());
                KeySource::TIMEOUT
            }
        },
    };
    let inline = spec.jwks.as_deref().filter(|text| !text.is_empty());
    let uri = spec.jwks_uri.as_deref().filter(|text| !text.is_empty());
    match (inline, uri) {
        (Some(_), Some(_)) => {
            told("jwks", Severity::Malformed, "a rule has jwks or jwksUri, not both".to_owned());
            KeySource::Unusable("two sets of keys".into())
        }
        (Some(text), None) => {
            match KeySet::parse(text.as_bytes()) {
                Ok((_, skipped)) => {
                    for key in skipped {
                        told("jwks", Severity::Note, key.to_string());
                    }
                }
                Err(error) => told("jwks", Severity::Malformed, error.to_string()),
            }
            KeySource::Inline(Arc::from(text))
        }
        (None, Some(url)) => {
            if !is_url(url) || url.len() > MAX_URL {
                let text = format!("{url:?} is no http or https URL of up to {MAX_URL} characters");
                told("jwksUri", Severity::Malformed, text);
            }
            KeySource::Uri { url: url.into(), timeout }
        }
        (None, None) => {
            if !is_url(&spec.issuer) {
                let text = "has neither jwks nor jwksUri, and the issuer is no URL that could name its keys";
                told("jwksUri", Severity::Malformed, text.to_owned());
            }
            KeySource::Discovery { issuer: spec.issuer.as_str().into(), timeout }
        }
    }
}

fn is_url(text: &str) -> bool {
    let url = text.parse::<http::Uri>().ok();
    url.is_some_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
}
