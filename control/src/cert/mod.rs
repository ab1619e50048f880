//! The node's certificates: [`adit_core::cert`]'s machine, an authority, and the files that matter, on one tokio task.
//!
//! [`start`] gives a [`Certificates`] handle. Shards ask through [`Certificates::request`] and are told of renewals
//! through [`Certificates::subscribe`].

mod authority;
mod crl;
mod driver;
mod files;

pub use authority::Authority;
pub use crl::CrlFile;
pub use files::CertificateFiles;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_core::cert::Settings;
use adit_core::identity::Identity;
use adit_core::tls::{RecordMode, TlsContext, TlsPorts};
use tokio::sync::mpsc;

/// A certificate ready for use, or a text that says why there is none.
pub type Answer = Result<Arc<TlsContext>, Arc<str>>;

/// What [`start`] needs.
#[derive(Debug)]
pub struct Config {
    /// Who issues.
    pub authority: Authority,
    /// For the TLS contexts.
    pub ports: TlsPorts,
    /// Who protects records.
    pub mode: RecordMode,
    /// `CRL_PATH`.
    pub crl: Option<PathBuf>,
    /// The machine's knobs.
    pub settings: Settings,
    /// Makes the jitter of renewals and retries; any number that differs between nodes.
    pub seed: u64,
}

/// What has happened since the start, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    issued: AtomicU64,
    failed: AtomicU64,
    crl_failed: AtomicU64,
}

impl Counters {
    /// Certificates issued.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    /// Calls to the authority that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Changes of the revocation lists that could not be read.
    #[must_use]
    pub fn crl_failed(&self) -> u64 {
        self.crl_failed.load(Ordering::Relaxed)
    }
}

/// What is kept for an identity.
#[derive(Clone, Debug)]
pub enum Held {
    /// It is being fetched for the first time.
    Initializing,
    /// A certificate.
    Available(Arc<TlsContext>),
    /// There is none, for this reason.
    Unavailable(Arc<str>),
}

/// What is kept, for who shows it; written by the task alone.
#[derive(Clone, Debug, Default)]
struct Shown(Arc<Mutex<BTreeMap<Identity, Held>>>);

impl Shown {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, Held>> {
        // Each change is one call of the map, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Reply = Box<dyn FnOnce(Answer) + Send>;
/// Told of every change; answers whether it wants more.
type Subscriber = Box<dyn FnMut(&Identity, &Answer) -> bool + Send>;

enum Command {
    Request(Identity, Reply),
    Subscribe(Subscriber),
    Local(BTreeSet<Identity>),
    Forget(Identity),
}

/// Speaks to the task. Cheap to clone, usable from any thread; when the last one is dropped the task ends.
#[derive(Clone, Debug)]
pub struct Certificates {
    commands: mpsc::UnboundedSender<Command>,
    counters: Arc<Counters>,
    shown: Shown,
}

impl Certificates {
    /// Asks for the certificate of `identity`. `reply` is called once, on the task's thread; it must not block.
    pub fn request(&self, identity: &Identity, reply: impl FnOnce(Answer) + Send + 'static) {
        let command = Command::Request(identity.clone(), Box::new(reply));
        if let Err(mpsc::error::SendError(Command::Request(_, reply))) = self.commands.send(command) {
            reply(Err("the certificate manager has ended".into()));
        }
    }

    /// Tells `subscriber` of every certificate that is new, renewed, checked by new revocation lists, or lost, until it
    /// answers `false`. It is called on the task's thread and must not block.
    pub fn subscribe(&self, subscriber: impl FnMut(&Identity, &Answer) -> bool + Send + 'static) {
        self.send(Command::Subscribe(Box::new(subscriber)));
    }

    /// These identities have workloads on this node now: new ones are fetched ahead, gone ones forgotten.
    pub fn local(&self, identities: BTreeSet<Identity>) {
        self.send(Command::Local(identities));
    }

    /// Nobody needs this identity any more.
    pub fn forget(&self, identity: &Identity) {
        self.send(Command::Forget(identity.clone()));
    }

    /// Everything there is now, for the admin pages.
    #[must_use]
    pub fn held(&self) -> Vec<(Identity, Held)> {
        self.shown.lock().iter().map(|(identity, held)| (identity.clone(), held.clone())).collect()
    }

    /// What has happened.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn send(&self, command: Command) {
        // A task that has ended needs no telling.
        let _ = self.commands.send(command);
    }
}

/// Starts the manager on the tokio runtime it is called on.
#[must_use]
pub fn start(config: Config) -> Certificates {
    let (commands, receiver) = mpsc::unbounded_channel();
    let counters = Arc::new(Counters::default());
    let shown = Shown::default();
    tokio::spawn(driver::Driver::new(config, Arc::clone(&counters), shown.clone()).run(receiver));
    Certificates { commands, counters, shown }
}

#[cfg(test)]
mod tests;
