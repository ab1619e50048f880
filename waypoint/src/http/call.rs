//! Calls of our own to services of the mesh: authorizers, rate limit services. Small, whole and in time, or not at all.
use std::pin::Pin;
use std::time::Duration;

use adit_core::l7::Target;
use adit_core::l7::upstream::Pick;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body::Body as _;

use super::body::Body;
use crate::conn::Conn;
use crate::route::{Endpoint, Now, Pool};
use crate::upstream::{PoolKey, UpstreamVersion};
use crate::worker::Worker;

/// The longest answer that is read, in octets.
const LONGEST: usize = 256 * 1024;

/// A whole answer.
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// The service of a host's name; one in `namespace` if it is said, else that of our own namespace's view.
pub(crate) fn target(now: &Now, host: &str, namespace: Option<&str>, port: u16) -> Option<Target> {
    let service = match namespace {
        Some(namespace) => {
            now.mesh.services_by_hostname(host).find(|service| *service.name.namespace == *namespace)
        }
        None => now.mesh.service_by_hostname(host, &now.local.namespace),
    };
    service.map(|service| Target { service: service.name.clone(), port })
}

/// Calls a service. The text says why there is no answer.
pub(crate) async fn call(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    target: &Target,
    version: UpstreamVersion,
    request: Request<Bytes>,
    within: Duration,
) -> Result<Whole, String> {
    let called = one(worker, now, conn, target, version, request);
    tokio::time::timeout(within, called).await.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
}

async fn one(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    target: &Target,
    version: UpstreamVersion,
    request: Request<Bytes>,
) -> Result<Whole, String> {
    let pool = Pool::of(worker, now, target, None).map_err(|error| error.to_string())?;
    let endpoint = pool.draw(worker, conn, &Pick::default()).map_err(|error| error.to_string())?;
    let Endpoint { towards, under_way, .. } = endpoint;
    let key = PoolKey::new(&towards, version, pool.way());
    let lease = worker.pool.lease(worker, &key, pool.cluster(), || towards).await;
    let mut lease = lease.map_err(|error| error.to_string())?;
    let response = lease.send(request.map(Body::from)).await.map_err(|failed| failed.error.to_string())?;
    let (parts, mut body) = response.into_parts();
    let (mut octets, mut trailers) = (Vec::new(), None);
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.map_err(|error| error.to_string())?.into_data() {
            Ok(data) => octets.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if octets.len() > LONGEST {
            return Err(format!("more than {LONGEST} octets of an answer"));
        }
    }
    lease.give_back();
    drop(under_way);
    Ok(Whole { status: parts.status, headers: parts.headers, body: octets.into(), trailers })
}
