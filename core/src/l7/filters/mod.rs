//! What a rule does to a request or an answer beside choosing a backend (Gateway API: `filters`).
mod cors;
mod headers;
mod mirror;
mod redirect;
mod rewrite;

pub use self::cors::{AllowOrigin, AllowOriginError, Allowed, Cors, Preflight};
pub use self::headers::{HeaderChanges, Headers};
pub use self::mirror::{Fraction, Mirror};
pub use self::redirect::{Location, Redirect};
pub use self::rewrite::{PathRewrite, RegexRewrite, Rewrite};
