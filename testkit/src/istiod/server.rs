//! TLS, HTTP/2 and the paths of the scripted control plane.
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use adit_control::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tonic_prost::ProstCodec;

use super::ads::Ads;
use super::spoken::{Spoken, Watched};
use super::{Bind, LOOPBACK, here, listen};

const ADS: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// A control plane, as tasks of the tokio runtime on which it was made. Dropping it stops taking connections
/// and cuts those there are.
pub struct Istiod {
    /// Its half that speaks xDS.
    pub ads: Arc<Ads>,
    address: SocketAddr,
    root: String,
    identity: ServerConfig,
    bind: Bind,
    cut: broadcast::Sender<Cut>,
    spoken: Spoken,
}

/// What is done to connections.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// GOAWAY; streams go on.
    Goaway,
    /// Closed without a word.
    Drop,
}

impl Istiod {
    /// Starts one on loopback whose certificate is for `name`.
    ///
    /// # Panics
    /// When no certificate can be made or no port is free.
    pub async fn start(name: &str) -> Self {
        Self::start_at(name, LOOPBACK, here()).await
    }

    /// Starts one at `address`, with a socket that `bind` makes, now and at every restart.
    ///
    /// # Panics
    /// When no certificate can be made or the address cannot be had.
    pub async fn start_at(name: &str, address: SocketAddr, bind: Bind) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root certificate").pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new([name.to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a PKCS #8 key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut identity = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of the provider")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("a usable certificate");
        identity.alpn_protocols = vec![b"h2".to_vec()];

        let listener = listen(&bind, address).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let istiod = Self {
            ads: Arc::default(),
            address,
            root,
            identity,
            bind,
            cut: broadcast::channel(16).0,
            spoken: Spoken::default(),
        };
        istiod.serve(listener);
        istiod
    }

    /// The same address and certificate in a new process: connections are cut, and nothing is remembered but the resources.
    ///
    /// # Panics
    /// When the port has been taken meanwhile.
    pub async fn restart(&mut self) {
        self.stop();
        // The old listener is dropped by its task, which has to run first.
        let listener = loop {
            tokio::task::yield_now().await;
            if let Ok(listener) = listen(&self.bind, self.address) {
                break listener;
            }
        };
        self.ads = Arc::new(self.ads.after_restart());
        self.serve(listener);
    }

    /// Cuts all connections and takes no more.
    pub fn stop(&self) {
        let _ = self.cut.send(Cut::Drop);
    }

    /// Says GOAWAY on all connections.
    pub fn goaway(&self) {
        let _ = self.cut.send(Cut::Goaway);
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root of its certificate, in PEM.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// When the system last took part of a message from it, as against acknowledgements; `None` before the first.
    #[must_use]
    pub fn last_spoke(&self) -> Option<Instant> {
        self.spoken.last()
    }

    fn serve(&self, listener: TcpListener) {
        let tls = TlsAcceptor::from(Arc::new(self.identity.clone()));
        let spoken = self.spoken.clone();
        let (ads, mut stopped, cut) = (Arc::clone(&self.ads), self.cut.subscribe(), self.cut.clone());
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    told = stopped.recv() => match told {
                        Ok(Cut::Goaway) => continue,
                        Ok(Cut::Drop) | Err(_) => return,
                    },
                };
                let Ok((tcp, _)) = accepted else { continue };
                tokio::spawn(connection(tls.clone(), spoken.watch(tcp), Arc::clone(&ads), cut.subscribe()));
            }
        });
    }
}

impl Drop for Istiod {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn connection(tls: TlsAcceptor, tcp: Watched, ads: Arc<Ads>, mut cut: broadcast::Receiver<Cut>) {
    // A client that does not trust us goes away here, as it should.
    let Ok(stream) = tls.accept(tcp).await else { return };
    let service = service_fn(move |request| answer(Arc::clone(&ads), request));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            told = cut.recv() => match told {
                Ok(Cut::Goaway) => connection.as_mut().graceful_shutdown(),
                Ok(Cut::Drop) | Err(_) => return,
            },
        }
    }
}

/// tonic asks its services for futures of this kind.
type Answer<T> = std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<T>, tonic::Status>> + Send>>;

async fn answer(ads: Arc<Ads>, request: http::Request<Incoming>) -> Result<http::Response<Body>, Infallible> {
    if request.uri().path() != ADS {
        let unknown = tonic::Status::unimplemented("no such method");
        return Ok(unknown.into_http());
    }
    let codec = ProstCodec::<DeltaDiscoveryResponse, DeltaDiscoveryRequest>::default();
    let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(64 << 20);
    Ok(grpc.streaming(Delta(ads), request).await)
}

struct Delta(Arc<Ads>);

impl tonic::server::StreamingService<DeltaDiscoveryRequest> for Delta {
    type Response = DeltaDiscoveryResponse;
    type ResponseStream = super::ads::Responses;
    type Future = Answer<Self::ResponseStream>;

    fn call(&mut self, request: tonic::Request<tonic::Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let ads = Arc::clone(&self.0);
        Box::pin(async move { ads.stream(request).map(tonic::Response::new) })
    }
}
