//! Which requests a rule of an `HTTPRoute` or a `GRPCRoute` is for (`matches`).
use adit_core::l7::{Named, PathMatch, Prefix, Regex, RouteMatch, TextMatch, valid_path};
use serde::Deserialize;
use serde_json::Value;

use super::headers::is_token;
use super::reading::Reading;

/// The methods that the API knows.
pub(super) const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpMatch {
    path: Option<PathCondition>,
    #[serde(default)]
    headers: Vec<Condition>,
    #[serde(default)]
    query_params: Vec<Condition>,
    method: Option<String>,
}

#[derive(Deserialize)]
struct PathCondition {
    r#type: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: Option<String>,
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct GrpcMatch {
    method: Option<MethodCondition>,
    #[serde(default)]
    headers: Vec<Condition>,
}

#[derive(Deserialize)]
struct MethodCondition {
    r#type: Option<String>,
    service: Option<String>,
    method: Option<String>,
}

/// What is characteristic of one kind of match.
type ReadMatch = fn(&mut Reading<'_>, &str, &Value) -> Option<RouteMatch>;

/// Matches of an `HTTPRoute`'s rule: none given is one for all requests.
pub(super) fn http(reading: &mut Reading<'_>, rule: &str, values: &[Value]) -> Vec<RouteMatch> {
    let all = || RouteMatch::http(None, None, Vec::new(), Vec::new());
    each(reading, rule, values, read_http, all)
}

/// Matches of a `GRPCRoute`'s rule: none given is one for all requests.
pub(super) fn grpc(reading: &mut Reading<'_>, rule: &str, values: &[Value]) -> Vec<RouteMatch> {
    each(reading, rule, values, read_grpc, || RouteMatch::grpc(None, None, Vec::new()))
}

/// A match that cannot be read is for no request: what it would have been for is not known. The rule's others stay, and get
/// status 500.
fn each(
    reading: &mut Reading<'_>,
    rule: &str,
    values: &[Value],
    read: ReadMatch,
    all: impl Fn() -> RouteMatch,
) -> Vec<RouteMatch> {
    let field = format!("{rule}.matches");
    reading.limit(&field, values.len(), 64);
    if values.is_empty() {
        return vec![all()];
    }
    let places = values.iter().enumerate();
    places.filter_map(|(index, value)| read(reading, &format!("{field}[{index}]"), value)).collect()
}

fn read_http(reading: &mut Reading<'_>, field: &str, value: &Value) -> Option<RouteMatch> {
    let spec: HttpMatch = reading.read(field, value)?;
    let path = match spec.path {
        None => None,
        Some(path) => Some(path_condition(reading, &format!("{field}.path"), &path)?),
    };
    if let Some(method) = spec.method.as_deref().filter(|method| !METHODS.contains(method)) {
        let text = format!("{method:?}: expected one of {}", METHODS.join(", "));
        reading.malformed(&format!("{field}.method"), text);
        return None;
    }
    let headers = conditions(reading, &format!("{field}.headers"), &spec.headers, 4096)?;
    let queries = conditions(reading, &format!("{field}.queryParams"), &spec.query_params, 1024)?;
    Some(RouteMatch::http(path, spec.method.as_deref(), headers, queries))
}

fn path_condition(reading: &mut Reading<'_>, field: &str, path: &PathCondition) -> Option<PathMatch> {
    let value = path.value.as_deref().unwrap_or("/");
    let kind = path.r#type.as_deref().unwrap_or("PathPrefix");
    if value.chars().count() > 1024 {
        reading.malformed(field, "longer than 1024 characters");
        return None;
    }
    if kind == "RegularExpression" {
        return regex(reading, field, value).map(PathMatch::Regex);
    }
    let plain =
        valid_path(value).is_ok() && path_characters(value) && !value.to_ascii_lowercase().contains("%2f");
    if matches!(kind, "Exact" | "PathPrefix") && !plain {
        let text = format!(
            "{value:?} is no path: it begins with / and has neither // nor /./ nor /../ nor an encoded slash nor ?, # or spaces"
        );
        reading.malformed(field, text);
        return None;
    }
    match kind {
        "Exact" => Some(PathMatch::Exact(value.into())),
        "PathPrefix" => Prefix::new(value).ok().map(PathMatch::Prefix),
        _ => {
            reading.unsupported(
                &format!("{field}.type"),
                format!("{kind:?}: expected Exact, PathPrefix or RegularExpression"),
            );
            None
        }
    }
}

/// Only what a path consists of (RFC 3986 §3.3), as the API has it.
pub(super) fn path_characters(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&b);
    let encoded =
        |part: &str| part.get(..2).is_some_and(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
    text.bytes().all(plain) && text.split('%').skip(1).all(encoded)
}

fn regex(reading: &mut Reading<'_>, field: &str, text: &str) -> Option<Regex> {
    match Regex::new(text) {
        Ok(regex) => Some(regex),
        Err(error) => {
            reading.malformed(field, error.to_string());
            None
        }
    }
}

fn conditions(
    reading: &mut Reading<'_>,
    field: &str,
    conditions: &[Condition],
    most: usize,
) -> Option<Vec<Named>> {
    reading.limit(field, conditions.len(), 16);
    let mut named = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if !is_token(&condition.name) {
            reading.malformed(&format!("{field}.name"), format!("{:?} is no name", condition.name));
            return None;
        }
        if !(1..=most).contains(&condition.value.chars().count()) {
            reading.malformed(&format!("{field}.value"), format!("expected 1 to {most} characters"));
            return None;
        }
        let value = text(reading, &field, condition.r#type.as_deref(), &condition.value)?;
        named.push(Named { name: condition.name.as_str().into(), value });
    }
    Some(named)
}

/// A condition of type `Exact` or `RegularExpression`.
fn text(reading: &mut Reading<'_>, field: &str, kind: Option<&str>, value: &str) -> Option<TextMatch> {
    match kind.unwrap_or("Exact") {
        "Exact" => Some(TextMatch::Exact(value.into())),
        "RegularExpression" => regex(reading, &format!("{field}.value"), value).map(TextMatch::Regex),
        kind => {
            let text = format!("{kind:?}: expected Exact or RegularExpression");
            reading.unsupported(&format!("{field}.type"), text);
            None
        }
    }
}

fn read_grpc(reading: &mut Reading<'_>, field: &str, value: &Value) -> Option<RouteMatch> {
    let spec: GrpcMatch = reading.read(field, value)?;
    let headers = conditions(reading, &format!("{field}.headers"), &spec.headers, 4096)?;
    let Some(method) = spec.method else { return Some(RouteMatch::grpc(None, None, headers)) };
    let field = format!("{field}.method");
    let given = |part: Option<String>| part.filter(|part| !part.is_empty());
    let (of, named) = (given(method.service), given(method.method));
    if of.is_none() && named.is_none() {
        reading.malformed(&field, "neither service nor method is there: expected at least one");
        return None;
    }
    let exact = method.r#type.as_deref().unwrap_or("Exact") == "Exact";
    let mut part = |name: &str, value: Option<String>, dots: bool| {
        let Some(value) = value else { return Some(None) };
        let field = format!("{field}.{name}");
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || (dots && b == b'.');
        if exact && !value.bytes().all(word) {
            reading.malformed(&field, format!("{value:?} is no name of a {name}"));
            return None;
        }
        text(reading, &field, method.r#type.as_deref(), &value).map(Some)
    };
    Some(RouteMatch::grpc(part("service", of, true)?, part("method", named, false)?, headers))
}
