//! One thread of a waypoint: it serves the streams of its shard, and no other thread touches what it has.
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::RetryPolicy;
use adit_core::rng::Rng;
use adit_runtime::{Deliveries, Handle};
use tokio::sync::watch;

use crate::conn::Conn;
use crate::observe::Recorder;
use crate::serve;
use crate::share::What;
use crate::shared::Shared;
use crate::upstream::{Pool, TlsConfigs};

/// What the tasks of one thread have in common.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    /// The shard.
    pub(crate) handle: Handle,
    pub(crate) pool: Rc<Pool>,
    pub(crate) tls: TlsConfigs,
    /// Of requests that no route says anything of.
    pub(crate) default_retry: Arc<RetryPolicy>,
    pub(crate) recorder: Rc<dyn Recorder>,
    rng: RefCell<Rng>,
}

impl Worker {
    /// Draws.
    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.borrow_mut())
    }

    /// Whether the end is asked for.
    pub(crate) fn is_draining(&self) -> bool {
        *self.shared.draining.borrow()
    }

    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.shared.draining.clone()
    }
}

/// Serves the streams of one shard until it ends.
pub async fn run(shared: Arc<Shared>, handle: Handle, mut streams: Deliveries, seed: u64) {
    let recorder = (shared.recorders)();
    let worker = Rc::new(Worker {
        shared,
        recorder,
        handle,
        pool: Rc::new(Pool::default()),
        tls: TlsConfigs::default(),
        default_retry: Arc::new(RetryPolicy::istio_default()),
        rng: RefCell::new(Rng::new(seed)),
    });
    tokio::task::spawn_local(sweep(Rc::clone(&worker)));
    while let Some(delivery) = streams.next().await {
        let mesh = worker.shared.tables.current();
        let share = worker.shared.shares.of(&delivery.what.peer);
        let Some(place) = share.take(What::Connection, worker.shared.settings.max_client_connections) else {
            tracing::warn!(client = %delivery.what.peer, "too many connections of one client: another one is reset");
            delivery.stream.reset();
            continue;
        };
        let conn = Rc::new(Conn::new(delivery.what, &mesh, share, place));
        tokio::task::spawn_local(serve::serve(Rc::clone(&worker), conn, delivery.stream.into()));
    }
}

/// Closes connections to endpoints that have waited for too long, or that nobody asks for any more; when the end is asked for, all that wait.
async fn sweep(worker: Rc<Worker>) {
    let mut draining = worker.draining();
    loop {
        let all = worker.is_draining();
        worker.pool.sweep(&worker.shared.tables.current(), all);
        if all {
            tokio::time::sleep(Duration::from_millis(50)).await;
        } else {
            // Either is a reason to look.
            let _ =
                tokio::time::timeout(worker.shared.settings.sweep, draining.wait_for(|draining| *draining))
                    .await;
        }
    }
}
