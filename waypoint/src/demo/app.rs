//! An application that tells what has reached it, as JSON, and can be told how to misbehave. The demo's, and the tests'.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_process::thread::TokioThread;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

/// A request as the application saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `Host` or `:authority`.
    pub host: String,
    /// Headers, by name; several values are joined with `,`.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// Trailers, as headers.
    pub trailers: BTreeMap<String, String>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Whom it came from.
    pub peer: IpAddr,
}

/// The running application. It ends when it is dropped.
#[derive(Debug)]
pub struct App {
    name: Arc<str>,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _thread: TokioThread,
}

/// The most requests that are remembered.
const REMEMBERED: usize = 10_000;

impl App {
    /// Listens on a free port of `address`, and speaks HTTP/1.1 and HTTP/2 as clients do.
    ///
    /// # Errors
    /// No port, or no thread.
    pub fn start(name: &str, address: Ipv4Addr) -> io::Result<Self> {
        Self::listen(name, (address, 0).into())
    }

    /// The same on a port that is given.
    ///
    /// # Errors
    /// The address is in use, or there is no thread.
    pub fn listen(name: &str, address: SocketAddr) -> io::Result<Self> {
        let thread = TokioThread::start("demo-app")?;
        let listener = thread.wait(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let name: Arc<str> = name.into();
        thread.spawn(serve(listener, Arc::clone(&name), Arc::clone(&seen)));
        Ok(Self { name, address, seen, _thread: thread })
    }

    /// Its name, which it tells.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has reached it, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: TcpListener, name: Arc<str>, seen: Arc<Mutex<Vec<Seen>>>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = peer.ip().to_canonical();
                drop(tokio::spawn(connection(stream, peer, Arc::clone(&name), Arc::clone(&seen))));
            }
            // Out of descriptors, most likely: let others finish first.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, name: Arc<str>, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut preface = [0; 24];
    // Without a delay for small answers.
    let _ = stream.set_nodelay(true);
    let http2 = loop {
        match stream.peek(&mut preface).await {
            Ok(0) | Err(_) => return,
            Ok(n) if !b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".starts_with(&preface[..n.min(24)]) => break false,
            Ok(24) => break true,
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    let service = service_fn(move |request| answer(peer, Arc::clone(&name), Arc::clone(&seen), request));
    // A visitor who leaves early is no fault of the application.
    let _ = match http2 {
        true => {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // As much as the waypoint takes.
            builder.max_header_list_size(60 << 10);
            builder.serve_connection(TokioIo::new(stream), service).await
        }
        false => {
            let builder = hyper::server::conn::http1::Builder::new();
            builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await
        }
    };
}

/// What a request may ask for by headers: `x-app-status` (a status), `x-app-fail-first` (status 503 unless it is a later
/// attempt), `x-app-delay-ms`, `x-app-reset` (no answer at all), `x-app-header` (`name=value` on the answer),
/// `x-app-trailers`, `x-app-size` (the body is so many octets, see [`octets`], 64 MiB at most).
async fn answer(
    peer: IpAddr,
    name: Arc<str>,
    seen: Arc<Mutex<Vec<Seen>>>,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, io::Error> {
    let upgrade = request.headers().get("upgrade").cloned();
    let on_upgrade = upgrade.as_ref().map(|_| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let said = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (body, trailers) = read(body).await;
    let host = parts.uri.authority().map(|authority| authority.to_string()).or_else(|| said("host"));
    let this = Seen {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        host: host.unwrap_or_default(),
        headers: texts(&parts.headers),
        body,
        trailers,
        version: format!("{:?}", parts.version),
        peer,
    };
    {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < REMEMBERED {
            seen.push(this.clone());
        }
    }
    if let Some(millis) = said("x-app-delay-ms").and_then(|text| text.parse().ok()) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    if said("x-app-reset").is_some() {
        return Err(io::Error::other("as it was asked for"));
    }
    if let (Some(upgrade), Some(on)) = (upgrade, on_upgrade) {
        tokio::spawn(async move {
            if let Ok(upgraded) = on.await {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
        let mut response = Response::new(Answer::default());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
        response.headers_mut().insert("upgrade", upgrade);
        return Ok(response);
    }
    let attempt = said("x-envoy-attempt-count").and_then(|text| text.parse().ok()).unwrap_or(1_u32);
    let failing = said("x-app-fail-first").is_some() && attempt == 1;
    let status = said("x-app-status").and_then(|text| text.parse().ok()).unwrap_or(200);
    let status = if failing { 503 } else { status };
    let told = json!({
        "app": &*name, "method": this.method, "path": this.target, "host": this.host, "version": this.version,
        "headers": this.headers, "body": String::from_utf8_lossy(&this.body),
        "peer": peer,
    });
    let body: Bytes = match said("x-app-size").and_then(|text| text.parse::<usize>().ok()) {
        Some(size) => octets(size.min(64 << 20)).into(),
        None => format!("{told}\n").into(),
    };
    let mut response = Response::new(Answer::default());
    match parts.method {
        // In HTTP/2 hyper would send what nobody waits for.
        http::Method::HEAD => {
            drop(response.headers_mut().insert("content-length", HeaderValue::from(body.len())))
        }
        _ => response.body_mut().data = Some(body),
    }
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response.headers_mut().insert("server", HeaderValue::from_static("adit-demo"));
    if let Some(pair) = said("x-app-header")
        && let Some((name, value)) = pair.split_once('=')
        && let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), HeaderValue::from_str(value))
    {
        response.headers_mut().append(name, value);
    }
    if said("x-app-trailers").is_some() {
        response.body_mut().trailers = Some(HeaderMap::from_iter([(
            http::HeaderName::from_static("x-app-trailer"),
            HeaderValue::from_static("1"),
        )]));
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-app-trailer"));
    }
    Ok(response)
}

/// So many octets, in which every displacement shows.
#[must_use]
pub fn octets(len: usize) -> Vec<u8> {
    #[expect(clippy::cast_possible_truncation, reason = "any octet will do")]
    (0..len).map(|i| (i.wrapping_mul(31) + i / 251) as u8).collect()
}

async fn read(mut body: Incoming) -> (Vec<u8>, BTreeMap<String, String>) {
    let (mut octets, mut trailers) = (Vec::new(), BTreeMap::new());
    while let Some(Ok(frame)) =
        std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await
    {
        match frame.into_data() {
            Ok(data) => octets.extend_from_slice(&data),
            Err(frame) => trailers.extend(frame.trailers_ref().map(texts).unwrap_or_default()),
        }
    }
    (octets, trailers)
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let known = texts.entry(name.to_string());
        known.and_modify(|known| *known = format!("{known},{value}")).or_insert(value);
    }
    texts
}

/// An answer's body.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let frame = this.data.take().map(Frame::data).or_else(|| this.trailers.take().map(Frame::trailers));
        std::task::Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match (&self.data, &self.trailers) {
            (data, None) => {
                http_body::SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
            _ => http_body::SizeHint::default(),
        }
    }
}
