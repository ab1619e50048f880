//! What a `DestinationRule` says of one service, port and subset, as data.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::key::KeySource;
use super::locality::LocalityRule;
use super::warmup::Warmup;
use crate::l7::{Limits, OutlierDetection};

/// How an endpoint is chosen (`loadBalancer.simple`, `consistentHash`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balancer {
    /// `LEAST_REQUEST`: of two that are drawn, the one with fewer requests under way, for its weight.
    #[default]
    LeastRequest,
    /// `ROUND_ROBIN`: one after the other, each as often as its weight says.
    RoundRobin,
    /// `RANDOM`: by weight.
    Random,
    /// `consistentHash`: the same key goes to the same endpoint; without a key, any.
    Hash {
        /// Where the key is found.
        key: KeySource,
        /// How keys are shared out.
        table: HashTable,
    },
}

/// How keys are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashTable {
    /// `ringHash`: at least so many points on a circle.
    Ring {
        /// `minimumRingSize`.
        minimum: u32,
    },
    /// `maglev`: a table of so many places.
    Maglev {
        /// `tableSize`, a prime number.
        size: u32,
    },
}

impl Default for HashTable {
    /// A ring of 1024 points, as Istio has it.
    fn default() -> Self {
        Self::Ring { minimum: 1024 }
    }
}

/// The part of requests that may be retries at one time (`retryBudget`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryShare {
    /// `percent`, 20 by default.
    pub percent: u32,
    /// `minRetryConcurrency`, 3 by default: so many in any case.
    pub min: u32,
}

impl Default for RetryShare {
    fn default() -> Self {
        Self { percent: 20, min: 3 }
    }
}

/// When an HTTP/2 connection that is silent is tested by PING (`http2KeepAlive`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Keepalive {
    /// Silence before a PING.
    pub interval: Duration,
    /// How long its answer may take.
    pub timeout: Duration,
}

/// Whether HTTP/1.1 requests are sent on as HTTP/2 (`h2UpgradePolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Http2Upgrade {
    /// As the port's protocol says.
    #[default]
    Default,
    /// `DO_NOT_UPGRADE`.
    Never,
    /// `UPGRADE`.
    Always,
}

/// How connections to endpoints are made and kept (`connectionPool`, without its limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionSettings {
    /// `tcp.connectTimeout`.
    pub connect_timeout: Duration,
    /// `tcp.maxConnectionDuration`: no connection is used for longer.
    pub max_age: Option<Duration>,
    /// `tcp.idleTimeout`: a TCP stream without octets for so long ends. `None`: never.
    pub tcp_idle: Option<Duration>,
    /// `http.idleTimeout`: a connection without requests for so long is closed. `None`: never.
    pub http_idle: Option<Duration>,
    /// `http.maxRequestsPerConnection`. `None`: as many as come.
    pub max_requests: Option<u32>,
    /// `http.h2UpgradePolicy`.
    pub upgrade: Http2Upgrade,
    /// `http.useClientProtocol`: HTTP/2 requests stay HTTP/2, HTTP/1.1 ones HTTP/1.1.
    pub use_client_protocol: bool,
    /// `http.maxConcurrentStreams` on one connection. `None`: as many as the peer takes.
    pub max_streams: Option<u32>,
    /// `http.http2KeepAlive`.
    pub http2_keepalive: Option<Keepalive>,
}

impl Default for ConnectionSettings {
    /// Istio's: 10 s to connect, one hour of silence.
    fn default() -> Self {
        let hour = Some(Duration::from_secs(3600));
        Self {
            connect_timeout: Duration::from_secs(10),
            max_age: None,
            tcp_idle: hour,
            http_idle: hour,
            max_requests: None,
            upgrade: Http2Upgrade::Default,
            use_client_protocol: false,
            max_streams: None,
            http2_keepalive: None,
        }
    }
}

/// TLS of the application's own inside of the tunnel, or towards a host outside (`tls.mode` `SIMPLE` and `MUTUAL`). Texts and
/// files are read by whoever connects; what cannot be read is a failure to connect, never plaintext.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// `sni`; `None`: the host of the request.
    pub sni: Option<Box<str>>,
    /// `subjectAltNames`: one of these must be in the certificate; empty: the SNI must be.
    pub subject_alt_names: Vec<Box<str>>,
    /// `caCertificates`: a file; `None`: the system's.
    pub ca_file: Option<Box<str>>,
    /// `clientCertificate` and `privateKey`: files (`MUTUAL`).
    pub client: Option<(Box<str>, Box<str>)>,
    /// `credentialName`: the secret of all of these.
    pub credential: Option<Box<str>>,
    /// `insecureSkipVerify`.
    pub skip_verify: bool,
}

/// What is said about the client before a connection's octets (`proxyProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// `V1`: as text.
    V1,
    /// `V2`: in binary.
    V2,
}

/// Everything that is said of requests to one service, port and subset. The default is what Istio does where nothing is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    pub balancer: Balancer,
    /// Which places go first (`loadBalancer.localityLbSetting`).
    pub locality: LocalityRule,
    /// How new endpoints come in (`loadBalancer.warmup`).
    pub warmup: Option<Warmup>,
    /// How much may be under way.
    pub limits: Limits,
    /// `connectionPool.http.maxRetries`: retries at one time, where there is no [share](Self::retries).
    pub max_retries: u32,
    /// `retryBudget`.
    pub retries: Option<RetryShare>,
    /// `outlierDetection`; `None`: nobody is ejected.
    pub outliers: Option<OutlierDetection>,
    /// `outlierDetection.minHealthPercent`: if fewer are left, ejected ones are chosen as well.
    pub min_health_percent: u32,
    /// How connections are made and kept.
    pub connections: ConnectionSettings,
    /// TLS of the application's own, or why it cannot be spoken: then connections fail, plaintext is no way out.
    pub tls: Option<Result<Arc<UpstreamTls>, Arc<str>>>,
    /// `proxyProtocol`.
    pub proxy_protocol: Option<ProxyProtocol>,
}

impl Default for TrafficPolicy {
    fn default() -> Self {
        Self {
            balancer: Balancer::default(),
            locality: LocalityRule::default(),
            warmup: None,
            limits: Limits::default(),
            max_retries: u32::MAX,
            retries: None,
            outliers: None,
            min_health_percent: 0,
            connections: ConnectionSettings::default(),
            tls: None,
            proxy_protocol: None,
        }
    }
}

impl TrafficPolicy {
    /// Which part of requests may be retries, and how many may be in any case.
    pub(super) fn retry_share(&self) -> RetryShare {
        self.retries.unwrap_or(RetryShare { percent: 0, min: self.max_retries })
    }
}
