//! What a shard is told once: limits, deadlines, and whom it stands for.
use alloc::sync::Arc;
use core::time::Duration;

use crate::hbone::TunnelConfig;
use crate::hbone::establish::EstablishLimits;
use crate::mesh::{Mesh, Workload};
use crate::pool::PoolConfig;
use crate::route::RouteConfig;

/// Everything a shard must know before its first connection; immutable.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Settings of each tunnel as a client of another proxy.
    pub client: Arc<TunnelConfig>,
    /// Settings of each tunnel that others open to us.
    pub server: Arc<TunnelConfig>,
    /// Which tunnels are shared, and for how long.
    pub pool: PoolConfig,
    /// Deadlines of establishment: certificate, dial, TLS and SETTINGS.
    pub establish: EstablishLimits,
    /// HBONE port and the ports that would loop.
    pub route: RouteConfig,
    /// How long a peer may take to answer CONNECT. Default 20 s.
    pub connect_timeout: Duration,
    /// How long an application may take to accept a connection. Default 10 s.
    pub dial_timeout: Duration,
    /// How long a host name may take to be resolved. Default 10 s.
    pub resolve_timeout: Duration,
    /// How long the control plane may take to say what is behind a name that the tables lack. Default 5 s.
    pub demand_timeout: Duration,
    /// How long a connection waits until the tables know the workload it is from or for. Default 5 s (datapath §5.2).
    pub local_timeout: Duration,
    /// `XDS_ON_DEMAND`: the tables hold only what was asked for, so that what they lack is asked for before a connection
    /// is decided about. Default off.
    pub on_demand: bool,
    /// Open questions at one time, of each kind: for host names, for what outbound and for what inbound connections need
    /// to know of the mesh. Default 1024.
    pub max_questions: usize,
    /// How long a half-closed connection may stay silent. Default 5 min.
    pub half_closed_idle: Duration,
    /// How long a drain waits for live connections. Default 5 s.
    pub drain_grace: Duration,
    /// How long a closing tunnel may take to write its last octets. Default 1 s.
    pub close_grace: Duration,
    /// A received reset becomes FIN everywhere, as upstream's ztunnel does. Default off (design §3).
    pub resets_as_fin: bool,
    /// `ENABLE_RESPONSE_BAGGAGE`: describe the destination in the answer, read the source's description. Default on.
    pub baggage: bool,
    /// Inbound tunnels in their handshake at one time; more are refused.
    pub max_handshakes: usize,
    /// Inbound tunnels at one time; more are refused.
    pub max_inbound_tunnels: usize,
    /// User connections at one time, in either direction; more are refused. Default 65 536.
    pub max_connections: usize,
    /// Octets held for slow applications over all tunnels of one peer identity.
    pub max_held_per_identity: usize,
    /// Octets held for slow applications over all tunnels of this shard.
    pub max_held: usize,
    /// Octets of free buffers the shard keeps at most.
    pub max_free_buffers: usize,
    /// The shard is a waypoint's: streams that peers open end in this process ([`Action::Deliver`](super::Action::Deliver))
    /// instead of at an application's socket. Default off.
    pub waypoint: bool,
    /// Whom the shard stands for from its start ([`ProxyId::OWN`](super::ProxyId::OWN)): dedicated mode. `None`: it serves
    /// nobody until a proxy is added, as in in-pod mode.
    pub local: Option<LocalWorkload>,
    /// `NETWORK`: the network this proxy is on.
    pub network: Arc<str>,
    /// Seed of endpoint choice and trace ids; give each shard its own.
    pub seed: u64,
}

impl ShardConfig {
    /// The default of [`demand_timeout`](Self::demand_timeout).
    pub const DEMAND_TIMEOUT: Duration = Duration::from_secs(5);

    /// Defaults of upstream's ztunnel and of the design, for `local`, if there is one from the start.
    #[must_use]
    pub fn new(local: impl Into<Option<LocalWorkload>>, route: RouteConfig, seed: u64) -> Self {
        Self {
            client: Arc::new(TunnelConfig::client()),
            server: Arc::new(TunnelConfig::server()),
            pool: PoolConfig { max_streams: 100, idle: Duration::from_secs(300), max_tunnels: 10_000 },
            establish: EstablishLimits::default(),
            route,
            connect_timeout: Duration::from_secs(20),
            dial_timeout: Duration::from_secs(10),
            resolve_timeout: Duration::from_secs(10),
            demand_timeout: Self::DEMAND_TIMEOUT,
            local_timeout: Duration::from_secs(5),
            on_demand: false,
            max_questions: 1024,
            half_closed_idle: Duration::from_secs(300),
            drain_grace: Duration::from_secs(5),
            close_grace: Duration::from_secs(1),
            resets_as_fin: false,
            baggage: true,
            max_handshakes: 1024,
            max_inbound_tunnels: 10_000,
            max_connections: 65_536,
            max_held_per_identity: 64 << 20,
            max_held: 256 << 20,
            max_free_buffers: 4 << 20,
            waypoint: false,
            local: local.into(),
            network: Arc::from(""),
            seed,
        }
    }
}

/// The workload a proxy stands for: `PROXY_WORKLOAD_INFO` in dedicated mode, the CNI agent's `workload_info` in in-pod
/// mode. All three must be those of the entry in the tables: a pod is never served under another's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalWorkload {
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Workload (pod) name.
    pub name: Arc<str>,
    /// Service account.
    pub service_account: Arc<str>,
}

impl LocalWorkload {
    /// Its entry in the tables, once there is one.
    #[must_use]
    pub fn found_in<'a>(&self, mesh: &'a Mesh) -> Option<&'a Arc<Workload>> {
        mesh.workload_by_name(&self.namespace, &self.name, &self.service_account)
    }

    /// Whether it is `workload`.
    #[must_use]
    pub fn is(&self, workload: &Workload) -> bool {
        self.name == workload.name
            && self.namespace == workload.namespace
            && *self.service_account == *workload.identity_ref().service_account()
    }
}

impl core::fmt::Display for LocalWorkload {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{} ({})", self.service_account, self.namespace, self.name)
    }
}
