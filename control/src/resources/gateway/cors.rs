//! What pages of other origins may do (`CORS`).
use std::time::Duration;

use adit_core::l7::{AllowOrigin, Allowed, Cors};
use serde::Deserialize;
use serde_json::Value;

use super::headers::is_token;
use super::matches::METHODS;
use super::reading::Reading;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CorsSpec {
    #[serde(default)]
    allow_origins: Vec<String>,
    #[serde(default)]
    allow_methods: Vec<String>,
    #[serde(default)]
    allow_headers: Vec<String>,
    #[serde(default)]
    expose_headers: Vec<String>,
    #[serde(default)]
    allow_credentials: bool,
    max_age: Option<i64>,
}

/// Reads the filter; `None`: it makes no sense, and the rule is invalid.
pub(super) fn read(reading: &mut Reading<'_>, field: &str, value: &Value) -> Option<Cors> {
    let spec: CorsSpec = reading.read(field, value)?;
    let origins_field = format!("{field}.allowOrigins");
    reading.limit(&origins_field, spec.allow_origins.len(), 64);
    let mut origins = Vec::new();
    for origin in &spec.allow_origins {
        match origin.parse() {
            Ok(origin) => origins.push(origin),
            Err(error) => {
                reading.malformed(&origins_field, format!("{error}"));
                return None;
            }
        }
    }
    if origins.len() > 1 && origins.contains(&AllowOrigin::Any) {
        reading.malformed(&origins_field, "* allows all: expected nothing beside it");
        return None;
    }
    let method = |name: &str| METHODS.contains(&name);
    let methods = words(reading, &format!("{field}.allowMethods"), spec.allow_methods, 9, method)?;
    let headers = words(reading, &format!("{field}.allowHeaders"), spec.allow_headers, 64, is_token)?;
    let expose = words(reading, &format!("{field}.exposeHeaders"), spec.expose_headers, 64, is_token)?;
    let max_age = match spec.max_age.unwrap_or(5) {
        seconds @ 1.. => Duration::from_secs(seconds.unsigned_abs()),
        seconds => {
            reading.malformed(&format!("{field}.maxAge"), format!("{seconds}: expected seconds, at least 1"));
            return None;
        }
    };
    let (credentials, forward_unmatched) = (spec.allow_credentials, false);
    Some(Cors { origins, methods, headers, expose, credentials, max_age, forward_unmatched })
}

/// `*` alone, or words that are `valid`.
fn words(
    reading: &mut Reading<'_>,
    field: &str,
    words: Vec<String>,
    most: usize,
    valid: impl Fn(&str) -> bool,
) -> Option<Allowed> {
    reading.limit(field, words.len(), most);
    if let [only] = &words[..]
        && only == "*"
    {
        return Some(Allowed::Any);
    }
    if let Some(bad) = words.iter().find(|word| *word == "*" || !valid(word)) {
        let text = format!("{bad:?} cannot be in this list; * stands alone");
        reading.malformed(field, text);
        return None;
    }
    Some(Allowed::Only(words.into_iter().map(Into::into).collect()))
}
