//! Which connection a request to an endpoint goes on. One pool per thread: nothing is shared, nothing is locked.
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::l7::{Counted as What, Overflow};
use adit_core::mesh::{Mesh, ServiceName};
use adit_core::route::Towards;
use adit_runtime::Leaving;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use tokio::sync::{Notify, watch};

use super::connect::{self, ConnectFailed, SendFailed, UpstreamVersion};
use super::count::Counted;
use super::way::Way;
use crate::http::Body;
use crate::shared::ClusterRef;
use crate::worker::Worker;

/// Requests on one HTTP/2 connection, after which another one is opened, unless a rule says otherwise.
const STREAMS: usize = 100;

/// How often a request that waits for a connection looks whether there may be one.
const LOOK: Duration = Duration::from_millis(20);

/// What connections must have in common to serve the same requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    /// The endpoint's uid.
    endpoint: Arc<str>,
    port: u16,
    version: UpstreamVersion,
    /// The service it was chosen for, whose identities it must have.
    service: Option<ServiceName>,
    /// How it is spoken to.
    way: Arc<Way>,
}

impl PoolKey {
    /// Of connections to `to`, which are made in this `way`.
    pub(crate) fn new(to: &Towards, version: UpstreamVersion, way: Arc<Way>) -> Self {
        Self { endpoint: Arc::clone(&to.workload), port: to.port, version, service: to.service.clone(), way }
    }
}

/// Why there is no connection for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LeaseFailed {
    /// None could be made.
    #[error(transparent)]
    Connect(#[from] ConnectFailed),
    /// There are as many as there may be, and as many wait.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// How long a connection has been there, and how much it has served.
#[derive(Clone, Copy)]
struct Age {
    born: Instant,
    served: u32,
}

struct Idle {
    sender: http1::SendRequest<Body>,
    leaving: Leaving,
    since: Instant,
    age: Age,
}

/// A connection of HTTP/2, which many have at a time.
struct Common {
    sender: http2::SendRequest<Body>,
    leaving: Leaving,
    age: Cell<Age>,
    /// When a request last began or ended.
    used: Cell<Instant>,
}

impl Common {
    fn new((sender, leaving): (http2::SendRequest<Body>, Leaving)) -> Self {
        Self { sender, leaving, age: Cell::new(Age::new()), used: Cell::new(Instant::now()) }
    }

    /// Whether it may serve once more: it has not ended, nor does its way take leave, and nobody has limited it to less.
    fn serves(&self, way: &Way) -> bool {
        !self.sender.is_closed() && !self.leaving.is_taken() && self.age.get().serves(way)
    }

    /// One more request goes on it.
    fn once_more(&self) -> Age {
        let age = self.age.get().once_more();
        self.age.set(age);
        self.used.set(Instant::now());
        age
    }
}

/// How the making of a connection has ended; nothing: it goes on.
type Made = Option<Result<(), ConnectFailed>>;

/// A connection of HTTP/2 that is being made; those who could share it wait for it.
struct Making {
    made: watch::Receiver<Made>,
    waiting: usize,
}

#[derive(Default)]
struct Place {
    /// HTTP/1: those that serve nobody; the one used last is taken first.
    idle: Vec<Idle>,
    /// HTTP/2: those that are there, for any number of requests.
    common: Vec<Rc<Common>>,
    /// And the one that is on its way.
    making: Option<Making>,
}

/// Connections to endpoints.
#[derive(Default)]
pub(crate) struct Pool {
    places: RefCell<HashMap<PoolKey, Place>>,
    /// Told whenever a connection is free, or gone.
    freed: Rc<Notify>,
}

/// A connection, for one request.
pub(crate) struct Lease {
    pool: Weak<Pool>,
    key: PoolKey,
    on: On,
    age: Age,
    /// It has served before.
    pub(crate) reused: bool,
    max_idle: usize,
}

enum On {
    Http1(http1::SendRequest<Body>, Leaving),
    Http2(Rc<Common>),
}

impl Age {
    fn new() -> Self {
        Self { born: Instant::now(), served: 0 }
    }

    /// Whether it may serve once more.
    fn serves(self, way: &Way) -> bool {
        let connections = &way.connections;
        connections.max_requests.is_none_or(|most| self.served < most)
            && connections.max_age.is_none_or(|most| self.born.elapsed() < most)
    }

    const fn once_more(self) -> Self {
        Self { served: self.served.saturating_add(1), ..self }
    }
}

impl Lease {
    /// Sends a request on it; ready when the answer's head is there.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, SendFailed> {
        let sent = match &mut self.on {
            On::Http1(sender, _) => sender.try_send_request(request).await,
            On::Http2(common) => common.sender.clone().try_send_request(request).await,
        };
        sent.map_err(SendFailed::from)
    }

    /// Its answer has ended, and it may serve again.
    pub(crate) fn give_back(self) {
        let Some(pool) = self.pool.upgrade() else { return };
        if let On::Http2(common) = &self.on {
            common.used.set(Instant::now());
        }
        if let On::Http1(sender, leaving) = self.on
            && !sender.is_closed()
            && !leaving.is_taken()
            && self.age.serves(&self.key.way)
        {
            let mut places = pool.places.borrow_mut();
            let idle = &mut places.entry(self.key).or_default().idle;
            if idle.len() < self.max_idle {
                idle.push(Idle { sender, leaving, since: Instant::now(), age: self.age });
            }
        }
        pool.freed.notify_waiters();
    }
}

impl Pool {
    /// A connection for a request: one that is there, or a new one. Where there may be no more of them, the request waits for
    /// one; where no more may wait, it fails.
    pub(crate) async fn lease(
        self: &Rc<Self>,
        worker: &Worker,
        key: &PoolKey,
        cluster: Option<&ClusterRef>,
        to: impl FnOnce() -> Towards,
    ) -> Result<Lease, LeaseFailed> {
        let mut waiting = None;
        let counted = loop {
            // Before it is looked, so that nothing that is freed meanwhile goes unnoticed.
            let freed = self.freed.notified();
            if let Some(lease) = self.take(worker, key).await {
                return Ok(lease);
            }
            if let Some(made) = self.join(key) {
                if waiting.is_none() {
                    waiting = Some(Counted::begin(cluster, What::Pending, &Rc::default())?);
                }
                made_by_another(made).await?;
                continue;
            }
            match Counted::begin(cluster, What::Connection, &self.freed) {
                Ok(counted) => break counted,
                Err(_) if waiting.is_some() => {}
                Err(_) => waiting = Some(Counted::begin(cluster, What::Pending, &Rc::default())?),
            }
            // Connections of other threads count as well, and end without a word to this one.
            let _ = tokio::time::timeout(LOOK, freed).await;
        };
        drop(waiting);
        let (on, age) = match key.version {
            UpstreamVersion::Http1 => {
                let (sender, leaving) = connect::http1(worker, to(), &key.way, counted).await?;
                (On::Http1(sender, leaving), Age::new().once_more())
            }
            UpstreamVersion::Http2 => {
                let common = self.make(worker, key, to(), counted).await?;
                let age = common.once_more();
                (On::Http2(common), age)
            }
        };
        let max_idle = worker.shared.settings.max_idle;
        Ok(Lease { pool: Rc::downgrade(self), key: key.clone(), on, age, reused: false, max_idle })
    }

    /// Makes a connection of HTTP/2. Who comes meanwhile waits for it.
    async fn make(
        &self,
        worker: &Worker,
        key: &PoolKey,
        to: Towards,
        counted: Counted,
    ) -> Result<Rc<Common>, ConnectFailed> {
        // When the one who makes it goes away, its end is dropped, and another of those who wait begins anew.
        let (told, made) = watch::channel(None);
        self.places.borrow_mut().entry(key.clone()).or_default().making = Some(Making { made, waiting: 0 });
        let made = connect::http2(worker, to, &key.way, counted).await;
        let made = made.map(|made| Rc::new(Common::new(made)));
        if let Ok(common) = &made {
            self.places.borrow_mut().entry(key.clone()).or_default().common.push(Rc::clone(common));
        }
        told.send_replace(Some(made.as_ref().map(|_| ()).map_err(Clone::clone)));
        made
    }

    /// The connection that is being made, if it has room for one more.
    fn join(&self, key: &PoolKey) -> Option<watch::Receiver<Made>> {
        let mut places = self.places.borrow_mut();
        let making = places.get_mut(key)?.making.as_mut()?;
        let goes_on = making.made.borrow().is_none() && making.made.has_changed().is_ok();
        // One place is its maker's.
        if !goes_on || making.waiting.saturating_add(1) >= most_streams(key) {
            return None;
        }
        making.waiting = making.waiting.saturating_add(1);
        Some(making.made.clone())
    }

    /// A connection that is there.
    async fn take(self: &Rc<Self>, worker: &Worker, key: &PoolKey) -> Option<Lease> {
        let lease = |on, age| Lease {
            pool: Rc::downgrade(self),
            key: key.clone(),
            on,
            age,
            reused: true,
            max_idle: worker.shared.settings.max_idle,
        };
        match key.version {
            UpstreamVersion::Http1 => {
                while let Some(Idle { mut sender, leaving, age, .. }) = self.take_idle(key) {
                    if sender.ready().await.is_ok() {
                        return Some(lease(On::Http1(sender, leaving), age.once_more()));
                    }
                }
                None
            }
            UpstreamVersion::Http2 => {
                let common = self.common(key)?;
                let age = common.once_more();
                Some(lease(On::Http2(common), age))
            }
        }
    }

    fn take_idle(&self, key: &PoolKey) -> Option<Idle> {
        let mut places = self.places.borrow_mut();
        let idle = &mut places.get_mut(key)?.idle;
        let rested =
            |since: Instant| key.way.connections.http_idle.is_some_and(|most| since.elapsed() >= most);
        while let Some(one) = idle.pop() {
            let goes_on = !one.sender.is_closed() && !one.leaving.is_taken() && !rested(one.since);
            if goes_on && one.age.serves(&key.way) {
                return Some(one);
            }
        }
        None
    }

    /// The connection with the fewest requests, if there is room on it.
    fn common(&self, key: &PoolKey) -> Option<Rc<Common>> {
        let most = most_streams(key);
        let mut places = self.places.borrow_mut();
        let common = &mut places.get_mut(key)?.common;
        common.retain(|common| common.serves(&key.way));
        let least = common.iter().min_by_key(|common| Rc::strong_count(common))?;
        // One count is the pool's.
        (Rc::strong_count(least) <= most).then(|| Rc::clone(least))
    }

    /// Forgets what has ended, has waited for too long, or waits for requests to a service that is gone; `all`: all that wait.
    pub(crate) fn sweep(&self, mesh: &Mesh, all: bool) {
        self.places.borrow_mut().retain(|key, place| {
            let all = all || key.service.as_ref().is_some_and(|name| mesh.service(name).is_none());
            let rested = |since: Instant| {
                let most = if all { Some(Duration::ZERO) } else { key.way.connections.http_idle };
                most.is_some_and(|most| since.elapsed() >= most)
            };
            place
                .idle
                .retain(|idle| !(idle.sender.is_closed() || idle.leaving.is_taken() || rested(idle.since)));
            place.common.retain(|common| {
                let waits = Rc::strong_count(common) == 1;
                !(common.sender.is_closed()
                    || waits && (common.leaving.is_taken() || rested(common.used.get())))
            });
            let made = |making: &Making| making.made.has_changed().is_err() || making.made.borrow().is_some();
            place.making.take_if(|making| made(making));
            !place.idle.is_empty() || !place.common.is_empty() || place.making.is_some()
        });
    }
}

/// How many requests one connection of HTTP/2 may have.
fn most_streams(key: &PoolKey) -> usize {
    key.way.connections.max_streams.map_or(STREAMS, |most| most as usize)
}

/// Waits until another request's connection is there, or is given up; fails if it could not be made.
async fn made_by_another(mut made: watch::Receiver<Made>) -> Result<(), ConnectFailed> {
    match made.wait_for(Option::is_some).await {
        Ok(made) => made.clone().unwrap_or(Ok(())),
        Err(_) => Ok(()),
    }
}
