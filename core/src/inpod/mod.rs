//! The pods of a node (shared mode): which of them have a proxy, and what the node's CNI agent is answered (interfaces §3.2).
//!
//! The agent tells over ZDS which pods there are. [`Pods`] decides what follows, without I/O: which proxies are started and
//! stopped, what is tried again, what the answer is, and when a lost connection is made again. A driver carries that out, one
//! thing at a time; a message is taken only when everything before it is done, so that an answer never overtakes a deed.
//!
//! Where we differ from ztunnel on purpose:
//!
//! * A proxy is bound to what it was started for. While it runs, an `add` of the same uid as another workload is refused, and so
//!   is a second pod in a namespace that has a proxy, and the proxy's own namespace: two listeners on one port would give
//!   the connections of one pod the identity of the other.
//! * A connection that ends before its snapshot is made again after a delay that grows, not at once: an agent that cannot speak
//!   to us keeps neither of us busy.
//! * The number of pods is bounded.

mod error;
mod link;
mod message;
mod pods;
#[cfg(test)]
mod tests;

pub use error::{ProtocolError, Refusal, StartError};
pub use link::ConnectionId;
pub use message::{Action, Message, NetnsId, Start};
pub use pods::{Known, Pods, Settings, State};
