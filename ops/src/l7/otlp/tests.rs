use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

use adit_core::l7::telemetry::{Collector, CollectorProtocol, Tracing};
use adit_core::rng::Rng;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::l7::metrics::{HttpMetrics, Reported};
use crate::l7::record::{Exchange, Protocol};
use crate::l7::trace::{Own, Tags, Traced, span};
use crate::metrics::{Bounds, Metrics};

/// A request that the stand-in for a collector has had: path, content type, a header of ours, and the message.
#[derive(Debug)]
struct Got {
    path: String,
    kind: String,
    tenant: String,
    message: Vec<u8>,
}

/// A body of data and trailers.
struct Answer(Vec<Frame<Bytes>>);

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop().map(Ok))
    }
}

async fn whole(mut body: Incoming) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| http_body::Body::poll_frame(std::pin::Pin::new(&mut body), context))
            .await
    {
        if let Ok(data) = frame.unwrap().into_data() {
            all.extend_from_slice(&data);
        }
    }
    all
}

/// How the stand-in answers.
#[derive(Clone, Copy)]
enum Mood {
    Takes,
    RefusesOne,
    Fails,
}

/// A collector on loopback that speaks gRPC and HTTP, one kind each.
async fn collector(grpc: bool, mood: Mood) -> (SocketAddr, mpsc::UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, got) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = seen.clone();
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let seen = seen.clone();
                async move {
                    let header = |name: &str| {
                        let value = request.headers().get(name).map(|value| value.to_str().unwrap());
                        value.unwrap_or_default().to_owned()
                    };
                    let (path, kind, tenant) =
                        (request.uri().path().to_owned(), header("content-type"), header("x-tenant"));
                    let body = whole(request.into_body()).await;
                    let message = if grpc { framed(&body) } else { body };
                    let _ = seen.send(Got { path, kind, tenant, message });
                    Ok::<_, Infallible>(answer(grpc, mood))
                }
            });
            let stream = TokioIo::new(stream);
            match grpc {
                true => drop(tokio::spawn(
                    http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service),
                )),
                false => drop(tokio::spawn(http1::Builder::new().serve_connection(stream, service))),
            }
        }
    });
    (address, got)
}

/// The message in a body of gRPC that has one.
fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap());
    assert_eq!((body[0], usize::try_from(length).unwrap()), (0, body.len() - 5));
    body[5..].to_vec()
}

fn answer(grpc: bool, mood: Mood) -> hyper::Response<Answer> {
    let refused = match mood {
        Mood::RefusesOne => {
            Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: "no".to_owned() })
        }
        Mood::Takes | Mood::Fails => None,
    };
    let message = ExportTraceServiceResponse { partial_success: refused }.encode_to_vec();
    let status = if !grpc && matches!(mood, Mood::Fails) { 503 } else { 200 };
    let frames = match grpc {
        false => vec![Frame::data(message.into())],
        true => {
            let mut trailers = hyper::HeaderMap::new();
            let code = if matches!(mood, Mood::Fails) { "14" } else { "0" };
            trailers.insert("grpc-status", code.parse().unwrap());
            let mut framed = vec![0];
            framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            framed.extend(message);
            // The last one first.
            vec![Frame::trailers(trailers), Frame::data(framed.into())]
        }
    };
    hyper::Response::builder().status(status).body(Answer(frames)).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn to(address: SocketAddr, grpc: bool) -> Arc<Collector> {
    let own = vec![("x-tenant".into(), "blue".into())];
    let protocol = match grpc {
        true => CollectorProtocol::Grpc { metadata: own },
        false => CollectorProtocol::Http { path: "/v1/traces".into(), headers: own },
    };
    Arc::new(Collector {
        name: "stand-in".into(),
        host: address.ip().to_string().into(),
        port: address.port(),
        protocol,
        timeout: Duration::from_secs(60),
    })
}

fn exporters(limits: Limits) -> (Exporters, ExportFigures) {
    let figures = ExportFigures::default();
    let resource = Resource::new("waypoint.shop", Some("deployment.environment=test, bad ,service.name=x"));
    (Exporters::new(tokio::runtime::Handle::current(), resource, limits, figures.clone()), figures)
}

/// Long enough for nothing to be sent before its time.
const PATIENT: Limits = Limits { queue: 8, batch: 4, interval: Duration::from_secs(3600) };

/// The span of a request, made as the data plane makes it.
fn made(collector: &Arc<Collector>, path: &str) -> Span {
    let tracing = Tracing { collector: Some(Arc::clone(collector)), ..Tracing::default() };
    let headers = vec![("b3".into(), b"8448eb211c80319c-8448eb211c80319c-1"[..].into())];
    let traced = Traced::begin(&tracing, &headers, &mut Rng::new(1)).unwrap();
    let mut exchange = Exchange::new(UNIX_EPOCH + Duration::from_secs(1), Protocol::Http);
    exchange.http.path = path.as_bytes();
    exchange.http.authority = b"web.shop";
    exchange.http.status = 200;
    span(&Own::default(), &tracing, &Tags::default(), &traced, "web.shop:80/*", &exchange)
}

fn spans(got: &Got) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(&*got.message).unwrap();
    let [all] = request.resource_spans.as_slice() else { panic!("{request:?}") };
    let resource = &all.resource.as_ref().unwrap().attributes;
    let expected = [("service.name", "waypoint.shop"), ("deployment.environment", "test")];
    assert_eq!(*resource, expected.map(|(key, value)| attribute(key, value)));
    let [scoped] = all.scope_spans.as_slice() else { panic!("{all:?}") };
    assert_eq!(scoped.scope.as_ref().unwrap().name, "adit-waypoint");
    scoped.spans.clone()
}

#[test]
fn spans_reach_the_collector_over_grpc_and_over_http() {
    for grpc in [true, false] {
        runtime().block_on(async {
            let (address, mut got) = collector(grpc, Mood::Takes).await;
            let (exporters, figures) = exporters(PATIENT);
            let to = to(address, grpc);
            let way = exporters.of(&to);
            let sent: Vec<Span> = (0..6).map(|n| made(&to, &format!("/{n}"))).collect();
            sent.iter().cloned().for_each(|span| way.offer(span));
            // A whole batch goes at once, the rest when it is over.
            let first = got.recv().await.unwrap();
            exporters.finish(Duration::from_secs(60)).await;
            let second = got.recv().await.unwrap();
            let (path, kind) = match grpc {
                true => ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "application/grpc"),
                false => ("/v1/traces", "application/x-protobuf"),
            };
            for got in [&first, &second] {
                assert_eq!((&*got.path, &*got.kind, &*got.tenant), (path, kind, "blue"));
            }
            assert_eq!([spans(&first), spans(&second)].concat(), sent);
            assert_eq!(sent[0].name, "web.shop:80/*");
            assert!(sent[0].attributes.contains(&attribute("http.url", "http://web.shop/0")));
            assert_eq!(sent[0].parent_span_id, 0x8448_eb21_1c80_319c_u64.to_be_bytes());
            assert_eq!(
                (figures.spans_exported(), figures.spans_dropped(), figures.spans_failed()),
                (6, 0, 0)
            );
            // What comes later is dropped and counted.
            way.offer(sent[0].clone());
            assert_eq!(figures.spans_dropped(), 1);
        });
    }
}

#[test]
fn a_span_waits_no_longer_than_the_interval() {
    runtime().block_on(async {
        let (address, mut got) = collector(true, Mood::Takes).await;
        let (exporters, _) = exporters(Limits { interval: Duration::from_millis(1), ..PATIENT });
        let to = to(address, true);
        exporters.of(&to).offer(made(&to, "/"));
        assert_eq!(spans(&got.recv().await.unwrap()).len(), 1);
        // The same collector has the same task.
        exporters.of(&Arc::new((*to).clone())).offer(made(&to, "/"));
        assert_eq!(spans(&got.recv().await.unwrap()).len(), 1);
        exporters.keep(&[]);
        exporters.finish(Duration::from_secs(60)).await;
    });
}

#[test]
fn a_full_queue_drops_and_counts() {
    runtime().block_on(async {
        let (address, mut got) = collector(true, Mood::Takes).await;
        let (exporters, figures) = exporters(PATIENT);
        let to = to(address, true);
        let way = exporters.of(&to);
        // Nobody else runs on this thread meanwhile.
        (0..20).for_each(|_| way.offer(made(&to, "/")));
        assert_eq!(figures.spans_dropped(), 12);
        exporters.finish(Duration::from_secs(60)).await;
        let mut count = 0;
        while count < 8 {
            count += spans(&got.recv().await.unwrap()).len();
        }
        assert_eq!((count, figures.spans_exported()), (8, 8));
    });
}

#[test]
fn what_is_refused_or_cannot_be_sent_is_counted() {
    for (mood, exported, failed) in [(Mood::RefusesOne, 3, 1), (Mood::Fails, 0, 4)] {
        for grpc in [true, false] {
            runtime().block_on(async {
                let (address, _got) = collector(grpc, mood).await;
                let (exporters, figures) = exporters(PATIENT);
                let to = to(address, grpc);
                let way = exporters.of(&to);
                (0..4).for_each(|_| way.offer(made(&to, "/")));
                exporters.finish(Duration::from_secs(60)).await;
                assert_eq!((figures.spans_exported(), figures.spans_failed()), (exported, failed));
            });
        }
    }
    runtime().block_on(async {
        // Bound, and nobody listens.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (exporters, figures) = exporters(PATIENT);
        let to = to(socket.local_addr().unwrap(), true);
        exporters.of(&to).offer(made(&to, "/"));
        exporters.finish(Duration::from_secs(60)).await;
        assert_eq!((figures.spans_exported(), figures.spans_failed()), (0, 1));
    });
}

#[test]
fn metrics_are_pushed_as_they_are_scraped() {
    runtime().block_on(async {
        let (address, mut got) = collector(true, Mood::Takes).await;
        let metrics = HttpMetrics::new(Bounds::default());
        let mut exchange = Exchange::new(UNIX_EPOCH, Protocol::Http);
        exchange.http.status = 200;
        exchange.duration = Duration::from_millis(3);
        for _ in 0..2 {
            metrics.finished(Instant::now(), &Arc::default(), &exchange, Reported::default());
        }
        let figures = ExportFigures::default();
        let metrics = Metrics::waypoint("1.2", &metrics, [Box::new(figures.clone()) as _]);
        let push = Push { collector: to(address, true), interval: Duration::from_secs(3600) };
        let pushing = pushing(push, &metrics, &figures);
        pushing.finish(Duration::from_secs(60)).await;
        let got = got.recv().await.unwrap();
        assert_eq!(got.path, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
        let request = ExportMetricsServiceRequest::decode(&*got.message).unwrap();
        let scraped = metrics.text();
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let names: Vec<_> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(
            names[..4],
            [
                "istio_requests_total",
                "istio_request_duration_milliseconds",
                "istio_request_bytes",
                "istio_response_bytes"
            ]
        );
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
        assert!(sum.data_points[0].attributes.contains(&attribute("reporter", "waypoint")));
        assert_eq!(sum.data_points[0].attributes.len(), 25);
        let Some(Data::Histogram(histogram)) = &metrics[1].data else { panic!("{metrics:?}") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum, point.bucket_counts[2]), (2, Some(6.0), 2));
        assert_eq!(figures.metric_pushes_failed(), 0);
        // And everything else that a scrape has.
        let samples = scraped.lines().filter(|line| !line.starts_with('#'));
        let samples: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
        let part = |name: &&str| ["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
        let whole: BTreeSet<&str> = samples.into_iter().filter(|name| !part(name)).collect();
        let histograms = &names[1..4];
        let pushed = names.iter().copied().filter(|name| !histograms.contains(name)).collect();
        assert!(
            whole.contains("istio_build") && whole.contains("adit_metric_pushes_failed_total"),
            "{whole:?}"
        );
        assert_eq!(whole, pushed);
    });
}

fn pushing(push: Push, metrics: &Metrics, figures: &ExportFigures) -> Pushing {
    let resource = Resource::new("waypoint.shop", None);
    Pushing::start(&tokio::runtime::Handle::current(), push, resource, metrics.clone(), figures.clone())
}

#[test]
fn pushes_go_on_when_a_collector_fails_and_end_when_it_hangs() {
    let metrics = Metrics::waypoint("1.2", &HttpMetrics::new(Bounds::default()), []);
    for grpc in [true, false] {
        runtime().block_on(async {
            let (address, mut got) = collector(grpc, Mood::Fails).await;
            let figures = ExportFigures::default();
            let push = Push { collector: to(address, grpc), interval: Duration::from_millis(1) };
            let pushing = pushing(push, &metrics, &figures);
            for _ in 0..3 {
                assert!(got.recv().await.is_some());
            }
            pushing.finish(Duration::from_secs(60)).await;
            assert!(figures.metric_pushes_failed() >= 3);
        });
    }
    runtime().block_on(async {
        // It takes connections, and never answers.
        let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let figures = ExportFigures::default();
        let collector = to(deaf.local_addr().unwrap(), true);
        let pushing = pushing(Push { collector, interval: Duration::from_secs(3600) }, &metrics, &figures);
        // Its own timeout is a minute.
        pushing.finish(Duration::from_millis(1)).await;
        assert_eq!(figures.metric_pushes_failed(), 0);
    });
}
