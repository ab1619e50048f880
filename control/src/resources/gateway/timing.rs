//! How often a request is tried and how long that may take (`timeouts`, `retry`).
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use adit_core::l7::{RetryOn, RetryPolicy};
use serde::Deserialize;
use serde_json::Value;

use super::duration;
use super::reading::Reading;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timeouts {
    request: Option<String>,
    backend_request: Option<String>,
}

#[derive(Deserialize)]
struct Retry {
    codes: Option<Vec<i64>>,
    attempts: Option<i64>,
    backoff: Option<String>,
}

/// The policy of a rule. Without `retry` it is Istio's default; with it, what Istio would retry, the codes that are named, and,
/// as the API asks for, connections that break off and attempts that take longer than `backendRequest`.
pub(super) fn read(
    reading: &mut Reading<'_>,
    rule: &str,
    timeouts: Option<&Value>,
    retry: Option<&Value>,
) -> Arc<RetryPolicy> {
    // One for all of them: most rules say nothing.
    static DEFAULT: LazyLock<Arc<RetryPolicy>> = LazyLock::new(|| Arc::new(RetryPolicy::istio_default()));
    if timeouts.is_none() && retry.is_none() {
        return Arc::clone(&DEFAULT);
    }
    let mut policy = RetryPolicy::istio_default();
    if let Some(value) = retry {
        self::retry(reading, &format!("{rule}.retry"), value, &mut policy);
    }
    if let Some(value) = timeouts {
        self::timeouts(reading, &format!("{rule}.timeouts"), value, &mut policy);
    }
    Arc::new(policy)
}

fn timeouts(reading: &mut Reading<'_>, field: &str, value: &Value, policy: &mut RetryPolicy) {
    let Some(spec) = reading.read::<Timeouts>(field, value) else { return };
    policy.timeout = time(reading, &format!("{field}.request"), spec.request.as_deref());
    policy.per_try = time(reading, &format!("{field}.backendRequest"), spec.backend_request.as_deref());
    if let (Some(whole), Some(one)) = (policy.timeout, policy.per_try)
        && one > whole
    {
        let text = "longer than the request as a whole may take: expected at most timeouts.request";
        reading.malformed(&format!("{field}.backendRequest"), text);
    }
}

/// A time limit; zero is none.
fn time(reading: &mut Reading<'_>, field: &str, text: Option<&str>) -> Option<Duration> {
    match duration::parse(text?) {
        Ok(duration) => Some(duration).filter(|duration| !duration.is_zero()),
        Err(error) => {
            reading.malformed(field, error.to_string());
            None
        }
    }
}

fn retry(reading: &mut Reading<'_>, field: &str, value: &Value, policy: &mut RetryPolicy) {
    let Some(spec) = reading.read::<Retry>(field, value) else { return };
    let mut status = Vec::new();
    for code in spec.codes.unwrap_or_default() {
        match u16::try_from(code) {
            Ok(code @ 400..=599) => status.push(code),
            _ => reading.malformed(&format!("{field}.codes"), format!("{code}: expected 400 to 599")),
        }
    }
    policy.on = RetryOn { reset: true, timeout: true, status, ..policy.on.clone() };
    match spec.attempts.map(u32::try_from) {
        None => {}
        Some(Ok(attempts)) => policy.retries = attempts,
        Some(Err(_)) => reading.malformed(&format!("{field}.attempts"), "expected 0 or more"),
    }
    if let Some(text) = spec.backoff {
        match duration::parse(&text) {
            Ok(backoff) => policy.backoff = backoff,
            Err(error) => reading.malformed(&format!("{field}.backoff"), error.to_string()),
        }
    }
}
