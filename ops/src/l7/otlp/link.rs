//! One connection to a collector, made again when it breaks: a message out, an answer in.
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use adit_core::l7::telemetry::{Collector, CollectorProtocol};
use http_body::Body as _;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, TE};
use hyper::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::http::Body;

/// Octets that an answer may have.
const MAX_ANSWER: usize = 64 << 10;

/// Why a collector did not take a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// No connection.
    #[error("no connection to the collector: {0}")]
    Connect(io::Error),
    /// The connection broke off, or what came is no HTTP.
    #[error("no answer from the collector: {0}")]
    Http(hyper::Error),
    /// What is configured makes no request.
    #[error("host, path or headers of the collector make no request: {0}")]
    Request(hyper::http::Error),
    /// It answered with another status than 2xx.
    #[error("the collector answers with status {0}")]
    Status(u16),
    /// It answered with another status of gRPC than 0.
    #[error("the collector answers with status {code} of gRPC: {message}")]
    Grpc {
        /// The status; 2 (unknown) when there was none.
        code: u32,
        /// What it said about it.
        message: String,
    },
    /// Its answer is too long.
    #[error("the answer of the collector has more than {MAX_ANSWER} octets")]
    TooLong,
    /// It took too long.
    #[error("the collector took longer than its timeout")]
    TooSlow,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    /// gRPC's method.
    const fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

enum Sender {
    Grpc(http2::SendRequest<Body>),
    Http(http1::SendRequest<Body>),
}

/// The way to a collector.
pub(super) struct Link {
    collector: Arc<Collector>,
    signal: Signal,
    sender: Option<Sender>,
}

impl Link {
    pub(super) const fn new(collector: Arc<Collector>, signal: Signal) -> Self {
        Self { collector, signal, sender: None }
    }

    /// Sends a message and returns the message that is the answer. A connection that was there already and has broken is
    /// made again, once.
    pub(super) async fn send(&mut self, message: Vec<u8>) -> Result<Vec<u8>, ExportError> {
        let timeout = self.collector.timeout;
        let message = Bytes::from(message);
        let sent = tokio::time::timeout(timeout, async {
            let reused = self.sender.is_some();
            match self.attempt(message.clone()).await {
                Err(ExportError::Http(_)) if reused => self.attempt(message).await,
                other => other,
            }
        });
        match sent.await {
            Ok(answer) => answer,
            Err(_) => {
                // An answer may still come; nobody is to take it for the next one's.
                self.sender = None;
                Err(ExportError::TooSlow)
            }
        }
    }

    async fn attempt(&mut self, message: Bytes) -> Result<Vec<u8>, ExportError> {
        // Taken out: it is put back when all went well.
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = self.request(message).map_err(ExportError::Request)?;
        let answer = match &mut sender {
            Sender::Grpc(sender) => {
                sender.ready().await.map_err(ExportError::Http)?;
                grpc(sender.send_request(request).await.map_err(ExportError::Http)?).await
            }
            Sender::Http(sender) => {
                sender.ready().await.map_err(ExportError::Http)?;
                plain(sender.send_request(request).await.map_err(ExportError::Http)?).await
            }
        };
        if !matches!(answer, Err(ExportError::Http(_) | ExportError::TooLong)) {
            self.sender = Some(sender);
        }
        answer
    }

    async fn connect(&self) -> Result<Sender, ExportError> {
        let stream = TcpStream::connect((&*self.collector.host, self.collector.port)).await;
        let stream = stream.map_err(ExportError::Connect)?;
        // Errors of a connection are those of its requests as well.
        match self.collector.protocol {
            CollectorProtocol::Grpc { .. } => {
                let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
                let (sender, connection) = handshake.map_err(ExportError::Http)?;
                tokio::spawn(connection);
                Ok(Sender::Grpc(sender))
            }
            CollectorProtocol::Http { .. } => {
                let handshake = http1::handshake(TokioIo::new(stream)).await;
                let (sender, connection) = handshake.map_err(ExportError::Http)?;
                tokio::spawn(connection);
                Ok(Sender::Http(sender))
            }
        }
    }

    fn request(&self, message: Bytes) -> Result<hyper::Request<Body>, hyper::http::Error> {
        let Collector { host, port, protocol, .. } = &*self.collector;
        let authority = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let authority = Authority::try_from(authority)?;
        let (headers, mut request) = match protocol {
            CollectorProtocol::Grpc { metadata } => {
                let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority);
                let uri = uri.path_and_query(PathAndQuery::from_static(self.signal.method())).build()?;
                let request = hyper::Request::post(uri).header(CONTENT_TYPE, "application/grpc");
                (metadata, request.header(TE, "trailers"))
            }
            CollectorProtocol::Http { path, headers } => {
                let request = hyper::Request::post(&**path).header(HOST, authority.as_str());
                (headers, request.header(CONTENT_TYPE, "application/x-protobuf"))
            }
        };
        for (name, value) in headers {
            request = request.header(&**name, &**value);
        }
        let body = match protocol {
            CollectorProtocol::Grpc { .. } => framed(&message),
            CollectorProtocol::Http { .. } => message,
        };
        request.body(Body::Whole(body))
    }
}

/// A message of gRPC: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.push(0);
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// The body as a whole, and its trailers.
async fn gathered(mut body: Incoming) -> Result<(Vec<u8>, HeaderMap), ExportError> {
    let (mut whole, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame.map_err(ExportError::Http)?.into_data() {
            Ok(data) if data.len() > MAX_ANSWER.saturating_sub(whole.len()) => {
                return Err(ExportError::TooLong);
            }
            Ok(data) => whole.extend_from_slice(&data),
            Err(frame) => {
                if let Ok(said) = frame.into_trailers() {
                    trailers = said;
                }
            }
        }
    }
    Ok((whole, trailers))
}

async fn plain(response: hyper::Response<Incoming>) -> Result<Vec<u8>, ExportError> {
    let status = response.status();
    let (whole, _) = gathered(response.into_body()).await?;
    if status.is_success() { Ok(whole) } else { Err(ExportError::Status(status.as_u16())) }
}

async fn grpc(response: hyper::Response<Incoming>) -> Result<Vec<u8>, ExportError> {
    if !response.status().is_success() {
        return Err(ExportError::Status(response.status().as_u16()));
    }
    let (head, body) = response.into_parts();
    let (whole, trailers) = gathered(body).await?;
    let said = |name: &str| {
        let value = trailers.get(name).or_else(|| head.headers.get(name));
        value.and_then(|value| value.to_str().ok())
    };
    match said("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0) => Ok(whole.get(5..).unwrap_or_default().to_vec()),
        code => {
            let message = said("grpc-message").unwrap_or_default().to_owned();
            Err(ExportError::Grpc { code: code.unwrap_or(2), message })
        }
    }
}
