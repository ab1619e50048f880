//! A connection to an endpoint: the tunnel's stream, what goes before HTTP on it, and HTTP.
use std::future::poll_fn;
use std::sync::Arc;

use adit_core::l7::upstream::{ConnectionSettings, ProxyProtocol};
use adit_core::proxy::proxy_protocol;
use adit_core::route::Towards;
use adit_runtime::Leaving;
use adit_tokio::Stream;
use http::Request;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use super::count::Counted;
use super::link::Link;
use super::way::Way;
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

impl From<String> for ConnectFailed {
    fn from(why: String) -> Self {
        Self(why.into())
    }
}

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

/// A stream to an endpoint, when the endpoint is there, with what it wants before anything else. `protocol` is what is spoken
/// then, in the words of ALPN; empty: it is not known.
pub(crate) async fn dial(
    worker: &Worker,
    to: Towards,
    way: &Way,
    protocol: &'static str,
) -> Result<Link, ConnectFailed> {
    let dialling = dial_now(worker, to, way, protocol);
    let within = way.connections.connect_timeout;
    let late = |_| Err(ConnectFailed(format!("no connection within {within:?} (connectTimeout)").into()));
    tokio::time::timeout(within, dialling).await.unwrap_or_else(late)
}

async fn dial_now(
    worker: &Worker,
    to: Towards,
    way: &Way,
    protocol: &'static str,
) -> Result<Link, ConnectFailed> {
    // What cannot be secured is not even dialled.
    let secured = way.tls.as_ref().map(|tls| worker.tls.of(tls, protocol)).transpose()?;
    let (client, target) = (to.client, to.target);
    let stream = worker.handle.connect_to(to).map_err(|error| error.to_string())?;
    let opened = poll_fn(|cx| stream.poll_opened(cx)).await;
    opened.map_err(|failure| ConnectFailed(failure.text))?;
    let mut stream = Stream::from(stream);
    if let Some(version) = way.proxy_protocol {
        let header = match version {
            ProxyProtocol::V2 => proxy_protocol::header(client, target, None),
            ProxyProtocol::V1 => version_one(client, target).into_bytes(),
        };
        stream.write_all(&header).await.map_err(|error| error.to_string())?;
    }
    let Some((config, name)) = secured else { return Ok(Link::Plain(stream)) };
    let stream = TlsConnector::from(config).connect(name, stream).await;
    let stream = stream.map_err(|error| format!("TLS error: {error}"))?;
    Ok(Link::Tls(Box::new(stream)))
}

/// The header of the PROXY protocol's first version.
fn version_one(client: std::net::SocketAddr, target: std::net::SocketAddr) -> String {
    let (from, to) = (client.ip().to_canonical(), target.ip().to_canonical());
    let family = match (from.is_ipv4(), to.is_ipv4()) {
        (true, true) => "TCP4",
        (false, false) => "TCP6",
        // Two families cannot be told of together.
        _ => return "PROXY UNKNOWN\r\n".to_owned(),
    };
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), target.port())
}

fn failed(error: hyper::Error) -> ConnectFailed {
    ConnectFailed(error.to_string().into())
}

/// HTTP/1.1 to an endpoint, and whether that takes its leave; `counted` lives as long as the connection.
pub(crate) async fn http1(
    worker: &Worker,
    to: Towards,
    way: &Way,
    counted: Counted,
) -> Result<(http1::SendRequest<Body>, Leaving), ConnectFailed> {
    let settings = &worker.shared.settings;
    let stream = dial(worker, to, way, "http/1.1").await?;
    let leaving = stream.leaving();
    let mut builder = http1::Builder::new();
    builder.max_headers(settings.max_headers).max_buf_size(settings.max_head.max(8192));
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an endpoint has ended");
        }
        drop(counted);
    });
    Ok((sender, leaving))
}

/// The same with HTTP/2, known beforehand (RFC 9113 §3.3); `counted` lives as long as the connection.
pub(crate) async fn http2(
    worker: &Worker,
    to: Towards,
    way: &Way,
    counted: Counted,
) -> Result<(http2::SendRequest<Body>, Leaving), ConnectFailed> {
    let settings = &worker.shared.settings;
    let stream = dial(worker, to, way, "h2").await?;
    let leaving = stream.leaving();
    let mut builder = http2::Builder::new(Local);
    builder.timer(TokioTimer::new());
    builder.max_header_list_size(u32::try_from(settings.max_head).unwrap_or(u32::MAX));
    let ConnectionSettings { http2_keepalive, .. } = way.connections;
    if let Some(keepalive) = http2_keepalive {
        builder.keep_alive_interval(keepalive.interval).keep_alive_timeout(keepalive.timeout);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an endpoint has ended");
        }
        drop(counted);
    });
    Ok((sender, leaving))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_header_names_both_ends() {
        let at = |text: &str| text.parse().unwrap();
        let header = |from, to| version_one(at(from), at(to));
        assert_eq!(header("10.0.0.1:5", "10.1.0.1:80"), "PROXY TCP4 10.0.0.1 10.1.0.1 5 80\r\n");
        assert_eq!(header("[::1]:5", "[::2]:80"), "PROXY TCP6 ::1 ::2 5 80\r\n");
        assert_eq!(header("[::1]:5", "10.1.0.1:80"), "PROXY UNKNOWN\r\n");
    }
}
