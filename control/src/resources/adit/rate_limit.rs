//! `RateLimitPolicy`: how many requests may pass, counted here and by a rate limit service (waypoint.md §16).
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::rate::{
    DescriptorRule, GlobalLimit, LimitAnswer, LocalLimit, Masked, Part, RatePolicy, Unit,
};
use adit_core::l7::{Named, Rate, Regex, Scoped, Target, TextMatch};
use serde::Deserialize;

use super::super::istio::values::{GoDuration, Reader};
use super::super::services::Services;
use super::super::{Severity, World};
use super::target::{self, TargetRef};

/// Keys that a limit tells apart, where it says nothing.
const MAX_KEYS: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    target_refs: Vec<TargetRef>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    local: Vec<Local>,
    global: Option<Global>,
    #[serde(default)]
    response: Response,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Mode {
    #[default]
    Enforce,
    /// Counts, and refuses nobody.
    Shadow,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Local {
    requests: u32,
    per: GoDuration,
    burst: Option<u32>,
    #[serde(default)]
    by: Vec<PartSpec>,
    max_keys: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Global {
    service: ServiceRef,
    domain: String,
    descriptors: Vec<DescriptorSpec>,
    timeout: Option<GoDuration>,
    #[serde(default)]
    failure_mode: FailureMode,
}

#[derive(Deserialize)]
struct ServiceRef {
    name: String,
    namespace: Option<String>,
    port: u16,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum FailureMode {
    #[default]
    Allow,
    Deny,
}

#[derive(Deserialize)]
struct DescriptorSpec {
    entries: Vec<PartSpec>,
    limit: Option<LimitSpec>,
    hits: Option<u32>,
}

#[derive(Deserialize)]
struct LimitSpec {
    requests: u32,
    unit: UnitSpec,
}

#[derive(Clone, Copy, Deserialize)]
enum UnitSpec {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: Option<u16>,
    #[serde(default)]
    resource_exhausted: bool,
    #[serde(default)]
    rate_limit_headers: bool,
    retry_after: Option<bool>,
    envoy_header: Option<bool>,
}

/// One thing that requests are told apart by.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum PartSpec {
    GenericKey { key: Option<String>, value: String },
    Header(OfName),
    QueryParameter(OfName),
    HeaderMatch(Matching),
    QueryMatch(Matching),
    RemoteAddress,
    MaskedAddress(MaskSpec),
    SourceCluster,
    Destination,
    Principal,
    Namespace,
    Claim { name: Option<String>, path: Option<Vec<String>>, key: Option<String> },
    GrpcMethod,
    Method,
    Path,
}

#[derive(Deserialize)]
struct OfName {
    name: String,
    key: Option<String>,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Matching {
    key: Option<String>,
    value: String,
    conditions: Vec<ConditionSpec>,
    expect_match: Option<bool>,
}

/// A condition on a header or a query parameter.
#[derive(Deserialize)]
pub(super) struct ConditionSpec {
    name: String,
    exact: Option<String>,
    regex: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MaskSpec {
    v4_prefix_length: Option<u8>,
    v6_prefix_length: Option<u8>,
}

/// Reads one.
pub(super) fn read(
    reader: &mut Reader<'_>,
    world: &World,
    services: &Services,
    scoped: &mut Scoped<RatePolicy>,
) {
    let object = reader.object;
    let Some(spec) = object.spec::<Spec>(reader.problems) else { return };
    let scopes = target::scopes(reader, world, services, &spec.target_refs);
    if spec.local.is_empty() && spec.global.is_none() {
        reader.tell(Severity::Malformed, "spec", "neither local nor global limits anything");
    }
    let local = spec
        .local
        .iter()
        .enumerate()
        .filter_map(|(index, limit)| local(reader, &format!("spec.local[{index}]"), limit));
    let local = local.collect();
    let global = spec.global.as_ref().map(|it| global(reader, world, it));
    let policy = Arc::new(RatePolicy {
        name: format!("{}/{}", object.namespace, object.name).into(),
        shadow: spec.mode == Mode::Shadow,
        local,
        global,
        answer: answer(reader, &spec.response),
    });
    for scope in scopes {
        scoped.insert(scope, Arc::clone(&policy));
    }
}

fn local(reader: &mut Reader<'_>, field: &str, limit: &Local) -> Option<LocalLimit> {
    if limit.per.0.is_zero() {
        reader.tell(
            Severity::Malformed,
            &format!("{field}.per"),
            "expected more than 0: how long `requests` are for",
        );
        return None;
    }
    let rate = Rate {
        max_tokens: limit.burst.unwrap_or(limit.requests),
        tokens_per_fill: limit.requests,
        fill_interval: limit.per.0,
    };
    let by = parts(reader, &format!("{field}.by"), &limit.by)?;
    Some(LocalLimit { rate, by, max_keys: limit.max_keys.unwrap_or(MAX_KEYS) })
}

fn global(reader: &mut Reader<'_>, world: &World, global: &Global) -> GlobalLimit {
    let mut descriptors = Vec::new();
    for (index, one) in global.descriptors.iter().enumerate() {
        let field = format!("spec.global.descriptors[{index}]");
        let Some(parts) = parts(reader, &format!("{field}.entries"), &one.entries) else { continue };
        let limit = one.limit.as_ref().map(|limit| (limit.requests, unit(limit.unit)));
        descriptors.push(DescriptorRule { parts, limit, hits: one.hits });
    }
    if descriptors.is_empty() {
        reader.tell(
            Severity::Malformed,
            "spec.global.descriptors",
            "there is none, so nothing is ever asked",
        );
    }
    let namespace = global.service.namespace.as_deref().unwrap_or(&reader.object.namespace);
    GlobalLimit {
        service: Target {
            service: world.service(namespace, &global.service.name),
            port: global.service.port,
        },
        domain: global.domain.as_str().into(),
        descriptors,
        timeout: global.timeout.map_or(Duration::from_millis(20), |it| it.0),
        deny_on_failure: global.failure_mode == FailureMode::Deny,
    }
}

const fn unit(unit: UnitSpec) -> Unit {
    match unit {
        UnitSpec::Second => Unit::Second,
        UnitSpec::Minute => Unit::Minute,
        UnitSpec::Hour => Unit::Hour,
        UnitSpec::Day => Unit::Day,
        UnitSpec::Week => Unit::Week,
        UnitSpec::Month => Unit::Month,
        UnitSpec::Year => Unit::Year,
    }
}

fn answer(reader: &mut Reader<'_>, response: &Response) -> LimitAnswer {
    let defaults = LimitAnswer::default();
    let status = match response.status {
        Some(status @ 400..=599) => status,
        Some(status) => {
            let text = format!("{status} is no status of a refusal: expected 400 to 599; 429 is used");
            reader.tell(Severity::Malformed, "spec.response.status", text);
            defaults.status
        }
        None => defaults.status,
    };
    LimitAnswer {
        status,
        resource_exhausted: response.resource_exhausted,
        quota_headers: response.rate_limit_headers,
        retry_after: response.retry_after.unwrap_or(defaults.retry_after),
        envoy_header: response.envoy_header.unwrap_or(defaults.envoy_header),
    }
}

/// `None`: one of them is none, which has been told; with fewer, more requests would share one key.
fn parts(reader: &mut Reader<'_>, field: &str, written: &[PartSpec]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for (index, one) in written.iter().enumerate() {
        parts.push(part(reader, &format!("{field}[{index}]"), one)?);
    }
    Some(parts)
}

fn part(reader: &mut Reader<'_>, field: &str, part: &PartSpec) -> Option<Part> {
    let key = |key: &Option<String>, default: &str| key.as_deref().unwrap_or(default).into();
    Some(match part {
        PartSpec::GenericKey { key: name, value } => {
            Part::Generic { key: key(name, "generic_key"), value: value.as_str().into() }
        }
        PartSpec::Header(it) => Part::Header {
            key: key(&it.key, &it.name),
            name: it.name.to_ascii_lowercase().into(),
            optional: it.optional,
        },
        PartSpec::QueryParameter(it) => {
            Part::Query { key: key(&it.key, &it.name), name: it.name.as_str().into(), optional: it.optional }
        }
        PartSpec::HeaderMatch(it) => {
            let headers = of_headers(reader, &format!("{field}.headerMatch.conditions"), &it.conditions)?;
            let (value, expect) = (it.value.as_str().into(), it.expect_match.unwrap_or(true));
            Part::HeaderMatch { key: key(&it.key, "header_match"), value, headers, expect }
        }
        PartSpec::QueryMatch(it) => {
            let parameters = conditions(reader, &format!("{field}.queryMatch.conditions"), &it.conditions)?;
            let (value, expect) = (it.value.as_str().into(), it.expect_match.unwrap_or(true));
            Part::QueryMatch { key: key(&it.key, "query_match"), value, parameters, expect }
        }
        PartSpec::RemoteAddress => Part::RemoteAddress,
        PartSpec::MaskedAddress(mask) => {
            let (v4, v6) = (mask.v4_prefix_length.unwrap_or(32), mask.v6_prefix_length.unwrap_or(128));
            if v4 > 32 || v6 > 128 {
                let text = format!("/{v4} and /{v6} are no lengths of prefixes: expected at most 32 and 128");
                reader.tell(Severity::Malformed, &format!("{field}.maskedAddress"), text);
                return None;
            }
            Part::MaskedAddress(Masked { v4, v6 })
        }
        PartSpec::SourceCluster => Part::SourceCluster,
        PartSpec::Destination => Part::Destination,
        PartSpec::Principal => Part::Principal,
        PartSpec::Namespace => Part::Namespace,
        PartSpec::Claim { name, path, key: entry } => {
            let path = path.clone().or_else(|| Some(vec![name.clone()?])).filter(|path| !path.is_empty());
            let Some(path) = path else {
                reader.tell(
                    Severity::Malformed,
                    &format!("{field}.claim"),
                    "expected name, or path for what is inside of a claim",
                );
                return None;
            };
            let key = key(entry, &path.join("."));
            Part::Claim { key, path: path.into_iter().map(Into::into).collect() }
        }
        PartSpec::GrpcMethod => Part::GrpcMethod,
        PartSpec::Method => Part::Method,
        PartSpec::Path => Part::Path,
    })
}

/// Conditions on headers, whose names are in lower case.
pub(super) fn of_headers(
    reader: &mut Reader<'_>,
    field: &str,
    written: &[ConditionSpec],
) -> Option<Vec<Named>> {
    let mut headers = conditions(reader, field, written)?;
    headers.iter_mut().for_each(|named| named.name.make_ascii_lowercase());
    Some(headers)
}

/// Conditions on parameters, or on headers but for their names' case.
fn conditions(reader: &mut Reader<'_>, field: &str, written: &[ConditionSpec]) -> Option<Vec<Named>> {
    let mut conditions = Vec::new();
    for (index, one) in written.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let value = match (&one.exact, &one.regex) {
            (Some(text), None) => TextMatch::Exact(text.as_str().into()),
            (None, Some(text)) => match Regex::new(text) {
                Ok(regex) => TextMatch::Regex(regex),
                Err(error) => {
                    reader.tell(Severity::Malformed, &format!("{field}.regex"), error);
                    return None;
                }
            },
            _ => {
                reader.tell(Severity::Malformed, &field, "expected one of exact and regex");
                return None;
            }
        };
        conditions.push(Named { name: one.name.as_str().into(), value });
    }
    Some(conditions)
}
