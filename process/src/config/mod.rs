//! The node proxy's configuration: environment variables of Istio's node proxy, and our own named `ADIT_*`.
//!
//! [`Config::from_vars`] is pure: the same variables give the same answer anywhere. A variable that upstream knows and
//! we do not support is refused; what has no effect beside the others is named in [`Config::warnings`].

mod authority;
mod control;
mod dns;
mod error;
mod mode;
mod proxy_config;
mod read;
mod threads;
mod unsupported;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_core::tls::RecordMode;
use adit_ops::access::Decisions;
use adit_ops::logging::Format;
use adit_ops::metrics::Bounds;
use adit_runtime::{Keepalive, SocketOptions, Transparency};

pub use self::authority::Authority;
pub use self::control::{ControlPlane, TokenSource, Upstream};
pub use self::dns::{Dns, DnsListen};
pub use self::error::{ConfigError, ConfigErrors};
pub use self::mode::{Mode, Shared};
use self::proxy_config::ProxyConfig;
use self::read::Reader;
pub use self::threads::Cpus;
use self::unsupported::Effects;
use self::value::{Entries, Octets};

/// The mark of packets in pods, unless `PACKET_MARK` says otherwise.
const IN_POD_MARK: u32 = 1337;

/// Everything `adit-node proxy` reads from its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The local file (`LOCAL_XDS_PATH`, `LOCAL_XDS`): all of the mesh, or what is known before the control plane speaks.
    pub mesh: Option<MeshSource>,
    /// For whom the process works (`PROXY_MODE`).
    pub mode: Mode,
    /// `NETWORK`; empty by default.
    pub network: Arc<str>,
    /// `TRUST_DOMAIN`: if set, our own identity must be of it.
    pub trust_domain: Option<Arc<str>>,
    /// Where certificates come from.
    pub authority: Authority,
    /// `CRL_PATH`.
    pub crl: Option<PathBuf>,
    /// What names mean, and the DNS proxy.
    pub dns: Dns,
    /// `AUTHZ_POLICY_INFO_LOGGING`: how loud what policies decide is logged.
    pub decisions: Decisions,
    /// Where to listen.
    pub listen: Listen,
    /// `ADIT_HANDOVER_PATH`: where listening sockets are taken from the proxy before this one, and given to the next.
    pub handover: Option<PathBuf>,
    /// `ADIT_ENTRY`: listeners whose connections are taken as captured on their way to a fixed address.
    pub entries: Vec<(SocketAddr, SocketAddr)>,
    /// Options of the data path's sockets (`PACKET_MARK`, `KEEPALIVE_*`, `USER_TIMEOUT_ENABLED`).
    pub sockets: SocketOptions,
    /// `ENABLE_ORIG_SRC`: whether applications see their clients' own addresses.
    pub transparency: Transparency,
    /// Deadlines of waiting phases.
    pub deadlines: Deadlines,
    /// The pool of tunnels we open.
    pub pool: Pool,
    /// HTTP/2 settings we announce.
    pub http2: Http2,
    /// Bounds on memory and work.
    pub limits: Limits,
    /// How long open connections may go on after the signal to stop.
    pub drain: Duration,
    /// Shards, one thread each (`ZTUNNEL_WORKER_THREADS` and CPU limits).
    pub threads: NonZeroUsize,
    /// `ENABLE_RESPONSE_BAGGAGE`.
    pub response_baggage: bool,
    /// `LOCALHOST_APP_TUNNEL`: applications that are told the client in a PROXY header are dialled on loopback.
    pub localhost_app_tunnel: bool,
    /// `ADIT_RECORDS`: which implementation protects records.
    pub records: RecordMode,
    /// `ADIT_RECORD`: a directory for recordings of every shard ([`adit_runtime::record`]), which hold payload and the keys
    /// of tunnels.
    pub record: Option<PathBuf>,
    /// `ADIT_RESETS_AS_FIN`: end every stream with FIN, as upstream does, even one that was reset.
    pub resets_as_fin: bool,
    /// `ADIT_RUNTIME`; the command line's `--runtime` wins.
    pub runtime: Runtime,
    /// Bounds of the metrics (`ADIT_METRICS_MAX_SERIES`, `ADIT_METRICS_IDLE`).
    pub metrics: Bounds,
    /// `ISTIO_META_ISTIO_VERSION`, which metrics and the admin pages tell.
    pub istio_version: String,
    /// How the control plane is reached.
    pub control: ControlPlane,
    /// What was set and has no effect, or is dangerous, one sentence each.
    pub warnings: Vec<String>,
}

/// Where workloads, services and policies are read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MeshSource {
    /// A YAML file (`LOCAL_XDS_PATH`).
    File(PathBuf),
    /// YAML text (`LOCAL_XDS`).
    Inline(String),
}

/// Addresses of all listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// Captured outbound connections (15001).
    pub outbound: SocketAddr,
    /// Captured inbound plaintext (15006).
    pub inbound_plain: SocketAddr,
    /// HBONE (15008). Peers are dialled on the same port.
    pub hbone: SocketAddr,
    /// SOCKS5 (15080), only with `UNSTABLE_ENABLE_SOCKS5=true`.
    pub socks5: Option<SocketAddr>,
    /// Readiness (15021).
    pub readiness: SocketAddr,
    /// Metrics (15020).
    pub stats: SocketAddr,
    /// The admin pages (15000), on loopback only.
    pub admin: SocketAddr,
    /// Where what is for this machine alone listens.
    pub loopback: IpAddr,
    /// `IPV6_ENABLED`.
    pub ipv6: bool,
}

/// How long each phase may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deadlines {
    /// `ADIT_CERTIFICATE_TIMEOUT`: for our own certificate.
    pub certificate: Duration,
    /// `ADIT_DIAL_TIMEOUT`: a TCP connection.
    pub dial: Duration,
    /// `ADIT_HANDSHAKE_TIMEOUT`: TLS and HTTP/2 SETTINGS together.
    pub handshake: Duration,
    /// `ADIT_CONNECT_TIMEOUT`: the answer to CONNECT.
    pub connect: Duration,
    /// `ADIT_HALF_CLOSED_IDLE`: a half-closed connection without traffic.
    pub half_closed_idle: Duration,
}

/// The pool of tunnels we open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// `POOL_MAX_STREAMS_PER_CONNECTION`.
    pub max_streams: u32,
    /// `POOL_UNUSED_RELEASE_TIMEOUT`.
    pub idle: Duration,
}

/// HTTP/2 settings, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Http2 {
    /// `HTTP2_STREAM_WINDOW_SIZE`.
    pub stream_window: u32,
    /// `HTTP2_CONNECTION_WINDOW_SIZE`.
    pub connection_window: u32,
    /// `HTTP2_FRAME_SIZE`.
    pub frame_size: u32,
}

/// Bounds for the whole process unless said otherwise; shards share them out evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// `ADIT_MAX_BUFFERED_PER_TUNNEL`: octets held for slow readers of one tunnel.
    pub buffered_per_tunnel: usize,
    /// `ADIT_MAX_BUFFERED_PER_IDENTITY`: octets held for all tunnels of one peer identity.
    pub buffered_per_identity: usize,
    /// `ADIT_MAX_BUFFERED`: octets held in all.
    pub buffered: usize,
    /// `ADIT_MAX_INBOUND_TUNNELS`.
    pub inbound_tunnels: usize,
    /// `ADIT_MAX_OUTBOUND_TUNNELS`.
    pub outbound_tunnels: usize,
    /// `ADIT_MAX_CONNECTIONS`: user connections, in either direction.
    pub connections: usize,
    /// `ADIT_MAX_HANDSHAKES`: inbound handshakes in progress.
    pub handshakes: usize,
}

/// The event loop that drives the shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Runtime {
    /// tokio, one current-thread runtime per shard.
    #[default]
    Tokio,
    /// smol (async-io), one executor per shard.
    Smol,
}

/// What must be known before [`Config`] is read, because errors in it are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `RUST_LOG`; `info` by default.
    pub filter: String,
    /// `LOG_FORMAT`.
    pub format: Format,
}

/// The names of all variables that are honoured: those that [`Config::from_vars`] asks for beside the unsupported ones. A
/// command's help explains each.
#[must_use]
pub fn variables() -> Vec<&'static str> {
    let vars = BTreeMap::new();
    let mut reader = Reader::new(&vars);
    unsupported::check(&mut reader);
    let _ = Config::read(&mut reader, Cpus(NonZeroUsize::MIN));
    let mut names = [reader.asked(), vec!["RUST_LOG", "LOG_FORMAT", "ISTIO_META_ISTIO_VERSION"]].concat();
    // Kubernetes sets it; it only picks a default.
    names.retain(|name| !unsupported::names().contains(name) && *name != "KUBERNETES_SERVICE_HOST");
    names
}

impl LogConfig {
    /// Reads the two variables.
    #[must_use]
    pub fn from_vars(vars: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| vars.get(name).filter(|v| !v.is_empty());
        Self {
            filter: set("RUST_LOG").map_or_else(|| "info".to_owned(), Clone::clone),
            format: Format::from_setting(set("LOG_FORMAT").map(String::as_str)),
        }
    }
}

impl Config {
    /// Reads the configuration from `vars` (a process's environment) on a machine with `cpus` logical processors.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first thing.
    pub fn from_vars(vars: &BTreeMap<String, String>, cpus: Cpus) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(vars);
        unsupported::check(&mut reader);
        let config = Self::read(&mut reader, cpus);
        reader.finish(config)
    }

    /// The mark of our packets to the control plane and to name servers for ourselves. In shared mode the namespace that they
    /// leave from is nobody's pod, so that nothing redirects them.
    #[must_use]
    pub fn control_mark(&self) -> Option<u32> {
        self.sockets.mark.filter(|_| self.mode.shared().is_none())
    }

    /// `NODE_NAME`: the node this process is on, where it was told and a control plane says of workloads where they are.
    #[must_use]
    pub fn node(&self) -> Option<Arc<str>> {
        self.control.xds.as_ref()?;
        let name = &self.control.node.node_name;
        (!name.is_empty()).then(|| Arc::from(&**name))
    }

    /// Reads every variable. Where one is wrong the reader holds an error and the field a placeholder.
    fn read(reader: &mut Reader<'_>, cpus: Cpus) -> Self {
        let mut warnings = Vec::new();
        let socks5 = reader.boolean("UNSTABLE_ENABLE_SOCKS5", false);
        let proxy = ProxyConfig::read(reader);
        let mesh = mesh_source(reader);
        let control = ControlPlane::read(reader, &proxy, mesh.is_some());
        if mesh.is_none() && reader.given("XDS_ADDRESS") == Some("") {
            let expected =
                "the control plane's address, or a local file in LOCAL_XDS_PATH: one must tell the mesh";
            reader.refuse("XDS_ADDRESS", Some(""), expected);
        }
        let authority = Authority::read(reader, control.xds.is_some(), &mut warnings);
        let mode = Mode::read(reader);
        let listen = listen(reader, socks5, &proxy);
        let dns = Dns::read(reader, &control, &listen);
        if control.on_demand && dns.listen.is_some() {
            let expected =
                "`false`, or ISTIO_META_DNS_CAPTURE=false: the DNS proxy needs to know all of the mesh";
            reader.refuse("XDS_ON_DEMAND", Some("true"), expected);
        }
        let shared = mode.shared().is_some();
        let entries = reader.parsed("ADIT_ENTRY").map_or_else(Vec::new, |Entries(entries)| entries);
        if shared && let Some(entry) = reader.text("ADIT_ENTRY") {
            reader.refuse("ADIT_ENTRY", Some(entry), "nothing in shared mode: pods are captured");
        }
        if shared {
            same_ports_everywhere(reader, &listen);
        }
        let effects = Effects::new(shared, control.xds.is_some(), authority.as_ref());
        unsupported::warn(reader, &proxy, &effects, &mut warnings);
        Self {
            mesh,
            network: Arc::from(reader.text("NETWORK").unwrap_or_default()),
            trust_domain: reader.text("TRUST_DOMAIN").map(Arc::from),
            authority: authority.unwrap_or(Authority::BuiltIn { directory: None }),
            crl: reader.text("CRL_PATH").map(PathBuf::from),
            decisions: match reader.boolean("AUTHZ_POLICY_INFO_LOGGING", false) {
                true => Decisions::Loud,
                false => Decisions::Quiet,
            },
            dns,
            listen,
            handover: reader.text("ADIT_HANDOVER_PATH").map(PathBuf::from),
            entries,
            sockets: sockets(reader, &mode),
            mode,
            transparency: transparency(reader),
            deadlines: deadlines(reader),
            pool: pool(reader),
            http2: http2(reader),
            limits: limits(reader),
            drain: drain(reader),
            threads: threads::count(reader, cpus, proxy.concurrency),
            response_baggage: reader.boolean("ENABLE_RESPONSE_BAGGAGE", true),
            localhost_app_tunnel: reader.boolean("LOCALHOST_APP_TUNNEL", true),
            record: recordings(reader, &mut warnings),
            records: reader
                .word("ADIT_RECORDS", &[("in-place", RecordMode::InPlace), ("rustls", RecordMode::Rustls)])
                .unwrap_or_default(),
            resets_as_fin: reader.boolean("ADIT_RESETS_AS_FIN", false),
            runtime: reader
                .word("ADIT_RUNTIME", &[("tokio", Runtime::Tokio), ("smol", Runtime::Smol)])
                .unwrap_or_default(),
            metrics: Bounds {
                series: reader.ranged("ADIT_METRICS_MAX_SERIES", Bounds::default().series, 1..=1_000_000),
                idle: reader.positive_duration("ADIT_METRICS_IDLE", Bounds::default().idle),
            },
            istio_version: {
                let version =
                    control.node.metadata.get("ISTIO_VERSION").filter(|version| !version.is_empty());
                version.map_or_else(|| "unknown".to_owned(), Clone::clone)
            },
            control,
            warnings,
        }
    }
}

fn mesh_source(reader: &mut Reader<'_>) -> Option<MeshSource> {
    let file = reader.text("LOCAL_XDS_PATH");
    let inline = reader.text("LOCAL_XDS");
    match (file, inline) {
        (Some(path), None) => Some(MeshSource::File(path.into())),
        (None, Some(yaml)) => Some(MeshSource::Inline(yaml.to_owned())),
        (Some(path), Some(_)) => {
            reader.refuse(
                "LOCAL_XDS_PATH",
                Some(path),
                "only one of LOCAL_XDS_PATH and LOCAL_XDS: both are set",
            );
            None
        }
        (None, None) => None,
    }
}

fn recordings(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> Option<PathBuf> {
    let directory = reader.text("ADIT_RECORD").map(PathBuf::from)?;
    warnings.push(format!(
        "ADIT_RECORD: everything is recorded in {}, payload and the keys of tunnels included; whoever can read that \
         directory can read the traffic. It is slow, and the files grow without bound",
        directory.display()
    ));
    Some(directory)
}

fn listen(reader: &mut Reader<'_>, socks5: bool, proxy: &ProxyConfig) -> Listen {
    let ipv6 = reader.boolean("IPV6_ENABLED", true);
    let wildcard = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let bind = reader.parsed::<IpAddr>("ADIT_BIND_ADDRESS").unwrap_or(wildcard);
    // As for the admin pages, upstream binds SOCKS5 to 127.0.0.1 alone: it must never be open to the network unasked.
    let loopback = if bind.is_loopback() { bind } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let socks5_ip = reader.parsed::<IpAddr>("ADIT_SOCKS5_BIND_ADDRESS").unwrap_or(loopback);
    let socks5_port = reader.parsed("ADIT_SOCKS5_PORT").unwrap_or(15080);
    Listen {
        outbound: SocketAddr::new(bind, reader.parsed("ADIT_OUTBOUND_PORT").unwrap_or(15001)),
        inbound_plain: SocketAddr::new(bind, reader.parsed("ADIT_INBOUND_PORT").unwrap_or(15006)),
        hbone: SocketAddr::new(bind, reader.parsed("ADIT_HBONE_PORT").unwrap_or(15008)),
        socks5: socks5.then(|| SocketAddr::new(socks5_ip, socks5_port)),
        readiness: SocketAddr::new(bind, reader.parsed("ADIT_READINESS_PORT").unwrap_or(15021)),
        stats: {
            let port = proxy.stats_port.unwrap_or(15020);
            SocketAddr::new(bind, reader.parsed("ADIT_STATS_PORT").unwrap_or(port))
        },
        admin: {
            let port = proxy.proxy_admin_port.unwrap_or(15000);
            SocketAddr::new(loopback, reader.parsed("ADIT_ADMIN_PORT").unwrap_or(port))
        },
        loopback,
        ipv6,
    }
}

/// What a port leads to must not depend on the pod, or a proxy could not tell calls to its own ports.
fn same_ports_everywhere(reader: &mut Reader<'_>, listen: &Listen) {
    let ports = [
        ("ADIT_OUTBOUND_PORT", Some(listen.outbound)),
        ("ADIT_INBOUND_PORT", Some(listen.inbound_plain)),
        ("ADIT_HBONE_PORT", Some(listen.hbone)),
        ("ADIT_SOCKS5_PORT", listen.socks5),
    ];
    for (name, _) in ports.into_iter().filter(|(_, at)| at.is_some_and(|at| at.port() == 0)) {
        reader.refuse(name, Some("0"), "the same port in every pod: not 0 in shared mode");
    }
}

fn sockets(reader: &mut Reader<'_>, mode: &Mode) -> SocketOptions {
    // The redirection rules in pods know our packets by it (datapath §1.4).
    let usual = mode.shared().map(|_| IN_POD_MARK);
    let enabled = reader.boolean("KEEPALIVE_ENABLED", true);
    let keepalive = Keepalive {
        time: reader.duration("KEEPALIVE_TIME", Duration::from_secs(180)),
        interval: reader.duration("KEEPALIVE_INTERVAL", Duration::from_secs(180)),
        retries: reader.parsed("KEEPALIVE_RETRIES").unwrap_or(9),
    };
    SocketOptions {
        nodelay: true,
        keepalive: enabled.then_some(keepalive),
        user_timeout: reader.boolean("USER_TIMEOUT_ENABLED", false),
        mark: reader.parsed("PACKET_MARK").or(usual),
    }
}

fn transparency(reader: &mut Reader<'_>) -> Transparency {
    let words = [("true", Transparency::Force), ("false", Transparency::Never)];
    reader.word("ENABLE_ORIG_SRC", &words).unwrap_or(Transparency::Try)
}

fn deadlines(reader: &mut Reader<'_>) -> Deadlines {
    let ten = Duration::from_secs(10);
    Deadlines {
        certificate: reader.positive_duration("ADIT_CERTIFICATE_TIMEOUT", ten),
        dial: reader.positive_duration("ADIT_DIAL_TIMEOUT", ten),
        handshake: reader.positive_duration("ADIT_HANDSHAKE_TIMEOUT", ten),
        connect: reader.positive_duration("ADIT_CONNECT_TIMEOUT", Duration::from_secs(20)),
        half_closed_idle: reader.positive_duration("ADIT_HALF_CLOSED_IDLE", Duration::from_secs(300)),
    }
}

fn pool(reader: &mut Reader<'_>) -> Pool {
    Pool {
        max_streams: reader.ranged("POOL_MAX_STREAMS_PER_CONNECTION", 100, 1..=u32::MAX),
        idle: reader.duration("POOL_UNUSED_RELEASE_TIMEOUT", Duration::from_secs(300)),
    }
}

fn http2(reader: &mut Reader<'_>) -> Http2 {
    // RFC 9113 §6.9.1: no window exceeds 2^31-1; the connection's cannot be made smaller than 65535.
    const MAX_WINDOW: u32 = (1 << 31) - 1;
    Http2 {
        stream_window: reader.ranged("HTTP2_STREAM_WINDOW_SIZE", 4 << 20, 1..=MAX_WINDOW),
        connection_window: reader.ranged("HTTP2_CONNECTION_WINDOW_SIZE", 16 << 20, 65_535..=MAX_WINDOW),
        // RFC 9113 §6.5.2.
        frame_size: reader.ranged("HTTP2_FRAME_SIZE", 1 << 20, (1 << 14)..=((1 << 24) - 1)),
    }
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    let mut octets = |name, default: usize| match reader.parsed(name) {
        Some(Octets(0)) => {
            reader.refuse(name, Some("0"), "more than zero octets");
            default
        }
        Some(Octets(octets)) => octets,
        None => default,
    };
    let buffered_per_tunnel = octets("ADIT_MAX_BUFFERED_PER_TUNNEL", 20 << 20);
    let buffered_per_identity = octets("ADIT_MAX_BUFFERED_PER_IDENTITY", 64 << 20);
    let buffered = octets("ADIT_MAX_BUFFERED", 256 << 20);
    Limits {
        buffered_per_tunnel,
        buffered_per_identity,
        buffered,
        inbound_tunnels: reader.ranged("ADIT_MAX_INBOUND_TUNNELS", 16_384, 1..=u32::MAX as usize),
        outbound_tunnels: reader.ranged("ADIT_MAX_OUTBOUND_TUNNELS", 16_384, 1..=u32::MAX as usize),
        connections: reader.ranged("ADIT_MAX_CONNECTIONS", 65_536, 1..=u32::MAX as usize),
        handshakes: reader.ranged("ADIT_MAX_HANDSHAKES", 1024, 1..=u32::MAX as usize),
    }
}

/// Upstream's rule: the deadline itself, or what the pod's grace period leaves, or 5 seconds.
fn drain(reader: &mut Reader<'_>) -> Duration {
    let from_grace = reader.parsed::<u64>("TERMINATION_GRACE_PERIOD_SECONDS").map(|grace| {
        let left = if grace > 10 { grace - 5 } else { grace.saturating_sub(1) };
        Duration::from_secs(left.max(1))
    });
    reader.duration("CONNECTION_TERMINATION_DEADLINE", from_grace.unwrap_or(Duration::from_secs(5)))
}

#[cfg(test)]
mod tests;
