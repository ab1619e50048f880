//! The stock end: h2 over tokio-rustls on a thread of its own.
use std::io;
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use adit_core::hbone::{Authority as Target, Baggage, ConnectRequest, TunnelConfig};
use adit_core::tls::RecordMode;
use adit_testkit::wire::{Answer, Authority, PATIENCE, Wire};
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// A TLS stream that renews its keys after so many writes (0: never). h2 owns its transport, so it cannot be asked.
pub(crate) struct Io {
    inner: TlsStream<tokio::net::TcpStream>,
    every: usize,
    writes: usize,
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes += 1;
        if self.every > 0 && self.writes.is_multiple_of(self.every) {
            let renewed = match &mut self.inner {
                TlsStream::Client(stream) => stream.get_mut().1.refresh_traffic_keys(),
                TlsStream::Server(stream) => stream.get_mut().1.refresh_traffic_keys(),
            };
            renewed.map_err(io::Error::other)?;
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Runs `work` on a thread and runtime of its own, no longer than [`PATIENCE`].
fn thread<T: Send + 'static, F: Future<Output = T>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(PATIENCE, work()).await.expect("their end is stuck") })
    })
}

/// Our client to a server on stock TLS, which serves one connection by `serve`; its keys are renewed every so many writes.
pub(crate) fn to_their_server<T: Send + 'static, F: Future<Output = T>>(
    config: TunnelConfig,
    key_updates: usize,
    serve: impl FnOnce(Io) -> F + Send + 'static,
) -> (Wire, JoinHandle<T>) {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let acceptor = TlsAcceptor::from(Arc::new(authority.stock_server("server")));
    let handle = thread(move || async move {
        let (socket, _) = listener.accept().expect("a client");
        let inner = TlsStream::from(acceptor.accept(asynchronous(socket)).await.expect("a TLS session"));
        serve(Io { inner, every: key_updates, writes: 0 }).await
    });
    let socket = TcpStream::connect(address).expect("a connection");
    let context = authority.context("client", RecordMode::InPlace);
    (Wire::client(socket, &context, &Authority::identity("server"), config), handle)
}

/// A client on stock TLS, which does `work`, to our server.
pub(crate) fn from_their_client<T: Send + 'static, F: Future<Output = T>>(
    config: TunnelConfig,
    key_updates: usize,
    answer: Answer,
    work: impl FnOnce(Io) -> F + Send + 'static,
) -> (Wire, JoinHandle<T>) {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let connector = TlsConnector::from(Arc::new(authority.stock_client("client")));
    let handle = thread(move || async move {
        let socket = asynchronous(TcpStream::connect(address).expect("a connection"));
        let name = "server".try_into().expect("a name");
        let inner = TlsStream::from(connector.connect(name, socket).await.expect("a TLS session"));
        work(Io { inner, every: key_updates, writes: 0 }).await
    });
    let (socket, _) = listener.accept().expect("a client");
    let context = authority.context("server", RecordMode::InPlace);
    (Wire::server(socket, &context, config, answer), handle)
}

/// Our client to an h2 server, which serves one connection by `serve`.
pub(crate) fn to_h2_server<T: Send + 'static, F: Future<Output = T>>(
    config: TunnelConfig,
    key_updates: usize,
    settings: h2::server::Builder,
    serve: impl FnOnce(h2::server::Connection<Io, Bytes>) -> F + Send + 'static,
) -> (Wire, JoinHandle<T>) {
    to_their_server(config, key_updates, move |io| async move {
        serve(settings.handshake(io).await.expect("an HTTP/2 connection")).await
    })
}

/// An h2 client, which does `work`, to our server.
pub(crate) fn to_our_server<T: Send + 'static, F: Future<Output = T>>(
    config: TunnelConfig,
    key_updates: usize,
    settings: h2::client::Builder,
    answer: Answer,
    work: impl FnOnce(h2::client::SendRequest<Bytes>, h2::client::Connection<Io, Bytes>) -> F + Send + 'static,
) -> (Wire, JoinHandle<T>) {
    from_their_client(config, key_updates, answer, move |io| async move {
        let (requests, connection) = settings.handshake(io).await.expect("an HTTP/2 connection");
        work(requests, connection).await
    })
}

fn asynchronous(socket: TcpStream) -> tokio::net::TcpStream {
    socket.set_nonblocking(true).expect("a socket that does not block");
    tokio::net::TcpStream::from_std(socket).expect("a socket")
}

/// A request as a ztunnel makes it.
pub(crate) fn request() -> ConnectRequest {
    ConnectRequest {
        authority: Target::parse(b"10.0.0.1:80").expect("an authority"),
        baggage: None,
        forwarded: None,
        traceparent: None,
        forwarded_network: None,
    }
}

/// The same with metadata of about `octets`, as no workload has it.
pub(crate) fn huge_request(octets: usize) -> ConnectRequest {
    ConnectRequest { baggage: Some(huge_baggage(octets)), ..request() }
}

/// Metadata of about so many octets.
pub(crate) fn huge_baggage(octets: usize) -> Baggage {
    Baggage { service_name: Some("n".repeat(octets).into()), ..Baggage::default() }
}

/// The request for h2.
pub(crate) fn connect() -> http::Request<()> {
    http::Request::builder().method("CONNECT").uri("10.0.0.1:80").body(()).expect("a request")
}

/// Octets in which every displacement shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// Sends all of `octets` as the window allows.
pub(crate) async fn send_all(
    stream: &mut SendStream<Bytes>,
    octets: Vec<u8>,
    end: bool,
) -> Result<(), h2::Error> {
    let mut rest = Bytes::from(octets);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return std::future::poll_fn(|cx| stream.poll_reset(cx)).await.map(|_| ());
        };
        let room = room?.min(rest.len());
        stream.send_data(rest.split_to(room), end && rest.is_empty())?;
    }
    Ok(())
}

/// Everything up to the end of the peer's half, and how it ended.
pub(crate) async fn receive_all(stream: &mut RecvStream) -> (Vec<u8>, Result<(), h2::Error>) {
    let mut got = Vec::new();
    while let Some(data) = stream.data().await {
        match data {
            Ok(data) => {
                let _ = stream.flow_control().release_capacity(data.len());
                got.extend_from_slice(&data);
            }
            Err(error) => return (got, Err(error)),
        }
    }
    (got, Ok(()))
}

/// Sends back what comes, and ends when the peer did.
pub(crate) async fn echo(mut from: RecvStream, mut to: SendStream<Bytes>) -> Result<(), h2::Error> {
    while let Some(data) = from.data().await {
        let data = data?;
        send_all(&mut to, data.to_vec(), false).await?;
        let _ = from.flow_control().release_capacity(data.len());
    }
    to.send_data(Bytes::new(), true)
}

/// Answers 200.
pub(crate) fn accept(respond: &mut h2::server::SendResponse<Bytes>) -> SendStream<Bytes> {
    respond.send_response(http::Response::new(()), false).expect("a live stream")
}

/// Sends `octets` through a stream of its own and takes back as many.
pub(crate) async fn exchange(requests: h2::client::SendRequest<Bytes>, octets: Vec<u8>) -> Vec<u8> {
    let mut requests = requests.ready().await.expect("a live connection");
    let (response, mut to) = requests.send_request(connect(), false).expect("a stream");
    // Before the answer: the server must keep it.
    let sending = tokio::spawn(async move { send_all(&mut to, octets, true).await });
    let response = response.await.expect("an answer");
    assert_eq!(response.status(), http::StatusCode::OK);
    let (got, end) = receive_all(&mut response.into_body()).await;
    end.expect("an end in order");
    sending.await.expect("no panic").expect("everything sent");
    got
}
