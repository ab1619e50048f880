//! What one message from application to application costs on the way through both ends of a tunnel, in one thread.
//!
//! `tunnel` is ours: octets are laid into records, sealed in place, opened in place and served from the read buffer, with
//! the windows given back. `h2_tls` is the same path through h2 and tokio-rustls, with ztunnel's windows, on tokio's pipe;
//! `h2` leaves TLS out and is what framing alone costs there. All three copy a message once where a socket would be read
//! and once where the network would be. TLS is AES-256-GCM by aws-lc-rs on both sides.
mod common;

use std::sync::Arc;

use adit_core::buffer::BufferPool;
use adit_core::hbone::{Authority, ConnectRequest, Tunnel, TunnelConfig, TunnelEvent};
use adit_core::http2::StreamId;
use adit_core::tls::RecordMode;
use adit_runtime::{Clock, crypto};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use h2::{RecvStream, SendStream};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const SIZES: [usize; 4] = [64, 1 << 10, 16 << 10, 128 << 10];
/// ztunnel's, and ours.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME: u32 = 1 << 20;

/// Both ends of a tunnel and the stream between them.
struct Pair {
    clock: Clock,
    client: End,
    server: End,
    stream: StreamId,
}

struct End {
    tunnel: Tunnel,
    pool: BufferPool,
    accepted: bool,
}

impl Pair {
    fn new() -> Self {
        let clock = Clock::start();
        let end = |tunnel| End { tunnel, pool: BufferPool::default(), accepted: false };
        let [client, server] = common::sessions(RecordMode::InPlace, &crypto::aead());
        let mut client = end(Tunnel::client(client, Arc::new(TunnelConfig::client()), clock.now()));
        let server = end(Tunnel::server(server, Arc::new(TunnelConfig::server()), clock.now()));
        let request = ConnectRequest {
            authority: Authority::Address(([10, 0, 0, 2], 80).into()),
            baggage: None,
            forwarded: None,
            traceparent: None,
            forwarded_network: None,
        };
        let stream = client.tunnel.open(clock.now(), &request).expect("a fresh tunnel");
        let mut pair = Self { clock, client, server, stream };
        while !pair.client.accepted {
            pair.carry();
        }
        pair
    }

    /// Both ways once; how many octets of the stream reached the server's application.
    fn carry(&mut self) -> usize {
        let received = carry(&self.clock, &mut self.client, &mut self.server, self.stream);
        carry(&self.clock, &mut self.server, &mut self.client, self.stream);
        received
    }

    /// One message from the client's application to the server's.
    fn message(&mut self, message: &[u8]) {
        let (mut rest, mut received) = (message, 0);
        while !rest.is_empty() {
            let End { tunnel, pool, .. } = &mut self.client;
            let mut lent = tunnel.lend_data(self.stream, pool).expect("an open window");
            let mut n = 0;
            for area in lent.areas() {
                let (now, later) = rest.split_at(area.len().min(rest.len()));
                area[..now.len()].copy_from_slice(now);
                (rest, n) = (later, n + now.len());
            }
            tunnel.commit_data(self.stream, n);
        }
        while received < message.len() {
            received += self.carry();
        }
    }
}

/// Moves what `from` has for the network to `to`, whose application takes what arrives; how many octets that was.
fn carry(clock: &Clock, from: &mut End, to: &mut End, stream: StreamId) -> usize {
    let now = clock.now();
    from.tunnel.flush(now, &mut from.pool).expect("a good session");
    let mut received = 0;
    while from.tunnel.wire().next().is_some() {
        let area = to.tunnel.lend_input(&mut to.pool);
        let mut n = 0;
        for slice in from.tunnel.wire() {
            let len = slice.len().min(area.len() - n);
            area[n..n + len].copy_from_slice(&slice[..len]);
            n += len;
        }
        from.tunnel.handle_written(n, &mut from.pool);
        to.tunnel.handle_input(now, n, &mut to.pool).expect("a good peer");
        while let Some(event) = to.tunnel.poll_event() {
            match event {
                TunnelEvent::Request { stream, .. } => to.tunnel.accept(now, stream, None),
                TunnelEvent::Response { .. } => to.accepted = true,
                _ => {}
            }
        }
        let pending = to.tunnel.pending(stream);
        to.tunnel.delivered(stream, pending, &mut to.pool);
        to.tunnel.settle(&mut to.pool);
        received += pending;
    }
    received
}

/// The same with h2, whose connections are tasks of a runtime.
struct Rival {
    runtime: Runtime,
    send: SendStream<Bytes>,
    receive: RecvStream,
}

impl Rival {
    fn new(tls: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (send, receive) = runtime.block_on(async {
            let (client, server) = tokio::io::duplex(1 << 20);
            if tls {
                let (client, server) = handshake(client, server).await;
                connect(client, server).await
            } else {
                connect(client, server).await
            }
        });
        Self { runtime, send, receive }
    }

    fn message(&mut self, message: &[u8]) {
        let Self { runtime, send, receive } = self;
        runtime.block_on(async {
            send.send_data(Bytes::copy_from_slice(message), false).expect("an open stream");
            let mut received = 0;
            while received < message.len() {
                let data = receive.data().await.expect("more").expect("a good peer");
                received += data.len();
                receive.flow_control().release_capacity(data.len()).expect("it was received");
            }
        });
    }
}

async fn handshake(
    client: DuplexStream,
    server: DuplexStream,
) -> (impl AsyncRead + AsyncWrite + Unpin, impl AsyncRead + AsyncWrite + Unpin) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).expect("a good certificate");
    let client_config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).expect("a key");
    let server_config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .expect("certificate and key");
    let name = ServerName::try_from("localhost").expect("a name");
    tokio::try_join!(
        TlsConnector::from(Arc::new(client_config)).connect(name, client),
        TlsAcceptor::from(Arc::new(server_config)).accept(server),
    )
    .expect("a handshake")
}

/// A CONNECT between two fresh connections: the client's sending half and the server's receiving one.
async fn connect(
    client: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (SendStream<Bytes>, RecvStream) {
    let mut h2_client = h2::client::Builder::new();
    h2_client.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let mut h2_server = h2::server::Builder::new();
    h2_server
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    let (client, server) = tokio::join!(h2_client.handshake(client), h2_server.handshake(server));
    let (requests, connection) = client.expect("a handshake");
    tokio::spawn(connection);
    let mut server: h2::server::Connection<_, Bytes> = server.expect("a handshake");
    let mut requests = requests.ready().await.expect("the server takes streams");
    let request = http::Request::connect("10.0.0.2:80").body(()).expect("a request");
    let (_, send) = requests.send_request(request, false).expect("a stream");
    let (request, mut respond) = server.accept().await.expect("a request").expect("a good one");
    let response = respond.send_response(http::Response::new(()), false).expect("an open stream");
    tokio::spawn(async move {
        // The stream's other half and the client's handle live as long as the connection.
        let _kept = (response, requests);
        while server.accept().await.is_some() {}
    });
    (send, request.into_body())
}

fn framing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing");
    for size in SIZES {
        let message = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        let mut pair = Pair::new();
        group.bench_function(BenchmarkId::new("tunnel", size), |bencher| {
            bencher.iter(|| pair.message(&message));
        });
        for (name, tls) in [("h2_tls", true), ("h2", false)] {
            let mut rival = Rival::new(tls);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| rival.message(&message));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, framing);
criterion_main!(benches);
