//! The attacks of `reference/security.md` on whole shards: each ends with a named reason, in bounded memory.
//!
//! The frames' own rules are tested in `core/src/http2/tests`; here is what a shard makes of them: what it tells, what it
//! holds, and that nothing is left behind.
mod bounds;
mod floods;
mod hbone;
mod memory;
mod tls;
