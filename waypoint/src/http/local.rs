//! Answers of our own: plain ones, and for gRPC the same in its words (waypoint.md §10.9, §26).
use std::ops::{Deref, DerefMut};

use adit_ops::l7::{Details, ResponseFlags};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::body::Body;
use crate::percent;

/// An answer that no backend has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local(Box<Said>);

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) flags: ResponseFlags,
    pub(crate) details: Details,
    pub(crate) text: Bytes,
    pub(crate) headers: HeaderMap,
    /// A status of gRPC of its own, and whether it is for whoever asks.
    grpc: Option<(u16, bool)>,
}

impl Deref for Local {
    type Target = Said;

    fn deref(&self) -> &Said {
        &self.0
    }
}

impl DerefMut for Local {
    fn deref_mut(&mut self) -> &mut Said {
        &mut self.0
    }
}

impl Local {
    /// With a text for people.
    pub(crate) fn new(status: u16, flags: ResponseFlags, details: Details, text: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(Box::new(Said {
            status,
            flags,
            details,
            text: text.into(),
            headers: HeaderMap::new(),
            grpc: None,
        }))
    }

    /// For a client that has more under way than its share.
    pub(crate) fn overloaded() -> Self {
        let text = "this client has too much under way";
        Self::new(503, ResponseFlags::OVERLOAD_MANAGER, Details::Overload, text)
            .with("x-envoy-overloaded", "true")
    }

    /// With one more header; a value that is none is left out.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(HeaderName::from_static(name), value);
        }
        self
    }

    /// With this status for whoever asks in gRPC.
    pub(crate) fn with_grpc(mut self, status: u16) -> Self {
        self.grpc = Some((status, false));
        self
    }

    /// In gRPC, whoever asks, with this status.
    pub(crate) fn in_grpc(mut self, status: u16) -> Self {
        self.grpc = Some((status, true));
        self
    }

    /// The message. A gRPC client gets trailers only, with a status that means the same.
    pub(crate) fn into_response(self, grpc: bool) -> Response<Body> {
        let Said { status, text, headers, grpc: own, .. } = *self.0;
        let mut response = Response::new(Body::Empty);
        *response.headers_mut() = headers;
        if grpc || own.is_some_and(|(_, all)| all) {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(
                "grpc-status",
                HeaderValue::from(own.map_or_else(|| grpc_status(status), |(status, _)| status)),
            );
            if let Ok(message) = HeaderValue::from_str(&percent::encoded(&text, is_plain)) {
                headers.insert("grpc-message", message);
            }
            return response;
        }
        *response.status_mut() = status;
        if !text.is_empty() {
            let plain = HeaderValue::from_static("text/plain");
            response.headers_mut().entry(header::CONTENT_TYPE).or_insert(plain);
            *response.body_mut() = text.into();
        }
        response
    }
}

/// The answer to a HEAD: how long it would be, and nothing of it (RFC 9110 §9.3.2). hyper sees to that in HTTP/1.1 alone, and
/// clients of HTTP/2 take it as a breach.
pub(crate) fn without_content(mut response: Response<Body>) -> Response<Body> {
    if let Body::Text(text) = std::mem::replace(response.body_mut(), Body::Empty) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    }
    response
}

/// The status of gRPC that means what a status of HTTP does, as Envoy has it.
pub(crate) const fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// Of `grpc-message` (gRPC over HTTP/2, "Responses").
const fn is_plain(octet: u8) -> bool {
    matches!(octet, b' '..=b'~') && octet != b'%'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_client_is_told_in_its_own_words() {
        let local = || Local::new(503, ResponseFlags::NONE, Details::NoHealthyUpstream, "no 100% up\n");
        let plain = local().into_response(false);
        assert_eq!(
            (plain.status().as_u16(), &plain.headers()["content-type"]),
            (503, &HeaderValue::from_static("text/plain"))
        );
        let grpc = local().with("x-a", "b").into_response(true);
        assert_eq!(grpc.status(), 200);
        assert_eq!(grpc.headers()["grpc-status"], "14");
        assert_eq!(grpc.headers()["grpc-message"], "no 100%25 up%0A");
        assert_eq!(grpc.headers()["x-a"], "b");
        assert!(matches!(grpc.into_body(), Body::Empty));
    }

    #[test]
    fn a_head_is_told_how_long_the_answer_would_be() {
        let local = Local::new(404, ResponseFlags::NONE, Details::RouteNotFound, "12345");
        let response = without_content(local.into_response(false));
        assert_eq!(response.headers()["content-length"], "5");
        assert!(matches!(response.into_body(), Body::Empty));
    }

    #[test]
    fn statuses_map_as_envoys_do() {
        let cases = [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (502, 14),
            (503, 14),
            (504, 14),
            (500, 2),
            (418, 2),
        ];
        for (http, grpc) in cases {
            assert_eq!(grpc_status(StatusCode::from_u16(http).unwrap()), grpc);
        }
    }
}
