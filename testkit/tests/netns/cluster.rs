//! A small cluster: a scripted istiod and its authority on a host of their own, and pods whose proxies know nothing but where
//! these are.
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_control::proto::istio::security::Authorization;
use adit_control::proto::istio::workload::{Service, Workload};
use adit_testkit::istiod::Istiod;
pub(crate) use adit_testkit::istiod::bind_in;
use adit_testkit::istiod::ca::{NAME, ScriptedCa};
use adit_testkit::netns::peer::Server;
use adit_testkit::netns::{
    Backend, HarnessError, Host, Network, Node, NodeSpec, Result, Runtime, Scratch, redirect, wait_until,
};
pub(crate) use adit_testkit::netns::{Echo, dump, who_am_i};
use serde_json::Value;

use crate::world::{APP, FAMILIES};

/// How long a push, or anything else that takes milliseconds, may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

const XDS: u16 = 15012;
const CA: u16 = 15013;
const XDS_NAME: &str = "istiod.test";

/// The control plane and the network. What runs in pods is the test's, and ends before this.
pub(crate) struct Cluster {
    /// Where istiod and everything else that a test plays itself runs.
    pub(crate) tasks: tokio::runtime::Runtime,
    pub(crate) istiod: Istiod,
    /// The host of the control plane.
    pub(crate) plane: Host,
    runtime: Runtime,
    backend: Backend,
    network: Network,
    scratch: Scratch,
    pub(crate) ca: ScriptedCa,
}

impl Cluster {
    /// Starts the control plane. It knows nothing yet: proxies get ready only after a push.
    pub(crate) fn new(runtime: Runtime, backend: Backend) -> Result<Self> {
        let tasks = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let tasks = tasks.map_err(HarnessError::io("starting tokio"))?;
        let mut network = Network::new()?;
        let plane = network.host("istiod")?;
        let bind = bind_in(plane.namespace());
        let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let istiod = tasks.block_on(Istiod::start_at(XDS_NAME, everywhere(XDS), Arc::clone(&bind)));
        let (ca, ca_root) = tasks
            .block_on(ScriptedCa::start_at(everywhere(CA), &bind))
            .map_err(HarnessError::io("starting the authority"))?;
        let scratch = Scratch::new()?;
        scratch.write("ca-root.pem", &ca_root)?;
        scratch.write("xds-root.pem", istiod.root())?;
        scratch.write("token", "a-token")?;
        Ok(Self { tasks, istiod, plane, runtime, backend, network, scratch, ca })
    }

    /// A host whose traffic is captured.
    pub(crate) fn pod(&mut self, role: &str) -> Result<Host> {
        let host = self.network.host(role)?;
        self.capture(&host)?;
        Ok(host)
    }

    /// Captures a host's traffic.
    pub(crate) fn capture(&self, host: &Host) -> Result<()> {
        redirect(host.namespace(), self.backend)
    }

    /// A host outside of the mesh.
    pub(crate) fn host(&mut self, role: &str) -> Result<Host> {
        self.network.host(role)
    }

    /// Sets all of these; what is there and not among them stays.
    pub(crate) fn push(
        &self,
        workloads: impl IntoIterator<Item = Workload>,
        services: impl IntoIterator<Item = Service>,
        policies: impl IntoIterator<Item = Authorization>,
    ) {
        self.istiod.ads.set_services(services);
        self.istiod.ads.set_policies(policies);
        self.istiod.ads.set_workloads(workloads);
    }

    /// A proxy that takes everything from the control plane.
    pub(crate) fn spec(&self, workload: &str) -> NodeSpec {
        self.spec_with_authority(workload)
            .with("XDS_ADDRESS", xds_address(&self.plane))
            .with("XDS_ROOT_CA", self.path("xds-root.pem"))
            .with("ALT_XDS_HOSTNAME", XDS_NAME)
    }

    /// A proxy that takes its certificates only from the control plane.
    pub(crate) fn spec_with_authority(&self, workload: &str) -> NodeSpec {
        let spec = NodeSpec {
            workload: workload.to_owned(),
            runtime: self.runtime,
            mesh: None,
            ca: None,
            bind: None,
            vars: Vec::new(),
        };
        spec.with("CA_ADDRESS", ca_address(&self.plane))
            .with("CA_ROOT_CA", self.path("ca-root.pem"))
            .with("ALT_CA_HOSTNAME", NAME)
            .with("AUTH_TOKEN", self.path("token"))
            .with("POD_NAME", workload)
            .with("PACKET_MARK", 1337)
            .with("ENABLE_ORIG_SRC", true)
    }

    /// A file of this cluster.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<std::path::PathBuf> {
        self.scratch.write(name, text)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    /// Starts the proxy of `workload` on `host`.
    pub(crate) fn node(&self, workload: &str, host: &Host) -> Result<Node> {
        self.spec(workload).start(Some(host.namespace()))
    }
}

/// Where istiod is for those who see its host at `plane`.
pub(crate) fn xds_address(plane: &Host) -> String {
    format!("https://{}:{XDS}", plane.address(false))
}

/// Where the authority is for them.
pub(crate) fn ca_address(plane: &Host) -> String {
    format!("https://{}:{CA}", plane.address(false))
}

/// An application on [`APP`].
pub(crate) fn app(host: &Host) -> Result<Server> {
    let addresses = FAMILIES.map(|ipv6| SocketAddr::new(host.address(ipv6), APP));
    Server::start(Some(host.namespace()), &addresses)
}

/// Both loopback addresses.
pub(crate) fn loopback(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// Waits until the proxy on `host` works with tables of which `holds` is true.
pub(crate) fn wait_tables(host: &Host, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Result<()> {
    let mut last = String::new();
    let done = || match dump(host) {
        Ok(dump) => {
            last = dump.to_string();
            holds(&dump)
        }
        Err(_) => false,
    };
    let result = wait_until(what, SOON, done, String::new);
    if result.is_err() {
        eprintln!("{last}");
    }
    result
}

/// The record of a workload in tables, by its name.
pub(crate) fn shown<'a>(tables: &'a Value, workload: &str) -> Option<&'a Value> {
    tables["workloads"].as_array()?.iter().find(|each| each["name"] == workload)
}

/// How many connections an application has answered.
pub(crate) fn calls(app: &Server) -> usize {
    app.process().lines().iter().filter(|line| line.ends_with("who-am-i well")).count()
}

/// Waits until an application has answered so many connections; it must not have answered more.
pub(crate) fn wait_calls(app: &Server, wanted: usize) -> Result<()> {
    let enough = || calls(app) >= wanted;
    wait_until(&format!("{wanted} calls"), SOON, enough, || calls(app).to_string())?;
    assert_eq!(calls(app), wanted);
    Ok(())
}
