//! Keys of those who issue tokens: read, fetched, kept, and signatures checked by them (waypoint.md §12.6).
//!
//! [`Jwks`] checks signatures for any thread and is kept fresh by one task; [`Fetcher`] knows HTTP and TLS.
mod algorithm;
mod fetch;
mod ring;
mod set;

#[cfg(test)]
mod tests;

pub use self::fetch::{FetchError, Fetched, Fetcher};
pub use self::ring::{Jwks, SourceState};
pub use self::set::{KeySet, KeySetError, SkippedKey};
