//! One running node proxy: its listeners bound, its shards on their threads.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_control::ca::CaError;
use adit_control::grpc::AuthError;
use adit_control::local::LocalError;
use adit_core::identity::Identity;
use adit_core::mesh::{Mesh, Workload};
use adit_core::proxy::{Listener, LocalWorkload, Observed, Shard};
use adit_ops::metrics::Runtimes;
use adit_runtime::crypto::ComplianceError;
use adit_runtime::handover::HandoverError;
use adit_runtime::{
    BindError, BoundListener, Crew, Deliveries, DriveConfig, Engine, Handle, ListenerSpec, Mailbox,
    Questions, Setup, ShardError, Shards, SocketOptions, Transparency, deliveries,
};

use crate::certificates::{ManagedCertificates, NodeCertificates};
use crate::config::{Config, MeshSource, Mode, Runtime};
use crate::handover::Sockets;
use crate::recordings::Recordings;
use crate::shard_config::{Ports, shard_config};
use crate::tables::Tables;

/// Hears what all shards show; called on their threads, so it must be quick.
pub type Observe = Arc<dyn Fn(&Observed) + Send + Sync>;

/// Serves the streams that end at one shard: a waypoint's HTTP. Runs on the shard's thread, as a local task of tokio.
pub type Serve = Arc<dyn Fn(usize, Handle, Deliveries) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

/// What an [`Instance`] is started with, beside its configuration.
pub struct Parts {
    /// The mesh.
    pub tables: Arc<Tables>,
    /// Where certificates come from; instances that shall trust each other share an authority.
    pub certificates: NodeCertificates,
    /// Who hears about it.
    pub observe: Observe,
    /// Makes who answers a shard's questions; called once for each.
    pub questions: Arc<dyn Fn() -> Questions + Send + Sync>,
    /// Told of the runtimes that drive shards, where they are tokio's.
    pub runtimes: Runtimes,
    /// Where listening sockets come from.
    pub sockets: Sockets,
    /// Set for a waypoint: it listens for HBONE alone, and streams end here.
    pub serve: Option<Serve>,
    /// Entries without redirection: what connects to the first address counts as captured on its way to the second.
    pub entries: Vec<(SocketAddr, SocketAddr)>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The mesh cannot be read.
    #[error(transparent)]
    Mesh(#[from] LocalError),
    /// The mesh does not know whom we stand for.
    #[error(
        "PROXY_WORKLOAD_INFO: read {asked:?}, expected namespace/name/service-account of a workload in {source_name}; \
         it has {known}"
    )]
    UnknownWorkload {
        /// What was asked for.
        asked: String,
        /// Where it was looked for.
        source_name: String,
        /// What is there.
        known: String,
    },
    /// `TRUST_DOMAIN` contradicts the mesh.
    #[error(
        "TRUST_DOMAIN: read {asked:?}, expected the trust domain of our own workload, whose identity is {identity}"
    )]
    TrustDomain {
        /// What was asked for.
        asked: Arc<str>,
        /// Whom the mesh says we are.
        identity: Identity,
    },
    /// The built-in authority cannot be used.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// There is no certificate for us.
    #[error("no certificate for {identity}: {reason}")]
    Certificate {
        /// Whom we stand for.
        identity: Identity,
        /// Why.
        reason: Arc<str>,
    },
    /// `COMPLIANCE_POLICY` cannot be followed.
    #[error(transparent)]
    Compliance(#[from] ComplianceError),
    /// Requests to the control plane cannot be made as asked for.
    #[error(transparent)]
    Control(#[from] AuthError),
    /// The DNS proxy's sockets cannot be bound.
    #[error(
        "{0}; set ISTIO_META_DNS_PROXY_ADDR to another address, or ISTIO_META_DNS_CAPTURE=false to go without it"
    )]
    Dns(io::Error),
    /// A listener cannot be bound.
    #[error("{0}{hint}", hint = bind_hint(.0))]
    Bind(#[from] BindError),
    /// A shard did not come up.
    #[error("cannot start: {0}")]
    Shard(#[from] ShardError),
    /// `ADIT_HANDOVER_PATH` cannot be used.
    #[error("ADIT_HANDOVER_PATH: {0}")]
    Handover(#[from] HandoverError),
    /// `ADIT_RECORD` cannot be used.
    #[error("ADIT_RECORD: {}: {error}", path.display())]
    Record {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Threads or descriptors ran out.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// What a person may do about a failed bind, where that is clear.
fn bind_hint(error: &BindError) -> &'static str {
    match error.error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process listens there: stop it, or choose another address or port"
        }
        io::ErrorKind::AddrNotAvailable if error.address.is_ipv6() => {
            "; without IPv6, set IPV6_ENABLED=false"
        }
        _ if error.address.is_ipv6() && error.error.raw_os_error() == Some(97) => {
            "; without IPv6, set IPV6_ENABLED=false"
        }
        io::ErrorKind::AddrNotAvailable => "; the address must be one of this machine",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024, PACKET_MARK and ENABLE_ORIG_SRC=true need privileges"
        }
        _ => "",
    }
}

/// Reads the local file; without one, the mesh is empty.
///
/// # Errors
/// It cannot be read or makes no sense.
pub fn load_mesh(config: &Config) -> Result<Arc<Mesh>, StartError> {
    let mesh = match &config.mesh {
        Some(MeshSource::File(path)) => adit_control::local::load(path, &config.network)?,
        Some(MeshSource::Inline(text)) => {
            adit_control::local::parse(Path::new("LOCAL_XDS"), text, &config.network)?
        }
        None => Mesh::empty(Arc::clone(&config.network)),
    };
    Ok(Arc::new(mesh.on_node(config.node())))
}

/// The entry in `mesh` of the workload that a dedicated proxy with `config` stands for, `asked`.
///
/// # Errors
/// There is none, or it is not of the trust domain that was asked for.
pub fn local_workload(
    config: &Config,
    asked: &LocalWorkload,
    mesh: &Mesh,
) -> Result<Arc<Workload>, StartError> {
    let found = asked.found_in(mesh);
    let Some(workload) = found else { return Err(unknown_workload(config, asked, mesh)) };
    let identity = workload.identity();
    match &config.trust_domain {
        Some(asked) if **asked != *identity.trust_domain() => {
            Err(StartError::TrustDomain { asked: Arc::clone(asked), identity })
        }
        _ => Ok(Arc::clone(workload)),
    }
}

fn unknown_workload(config: &Config, asked: &LocalWorkload, mesh: &Mesh) -> StartError {
    const SHOWN: usize = 5;
    let names: Vec<String> = mesh
        .workloads()
        .take(SHOWN)
        .map(|w| format!("{}/{}/{}", w.namespace, w.name, w.identity().service_account()))
        .collect();
    let more = mesh.workloads().count().saturating_sub(SHOWN);
    StartError::UnknownWorkload {
        asked: format!("{}/{}/{}", asked.namespace, asked.name, asked.service_account),
        source_name: match &config.mesh {
            Some(MeshSource::File(path)) => path.display().to_string(),
            Some(MeshSource::Inline(_)) => "LOCAL_XDS".to_owned(),
            None => "the control plane's tables".to_owned(),
        },
        known: match (names.as_slice(), more) {
            ([], _) => "none".to_owned(),
            (names, 0) => names.join(", "),
            (names, more) => format!("{} and {more} more", names.join(", ")),
        },
    }
}

/// A running node proxy.
#[derive(Debug)]
pub struct Instance {
    shards: Shards,
    crew: Arc<Crew>,
    addresses: Addresses,
    identity: Option<Identity>,
}

/// Where an instance listens; in shared mode, where it does in every pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// Captured outbound.
    pub outbound: SocketAddr,
    /// Captured inbound plaintext.
    pub inbound_plain: SocketAddr,
    /// HBONE.
    pub hbone: SocketAddr,
    /// SOCKS5, if it listens.
    pub socks5: Option<SocketAddr>,
    /// Entries, in the order in which they were asked for.
    pub entries: Vec<SocketAddr>,
}

impl Instance {
    /// Binds every listener, starts every shard, and returns when all of them run. In shared mode that is the HBONE listener of
    /// our own pod, if there is to be one: listeners of pods come later.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(config: &Config, parts: Parts) -> Result<Self, StartError> {
        let mesh = parts.tables.current();
        let (identity, listeners, addresses) = match &config.mode {
            Mode::Dedicated(workload) => {
                let identity = local_workload(config, workload, &mesh)?.identity();
                // A certificate that cannot be had is a startup error, not one of the first connection.
                parts.certificates.prepare(&identity)?;
                let mut sockets = parts.sockets;
                let (listeners, addresses) = match &parts.serve {
                    Some(_) => bind_waypoint(config, &mut sockets)?,
                    None => bind(config, &parts.entries, sockets)?,
                };
                (Some(identity), listeners, addresses)
            }
            Mode::Shared(shared) => {
                let mut sockets = parts.sockets;
                let own = shared.own.iter().map(|_| bind_own(config, &mut sockets));
                (None, own.collect::<Result<_, _>>()?, in_pods(config))
            }
        };
        let count = config.threads.get();
        let crew = Crew::new(count);
        let shares = share_out(listeners, &crew);
        let setup = ShardSetup {
            ports: Ports {
                outbound: addresses.outbound.port(),
                inbound_plain: addresses.inbound_plain.port(),
                hbone: addresses.hbone.port(),
                socks5: addresses.socks5.map(|address| address.port()),
            },
            config: config.clone(),
            waypoint: parts.serve.is_some(),
            mesh: Arc::clone(&mesh),
            certificates: parts.certificates.clone(),
            observe: parts.observe,
            questions: parts.questions,
            runtimes: parts.runtimes,
            shares: Mutex::new(shares),
        };
        let record = config.record.as_ref().filter(|_| parts.serve.is_none());
        let shards = match record {
            None if let Some(serve) = parts.serve => spawn_serving(count, setup, serve),
            None => spawn(config.runtime, count, setup, |_, _, shard| Ok(shard)),
            Some(directory) => {
                let clock = Arc::clone(parts.certificates.clock());
                let recordings = Recordings::create(directory, config.mode.own(), count, clock)?;
                spawn(config.runtime, count, setup, move |index, seed, shard| {
                    recordings.record(index, seed, shard)
                })
            }
        }?;
        parts.tables.attach(shards.handles(), &mesh);
        Ok(Self { shards, crew, addresses, identity })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Whom it stands for, in dedicated mode.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Its shards, to share further listening sockets among.
    pub const fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    /// Handles to its shards, to drain or end them from elsewhere.
    #[must_use]
    pub fn handles(&self) -> &[Handle] {
        self.shards.handles()
    }

    /// Waits until every shard is drained. Blocks.
    ///
    /// # Errors
    /// A shard ended otherwise.
    pub fn join(self) -> Result<(), ShardError> {
        self.shards.join()
    }
}

/// Each shard's own descriptors of the shared listening sockets, taken by the shard when it starts: a descriptor left
/// anywhere else would keep the port open during a drain.
type Shares = Vec<Option<Vec<BoundListener>>>;

fn bind(
    config: &Config,
    entries: &[(SocketAddr, SocketAddr)],
    mut sockets: Sockets,
) -> Result<(Vec<BoundListener>, Addresses), StartError> {
    let mut listeners = Vec::new();
    let mut bind = |listener, address, transparency, destination: Option<SocketAddr>| {
        let spec = ListenerSpec { listener, address, transparency, reuse_port: false };
        let bound = sockets.listen(&spec, None, &config.sockets)?;
        let address = bound.local_addr()?;
        listeners.push(match destination {
            Some(destination) => bound.leading_to(destination),
            None => bound,
        });
        Ok::<_, StartError>(address)
    };
    let listen = &config.listen;
    let transparency = config.transparency;
    let addresses = Addresses {
        outbound: bind(Listener::Outbound, listen.outbound, transparency, None)?,
        inbound_plain: bind(Listener::InboundPlain, listen.inbound_plain, transparency, None)?,
        hbone: bind(Listener::InboundHbone, listen.hbone, transparency, None)?,
        socks5: listen.socks5.map(|at| bind(Listener::Socks5, at, transparency, None)).transpose()?,
        entries: entries
            .iter()
            .map(|(at, to)| bind(Listener::Outbound, *at, Transparency::Never, Some(*to)))
            .collect::<Result<_, _>>()?,
    };
    Ok((listeners, addresses))
}

/// The one listener of a waypoint.
fn bind_waypoint(
    config: &Config,
    sockets: &mut Sockets,
) -> Result<(Vec<BoundListener>, Addresses), StartError> {
    let listener = bind_own(config, sockets)?;
    let addresses = Addresses { hbone: listener.local_addr()?, ..in_pods(config) };
    Ok((vec![listener], addresses))
}

/// The HBONE listener of our own pod in shared mode. Nothing redirects there, so nothing is marked, and our own servers see
/// us as their client (datapath §5.8).
fn bind_own(config: &Config, sockets: &mut Sockets) -> Result<BoundListener, BindError> {
    let spec = ListenerSpec {
        listener: Listener::InboundHbone,
        address: config.listen.hbone,
        transparency: Transparency::Never,
        reuse_port: false,
    };
    sockets.listen(&spec, None, &own_sockets(config))
}

/// How sockets are made that the shards' own proxy dials.
fn own_sockets(config: &Config) -> SocketOptions {
    SocketOptions { mark: config.control_mark(), ..config.sockets }
}

/// Where pods' proxies listen.
fn in_pods(config: &Config) -> Addresses {
    let listen = &config.listen;
    Addresses {
        outbound: listen.outbound,
        inbound_plain: listen.inbound_plain,
        hbone: listen.hbone,
        socks5: listen.socks5,
        entries: Vec::new(),
    }
}

fn share_out(listeners: Vec<BoundListener>, crew: &Arc<Crew>) -> Shares {
    let mut shares: Shares = (0..crew.count()).map(|_| Some(Vec::new())).collect();
    for listener in listeners {
        for (share, listener) in shares.iter_mut().zip(listener.share(crew, 0)) {
            share.get_or_insert_default().push(listener);
        }
    }
    shares
}

/// What every shard is made from.
struct ShardSetup {
    ports: Ports,
    config: Config,
    waypoint: bool,
    mesh: Arc<Mesh>,
    certificates: NodeCertificates,
    observe: Observe,
    questions: Arc<dyn Fn() -> Questions + Send + Sync>,
    runtimes: Runtimes,
    shares: Mutex<Shares>,
}

impl ShardSetup {
    /// Makes shard `index`, on its own thread.
    fn make<E>(
        &self,
        index: usize,
        mailbox: Mailbox,
        wrap: &dyn Fn(u64, Shard) -> io::Result<E>,
    ) -> io::Result<Setup<E, impl FnMut(Observed) + use<E>, ManagedCertificates>> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners = shares.get_mut(index).and_then(Option::take).unwrap_or_default();
        drop(shares);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.runtimes.add(runtime);
        }
        let seed = seed()?;
        let mut config = shard_config(&self.config, self.ports, seed);
        config.waypoint = self.waypoint;
        let config = Arc::new(config);
        let observe = Arc::clone(&self.observe);
        let shard = Shard::new(config, Arc::clone(&self.mesh), adit_core::time::Instant::ZERO);
        Ok(Setup {
            engine: wrap(seed, shard)?,
            observer: move |observed: Observed| observe(&observed),
            certificates: self.certificates.source(mailbox.handle()),
            questions: (self.questions)(),
            listeners,
            mailbox,
            config: DriveConfig {
                socket: own_sockets(&self.config),
                wall_clock: Some(Arc::clone(self.certificates.clock())),
                ..DriveConfig::default()
            },
        })
    }
}

/// Starts the threads of a waypoint, and waits until each of them has made its shard.
fn spawn_serving(count: usize, setup: ShardSetup, serve: Serve) -> Result<Shards, StartError> {
    let (started, starts) = channel();
    let setup = move |index, mailbox: Mailbox| {
        let (delivering, streams) = deliveries();
        let serving = serve(index, mailbox.handle(), streams);
        let mut made = setup.make(index, mailbox, &|_, shard| Ok(shard))?;
        made.config.deliveries = Some(Arc::new(delivering));
        // Nobody waits any more only when another shard has failed already.
        let _ = started.send(());
        Ok((made, serving))
    };
    let shards = adit_tokio::spawn_serving_shards(count, setup)?;
    await_starts(shards, &starts, count)
}

/// Starts the threads and waits until each of them has made its shard. `wrap` gets a shard's index, its seed and itself,
/// and says what is driven.
fn spawn<E: Engine>(
    runtime: Runtime,
    count: usize,
    setup: ShardSetup,
    wrap: impl Fn(usize, u64, Shard) -> io::Result<E> + Send + Sync + 'static,
) -> Result<Shards, StartError> {
    let (started, starts) = channel();
    let setup = move |index, mailbox| {
        let made = setup.make(index, mailbox, &|seed, shard| wrap(index, seed, shard));
        if made.is_ok() {
            // Nobody waits any more only when another shard has failed already.
            let _ = started.send(());
        }
        made
    };
    let shards = match runtime {
        Runtime::Tokio => adit_tokio::spawn_shards(count, setup),
        Runtime::Smol => adit_smol::spawn_shards(count, setup),
    }?;
    await_starts(shards, &starts, count)
}

/// Waits until `count` shards have said that they are made. A thread that ends before that, by an error or a panic, is
/// the end of all.
fn await_starts(shards: Shards, starts: &Receiver<()>, count: usize) -> Result<Shards, StartError> {
    /// How often the threads are looked at while nothing is heard of them.
    const LOOK: Duration = Duration::from_millis(20);
    let mut made = 0;
    while made < count {
        match starts.recv_timeout(LOOK) {
            Ok(()) => made += 1,
            Err(RecvTimeoutError::Timeout) if !shards.any_ended() => {}
            Err(_) => {
                shards.terminate();
                shards.join()?;
                return Err(io::Error::other("a shard ended while it started").into());
            }
        }
    }
    Ok(shards)
}

/// A number that nobody can guess.
///
/// # Errors
/// The system gives no random octets.
pub fn seed() -> io::Result<u64> {
    let mut seed = [0; 8];
    let random = adit_runtime::crypto::provider().secure_random;
    random.fill(&mut seed).map_err(|_| io::Error::other("the system gives no random octets"))?;
    Ok(u64::from_ne_bytes(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three threads of which the second ends as `how` says before its shard is made; the others wait for their end.
    fn start(how: fn() -> io::Result<()>) -> StartError {
        let (started, starts) = channel();
        let (never, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let shards = adit_runtime::spawn_shards(3, move |index, mailbox| {
            if index == 1 {
                return how();
            }
            let _ = started.send(());
            let _ =
                wait.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(Duration::from_millis(50));
            drop(mailbox);
            Ok(())
        });
        let error = await_starts(shards.unwrap(), &starts, 3).unwrap_err();
        drop(never);
        error
    }

    #[test]
    fn a_shard_that_panics_while_it_starts_is_an_error_and_no_hang() {
        let error = start(|| panic!("on purpose"));
        assert!(matches!(error, StartError::Shard(ShardError::Panicked { index: 1 })), "{error:?}");
        assert_eq!(error.to_string(), "cannot start: shard 1 panicked; please report the message above");
    }

    #[test]
    fn a_shard_that_cannot_be_made_says_why() {
        let error = start(|| Err(io::Error::other("no randomness")));
        assert_eq!(error.to_string(), "cannot start: shard 1 could not be started: no randomness");
    }
}
