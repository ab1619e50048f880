//! hyper on a client's stream.
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use adit_tokio::Stream;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::activity::Activity;
use super::body::Body;
use super::exchange;
use super::refused::Refusal;
use super::strict::{Left, Slot, Strict, Wrong};
use crate::conn::Conn;
use crate::local::Local;
use crate::prefixed::Prefixed;
use crate::worker::Worker;

/// How long a connection that has had its last answer is read from.
const LINGER: Duration = Duration::from_secs(2);
/// How much is read of it then.
const LINGER_OCTETS: usize = 1 << 20;

/// The answer to a head that takes too long: hyper has none (RFC 9110 §15.5.9).
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Serves HTTP/1.1 until the client ends it, or asks nothing for too long. When the waypoint is to end, each answer says that it
/// is the last; who asks nothing more is let go at the end of the drain.
pub(crate) async fn serve_http1(worker: &Rc<Worker>, conn: &Rc<Conn>, stream: Prefixed<Stream>) {
    let settings = &worker.shared.settings;
    let switched = Arc::<AtomicBool>::default();
    let slot = Slot::default();
    let stream = Strict::new(stream, Arc::clone(&slot), Arc::clone(&switched), settings.head_timeout);
    let activity = Activity::new();
    let service = service_fn(|request: Request<Incoming>| {
        let (worker, switched) = (Rc::clone(worker), Arc::clone(&switched));
        let answer = answer(&worker, conn, &activity, request);
        async move {
            let mut response = answer.await;
            let upgraded = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
            if upgraded {
                switched.store(true, Ordering::Relaxed);
            }
            if worker.is_draining() && !upgraded {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // `Strict` sees to it.
        .header_read_timeout(None)
        .max_headers(settings.max_headers)
        .max_buf_size(settings.max_head.max(8192))
        // Whoever ends its side waits for no answer, as with Envoy: what is under way for it ends too.
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let ended = {
        let mut connection = pin!(connection);
        // Whoever is idle when the end nears has nothing under way.
        let enough = async {
            tokio::select! {
                () = last_moment(worker) => {}
                () = activity.rested(settings.idle_timeout) => {}
            }
        };
        tokio::select! {
            ended = &mut connection => ended,
            () = enough => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let left = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let wrong = left.as_ref().and_then(|left| left.wrong);
    if let Some(refusal) = Refusal::of_http1(wrong, &ended) {
        refusal.tell(worker, conn);
    }
    told(conn, ended);
    if let Some(Left { stream, wrong }) = left {
        linger(stream, if wrong == Some(Wrong::Slow) { TOO_SLOW } else { b"" }).await;
    }
}

/// Says `last`, if anything, and reads what a client still sends after its last answer, for a while: a stream that ends with
/// octets unread is reset, and the client may not have read the answer yet (RFC 9112 §9.6).
async fn linger(mut stream: Prefixed<Stream>, last: &[u8]) {
    let reading = async {
        if !last.is_empty() && (stream.write_all(last).await.is_err() || stream.shutdown().await.is_err()) {
            return;
        }
        let mut octets = [0; 4096];
        let mut left = LINGER_OCTETS;
        while let Ok(n @ 1..) = stream.read(&mut octets).await {
            left = left.saturating_sub(n);
            if left == 0 {
                break;
            }
        }
    };
    // Whoever goes on for longer has had time to read.
    let _ = tokio::time::timeout(LINGER, reading).await;
}

/// Serves HTTP/2 until the client ends it, or asks nothing for too long; when the waypoint is to end, it says so at once
/// (GOAWAY), and what is open is served.
pub(crate) async fn serve_http2(worker: &Rc<Worker>, conn: &Rc<Conn>, stream: Prefixed<Stream>) {
    let settings = &worker.shared.settings;
    let activity = Activity::new();
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(worker, conn, &activity, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // Heads that are too large, but not by much, are answered and told of here; h2 alone would see to all of them, in silence.
    let largest = settings.max_head.saturating_mul(2);
    let connection = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        // WebSockets (RFC 8441).
        .enable_connect_protocol()
        .max_header_list_size(u32::try_from(largest).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut draining = worker.draining();
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = draining.wait_for(|draining| *draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = activity.rested(settings.idle_timeout) => {
            connection.as_mut().graceful_shutdown();
            // Whoever does not even answer that is not waited for.
            tokio::select! {
                ended = connection => ended,
                () = activity.rested(LINGER) => Ok(()),
            }
        }
    };
    if let Some(refusal) = Refusal::of_http2(&ended) {
        refusal.tell(worker, conn);
    }
    told(conn, ended);
}

fn answer(
    worker: &Rc<Worker>,
    conn: &Rc<Conn>,
    activity: &Rc<Activity>,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Body>> + use<> {
    exchange::serve(Rc::clone(worker), Rc::clone(conn), activity.begin(), request)
}

/// Shortly before a drain is over.
async fn last_moment(worker: &Worker) {
    let mut draining = worker.draining();
    // Whoever says so lives as long as the process.
    let _ = draining.wait_for(|draining| *draining).await;
    tokio::time::sleep(worker.shared.settings.drain.mul_f64(0.8)).await;
}

fn told(conn: &Conn, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, client = %conn.source, "a client's connection has ended");
    }
}
