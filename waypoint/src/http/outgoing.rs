//! A request as an endpoint gets it.
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Uri, Version};

use super::body::Body;
use super::decide::Plan;
use super::view::{Changed, Head};
use crate::upstream::UpstreamVersion;

/// The request of one attempt.
pub(crate) fn outgoing(head: &Head, plan: &Plan, version: UpstreamVersion, body: Body) -> Request<Body> {
    let mut headers = head.headers.clone();
    let mut host = plan.host.as_deref().unwrap_or(&head.authority).to_owned();
    for changes in &plan.request {
        changes.apply(&mut Changed(&mut headers));
    }
    for (name, value) in &plan.more {
        headers.append(name, value.clone());
    }
    // A filter that sets Host means the one that is sent.
    if let Some(set) = headers.remove(header::HOST)
        && let Ok(set) = set.to_str()
    {
        set.clone_into(&mut host);
    }
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    match version {
        UpstreamVersion::Http1 => {
            join_cookies(&mut headers);
            *request.uri_mut() = plan.path.parse().unwrap_or_else(|_| Uri::from_static("/"));
            if let Ok(host) = HeaderValue::from_str(&host) {
                headers.insert(header::HOST, host);
            }
        }
        UpstreamVersion::Http2 => {
            *request.version_mut() = Version::HTTP_2;
            let uri =
                Uri::builder().scheme("http").authority(host.as_str()).path_and_query(plan.path.as_str());
            *request.uri_mut() = uri.build().unwrap_or_else(|_| Uri::from_static("http://invalid/"));
        }
    }
    *request.headers_mut() = headers;
    request
}

/// HTTP/2 may have a cookie in several fields, HTTP/1.1 has one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).into_iter();
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let mut joined = [first.as_bytes(), second.as_bytes()].join(&b"; "[..]);
        for more in cookies {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(more.as_bytes());
        }
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            headers.insert(header::COOKIE, joined);
        }
    }
}
