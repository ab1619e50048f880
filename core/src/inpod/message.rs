//! What goes in and out of the machine.

use alloc::sync::Arc;
use core::fmt;

use super::{ConnectionId, ProtocolError, Refusal};
use serde::{Deserialize, Serialize};

use crate::proxy::{LocalWorkload, ProxyId};

/// Which network namespace a file descriptor leads to (`fstat`). Unique as long as somebody holds the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetnsId {
    /// Device (`st_dev`).
    pub device: u64,
    /// Inode (`st_ino`).
    pub inode: u64,
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}

/// A packet of the agent, decoded. `N` is what leads into a network namespace; the core only keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message<N> {
    /// There is such a pod, and here is its network namespace.
    Add {
        /// Kubernetes uid.
        uid: Arc<str>,
        /// What it is.
        workload: LocalWorkload,
        /// Which namespace it is.
        netns_id: NetnsId,
        /// What leads into it.
        netns: N,
    },
    /// An `add` without `workload_info`.
    AddWithoutWorkload {
        /// Kubernetes uid.
        uid: Arc<str>,
    },
    /// There is such a pod, whose namespace the agent does not know (any more).
    Keep {
        /// Kubernetes uid.
        uid: Arc<str>,
    },
    /// The pod has gone, or is no longer in the mesh.
    Del {
        /// Kubernetes uid.
        uid: Arc<str>,
    },
    /// Every pod has been told of.
    SnapshotSent,
    /// A packet that cannot be read, and why.
    Invalid(Arc<str>),
}

/// A proxy to start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Start<N> {
    /// The proxy to be.
    pub id: ProxyId,
    /// Kubernetes uid of its pod.
    pub uid: Arc<str>,
    /// What the pod is.
    pub workload: LocalWorkload,
    /// Which namespace it has.
    pub netns_id: NetnsId,
    /// What leads into it.
    pub netns: N,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action<N> {
    /// Connect to the agent; then `handle_connected` or `handle_closed`.
    Connect(ConnectionId),
    /// Say hello; then `handle_greeted` or `handle_closed`.
    Hello(ConnectionId),
    /// Start a proxy; then `handle_started`. Nothing else comes before that.
    Start(Start<N>),
    /// Stop a proxy at once, without any grace; then `handle_stopped`. Nothing else comes before that.
    Stop {
        /// Which.
        id: ProxyId,
        /// Kubernetes uid of its pod.
        uid: Arc<str>,
    },
    /// Answer the last message.
    Reply {
        /// Where it came from.
        connection: ConnectionId,
        /// What was wrong with it; nothing for an empty ack.
        error: Option<Refusal>,
    },
    /// Close the connection.
    Close(ConnectionId),
    /// Whom we speak to does not speak ZDS: stop everything with the usual grace, and exit with an error.
    Fail(ProtocolError),
}
