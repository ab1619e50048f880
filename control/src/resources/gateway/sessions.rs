//! Clients that stay with an endpoint (`sessionPersistence`).
use std::sync::Arc;

use adit_core::l7::{Keeper, KeyHash, Persistence};
use serde::Deserialize;
use serde_json::Value;

use super::duration;
use super::headers::is_token;
use super::matches::path_characters;
use super::reading::Reading;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    r#type: Option<String>,
    /// The older place of the name.
    session_name: Option<String>,
    absolute_timeout: Option<String>,
    idle_timeout: Option<String>,
    cookie: Option<Cookie>,
    /// The older place of the lifetime.
    cookie_config: Option<Cookie>,
    header: Option<Header>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cookie {
    name: Option<String>,
    path: Option<String>,
    lifetime_type: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
}

/// Reads the field; `None`: it makes no sense, and the rule is invalid.
pub(super) fn read(reading: &mut Reading<'_>, rule: &str, value: &Value) -> Option<Arc<Persistence>> {
    let field = format!("{rule}.sessionPersistence");
    let spec: Spec = reading.read(&field, value)?;
    if spec.idle_timeout.is_some() {
        reading.unsupported(
            &format!("{field}.idleTimeout"),
            "not supported: a session ends with its endpoint or by absoluteTimeout",
        );
        return None;
    }
    let timeout = match spec.absolute_timeout.as_deref().map(duration::parse) {
        None => None,
        Some(Ok(timeout)) => Some(timeout).filter(|timeout| !timeout.is_zero()),
        Some(Err(error)) => {
            reading.malformed(&format!("{field}.absoluteTimeout"), error.to_string());
            return None;
        }
    };
    let keeper = match spec.r#type.as_deref().unwrap_or("Cookie") {
        "Cookie" if spec.header.is_none() => {
            if spec.cookie.is_some() && spec.cookie_config.is_some() {
                reading.malformed(&field, "cookie and cookieConfig say the same: expected one of them");
                return None;
            }
            let cookie = spec.cookie.or(spec.cookie_config).unwrap_or_default();
            self::cookie(reading, &field, rule, cookie, spec.session_name, timeout.is_some())?
        }
        "Header" if spec.cookie.is_none() && spec.cookie_config.is_none() => {
            let name = spec.header.map(|header| header.name).or(spec.session_name);
            let name = name.unwrap_or_else(|| default_name(reading, rule));
            Keeper::Header { name: checked(reading, &field, name)?.to_ascii_lowercase().into() }
        }
        kind => {
            let text = format!("{kind:?}: expected Cookie with cookie, or Header with header");
            reading.malformed(&format!("{field}.type"), text);
            return None;
        }
    };
    Some(Arc::new(Persistence { keeper, timeout }))
}

fn cookie(
    reading: &mut Reading<'_>,
    field: &str,
    rule: &str,
    cookie: Cookie,
    session_name: Option<String>,
    has_timeout: bool,
) -> Option<Keeper> {
    let name = cookie.name.or(session_name).unwrap_or_else(|| default_name(reading, rule));
    let name = checked(reading, field, name)?.into_boxed_str();
    let path = cookie.path.unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/') || !path_characters(&path) || path.contains(';') {
        reading.malformed(&format!("{field}.cookie.path"), format!("{path:?} is no path of a cookie"));
        return None;
    }
    let permanent = match cookie.lifetime_type.as_deref().unwrap_or("Session") {
        "Session" => false,
        "Permanent" if has_timeout => true,
        "Permanent" => {
            reading.malformed(&format!("{field}.absoluteTimeout"), "is missing: a permanent cookie needs it");
            return None;
        }
        other => {
            let text = format!("lifetimeType {other:?}: expected Session or Permanent");
            reading.malformed(field, text);
            return None;
        }
    };
    Some(Keeper::Cookie { name, path: path.into(), permanent })
}

fn checked(reading: &mut Reading<'_>, field: &str, name: String) -> Option<String> {
    if is_token(&name) && name.len() <= 128 {
        return Some(name);
    }
    reading.malformed(field, format!("{name:?} is no name of a cookie or header of up to 128 characters"));
    None
}

/// A name that no other rule has: it stays the same as long as the route is called the same.
fn default_name(reading: &Reading<'_>, rule: &str) -> String {
    let route = reading.object.id().to_string();
    format!("adit-session-{:016x}", KeyHash::default().with(route.as_bytes()).with(rule.as_bytes()).finish())
}
