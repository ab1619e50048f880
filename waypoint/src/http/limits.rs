//! How many requests may pass: buckets here, and services that count for many (waypoint.md §16).
use adit_core::l7::rate::{Asking, GlobalLimit, GlobalVerdict, RatePolicy};
use adit_ops::l7::{Details, ResponseFlags};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

use super::call::call;
use super::decide::Finish;
use super::local::Local;
use super::view::Head;
use crate::conn::Conn;
use crate::route::Now;
use crate::upstream::UpstreamVersion;
use crate::worker::Worker;

/// Headers for the backend.
pub(crate) type ForBackend = Vec<(HeaderName, HeaderValue)>;

/// Asks whether a request may pass; gives headers for the backend. What its client is to be told is put into `finish`.
pub(crate) async fn pass(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    policies: &[Arc<RatePolicy>],
    asking: &Asking<'_, Head>,
    finish: &mut Finish,
) -> Result<ForBackend, Local> {
    let mut told = Vec::new();
    for policy in policies {
        let taken = worker.shared.take(policy, asking);
        if taken.shadowed {
            tracing::info!(policy = %policy.name, client = %conn.client, "over the limit, which only counts");
        }
        let headers = taken.headers(&policy.answer);
        if !taken.passes {
            let local =
                limited(policy, Details::LocalRateLimited, policy.answer.status, "local_rate_limited");
            return Err(headers.iter().fold(local, |local, (name, value)| local.with(name, value)));
        }
        finish.tell(headers.iter().map(|(name, value)| (*name, value.as_str())));
    }
    for policy in policies {
        let Some(global) = &policy.global else { continue };
        let Some(question) = global.ask(asking) else { continue };
        let answer = ask(worker, now, conn, global, &question).await;
        match global.settle(answer, &policy.answer, policy.shadow) {
            GlobalVerdict::Pass { request, response } => {
                finish.tell(response.iter().map(|(name, value)| (&**name, &**value)));
                told.extend(request.iter().filter_map(|(name, value)| {
                    Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?))
                }));
            }
            GlobalVerdict::Limited { status, headers, body } => {
                let mut local = limited(policy, Details::RequestRateLimited, status, "");
                local.text = body.into_vec().into();
                for (name, value) in &headers {
                    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value))
                    {
                        local.headers.append(name, value);
                    }
                }
                return Err(local);
            }
            GlobalVerdict::Failed => {
                let flags = ResponseFlags::RATE_LIMIT_SERVICE_ERROR;
                return Err(Local::new(500, flags, Details::RateLimiterError, ""));
            }
        }
    }
    Ok(told)
}

fn limited(policy: &RatePolicy, details: Details, status: u16, text: &'static str) -> Local {
    let local = Local::new(status, ResponseFlags::RATE_LIMITED, details, text);
    if policy.answer.resource_exhausted { local.with_grpc(8) } else { local }
}

/// Asks a service; nothing where it does not answer.
async fn ask(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    global: &GlobalLimit,
    question: &adit_core::l7::rate::Question,
) -> Option<adit_core::l7::rate::Answer> {
    let target = &global.service;
    let authority = format!("{}:{}", target.service.hostname, target.port);
    let request = adit_control::rls::call(question, &authority, global.timeout).ok()?;
    match call(worker, now, conn, target, UpstreamVersion::Http2, request, global.timeout).await {
        Ok(whole) => {
            adit_control::rls::answered(whole.status, &whole.headers, &whole.body, whole.trailers.as_ref())
        }
        Err(error) => {
            tracing::warn!(service = %target.service, %error, "the rate limit service does not answer");
            None
        }
    }
}
