//! What is done with pods, and who is told of it: the side of whoever owns the proxies.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use adit_core::inpod::NetnsId;
use adit_core::proxy::{LocalWorkload, ProxyId};

/// A pod that shall have a proxy.
#[derive(Clone, Debug)]
pub struct PodStart {
    /// The proxy to be.
    pub id: ProxyId,
    /// The pod's Kubernetes uid: for people, metrics and dumps. Proxies are told apart by `id`.
    pub uid: Arc<str>,
    /// Namespace, name and service account: half of its identity. The trust domain is the mesh's, once the mesh knows the
    /// workload.
    pub workload: LocalWorkload,
    /// The pod's network namespace. It lives as long as somebody holds this: keep it for sockets that are made later, and
    /// drop it when the proxy is stopped.
    pub netns: Arc<OwnedFd>,
    /// What `netns` is.
    pub netns_id: NetnsId,
}

/// Starts and stops the proxies of pods. One call at a time: the next comes when the future of the last has ended.
pub trait PodSink: Send + Sync + 'static {
    /// Binds the pod's listeners in its network namespace and starts to serve. Ends when all are bound: until then the pod
    /// waits to be started, and the agent waits for the answer (5 s).
    ///
    /// When that takes more than some seconds, the future is dropped and `stop` follows.
    ///
    /// # Errors
    /// Why not, for the agent's log. Then nothing of this proxy is left; it is tried again, with the same id, after some
    /// seconds.
    fn start(&self, pod: PodStart) -> impl Future<Output = Result<(), String>> + Send;

    /// Ends the proxy at once: no GOAWAY, no grace. Ends when its listeners are closed, so that another can bind the same
    /// ports; connections, certificates and the rest may take a little longer. An unknown id changes nothing. When it takes
    /// more than a second, others wait no longer and the future is dropped; the proxy must end all the same.
    fn stop(&self, id: ProxyId) -> impl Future<Output = ()> + Send;
}

/// Is told what metrics and readiness show of pods (interfaces §3.2, §5.3).
pub trait PodObserver: Send + 'static {
    /// `workload_manager_active_proxy_count` and `workload_manager_pending_proxy_count`, on every change.
    fn counts(&self, active: usize, pending: usize);

    /// `workload_manager_proxies_started_total` grows by one.
    fn started(&self);

    /// `workload_manager_proxies_stopped_total` grows by one.
    fn stopped(&self);

    /// The readiness task `workload proxy manager`: not ready at first, then told on every change.
    fn ready(&mut self, ready: bool);
}
