//! What a running proxy does about capture: looks at all its pods again and again, and tells.
use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use adit_control::zds::PodStart;
use adit_core::proxy::LocalWorkload;
use adit_ops::capture::{Captures, PodCapture};
use adit_ops::metrics::Metrics;
use adit_ops::readiness::Readiness;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::capture_state;

/// How often all pods are looked at, unless the caller has reasons: the kernel walks all connections of the machine to list
/// those of one namespace, some milliseconds each time.
pub const PERIOD: Duration = Duration::from_secs(300);

/// From a new pod to the next look: others often come with it.
const REST: Duration = Duration::from_secs(1);

/// Probes at one time: each is a thread for as long as it takes.
const AT_ONCE: usize = 16;

/// A pod that the proxy serves.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its uid.
    pub uid: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its network namespace.
    pub netns: Arc<OwnedFd>,
}

impl From<&PodStart> for Pod {
    fn from(start: &PodStart) -> Self {
        let LocalWorkload { namespace, name, .. } = &start.workload;
        Self {
            uid: Arc::clone(&start.uid),
            namespace: Arc::clone(namespace),
            name: Arc::clone(name),
            netns: Arc::clone(&start.netns),
        }
    }
}

/// Looks at all of `pods` every `period`, and at new ones soon after `changed` says that there are some, for ever: what is found
/// goes to `captures` (the admin page), to the metric `adit_capture_missing_pods`, to the remark of readiness, and, when it
/// changes, to the log. Needs tokio's time.
pub async fn watch(
    pods: impl Fn() -> Vec<Pod>,
    (period, changed): (Duration, &Notify),
    captures: &Captures,
    metrics: &Metrics,
    readiness: &Readiness,
) {
    let mut rounds = interval(period);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let all = tokio::select! {
            _ = rounds.tick() => true,
            () = changed.notified() => false,
        };
        if !all {
            sleep(REST).await;
        }
        let known = if all { Vec::new() } else { captures.pods() };
        let found = look(pods(), known).await;
        // Without those that went meanwhile.
        let still: BTreeSet<_> = pods().into_iter().map(|pod| pod.uid).collect();
        let found = found.into_iter().filter(|pod| still.contains(&pod.uid)).collect();
        tell(found, captures, metrics, readiness);
    }
}

/// Looks at all of `pods` once.
pub async fn round(pods: Vec<Pod>, captures: &Captures, metrics: &Metrics, readiness: &Readiness) {
    tell(look(pods, Vec::new()).await, captures, metrics, readiness);
}

/// Looks at those of `pods` that are not `found` yet, and adds them.
async fn look(pods: Vec<Pod>, mut found: Vec<PodCapture>) -> Vec<PodCapture> {
    let seen: BTreeSet<_> = found.iter().map(|pod| Arc::clone(&pod.uid)).collect();
    let mut left: VecDeque<_> = pods.into_iter().filter(|pod| !seen.contains(&pod.uid)).collect();
    let mut probes = JoinSet::new();
    loop {
        while probes.len() < AT_ONCE
            && let Some(pod) = left.pop_front()
        {
            probes.spawn(async move {
                let state = capture_state(pod.netns.as_fd()).await;
                PodCapture { uid: pod.uid, namespace: pod.namespace, name: pod.name, state }
            });
        }
        match probes.join_next().await {
            Some(Ok(pod)) => found.push(pod),
            Some(Err(error)) => tracing::error!(%error, "a look at a pod's capture failed"),
            None => return found,
        }
    }
}

fn tell(found: Vec<PodCapture>, captures: &Captures, metrics: &Metrics, readiness: &Readiness) {
    for PodCapture { namespace, name, state, .. } in captures.replace(found) {
        if state.is_missing() {
            tracing::warn!("traffic of {namespace}/{name} is not captured: {state}; see `adit-node check`");
        } else {
            tracing::debug!("capture of {namespace}/{name}: {state}");
        }
    }
    metrics.pods.set_uncaptured(captures.missing());
    readiness.set_remark(captures.remark());
}
