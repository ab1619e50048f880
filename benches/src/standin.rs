//! A stand-in for ztunnel's stack: tokio, tokio-rustls and h2 with its settings (windows, frame size, copy buffers).
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Failure;

const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME: u32 = 1 << 20;
const STREAMS: usize = 100;

/// Runs `future` on one thread, or on `workers` work-stealing ones.
pub(crate) fn run(
    workers: usize,
    future: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> Result<(), Failure> {
    let mut builder = if workers > 1 {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(workers);
        builder
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder.enable_all().build()?;
    runtime.block_on(async { tokio::spawn(future).await })?
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    ];
    Arc::new(provider)
}

fn load(
    dir: &Path,
    name: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, RootCertStore), Failure> {
    let chain = CertificateDer::pem_file_iter(dir.join(format!("{name}.pem")))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key")))?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("root.pem"))?)?;
    Ok((chain, key, roots))
}

/// Accepts any certificate whose owner can sign: names are not what is measured.
#[derive(Debug)]
struct AnyPeer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyPeer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

type Sender = h2::client::SendRequest<Bytes>;

/// Tunnels that still take streams, newest last, with the count of streams each was given.
struct Pool {
    peer: SocketAddr,
    connector: TlsConnector,
    open: Mutex<Vec<(Sender, usize)>>,
}

impl Pool {
    async fn stream(&self) -> Result<Sender, Failure> {
        let mut open = self.open.lock().await;
        if let Some((sender, used)) = open.last_mut()
            && *used < STREAMS
            && let Ok(ready) = sender.clone().ready().await
        {
            *used += 1;
            return Ok(ready);
        }
        let tcp = TcpStream::connect(self.peer).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("0.0.0.0")?;
        let tls = self.connector.connect(name, tcp).await?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_header_list_size(16_384)
            .initial_max_send_streams(STREAMS)
            .max_send_buffer_size(4 << 20)
            .enable_push(false)
            .handshake::<_, Bytes>(tls)
            .await?;
        tokio::spawn(connection);
        open.push((sender.clone(), 1));
        Ok(sender.ready().await?)
    }
}

/// The outbound proxy.
pub(crate) async fn client(
    listen: SocketAddr,
    peer: SocketAddr,
    target: SocketAddr,
    pki: PathBuf,
) -> Result<(), Failure> {
    let (chain, key, _) = load(&pki, "client")?;
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyPeer(provider)))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    let pool =
        Arc::new(Pool { peer, connector: TlsConnector::from(Arc::new(config)), open: Mutex::default() });
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            let _ = outbound(socket, &pool, target).await;
        });
    }
}

async fn outbound(socket: TcpStream, pool: &Pool, target: SocketAddr) -> Result<(), Failure> {
    socket.set_nodelay(true)?;
    let mut sender = pool.stream().await?;
    let request = http::Request::builder()
        .method(http::Method::CONNECT)
        .uri(target.to_string())
        .header("baggage", "k8s.cluster.name=Kubernetes,k8s.namespace.name=bench,service.name=client")
        .header("forwarded", "for=\"127.0.0.2:1\"")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
        .body(())?;
    let (response, send) = sender.send_request(request, false)?;
    let response = response.await?;
    if response.status() != http::StatusCode::OK {
        return Err(format!("http status: {}", response.status()).into());
    }
    relay(socket, send, response.into_body()).await
}

/// The inbound proxy.
pub(crate) async fn server(listen: SocketAddr, pki: PathBuf) -> Result<(), Failure> {
    let (chain, key, roots) = load(&pki, "server")?;
    let provider = provider();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let _ = inbound(socket, acceptor).await;
        });
    }
}

async fn inbound(socket: TcpStream, acceptor: TlsAcceptor) -> Result<(), Failure> {
    socket.set_nodelay(true)?;
    let tls = acceptor.accept(socket).await?;
    let mut connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(65_536)
        .max_concurrent_streams(200)
        .max_send_buffer_size(400 << 10)
        .handshake::<_, Bytes>(tls)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(async move {
            let _ = serve(request, respond).await;
        });
    }
    Ok(())
}

async fn serve(
    request: http::Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Result<(), Failure> {
    let target: SocketAddr = request.uri().authority().ok_or("no authority")?.as_str().parse()?;
    let socket = TcpStream::connect(target).await?;
    socket.set_nodelay(true)?;
    let send = respond.send_response(http::Response::new(()), false)?;
    relay(socket, send, request.into_body()).await
}

async fn relay(socket: TcpStream, send: SendStream<Bytes>, receive: RecvStream) -> Result<(), Failure> {
    let (read, write) = socket.into_split();
    let up = pin!(to_stream(read, send));
    let down = pin!(from_stream(receive, write));
    let (up, down) = tokio::join!(up, down);
    up.and(down)
}

/// ztunnel's growing copy buffer: 1 KiB, 16 320 B after 128 KiB, 262 080 B after 10 MiB.
async fn to_stream(mut read: OwnedReadHalf, mut send: SendStream<Bytes>) -> Result<(), Failure> {
    let (mut size, mut total) = (1024, 0);
    let mut buffer = BytesMut::with_capacity(size);
    loop {
        buffer.reserve(size);
        let n = (&mut read).take(size as u64).read_buf(&mut buffer).await?;
        if n == 0 {
            send.send_data(Bytes::new(), true)?;
            return Ok(());
        }
        total += n;
        size = match total {
            0..131_072 => 1024,
            131_072..10_485_760 => 16_320,
            _ => 262_080,
        };
        let mut chunk = buffer.split().freeze();
        while !chunk.is_empty() {
            send.reserve_capacity(chunk.len());
            let granted = std::future::poll_fn(|cx| send.poll_capacity(cx)).await.ok_or("closed")??;
            send.send_data(chunk.split_to(granted.min(chunk.len())), false)?;
        }
    }
}

async fn from_stream(mut receive: RecvStream, mut write: OwnedWriteHalf) -> Result<(), Failure> {
    while let Some(chunk) = receive.data().await {
        let chunk = chunk?;
        receive.flow_control().release_capacity(chunk.len())?;
        write.write_all(&chunk).await?;
    }
    write.shutdown().await?;
    Ok(())
}
