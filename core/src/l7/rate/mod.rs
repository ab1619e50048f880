//! Rate limits as a policy says them (`RateLimitPolicy`): by token buckets here, and by a rate limit service elsewhere (Envoy's
//! protocol).
//!
//! ```text
//!   a request ── Part::entry ─▶ a key ────── LocalLimits::take ─▶ Taken ── headers, refusal (429, flag RL)
//!                └───────────▶ descriptors ─ GlobalLimit::ask ─▶ Question ─▶ somebody's RPC ─▶ Answer ── GlobalLimit::settle
//! ```
mod global;
mod local;
mod part;
mod policy;

pub use self::global::{Answer, Code, CurrentLimit, Descriptor, GlobalVerdict, LimitStatus, Question, Unit};
pub use self::local::{LocalLimits, Taken};
pub use self::part::{Asking, Masked, Part};
pub use self::policy::{DescriptorRule, GlobalLimit, LimitAnswer, LocalLimit, RatePolicy};
