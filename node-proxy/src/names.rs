//! The DNS proxy of this node's workload, on a thread of its own: a push of the whole mesh never makes a question wait.
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_control::dns::{Direct, Listeners, ResolvConf, Setup, Subject, serve};
use adit_core::dns::{ForwarderConfig, Resolver};
use adit_ops::metrics::Metrics;

use crate::config::{Config, Dns, DnsListen};
use crate::tables::Tables;
use crate::thread::TokioThread;

/// Where name servers are listed.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long a question waits for the mesh to know who asks (datapath §7.1).
const PATIENCE: Duration = Duration::from_secs(5);

/// The server at work.
#[derive(Debug)]
pub(crate) struct DnsProxy {
    task: tokio::task::JoinHandle<io::Result<()>>,
    address: Option<SocketAddr>,
    thread: TokioThread,
}

impl DnsProxy {
    /// Binds its sockets and begins to answer; when `drain` is ready it stops taking questions.
    ///
    /// # Errors
    /// A socket cannot be bound, or the thread not be started.
    pub(crate) fn start(
        config: &Config,
        dns: &Dns,
        tables: &Tables,
        metrics: &Metrics,
        drain: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let listeners = match dns.listen {
            DnsListen::Loopback(port) => Listeners::bind_loopback(port, dns.ipv6)?,
            DnsListen::At(address) => Listeners::bind(&[address])?,
        };
        let address = listeners.udp.first().and_then(|socket| socket.local_addr().ok());
        let (search, forwarder) = match ResolvConf::load(Path::new(RESOLV_CONF)) {
            Ok(conf) => (Some(conf.search.clone()), conf.forwarder()),
            Err(error) => {
                tracing::warn!(%error, "DNS questions about names outside of the mesh are answered with SERVFAIL");
                (None, ForwarderConfig::new(Vec::new()))
            }
        };
        let counted = metrics.dns.clone();
        let workload = config.workload.clone();
        let setup = Setup {
            resolver: Resolver {
                cluster_domain: Arc::clone(&dns.cluster_domain),
                ipv6: dns.ipv6,
                preferred_namespace: dns.preferred_namespace.clone(),
            },
            subject: Subject {
                namespace: workload.namespace,
                name: workload.name,
                service_account: workload.service_account,
            },
            search,
            forwarder,
            egress: Arc::new(Direct { mark: config.sockets.mark }),
            observer: Arc::new(move |asked, what| counted.observe(asked, what)),
            patience: PATIENCE,
            mesh: tables.watch(),
        };
        let thread = TokioThread::start("adit-dns")?;
        let task = thread.spawn(serve(listeners, setup, drain));
        Ok(Self { task, address, thread })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Waits until every question is answered, after the drain was asked for; no longer than `limit`.
    pub(crate) fn end(self, limit: Duration) {
        let Self { task, thread, .. } = self;
        match thread.wait(async { tokio::time::timeout(limit, task).await }) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the DNS proxy failed"),
            Ok(Err(error)) => tracing::error!(%error, "the DNS proxy panicked"),
            Err(_) => tracing::warn!("DNS questions are left unanswered"),
        }
    }
}
