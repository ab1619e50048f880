//! Who may ask what of whom: Istio's `AuthorizationPolicy` for requests and plain connections (waypoint.md §11).
//!
//! ```text
//!   Policies ── of(service) ──▶ Set ── custom(subject) ──▶ providers to ask first, or a refusal
//!                                │
//!                                └──── judge(subject) ───▶ Decision: verdict, AUDIT, what is on trial
//! ```
//!
//! CUSTOM comes first and its providers are asked by the caller, then AUDIT, DENY and ALLOW. Policies of the service, of the
//! waypoint and of its class count alike.
//!
//! Fails closed: what could not be read refuses more than was meant, never less ([`Lists`], [`Condition::Unknown`],
//! [`Policy::unreadable`], [`Unusable`]).
mod condition;
mod pattern;
mod policy;
mod provider;
mod set;
mod subject;
mod verdict;

#[cfg(test)]
mod tests;

pub use self::condition::{Attribute, Condition, Entry, Lists, On};
pub use self::pattern::{Pattern, RequestPrincipal, Template, TemplateError};
pub use self::policy::{Action, Clause, Match, Policy, Rule, RuleName, Target, TrustDomains};
pub use self::provider::{BodyInCheck, HttpCheck, Protocol, Provider, Unusable};
pub use self::set::{Policies, Set};
pub use self::subject::{Connection, Http, NoHttp, Subject, client_ip};
pub use self::verdict::{Asked, Consulted, Decision, Denial, Judgement, OnTrial, Trial, Verdict};
