//! What the examples share: a mesh of two workloads, and a certificate authority that both trust.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use adit_control::ca::{CertificateStore, LocalCa};
use adit_control::local;
use adit_core::identity::{Identity, IdentityError};
use adit_core::mesh::Mesh;
use adit_core::proxy::{LocalWorkload, Shard, ShardConfig};
use adit_core::route::RouteConfig;
use adit_core::time::{Instant, WallClock};
use adit_core::tls::{RecordMode, TlsPorts};
use adit_runtime::{CertificateAnswer, crypto, wall_clock};

/// The mesh, as a local file would tell it: two workloads, and a policy that lets only one of them call the other.
const MESH: &str = "
workloads:
- {name: client, namespace: demo, serviceAccount: client, workloadIps: [127.0.0.2], protocol: HBONE, services: {}}
- {name: server, namespace: demo, serviceAccount: server, workloadIps: [127.0.0.3], protocol: HBONE, services: {}}
policies:
- name: only-the-client
  namespace: demo
  scope: Namespace
  action: Allow
  rules: [[[{principals: [{Exact: cluster.local/ns/demo/sa/client}]}]]]
";

/// Where the client's application calls from; any port.
pub const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);
/// Where the server's application is called.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)), 8080);

/// Everything around the proxies.
#[derive(Debug)]
pub struct World {
    mesh: Arc<Mesh>,
    certificates: CertificateStore,
    /// What time it is for those who judge certificates; a drive loop sets it.
    pub clock: Arc<WallClock>,
}

impl World {
    /// Reads the mesh and makes a certificate authority that lives as long as this process.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn new() -> anyhow::Result<Self> {
        let clock = Arc::new(WallClock::new(wall_clock()));
        let ports =
            TlsPorts { provider: crypto::provider(), aead: crypto::aead(), clock: Arc::clone(&clock) };
        let ca = LocalCa::in_memory("cluster.local")?;
        Ok(Self {
            mesh: Arc::new(local::parse(Path::new("MESH"), MESH, "")?),
            certificates: CertificateStore::new(ca, ports, RecordMode::InPlace),
            clock,
        })
    }

    /// Who the workload `name` is: `spiffe://cluster.local/ns/demo/sa/NAME`.
    ///
    /// # Errors
    /// It is no name.
    pub fn identity(name: &str) -> Result<Identity, IdentityError> {
        Identity::new("cluster.local", "demo", name)
    }

    /// The certificate of `identity`, ready for TLS.
    ///
    /// # Errors
    /// The text says why there is none.
    pub fn certificate(&self, identity: &Identity) -> CertificateAnswer {
        self.certificates.get(identity).map_err(|error| error.to_string().into())
    }

    /// The proxy of the workload `name`, in a mesh whose proxies take tunnels on `hbone_port` (upstream: 15008).
    #[must_use]
    pub fn shard(&self, name: &str, hbone_port: u16) -> Shard {
        let local =
            LocalWorkload { namespace: "demo".into(), name: name.into(), service_account: name.into() };
        let route = RouteConfig { hbone_port, illegal_ports: vec![hbone_port], ..RouteConfig::default() };
        let config = ShardConfig::new(local, route, u64::from(hbone_port));
        Shard::new(Arc::new(config), Arc::clone(&self.mesh), Instant::ZERO)
    }
}
