//! Two proxies on loopback addresses of their own, a server behind the second; clients come by SOCKS5 to the first.
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use adit_testkit::netns::peer::{self, Server};
use adit_testkit::netns::{Loopback, Node, NodeSpec, Process, Result, Runtime, Scratch};

/// Where the server listens.
const APP: u16 = 8080;

/// Long enough for a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The two proxies and the server.
pub(crate) struct Loop {
    pub(crate) client_node: Node,
    pub(crate) server_node: Node,
    pub(crate) app: Server,
    client: NodeSpec,
    server: NodeSpec,
    to: SocketAddr,
    _scratch: Scratch,
}

impl Loop {
    /// Starts them; `vars` are for both proxies.
    pub(crate) fn new(runtime: Runtime, vars: &[(&str, &str)]) -> Result<Self> {
        let addresses = Loopback::new();
        let (client, server) = (addresses.address(1), addresses.address(2));
        let scratch = Scratch::new()?;
        let mesh = scratch.write("mesh.yaml", &mesh(client, server))?;
        let spec = |workload: &str, address: Ipv4Addr| NodeSpec {
            workload: workload.to_owned(),
            runtime,
            mesh: Some(mesh.clone()),
            ca: Some(scratch.path().join("ca")),
            bind: Some(address.into()),
            vars: vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let client = spec("client", client).with("UNSTABLE_ENABLE_SOCKS5", true);
        let server_spec = spec("server", server);
        let to = SocketAddr::new(server.into(), APP);
        Ok(Self {
            client_node: client.start(None)?,
            server_node: server_spec.start(None)?,
            app: Server::start(None, &[to])?,
            client,
            server: server_spec,
            to,
            _scratch: scratch,
        })
    }

    /// Starts the first proxy anew.
    #[allow(dead_code, reason = "not every test of this folder restarts proxies")]
    pub(crate) fn restart_client(&mut self) -> Result<()> {
        self.client_node = self.client.start(None)?;
        Ok(())
    }

    /// Starts the second proxy anew.
    #[allow(dead_code, reason = "not every test of this folder restarts proxies")]
    pub(crate) fn restart_server(&mut self) -> Result<()> {
        self.server_node = self.server.start(None)?;
        Ok(())
    }

    /// Where the second proxy takes tunnels.
    #[allow(dead_code, reason = "not every test of this folder looks at listeners")]
    pub(crate) fn hbone(&self) -> SocketAddr {
        SocketAddr::new(self.to.ip(), 15008)
    }

    /// Starts `connections` clients in one process; each sends and receives `octets`, or single octets for ever if 0.
    pub(crate) fn load(&self, connections: u64, octets: u64, patience: Duration) -> Result<Process> {
        let via = self.client.bind.map(|ip| SocketAddr::new(ip, 15080).to_string()).unwrap_or_default();
        let words = [
            "load".to_owned(),
            connections.to_string(),
            octets.to_string(),
            patience.as_secs().to_string(),
            via,
            self.to.to_string(),
        ];
        peer::spawn("the clients", None, &words)
    }
}

/// Waits until the clients have all said `what`.
pub(crate) fn wait_all(clients: &Process, what: &str, within: Duration) -> Result<()> {
    clients.wait_line(what, within, |line| line.starts_with(&format!("{what} ")).then_some(()))
}

/// Waits until the clients have ended: how many ended how.
pub(crate) fn wait_ends(clients: &Process, within: Duration) -> Result<String> {
    clients.wait_line("the end of all clients", within, |line| line.strip_prefix("ended ").map(str::to_owned))
}

fn mesh(client: Ipv4Addr, server: Ipv4Addr) -> String {
    format!(
        r#"
workloads:
- {{name: client, uid: client, namespace: default, serviceAccount: client, workloadIps: ["{client}"], protocol: HBONE, services: {{}}}}
- {{name: server, uid: server, namespace: default, serviceAccount: server, workloadIps: ["{server}"], protocol: HBONE, services: {{}}}}
"#
    )
}
