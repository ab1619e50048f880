//! A stand-in for an OpenTelemetry collector: takes spans over gRPC or HTTP on loopback, and keeps what they say.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use tokio::sync::oneshot;

/// What a collector speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Speaks {
    /// OTLP over gRPC, in plaintext with prior knowledge.
    Grpc,
    /// OTLP over HTTP/1.1.
    Http,
}

/// A span, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSpan {
    /// `service.name` of whoever sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its trace.
    pub trace_id: u128,
    /// Itself.
    pub span_id: u64,
    /// Its parent, if it has one.
    pub parent: Option<u64>,
    /// Whether it is of the side that serves.
    pub server: bool,
    /// From its start to its end.
    pub took: Duration,
    /// Whether its status is an error.
    pub error: bool,
    /// Its tags that are texts.
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Seen {
    spans: Mutex<Vec<SeenSpan>>,
    more: Condvar,
}

/// A collector on a port of its own; ends when dropped.
#[derive(Debug)]
pub struct OtlpCollector {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl OtlpCollector {
    /// Starts one on loopback.
    ///
    /// # Errors
    /// The system gives no socket or thread.
    pub fn start(speaks: Speaks) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, mut stopped) = oneshot::channel();
        let seen = Arc::<Seen>::default();
        let keeps = Arc::clone(&seen);
        let thread = std::thread::Builder::new().name("otlp-collector".to_owned()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                loop {
                    tokio::select! {
                        _ = &mut stopped => return,
                        accepted = listener.accept() => {
                            let Ok((stream, _)) = accepted else { return };
                            tokio::spawn(serve(stream, speaks, Arc::clone(&keeps)));
                        }
                    }
                }
            });
        })?;
        Ok(Self { address, seen, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// All spans so far, once there are so many or `most` has passed.
    #[must_use]
    pub fn spans(&self, at_least: usize, most: Duration) -> Vec<SeenSpan> {
        let end = Instant::now() + most;
        let mut spans = self.seen.spans.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if spans.len() >= at_least || left.is_zero() {
                return spans.clone();
            }
            let waited = self.seen.more.wait_timeout(spans, left);
            spans = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for OtlpCollector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A body of frames, the last one first.
struct Frames(Vec<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

async fn serve(stream: tokio::net::TcpStream, speaks: Speaks, seen: Arc<Seen>) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let body = whole(request.into_body()).await?;
            let message = match speaks {
                // Not compressed, its length, itself.
                Speaks::Grpc => body.get(5..).unwrap_or_default(),
                Speaks::Http => &body,
            };
            let taken =
                ExportTraceServiceRequest::decode(message).map(|request| keep(&seen, request)).is_ok();
            Ok::<_, hyper::Error>(answer(speaks, taken))
        }
    });
    let stream = TokioIo::new(stream);
    // A client that goes away is none of our concern.
    let _ = match speaks {
        Speaks::Grpc => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
        Speaks::Http => http1::Builder::new().serve_connection(stream, service).await,
    };
}

async fn whole(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut all = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            all.extend_from_slice(&data);
        }
    }
    Ok(all)
}

fn answer(speaks: Speaks, taken: bool) -> hyper::Response<Frames> {
    // An empty message says that all is well.
    let (status, frames) = match speaks {
        Speaks::Http => (if taken { 200 } else { 400 }, Vec::new()),
        Speaks::Grpc => {
            let mut trailers = hyper::HeaderMap::new();
            trailers.insert(
                "grpc-status",
                hyper::header::HeaderValue::from_static(if taken { "0" } else { "3" }),
            );
            (200, vec![Frame::trailers(trailers), Frame::data(Bytes::from_static(&[0; 5]))])
        }
    };
    let mut response = hyper::Response::new(Frames(frames));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}

fn texts(attributes: Vec<KeyValue>) -> impl Iterator<Item = (String, String)> {
    attributes.into_iter().filter_map(|attribute| match attribute.value?.value? {
        any_value::Value::StringValue(text) => Some((attribute.key, text)),
        _ => None,
    })
}

fn number(octets: &[u8]) -> u128 {
    octets.iter().fold(0, |number, octet| (number << 8) | u128::from(*octet))
}

fn keep(seen: &Seen, request: ExportTraceServiceRequest) {
    let mut spans = seen.spans.lock().unwrap_or_else(PoisonError::into_inner);
    for all in request.resource_spans {
        let resource = all.resource.unwrap_or_default();
        let service = texts(resource.attributes).find(|(key, _)| key == "service.name");
        let service = service.map(|(_, name)| name).unwrap_or_default();
        let each = all.scope_spans.into_iter().flat_map(|scoped| scoped.spans);
        spans.extend(each.map(|span| read(service.clone(), span)));
    }
    seen.more.notify_all();
}

fn read(service: String, span: Span) -> SeenSpan {
    let id = |octets: &[u8]| u64::try_from(number(octets)).unwrap_or_default();
    SeenSpan {
        service,
        name: span.name,
        trace_id: number(&span.trace_id),
        span_id: id(&span.span_id),
        parent: Some(id(&span.parent_span_id)).filter(|parent| *parent != 0),
        server: span.kind == i32::from(SpanKind::Server),
        took: Duration::from_nanos(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)),
        error: span.status.is_some_and(|status| status.code == i32::from(StatusCode::Error)),
        tags: texts(span.attributes).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use adit_core::l7::Fraction;
    use adit_core::l7::telemetry::{Collector, CollectorProtocol, Tracing};
    use adit_core::rng::Rng;
    use adit_ops::l7::otlp::{ExportFigures, Exporters, Limits, Resource};
    use adit_ops::l7::trace::{Own, Tags, Traced, span};
    use adit_ops::l7::{Exchange, NoHeaders, Protocol};

    use super::*;

    #[test]
    fn what_is_sent_is_seen() {
        for speaks in [Speaks::Grpc, Speaks::Http] {
            let collector = OtlpCollector::start(speaks).unwrap();
            let protocol = match speaks {
                Speaks::Grpc => CollectorProtocol::Grpc { metadata: Vec::new() },
                Speaks::Http => CollectorProtocol::Http { path: "/v1/traces".into(), headers: Vec::new() },
            };
            let to = Arc::new(Collector {
                name: "stand-in".into(),
                host: collector.address().ip().to_string().into(),
                port: collector.address().port(),
                protocol,
                timeout: Duration::from_secs(60),
            });
            let tracing =
                Tracing { collector: Some(Arc::clone(&to)), sampling: Fraction::ALL, ..Tracing::default() };
            let traced = Traced::begin(&tracing, &NoHeaders, &mut Rng::new(1)).unwrap();
            let mut exchange = Exchange::new(SystemTime::UNIX_EPOCH, Protocol::Http);
            exchange.http.status = 503;
            let sent = span(&Own::default(), &tracing, &Tags::default(), &traced, "web:80/*", &exchange);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let resource = Resource::new("waypoint.shop", None);
                let handle = tokio::runtime::Handle::current();
                let exporters = Exporters::new(handle, resource, Limits::default(), ExportFigures::default());
                exporters.of(&to).offer(sent);
                exporters.finish(Duration::from_secs(60)).await;
            });
            let seen = collector.spans(1, Duration::from_secs(60));
            let [one] = seen.as_slice() else { panic!("{seen:?}") };
            assert_eq!((&*one.service, &*one.name, one.error), ("waypoint.shop", "web:80/*", true));
            assert_eq!((one.trace_id, one.span_id), (traced.span.trace_id, traced.span.span_id));
            assert_eq!((one.parent, &*one.tags["response_flags"]), (None, "-"));
        }
    }
}
