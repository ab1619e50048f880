//! The node simulator: machines with one proxy in shared mode and one scripted agent each, pods with applications on them, and
//! one scripted istiod for all.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use adit_control::proto::istio::workload::Workload;
use adit_testkit::cni::{Agent, Pod};
pub(crate) use adit_testkit::cni::{pod_in as told, pod_uid};
use adit_testkit::netns::peer::Server;
use adit_testkit::netns::{
    Backend, HarnessError, Host, Namespace, Node, NodeSpec, Result, Runtime, wait_until,
};
use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, SOON, app, dump, who_am_i};
use crate::resources::pod;
use crate::world::{APP, FAMILIES};

/// How long tunnels are kept that nobody uses.
const UNUSED: Duration = Duration::from_millis(300);

/// One machine: a proxy in a namespace of its own that serves the pods that its agent names.
pub(crate) struct Machine {
    pub(crate) node: Node,
    /// Never gone, but where a test takes it away.
    pub(crate) agent: Option<Agent>,
    /// Where the proxy itself lives.
    pub(crate) host: Host,
    /// How the proxy is started.
    pub(crate) spec: NodeSpec,
    /// Where the agent listens.
    pub(crate) socket: PathBuf,
}

/// A workload on a machine.
pub(crate) fn on(machine: &str, workload: Workload) -> Workload {
    Workload { node: machine.to_owned(), ..workload }
}

impl Machine {
    /// Starts the agent, which knows `pods`, and the proxy with further variables. The control plane must have pushed the
    /// machine's own workload.
    pub(crate) fn start(
        cluster: &Cluster,
        name: &str,
        host: Host,
        pods: impl IntoIterator<Item = Pod>,
        vars: &[(&str, &str)],
    ) -> Result<Self> {
        let socket = cluster.write(&format!("{name}.agent.sock"), "")?;
        let agent = Agent::with_pods(&socket, pods).map_err(HarnessError::io("starting the CNI agent"))?;
        let spec = cluster
            .spec(name)
            .with("PROXY_MODE", "shared")
            .with("PROXY_WORKLOAD_INFO", "")
            .with("INPOD_UDS", socket.display())
            .with("POD_NAMESPACE", "default")
            .with("SERVICE_ACCOUNT", name)
            .with("NODE_NAME", name)
            .with("ADIT_HANDOVER_PATH", cluster.path(&format!("{name}.handover.sock")));
        let spec = vars.iter().fold(spec, |spec, (name, value)| spec.with(name, value));
        let node = spec.start(Some(host.namespace()))?;
        Ok(Self { node, agent: Some(agent), host, spec, socket })
    }

    /// The agent.
    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("an agent")
    }

    /// A pod comes.
    pub(crate) fn add(&self, name: &str, namespace: &Namespace) -> Result<()> {
        self.agent().add(told(name, namespace)?).expect("the proxy takes the pod");
        Ok(())
    }

    /// A pod goes.
    pub(crate) fn del(&self, name: &str) {
        self.agent().del(&pod_uid(name)).expect("the proxy lets the pod go");
    }

    /// Kills the proxy, which gets no chance to say anything.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.node.process().signal(Signal::KILL)?;
        self.node.process_mut().wait_exit(SOON).map(drop)
    }

    /// Starts a proxy where there is none any more.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.node = self.spec.start(Some(self.host.namespace()))?;
        Ok(())
    }

    /// Waits until the proxy has no more descriptors than that.
    pub(crate) fn wait_descriptors(&self, most: usize) -> Result<()> {
        let process = self.node.process();
        let done = || process.descriptors().is_ok_and(|now| now <= most);
        wait_until(&format!("{most} descriptors"), SOON, done, || {
            let links = std::fs::read_dir(format!("/proc/{}/fd", process.id())).into_iter().flatten();
            let links = links.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            format!("{:?}", links.collect::<Vec<_>>())
        })
    }

    /// Waits until the proxy serves these pods and no other.
    pub(crate) fn wait_pods(&self, names: &[&str]) -> Result<()> {
        let wanted: BTreeSet<_> = names.iter().map(|name| pod_uid(name)).collect();
        let served = || {
            let dump = dump(&self.host).unwrap_or_default();
            let pods = dump["workloadState"].as_object().cloned().unwrap_or_default();
            pods.keys().cloned().collect::<BTreeSet<_>>() == wanted
        };
        wait_until("its pods and no other", SOON, served, String::new)
    }

    /// Waits until no pod of the proxy has a connection.
    pub(crate) fn wait_unused(&self) -> Result<()> {
        let mut last = Value::Null;
        let unused = || {
            last = dump(&self.host).map_or(Value::Null, |mut dump| dump["workloadState"].take());
            let pods = last.as_object();
            pods.is_some_and(|pods| pods.values().all(|pod| connections(pod) == 0))
        };
        let waited = wait_until("the end of all connections", SOON, unused, String::new);
        if waited.is_err() {
            eprintln!("{last}");
        }
        waited
    }
}

/// How many connections a pod of `workloadState` has.
fn connections(pod: &Value) -> usize {
    let count = |direction| pod["connections"][direction].as_array().map_or(0, Vec::len);
    count("inbound") + count("outbound")
}

/// A pod of a [`Site`].
pub(crate) struct Inhabitant {
    pub(crate) app: Server,
    pub(crate) host: Host,
}

impl Inhabitant {
    /// Where its application listens.
    pub(crate) fn at(&self, ipv6: bool) -> SocketAddr {
        SocketAddr::new(self.host.address(ipv6), APP)
    }
}

/// What a proxy holds at rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    descriptors: usize,
    /// The most that it ever had resident until then, in KiB.
    peak: u64,
}

/// Several machines with their pods. What runs in the pods ends before the network.
pub(crate) struct Site {
    pub(crate) machines: Vec<Machine>,
    pub(crate) pods: BTreeMap<String, Inhabitant>,
    pub(crate) cluster: Cluster,
}

impl Site {
    /// Starts machines, each with its pods, and an application in each pod; `vars` are for all proxies. Tunnels that nobody
    /// uses are closed soon.
    pub(crate) fn new(
        runtime: Runtime,
        backend: Backend,
        plan: &[(&str, &[&str])],
        vars: &[(&str, &str)],
    ) -> Result<Self> {
        Self::of(Cluster::new(runtime, backend)?, plan, vars)
    }

    /// The same with a control plane that is there already.
    pub(crate) fn of(mut cluster: Cluster, plan: &[(&str, &[&str])], vars: &[(&str, &str)]) -> Result<Self> {
        let unused = format!("{}ms", UNUSED.as_millis());
        let vars = [&[("POOL_UNUSED_RELEASE_TIMEOUT", &*unused)], vars].concat();
        let (mut workloads, mut hosts, mut homes) = (Vec::new(), Vec::new(), Vec::new());
        for (machine, names) in plan {
            let home = cluster.host(machine)?;
            workloads.push(on(machine, pod(machine, &home)));
            homes.push(home);
            for name in *names {
                let host = cluster.pod(name)?;
                workloads.push(on(machine, pod(name, &host)));
                hosts.push(((*name).to_owned(), host));
            }
        }
        cluster.push(workloads, [], []);
        let pods = hosts.into_iter().map(|(name, host)| Ok((name, Inhabitant { app: app(&host)?, host })));
        let pods: BTreeMap<_, _> = pods.collect::<Result<_>>()?;
        let mut machines = Vec::new();
        for ((machine, names), home) in plan.iter().zip(homes) {
            let known = names.iter().map(|name| told(name, pods[*name].host.namespace()));
            let known = known.collect::<Result<Vec<_>>>()?;
            machines.push(Machine::start(&cluster, machine, home, known, &vars)?);
        }
        Ok(Self { machines, pods, cluster })
    }

    /// A pod by its name.
    pub(crate) fn pod(&self, name: &str) -> &Inhabitant {
        &self.pods[name]
    }

    /// What each proxy holds once everything that comes with the first connections is there, and these have gone.
    pub(crate) fn rest(&self) -> Result<Vec<Rest>> {
        for (from, to) in self.pairs() {
            for ipv6 in FAMILIES {
                let seen = who_am_i(&from.host, to.at(ipv6))?;
                assert_eq!(seen, Some(from.host.address(ipv6).to_string()));
            }
        }
        self.at_rest()
    }

    /// Waits until no proxy has connections, nor tunnels: their descriptors get no fewer.
    pub(crate) fn at_rest(&self) -> Result<Vec<Rest>> {
        for machine in &self.machines {
            machine.wait_unused()?;
        }
        let now = || {
            let each = self.machines.iter().map(|machine| machine.node.process().descriptors());
            each.collect::<Result<Vec<_>>>()
        };
        let (mut least, mut since) = (now()?, Instant::now());
        let settled = || {
            let now = now().unwrap_or_default();
            if now.iter().zip(&least).any(|(now, least)| now < least) {
                (least, since) = (now, Instant::now());
            }
            since.elapsed() > 2 * UNUSED
        };
        wait_until("proxies at rest", SOON, settled, String::new)?;
        let both = least.into_iter().zip(self.peaks()?);
        Ok(both.map(|(descriptors, peak)| Rest { descriptors, peak }).collect())
    }

    /// The most that each proxy ever had resident, in KiB. What it has now says less: soon after the start it gives its own
    /// program back, which comes again as it is used.
    pub(crate) fn peaks(&self) -> Result<Vec<u64>> {
        self.machines.iter().map(|machine| Ok(machine.node.process().memory()?.peak)).collect()
    }

    /// Each proxy holds again what it did, and has never held much more.
    pub(crate) fn check_rest(&self, rests: &[Rest], most_kib: u64) -> Result<()> {
        for (machine, rest) in self.machines.iter().zip(rests) {
            machine.wait_unused()?;
            machine.wait_descriptors(rest.descriptors)?;
            let memory = machine.node.process().memory()?;
            assert!(memory.peak <= rest.peak + most_kib, "{memory:?} after {rest:?}");
        }
        Ok(())
    }

    /// Every pod with every other.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Inhabitant, &Inhabitant)> {
        let pods = self.pods.iter();
        pods.flat_map(|(from, one)| {
            let others = self.pods.iter().filter(move |(to, _)| *to != from);
            others.map(move |(_, other)| (one, other))
        })
    }
}
