//! What becomes something else (WebSockets): a connection of HTTP/1.1 (RFC 9110 §7.8), or a stream of HTTP/2 (RFC 8441). Endpoints
//! are asked in HTTP/1.1; then octets go both ways until both sides have ended.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, response};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::watch::Report;
use crate::shared::UnderWay;
use crate::worker::Worker;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What a client wants to do.
pub(crate) struct Upgrade {
    /// What it wants to speak.
    pub(crate) to: HeaderValue,
    on: OnUpgrade,
    /// It asks by an extended CONNECT of HTTP/2.
    extended: bool,
}

impl Upgrade {
    /// What a request asks for, if it asks for something that is served: WebSockets. One of HTTP/2 is given the form of HTTP/1.1,
    /// in which everybody decides about it: GET, with a key, of which HTTP/2 has no need (RFC 8441 §5).
    pub(crate) fn asked(worker: &Worker, request: &mut Request<Incoming>) -> Option<Self> {
        let is_websocket = |protocol: &Protocol| protocol.as_ref().eq_ignore_ascii_case(b"websocket");
        let extended = request.method() == Method::CONNECT
            && request.extensions().get::<Protocol>().is_some_and(is_websocket);
        let to = if extended { WEBSOCKET } else { wanted(request.headers())? };
        if extended {
            *request.method_mut() = Method::GET;
            let key = worker.draw(|rng| [rng.next_u64(), rng.next_u64()].map(u64::to_be_bytes).concat());
            if let Ok(key) = HeaderValue::from_str(&STANDARD.encode(key)) {
                request.headers_mut().entry(header::SEC_WEBSOCKET_KEY).or_insert(key);
            }
        }
        Some(Self { to, on: hyper::upgrade::on(request), extended })
    }

    /// Whether an answer's status would say yes to the client, and does not mean it: in HTTP/2 any success is a yes.
    pub(crate) fn is_mistaken(&self, status: StatusCode) -> bool {
        self.extended && status.is_success()
    }

    /// Tells the client yes, as its version has it; `to` is what the endpoint will speak. Relays when the answer is out.
    pub(crate) fn agree(
        self,
        parts: &mut response::Parts,
        to: Option<HeaderValue>,
        upstream: OnUpgrade,
        report: Report,
        under_way: Option<UnderWay>,
    ) {
        if self.extended {
            parts.status = StatusCode::OK;
            parts.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        } else {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(to) = to {
                parts.headers.insert(header::UPGRADE, to);
            }
        }
        tokio::task::spawn_local(relay(self.on, upstream, report, under_way));
    }
}

/// What `Upgrade` asks for, if it is one that is served.
fn wanted(headers: &HeaderMap) -> Option<HeaderValue> {
    let tokens = headers.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    let wanted =
        tokens.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let to = headers.get(header::UPGRADE).filter(|_| wanted)?;
    to.as_bytes().eq_ignore_ascii_case(b"websocket").then(|| to.clone())
}

/// Relays between a client and an endpoint that have agreed to. The request is over when that is.
async fn relay(downstream: OnUpgrade, upstream: OnUpgrade, mut report: Report, under_way: Option<UnderWay>) {
    match tokio::try_join!(downstream, upstream) {
        Ok((downstream, upstream)) => {
            let (mut downstream, mut upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
            match tokio::io::copy_bidirectional(&mut downstream, &mut upstream).await {
                Ok((_, sent)) => report.sent = sent,
                Err(error) => tracing::debug!(%error, "an upgraded connection has broken"),
            }
        }
        Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
    }
    drop(under_way);
}
