//! Changes of headers (`RequestHeaderModifier`, `ResponseHeaderModifier`).
use adit_core::l7::{HeaderChanges, ServerName};
use serde::Deserialize;
use serde_json::Value;

use super::reading::Reading;

#[derive(Deserialize)]
struct Changes {
    #[serde(default)]
    set: Vec<Header>,
    #[serde(default)]
    add: Vec<Header>,
    #[serde(default)]
    remove: Vec<String>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

/// Headers that say where a message ends or which connection it is on: whoever could change them could smuggle.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// A token of HTTP (RFC 9110 §5.6.2), of the length that the API allows.
pub(super) fn is_token(name: &str) -> bool {
    let octet = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=256).contains(&name.len()) && name.bytes().all(octet)
}

/// A value of a header without anything that ends it (RFC 9110 §5.5), of the length that the API allows.
fn is_value(value: &str) -> bool {
    (1..=4096).contains(&value.chars().count()) && !value.chars().any(|c| c.is_control() && c != '\t')
}

/// Reads a modifier. What can be none is left out, and the rule is invalid.
pub(super) fn changes(
    reading: &mut Reading<'_>,
    field: &str,
    value: &Value,
    of_request: bool,
) -> HeaderChanges {
    let Some(spec) = reading.read::<Changes>(field, value) else { return HeaderChanges::default() };
    let mut seen = Vec::new();
    let mut checked = |reading: &mut Reading<'_>, list: &str, headers: Vec<Header>| {
        let all = format!("{field}.{list}");
        reading.limit(&all, headers.len(), 16);
        let mut kept = Vec::new();
        for (index, Header { name, value }) in headers.into_iter().enumerate() {
            let place = format!("{all}[{index}]");
            let Some(name) =
                changeable(reading, &format!("{place}.name"), &name, of_request && list == "set")
            else {
                continue;
            };
            if !is_value(&value) || (name == "host" && !is_host(&value)) {
                reading
                    .malformed(&format!("{place}.value"), format!("{value:?} is no value of header {name}"));
                continue;
            }
            let key = (list.to_owned(), name.clone());
            if seen.contains(&key) {
                // The API's own words: a list by name, of which the first counts.
                reading.malformed(&place, format!("{name} is there twice: expected each name once"));
                continue;
            }
            seen.push(key);
            kept.push((name.into_boxed_str(), value.into_boxed_str()));
        }
        kept
    };
    let set = checked(reading, "set", spec.set);
    let add = checked(reading, "add", spec.add);
    let all = format!("{field}.remove");
    reading.limit(&all, spec.remove.len(), 16);
    let named = spec.remove.iter().enumerate();
    let remove =
        named.filter_map(|(index, name)| changeable(reading, &format!("{all}[{index}]"), name, false));
    HeaderChanges { remove: remove.map(String::into_boxed_str).collect(), set, add }
}

/// The name of a header that a resource may change, in lower case.
fn changeable(reading: &mut Reading<'_>, field: &str, name: &str, host_too: bool) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let lower = if host_too && lower == ":authority" { "host".to_owned() } else { lower };
    if !is_token(&lower) {
        reading.malformed(field, format!("{name:?} is no name of a header"));
        return None;
    }
    if FRAMING.contains(&&*lower) || (lower == "host" && !host_too) {
        reading.unsupported(field, format!("{lower} belongs to the connection and cannot be changed here"));
        return None;
    }
    Some(lower)
}

/// A host, with or without port.
fn is_host(value: &str) -> bool {
    let (host, port) = value.rsplit_once(':').unwrap_or((value, "1"));
    port.parse::<u16>().is_ok() && matches!(ServerName::new(host), Ok(ServerName::Exact(_)))
}
