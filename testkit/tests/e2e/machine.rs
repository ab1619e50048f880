//! A machine: `adit-node` in shared mode in a network namespace of its own, and the agent that names it the machine's pods.
use adit_testkit::netns::{Backend, Host, Node, NodeSpec, Runtime};
use serde_json::Value;

use crate::Result;
use crate::agent::Agent;
use crate::control_plane::{ControlPlane, ISTIOD, PROXY, SYSTEM};

/// One machine. The agent ends first, then the proxy, then where they live.
pub(crate) struct Machine {
    /// Its name in Kubernetes.
    pub(crate) name: &'static str,
    pub(crate) agent: Agent,
    pub(crate) proxy: Node,
    pub(crate) host: Host,
}

impl Machine {
    /// Makes it known to Kubernetes and starts agent and proxy. `runtime` and `backend` are the proxy's and the agent's.
    pub(crate) fn start(
        plane: &ControlPlane,
        name: &'static str,
        host: Host,
        runtime: Runtime,
        backend: Backend,
    ) -> Result<Self> {
        let pod = format!("{PROXY}-{name}");
        let address = host.address(false);
        plane.kube.apply(&format!(
            r#"
{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {PROXY}, namespace: {SYSTEM}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {pod}, namespace: {SYSTEM}, labels: {{app: {PROXY}}}}}
spec: {{serviceAccountName: {PROXY}, nodeName: {name}, containers: [{{name: proxy, image: none}}]}}
status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}, {{ip: "{second}"}}], hostIP: {address}, conditions: [{{type: Ready, status: "True"}}]}}
"#,
            second = host.address(true),
        ))?;
        let token = plane.write(&format!("{name}.token"), &plane.kube.token(SYSTEM, PROXY, &pod)?)?;
        let socket = plane.path(&format!("{name}.sock"));
        let agent = Agent::start(name, &socket, plane.kube.clone(), backend)?;
        let istiod = format!("https://{}:15012", plane.host.address(false));
        let root = plane.path("root.pem").display().to_string();
        let spec =
            NodeSpec { workload: pod.clone(), runtime, mesh: None, ca: None, bind: None, vars: Vec::new() };
        let spec = spec
            .with("PROXY_MODE", "shared")
            .with("PROXY_WORKLOAD_INFO", "")
            .with("INPOD_UDS", socket.display())
            .with("CLUSTER_ID", "Kubernetes")
            .with("NODE_NAME", name)
            .with("POD_NAME", &pod)
            .with("POD_NAMESPACE", SYSTEM)
            .with("SERVICE_ACCOUNT", PROXY)
            .with("INSTANCE_IP", address)
            .with("XDS_ADDRESS", &istiod)
            .with("XDS_ROOT_CA", &root)
            .with("ALT_XDS_HOSTNAME", ISTIOD)
            .with("CA_ADDRESS", &istiod)
            .with("CA_ROOT_CA", &root)
            .with("ALT_CA_HOSTNAME", ISTIOD)
            .with("AUTH_TOKEN", token.display());
        let proxy = spec.start(Some(host.namespace()))?;
        Ok(Self { name, agent, proxy, host })
    }

    /// The proxy's tables and what else it works with.
    pub(crate) fn dump(&self) -> Value {
        adit_testkit::netns::dump(&self.host).unwrap_or_default()
    }

    /// The identities that the proxy keeps certificates for.
    pub(crate) fn certificates(&self) -> Vec<String> {
        adit_testkit::netns::certificates(&self.host)
    }

    /// Namespace and name of the pods that the proxy serves, or would if it could; nothing if it does not answer.
    pub(crate) fn served(&self) -> Option<Vec<(String, String)>> {
        let dump = self.dump();
        let word = |word: &Value| word.as_str().unwrap_or_default().to_owned();
        let pods = dump["workloadState"].as_object()?.values();
        Some(pods.map(|pod| (word(&pod["info"]["namespace"]), word(&pod["info"]["name"]))).collect())
    }
}
