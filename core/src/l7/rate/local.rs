//! The token buckets of local limits.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::part::{Asking, Entry};
use super::policy::{LimitAnswer, LocalLimit, Quota, RatePolicy};
use crate::l7::{Limiter, Request, Verdict};
use crate::time::Instant;

/// Octets of a key beyond which it is the same as others that begin alike: a client cannot fill memory with long headers.
const MAX_KEY: usize = 256;

/// What the buckets of a policy say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    /// Whether it passes.
    pub passes: bool,
    /// Whether it would not, if the policy did more than count.
    pub shadowed: bool,
    /// Of the bucket with least left: what it holds, what is left, and when it is filled.
    pub quota: Option<(u32, u32, Duration)>,
}

impl Taken {
    /// Headers for the answer: of the refusal, or of whatever the request gets.
    #[must_use]
    pub fn headers(&self, answer: &LimitAnswer) -> Vec<(&'static str, String)> {
        // Whole seconds, so that whoever comes back then is not too early.
        let seconds = |time: Duration| time.as_secs().saturating_add((time.subsec_nanos() > 0).into());
        let quota = self.quota.map(|(limit, remaining, reset)| {
            let reset = seconds(reset);
            Quota { limit: limit.to_string(), remaining, reset, retry_after: reset }
        });
        answer.headers(quota, !self.passes)
    }
}

/// A limit as it was last, and its buckets.
type Counted = (LocalLimit, Limiter<Box<[u8]>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Buckets {
    policy: Arc<RatePolicy>,
    /// Of the policy's limits, one for each, in their order; and behind them of limits that it had: requests under way may
    /// still go by an earlier version, and are not to begin with full buckets each time the versions take turns.
    counted: Vec<Counted>,
}

impl Buckets {
    fn new(policy: &Arc<RatePolicy>) -> Self {
        let counted = policy.local.iter().map(begun).collect();
        Self { policy: Arc::clone(policy), counted }
    }

    /// Limits keep what they have counted: those that are as they were, and those that count by the same.
    fn handle_policy(&mut self, policy: &Arc<RatePolicy>) {
        if Arc::ptr_eq(&self.policy, policy) {
            return;
        }
        self.policy = Arc::clone(policy);
        let mut known = core::mem::take(&mut self.counted);
        for limit in &policy.local {
            let same = known.iter().position(|(other, _)| other == limit);
            let changed = |(other, _): &Counted| other.by == limit.by && !policy.local.contains(other);
            let known = same.or_else(|| known.iter().position(changed)).map(|place| known.remove(place));
            let (_, mut limiter) = known.unwrap_or_else(|| begun(limit));
            limiter.handle_bounds(limit.rate, limit.max_keys);
            self.counted.push((limit.clone(), limiter));
        }
        self.counted.append(&mut known);
    }
}

fn begun(limit: &LocalLimit) -> Counted {
    (limit.clone(), Limiter::new(limit.rate, limit.max_keys))
}

/// The buckets of all policies. Several threads may share them behind a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalLimits(BTreeMap<Arc<str>, Buckets>);

impl LocalLimits {
    /// Nobody has taken anything.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A request asks for what `policy` says it needs.
    pub fn take(
        &mut self,
        now: Instant,
        policy: &Arc<RatePolicy>,
        asking: &Asking<'_, impl Request>,
    ) -> Taken {
        let buckets = self.0.entry(Arc::clone(&policy.name)).or_insert_with(|| Buckets::new(policy));
        buckets.handle_policy(policy);
        let mut taken = Taken { passes: true, shadowed: false, quota: None };
        for (limit, (_, limiter)) in policy.local.iter().zip(&mut buckets.counted) {
            let Some(key) = key(limit, asking) else { continue };
            let verdict = limiter.take(now, &key);
            taken.passes &= verdict.passes();
            let (remaining, reset) = match verdict {
                Verdict::Pass { remaining } => (remaining, limit.rate.fill_interval),
                Verdict::Limited { retry_after } => (0, retry_after),
            };
            let quota = (limit.rate.max_tokens, remaining, reset);
            let tighter = |(_, least, longest): (u32, u32, Duration)| {
                remaining < least || (remaining == least && reset > longest)
            };
            if taken.quota.is_none_or(tighter) {
                taken.quota = Some(quota);
            }
        }
        if policy.shadow {
            (taken.shadowed, taken.passes) = (!taken.passes, true);
        }
        taken
    }

    /// Only these policies are there now; what others have counted is forgotten, and what these have for limits that they no
    /// longer have.
    pub fn retain<'a>(&mut self, policies: impl Iterator<Item = &'a Arc<RatePolicy>>) {
        let there: BTreeMap<&str, &Arc<RatePolicy>> =
            policies.map(|policy| (&*policy.name, policy)).collect();
        self.0.retain(|name, buckets| {
            let Some(policy) = there.get(&**name) else { return false };
            buckets.handle_policy(policy);
            buckets.counted.truncate(policy.local.len());
            true
        });
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().flat_map(|buckets| &buckets.counted).map(|(_, limiter)| limiter.len()).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The key of a request; `None`: a part of it is missing.
fn key(limit: &LocalLimit, asking: &Asking<'_, impl Request>) -> Option<Box<[u8]>> {
    let mut key = Vec::new();
    for part in &limit.by {
        match part.entry(asking) {
            Entry::There(_, value) => {
                // No value runs into the next: its length goes before it.
                key.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
                key.extend_from_slice(value.as_bytes());
            }
            Entry::Left => key.extend_from_slice(&[u8::MAX; 8]),
            Entry::Missing => return None,
        }
    }
    key.truncate(MAX_KEY);
    Some(key.into_boxed_slice())
}

#[cfg(test)]
pub(super) mod tests;
