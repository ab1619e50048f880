//! Asking a rate limit service (Envoy: `envoy.service.ratelimit.v3.RateLimitService`), without the call itself.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::part::{Asking, Entry};
use super::policy::{GlobalLimit, LimitAnswer, Quota};
use crate::l7::Request;

/// A time that limits are for. The numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Unit {
    /// A second.
    Second = 1,
    /// A minute.
    Minute = 2,
    /// An hour.
    Hour = 3,
    /// A day.
    Day = 4,
    /// Thirty days.
    Month = 5,
    /// A year.
    Year = 6,
    /// A week.
    Week = 7,
}

impl Unit {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Year, Self::Week];

    /// That of a number of the protocol.
    #[must_use]
    pub fn of_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| i32::from(*unit as u8) == number)
    }

    /// Its seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
            Self::Month => 2_592_000,
            Self::Year => 31_536_000,
            Self::Week => 604_800,
        }
    }
}

/// One thing that the service is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// Names and values.
    pub entries: Vec<(Box<str>, Box<str>)>,
    /// A limit instead of the service's.
    pub limit: Option<(u32, Unit)>,
    /// How many requests this one counts as, instead of 1.
    pub hits: Option<u32>,
}

/// What the service is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Which of its limits.
    pub domain: Box<str>,
    /// About what; never empty.
    pub descriptors: Vec<Descriptor>,
}

/// What the service says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Nothing that is known: taken for a failure.
    Unknown,
    /// The request may pass.
    Ok,
    /// It may not.
    OverLimit,
}

/// A limit that the service applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CurrentLimit {
    /// So many requests …
    pub requests: u32,
    /// … in each of these.
    pub unit: Unit,
}

/// What the service says of one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitStatus {
    /// Whether it may pass.
    pub code: Code,
    /// The limit, if one is for it.
    pub limit: Option<CurrentLimit>,
    /// What is left of it.
    pub remaining: u32,
    /// When it is whole again.
    pub reset: Option<Duration>,
}

/// The service's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// What it says of the request.
    pub code: Code,
    /// Of each descriptor.
    pub statuses: Vec<LimitStatus>,
    /// Headers for the client.
    pub response: Vec<(Box<str>, Box<str>)>,
    /// Headers for the backend.
    pub request: Vec<(Box<str>, Box<str>)>,
    /// The body of a refusal.
    pub body: Box<[u8]>,
}

/// What becomes of the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GlobalVerdict {
    /// It passes.
    Pass {
        /// Headers for the backend.
        request: Vec<(Box<str>, Box<str>)>,
        /// Headers for the client.
        response: Vec<(Box<str>, Box<str>)>,
    },
    /// It is refused (flag `RL`).
    Limited {
        /// The status.
        status: u16,
        /// Headers for the client.
        headers: Vec<(Box<str>, Box<str>)>,
        /// The body.
        body: Box<[u8]>,
    },
    /// It is refused, as the service has not answered: status 500 (flag `RLSE`).
    Failed,
}

impl GlobalLimit {
    /// What is asked about a request; `None`: nothing, and it passes.
    #[must_use]
    pub fn ask(&self, asking: &Asking<'_, impl Request>) -> Option<Question> {
        let mut descriptors = Vec::new();
        'rules: for rule in &self.descriptors {
            let mut entries = Vec::with_capacity(rule.parts.len());
            for part in &rule.parts {
                match part.entry(asking) {
                    Entry::There(key, value) => entries.push((key.into(), value.into())),
                    Entry::Left => {}
                    Entry::Missing => continue 'rules,
                }
            }
            if !entries.is_empty() {
                descriptors.push(Descriptor { entries, limit: rule.limit, hits: rule.hits });
            }
        }
        (!descriptors.is_empty()).then(|| Question { domain: self.domain.clone(), descriptors })
    }

    /// What becomes of the request; `answer` is `None` where none came in time. With `shadow`, nothing is refused.
    #[must_use]
    pub fn settle(&self, answer: Option<Answer>, how: &LimitAnswer, shadow: bool) -> GlobalVerdict {
        let answer = answer.filter(|answer| answer.code != Code::Unknown);
        let Some(answer) = answer else {
            return match self.deny_on_failure && !shadow {
                true => GlobalVerdict::Failed,
                false => GlobalVerdict::Pass { request: Vec::new(), response: Vec::new() },
            };
        };
        let over = answer.code == Code::OverLimit && !shadow;
        let mut headers = answer.response;
        let told = how.headers(quota(&answer.statuses), over);
        headers.extend(told.into_iter().map(|(name, value)| (name.into(), value.into())));
        if over {
            return GlobalVerdict::Limited { status: how.status, headers, body: answer.body };
        }
        GlobalVerdict::Pass { request: answer.request, response: headers }
    }
}

/// The limit with least left, and all that are applied.
fn quota(statuses: &[LimitStatus]) -> Option<Quota> {
    let limited = || statuses.iter().filter_map(|status| Some((status, status.limit?)));
    let (least, limit) = limited().min_by_key(|(status, _)| status.remaining)?;
    let mut text = limit.requests.to_string();
    for (_, limit) in limited() {
        text.push_str(&format!(", {};w={}", limit.requests, limit.unit.seconds()));
    }
    let reset = least.reset.map_or(0, |reset| reset.as_secs());
    Some(Quota { limit: text, remaining: least.remaining, reset, retry_after: reset.max(1) })
}

#[cfg(test)]
mod tests;
