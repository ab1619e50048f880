//! Delta xDS as a machine: what is subscribed, acknowledged and retained, and when a lost stream is opened again.
//!
//! [`Client`] speaks the delta form of ADS (interfaces §1.4–1.6) without I/O and without protobuf: a driver opens streams,
//! decodes what comes, applies it to the tables and tells the machine the outcome for each resource. Nothing that was
//! applied is forgotten when a stream is lost: the next one reports what is retained and gets only the difference.
//!
//! Where we differ from ztunnel on purpose:
//!
//! * A rejected resource is retained *without* its version. The server sends it again after a reconnect, and says so if it
//!   has gone meanwhile; leaving the name out would keep a last good copy for ever.
//! * Demands are answered by aliases too, several callers may wait for one key, and a rejected resource ends the wait.
//! * The reconnects that ztunnel makes at once are delayed like failed ones while streams bring nothing (no busy loop), and
//!   delays are jittered.

mod backoff;
mod client;
mod demands;
mod message;
#[cfg(test)]
mod tests;
mod version;

pub use backoff::{Ending, Reason};
pub use client::{Client, Config, Event, Staleness, StreamId, Subscription};
pub use demands::{Answer, DemandError, Waiter};
pub use message::{Received, Request, ResourceType, Response};
pub use version::Version;
