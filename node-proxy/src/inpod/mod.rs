//! Shared mode: the proxies of this node's pods, each in its pod's network namespace (datapath §1.2, interfaces §3.2).
//!
//! [`InPod`] is what the client of the CNI agent asks to start and stop them: sockets bound in the namespace, one proxy on
//! every shard, the pod's own DNS proxy, its certificate fetched ahead; and all of it undone.

mod identities;
mod pod;
mod report;
mod resolver;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_control::zds::{PodSink, PodStart, View, Zds, own_netns};
use adit_core::inpod::{self, NetnsId, ProtocolError};
use adit_core::proxy::ProxyId;
use adit_ops::capture::Captures;
use adit_ops::metrics::Metrics;
use adit_ops::readiness::Readiness;
use adit_runtime::{BoundListener, Crew, Handle, NetNs, NewProxy, SocketOptions};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use self::identities::Identities;
use self::pod::PodListeners;
use self::report::Reports;
pub(crate) use self::resolver::FromPod;
use crate::certificates::NodeCertificates;
use crate::check::watch;
use crate::config::{Config, Shared};
use crate::handover::{Handover, Sockets};
use crate::instance::{Instance, seed};
use crate::names::{DnsProxy, NodeResolver};
use crate::stopping::Stopping;
use crate::tables::Tables;
use crate::thread::TokioThread;

/// What shared mode is made from.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) shared: &'a Shared,
    pub(crate) instance: &'a Instance,
    pub(crate) tables: &'a Arc<Tables>,
    pub(crate) certificates: &'a NodeCertificates,
    pub(crate) resolver: &'a Arc<NodeResolver>,
    pub(crate) metrics: &'a Metrics,
    pub(crate) readiness: &'a Readiness,
    /// What is found of the pods' capture.
    pub(crate) captures: &'a Captures,
    /// Sockets from the process before this one, and for the next.
    pub(crate) handover: Option<&'a Handover>,
    pub(crate) stopping: &'a Stopping,
    /// Runs the client of the agent.
    pub(crate) control: &'a TokioThread,
}

/// The pods' proxies at work, and the client that follows the CNI agent.
#[derive(Debug)]
pub(crate) struct Pods {
    sink: Arc<InPod>,
    agent: JoinHandle<Result<(), ProtocolError>>,
    view: View,
}

/// The proxies of pods.
pub(crate) struct InPod {
    listeners: PodListeners,
    sockets: SocketOptions,
    shards: Vec<Handle>,
    crew: Arc<Crew>,
    resolver: Arc<NodeResolver>,
    stopping: Stopping,
    identities: Arc<Identities>,
    handover: Option<Handover>,
    running: Mutex<BTreeMap<ProxyId, Running>>,
    /// There is a new pod.
    come: Notify,
}

/// A pod that has a proxy.
struct Running {
    /// For looking whether its connections come here.
    pod: watch::Pod,
    netns: NetnsId,
    dns: Option<DnsProxy>,
}

impl std::fmt::Debug for InPod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InPod").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

impl Pods {
    /// Begins to follow the CNI agent, which has to be done only when the mesh is known: pods that it names are served from
    /// then on.
    ///
    /// # Errors
    /// The system gives no random octets, or our own network namespace cannot be looked at.
    pub(crate) fn start(parts: &Parts<'_>) -> std::io::Result<Self> {
        let Parts { config, shared, instance, tables, .. } = parts;
        let own = config.mode.own().cloned();
        let identities =
            Identities::start(own, parts.certificates.clone(), parts.metrics.clone(), tables, parts.control);
        let sink = Arc::new(InPod {
            listeners: PodListeners::new(config, shared),
            sockets: config.sockets,
            shards: instance.handles().to_vec(),
            crew: Arc::clone(instance.crew()),
            resolver: Arc::clone(parts.resolver),
            stopping: parts.stopping.clone(),
            identities,
            handover: parts.handover.cloned(),
            running: Mutex::default(),
            come: Notify::new(),
        });
        let settings =
            inpod::Settings { own_netns: Some(own_netns()?), seed: seed()?, ..inpod::Settings::default() };
        let reports = Reports::new(parts.metrics.pods.clone(), parts.readiness.clone());
        let (client, view) = Zds::new(shared.agent.clone(), settings, Arc::clone(&sink), reports);
        let (watched, captures) = (Arc::clone(&sink), parts.captures.clone());
        let (metrics, readiness) = (parts.metrics.clone(), parts.readiness.clone());
        let ended = parts.stopping.asked();
        parts.control.spawn(async move {
            let pods = || watched.running().values().map(|running| running.pod.clone()).collect();
            tokio::select! {
                () = watch::watch(pods, (watch::PERIOD, &watched.come), &captures, &metrics, &readiness) => {}
                // From then on connections go to the next proxy.
                () = ended => {}
            }
        });
        let (asked, stopping) = (parts.stopping.asked(), parts.stopping.clone());
        let agent = parts.control.spawn(async move {
            let ended = client.run(asked).await;
            if ended.is_err() {
                stopping.begin();
            }
            ended
        });
        Ok(Self { sink, agent, view })
    }

    /// What may be seen of them.
    pub(crate) const fn view(&self) -> &View {
        &self.view
    }

    /// Waits, after the drain was asked for, for what is left beside the shards; no longer than `limit`.
    ///
    /// # Errors
    /// Why we have followed the agent no longer, if not because of the drain.
    pub(crate) fn end(self, control: &TokioThread, limit: Duration) -> Result<(), ProtocolError> {
        let begun = Instant::now();
        let left = || limit.saturating_sub(begun.elapsed());
        let proxies: Vec<_> = std::mem::take(&mut *self.sink.running()).into_values().collect();
        for dns in proxies.into_iter().filter_map(|running| running.dns) {
            self.sink.resolver.end(dns, left());
        }
        match control.wait(async { tokio::time::timeout(left(), self.agent).await }) {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                tracing::error!(%error, "the client of the CNI agent panicked");
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }
}

impl InPod {
    fn running(&self) -> MutexGuard<'_, BTreeMap<ProxyId, Running>> {
        // Each change is one call of the map, so a panic elsewhere leaves it whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a pod's proxy. Nothing here waits for anything, so a call is never left half done.
    fn bring_up(&self, pod: PodStart) -> Result<(), String> {
        let netns = NetNs::new(Arc::clone(&pod.netns));
        let (listeners, dns) = self.listen(&netns, &pod).inspect_err(|_| self.forget(pod.netns_id))?;
        let proxy = pod.id;
        // Pods have different homes, so that quiet ones do not all wake one shard.
        let home = proxy.0 as usize;
        let mut shares: Vec<_> =
            listeners.into_iter().map(|bound| bound.share(&self.crew, home).into_iter()).collect();
        self.resolver.start_names(proxy, &netns, &pod.workload);
        self.identities.add(proxy, pod.workload.clone());
        for shard in &self.shards {
            shard.add_proxy(NewProxy {
                id: proxy,
                local: pod.workload.clone(),
                listeners: shares.iter_mut().filter_map(Iterator::next).collect(),
                netns: Some(netns.clone()),
                sockets: self.sockets,
            });
        }
        self.running().insert(proxy, Running { pod: watch::Pod::from(&pod), netns: pod.netns_id, dns });
        self.come.notify_one();
        Ok(())
    }

    /// The pod's sockets, all of them.
    fn listen(
        &self,
        netns: &NetNs,
        pod: &PodStart,
    ) -> Result<(Vec<BoundListener>, Option<DnsProxy>), String> {
        let handover = self.handover.as_ref();
        let mut sockets = handover.map_or_else(Sockets::default, |handover| handover.of(pod.netns_id));
        let listeners = self.listeners.bind(netns, &mut sockets)?;
        let (reuse_port, drain) = (self.listeners.dns_reuses_port(), self.stopping.asked());
        let dns = self.resolver.serve_pod((netns, &mut sockets), &pod.workload, reuse_port, drain);
        Ok((listeners, dns.map_err(|error| error.to_string())?))
    }

    /// Nobody gets the sockets of this namespace any more.
    fn forget(&self, netns: NetnsId) {
        if let Some(handover) = &self.handover {
            handover.forget(netns);
        }
    }
}

impl PodSink for InPod {
    async fn start(&self, pod: PodStart) -> Result<(), String> {
        self.bring_up(pod)
    }

    async fn stop(&self, proxy: ProxyId) {
        let Some(Running { netns, dns, .. }) = self.running().remove(&proxy) else { return };
        self.forget(netns);
        let stopped: Vec<_> = self
            .shards
            .iter()
            .map(|shard| {
                let (done, stopped) = oneshot::channel();
                shard.remove_proxy(proxy, move || {
                    // Nobody waits any more only if it has taken too long.
                    let _ = done.send(());
                });
                stopped
            })
            .collect();
        let (resolver, identities) = (Arc::clone(&self.resolver), Arc::clone(&self.identities));
        // A task, which goes on to its end when nobody waits for it any more.
        let rest = tokio::spawn(async move {
            if let Some(dns) = dns {
                resolver.abort(dns).await;
            }
            for stopped in stopped {
                // An error: the shard has ended.
                let _ = stopped.await;
            }
            resolver.stop_names(proxy);
            identities.remove(proxy);
        });
        if let Err(error) = rest.await {
            tracing::error!(%error, "a pod's proxy was not taken down as a whole");
        }
    }
}
