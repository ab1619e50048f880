//! Adit's driver: one loop that moves octets between sockets and a shard, and the traits that put it on a runtime.
//!
//! [`drive()`] is the loop. An adapter implements [`Runtime`] (descriptors in a reactor, a timer, a clock); the caller
//! fills [`Setup`]: the shard behind [`Engine`], an [`Observer`], a [`CertificateSource`], [`Questions`], bound
//! listeners. While it runs, a [`Handle`] reaches the shard from any thread. Programs that embed the proxy open and accept [`TunnelStream`]s
//! without a socket. Linux only, as the redirection this proxy lives on is.
mod answers;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod crypto;
mod delivery;
mod drive;
mod engine;
pub mod handover;
mod mailbox;
mod memory;
mod pipe;
mod ports;
mod ready;
pub mod record;
mod reply;
mod runtime;
mod slots;
mod socket;
mod stream;
mod sync;
mod threads;
mod timer;
mod turns;

pub use answers::{
    DemandAnswer, DemandReply, DemandSource, NameAnswer, NameReply, NameSource, NoDemands, NoNames, Questions,
};
pub use clock::{Clock, wall_clock};
pub use delivery::{Deliveries, Delivering, Delivery, deliveries};
pub use drive::{Drive, DriveConfig, Setup, drive};
pub use engine::{Engine, MAX_SLICES};
pub use mailbox::{ConnectError, Handle, Mailbox, NewProxy, mailbox};
pub use memory::settle;
pub use pipe::Leaving;
pub use ports::{CertificateAnswer, CertificateReply, CertificateSource, Observer};
pub use reply::Reply;
pub use runtime::{Clear, Readiness, Runtime, Timer};
pub use socket::{
    BindError, BoundListener, FdLimit, Keepalive, ListenerSpec, NetNs, PodAccessError, SocketOptions,
    Transparency, check_pod_access, raise_fd_limit, wildcard,
};
pub use stream::{Incoming, LocalListeners, TunnelStream};
pub use threads::{ShardError, Shards, spawn_shards};
pub use timer::TimerFd;
pub use turns::Crew;
