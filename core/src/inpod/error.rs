//! Why a pod has no proxy, and what is answered then.

use alloc::sync::Arc;

use super::NetnsId;
use crate::proxy::LocalWorkload;

/// Why a pod's proxy could not be started. It is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Whoever starts proxies said so.
    #[error("{0}")]
    Failed(Arc<str>),
    /// Another pod's proxy runs there.
    #[error("network namespace {netns} belongs to pod {other}, whose proxy runs in it; is that pod gone?")]
    NetnsTaken {
        /// The namespace.
        netns: NetnsId,
        /// Kubernetes uid of the other pod.
        other: Arc<str>,
    },
    /// No pod's namespace at all.
    #[error("network namespace {0} is that of the node proxy, not of a pod")]
    OwnNetns(NetnsId),
}

/// The agent does not keep to ZDS. There is no way on from here: the process ends, as ztunnel's does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// An `add` that does not say which workload it is.
    #[error("add of pod {0} has no workload_info; is the CNI agent as new as this proxy?")]
    NoWorkload(Arc<str>),
    /// `keep` has a meaning only before the snapshot.
    #[error("keep of pod {0} after the snapshot")]
    KeepAfterSnapshot(Arc<str>),
    /// There is one snapshot per connection.
    #[error("a second snapshot_sent on one connection")]
    SecondSnapshot,
}

/// What an ack says when it is not empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The proxy could not be started; it is tried again.
    #[error("no proxy for pod {uid} yet: {error}")]
    NotStarted {
        /// Kubernetes uid.
        uid: Arc<str>,
        /// Why not.
        error: StartError,
    },
    /// The pod's proxy stands for another workload, and goes on doing so.
    #[error("pod {uid} has a proxy as {running}: it cannot become {asked}; delete it first")]
    OtherWorkload {
        /// Kubernetes uid.
        uid: Arc<str>,
        /// What it is.
        running: LocalWorkload,
        /// What it should be.
        asked: LocalWorkload,
    },
    /// There are as many pods as may be.
    #[error("this proxy has {0} pods and takes no more")]
    TooManyPods(usize),
    /// The packet cannot be read.
    #[error("cannot read the request: {0}")]
    Unreadable(Arc<str>),
    /// See there.
    #[error("protocol error: {0}")]
    Protocol(#[from] ProtocolError),
}
