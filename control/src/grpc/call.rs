//! A gRPC call with a stream in each direction, whose responses are given out as they arrive, not when they are whole.
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{Request, StatusCode};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use prost::Message;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service as _;

use super::Channel;
use super::frame::framed;

/// Messages to the server, as the body of a request.
struct Outgoing<M>(mpsc::Receiver<M>);

impl<M: Message> http_body::Body for Outgoing<M> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|message| Some(Ok(Frame::data(framed(&message?)))))
    }
}

/// What comes from the server: octets of messages behind their prefixes, cut anywhere.
#[derive(Debug)]
pub struct Octets(Incoming);

/// Opens a call of `method`, such as `/package.Service/Method`; answers when the server has sent headers.
///
/// # Errors
/// The connection has failed, or the server refuses the call.
pub async fn call<M: Message + 'static>(
    mut channel: Channel,
    method: &'static str,
    requests: mpsc::Receiver<M>,
) -> Result<Octets, Status> {
    let request = Request::post(method)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Body::new(Outgoing(requests)))
        .map_err(|error| Status::internal(error.to_string()))?;
    let response = channel.call(request).await.map_err(Status::from_error)?;
    if response.status() != StatusCode::OK {
        let text = format!("HTTP status {}", response.status());
        return Err(Status::new(code(response.status()), text));
    }
    // An answer of headers alone carries its status there.
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(Octets(response.into_body())),
    }
}

/// What gRPC makes of HTTP (its `http-grpc-status-mapping.md`).
const fn code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

impl Octets {
    /// The next octets; `None` when the server has ended the call in order.
    ///
    /// # Errors
    /// The connection has failed, or the server ends the call for a reason.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.0).poll_frame(cx)).await;
            let Some(frame) = frame else { return Err(Status::unknown("the stream ended without a status")) };
            let frame = frame.map_err(|error| Status::from_error(error.into()))?;
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return match Status::from_header_map(&trailers) {
                        Some(status) if status.code() == Code::Ok => Ok(None),
                        Some(status) => Err(status),
                        None => Err(Status::unknown("the stream ended without a status")),
                    };
                }
            }
        }
    }
}
