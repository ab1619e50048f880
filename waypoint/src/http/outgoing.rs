//! A request as an endpoint gets it.
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};

use super::body::Body;
use super::decide::Plan;
use super::view::{Changed, Head};
use crate::upstream::UpstreamVersion;

/// A route, an authorizer or a limit has made something of a request that HTTP has no form for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRequest {
    /// Path and query, as they were rewritten.
    #[error("the rewritten path {0:?} is none")]
    Path(String),
    /// The host, as it was rewritten.
    #[error("the rewritten host {0:?} is none")]
    Host(String),
}

/// The request of one attempt.
///
/// # Errors
/// It cannot be written: nothing else is sent in its place.
pub(crate) fn outgoing(
    head: &Head,
    plan: &Plan,
    version: UpstreamVersion,
    body: Body,
) -> Result<Request<Body>, NoRequest> {
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
    *request.uri_mut() = uri(&plan.path, &host, version)?;
    match version {
        UpstreamVersion::Http1 => {
            join_cookies(&mut headers);
            let host = HeaderValue::from_str(&host).map_err(|_| NoRequest::Host(host))?;
            headers.insert(header::HOST, host);
        }
        UpstreamVersion::Http2 => *request.version_mut() = Version::HTTP_2,
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// What a request asks for: of HTTP/1.1 the host is a header.
fn uri(path: &str, host: &str, version: UpstreamVersion) -> Result<Uri, NoRequest> {
    let path: PathAndQuery = path.parse().map_err(|_| NoRequest::Path(path.to_owned()))?;
    match version {
        UpstreamVersion::Http1 => Ok(path.into()),
        UpstreamVersion::Http2 => {
            let authority: Authority = host.parse().map_err(|_| NoRequest::Host(host.to_owned()))?;
            let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path);
            uri.build().map_err(|_| NoRequest::Host(host.to_owned()))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_form_is_not_sent_as_something_else() {
        use UpstreamVersion::{Http1, Http2};
        assert_eq!(uri("/a?b", "host:80", Http1).unwrap().to_string(), "/a?b");
        assert_eq!(uri("/a?b", "host:80", Http2).unwrap().to_string(), "http://host:80/a?b");
        assert_eq!(uri("*", "host", Http1).unwrap().to_string(), "*");
        for version in [Http1, Http2] {
            assert_eq!(uri("/a b", "host", version), Err(NoRequest::Path("/a b".to_owned())));
        }
        for host in ["", "a b", "[::1", "a/b"] {
            assert_eq!(uri("/", host, Http2), Err(NoRequest::Host(host.to_owned())));
        }
    }
}
