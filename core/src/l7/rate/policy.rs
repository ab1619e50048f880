//! What a `RateLimitPolicy` says, as data.
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::global::Unit;
use super::part::Part;
use crate::l7::{Rate, Target};

/// A rate limit policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RatePolicy {
    /// Its `namespace/name`.
    pub name: Arc<str>,
    /// It only counts: nobody is refused (`mode: Shadow`).
    pub shadow: bool,
    /// Buckets here. A request must get a token of each that it has a key for.
    pub local: Vec<LocalLimit>,
    /// Limits elsewhere.
    pub global: Option<GlobalLimit>,
    /// What clients are told.
    pub answer: LimitAnswer,
}

/// Token buckets, one for each key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalLimit {
    /// How many requests may pass.
    pub rate: Rate,
    /// What the key is made of. Nothing: all requests have the same. Requests that lack a part are not counted.
    pub by: Vec<Part>,
    /// How many keys are told apart; all beyond share one bucket.
    pub max_keys: usize,
}

/// Limits of a rate limit service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GlobalLimit {
    /// Where it is.
    pub service: Target,
    /// `domain`: which of its limits.
    pub domain: Box<str>,
    /// What it is asked about. A request that has nothing of it is not asked about.
    pub descriptors: Vec<DescriptorRule>,
    /// How long it may take to answer. Default of Envoy: 20 ms.
    pub timeout: Duration,
    /// Requests are refused when it does not answer (status 500, flag `RLSE`), else they pass.
    pub deny_on_failure: bool,
}

/// One thing that the service is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DescriptorRule {
    /// Its entries. If one of them is not there, nor is the descriptor.
    pub parts: Vec<Part>,
    /// A limit instead of the one that the service knows.
    pub limit: Option<(u32, Unit)>,
    /// How many requests one counts as, instead of 1.
    pub hits: Option<u32>,
}

/// What clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitAnswer {
    /// The status of a refusal: 429.
    pub status: u16,
    /// Calls of gRPC get `RESOURCE_EXHAUSTED` (8) instead of `UNAVAILABLE` (14).
    pub resource_exhausted: bool,
    /// Headers `x-ratelimit-limit`, `-remaining` and `-reset`, on all answers.
    pub quota_headers: bool,
    /// Header `retry-after` on refusals.
    pub retry_after: bool,
    /// Header `x-envoy-ratelimited` on refusals.
    pub envoy_header: bool,
}

/// How much is left of a limit.
pub(super) struct Quota {
    /// The limit, as it is told.
    pub(super) limit: String,
    /// Requests that are left.
    pub(super) remaining: u32,
    /// Seconds until there are more.
    pub(super) reset: u64,
    /// Seconds after which who is refused may come again.
    pub(super) retry_after: u64,
}

impl LimitAnswer {
    /// Headers for an answer (draft-ietf-httpapi-ratelimit-headers-03): of the refusal, or of whatever the request gets.
    pub(super) fn headers(&self, quota: Option<Quota>, refused: bool) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(Quota { limit, remaining, reset, retry_after }) = quota {
            if self.quota_headers {
                headers.push(("x-ratelimit-limit", limit));
                headers.push(("x-ratelimit-remaining", remaining.to_string()));
                headers.push(("x-ratelimit-reset", reset.to_string()));
            }
            if self.retry_after && refused {
                headers.push(("retry-after", retry_after.to_string()));
            }
        }
        if self.envoy_header && refused {
            headers.push(("x-envoy-ratelimited", "true".into()));
        }
        headers
    }
}

impl Default for LimitAnswer {
    /// 429, with `x-envoy-ratelimited` and `retry-after`.
    fn default() -> Self {
        Self {
            status: 429,
            resource_exhausted: false,
            quota_headers: false,
            retry_after: true,
            envoy_header: true,
        }
    }
}
