//! The cluster that scenarios play in: the control plane, two machines, and pods on them.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use adit_testkit::netns::peer::Server;
use adit_testkit::netns::{Backend, Host, Network, Runtime, wait_until, who_am_i};
use serde_json::Value;

use crate::control_plane::{ControlPlane, PROXY, SYSTEM};
use crate::machine::Machine;
use crate::objects::{CAPTURED, space};
use crate::{Result, SOON};

/// Where applications listen.
pub(crate) const APP: u16 = 8080;
/// Where they listen too.
pub(crate) const OTHER: u16 = 8081;
/// The port of services, which map it to [`APP`].
pub(crate) const SERVICE: u16 = 80;
/// Both families.
pub(crate) const FAMILIES: [bool; 2] = [false, true];

/// All of it. What runs ends before what it runs on.
pub(crate) struct Cluster {
    /// One on tokio with iptables, one on smol with nftables.
    pub(crate) machines: [Machine; 2],
    pub(crate) plane: ControlPlane,
    pub(crate) network: Network,
}

/// A running pod: its application ends with it.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) app: Server,
    pub(crate) host: Arc<Host>,
    space: String,
    account: String,
    uid: String,
    /// The number of its machine.
    machine: usize,
}

impl Cluster {
    /// Starts everything but pods.
    pub(crate) fn start() -> Result<Self> {
        let mut network = Network::new()?;
        let plane = ControlPlane::start(network.host("plane")?)?;
        let first = network.host("machine-1")?;
        let first = Machine::start(&plane, "machine-1", first, Runtime::Tokio, Backend::Iptables)?;
        let second = network.host("machine-2")?;
        let second = Machine::start(&plane, "machine-2", second, Runtime::Smol, Backend::Nftables)?;
        Ok(Self { machines: [first, second], plane, network })
    }

    /// Puts a namespace into the mesh or takes it out; makes it if there is none.
    pub(crate) fn label(&self, name: &str, meshed: bool) -> Result<()> {
        self.plane.kube.apply(&space(name, meshed))
    }

    /// Starts a pod, and its application in it, on the machine of that number. Its service account, and its label `app`, is
    /// the first word of its name: pods of one service share it.
    pub(crate) fn pod(&mut self, space: &str, name: &str, machine: usize) -> Result<Pod> {
        let host = self.network.host(name)?;
        let addresses =
            FAMILIES.map(|ipv6| [APP, OTHER].map(|port| SocketAddr::new(host.address(ipv6), port)));
        let app = Server::start(Some(host.namespace()), addresses.as_flattened())?;
        let account = name.split('-').next().unwrap_or(name).to_owned();
        let node = self.machines[machine].name;
        self.plane.kube.apply(&format!(
            r#"
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: {space}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {space}, labels: {{app: {account}}}}}
spec: {{serviceAccountName: {account}, nodeName: {node}, containers: [{{name: app, image: none}}]}}
"#
        ))?;
        let pod = Pod {
            name: name.to_owned(),
            app,
            host: Arc::new(host),
            space: space.to_owned(),
            account,
            uid: String::new(),
            machine,
        };
        let made = self.plane.kube.read(&pod.named())?.ok_or("the pod is gone")?;
        let uid = made["metadata"]["uid"].as_str().ok_or("a pod without a uid")?.to_owned();
        let pod = Pod { uid, ..pod };
        self.machines[machine].agent.place(&pod.uid, &pod.host);
        self.set_ready(&pod, true)?;
        Ok(pod)
    }

    /// Says, as kubelet does, that the pod runs, and whether its probes find it ready.
    pub(crate) fn set_ready(&self, pod: &Pod, ready: bool) -> Result<()> {
        let status = format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {space}}}
status: {{phase: Running, podIP: {v4}, podIPs: [{{ip: {v4}}}, {{ip: "{v6}"}}], hostIP: {host}, conditions: [{{type: Ready, status: "{ready}"}}]}}
"#,
            name = pod.name,
            space = pod.space,
            v4 = pod.host.address(false),
            v6 = pod.host.address(true),
            host = self.machine(pod).host.address(false),
            ready = if ready { "True" } else { "False" },
        );
        self.plane.kube.apply_status(&status)
    }

    /// Deletes a pod without grace. Its application and its network namespace stay until `pod` is dropped, and longer where the
    /// agent still needs the latter.
    pub(crate) fn delete(&self, pod: &Pod) -> Result<()> {
        self.machine(pod).agent.remove(&pod.uid);
        self.plane.kube.delete(&pod.named())
    }

    /// Deletes all that a scenario may have made, and waits until the machines have let go of its pods.
    pub(crate) fn clear(&self, space: &str) -> Result<()> {
        let kube = &self.plane.kube;
        for (api_version, kind) in [
            ("security.istio.io/v1", "AuthorizationPolicy"),
            ("security.istio.io/v1", "PeerAuthentication"),
            ("v1", "Service"),
            ("v1", "Pod"),
        ] {
            kube.delete_all(api_version, kind, space)?;
        }
        self.label(space, false)?;
        for machine in &self.machines {
            let none = || machine.served().is_some_and(|served| served.iter().all(|(of, _)| of != space));
            wait_until("the machine lets go of all pods", SOON, none, || format!("{:?}", machine.served()))?;
        }
        Ok(())
    }

    /// The machine that a pod is on.
    pub(crate) fn machine(&self, pod: &Pod) -> &Machine {
        &self.machines[pod.machine]
    }

    /// Waits until a pod's machine serves it no more.
    pub(crate) fn wait_let_go(&self, pod: &Pod) -> Result<()> {
        let machine = self.machine(pod);
        let own = (pod.space.clone(), pod.name.clone());
        let gone = || machine.served().is_some_and(|served| !served.contains(&own));
        let what = format!("{} lets go of {}", machine.name, pod.name);
        Ok(wait_until(&what, SOON, gone, || machine.agent.troubles().join("\n"))?)
    }

    /// Waits until each of these pods is captured, Kubernetes says so, and both machines know it from istiod.
    pub(crate) fn wait_meshed(&self, pods: &[&Pod]) -> Result<()> {
        for pod in pods {
            let annotated = || {
                let read = self.plane.kube.read(&pod.named()).ok().flatten();
                read.is_some_and(|read| read["metadata"]["annotations"][CAPTURED] == "enabled")
            };
            let what = format!("{} is captured", pod.name);
            wait_until(&what, SOON, annotated, || self.machine(pod).agent.troubles().join("\n"))?;
            self.wait_known(pod, "is known to speak HBONE", |known| {
                known.is_some_and(|known| known["protocol"] == "HBONE")
            })?;
        }
        Ok(())
    }

    /// Waits until what both machines know of a pod is as it should be; they know nothing of those that are not there.
    pub(crate) fn wait_known(
        &self,
        pod: &Pod,
        what: &str,
        holds: impl Fn(Option<&Value>) -> bool,
    ) -> Result<()> {
        for machine in &self.machines {
            let mut last = Value::Null;
            let known = || {
                let dump = machine.dump();
                let Some(workloads) = dump["workloads"].as_array() else { return false };
                let found = workloads
                    .iter()
                    .find(|each| each["name"] == *pod.name && each["namespace"] == *pod.space);
                last = found.cloned().unwrap_or_default();
                holds(found)
            };
            let outcome =
                wait_until(&format!("{}: {} {what}", machine.name, pod.name), SOON, known, String::new);
            outcome.map_err(|error| format!("{error}{last}"))?;
        }
        Ok(())
    }

    /// The addresses of a service, IPv4 first.
    pub(crate) fn vips(&self, space: &str, service: &str) -> Result<[IpAddr; 2]> {
        let named =
            format!("{{apiVersion: v1, kind: Service, metadata: {{name: {service}, namespace: {space}}}}}");
        let service = self.plane.kube.read(&named)?.ok_or("no such service")?;
        let vip = |number: usize| -> Result<IpAddr> {
            let vip = service["spec"]["clusterIPs"][number].as_str();
            Ok(vip.ok_or_else(|| format!("a service without two addresses: {service}"))?.parse()?)
        };
        Ok([vip(0)?, vip(1)?])
    }

    /// After all scenarios: the proxies keep nothing of pods that were.
    pub(crate) fn nothing_left(&self) -> Result<()> {
        let own = vec![format!("spiffe://cluster.local/ns/{SYSTEM}/sa/{PROXY}")];
        for machine in &self.machines {
            let only_own = || machine.certificates() == own;
            wait_until("only the proxy's own certificate", SOON, only_own, || {
                format!("{:?}", machine.certificates())
            })?;
        }
        Ok(())
    }

    /// What proxies, agents and istiod said, for whoever looks for the reason of a failure.
    pub(crate) fn told(&self) -> String {
        let mut text = String::new();
        for machine in &self.machines {
            let lines = machine.proxy.process().lines();
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            text += &format!("---- adit-node on {}\n{tail}\n", machine.name);
            text += &format!("---- its agent\n{}\n", machine.agent.troubles().join("\n"));
        }
        text + "---- istiod\n" + &self.plane.told()
    }
}

impl Pod {
    /// Where its application listens.
    pub(crate) fn at(&self, ipv6: bool, port: u16) -> SocketAddr {
        SocketAddr::new(self.host.address(ipv6), port)
    }

    /// Who it is in the mesh.
    pub(crate) fn identity(&self) -> String {
        format!("spiffe://cluster.local/ns/{}/sa/{}", self.space, self.account)
    }

    /// Who answers it on a connection to `to`: its own address as seen there, if the connection was let through.
    pub(crate) fn call(&self, to: impl Into<SocketAddr>) -> Result<bool> {
        let to = to.into();
        let seen = who_am_i(&self.host, to)?;
        let own = self.host.address(to.is_ipv6()).to_string();
        match seen {
            Some(seen) if seen == own => Ok(true),
            None => Ok(false),
            Some(seen) => Err(format!("{} is seen as {seen} by {to}", self.name).into()),
        }
    }

    /// Waits until its calls to `to` go well, or go well no more.
    pub(crate) fn wait_call(&self, what: &str, to: SocketAddr, well: bool) -> Result<()> {
        let as_wanted = || self.call(to).is_ok_and(|now| now == well);
        let verb = if well { "is let through to" } else { "is kept from" };
        Ok(wait_until(&format!("{what}: {} {verb} {to}", self.name), SOON, as_wanted, String::new)?)
    }

    /// How many calls its application has answered.
    pub(crate) fn answered(&self) -> usize {
        self.app.process().lines().iter().filter(|line| line.ends_with("who-am-i well")).count()
    }

    /// Names it, for the API server.
    fn named(&self) -> String {
        format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {}, namespace: {}}}}}", self.name, self.space)
    }
}
