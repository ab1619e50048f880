//! The node's resolver: what names mean to connections and, where it is on, the DNS proxy of this node's workload. On a
//! thread of its own: a push of the whole mesh never makes a question wait.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_control::dns::{Direct, ListenOptions, Listeners, Names, NamesConfig, ResolvConf, Setup, serve};
use adit_core::dns::{ForwarderConfig, Resolver, kubernetes_search};
use adit_core::proxy::{LocalWorkload, ProxyId};
use adit_ops::metrics::Metrics;
use adit_runtime::NetNs;

use crate::config::{Config, DnsListen};
use crate::handover::Sockets;
use crate::inpod::FromPod;
use crate::lookups::{NodeNames, PodNames};
use crate::tables::Tables;
use crate::thread::TokioThread;

/// Where name servers are listed.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long a question waits for the mesh to know who asks (datapath §7.1).
const PATIENCE: Duration = Duration::from_secs(5);

/// The resolver at work.
pub(crate) struct NodeResolver {
    setup: Setup,
    names: Names,
    /// Where clients in pods may name hosts, by SOCKS5.
    pods: Option<PodNames>,
    thread: TokioThread,
    listen: Option<DnsListen>,
    mark: Option<u32>,
}

impl fmt::Debug for NodeResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeResolver").finish_non_exhaustive()
    }
}

impl NodeResolver {
    /// Begins to look names up for connections.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(config: &Config, tables: &Tables, metrics: &Metrics) -> io::Result<Self> {
        let (search, forwarder) = match ResolvConf::load(Path::new(RESOLV_CONF)) {
            Ok(conf) => (Some(conf.search.clone()), conf.forwarder()),
            Err(error) => {
                tracing::warn!(%error, "names outside of the mesh are not known");
                (None, ForwarderConfig::new(Vec::new()))
            }
        };
        let counted = metrics.dns.clone();
        let setup = Setup {
            resolver: Resolver {
                cluster_domain: Arc::clone(&config.dns.cluster_domain),
                ipv6: config.dns.ipv6,
                preferred_namespace: config.dns.preferred_namespace.clone(),
            },
            // Without a workload of our own only names outside of the mesh are looked up for us.
            subject: config.mode.own().cloned().unwrap_or_default(),
            search: search.clone(),
            forwarder,
            egress: Arc::new(Direct { mark: config.control_mark() }),
            observer: Arc::new(move |asked, what| counted.observe(asked, what)),
            patience: PATIENCE,
            mesh: tables.watch(),
        };
        // What clients of the DNS proxy ask is counted; what we ask ourselves is no request of a workload.
        let own = Setup { observer: Arc::new(|_, _| {}), ..setup.clone() };
        let search = search.unwrap_or_default();
        let (names, server) = Names::new(own, NamesConfig { search, ..NamesConfig::default() });
        let thread = TokioThread::start("adit-dns")?;
        thread.spawn(async move {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "names of destinations are not looked up any more");
            }
        });
        let (listen, mark) = (config.dns.listen, config.sockets.mark);
        let pods = (config.mode.shared().is_some() && config.listen.socks5.is_some()).then(PodNames::default);
        Ok(Self { setup, names, pods, thread, listen, mark })
    }

    /// Asks for the addresses of names.
    pub(crate) const fn names(&self) -> &Names {
        &self.names
    }

    /// Who answers a shard's questions for names.
    pub(crate) fn source(&self) -> NodeNames {
        NodeNames { own: self.names.clone(), pods: self.pods.clone().unwrap_or_default() }
    }

    /// Looks up names that clients in a pod mean, if they can name any.
    pub(crate) fn start_names(&self, proxy: ProxyId, netns: &NetNs, subject: &LocalWorkload) {
        let Some(pods) = &self.pods else { return };
        let setup = Setup { observer: Arc::new(|_, _| {}), ..self.setup_of(netns, subject) };
        let search = kubernetes_search(&subject.namespace, &self.setup.resolver.cluster_domain).into();
        let (names, server) = Names::new(setup, NamesConfig { search, ..NamesConfig::default() });
        self.thread.spawn(async move {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "names that clients in a pod mean are not looked up any more");
            }
        });
        pods.insert(proxy, names);
    }

    /// The pod is gone.
    pub(crate) fn stop_names(&self, proxy: ProxyId) {
        if let Some(pods) = &self.pods {
            pods.remove(proxy);
        }
    }

    /// Binds the DNS proxy's sockets, if there is to be one, and begins to answer; when `drain` is ready it stops taking
    /// questions.
    ///
    /// # Errors
    /// A socket cannot be bound.
    pub(crate) fn serve(
        &self,
        sockets: &mut Sockets,
        drain: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Option<DnsProxy>> {
        let Some(listen) = self.listen else { return Ok(None) };
        let listeners = self.bind(listen, sockets, ListenOptions::default())?;
        Ok(Some(self.answer(listeners, self.setup.clone(), drain)))
    }

    /// The same for the pod `subject`, in its network namespace. Its search domains are those that Kubernetes gives pods.
    ///
    /// # Errors
    /// The namespace cannot be entered, or a socket not be bound.
    pub(crate) fn serve_pod(
        &self,
        (netns, sockets): (&NetNs, &mut Sockets),
        subject: &LocalWorkload,
        reuse_port: bool,
        drain: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Option<DnsProxy>> {
        let Some(listen) = self.listen else { return Ok(None) };
        let options = ListenOptions { mark: self.mark, reuse_port };
        let listeners = netns.enter(|| self.bind(listen, sockets, options))??;
        Ok(Some(self.answer(listeners, self.setup_of(netns, subject), drain)))
    }

    /// What names mean in a pod.
    fn setup_of(&self, netns: &NetNs, subject: &LocalWorkload) -> Setup {
        Setup {
            subject: subject.clone(),
            search: None,
            egress: Arc::new(FromPod { netns: netns.clone(), direct: Direct { mark: self.mark } }),
            ..self.setup.clone()
        }
    }

    /// The sockets of the proxy before this one, else new ones.
    fn bind(
        &self,
        listen: DnsListen,
        sockets: &mut Sockets,
        options: ListenOptions,
    ) -> io::Result<Listeners> {
        let mut get = |address| sockets.dns(address).map_or_else(|| Listeners::bind(address, options), Ok);
        let listeners = match listen {
            DnsListen::Loopback(port) => Listeners::on_loopback(port, self.setup.resolver.ipv6, get)?,
            DnsListen::At(address) => get(address)?,
        };
        sockets.offer_dns(&listeners);
        Ok(listeners)
    }

    fn answer(
        &self,
        listeners: Listeners,
        setup: Setup,
        drain: impl Future<Output = ()> + Send + 'static,
    ) -> DnsProxy {
        let address = listeners.udp.first().and_then(|socket| socket.local_addr().ok());
        DnsProxy { task: self.thread.spawn(serve(listeners, setup, drain)), address }
    }

    /// Ends `proxy` at once, and waits until its sockets are closed.
    pub(crate) async fn abort(&self, proxy: DnsProxy) {
        proxy.task.abort();
        // An error says that it was ended, which is what was wanted.
        let _ = proxy.task.await;
        // The tasks of its sockets end behind it, on the same thread.
        let _ = self.thread.spawn(tokio::task::yield_now()).await;
    }

    /// Waits until every question to `proxy` is answered, after the drain was asked for; no longer than `limit`.
    pub(crate) fn end(&self, proxy: DnsProxy, limit: Duration) {
        match self.thread.wait(async { tokio::time::timeout(limit, proxy.task).await }) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the DNS proxy failed"),
            Ok(Err(error)) => tracing::error!(%error, "the DNS proxy panicked"),
            Err(_) => tracing::warn!("DNS questions are left unanswered"),
        }
    }
}

/// The DNS proxy at work.
#[derive(Debug)]
pub(crate) struct DnsProxy {
    task: tokio::task::JoinHandle<io::Result<()>>,
    address: Option<SocketAddr>,
}

impl DnsProxy {
    /// Where it listens.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}
