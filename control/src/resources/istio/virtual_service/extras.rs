//! What a rule does beside sending requests on: faults, and what pages of other origins may do.
use adit_core::l7::{Abort, AllowOrigin, Allowed, Cors, Faults, Fraction, TextMatch};
use std::time::Duration;

use super::super::super::Severity;
use super::super::values::{Reader, per_cent};
use super::{matches, spec};

/// A part of all, of a number of per cent: what is more than all is all, as Istio has it.
pub(super) fn fraction(percent: f64) -> Fraction {
    per_cent(percent.clamp(0.0, 100.0)).unwrap_or(Fraction { numerator: 0, denominator: 1 })
}

pub(super) fn faults(reader: &mut Reader<'_>, field: &str, fault: &spec::Fault) -> Faults {
    let mut faults = Faults::default();
    if let Some(delay) = &fault.delay {
        let text = "exponential delays are not supported; nothing is delayed: use fixedDelay";
        reader.unless_absent(
            delay.exponential_delay.as_ref(),
            &format!("{field}.delay.exponentialDelay"),
            text,
        );
        let percent = delay.percentage.map(|it| it.value).or(delay.percent);
        if percent.is_none() {
            let text = "percentage is missing, so nothing is delayed";
            reader.tell(Severity::Note, &format!("{field}.delay"), text);
        }
        let fraction = fraction(percent.unwrap_or_default());
        faults.delay = delay.fixed_delay.map(|delay| (delay.0, fraction));
    }
    if let Some(abort) = &fault.abort {
        let text = "aborts with errors of HTTP/2 are not supported; nothing is aborted: use httpStatus or grpcStatus";
        reader.unless_absent(abort.http2_error.as_ref(), &format!("{field}.abort.http2Error"), text);
        let how = match (abort.http_status, &abort.grpc_status) {
            (Some(status @ 200..=599), None) => Some(Abort::Status(status)),
            (None, Some(name)) => grpc_status(name).map(Abort::Grpc),
            _ => None,
        };
        if how.is_none() && abort.http2_error.is_none() {
            let text = "expected one of httpStatus (200 to 599) and grpcStatus (such as UNAVAILABLE); nothing is aborted";
            reader.tell(Severity::Malformed, &format!("{field}.abort"), text);
        }
        if abort.percentage.is_none() {
            let text = "percentage is missing, so nothing is aborted";
            reader.tell(Severity::Note, &format!("{field}.abort"), text);
        }
        let fraction = fraction(abort.percentage.map(|it| it.value).unwrap_or_default());
        faults.abort = how.map(|how| (how, fraction));
    }
    faults
}

/// The number of a status of gRPC, by its name.
fn grpc_status(name: &str) -> Option<u16> {
    let names = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    (0..).zip(names).find(|(_, known)| *known == name).map(|(number, _)| number)
}

pub(super) fn cors(reader: &mut Reader<'_>, field: &str, cors: &spec::Cors) -> Cors {
    let mut origins = Vec::new();
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        let text = matches::text(reader, &format!("{field}.allowOrigins[{index}]"), origin);
        origins.extend(text.map(|text| match text {
            TextMatch::Exact(text) if &*text == "*" => AllowOrigin::Any,
            text => AllowOrigin::Text(text),
        }));
    }
    if cors.allow_origins.is_empty() {
        origins.extend(cors.allow_origin.iter().map(|origin| match &**origin {
            "*" => AllowOrigin::Any,
            origin => AllowOrigin::Exact(origin.into()),
        }));
    }
    let words = |words: &[String]| match words {
        [word] if word == "*" => Allowed::Any,
        words => Allowed::Only(words.iter().map(|word| word.as_str().into()).collect()),
    };
    Cors {
        origins,
        methods: words(&cors.allow_methods),
        headers: words(&cors.allow_headers),
        expose: words(&cors.expose_headers),
        credentials: cors.allow_credentials.unwrap_or_default(),
        max_age: cors.max_age.map_or(Duration::from_secs(5), |it| it.0),
        forward_unmatched: cors.unmatched_preflights != spec::UnmatchedPreflights::Ignore,
    }
}
