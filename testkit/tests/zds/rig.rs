//! A client on a thread of its own, whose starting of proxies the test decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit_control::zds::{PodObserver, PodSink, PodStart, View, Zds};
use adit_core::inpod::{ProtocolError, Settings};
use adit_core::proxy::ProxyId;
use adit_testkit::cni::{Connection, LIMIT, Listener, Packet, Pod};
use adit_testkit::netns::Scratch;
use tokio::sync::{Notify, oneshot};

/// What the test sees and decides.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Pods that cannot be started.
    pub(crate) broken: BTreeSet<&'static str>,
    /// Pods whose start does not end before they are released.
    pub(crate) stuck: BTreeSet<&'static str>,
    /// What runs.
    pub(crate) running: BTreeMap<ProxyId, PodStart>,
    /// Starts that were begun.
    pub(crate) starts: usize,
    /// Proxies that were told to stop.
    pub(crate) stops: usize,
    /// What metrics show: active, pending, started, stopped.
    pub(crate) metrics: (usize, usize, usize, usize),
    /// What readiness shows.
    pub(crate) ready: bool,
}

/// [`Seen`], and who waits for a change of it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    released: Notify,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic elsewhere")
    }

    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// `uid` can be started now.
    pub(crate) fn release(&self, uid: &str) {
        self.lock().stuck.remove(uid);
        self.released.notify_one();
    }

    /// Waits until it is so.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Seen) -> bool) {
        let end = Instant::now() + LIMIT;
        let mut seen = self.lock();
        while !wanted(&seen) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not in time: {what}; {seen:#?}");
            seen = self.changed.wait_timeout(seen, left).expect("no panic elsewhere").0;
        }
    }

    /// Uids of what runs.
    pub(crate) fn running(&self) -> Vec<String> {
        let mut running: Vec<_> = self.lock().running.values().map(|pod| pod.uid.to_string()).collect();
        running.sort();
        running
    }
}

#[derive(Debug)]
struct Sink(Arc<Shared>);

impl PodSink for Sink {
    async fn start(&self, pod: PodStart) -> Result<(), String> {
        self.0.change(|seen| seen.starts += 1);
        let stuck = || self.0.lock().stuck.contains(&*pod.uid);
        while stuck() {
            self.0.released.notified().await;
        }
        self.0.change(|seen| {
            if seen.broken.contains(&*pod.uid) {
                return Err("failed to bind to address [::]:15008: address in use".to_owned());
            }
            assert!(seen.running.insert(pod.id, pod).is_none(), "an id is used twice");
            Ok(())
        })
    }

    async fn stop(&self, id: ProxyId) {
        self.0.change(|seen| {
            seen.stops += 1;
            seen.running.remove(&id);
        });
    }
}

#[derive(Debug)]
struct Observer(Arc<Shared>);

impl PodObserver for Observer {
    fn counts(&self, active: usize, pending: usize) {
        self.0.change(|seen| (seen.metrics.0, seen.metrics.1) = (active, pending));
    }

    fn started(&self) {
        self.0.change(|seen| seen.metrics.2 += 1);
    }

    fn stopped(&self) {
        self.0.change(|seen| seen.metrics.3 += 1);
    }

    fn ready(&mut self, ready: bool) {
        self.0.change(|seen| {
            assert_ne!(seen.ready, ready, "told twice");
            seen.ready = ready;
        });
    }
}

/// How time goes by for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// As it does.
    Real,
    /// Whenever there is nothing to do, the next deadline has come.
    Racing,
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) seen: Arc<Shared>,
    pub(crate) view: View,
    drain: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ProtocolError>>>,
}

impl Client {
    pub(crate) fn start(path: PathBuf, clock: Clock) -> Self {
        let seen = Arc::new(Shared::default());
        let (sink, observer) = (Arc::new(Sink(Arc::clone(&seen))), Observer(Arc::clone(&seen)));
        let (drain, drained) = oneshot::channel::<()>();
        let (give, view) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().start_paused(clock == Clock::Racing).build();
            runtime.expect("a runtime").block_on(async {
                let (client, view) = Zds::new(path, Settings::default(), sink, observer);
                give.send(view).expect("a test that waits");
                let drained = async { drop(drained.await) };
                client.run(drained).await
            })
        });
        let view = view.recv().expect("a client");
        Self { seen, view, drain: Some(drain), thread: Some(thread) }
    }

    /// The drain begins.
    pub(crate) fn drain(&mut self) {
        drop(self.drain.take());
    }

    /// How the client ended.
    pub(crate) fn end(&mut self) -> Result<(), ProtocolError> {
        self.thread.take().expect("ends once").join().expect("no panic")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.drain();
        if self.thread.is_some() && !std::thread::panicking() {
            let _ = self.end();
        }
    }
}

/// A client and the socket it connects to, on which the test speaks packet by packet.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) client: Client,
    pub(crate) listener: Listener,
    _scratch: Scratch,
}

impl Rig {
    pub(crate) fn new(clock: Clock) -> Self {
        let scratch = Scratch::new().expect("a directory");
        let path = scratch.path().join("zds");
        let listener = Listener::bind(&path).expect("a socket");
        Self { client: Client::start(path, clock), listener, _scratch: scratch }
    }

    /// The client's next connection, after its hello.
    pub(crate) fn accept(&self) -> Connection {
        let connection = self.listener.accept(LIMIT).expect("a client");
        assert_eq!(connection.hello(), Ok(()));
        connection
    }

    /// The same, after a snapshot of `pods`.
    pub(crate) fn accept_with(&self, pods: &[&Pod]) -> Connection {
        let connection = self.accept();
        for pod in pods {
            assert_eq!(connection.request(&Packet::add(pod)), Ok(()));
        }
        assert_eq!(connection.request(&Packet::snapshot_sent()), Ok(()));
        connection
    }
}

/// A pod whose namespace is played by that `kind` of namespace of this process: `net`, `uts`, `ipc` or `mnt`.
pub(crate) fn pod(uid: &str, kind: &str) -> Pod {
    let file = File::open(format!("/proc/self/ns/{kind}")).expect("a namespace");
    Pod {
        uid: uid.into(),
        name: format!("pod-{uid}"),
        namespace: "ns".into(),
        service_account: "sa".into(),
        netns: Some(Arc::new(OwnedFd::from(file))),
    }
}

/// Time enough for something that must not happen to happen.
pub(crate) const MOMENT: Duration = Duration::from_millis(50);
