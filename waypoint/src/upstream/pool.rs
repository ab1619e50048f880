//! Which connection a request to an endpoint goes on. One pool per thread: nothing is shared, nothing is locked.
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use adit_core::route::Towards;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};

use super::connect::{self, ConnectFailed, SendFailed, UpstreamVersion};
use crate::http::Body;
use crate::worker::Worker;

/// Requests on one HTTP/2 connection, after which another one is opened.
const STREAMS: usize = 100;

/// What connections must have in common to serve the same requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    /// The endpoint's uid.
    pub(crate) endpoint: Arc<str>,
    pub(crate) port: u16,
    pub(crate) version: UpstreamVersion,
    /// The service it was chosen for, whose identities it must have.
    pub(crate) service: Option<Arc<str>>,
}

struct Idle {
    sender: http1::SendRequest<Body>,
    since: Instant,
}

/// A connection of HTTP/2, which many have at a time.
type Common = http2::SendRequest<Body>;

#[derive(Default)]
struct Place {
    /// HTTP/1: those that serve nobody; the one used last is taken first.
    idle: Vec<Idle>,
    /// HTTP/2: those that are there, for any number of requests.
    common: Vec<Rc<Common>>,
}

/// Connections to endpoints.
#[derive(Default)]
pub(crate) struct Pool(RefCell<HashMap<PoolKey, Place>>);

/// A connection, for one request.
pub(crate) struct Lease {
    pool: Weak<Pool>,
    key: PoolKey,
    on: On,
    /// It has served before.
    pub(crate) reused: bool,
    max_idle: usize,
}

enum On {
    Http1(http1::SendRequest<Body>),
    Http2(Rc<Common>),
}

impl Lease {
    /// Sends a request on it; ready when the answer's head is there.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, SendFailed> {
        let sent = match &mut self.on {
            On::Http1(sender) => sender.try_send_request(request).await,
            On::Http2(common) => http2::SendRequest::clone(common).try_send_request(request).await,
        };
        sent.map_err(SendFailed::from)
    }

    /// Its answer has ended, and it may serve again.
    pub(crate) fn give_back(self) {
        let Some(pool) = self.pool.upgrade() else { return };
        if let On::Http1(sender) = self.on
            && !sender.is_closed()
        {
            let mut places = pool.0.borrow_mut();
            let idle = &mut places.entry(self.key).or_default().idle;
            if idle.len() < self.max_idle {
                idle.push(Idle { sender, since: Instant::now() });
            }
        }
    }
}

impl Pool {
    /// A connection for a request: one that is there, or a new one.
    pub(crate) async fn lease(
        self: &Rc<Self>,
        worker: &Worker,
        key: &PoolKey,
        to: impl FnOnce() -> Towards,
    ) -> Result<Lease, ConnectFailed> {
        let lease = |on, reused| Lease {
            pool: Rc::downgrade(self),
            key: key.clone(),
            on,
            reused,
            max_idle: worker.shared.settings.max_idle,
        };
        match key.version {
            UpstreamVersion::Http1 => {
                while let Some(mut sender) = self.take_idle(key, worker) {
                    if sender.ready().await.is_ok() {
                        return Ok(lease(On::Http1(sender), true));
                    }
                }
                Ok(lease(On::Http1(connect::http1(worker, to()).await?), false))
            }
            UpstreamVersion::Http2 => {
                if let Some(common) = self.common(key) {
                    return Ok(lease(On::Http2(common), true));
                }
                let common = Rc::new(connect::http2(worker, to()).await?);
                self.0.borrow_mut().entry(key.clone()).or_default().common.push(Rc::clone(&common));
                Ok(lease(On::Http2(common), false))
            }
        }
    }

    fn take_idle(&self, key: &PoolKey, worker: &Worker) -> Option<http1::SendRequest<Body>> {
        let mut places = self.0.borrow_mut();
        let idle = &mut places.get_mut(key)?.idle;
        while let Some(Idle { sender, since }) = idle.pop() {
            if !sender.is_closed() && since.elapsed() < worker.shared.settings.idle {
                return Some(sender);
            }
        }
        None
    }

    /// The connection with the fewest requests, if there is room on it.
    fn common(&self, key: &PoolKey) -> Option<Rc<Common>> {
        let mut places = self.0.borrow_mut();
        let common = &mut places.get_mut(key)?.common;
        common.retain(|common| !common.is_closed());
        let least = common.iter().min_by_key(|common| Rc::strong_count(common))?;
        // One count is the pool's.
        (Rc::strong_count(least) <= STREAMS).then(|| Rc::clone(least))
    }

    /// Forgets what has ended or has waited for too long.
    pub(crate) fn sweep(&self, idle_for: std::time::Duration) {
        self.0.borrow_mut().retain(|_, place| {
            place.idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < idle_for);
            place.common.retain(|common| {
                let waits = Rc::strong_count(common) == 1;
                !common.is_closed() && !(waits && idle_for.is_zero())
            });
            !place.idle.is_empty() || !place.common.is_empty()
        });
    }
}
