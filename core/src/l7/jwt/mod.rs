//! Whose token comes with a request: Istio's `RequestAuthentication` (waypoint.md §12).
//!
//! ```text
//!   Authentications ── of(service) ──▶ JwtRules ── judge(request, now, Keys) ──▶ Outcome: who, and what the backend sees
//!                                                        │
//!                                                        └──▶ Refusal: status 401, and which keys are missing
//! ```
//!
//! Signatures and JSON are others' work ([`Keys`]). When keys are fetched again is decided by [`Refresh`].
//!
//! Fails closed: a token at a place where one is looked for is valid or the request is refused, whatever the reason. Headers
//! that tell the backend of a token are ours: a client's are removed, with or without a token.
mod authenticated;
mod claim;
mod outcome;
mod place;
mod refresh;
mod refusal;
mod rule;
mod set;
mod token;
mod verify;

#[cfg(test)]
mod tests;

pub use self::authenticated::Authenticated;
pub use self::claim::Claim;
pub use self::outcome::{Changes, Outcome};
pub use self::place::Place;
pub use self::refresh::{Refresh, RefreshSettings};
pub use self::refusal::{JwtError, Refusal};
pub use self::rule::{ClaimToHeader, JwtRule, KeySource, RequestAuthentication};
pub use self::set::{Authentications, JwtRules};
pub use self::token::{Header, Token, base64url};
pub use self::verify::{Keys, Signature};
