//! Keys of those who issue tokens: read, fetched, kept, and signatures checked by them (waypoint.md §12.6).
mod algorithm;
mod set;

#[cfg(test)]
mod tests;

pub use self::set::{KeySet, KeySetError, SkippedKey};
