//! The pods of this node from its CNI agent: ZDS over a local socket, with their network namespaces (interfaces §3).
//!
//! [`adit_core::inpod::Pods`] decides what follows from what the agent says; here is what it leaves out: the socket, protobuf,
//! and doing one thing after the other. [`PodSink`] starts and stops the proxies.

mod client;
mod packet;
mod sink;
mod socket;
mod view;

pub use client::Zds;
pub use packet::{MAX_PACKET, PacketError, request};
pub use sink::{PodObserver, PodSink, PodStart};
pub use socket::own_netns;
pub use view::View;
