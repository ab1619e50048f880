//! Decisions about HTTP requests, as functions of what is configured, the request, time and chance; each can say why.
//!
//! ```text
//!   routes (Gateway API) ──▶ Frontends ── service, port, client's namespace ──▶ Table ── request ──▶ Found
//!                                                                                                      │
//!                              status 404 ◀── nothing ──┘        redirect, refusal, CORS answer ◀── Rule ──▶ rewrite, mirrors,
//!                                                                                                           backend drawn
//! ```
//!
//! Connections that are no HTTP have routes of their own ([`ConnectionTable`]). [`Snapshot`] is all of it at one time.
//!
//! Beside the choice stand machines that see many requests: [`Exchange`] (one request and its attempts), [`RetryBudget`],
//! [`Limiter`] (rates), [`Breaker`] (what is under way), [`Outliers`] (endpoints that keep failing), and [`upstream`], which brings
//! these together where an endpoint is chosen.
//!
//! Before a request is routed, [`jwt`] finds out whose token it has, and [`authz`] whether it may pass.
//!
//! Nothing here parses HTTP or knows a library that does (but [`http1`], which follows how requests are framed): a request is
//! whatever implements [`Request`]. Resources are compiled
//! to these types once, where they are read; what they say that cannot be done becomes [`Action::Invalid`], never nothing.
pub mod authz;
mod backend_tls;
mod backends;
mod breaker;
mod budget;
mod connections;
mod facts;
mod fault;
mod filters;
mod frontends;
mod hash;
pub mod http1;
pub mod jwt;
mod limit;
mod literal;
mod matching;
mod normalize;
mod outlier;
mod path;
mod persistence;
mod protocol;
pub mod rate;
mod request;
mod retry;
mod route;
mod scope;
mod siphash;
mod snapshot;
mod sniff;
mod table;
mod target;
pub mod telemetry;
mod text;
pub mod upstream;

pub use self::backend_tls::{BackendTls, BackendTlsRules, PeerName, TlsRule, TrustAnchors};
pub use self::backends::{Backend, Backends, NoBackend, Target};
pub use self::breaker::{Breaker, Counted, Limits, Overflow};
pub use self::budget::RetryBudget;
pub use self::connections::{ConnectionRoute, ConnectionTable, ServerName, ServerNameError};
pub use self::fault::{Abort, FaultPolicy, Faults, Injected};
pub use self::filters::{
    AllowOrigin, AllowOriginError, Allowed, Cors, Fraction, HeaderChanges, Headers, Location, Mirror,
    PathRewrite, Preflight, Redirect, RegexRewrite, Rewrite,
};
pub use self::frontends::{Conflict, Frontends, Rules};
pub use self::hash::{KeyHash, Ring};
pub use self::limit::{Bucket, Limiter, Rate, Verdict};
pub use self::matching::{Condition, Mismatch, Named, Rank, RouteMatch};
pub use self::normalize::{BadPath, Normalization, normalize};
pub use self::outlier::{Ejection, Outcome, OutlierDetection, Outliers};
pub use self::path::{PathError, PathMatch, Prefix, valid_path};
pub use self::persistence::{Keeper, Persistence, Session, SessionKey};
pub use self::protocol::{Protocol, Protocols};
pub use self::request::{Request, Scheme};
pub use self::retry::{Answered, AttemptFailure, Elapsed, Ending, Exchange, Next, RetryOn, RetryPolicy};
pub use self::route::{Action, Direct, Forward, Kind, Parent, Route, RouteId, Rule};
pub use self::scope::{Scope, Scoped};
pub use self::snapshot::Snapshot;
pub use self::sniff::{Sniffed, sniff};
pub use self::table::{Found, Table};
pub use self::text::{Regex, RegexError, TextMatch};

#[cfg(test)]
mod tests;
