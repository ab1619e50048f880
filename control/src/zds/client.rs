//! The driver of [`adit_core::inpod::Pods`]: one task that holds the connection and the one thing that is being done.

use std::future::{Future, pending};
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use adit_core::inpod::{Action, ConnectionId, Message, Pods, ProtocolError, Settings};
use adit_core::proxy::ProxyId;
use tokio::time::{Instant, sleep_until, timeout};

use super::socket::{Netns, Socket};
use super::{PodObserver, PodSink, PodStart, View, packet};

/// Listeners must be bound by then: the agent waits for 5 s.
const START_LIMIT: Duration = Duration::from_secs(3);
/// How long others wait for the end of one proxy.
const STOP_LIMIT: Duration = Duration::from_secs(1);

type Doing = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What has been done.
enum Done {
    Started(ProxyId, Result<(), String>),
    Stopped(ProxyId),
}

/// What woke the task.
enum Wake {
    Message(io::Result<Option<Message<Netns>>>),
    Done(Done),
    Timeout,
    Drain,
}

/// What was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    active: usize,
    pending: usize,
    ready: bool,
}

/// A client of the node's CNI agent; nothing happens until it is [run](Zds::run).
pub struct Zds<S, O> {
    path: PathBuf,
    view: View,
    sink: Arc<S>,
    observer: O,
    started: Instant,
    socket: Option<(ConnectionId, Socket)>,
    doing: Option<Doing>,
    told: Told,
    failed: Option<ProtocolError>,
}

impl<S: PodSink, O: PodObserver> Zds<S, O> {
    /// A client of the agent that listens at `path` (`INPOD_UDS`); with it, what may be seen of its pods.
    #[must_use]
    pub fn new(path: PathBuf, settings: Settings, sink: Arc<S>, observer: O) -> (Self, View) {
        let view = View::new(Pods::new(settings));
        let client = Self {
            path,
            view: view.clone(),
            sink,
            observer,
            started: Instant::now(),
            socket: None,
            doing: None,
            told: Told::default(),
            failed: None,
        };
        (client, view)
    }

    /// Follows the agent, on a tokio runtime, until `drain` ends; then no pod is taken any more. The proxies that run then are
    /// their owner's to drain. The mesh should be known before: a pod whose listeners are bound gets traffic.
    ///
    /// # Errors
    /// The agent does not speak ZDS. Drain what runs and exit with an error.
    pub async fn run(mut self, drain: impl Future<Output = ()>) -> Result<(), ProtocolError> {
        let mut drain = pin!(drain);
        let mut draining = false;
        loop {
            self.settle();
            self.tell();
            if let Some(error) = self.failed {
                return Err(error);
            }
            if self.view.lock().is_over() {
                return Ok(());
            }
            let wake = tokio::select! {
                // No new pod once the drain has begun.
                biased;
                () = &mut drain, if !draining => Wake::Drain,
                wake = self.wake() => wake,
            };
            match wake {
                Wake::Message(received) => self.received(received),
                Wake::Done(done) => self.done(done),
                Wake::Timeout => {
                    let now = self.now();
                    self.view.lock().handle_timeout(now);
                }
                Wake::Drain => {
                    draining = true;
                    self.view.lock().begin_drain();
                }
            }
        }
    }

    fn now(&self) -> adit_core::time::Instant {
        adit_core::time::Instant::ZERO + self.started.elapsed()
    }

    async fn wake(&mut self) -> Wake {
        let (at, wants_message) = {
            let machine = self.view.lock();
            (machine.poll_timeout(), machine.wants_message())
        };
        let at = at.map(|at| self.started + at.saturating_since(adit_core::time::Instant::ZERO));
        let (socket, doing) = (&self.socket, &mut self.doing);
        tokio::select! {
            done = async { match doing {
                Some(doing) => doing.await,
                None => pending().await,
            } } => {
                self.doing = None;
                Wake::Done(done)
            }
            received = async { match socket {
                Some((_, socket)) if wants_message => socket.receive().await,
                _ => pending().await,
            } } => Wake::Message(received),
            () = async { match at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            } } => Wake::Timeout,
        }
    }

    fn received(&mut self, received: io::Result<Option<Message<Netns>>>) {
        let Some((id, _)) = self.socket else { return };
        match received {
            Ok(Some(message)) => self.view.lock().handle_message(id, message),
            Ok(None) => {
                tracing::info!("the CNI agent has closed the connection; proxies of pods go on");
                self.closed(id);
            }
            Err(error) => {
                tracing::warn!(%error, "the connection to the CNI agent is broken; proxies of pods go on");
                self.closed(id);
            }
        }
    }

    fn done(&mut self, done: Done) {
        let now = self.now();
        match done {
            Done::Started(id, result) => {
                match &result {
                    Ok(()) => {
                        self.observer.started();
                        tracing::info!(proxy = id.0, "the pod's proxy runs");
                    }
                    Err(error) => tracing::warn!(proxy = id.0, %error, "the pod's proxy cannot be started"),
                }
                self.view.lock().handle_started(now, id, result.map_err(Into::into));
            }
            Done::Stopped(id) => {
                self.observer.stopped();
                self.view.lock().handle_stopped(id);
            }
        }
    }

    fn closed(&mut self, id: ConnectionId) {
        self.socket = None;
        let now = self.now();
        self.view.lock().handle_closed(now, id);
    }

    /// Does what the machine wants, until it wants nothing or something takes time.
    fn settle(&mut self) {
        loop {
            let now = self.now();
            let Some(action) = self.view.lock().poll_action(now) else { return };
            match action {
                Action::Connect(id) => self.connect(id),
                Action::Hello(id) => {
                    if self.send(id, &packet::hello()) {
                        self.view.lock().handle_greeted(id);
                    }
                }
                Action::Start(start) => {
                    let (id, uid, netns) = (start.id, &start.uid, start.netns_id);
                    tracing::info!(proxy = id.0, %uid, workload = %start.workload, %netns, "starting a pod's proxy");
                    let pod = PodStart {
                        id: start.id,
                        uid: start.uid,
                        workload: start.workload,
                        netns: start.netns,
                        netns_id: start.netns_id,
                    };
                    self.doing = Some(Box::pin(bring_up(Arc::clone(&self.sink), pod)));
                }
                Action::Stop { id, uid } => {
                    tracing::info!(proxy = id.0, %uid, "stopping a pod's proxy");
                    self.doing = Some(Box::pin(bring_down(Arc::clone(&self.sink), id)));
                }
                Action::Reply { connection, error } => {
                    if let Some(error) = &error {
                        tracing::warn!(%error, "the CNI agent's request is refused");
                    }
                    self.send(connection, &packet::ack(error.as_ref()));
                }
                Action::Close(id) => {
                    if self.socket.as_ref().is_some_and(|(at, _)| *at == id) {
                        self.socket = None;
                    }
                }
                Action::Fail(error) => {
                    tracing::error!(%error, "the CNI agent does not keep to ZDS");
                    self.socket = None;
                    self.failed = Some(error);
                }
            }
        }
    }

    fn connect(&mut self, id: ConnectionId) {
        match Socket::connect(&self.path) {
            Ok(socket) => {
                tracing::info!(path = %self.path.display(), "connected to the CNI agent");
                self.socket = Some((id, socket));
                self.view.lock().handle_connected(id);
            }
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%error, %path, "cannot connect to the CNI agent; does istio-cni run on this node?");
                self.closed(id);
            }
        }
    }

    /// Whether it was sent; the connection is over otherwise.
    fn send(&mut self, id: ConnectionId, packet: &[u8]) -> bool {
        let Some((_, socket)) = self.socket.as_ref().filter(|(at, _)| *at == id) else { return false };
        let sent = socket.send(packet);
        if let Err(error) = &sent {
            tracing::warn!(%error, "cannot answer the CNI agent; the connection is made again");
            self.closed(id);
        }
        sent.is_ok()
    }

    /// Tells the observer what has changed.
    fn tell(&mut self) {
        let now = {
            let machine = self.view.lock();
            Told { active: machine.active(), pending: machine.pending(), ready: machine.is_ready() }
        };
        let before = std::mem::replace(&mut self.told, now);
        if (before.active, before.pending) != (now.active, now.pending) {
            self.observer.counts(now.active, now.pending);
        }
        if before.ready != now.ready {
            self.observer.ready(now.ready);
        }
    }
}

async fn bring_up<S: PodSink>(sink: Arc<S>, pod: PodStart) -> Done {
    let id = pod.id;
    match timeout(START_LIMIT, sink.start(pod)).await {
        Ok(result) => Done::Started(id, result),
        Err(_) => {
            let _ = timeout(STOP_LIMIT, sink.stop(id)).await;
            Done::Started(id, Err(format!("its listeners were not bound within {START_LIMIT:?}")))
        }
    }
}

async fn bring_down<S: PodSink>(sink: Arc<S>, id: ProxyId) -> Done {
    if timeout(STOP_LIMIT, sink.stop(id)).await.is_err() {
        tracing::warn!(proxy = id.0, "the pod's proxy takes more than {STOP_LIMIT:?} to stop; going on");
    }
    Done::Stopped(id)
}
