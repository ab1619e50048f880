//! A cluster of two nodes: a captured pod on each, a control plane, and a CNI agent for each node's proxy.
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_control::proto::istio::workload::{TunnelProtocol, Workload};
use adit_testkit::cni::{Agent, pod_in};
use adit_testkit::istiod::ads::{ADDRESS, Recorded};
use adit_testkit::istiod::ca::{NAME, ScriptedCa};
use adit_testkit::istiod::{Istiod, bind_in, large};
use adit_testkit::netns::{Backend, Host, Network, Scratch, get, redirect_by};
use tokio::runtime::{Builder, Runtime};

use crate::Failure;
use crate::peers::World;

/// Where the application listens.
const APP: u16 = 8080;
const XDS: u16 = 15012;
const CA: u16 = 15013;
const XDS_NAME: &str = "istiod.test";

/// How long a large push may take.
const PUSH: Duration = Duration::from_secs(120);

/// The pods, and the nodes that they run on.
const PODS: [(&str, &str); 2] = [("client", "node-a"), ("server", "node-b")];

/// A pod, and the node it runs on.
struct Node {
    name: &'static str,
    pod: Host,
    /// Where the proxy itself lives.
    machine: Host,
    _agent: Agent,
}

/// Everything but the processes under test and the application. What is used by others ends after them.
pub(crate) struct Cluster {
    client: Node,
    server: Node,
    clients: File,
    istiod: Istiod,
    _ca: ScriptedCa,
    _tasks: Runtime,
    plane: Host,
    _network: Network,
    scratch: Scratch,
}

impl Cluster {
    /// Makes it. `node` is the `adit-node` that writes the redirection rules.
    pub(crate) fn new(node: &Path) -> Result<Self, Failure> {
        let tasks = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let scratch = Scratch::new()?;
        let mut network = Network::new()?;
        let plane = network.host("istiod")?;
        let bind = bind_in(plane.namespace());
        let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let istiod = tasks.block_on(Istiod::start_at(XDS_NAME, everywhere(XDS), Arc::clone(&bind)));
        let (ca, ca_root) = tasks.block_on(ScriptedCa::start_at(everywhere(CA), &bind))?;
        scratch.write("ca-root.pem", &ca_root)?;
        scratch.write("xds-root.pem", istiod.root())?;
        scratch.write("token", "a-token")?;
        let mut make = |(pod, name): (&'static str, &'static str)| -> Result<Node, Failure> {
            let (host, machine) = (network.host(pod)?, network.host(name)?);
            host.namespace().enter(tune)??;
            redirect_by(node, host.namespace(), Backend::Iptables)?;
            let told = pod_in(pod, host.namespace())?;
            let agent = Agent::with_pods(&scratch.path().join(name), [told])?;
            Ok(Node { name, pod: host, machine, _agent: agent })
        };
        let [client, server] = PODS;
        let (client, server) = (make(client)?, make(server)?);
        istiod.ads.set_workloads([workload("client", &client), workload("server", &server)]);
        let clients = File::open(Path::new("/run/netns").join(client.pod.namespace().name()))?;
        Ok(Self {
            client,
            server,
            clients,
            istiod,
            _ca: ca,
            _tasks: tasks,
            plane,
            _network: network,
            scratch,
        })
    }

    /// Where the application listens.
    pub(crate) fn app(&self) -> SocketAddr {
        (self.server.pod.address(false), APP).into()
    }

    /// `program` in the application's pod.
    pub(crate) fn in_pod(&self, program: &Path) -> Command {
        inside(&self.server.pod, program)
    }

    /// `program` as the proxy of each node, the client's first; the variables are those of ztunnel, which is all that is to be
    /// told.
    pub(crate) fn proxies(&self, program: &Path) -> [Command; 2] {
        [&self.client, &self.server].map(|node| {
            let path = |name: &str| self.scratch.path().join(name);
            let plane = self.plane.address(false);
            let mut command = inside(&node.machine, program);
            command
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("PROXY_MODE", "shared")
                .env("INPOD_UDS", path(node.name))
                .env("XDS_ADDRESS", format!("https://{plane}:{XDS}"))
                .env("XDS_ROOT_CA", path("xds-root.pem"))
                .env("ALT_XDS_HOSTNAME", XDS_NAME)
                .env("CA_ADDRESS", format!("https://{plane}:{CA}"))
                .env("CA_ROOT_CA", path("ca-root.pem"))
                .env("ALT_CA_HOSTNAME", NAME)
                .env("AUTH_TOKEN", path("token"))
                .env("NODE_NAME", node.name)
                .env("INSTANCE_IP", node.machine.address(false).to_string())
                .env("POD_NAME", format!("ztunnel-{}", node.name))
                .env("POD_NAMESPACE", "istio-system")
                .env("SERVICE_ACCOUNT", "ztunnel")
                // A source that is not preserved would be cheaper, so that is not left to chance.
                .env("ENABLE_ORIG_SRC", "true")
                .env("ZTUNNEL_WORKER_THREADS", "2")
                .env("RUST_LOG", "warn,access=off");
            command
        })
    }

    /// The streams of proxies that have taken a push of the mesh since `from` requests were seen.
    fn taken(&self, from: usize) -> Result<usize, Failure> {
        let recorded = self.istiod.ads.recorded();
        let answers = recorded.iter().skip(from).filter(|each| is_answer(each));
        let mut streams = Vec::new();
        for answer in answers {
            if let Some(refusal) = &answer.request.error_detail {
                return Err(format!("a proxy refuses the mesh: {}", refusal.message).into());
            }
            streams.push(answer.stream);
        }
        streams.sort_unstable();
        streams.dedup();
        Ok(streams.len())
    }
}

/// Whether it says what became of a push of the mesh.
fn is_answer(recorded: &Recorded) -> bool {
    recorded.request.type_url == ADDRESS && !recorded.request.response_nonce.is_empty()
}

impl World for Cluster {
    fn clients(&self) -> BorrowedFd<'_> {
        self.clients.as_fd()
    }

    fn is_ready(&self) -> bool {
        [&self.client, &self.server]
            .iter()
            .all(|node| get(&node.machine, (Ipv4Addr::LOCALHOST, 15021), "/healthz/ready").is_ok())
    }

    fn has_tunnels(&self) -> Result<bool, Failure> {
        let found = self.client.pod.namespace().run("ss -Htn state established dport = :15008")?;
        Ok(!found.trim().is_empty())
    }

    fn push(&self, workloads: u32) -> Result<(), Failure> {
        let ads = &self.istiod.ads;
        let before = ads.recorded().len();
        // One push, as after a start of istiod.
        ads.hold(true);
        ads.set_services((0..workloads / large::REPLICAS).map(large::service));
        ads.set_workloads((0..workloads).map(large::workload));
        ads.hold(false);
        let end = Instant::now() + PUSH;
        while self.taken(before)? < PODS.len() {
            if Instant::now() > end {
                return Err(format!("the proxies have not taken the mesh within {PUSH:?}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// A captured pod of an IPv4 and an IPv6 address.
fn workload(name: &str, node: &Node) -> Workload {
    let octets = |ipv6| match node.pod.address(ipv6) {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    Workload {
        uid: format!("Kubernetes//Pod/default/{name}"),
        name: name.to_owned(),
        namespace: "default".to_owned(),
        service_account: name.to_owned(),
        trust_domain: "cluster.local".to_owned(),
        node: node.name.to_owned(),
        cluster_id: "Kubernetes".to_owned(),
        addresses: vec![octets(false), octets(true)],
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        ..Workload::default()
    }
}

/// `program` in the network namespace of `host`; its process is the one that is started.
fn inside(host: &Host, program: &Path) -> Command {
    let [ip, words @ ..] = host.namespace().prefix();
    let mut command = Command::new(ip);
    command.args(words).arg(program);
    command
}

/// Makes this thread's namespace such that connections may be opened and closed faster than their ports are free again by
/// default, and as nodes mostly are.
fn tune() -> std::io::Result<()> {
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "10000 65000")?;
    fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")?;
    // Linux's own choice, or its like, whatever this machine has: BBR's pacing is half of what bulk costs, to every proxy. A
    // namespace may choose only what the machine allows.
    let choose = |control| fs::write("/proc/sys/net/ipv4/tcp_congestion_control", control);
    choose("cubic").or_else(|_| choose("reno"))
}
