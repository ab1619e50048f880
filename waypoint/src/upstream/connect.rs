//! HTTP on a stream to an endpoint.
use std::future::poll_fn;
use std::sync::Arc;

use adit_core::route::Towards;
use adit_tokio::Stream;
use http::Request;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::http::Body;
use crate::local::Local;
use crate::worker::Worker;

/// The version of HTTP that an endpoint is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UpstreamVersion {
    Http1,
    Http2,
}

/// Why there is no connection to an endpoint. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectFailed(pub(crate) Arc<str>);

/// A request that failed, and whether it is certain that nobody has seen it.
pub(crate) struct SendFailed {
    pub(crate) error: hyper::Error,
    pub(crate) unsent: bool,
}

impl From<TrySendError<Request<Body>>> for SendFailed {
    fn from(mut failed: TrySendError<Request<Body>>) -> Self {
        let unsent = failed.take_message().is_some();
        Self { error: failed.into_error(), unsent }
    }
}

/// A stream to an endpoint, when the endpoint is there.
pub(crate) async fn dial(worker: &Worker, to: Towards) -> Result<Stream, ConnectFailed> {
    let stream = worker.handle.connect_to(to).map_err(|error| ConnectFailed(error.to_string().into()))?;
    let opened = poll_fn(|cx| stream.poll_opened(cx)).await;
    opened.map_err(|failure| ConnectFailed(failure.text))?;
    Ok(stream.into())
}

fn failed(error: hyper::Error) -> ConnectFailed {
    ConnectFailed(error.to_string().into())
}

/// HTTP/1.1 to an endpoint.
pub(crate) async fn http1(worker: &Worker, to: Towards) -> Result<http1::SendRequest<Body>, ConnectFailed> {
    let settings = &worker.shared.settings;
    let stream = TokioIo::new(dial(worker, to).await?);
    let mut builder = http1::Builder::new();
    builder.max_headers(settings.max_headers).max_buf_size(settings.max_head.max(8192));
    let (sender, connection) = builder.handshake(stream).await.map_err(failed)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an endpoint has ended");
        }
    });
    Ok(sender)
}

/// HTTP/2 to an endpoint, known beforehand (RFC 9113 §3.3).
pub(crate) async fn http2(worker: &Worker, to: Towards) -> Result<http2::SendRequest<Body>, ConnectFailed> {
    let settings = &worker.shared.settings;
    let stream = TokioIo::new(dial(worker, to).await?);
    let mut builder = http2::Builder::new(Local);
    builder.timer(TokioTimer::new());
    builder.max_header_list_size(u32::try_from(settings.max_head).unwrap_or(u32::MAX));
    let (sender, connection) = builder.handshake(stream).await.map_err(failed)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an endpoint has ended");
        }
    });
    Ok(sender)
}
