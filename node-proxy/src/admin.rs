//! What the admin pages show of this process.
use std::sync::Arc;
use std::time::Duration;

use adit_core::mesh::{Mesh, Workload};
use adit_core::proxy::observed::Connection;
use adit_ops::admin::{AdminState, CertificateStatus, ProxyState, ProxyStatus, Version};
use adit_ops::metrics::Metrics;
use serde_json::{Value, json};

use crate::config::{Config, Root, Upstream};
use crate::instance::Certificates;

/// One proxy in dedicated mode, on tables from a local file.
#[derive(Debug)]
pub(crate) struct ProcessState {
    mesh: Arc<Mesh>,
    local: Arc<Workload>,
    certificates: Arc<Certificates>,
    metrics: Metrics,
    config: Value,
    istio_version: String,
}

impl ProcessState {
    pub(crate) fn new(
        config: &Config,
        mesh: &Arc<Mesh>,
        local: &Arc<Workload>,
        certificates: &Arc<Certificates>,
        metrics: &Metrics,
    ) -> Self {
        Self {
            mesh: Arc::clone(mesh),
            local: Arc::clone(local),
            certificates: Arc::clone(certificates),
            metrics: metrics.clone(),
            config: shown(config),
            istio_version: config.istio_version.clone(),
        }
    }
}

impl AdminState for ProcessState {
    fn mesh(&self) -> Arc<Mesh> {
        Arc::clone(&self.mesh)
    }

    fn static_mesh(&self) -> Option<Arc<Mesh>> {
        Some(Arc::clone(&self.mesh))
    }

    fn certificates(&self) -> Vec<CertificateStatus> {
        vec![self.certificates.status(self.local.identity_ref())]
    }

    fn proxies(&self) -> Vec<ProxyState> {
        vec![ProxyState {
            uid: Arc::clone(&self.local.uid),
            status: ProxyStatus::Up,
            name: Arc::clone(&self.local.name),
            namespace: Arc::clone(&self.local.namespace),
            service_account: self.local.identity_ref().service_account().into(),
        }]
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

fn root(upstream: &Upstream) -> Value {
    match &upstream.root {
        Root::File(path) => json!({"File": path}),
        Root::System => json!("System"),
        Root::Pem(text) => json!({"Static": text}),
    }
}

/// The configuration under ztunnel's keys (interfaces §4.2). Header values may be secrets, so only their names are shown.
fn shown(config: &Config) -> Value {
    let Config { listen, pool, http2, sockets, control, workload, .. } = config;
    let keepalive = sockets.keepalive;
    let names = |upstream: &Upstream| upstream.headers.keys().cloned().collect::<Vec<_>>();
    json!({
        "proxy": true,
        "dnsProxy": false,
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
        "proxyMode": "Dedicated",
        "proxyWorkloadInformation": {
            "name": workload.name, "namespace": workload.namespace, "serviceAccount": workload.service_account
        },
        "clusterId": control.cluster_id,
        "clusterDomain": control.cluster_domain,
        "caAddress": control.ca.address,
        "caRootCert": root(&control.ca),
        "altCaHostname": control.ca.alternative_name,
        "xdsAddress": control.xds.address,
        "xdsRootCert": root(&control.xds),
        "altXdsHostname": control.xds.alternative_name,
        "preferedServiceNamespace": control.preferred_service_namespace,
        "secretTtl": duration(control.secret_ttl),
        "xdsOnDemand": control.on_demand,
        "fakeCa": true,
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
        "xdsHeaders": names(&control.xds),
        "caHeaders": names(&control.ca),
        "crlPath": control.crl,
        "enableEnhancedBaggage": config.response_baggage
    })
}
