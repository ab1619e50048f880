//! The node's CNI agent by script: it listens for node proxies, tells them of pods over ZDS, and checks what they answer.
//!
//! [`Agent`] behaves as Istio's does (interfaces §3.1, §3.3), for several proxies at once. [`Listener`] and [`Connection`] are
//! what it is made of, for tests that want every packet in their own hands.
//!
//! Everything blocks, with deadlines, and needs no runtime.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::netns::{HarnessError, Namespace};

mod agent;
mod connection;

pub use agent::{Agent, Snapshot};
pub use connection::{Connection, Listener, Packet};

/// How long Istio's agent waits for a hello or an ack, and to write.
pub const LIMIT: Duration = Duration::from_secs(5);

/// A pod as the agent knows it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Kubernetes uid.
    pub uid: String,
    /// Kubernetes name.
    pub name: String,
    /// Kubernetes namespace.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
    /// Its network namespace, unless the agent has not found it (again): then it says `keep`.
    pub netns: Option<Arc<OwnedFd>>,
}

/// The pod of this name that lives in `namespace`: in Kubernetes' namespace `default`, with a service account of its own.
///
/// # Errors
/// The namespace is gone.
pub fn pod_in(name: &str, namespace: &Namespace) -> crate::netns::Result<Pod> {
    let path = Path::new("/run/netns").join(namespace.name());
    let netns = File::open(&path).map_err(HarnessError::io(format!("opening {}", path.display())))?;
    Ok(Pod {
        uid: pod_uid(name),
        name: name.to_owned(),
        namespace: "default".to_owned(),
        service_account: name.to_owned(),
        netns: Some(Arc::new(OwnedFd::from(netns))),
    })
}

/// The uid of a pod of [`pod_in`].
#[must_use]
pub fn pod_uid(name: &str) -> String {
    format!("uid-of-{name}")
}

/// Why a proxy was not told, or did not agree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// Nobody to tell; the text is Istio's.
    #[error("no ztunnel connection")]
    NoConnection,
    /// An ack with an error.
    #[error("the proxy refuses: {0}")]
    Refused(String),
    /// No packet in time.
    #[error("no packet from the proxy within {0:?}")]
    Late(Duration),
    /// The proxy has closed the connection.
    #[error("the proxy has closed the connection")]
    Closed,
    /// A packet that is none, or not the one that is due.
    #[error("not what a proxy says here: {0}")]
    Unexpected(String),
    /// A system call failed.
    #[error("the socket: {0}")]
    Io(String),
}

impl From<rustix::io::Errno> for AgentError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.to_string())
    }
}
