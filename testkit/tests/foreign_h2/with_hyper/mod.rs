//! hyper's HTTP/2, whose CONNECT streams are upgraded connections, on the same TLS.
use std::convert::Infallible;
use std::thread::JoinHandle;

use adit_core::hbone::TunnelConfig;
use adit_testkit::wire::{Answer, Wire};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2 as client_side;
use hyper::server::conn::http2 as server_side;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use super::peer::*;

mod client;
mod server;

/// An upgraded stream as tokio's byte stream.
type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// How a connection of hyper's ended.
type End = Result<(), hyper::Error>;

/// What hyper's client gives out.
type Requests = client_side::SendRequest<Empty<Bytes>>;

/// hyper's settings for a server.
fn serving() -> server_side::Builder<TokioExecutor> {
    server_side::Builder::new(TokioExecutor::new())
}

/// hyper's settings for a client.
fn asking() -> client_side::Builder<TokioExecutor> {
    client_side::Builder::new(TokioExecutor::new())
}

/// Our client to a hyper server on one connection. Each request is answered by `answer`, which may take the stream that
/// an answer of 200 makes of it; on `stop`, hyper shuts down gracefully.
fn to_hyper(
    key_updates: usize,
    settings: server_side::Builder<TokioExecutor>,
    stop: std::sync::Arc<Notify>,
    answer: impl Fn(Request<Incoming>) -> Response<Empty<Bytes>> + Send + Sync + 'static,
) -> (Wire, JoinHandle<End>) {
    to_their_server(TunnelConfig::client(), key_updates, move |io| async move {
        let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(request))));
        let mut connection = std::pin::pin!(settings.serve_connection(TokioIo::new(io), service));
        tokio::select! {
            end = connection.as_mut() => return end,
            () = stop.notified() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    })
}

/// A hyper client, which does `work`, to our server.
fn from_hyper<T: Send + 'static, F: Future<Output = T> + Send>(
    config: TunnelConfig,
    key_updates: usize,
    settings: client_side::Builder<TokioExecutor>,
    answer: Answer,
    work: impl FnOnce(Requests) -> F + Send + 'static,
) -> (Wire, JoinHandle<(T, End)>) {
    from_their_client(config, key_updates, answer, move |io| async move {
        let (requests, connection) =
            settings.handshake(TokioIo::new(io)).await.expect("an HTTP/2 connection");
        let driving = tokio::spawn(connection);
        let done = work(requests).await;
        (done, driving.await.expect("no panic"))
    })
}

/// Our request, as hyper makes it.
fn ask() -> Request<Empty<Bytes>> {
    Request::builder().method(Method::CONNECT).uri("10.0.0.1:80").body(Empty::new()).expect("a request")
}

/// A stream by a request of hyper's client.
async fn tunnel(requests: &mut Requests) -> Upgraded {
    requests.ready().await.expect("a live connection");
    let response = requests.send_request(ask()).await.expect("an answer");
    assert_eq!(response.status(), 200);
    TokioIo::new(hyper::upgrade::on(response).await.expect("a stream"))
}

/// Answers 200, and gives the stream to `work`.
fn upgrade<F: Future<Output = ()> + Send>(
    request: Request<Incoming>,
    work: impl FnOnce(Upgraded) -> F + Send + 'static,
) -> Response<Empty<Bytes>> {
    assert_eq!(request.method(), Method::CONNECT);
    assert_eq!(request.uri(), "10.0.0.1:80");
    tokio::spawn(async move {
        work(TokioIo::new(hyper::upgrade::on(request).await.expect("a stream"))).await;
    });
    Response::new(Empty::new())
}

/// Sends back what comes, and ends when the peer did.
async fn echoed(mut stream: Upgraded) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..n]).await.expect("a live stream");
    }
    // The peer may have reset it: then there is nobody to tell.
    let _ = stream.shutdown().await;
}

/// Sends `octets`, half-closes, and gives what comes back.
async fn there_and_back(stream: Upgraded, octets: Vec<u8>) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        to.write_all(&octets).await.expect("a live stream");
        to.shutdown().await.expect("a live stream");
    });
    let mut got = vec![];
    from.read_to_end(&mut got).await.expect("an end in order");
    sending.await.expect("no panic");
    got
}
