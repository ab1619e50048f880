//! The part that kubelet's runtime and istio-cni's agent play on a machine: who is to be in the mesh is captured, the proxy is
//! told over ZDS, and Kubernetes when it has agreed (interfaces §3.3–3.5).
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_testkit::cni;
use adit_testkit::netns::{Backend, HarnessError, Host, redirect, release};
use k8s_openapi::api::core::v1::Pod;

use crate::Result;
use crate::objects::Kube;

/// Between two looks at what Kubernetes wants.
const PACE: Duration = Duration::from_millis(100);

/// A machine's agent. It works on a thread of its own until it is dropped.
pub(crate) struct Agent {
    shared: Arc<Shared>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// The machine's name in Kubernetes.
    node: String,
    kube: Kube,
    backend: Backend,
    zds: cni::Agent,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The namespaces of the machine's pods, by Kubernetes' uid.
    sandboxes: BTreeMap<String, Arc<Host>>,
    /// What went wrong; it is tried again, so that this is no failure yet.
    troubles: Vec<String>,
}

impl Agent {
    /// Listens for proxies at `socket`.
    pub(crate) fn start(node: &str, socket: &Path, kube: Kube, backend: Backend) -> Result<Self> {
        let zds = cni::Agent::start(socket).map_err(HarnessError::io("starting the CNI agent"))?;
        let shared = Arc::new(Shared { node: node.to_owned(), kube, backend, zds, state: Mutex::default() });
        let (stop, stopped) = channel::<()>();
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut captured = BTreeMap::new();
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = for_thread.look(&mut captured) {
                    for_thread.lock().troubles.push(error.to_string());
                }
            }
        });
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// A pod runs on this machine.
    pub(crate) fn place(&self, uid: &str, host: &Arc<Host>) {
        self.shared.lock().sandboxes.insert(uid.to_owned(), Arc::clone(host));
    }

    /// A pod runs here no more.
    pub(crate) fn remove(&self, uid: &str) {
        self.shared.lock().sandboxes.remove(uid);
    }

    /// What went wrong so far.
    pub(crate) fn troubles(&self) -> Vec<String> {
        self.shared.lock().troubles.clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

/// A pod that the proxy knows of.
struct Captured {
    space: String,
    name: String,
    host: Arc<Host>,
    /// Whether Kubernetes has been told.
    said: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the machine what Kubernetes wants now.
    fn look(&self, captured: &mut BTreeMap<String, Captured>) -> Result<()> {
        let (meshed, pods) = (self.kube.meshed()?, self.kube.pods_on(&self.node)?);
        let running: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
        let wanted = pods.iter().filter(|pod| meshed.contains(space(pod)));
        let wanted: BTreeMap<&str, &Pod> =
            wanted.filter_map(|pod| Some((pod.metadata.uid.as_deref()?, pod))).collect();

        let gone: Vec<String> =
            captured.keys().filter(|uid| !wanted.contains_key(&***uid)).cloned().collect();
        for uid in gone {
            let Some(pod) = captured.get(&uid) else { continue };
            let lives_on = running.contains(&*uid);
            if lives_on {
                release(pod.host.namespace())?;
            }
            self.zds.del(&uid)?;
            if lives_on {
                self.kube.annotate(&pod.space, &pod.name, false)?;
            }
            captured.remove(&uid);
        }
        for (uid, pod) in wanted {
            if !captured.contains_key(uid)
                && let Some(new) = self.capture(uid, pod)?
            {
                captured.insert(uid.to_owned(), new);
            }
        }
        for pod in captured.values_mut().filter(|pod| !pod.said) {
            self.kube.annotate(&pod.space, &pod.name, true)?;
            pod.said = true;
        }
        Ok(())
    }

    /// Captures a pod, and waits until the proxy has it; nothing if it does not run here.
    fn capture(&self, uid: &str, pod: &Pod) -> Result<Option<Captured>> {
        let Some(host) = self.lock().sandboxes.get(uid).cloned() else { return Ok(None) };
        redirect(host.namespace(), self.backend)?;
        let name = pod.metadata.name.clone().unwrap_or_default();
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        self.zds.add(cni::Pod {
            uid: uid.to_owned(),
            name: name.clone(),
            namespace: space(pod).to_owned(),
            service_account: account.unwrap_or_default(),
            netns: Some(Arc::new(host.namespace().open()?)),
        })?;
        Ok(Some(Captured { space: space(pod).to_owned(), name, host, said: false }))
    }
}

fn space(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}
