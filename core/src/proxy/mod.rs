//! The engine: a shard is the whole proxy for one core of the machine; it composes every machine of this crate.
pub mod observed;
pub mod probe;
pub mod proxy_protocol;
pub mod relay;
pub mod shard;
mod slab;
pub mod socks;

pub use observed::Observed;
pub use shard::{
    Action, Areas, Census, Delivered, Listener, LocalWorkload, ProxyId, Shard, ShardConfig, SocketError,
    SocketId, Ticket, Unanswered,
};
