//! The DNS proxy: sockets and timers around [`adit_core::dns`] (datapath §7).
//!
//! [`serve`] is one future for one workload, to be run on a tokio runtime of one thread. It answers what the mesh knows and
//! relays the rest to the name servers of [`ResolvConf`]. Whoever starts it brings the listening sockets and the
//! [`Egress`], since both may live in another network namespace.
//!
//! [`Names`] looks names up for the data plane itself, by the same rules.

mod cache;
mod client;
mod names;
mod resolv_conf;
mod server;
mod sockets;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::{Asked, DnsObserved, ForwarderConfig, Resolver};
use adit_core::mesh::Mesh;
use adit_core::proxy::LocalWorkload;
use tokio::sync::watch;

pub use names::{NameServer, Names, NamesConfig};
pub use resolv_conf::{ResolvConf, ResolvConfError};
pub use server::serve;
pub use sockets::{Direct, Egress, ListenOptions, Listeners};

/// Takes what the server tells about its work; must not block.
pub type Observer = Arc<dyn Fn(&Asked<'_>, DnsObserved) + Send + Sync>;

/// Everything a server needs besides its listening sockets.
#[derive(Clone)]
pub struct Setup {
    /// What names mean.
    pub resolver: Resolver,
    /// The workload whose questions are answered: all that reach its sockets, whatever address they come from.
    pub subject: LocalWorkload,
    /// Its search domains: those of its `resolv.conf` in dedicated mode. `None`: those that Kubernetes gives pods.
    pub search: Option<Vec<Arc<str>>>,
    /// Whom to relay to, and how much at once: [`ResolvConf::forwarder`].
    pub forwarder: ForwarderConfig,
    /// Makes the sockets that questions are relayed from.
    pub egress: Arc<dyn Egress>,
    /// Gets the figures for metrics.
    pub observer: Observer,
    /// How long a question waits for the mesh to know its workload before it fails (datapath §7.1: 5 s).
    pub patience: Duration,
    /// The tables; every question sees the newest.
    pub mesh: watch::Receiver<Arc<Mesh>>,
}
