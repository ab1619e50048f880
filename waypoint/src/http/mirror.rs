//! Copies of requests, whose answers nobody sees (Gateway API: `HTTPRequestMirrorFilter`).
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use adit_core::l7::upstream::Pick;
use adit_core::l7::{Injected, Mirror};
use http_body::Body as _;

use super::body::Kept;
use super::decide::Plan;
use super::outgoing::outgoing;
use super::view::Head;
use crate::conn::Conn;
use crate::route::{Endpoint, Now, Pool};
use crate::upstream::{PoolKey, UpstreamVersion};
use crate::worker::Worker;

/// How long a copy may take, from the request's first octet to its answer's last.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sends copies of a request to whoever is to have them, each in a task of its own: nothing of it is ever waited for. A body
/// that is too large to be kept is not copied, nor is its request.
pub(crate) fn send(
    worker: &Rc<Worker>,
    now: &Now,
    conn: &Rc<Conn>,
    head: &Rc<Head>,
    plan: &Plan,
    kept: &Kept,
) {
    for mirror in &plan.mirrors {
        let copy = Plan {
            pool: match Pool::of(worker, now, &mirror.target, mirror.subset.as_ref()) {
                Ok(pool) => pool,
                Err(error) => {
                    tracing::debug!(%error, "a copy goes nowhere");
                    continue;
                }
            },
            target: Some(mirror.target.clone()),
            retry: plan.retry.clone(),
            path: plan.path.clone(),
            host: plan.host.clone(),
            request: plan.request.clone(),
            mirrors: Vec::new(),
            injected: Injected::default(),
            sticky: None,
            more: Vec::new(),
        };
        let (worker, conn, head, kept) = (Rc::clone(worker), Rc::clone(conn), Rc::clone(head), kept.clone());
        let mirror: Mirror = mirror.clone();
        tokio::task::spawn_local(async move {
            let copied = one(&worker, &conn, &head, &copy, kept);
            if tokio::time::timeout(PATIENCE, copied).await.is_err() {
                tracing::debug!(to = %mirror.target.service, "a copy took too long");
            }
        });
    }
}

async fn one(worker: &Rc<Worker>, conn: &Conn, head: &Head, plan: &Plan, kept: Kept) {
    let Some(whole) = kept.finished().await else {
        tracing::debug!("a request was too large to be copied");
        return;
    };
    let Ok(endpoint) = plan.pool.draw(worker, conn, &Pick::default()) else { return };
    let Endpoint { towards, under_way, .. } = endpoint;
    let version =
        if head.version == http::Version::HTTP_2 { UpstreamVersion::Http2 } else { UpstreamVersion::Http1 };
    let key = PoolKey::new(&towards, version, plan.pool.way());
    let Ok(mut lease) = worker.pool.lease(worker, &key, plan.pool.cluster(), || towards).await else {
        return;
    };
    let copy = match outgoing(head, plan, version, whole.into()) {
        Ok(copy) => copy,
        Err(error) => {
            tracing::debug!(%error, "a copy cannot be written");
            return;
        }
    };
    if let Ok(response) = lease.send(copy).await {
        let mut body = response.into_body();
        // Read to its end, so that the connection may serve again.
        while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
        if body.is_end_stream() {
            lease.give_back();
        }
    }
    drop(under_way);
}
