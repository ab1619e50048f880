//! Which requests a rule is for (`HTTPMatchRequest`).
use adit_core::l7::{Condition, Named, PathMatch, Regex, RouteMatch, TextMatch};

use super::super::super::Severity;
use super::super::values::Reader;
use super::spec;

/// A match, and the port it is for, if it is for one.
pub(super) struct Read {
    pub(super) matched: RouteMatch,
    pub(super) port: Option<u16>,
    pub(super) name: Option<String>,
}

/// What is to be there: anything, or this.
enum Wanted {
    Any,
    Text(TextMatch),
}

/// Reads a match; `None`: it cannot be honoured, or is not for a waypoint, and no request is matched by it.
pub(super) fn read(reader: &mut Reader<'_>, field: &str, found: &spec::Match) -> Option<Read> {
    let before = reader.problems.count();
    let text = "the labels of clients do not reach a waypoint; this match is left out: use AuthorizationPolicy or a consumer's HTTPRoute";
    reader.unless_absent(found.source_labels.as_ref(), &format!("{field}.sourceLabels"), text);
    let text = "matching the client's namespace is not supported; this match is left out: use an HTTPRoute in the client's namespace";
    reader.unless_absent(found.source_namespace.as_ref(), &format!("{field}.sourceNamespace"), text);
    if !found.gateways.is_empty() && found.gateways.iter().all(|gateway| gateway != "mesh") {
        let text = "a waypoint is part of mesh alone; this match is left out";
        reader.tell(Severity::Note, &format!("{field}.gateways"), text);
        return None;
    }
    let path = match &found.uri {
        None => Some(PathMatch::Begins("/".into())),
        Some(uri) => path(reader, &format!("{field}.uri"), uri, found.ignore_uri_case),
    };
    let mut others = Vec::new();
    type Of = fn(TextMatch) -> Condition;
    let plain: [(&str, &Option<spec::StringMatch>, Of); 3] = [
        ("scheme", &found.scheme, Condition::Scheme),
        ("method", &found.method, Condition::Method),
        ("authority", &found.authority, Condition::Authority),
    ];
    for (name, wanted, condition) in plain {
        let Some(wanted) = wanted else { continue };
        if let Some(Wanted::Text(text)) = text_match(reader, &format!("{field}.{name}"), wanted) {
            others.push(condition(text));
        }
    }
    let (mut headers, mut queries) = (Vec::new(), Vec::new());
    for (name, wanted) in &found.headers {
        let field = format!("{field}.headers.{name}");
        if !is_header(reader, &field, name) {
            continue;
        }
        match text_match(reader, &field, wanted) {
            Some(Wanted::Any) => others.push(Condition::Present(name.to_ascii_lowercase().into())),
            Some(Wanted::Text(value)) => headers.push(Named { name: name.as_str().into(), value }),
            None => {}
        }
    }
    for (name, wanted) in &found.without_headers {
        let field = format!("{field}.withoutHeaders.{name}");
        if !is_header(reader, &field, name) {
            continue;
        }
        let value = match text_match(reader, &field, wanted) {
            Some(Wanted::Any) => None,
            Some(Wanted::Text(value)) => Some(value),
            None => continue,
        };
        others.push(Condition::Without(name.to_ascii_lowercase().into(), value));
    }
    for (name, wanted) in &found.query_params {
        match text_match(reader, &format!("{field}.queryParams.{name}"), wanted) {
            Some(Wanted::Any) => others.push(Condition::Query(name.as_str().into())),
            Some(Wanted::Text(value)) => queries.push(Named { name: name.as_str().into(), value }),
            None => {}
        }
    }
    // With less than all of its conditions it would be for more requests than it was written for.
    if reader.problems.count() > before {
        return None;
    }
    let text = "names of statistics have no effect";
    if found.stat_prefix.is_some() {
        reader.tell(Severity::Note, &format!("{field}.statPrefix"), text);
    }
    let matched = RouteMatch::in_order(path, headers, queries, others);
    Some(Read { matched, port: found.port, name: found.name.clone() })
}

/// Whether it is a header's name. Claims of tokens are written as if they were headers.
fn is_header(reader: &mut Reader<'_>, field: &str, name: &str) -> bool {
    if name.starts_with('@') {
        let text = "matching claims of tokens is not supported; this match is left out: copy the claim to a header with RequestAuthentication's outputClaimToHeaders";
        reader.unsupported(field, text);
        return false;
    }
    let odd = name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if odd {
        reader.tell(Severity::Malformed, field, format!("{name:?} is no name of a header"));
    }
    !odd
}

/// `None`: it is none, which has been told.
fn text_match(reader: &mut Reader<'_>, field: &str, wanted: &spec::StringMatch) -> Option<Wanted> {
    match wanted {
        spec::StringMatch { exact: None, prefix: None, regex: None } => Some(Wanted::Any),
        // Not RE2: the sign for anything at all.
        spec::StringMatch { exact: None, prefix: None, regex: Some(regex) } if regex == "*" => {
            Some(Wanted::Any)
        }
        spec::StringMatch { exact: Some(text), prefix: None, regex: None } => {
            Some(Wanted::Text(TextMatch::Exact(text.as_str().into())))
        }
        spec::StringMatch { exact: None, prefix: Some(text), regex: None } => {
            let regex = expression(reader, field, &format!("{}(?s:.*)", quoted(text)))?;
            Some(Wanted::Text(TextMatch::Regex(regex)))
        }
        spec::StringMatch { exact: None, prefix: None, regex: Some(text) } => {
            Some(Wanted::Text(TextMatch::Regex(expression(reader, field, text)?)))
        }
        _ => {
            reader.tell(Severity::Malformed, field, "expected one of exact, prefix, regex");
            None
        }
    }
}

/// A condition on a text, such as an origin.
pub(super) fn text(reader: &mut Reader<'_>, field: &str, wanted: &spec::StringMatch) -> Option<TextMatch> {
    match text_match(reader, field, wanted)? {
        Wanted::Text(text) => Some(text),
        Wanted::Any => Some(TextMatch::Regex(expression(reader, field, "(?s:.*)")?)),
    }
}

fn path(
    reader: &mut Reader<'_>,
    field: &str,
    uri: &spec::StringMatch,
    ignore_case: bool,
) -> Option<PathMatch> {
    match text_match(reader, field, uri)? {
        Wanted::Any => Some(PathMatch::Begins("/".into())),
        Wanted::Text(_) if uri.regex.is_none() && ignore_case => {
            let (text, rest) = match &uri.prefix {
                Some(prefix) => (prefix, "(?s:.*)"),
                None => (uri.exact.as_ref()?, ""),
            };
            Some(PathMatch::Regex(expression(reader, field, &format!("(?i:{}){rest}", quoted(text)))?))
        }
        Wanted::Text(TextMatch::Exact(text)) => Some(PathMatch::Exact(text)),
        Wanted::Text(TextMatch::Regex(regex)) => Some(match &uri.prefix {
            Some(prefix) => PathMatch::Begins(prefix.as_str().into()),
            None => PathMatch::Regex(regex),
        }),
    }
}

fn expression(reader: &mut Reader<'_>, field: &str, text: &str) -> Option<Regex> {
    Regex::new(text).map_err(|error| reader.tell(Severity::Malformed, field, error)).ok()
}

/// An expression for this text alone.
fn quoted(text: &str) -> String {
    let letter = |letter: char| {
        let plain = letter.is_alphanumeric() || matches!(letter, '/' | '_' | '%' | ' ');
        if plain { letter.to_string() } else { format!("\\x{{{:x}}}", u32::from(letter)) }
    };
    text.chars().map(letter).collect()
}
