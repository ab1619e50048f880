//! Responses: a status, a type, and a body that may be made while it is sent.
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};

/// Plain text.
const TEXT: &str = "text/plain; charset=utf-8";

/// The answer to one request.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `content-type`.
    pub content_type: &'static str,
    /// `allow`, for 405.
    pub allow: Option<&'static str>,
    /// The body.
    pub body: Body,
}

impl Response {
    /// Text with a status.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, content_type: TEXT, allow: None, body: Body::Whole(text.into().into()) }
    }

    /// 200 with a body of another type than text.
    #[must_use]
    pub const fn ok(content_type: &'static str, body: Body) -> Self {
        Self { status: 200, content_type, allow: None, body }
    }

    /// 404.
    #[must_use]
    pub fn not_found() -> Self {
        Self::text(404, "")
    }

    /// 405: only `allow` may be used.
    #[must_use]
    pub fn not_allowed(allow: &'static str, text: impl Into<String>) -> Self {
        Self { allow: Some(allow), ..Self::text(405, text) }
    }

    pub(super) fn into_http(self) -> hyper::Response<Body> {
        let mut response = hyper::Response::new(self.body);
        *response.status_mut() =
            hyper::StatusCode::from_u16(self.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// What a response carries.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Made piece by piece, each when the one before has been taken: a long answer needs no memory of its length, and
    /// others on the thread have their turn in between.
    Chunks(Box<dyn Iterator<Item = Vec<u8>> + Send>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Self::Chunks(_) => f.write_str("Chunks"),
        }
    }
}

impl Body {
    /// All octets of it; for tests, and where it is needed whole.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Whole(bytes) => bytes.into(),
            Self::Chunks(chunks) => chunks.flatten().collect(),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Self::Chunks(chunks) => chunks.next().map(Bytes::from),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Chunks(_) => SizeHint::default(),
        }
    }
}
