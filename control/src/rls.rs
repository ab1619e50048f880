//! Asking a rate limit service about a request (`envoy.service.ratelimit.v3`, waypoint.md §16.3): the call, and what its answer
//! means. Pure: whoever has connections carries the messages.
//!
//! ```text
//!   GlobalLimit::ask ─▶ Question ─▶ call ─▶ POST …/ShouldRateLimit ─▶ answered ─▶ Answer ─▶ GlobalLimit::settle
//! ```
use std::time::Duration;

use adit_core::l7::rate::{Answer, Code, CurrentLimit, Descriptor, LimitStatus, Question, Unit};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use prost::Message as _;

use crate::grpc::frame;
use crate::proto::ratelimit::rate_limit_descriptor::{Entry, RateLimitOverride};
use crate::proto::ratelimit::{
    HeaderValue, RateLimitDescriptor, RateLimitRequest, RateLimitResponse, RateLimitUnit, rate_limit_response,
};

/// Path of the call.
pub const METHOD: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// The call as a request of HTTP/2, to be sent to the service; `authority`: its host and port.
///
/// # Errors
/// The authority is none: the request is to be treated as if there was no answer.
pub fn call(
    question: &Question,
    authority: &str,
    timeout: Duration,
) -> Result<http::Request<Bytes>, http::Error> {
    frame::post(authority, METHOD, timeout, request(question))
}

/// The body of the call: the one message, behind its prefix.
#[must_use]
pub fn request(question: &Question) -> Bytes {
    frame::framed(&RateLimitRequest {
        domain: question.domain.to_string(),
        descriptors: question.descriptors.iter().map(descriptor).collect(),
        hits_addend: 0,
    })
}

fn descriptor(asked: &Descriptor) -> RateLimitDescriptor {
    let entry =
        |(key, value): &(Box<str>, Box<str>)| Entry { key: key.to_string(), value: value.to_string() };
    RateLimitDescriptor {
        entries: asked.entries.iter().map(entry).collect(),
        limit: asked.limit.map(|(requests_per_unit, unit)| {
            let unit = RateLimitUnit::try_from(i32::from(unit as u8)).unwrap_or(RateLimitUnit::Unknown);
            RateLimitOverride { requests_per_unit, unit: unit.into() }
        }),
        hits_addend: asked.hits.map(u64::from),
    }
}

/// What a whole answer to the call means: its status and headers, its body, its trailers. `None`: the call has failed.
#[must_use]
pub fn answered(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    trailers: Option<&HeaderMap>,
) -> Option<Answer> {
    if status != StatusCode::OK || frame::status(headers, trailers).is_none_or(|status| status != "0") {
        return None;
    }
    answer(body)
}

/// What the body of the answer means; `None`: it is none. It counts only if the call itself has ended with status 0.
#[must_use]
pub fn answer(framed: &[u8]) -> Option<Answer> {
    let message = RateLimitResponse::decode(frame::one(framed).ok()?).ok()?;
    Some(Answer {
        code: code(message.overall_code),
        statuses: message.statuses.iter().map(limit_status).collect(),
        response: pairs(message.response_headers_to_add),
        request: pairs(message.request_headers_to_add),
        body: message.raw_body.into(),
    })
}

fn code(number: i32) -> Code {
    match rate_limit_response::Code::try_from(number) {
        Ok(rate_limit_response::Code::Ok) => Code::Ok,
        Ok(rate_limit_response::Code::OverLimit) => Code::OverLimit,
        Ok(rate_limit_response::Code::Unknown) | Err(_) => Code::Unknown,
    }
}

fn limit_status(status: &rate_limit_response::DescriptorStatus) -> LimitStatus {
    let limit = status.current_limit.as_ref().and_then(|limit| {
        Some(CurrentLimit { requests: limit.requests_per_unit, unit: Unit::of_number(limit.unit)? })
    });
    let reset = status.duration_until_reset.and_then(|reset| Duration::try_from(reset).ok());
    LimitStatus { code: code(status.code), limit, remaining: status.limit_remaining, reset }
}

/// Headers of which name and value can be such: what else is there is left out.
fn pairs(headers: Vec<HeaderValue>) -> Vec<(Box<str>, Box<str>)> {
    let pair = |header: HeaderValue| {
        let value = match header.raw_value.is_empty() {
            true => header.value,
            false => String::from_utf8(header.raw_value).ok()?,
        };
        let name = http::HeaderName::try_from(header.key.as_str()).ok()?;
        http::HeaderValue::try_from(value.as_str()).ok()?;
        Some((name.as_str().into(), value.into()))
    };
    headers.into_iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::PREFIX;

    #[test]
    fn the_call_says_what_is_asked() {
        let entries = vec![("user".into(), "bob".into()), ("generic_key".into(), "v".into())];
        let whole = Descriptor { entries, limit: Some((5, Unit::Week)), hits: Some(3) };
        let bare = Descriptor { entries: vec![("a".into(), "b".into())], limit: None, hits: None };
        let question = Question { domain: "shop".into(), descriptors: vec![whole, bare] };
        let call = call(&question, "limits.infra.svc.cluster.local:8081", Duration::from_millis(20)).unwrap();
        assert_eq!(call.uri().to_string(), format!("http://limits.infra.svc.cluster.local:8081{METHOD}"));
        assert_eq!(call.headers()["grpc-timeout"], "20m");
        let body = call.into_body();
        assert_eq!(body[..PREFIX], [0, 0, 0, 0, u8::try_from(body.len() - PREFIX).unwrap()]);
        let message = RateLimitRequest::decode(&body[PREFIX..]).unwrap();
        assert_eq!((&*message.domain, message.hits_addend, message.descriptors.len()), ("shop", 0, 2));
        let first = &message.descriptors[0];
        let entries: Vec<_> = first.entries.iter().map(|it| (&*it.key, &*it.value)).collect();
        assert_eq!(entries, [("user", "bob"), ("generic_key", "v")]);
        assert_eq!(first.limit.map(|limit| (limit.requests_per_unit, limit.unit)), Some((5, 7)));
        assert_eq!((first.hits_addend, message.descriptors[1].hits_addend), (Some(3), None));
        assert!(super::call(&question, "no host", Duration::ZERO).is_err());
    }

    fn framed(message: &RateLimitResponse) -> Vec<u8> {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0][..], &length, &message].concat()
    }

    fn response() -> RateLimitResponse {
        let header = |key: &str, value: &str, raw: &[u8]| HeaderValue {
            key: key.into(),
            value: value.into(),
            raw_value: raw.to_vec(),
        };
        RateLimitResponse {
            overall_code: 2,
            statuses: vec![rate_limit_response::DescriptorStatus {
                code: 2,
                current_limit: Some(rate_limit_response::RateLimit {
                    requests_per_unit: 10,
                    unit: 2,
                    name: "n".into(),
                }),
                limit_remaining: 4,
                duration_until_reset: Some(prost_types::Duration { seconds: 7, nanos: 0 }),
            }],
            response_headers_to_add: vec![
                header("X-A", "1", b""),
                header("x-b", "", b"2"),
                header("b d", "3", b""),
            ],
            request_headers_to_add: vec![header("x-c", "a\nb", b"")],
            raw_body: b"slow".to_vec(),
        }
    }

    #[test]
    fn the_answer_is_read_and_headers_that_are_none_are_left_out() {
        let answer = answer(&framed(&response())).unwrap();
        assert_eq!((answer.code, &*answer.body, answer.request.len()), (Code::OverLimit, &b"slow"[..], 0));
        let limit = Some(CurrentLimit { requests: 10, unit: Unit::Minute });
        let reset = Some(Duration::from_secs(7));
        assert_eq!(answer.statuses, [LimitStatus { code: Code::OverLimit, limit, remaining: 4, reset }]);
        let headers: Vec<_> = answer.response.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(headers, [("x-a", "1"), ("x-b", "2")]);
    }

    #[test]
    fn only_a_whole_answer_of_a_call_that_went_well_counts() {
        let body = framed(&response());
        let map = |status: &'static str| {
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())])
        };
        let (none, good, bad) = (HeaderMap::new(), map("0"), map("14"));
        assert!(answered(StatusCode::OK, &none, &body, Some(&good)).is_some());
        assert_eq!(answered(StatusCode::OK, &none, &body, Some(&bad)), None);
        assert_eq!(answered(StatusCode::OK, &none, &body, None), None);
        assert_eq!(answered(StatusCode::OK, &bad, &[], None), None);
        assert_eq!(answered(StatusCode::BAD_GATEWAY, &none, &body, Some(&good)), None);
        let mut compressed = body.clone();
        compressed[0] = 1;
        for broken in [&body[..body.len() - 1], &compressed, &[0, 0][..], &[0, 0, 0, 0, 1, 0xff]] {
            assert_eq!(answer(broken), None);
        }
        let odd = RateLimitResponse { overall_code: 9, ..response() };
        assert_eq!(answer(&framed(&odd)).unwrap().code, Code::Unknown);
    }
}
