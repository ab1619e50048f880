//! The machine: pods, what is to be done for them, and the answers.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::time::Duration;

use super::link::Link;
use super::{Action, ConnectionId, Message, NetnsId, ProtocolError, Refusal, Start, StartError};
use crate::proxy::{LocalWorkload, ProxyId};
use crate::time::Instant;

/// How long after a failure pods without a proxy are tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What a [`Pods`] is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The namespace of the proxy itself, which no pod can have.
    pub own_netns: Option<NetnsId>,
    /// How many pods are taken, and how many of those that are not are remembered. Each costs no more than one packet of the
    /// agent and its namespace.
    pub max_pods: usize,
    /// Decides the jitter of delays.
    pub seed: u64,
}

impl Default for Settings {
    /// A node of Kubernetes has 110 pods, large ones some hundreds.
    fn default() -> Self {
        Self { own_netns: None, max_pods: 4096, seed: 0 }
    }
}

/// How far a pod's proxy is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It is about to be started for the first time.
    Starting,
    /// It runs.
    Up,
    /// It could not be started, and is tried again.
    Pending(StartError),
}

/// A pod, for dumps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// Kubernetes uid.
    pub uid: Arc<str>,
    /// What it is.
    pub workload: LocalWorkload,
    /// How far its proxy is.
    pub state: State,
}

/// Where an attempt to start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// A step says `Start`.
    Queued,
    /// The driver is at it.
    Starting,
    Up,
    /// Until the next retry.
    Failed,
}

#[derive(Clone, Debug)]
struct Pod<N> {
    id: ProxyId,
    workload: LocalWorkload,
    netns_id: NetnsId,
    /// Not held here once the proxy runs.
    netns: Option<N>,
    progress: Progress,
    /// Why the last attempt failed.
    failure: Option<StartError>,
    /// The connection on which the agent last said that there is such a pod, and has not said otherwise.
    named_in: Option<u64>,
}

/// What is still to be done, in order.
#[derive(Clone, Debug)]
enum Step {
    Hello(ConnectionId),
    Start(Arc<str>, ProxyId),
    Stop(Arc<str>, ProxyId),
    Reply(ConnectionId, Option<Refusal>),
    Close(ConnectionId),
    Fail(ProtocolError),
}

/// What the driver is at, and nothing beside it.
#[derive(Clone, Debug)]
enum Busy {
    Starting(Arc<str>, ProxyId),
    Stopping(ProxyId),
}

/// The pods of a node; see the [module](super). `N` is what leads into a network namespace.
#[derive(Clone, Debug)]
pub struct Pods<N> {
    settings: Settings,
    link: Link,
    pods: BTreeMap<Arc<str>, Pod<N>>,
    /// Pods that the agent has named on this connection and for which there was no room.
    refused: BTreeSet<Arc<str>>,
    steps: VecDeque<Step>,
    busy: Option<Busy>,
    /// The `add` that is answered when this proxy has been started, or has not.
    owed: Option<(ConnectionId, ProxyId)>,
    retry_at: Option<Instant>,
    last_id: u32,
    /// Counts connections that were made.
    era: u64,
    over: bool,
}

impl<N: Clone> Pods<N> {
    /// No pods yet; the agent is wanted at once.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            link: Link::new(settings.seed),
            settings,
            pods: BTreeMap::new(),
            refused: BTreeSet::new(),
            steps: VecDeque::new(),
            busy: None,
            owed: None,
            retry_at: None,
            last_id: 0,
            era: 0,
            over: false,
        }
    }

    /// The agent has taken the connection. It will tell of its pods anew: what waits for a retry is forgotten.
    pub fn handle_connected(&mut self, connection: ConnectionId) {
        if !self.link.connected(connection) {
            return;
        }
        self.era = self.era.saturating_add(1);
        self.pods.retain(|_, pod| matches!(pod.progress, Progress::Up | Progress::Starting));
        self.refused.clear();
        (self.owed, self.retry_at) = (None, None);
        self.steps.push_back(Step::Hello(connection));
    }

    /// The agent has our hello.
    pub fn handle_greeted(&mut self, connection: ConnectionId) {
        self.link.greeted(connection);
    }

    /// `connection` could not be made, or is over. Proxies go on.
    pub fn handle_closed(&mut self, now: Instant, connection: ConnectionId) {
        self.link.closed(now, connection);
    }

    /// A packet has come on `connection`. Only when [`wants_message`](Self::wants_message) says so; else it is ignored.
    pub fn handle_message(&mut self, connection: ConnectionId, message: Message<N>) {
        if !self.wants_message() || self.link.open() != Some(connection) {
            return;
        }
        match message {
            Message::Add { uid, workload, netns_id, netns } => {
                self.add(connection, uid, workload, netns_id, netns);
            }
            Message::AddWithoutWorkload { uid } => self.fail(connection, ProtocolError::NoWorkload(uid)),
            Message::Keep { uid } if self.link.has_snapshot() => {
                self.fail(connection, ProtocolError::KeepAfterSnapshot(uid));
            }
            Message::Keep { uid } => {
                if let Some(pod) = self.pods.get_mut(&uid) {
                    pod.named_in = Some(self.era);
                }
                self.reply(connection, None);
            }
            Message::Del { uid } => self.del(connection, &uid),
            Message::SnapshotSent if self.link.has_snapshot() => {
                self.fail(connection, ProtocolError::SecondSnapshot);
            }
            Message::SnapshotSent => self.snapshot(connection),
            Message::Invalid(why) => {
                self.reply(connection, Some(Refusal::Unreadable(why)));
                self.steps.push_back(Step::Close(connection));
            }
        }
    }

    /// [`Action::Start`] has been carried out, or not.
    pub fn handle_started(&mut self, now: Instant, id: ProxyId, result: Result<(), Arc<str>>) {
        let uid = match &self.busy {
            Some(Busy::Starting(uid, at)) if *at == id => Arc::clone(uid),
            _ => return,
        };
        self.busy = None;
        match (self.pods.get_mut(&uid), result) {
            (Some(pod), Ok(())) if pod.id == id => {
                (pod.progress, pod.netns, pod.failure) = (Progress::Up, None, None);
                self.answer_owed(id, None);
            }
            (_, Ok(())) => self.steps.push_front(Step::Stop(uid, id)),
            (_, Err(why)) => self.start_failed(now, &uid, id, StartError::Failed(why)),
        }
    }

    /// [`Action::Stop`] has been carried out.
    pub fn handle_stopped(&mut self, id: ProxyId) {
        if matches!(self.busy, Some(Busy::Stopping(at)) if at == id) {
            self.busy = None;
        }
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come, or not yet.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.link.timeout(now);
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            for (uid, pod) in &mut self.pods {
                if pod.progress == Progress::Failed {
                    pod.progress = Progress::Queued;
                    self.steps.push_back(Step::Start(Arc::clone(uid), pod.id));
                }
            }
        }
    }

    /// The process ends: no pod is taken or tried any more, and the agent is left, so that it turns to the next proxy. Proxies
    /// that run are not stopped by this.
    pub fn begin_drain(&mut self) {
        if self.over {
            return;
        }
        self.end();
        self.steps.retain(|step| matches!(step, Step::Stop(..)));
        self.steps.extend(self.link.end().map(Step::Close));
    }

    /// What to do next. Time is that of attempts that fail right here.
    pub fn poll_action(&mut self, now: Instant) -> Option<Action<N>> {
        while self.busy.is_none() {
            let Some(step) = self.steps.pop_front() else {
                return self.link.poll_connect().map(Action::Connect);
            };
            let action = self.action(now, step);
            if action.is_some() {
                return action;
            }
        }
        None
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.link.poll_timeout().into_iter().chain(self.retry_at).min()
    }

    /// Whether a packet may be read. Not while something is to be done: the agent waits for one answer at a time anyway.
    #[must_use]
    pub fn wants_message(&self) -> bool {
        self.link.open().is_some() && self.steps.is_empty() && self.busy.is_none()
    }

    /// The agent has told of all its pods, on a connection that lives, and each has its proxy.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.link.has_snapshot() && self.pending() == 0
    }

    /// Nothing will ever come from [`poll_action`](Self::poll_action) again: drained, or failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over && self.steps.is_empty() && self.busy.is_none()
    }

    /// How many proxies run.
    #[must_use]
    pub fn active(&self) -> usize {
        self.pods.values().filter(|pod| pod.progress == Progress::Up).count()
    }

    /// How many pods have no proxy because it could not be started, or because there were too many.
    #[must_use]
    pub fn pending(&self) -> usize {
        let failed = self.pods.values().filter(|pod| pod.failure.is_some()).count();
        failed.saturating_add(self.refused.len())
    }

    /// All pods, by uid.
    pub fn pods(&self) -> impl Iterator<Item = Known> + '_ {
        self.pods.iter().map(|(uid, pod)| {
            let state = match (pod.progress, &pod.failure) {
                (Progress::Up, _) => State::Up,
                (_, Some(error)) => State::Pending(error.clone()),
                (_, None) => State::Starting,
            };
            Known { uid: Arc::clone(uid), workload: pod.workload.clone(), state }
        })
    }

    fn add(
        &mut self,
        connection: ConnectionId,
        uid: Arc<str>,
        workload: LocalWorkload,
        netns_id: NetnsId,
        netns: N,
    ) {
        let count = self.pods.len();
        // What could not be started stays pending until it could.
        let mut failure = None;
        match self.pods.get_mut(&uid) {
            None if count >= self.settings.max_pods => {
                if self.refused.len() < self.settings.max_pods {
                    self.refused.insert(uid);
                }
                return self.reply(connection, Some(Refusal::TooManyPods(count)));
            }
            None => {}
            Some(pod) if pod.progress == Progress::Up => {
                pod.named_in = Some(self.era);
                if pod.workload != workload {
                    let running = pod.workload.clone();
                    let refusal = Refusal::OtherWorkload { uid, running, asked: workload };
                    return self.reply(connection, Some(refusal));
                }
                if pod.netns_id == netns_id {
                    return self.reply(connection, None);
                }
                self.steps.push_back(Step::Stop(Arc::clone(&uid), pod.id));
            }
            Some(pod) => failure = pod.failure.take(),
        }
        self.refused.remove(&uid);
        let id = self.next_id();
        let pod = Pod {
            id,
            workload,
            netns_id,
            netns: Some(netns),
            progress: Progress::Queued,
            failure,
            named_in: Some(self.era),
        };
        self.pods.insert(Arc::clone(&uid), pod);
        self.steps.push_back(Step::Start(uid, id));
        self.owed = Some((connection, id));
    }

    /// Numbers begin anew after 2³² proxies, when nobody speaks of the first any more.
    fn next_id(&mut self) -> ProxyId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let id = ProxyId(self.last_id);
            if id != ProxyId::OWN && self.pods.values().all(|pod| pod.id != id) {
                return id;
            }
        }
    }

    /// Before the snapshot a proxy that runs is only no longer named: it stops when all pods are known.
    fn del(&mut self, connection: ConnectionId, uid: &Arc<str>) {
        self.refused.remove(uid);
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.named_in = None;
            if self.link.has_snapshot() || pod.progress != Progress::Up {
                self.remove(uid);
            }
        }
        self.reply(connection, None);
    }

    fn snapshot(&mut self, connection: ConnectionId) {
        self.link.snapshot();
        let era = Some(self.era);
        let unnamed = self.pods.iter().filter(|(_, pod)| pod.named_in != era);
        let unnamed: alloc::vec::Vec<_> = unnamed.map(|(uid, _)| Arc::clone(uid)).collect();
        for uid in &unnamed {
            self.remove(uid);
        }
        self.reply(connection, None);
    }

    fn remove(&mut self, uid: &Arc<str>) {
        if let Some(pod) = self.pods.remove(uid)
            && pod.progress == Progress::Up
        {
            self.steps.push_back(Step::Stop(Arc::clone(uid), pod.id));
        }
    }

    fn reply(&mut self, connection: ConnectionId, error: Option<Refusal>) {
        self.steps.push_back(Step::Reply(connection, error));
    }

    fn fail(&mut self, connection: ConnectionId, error: ProtocolError) {
        self.reply(connection, Some(error.clone().into()));
        self.steps.push_back(Step::Fail(error));
    }

    fn answer_owed(&mut self, id: ProxyId, error: Option<Refusal>) {
        if let Some((connection, _)) = self.owed.take_if(|(_, owed)| *owed == id) {
            self.reply(connection, error);
        }
    }

    fn action(&mut self, now: Instant, step: Step) -> Option<Action<N>> {
        match step {
            Step::Hello(connection) => self.link.greets(connection).then_some(Action::Hello(connection)),
            Step::Start(uid, id) => self.start(now, uid, id),
            Step::Stop(uid, id) => {
                self.busy = Some(Busy::Stopping(id));
                Some(Action::Stop { id, uid })
            }
            Step::Reply(connection, error) => {
                (self.link.open() == Some(connection)).then_some(Action::Reply { connection, error })
            }
            Step::Close(connection) => {
                self.link.closed(now, connection);
                Some(Action::Close(connection))
            }
            Step::Fail(error) => {
                self.end();
                self.link.end();
                self.steps.clear();
                Some(Action::Fail(error))
            }
        }
    }

    /// The action, unless the pod has gone meanwhile or its namespace is not its own.
    fn start(&mut self, now: Instant, uid: Arc<str>, id: ProxyId) -> Option<Action<N>> {
        let pod = self.pods.get(&uid).filter(|pod| pod.id == id && pod.progress == Progress::Queued)?;
        let netns_id = pod.netns_id;
        let mut others = self.pods.iter();
        let other = others.find(|(_, pod)| pod.netns_id == netns_id && pod.progress == Progress::Up);
        let taken =
            other.map(|(other, _)| StartError::NetnsTaken { netns: netns_id, other: Arc::clone(other) });
        let own = (self.settings.own_netns == Some(netns_id)).then_some(StartError::OwnNetns(netns_id));
        if let Some(error) = own.or(taken) {
            self.start_failed(now, &uid, id, error);
            return None;
        }
        let pod = self.pods.get_mut(&uid)?;
        let netns = pod.netns.clone()?;
        pod.progress = Progress::Starting;
        let workload = pod.workload.clone();
        self.busy = Some(Busy::Starting(Arc::clone(&uid), id));
        Some(Action::Start(Start { id, uid, workload, netns_id, netns }))
    }

    /// Kept for a retry, unless the agent that named the pod has been followed by one that has not.
    fn start_failed(&mut self, now: Instant, uid: &Arc<str>, id: ProxyId, error: StartError) {
        let Some(pod) = self.pods.get_mut(uid).filter(|pod| pod.id == id) else { return };
        if pod.named_in != Some(self.era) {
            self.pods.remove(uid);
            return;
        }
        (pod.progress, pod.failure) = (Progress::Failed, Some(error.clone()));
        self.retry_at.get_or_insert(now + RETRY);
        self.answer_owed(id, Some(Refusal::NotStarted { uid: Arc::clone(uid), error }));
    }

    /// Forgets whatever has no proxy.
    fn end(&mut self) {
        self.over = true;
        self.refused.clear();
        self.retry_at = None;
        self.owed = None;
        self.pods.retain(|_, pod| pod.progress == Progress::Up);
    }
}
