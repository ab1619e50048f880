//! A service of four methods, one of each kind, on tonic's server; and tonic's client for it. Written by hand, as there are no
//! `.proto` files of it.
use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use adit_process::thread::TokioThread;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc::UnboundedSender;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// Every method's request and answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Said {
    #[prost(string, tag = "1")]
    pub(super) text: String,
    #[prost(uint32, tag = "2")]
    pub(super) number: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) octets: Bytes,
}

impl Said {
    pub(super) fn text(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    pub(super) fn number(number: u32) -> Self {
        Self { number, ..Self::default() }
    }
}

/// What the server tells when an answer that was begun is given up by whoever asked.
#[derive(Debug, PartialEq)]
pub(super) struct GivenUp;

/// Tells so when it is dropped.
struct Guard(UnboundedSender<GivenUp>);

impl Drop for Guard {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.0.send(GivenUp);
    }
}

#[derive(Clone)]
struct Echo(UnboundedSender<GivenUp>);

/// What the server saw of a call, in the answer's metadata.
fn saw(metadata: &MetadataMap) -> MetadataMap {
    let mut told = MetadataMap::new();
    for name in ["x-said", "x-routed", "grpc-timeout", "te", "x-envoy-attempt-count"] {
        if let Some(value) = metadata.get(name) {
            told.insert(
                format!("saw-{name}").parse::<tonic::metadata::MetadataKey<_>>().unwrap(),
                value.clone(),
            );
        }
    }
    if let Some(value) = metadata.get_bin("x-said-bin") {
        told.insert_bin("saw-x-said-bin", value.clone());
    }
    told
}

/// With metadata, and details of octets that are no text.
fn refusal() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-reason", "because".parse().unwrap());
    metadata.insert_bin("x-reason-bin", MetadataValue::from_bytes(&[0, 255, 10]));
    let details = Bytes::from_static(&[8, 9, 0, 255]);
    Status::with_details_and_metadata(Code::FailedPrecondition, "not like this: ünï %", details, metadata)
}

impl Echo {
    async fn once(self, request: Request<Said>) -> Result<Response<Said>, Status> {
        let metadata = saw(request.metadata());
        let attempt = metadata.get("saw-x-envoy-attempt-count").map(|attempt| attempt.as_bytes() == b"1");
        match request.get_ref().text.as_str() {
            "fail" => return Err(refusal()),
            "fail at first" if attempt == Some(true) => return Err(Status::unavailable("come again")),
            "wait" => {
                let _guard = Guard(self.0);
                return std::future::pending().await;
            }
            _ => {}
        }
        let mut response = Response::new(request.into_inner());
        *response.metadata_mut() = metadata;
        Ok(response)
    }

    async fn many(
        self,
        request: Request<Said>,
    ) -> Result<Response<BoxStream<'static, Result<Said, Status>>>, Status> {
        let Said { text, number, octets } = request.into_inner();
        let messages = stream::iter(0..number)
            .map(move |number| Ok(Said { number, octets: octets.clone(), ..Said::default() }));
        Ok(Response::new(match text.as_str() {
            "break" => messages.chain(stream::iter([Err(Status::data_loss("there is no more"))])).boxed(),
            "endless" => {
                let guard = Guard(self.0);
                let never = async move {
                    let _guard = guard;
                    std::future::pending().await
                };
                messages.chain(stream::once(never)).boxed()
            }
            _ => messages.boxed(),
        }))
    }

    async fn gather(self, request: Request<Streaming<Said>>) -> Result<Response<Said>, Status> {
        let mut messages = request.into_inner();
        let (mut number, mut octets) = (0, 0_usize);
        while let Some(said) = messages.message().await? {
            number += said.number;
            octets += said.octets.len();
        }
        Ok(Response::new(Said { text: octets.to_string(), number, ..Said::default() }))
    }

    async fn both(
        self,
        request: Request<Streaming<Said>>,
    ) -> Result<Response<BoxStream<'static, Result<Said, Status>>>, Status> {
        Ok(Response::new(request.into_inner().boxed()))
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(codec());
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "Once" => grpc.unary(service_fn(|request| this.clone().once(request)), request).await,
                "Many" => {
                    grpc.server_streaming(service_fn(|request| this.clone().many(request)), request).await
                }
                "Gather" => {
                    grpc.client_streaming(service_fn(|request| this.clone().gather(request)), request).await
                }
                "Both" => grpc.streaming(service_fn(|request| this.clone().both(request)), request).await,
                _ => Status::unimplemented("tonic's server has no such method").into_http(),
            })
        })
    }
}

fn codec() -> ProstCodec<Said, Said> {
    ProstCodec::default()
}

/// Starts the server on 127.0.3.`last`; it ends with the thread that is given back.
pub(super) fn start(last: u8, told: UnboundedSender<GivenUp>) -> (SocketAddr, TokioThread) {
    let thread = TokioThread::start("tonic").unwrap();
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 3, last), 0));
    let incoming = {
        let _entered = thread.enter();
        TcpIncoming::bind(address).unwrap().with_nodelay(Some(true))
    };
    let address = incoming.local_addr().unwrap();
    thread.spawn(Server::builder().serve_with_incoming(Echo(told), incoming));
    (address, thread)
}

/// tonic's client. Clones share its connection.
#[derive(Clone)]
pub(super) struct Client {
    grpc: tonic::client::Grpc<Channel>,
    /// Package and name.
    service: &'static str,
}

impl Client {
    pub(super) async fn new(entry: SocketAddr, service: &'static str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{entry}")).unwrap();
        let channel = endpoint.origin("http://echo".parse().unwrap()).connect().await.unwrap();
        Self { grpc: tonic::client::Grpc::new(channel), service }
    }

    /// The same connection, as client of another service.
    pub(super) fn of(&self, service: &'static str) -> Self {
        Self { service, ..self.clone() }
    }

    async fn ready(&mut self, method: &str) -> http::uri::PathAndQuery {
        self.grpc.ready().await.unwrap();
        format!("/{}/{method}", self.service).parse().unwrap()
    }

    pub(super) async fn once(&mut self, request: Request<Said>) -> Result<Response<Said>, Status> {
        self.named("Once", request).await
    }

    pub(super) async fn named(
        &mut self,
        method: &str,
        request: Request<Said>,
    ) -> Result<Response<Said>, Status> {
        let path = self.ready(method).await;
        self.grpc.unary(request, path, codec()).await
    }

    pub(super) async fn many(&mut self, said: Said) -> Result<Streaming<Said>, Status> {
        let path = self.ready("Many").await;
        self.grpc.server_streaming(Request::new(said), path, codec()).await.map(Response::into_inner)
    }

    pub(super) async fn gather(&mut self, all: BoxStream<'static, Said>) -> Result<Said, Status> {
        let path = self.ready("Gather").await;
        self.grpc.client_streaming(Request::new(all), path, codec()).await.map(Response::into_inner)
    }

    pub(super) async fn both(&mut self, all: BoxStream<'static, Said>) -> Result<Streaming<Said>, Status> {
        let path = self.ready("Both").await;
        self.grpc.streaming(Request::new(all), path, codec()).await.map(Response::into_inner)
    }
}
