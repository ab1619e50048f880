//! `config` and `certificates`: what decisions need of them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::proxy::LocalWorkload;
use adit_core::route::RouteConfig;
use serde_json::Value;

use super::error::Problem;
use super::value::{Fields, Wrong, flag, list, port, shared, text};

/// What the proxy that was dumped is told to do, as far as it bears on decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Ports and switches of routing.
    pub route: RouteConfig,
    /// The network it is on (`network`).
    pub network: Arc<str>,
    /// Domain of the cluster (`clusterDomain`).
    pub cluster_domain: Arc<str>,
    /// Namespace preferred for names (`preferedServiceNamespace`).
    pub preferred_namespace: Option<Arc<str>>,
    /// Whether IPv6 is used (`ipv6Enabled`).
    pub ipv6: bool,
    /// Whether addresses are asked for as they are needed (`xdsOnDemand`), so that the tables are never whole.
    pub on_demand: bool,
    /// The one workload it stands for (`proxyWorkloadInformation`), in dedicated mode.
    pub stands_for: Option<LocalWorkload>,
    /// What the dump did not say.
    pub gaps: Vec<Gap>,
}

fn stands_for(value: &Value) -> Result<LocalWorkload, Wrong> {
    let fields = Fields::of(value)?;
    Ok(LocalWorkload {
        name: fields.need("name", "the workload's name", shared)?,
        namespace: fields.need("namespace", "the workload's namespace", shared)?,
        service_account: fields.need("serviceAccount", "the workload's service account", shared)?,
    })
}

/// Something the dump does not say, and what was assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Gap {
    /// `config.network`.
    Network,
    /// The port in `config.inboundAddr`.
    HbonePort,
    /// `config.illegalPorts`, and the addresses that they could be told from.
    OwnPorts,
    /// `config.localhostAppTunnel`.
    LocalhostAppTunnel,
    /// `config.clusterDomain`.
    ClusterDomain,
    /// `config.ipv6Enabled`.
    Ipv6,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "the dump does not say its proxy's network: taken as the one without a name",
            Self::HbonePort => "the dump does not say the port of HBONE: taken as 15008",
            Self::OwnPorts => "the dump does not say the proxy's own ports: taken as 15008, 15006 and 15001",
            Self::LocalhostAppTunnel => {
                "the dump does not say whether applications with a PROXY tunnel are dialled on loopback: taken as yes"
            }
            Self::ClusterDomain => "the dump does not say the cluster's domain: taken as cluster.local",
            Self::Ipv6 => "the dump does not say whether names have IPv6 addresses: taken as yes",
        })
    }
}

/// A certificate that the proxy keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// SPIFFE identity.
    pub identity: String,
    /// `Available`, `Initializing` or `Unavailable: …`.
    pub state: String,
}

/// `config`, read field by field: what is wrong is noted, and counts as not said.
struct Config<'a, 'p> {
    fields: Option<Fields<'a>>,
    problems: &'p mut Vec<Problem>,
    gaps: Vec<Gap>,
}

impl<'a> Config<'a, '_> {
    fn get<T>(&mut self, key: &str, read: impl FnOnce(&'a Value) -> Result<T, Wrong>) -> Option<T> {
        self.fields?.get(key, read).unwrap_or_else(|wrong| {
            self.problems.push(Problem::new("config", wrong));
            None
        })
    }

    /// The port of an address. Port 0 is what was asked for, not what the proxy got.
    fn port(&mut self, key: &str) -> Option<u16> {
        let read = |value: &'a Value| {
            let address: Result<SocketAddr, _> = text(value)?.parse();
            address.map(|address| address.port()).map_err(|_| Wrong::new(value, "an address with a port"))
        };
        self.get(key, read).filter(|port| *port != 0)
    }

    /// What was said, or else `assumed`, which is then a gap.
    fn or<T>(&mut self, said: Option<T>, assumed: T, gap: Gap) -> T {
        said.unwrap_or_else(|| {
            self.gaps.push(gap);
            assumed
        })
    }
}

pub(super) fn settings(config: &Value, problems: &mut Vec<Problem>) -> Settings {
    let fields = match Fields::of(config) {
        Ok(fields) => Some(fields),
        Err(_) if config.is_null() => None,
        Err(wrong) => {
            problems.push(Problem::new("config", wrong));
            None
        }
    };
    let mut config = Config { fields, problems, gaps: Vec::new() };
    let assumed = RouteConfig::default();
    let listening = ["inboundAddr", "inboundPlaintextAddr", "outboundAddr"].map(|key| config.port(key));
    let socks5 = config.port("socks5Addr");
    let own: Option<Vec<u16>> = listening.into_iter().collect();
    let own = own.map(|own| own.into_iter().chain(socks5).collect());
    let illegal_ports = config.get("illegalPorts", |value| list(value, port)).or(own);
    let localhost = config.get("localhostAppTunnel", flag);
    let route = RouteConfig {
        hbone_port: config.or(listening[0], assumed.hbone_port, Gap::HbonePort),
        illegal_ports: config.or(illegal_ports, assumed.illegal_ports, Gap::OwnPorts),
        localhost_app_tunnel: config.or(localhost, assumed.localhost_app_tunnel, Gap::LocalhostAppTunnel),
    };
    let network = config.get("network", shared);
    let cluster_domain = config.get("clusterDomain", shared);
    let ipv6 = config.get("ipv6Enabled", flag);
    Settings {
        route,
        network: config.or(network, Arc::default(), Gap::Network),
        cluster_domain: config.or(cluster_domain, "cluster.local".into(), Gap::ClusterDomain),
        preferred_namespace: config.get("preferedServiceNamespace", shared),
        ipv6: config.or(ipv6, true, Gap::Ipv6),
        on_demand: config.get("xdsOnDemand", flag).unwrap_or(false),
        stands_for: config.get("proxyWorkloadInformation", stands_for),
        gaps: config.gaps,
    }
}

/// One of `certificates`.
pub(super) fn certificate(value: &Value) -> Result<Certificate, Wrong> {
    let fields = Fields::of(value)?;
    let text = |value| text(value).map(str::to_owned);
    Ok(Certificate {
        identity: fields.need("identity", "a SPIFFE identity", text)?,
        state: fields.need("state", "the certificate's state", text)?,
    })
}
