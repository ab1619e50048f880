//! Where requests are made: two machines with their proxies, clients on one, applications on the other, and a waypoint in a pod
//! that nobody captures, as in a cluster; all of it under a scripted istiod.
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use adit_control::proto::istio::workload::gateway_address::Destination;
use adit_control::proto::istio::workload::{
    GatewayAddress, NamespacedHostname, Port, PortList, Service, Workload, WorkloadStatus,
};
use adit_testkit::cni::Pod;
use adit_testkit::conformance::{APPS, Behind, CONSUMER, MESH, PORTS, V1, V2, V3};
use adit_testkit::netns::{Backend, HarnessError, Host, Node, NodeSpec, Result, Runtime, wait_until};
use adit_waypoint::demo::app::App;
use serde_json::Value;

use super::rig::{Client, Reply};
use crate::cluster::{Cluster, SOON};
use crate::resources::{HBONE, address, pod, vip};
use crate::site::{Machine, on, told};
use crate::world::APP;

/// Pods, and the machine of each; those without one are not of the mesh.
const PODS: [(&str, Option<usize>); 8] = [
    ("client", Some(0)),
    ("consumer", Some(0)),
    (V1, Some(1)),
    (V2, Some(1)),
    (V3, Some(1)),
    ("waypoint-1", Some(1)),
    ("waypoint-2", Some(1)),
    ("outside", None),
];
const MACHINES: [&str; 2] = ["alpha", "beta"];
/// How long a proxy that ends waits for its connections.
const DEADLINE: &str = "20s";
/// The service of the waypoints.
pub(super) const WAYPOINT: &str = "waypoint";
/// Its number.
const NUMBER: u8 = 250;

/// A port of every service, and of pods, that is said to be TCP where the manifests say so.
pub(super) const TCP: u16 = 9090;
/// The same for TLS.
pub(super) const TLS: u16 = 443;
/// The same, of which nobody says anything.
pub(super) const DETECTED: u16 = 2525;

/// Whether a pod's traffic is captured.
fn captured(pod: &str) -> bool {
    pod != "outside" && !pod.starts_with("waypoint")
}

/// The namespace of a pod.
fn namespace(pod: &str) -> &'static str {
    if pod == "consumer" { CONSUMER } else { MESH }
}

/// Replicas of the waypoint share an identity.
fn account(pod: &str) -> &str {
    if pod.starts_with(WAYPOINT) { WAYPOINT } else { pod }
}

/// The identity of a pod.
pub(super) fn identity(pod: &str) -> String {
    format!("spiffe://cluster.local/ns/{}/sa/{}", namespace(pod), account(pod))
}

fn hostname(service: &str) -> String {
    format!("{service}.{MESH}.svc.cluster.local")
}

fn uid(pod: &str) -> String {
    format!("Kubernetes//Pod/{}/{pod}", namespace(pod))
}

/// The waypoints, as those who shall go through them are told.
pub(super) fn gateway() -> GatewayAddress {
    let hostname = NamespacedHostname { namespace: MESH.to_owned(), hostname: hostname(WAYPOINT) };
    GatewayAddress { destination: Some(Destination::Hostname(hostname)), hbone_mtls_port: HBONE.into() }
}

/// Everything; processes come before the namespaces they live in.
pub(super) struct Place {
    /// Waypoints that run, by their pods.
    pub(super) waypoints: BTreeMap<&'static str, Node>,
    pub(super) machines: Vec<Machine>,
    _apps: BTreeMap<&'static str, App>,
    hosts: BTreeMap<&'static str, Host>,
    services: Vec<(&'static str, Behind)>,
    manifests: PathBuf,
    pub(super) cluster: Cluster,
}

impl Place {
    /// Starts everything with one waypoint, which all of `services` have, and these `manifests`.
    pub(super) fn new(
        runtime: Runtime,
        backend: Backend,
        services: Vec<(&'static str, Behind)>,
        manifests: &str,
    ) -> Result<Self> {
        let mut cluster = Cluster::new(runtime, backend)?;
        let mut hosts = BTreeMap::new();
        for (name, _) in PODS {
            hosts.insert(name, if captured(name) { cluster.pod(name)? } else { cluster.host(name)? });
        }
        let directory = PathBuf::from(cluster.path("manifests"));
        fs::create_dir(&directory).map_err(HarnessError::io("making the directory of manifests"))?;
        let mut apps = BTreeMap::new();
        for name in APPS {
            // Both families.
            let everywhere = SocketAddr::from(([0_u16; 8], APP));
            let app = hosts[name].namespace().enter(|| App::listen(name, everywhere))?;
            apps.insert(name, app.map_err(HarnessError::io("starting an application"))?);
        }
        let mut place = Self {
            waypoints: BTreeMap::new(),
            machines: Vec::new(),
            _apps: apps,
            hosts,
            services,
            manifests: directory,
            cluster,
        };
        place.put(manifests)?;
        let homes = MACHINES.iter().map(|name| place.cluster.host(name)).collect::<Result<Vec<_>>>()?;
        let machines = MACHINES.iter().zip(&homes).map(|(name, home)| on(name, pod(name, home)));
        place.cluster.push(machines, [], []);
        place.push_all();
        for (number, (name, home)) in MACHINES.iter().zip(homes).enumerate() {
            let here = PODS.iter().filter(|(pod, machine)| captured(pod) && *machine == Some(number));
            let pods = here.map(|(pod, _)| place.told(pod)).collect::<Result<Vec<_>>>()?;
            let vars = [("CONNECTION_TERMINATION_DEADLINE", DEADLINE)];
            place.machines.push(Machine::start(&place.cluster, name, home, pods, &vars)?);
        }
        place.start_waypoint("waypoint-1")?;
        Ok(place)
    }

    fn told(&self, name: &str) -> Result<Pod> {
        let pod = told(name, self.hosts[name].namespace())?;
        Ok(Pod { namespace: namespace(name).to_owned(), ..pod })
    }

    /// A pod.
    pub(super) fn host(&self, pod: &str) -> &Host {
        &self.hosts[pod]
    }

    /// Where a pod's application listens.
    pub(super) fn pod_at(&self, pod: &str, ipv6: bool) -> SocketAddr {
        SocketAddr::new(self.hosts[pod].address(ipv6), APP)
    }

    /// The address of a service.
    pub(super) fn at(&self, service: &str, port: u16, ipv6: bool) -> SocketAddr {
        SocketAddr::new(self.address(service, ipv6), port)
    }

    fn address(&self, service: &str, ipv6: bool) -> IpAddr {
        let place = self.services.iter().position(|(name, _)| *name == service);
        let number = place.map_or(NUMBER, |place| u8::try_from(place + 1).expect("not so many"));
        vip(number, ipv6)
    }

    /// The record of a service.
    pub(super) fn service(&self, name: &str) -> Service {
        let ports = if name == WAYPOINT { vec![port(HBONE, HBONE)] } else { ports() };
        Service {
            name: name.to_owned(),
            namespace: MESH.to_owned(),
            hostname: hostname(name),
            addresses: [false, true].map(|ipv6| address(self.address(name, ipv6))).into(),
            ports,
            waypoint: (name != WAYPOINT).then(gateway),
            ..Service::default()
        }
    }

    /// The record of a pod.
    pub(super) fn workload(&self, name: &str) -> Workload {
        let (_, machine) = PODS.iter().find(|(known, _)| *known == name).expect("a pod of ours");
        let mut workload = pod(name, &self.hosts[name]);
        workload.uid = uid(name);
        workload.namespace = namespace(name).to_owned();
        workload.service_account = account(name).to_owned();
        workload.node = MACHINES[machine.expect("of the mesh")].to_owned();
        let own = self.services.iter().filter(|(_, behind)| match behind {
            Behind::Both => name == V1 || name == V2,
            Behind::One(app) => *app == name,
        });
        for (service, _) in own {
            let ports = PortList { ports: ports() };
            workload.services.insert(format!("{MESH}/{}", hostname(service)), ports);
        }
        workload
    }

    /// The record of a waypoint's pod: an endpoint of the waypoints' service, for new connections only if it is `ready`.
    pub(super) fn replica(&self, pod: &str, ready: bool) -> Workload {
        let mut workload = self.workload(pod);
        let ports = PortList { ports: vec![port(HBONE, HBONE)] };
        workload.services.insert(format!("{MESH}/{}", hostname(WAYPOINT)), ports);
        let status = if ready { WorkloadStatus::Healthy } else { WorkloadStatus::Unhealthy };
        Workload { status: status.into(), ..workload }
    }

    /// Tells everybody of everything: there is one waypoint.
    fn push_all(&self) {
        let services = self.services.iter().map(|(name, _)| self.service(name));
        let pods = ["client", "consumer", V1, V2, V3].map(|name| self.workload(name));
        let workloads = pods.into_iter().chain([self.replica("waypoint-1", true)]);
        self.cluster.push(workloads, services.chain([self.service(WAYPOINT)]), []);
    }

    /// Starts the waypoint of a pod, of which the control plane must know.
    pub(super) fn start_waypoint(&mut self, pod: &'static str) -> Result<()> {
        let spec: NodeSpec = self
            .cluster
            .spec(pod)
            .with("PROXY_WORKLOAD_INFO", format!("{MESH}/{pod}/{WAYPOINT}"))
            .with("NODE_NAME", MACHINES[1])
            .with("CONNECTION_TERMINATION_DEADLINE", DEADLINE);
        let node = spec.start_waypoint(Some(self.hosts[pod].namespace()), &self.manifests)?;
        self.waypoints.insert(pod, node);
        Ok(())
    }

    /// Puts manifests in the place of those that are there, in one step; what runs takes them by and by.
    pub(super) fn put(&self, manifests: &str) -> Result<()> {
        let new = self.cluster.write("all.yaml", manifests)?;
        let all = self.manifests.join("all.yaml");
        fs::rename(&new, &all).map_err(HarnessError::io(format!("renaming {}", new.display())))
    }

    /// Puts other manifests into force, and waits until they are.
    pub(super) fn change(&self, manifests: &str) -> Result<()> {
        let taken = |node: &Node| {
            let lines = node.process().lines();
            lines.iter().filter(|line| line.contains("the resources have changed, and are in force")).count()
        };
        let before: Vec<_> = self.waypoints.values().map(taken).collect();
        self.put(manifests)?;
        let done = || self.waypoints.values().zip(&before).all(|(node, before)| taken(node) > *before);
        wait_until("the manifests to be in force", SOON, done, String::new)
    }

    /// Does `work` as if it ran in that pod.
    pub(super) fn inside<T: Send>(&self, pod: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.hosts[pod].namespace().enter(work)
    }

    /// A request from a pod, on a connection of its own; or why there is no answer.
    pub(super) fn ask(
        &self,
        pod: &str,
        to: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<std::result::Result<Reply, String>> {
        self.inside(pod, || {
            let mut client = Client::open(to).map_err(|error| error.to_string())?;
            client.try_ask("GET", path, headers, b"")
        })
    }

    /// Waits for the log's line of a request for `path`, in JSON (see [`JSON_LOG`]).
    pub(super) fn logged(&self, path: &str) -> Result<Value> {
        let what = format!("the log's line of {path}");
        self.waypoints["waypoint-1"].process().wait_line(&what, SOON, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["path"] == path).then_some(line)
        })
    }

    /// What waypoints have complained of.
    pub(super) fn complaints(&self) -> Vec<String> {
        let loud = |line: &String| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["scope"] != "access" && (line["level"] == "error" || line["level"] == "warn")
        };
        self.waypoints.values().flat_map(|node| node.process().lines()).filter(loud).collect()
    }
}

/// Settings of the mesh by which the log is in JSON.
pub(super) const JSON_LOG: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |
    accessLogFile: /dev/stdout
    accessLogEncoding: JSON
";

/// Ports of a service with applications behind.
fn ports() -> Vec<Port> {
    let http = PORTS.into_iter().map(|from| port(from, APP));
    http.chain([TCP, TLS, DETECTED].into_iter().map(|same| port(same, same))).collect()
}

fn port(from: u16, to: u16) -> Port {
    Port { service_port: from.into(), target_port: to.into(), app_protocol: 0 }
}
