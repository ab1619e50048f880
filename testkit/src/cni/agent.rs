//! An agent that does by itself what Istio's does: takes proxies, sends each a snapshot, and tells them of changes.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::{AgentError, Connection, Listener, Packet, Pod};

/// What a proxy was told when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Every pod that it was told of; an error is what its ack said.
    pub acks: Vec<(String, Result<(), AgentError>)>,
    /// What its ack of `snapshot_sent` said.
    pub end: Result<(), AgentError>,
}

#[derive(Debug, Default)]
struct State {
    pods: BTreeMap<String, Pod>,
    /// The newest last.
    connections: Vec<Arc<Connection>>,
    snapshots: Vec<Snapshot>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A scripted agent; see the [module](super). It ends when it is dropped, and with it its connections.
#[derive(Debug)]
pub struct Agent {
    shared: Arc<Shared>,
    /// Closed to end the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Listens at `path` with no pods.
    ///
    /// # Errors
    /// From the system, such as a folder that does not exist.
    pub fn start(path: &Path) -> io::Result<Self> {
        Self::with_pods(path, [])
    }

    /// Listens at `path`; every proxy that connects is told of `pods`.
    ///
    /// # Errors
    /// From the system, such as a folder that does not exist.
    pub fn with_pods(path: &Path, pods: impl IntoIterator<Item = Pod>) -> io::Result<Self> {
        let listener = Listener::bind(path)?;
        let pods = pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
        let state = Mutex::new(State { pods, ..State::default() });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let (stopped, stop) = io::pipe()?;
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&listener, &stopped, &for_thread));
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// There is a new pod, or one in another namespace. Only the newest proxy is told; the others learn nothing of it, as with
    /// Istio's agent.
    ///
    /// # Errors
    /// No proxy is connected, or it does not agree. The pod is known all the same: the next snapshot has it.
    pub fn add(&self, pod: Pod) -> Result<(), AgentError> {
        let mut state = self.shared.lock();
        state.pods.insert(pod.uid.clone(), pod.clone());
        let Some(newest) = state.connections.last().cloned() else { return Err(AgentError::NoConnection) };
        let told = newest.request(&Packet::add(&pod));
        state.judge(&newest, &told);
        told
    }

    /// A pod has gone. Every proxy is told.
    ///
    /// # Errors
    /// What the first of them that does not agree says; all are told.
    pub fn del(&self, uid: &str) -> Result<(), AgentError> {
        let mut state = self.shared.lock();
        state.pods.remove(uid);
        let mut result = Ok(());
        for connection in state.connections.clone() {
            let told = connection.request(&Packet::del(uid));
            state.judge(&connection, &told);
            result = result.and(told);
        }
        result
    }

    /// The agent loses the pod's namespace: later snapshots say `keep`. After a restart it is so with every pod it cannot find.
    pub fn forget_netns(&self, uid: &str) {
        if let Some(pod) = self.shared.lock().pods.get_mut(uid) {
            pod.netns = None;
        }
    }

    /// The pod disappears from what the agent knows, and nobody is told: the next snapshot lacks it.
    pub fn forget(&self, uid: &str) {
        self.shared.lock().pods.remove(uid);
    }

    /// A fault: cuts every connection. Proxies come back by themselves.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        for connection in state.connections.drain(..) {
            connection.cut();
        }
        self.shared.changed.notify_all();
    }

    /// A fault, or any other packet: `call` has the newest connection for itself.
    ///
    /// # Errors
    /// No proxy is connected.
    pub fn with_newest<T>(&self, call: impl FnOnce(&Connection) -> T) -> Result<T, AgentError> {
        let state = self.shared.lock();
        state.connections.last().map(|newest| call(newest)).ok_or(AgentError::NoConnection)
    }

    /// Waits until as many proxies are connected and have had their snapshot.
    ///
    /// # Errors
    /// How many there are after `limit`.
    pub fn connected(&self, count: usize, limit: Duration) -> Result<(), usize> {
        self.wait(limit, |state| state.connections.len(), |now| *now == count).map(drop)
    }

    /// Waits until `count` snapshots have been sent since the start; all of them.
    ///
    /// # Errors
    /// Those that were sent within `limit`.
    pub fn snapshots(&self, count: usize, limit: Duration) -> Result<Vec<Snapshot>, Vec<Snapshot>> {
        self.wait(limit, |state| state.snapshots.clone(), |sent| sent.len() >= count)
    }

    fn wait<T>(
        &self,
        limit: Duration,
        look: impl Fn(&State) -> T,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<T, T> {
        let end = Instant::now() + limit;
        let mut state = self.shared.lock();
        loop {
            let seen = look(&state);
            if wanted(&seen) {
                return Ok(seen);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(seen);
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.cut();
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

impl State {
    /// A connection that did not answer as it should is of no use any more.
    fn judge(&mut self, connection: &Arc<Connection>, told: &Result<(), AgentError>) {
        if !matches!(told, Ok(()) | Err(AgentError::Refused(_))) {
            self.lose(connection);
        }
    }

    fn lose(&mut self, connection: &Arc<Connection>) {
        connection.cut();
        self.connections.retain(|other| !Arc::ptr_eq(other, connection));
    }

    /// Tells a proxy of every pod.
    fn snapshot(&self, connection: &Connection) -> Snapshot {
        let tell = |pod: &Pod| {
            let packet = if pod.netns.is_some() { Packet::add(pod) } else { Packet::keep(&pod.uid) };
            (pod.uid.clone(), connection.request(&packet))
        };
        let acks = self.pods.values().map(tell).collect();
        Snapshot { acks, end: connection.request(&Packet::snapshot_sent()) }
    }
}

/// Takes proxies, and notices those that go, until `stopped` is closed.
fn serve(listener: &Listener, stopped: &PipeReader, shared: &Shared) {
    loop {
        let connections = shared.lock().connections.clone();
        let mut watched = vec![PollFd::new(stopped, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        watched.extend(
            connections.iter().map(|connection| PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN)),
        );
        if poll(&mut watched, None).is_err() {
            continue;
        }
        if !watched[0].revents().is_empty() {
            return;
        }
        let come = !watched[1].revents().is_empty();
        let mut state = shared.lock();
        // An ack that somebody waits for has been read by now: what is left was not asked for, or is the end.
        for connection in &connections {
            if !connection.is_idle() {
                state.lose(connection);
            }
        }
        if come && let Ok(connection) = listener.accept(Duration::ZERO) {
            let connection = Arc::new(connection);
            if connection.hello().is_ok() {
                let snapshot = state.snapshot(&connection);
                let taken = snapshot.end.is_ok();
                state.snapshots.push(snapshot);
                if taken {
                    state.connections.push(connection);
                }
            }
        }
        drop(state);
        shared.changed.notify_all();
    }
}
