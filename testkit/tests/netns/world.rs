//! The world of these tests: two captured pods, `client` and `server`, and a host outside the mesh, `outside`.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use adit_testkit::netns::peer::{self, Script, Server};
use adit_testkit::netns::{
    Backend, Host, Namespace, Network, Node, NodeSpec, Result, Runtime, Scratch, redirect,
};

/// Where applications listen.
pub(crate) const APP: u16 = 8080;

/// The port of services, which map it to [`APP`].
pub(crate) const SERVICE: u16 = 80;

/// Both families.
pub(crate) const FAMILIES: [bool; 2] = [false, true];

/// A client that is stuck has given up long before.
const CLIENT: Duration = Duration::from_secs(150);

/// Everything; processes come before the namespaces they live in.
pub(crate) struct World {
    pub(crate) client_node: Node,
    pub(crate) server_node: Node,
    pub(crate) server_app: Server,
    pub(crate) outside_app: Server,
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) outside: Host,
    _network: Network,
    _scratch: Scratch,
}

/// The SPIFFE identity of a workload.
pub(crate) fn identity(workload: &str) -> String {
    format!("spiffe://cluster.local/ns/default/sa/{workload}")
}

/// The address of the service in front of `server`.
pub(crate) fn server_service(ipv6: bool) -> IpAddr {
    if ipv6 { [0xfd96, 0, 0, 0, 0, 0, 0, 1].into() } else { [10, 96, 0, 1].into() }
}

/// The address of the service in front of `outside`.
pub(crate) fn outside_service(ipv6: bool) -> IpAddr {
    if ipv6 { [0xfd96, 0, 0, 0, 0, 0, 0, 2].into() } else { [10, 96, 0, 2].into() }
}

impl World {
    /// Starts everything under these `policies` (YAML).
    pub(crate) fn new(runtime: Runtime, backend: Backend, policies: &str) -> Result<Self> {
        let mut network = Network::new()?;
        let (client, server, outside) =
            (network.host("client")?, network.host("server")?, network.host("outside")?);
        redirect(client.namespace(), backend)?;
        redirect(server.namespace(), backend)?;
        let scratch = Scratch::new()?;
        let mesh = scratch.write("mesh.yaml", &mesh([&client, &server, &outside], policies))?;
        let node = |workload: &str, host: &Host| {
            let spec = NodeSpec {
                workload: workload.to_owned(),
                runtime,
                mesh: Some(mesh.clone()),
                ca: Some(scratch.path().join("ca")),
                bind: None,
                vars: Vec::new(),
            };
            // Without preserved sources the test would prove less, so that is not left to chance.
            spec.with("PACKET_MARK", 1337).with("ENABLE_ORIG_SRC", true).start(Some(host.namespace()))
        };
        let app = |host: &Host| {
            let addresses = FAMILIES.map(|ipv6| SocketAddr::new(host.address(ipv6), APP));
            Server::start(Some(host.namespace()), &addresses)
        };
        Ok(Self {
            client_node: node("client", &client)?,
            server_node: node("server", &server)?,
            server_app: app(&server)?,
            outside_app: app(&outside)?,
            client,
            server,
            outside,
            _network: network,
            _scratch: scratch,
        })
    }

    /// Nothing went wrong that nobody noticed.
    pub(crate) fn check_quiet(&self) {
        for node in [&self.client_node, &self.server_node] {
            let complaints = node.complaints();
            assert!(complaints.iter().all(|line| line.contains("FAKE_CA")), "{complaints:#?}");
        }
    }
}

/// Plays `script` from `from`; what the client says of it.
pub(crate) fn play(from: &Namespace, to: impl Into<SocketAddr>, script: Script) -> Result<String> {
    let mut words = vec!["client".to_owned(), to.into().to_string()];
    words.extend(script.to_string().split(' ').map(str::to_owned));
    peer::client(Some(from), CLIENT, &words)
}

fn mesh([client, server, outside]: [&Host; 3], policies: &str) -> String {
    let addresses = |host: &Host| format!("[\"{}\", \"{}\"]", host.address(false), host.address(true));
    let vips = |vip: fn(bool) -> IpAddr| format!("[\"/{}\", \"/{}\"]", vip(false), vip(true));
    format!(
        r#"
workloads:
- name: client
  uid: client
  namespace: default
  serviceAccount: client
  workloadIps: {client}
  protocol: HBONE
  services: {{}}
- name: server
  uid: server
  namespace: default
  serviceAccount: server
  workloadIps: {server}
  protocol: HBONE
  services:
    default/server.default.svc.cluster.local: {{{SERVICE}: {APP}}}
- name: outside
  uid: outside
  namespace: default
  serviceAccount: outside
  workloadIps: {outside}
  protocol: TCP
  services:
    default/outside.default.svc.cluster.local: {{{SERVICE}: {APP}}}
services:
- name: server
  namespace: default
  hostname: server.default.svc.cluster.local
  vips: {server_vips}
  ports: {{{SERVICE}: {APP}}}
- name: outside
  namespace: default
  hostname: outside.default.svc.cluster.local
  vips: {outside_vips}
  ports: {{{SERVICE}: {APP}}}
{policies}
"#,
        client = addresses(client),
        server = addresses(server),
        outside = addresses(outside),
        server_vips = vips(server_service),
        outside_vips = vips(outside_service),
    )
}
