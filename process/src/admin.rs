//! What the admin pages show of this process.
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adit_control::grpc::Roots;
use adit_control::zds::View;
use adit_core::inpod::{Known, State};
use adit_core::mesh::Mesh;
use adit_core::proxy::LocalWorkload;
use adit_core::proxy::observed::Connection;
use adit_ops::admin::{AdminState, CertificateStatus, ProxyState, ProxyStatus, Version};
use adit_ops::capture::{Captures, PodCapture};
use adit_ops::metrics::Metrics;
use adit_runtime::Transparency;
use serde_json::{Value, json};

use crate::certificates::NodeCertificates;
use crate::config::{Authority, Config, DnsListen, Mode, Upstream};
use crate::tables::Tables;

/// This process, for its admin pages.
#[derive(Debug)]
pub struct ProcessState {
    tables: Arc<Tables>,
    /// Dedicated mode: whom we stand for.
    local: Option<LocalWorkload>,
    /// Shared mode: the pods, once the CNI agent is followed.
    pods: OnceLock<View>,
    captures: Captures,
    certificates: NodeCertificates,
    metrics: Metrics,
    config: Value,
    istio_version: String,
}

impl ProcessState {
    /// The state of a process with these parts.
    #[must_use]
    pub fn new(
        config: &Config,
        tables: &Arc<Tables>,
        certificates: &NodeCertificates,
        metrics: &Metrics,
    ) -> Self {
        Self {
            tables: Arc::clone(tables),
            local: match &config.mode {
                Mode::Dedicated(workload) => Some(workload.clone()),
                Mode::Shared(_) => None,
            },
            pods: OnceLock::new(),
            captures: Captures::default(),
            certificates: certificates.clone(),
            metrics: metrics.clone(),
            config: shown(config),
            istio_version: config.istio_version.clone(),
        }
    }

    /// What is found of the pods' capture, to be filled in.
    pub const fn found(&self) -> &Captures {
        &self.captures
    }

    /// From now on the pods of `view` are shown.
    pub fn follow(&self, view: &View) {
        // It is told once.
        let _ = self.pods.set(view.clone());
    }

    /// The proxy of dedicated mode.
    fn own(&self) -> Option<ProxyState> {
        let LocalWorkload { namespace, name, service_account } = self.local.as_ref()?;
        let mesh = self.tables.current();
        let known = self.local.as_ref().and_then(|local| local.found_in(&mesh));
        Some(ProxyState {
            uid: known.map(|workload| Arc::clone(&workload.uid)).unwrap_or_default(),
            status: if known.is_some() { ProxyStatus::Up } else { ProxyStatus::Pending },
            name: Arc::clone(name),
            namespace: Arc::clone(namespace),
            service_account: Arc::clone(service_account),
        })
    }
}

fn pod(pod: Known) -> ProxyState {
    let LocalWorkload { namespace, name, service_account } = pod.workload;
    let status = match pod.state {
        State::Up => ProxyStatus::Up,
        State::Starting | State::Pending(_) => ProxyStatus::Pending,
    };
    ProxyState { uid: pod.uid, status, name, namespace, service_account }
}

impl AdminState for ProcessState {
    fn mesh(&self) -> Arc<Mesh> {
        self.tables.current()
    }

    fn static_mesh(&self) -> Option<Arc<Mesh>> {
        self.tables.local().map(Arc::clone)
    }

    fn certificates(&self) -> Vec<CertificateStatus> {
        self.certificates.shown()
    }

    fn proxies(&self) -> Vec<ProxyState> {
        let pods = self.pods.get().map(View::pods).unwrap_or_default();
        self.own().into_iter().chain(pods.into_iter().map(pod)).collect()
    }

    fn captures(&self) -> Vec<PodCapture> {
        self.captures.pods()
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.metrics.connections()
    }

    fn config(&self) -> Value {
        self.config.clone()
    }

    fn version(&self) -> Version {
        let unknown = || "unknown".to_owned();
        Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_revision: option_env!("ADIT_GIT_REVISION").map_or_else(unknown, str::to_owned),
            rust_version: option_env!("ADIT_RUST_VERSION").map_or_else(unknown, str::to_owned),
            build_profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            build_status: option_env!("ADIT_BUILD_STATUS").map_or_else(unknown, str::to_owned),
            istio_version: self.istio_version.clone(),
            crypto_provider: "tls-aws-lc".to_owned(),
        }
    }

    fn shut_down(&self) {
        // The thread that waits for signals drains the shards.
        if let Err(error) = signal_hook::low_level::raise(signal_hook::consts::SIGTERM) {
            tracing::error!(%error, "the drain that was asked for cannot begin");
        }
    }
}

fn duration(duration: Duration) -> Value {
    json!({"secs": duration.as_secs(), "nanos": duration.subsec_nanos()})
}

fn roots(upstream: &Upstream) -> Value {
    match &upstream.roots {
        Roots::File(path) => json!({"File": path}),
        Roots::System => json!("System"),
        Roots::Pem(text) => json!({"Static": text}),
    }
}

/// The configuration under ztunnel's keys (interfaces §4.2). Header values may be secrets, so only their names are shown.
fn shown(config: &Config) -> Value {
    let Config { listen, pool, http2, sockets, control, mode, .. } = config;
    let keepalive = sockets.keepalive;
    let names = |upstream: &Upstream| upstream.headers.keys().cloned().collect::<Vec<_>>();
    let address = |upstream: &Upstream| upstream.server.to_string();
    let alternative =
        |upstream: &Upstream| upstream.alternative_name.as_ref().map(|name| name.to_str().into_owned());
    let xds = control.xds.as_ref();
    let (ca, lifetime) = match &config.authority {
        Authority::Istio { upstream, lifetime } => (Some(upstream), Some(duration(*lifetime))),
        Authority::BuiltIn { .. } | Authority::Files(_) => (None, None),
    };
    let dns = &config.dns;
    let information = |workload: &LocalWorkload| {
        json!({
            "name": workload.name, "namespace": workload.namespace, "serviceAccount": workload.service_account
        })
    };
    let (dedicated, shared) = match mode {
        Mode::Dedicated(workload) => (Some(workload), None),
        Mode::Shared(shared) => (None, Some(shared)),
    };
    let mut shown = json!({
        "proxy": true,
        "dnsProxy": dns.listen.is_some(),
        "windowSize": http2.stream_window,
        "connectionWindowSize": http2.connection_window,
        "frameSize": http2.frame_size,
        "poolMaxStreamsPerConn": pool.max_streams,
        "poolUnusedReleaseTimeout": duration(pool.idle),
        "socks5Addr": listen.socks5,
        "adminAddr": listen.admin,
        "statsAddr": listen.stats,
        "readinessAddr": listen.readiness,
        "inboundAddr": listen.hbone,
        "inboundPlaintextAddr": listen.inbound_plain,
        "outboundAddr": listen.outbound,
        "network": config.network,
        "localNode": control.node.node_name,
        "proxyMode": if mode.shared().is_some() { "Shared" } else { "Dedicated" },
        "proxyWorkloadInformation": dedicated.map(information),
        "clusterId": control.cluster_id,
        "clusterDomain": dns.cluster_domain,
        "caAddress": ca.map(address),
        "caRootCert": ca.map(roots),
        "altCaHostname": ca.and_then(alternative),
        "xdsAddress": xds.map(address),
        "xdsRootCert": xds.map(roots),
        "altXdsHostname": xds.and_then(alternative),
        "preferedServiceNamespace": dns.preferred_namespace,
        "secretTtl": lifetime,
        "xdsOnDemand": control.on_demand,
        "fakeCa": matches!(config.authority, Authority::BuiltIn { .. }),
        "selfTerminationDeadline": duration(config.drain),
        "proxyMetadata": control.node.metadata,
        "numWorkerThreads": config.threads,
        "packetMark": sockets.mark,
        "socketConfig": {
            "keepaliveTime": keepalive.map(|keepalive| duration(keepalive.time)),
            "keepaliveInterval": keepalive.map(|keepalive| duration(keepalive.interval)),
            "keepaliveRetries": keepalive.map(|keepalive| keepalive.retries),
            "keepaliveEnabled": keepalive.is_some(),
            "userTimeoutEnabled": sockets.user_timeout
        },
        "xdsHeaders": xds.map(names),
        "caHeaders": ca.map(names),
        "crlPath": config.crl,
        "enableEnhancedBaggage": config.response_baggage
    });
    // Ports that may be anything are known to the listeners alone.
    let ports = [Some(listen.outbound), Some(listen.inbound_plain), Some(listen.hbone), listen.socks5];
    let ports: Vec<u16> = ports.into_iter().flatten().map(|address| address.port()).collect();
    let illegal_ports = (!ports.contains(&0)).then_some(ports);
    // Apart, as the macro has a limit.
    let more = json!({
        "dnsProxyAddr": dns.listen.map(|listen| match listen {
            DnsListen::Loopback(port) => format!("localhost:{port}"),
            DnsListen::At(address) => address.to_string(),
        }),
        "requireOriginalSource": match config.transparency {
            Transparency::Try => None,
            Transparency::Force => Some(true),
            Transparency::Never => Some(false),
        },
        "proxyArgs": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        "inpodUds": shared.map(|shared| &shared.agent),
        "inpodPortReuse": shared.map(|shared| shared.reuse_port),
        "ztunnelWorkload": shared.and_then(|shared| shared.own.as_ref()).map(information),
        "illegalPorts": illegal_ports,
        "ipv6Enabled": listen.ipv6,
        "localhostAppTunnel": config.localhost_app_tunnel
    });
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
    }
    shown
}
