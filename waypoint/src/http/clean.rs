//! What a request must be like, and what is taken off it, before anybody decides about it (waypoint.md §5.6, §5.7, §22).
use std::borrow::Cow;

use adit_core::l7::{Normalization, normalize};
use adit_ops::l7::Details;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, StatusCode, Version, request};

use super::view::Head;
use crate::settings::Settings;

/// Why a request is refused before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) details: Details,
    pub(crate) text: &'static str,
}

const fn refused(status: StatusCode, details: Details, text: &'static str) -> Refused {
    Refused { status, details, text }
}

/// Headers of a connection alone (RFC 9110 §7.6.1); `te: trailers` and upgrades are seen to apart.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Headers that say who we or other proxies are: a client's own word for them counts for nothing.
const OURS: [&str; 7] = [
    "x-istio-source",
    "x-forwarded-network",
    "x-forwarded-client-cert",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
    "x-envoy-internal",
    "x-envoy-decorator-operation",
];

/// The head of a request, and whether it is refused: then it is as it came, to be told of.
pub(crate) fn clean(parts: request::Parts, how: Normalization) -> (Head, Result<(), Refused>) {
    let request::Parts { method, uri, version, headers, .. } = parts;
    let grpc = headers.get(header::CONTENT_TYPE).is_some_and(is_grpc);
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    let query = uri.query().map(Into::into);
    let mut head =
        Head { method, version, authority: Box::default(), path: path.into(), query, headers, grpc };
    let checked = check(&mut head, &uri, how);
    (head, checked)
}

fn check(head: &mut Head, uri: &http::Uri, how: Normalization) -> Result<(), Refused> {
    let Head { method, version, headers, .. } = head;
    if matches!(*version, Version::HTTP_09 | Version::HTTP_10) {
        let text = "HTTP/1.0 is not served here: use HTTP/1.1 or HTTP/2";
        return Err(refused(StatusCode::UPGRADE_REQUIRED, Details::Http1CodecError, text));
    }
    if headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH) {
        let text = "a request has either a content-length or a transfer-encoding";
        return Err(refused(StatusCode::BAD_REQUEST, Details::Http1CodecError, text));
    }
    if *method == Method::CONNECT {
        let text = "CONNECT is not served here: tunnels end before this";
        return Err(refused(StatusCode::BAD_REQUEST, Details::UpgradeFailed, text));
    }
    head.authority = authority(uri, headers)?;
    // Asterisk-form (RFC 9112 §3.2.4) is a path to us.
    let normal = normalize(&head.path, how).map_err(|_| {
        refused(StatusCode::BAD_REQUEST, Details::PathNormalizationFailed, "the path is no path")
    })?;
    if let Cow::Owned(normal) = normal {
        head.path = normal.into();
    }
    Ok(())
}

/// Whom the request is for: its target if that is absolute (RFC 9112 §3.2.2), else its one `Host`.
fn authority(uri: &http::Uri, headers: &mut HeaderMap) -> Result<Box<str>, Refused> {
    let missing = |text| refused(StatusCode::BAD_REQUEST, Details::MissingHostHeader, text);
    let mut hosts = headers.get_all(header::HOST).into_iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(missing("a request has one Host"));
    }
    let host = match (uri.authority(), first) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().map_err(|_| missing("Host is no host"))?,
        (None, None) => return Err(missing("the request has no Host")),
    };
    let odd = |c: char| !c.is_ascii_graphic() || matches!(c, '/' | '?' | '#' | '@' | '\\' | ',');
    if host.contains(odd) || !host.is_empty() && host.parse::<Authority>().is_err() {
        return Err(missing("Host is no host"));
    }
    let host: Box<str> = host.into();
    headers.remove(header::HOST);
    Ok(host)
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b';' | b'+')))
}

/// Whether a head is larger than heads may be. hyper has seen to those of HTTP/1.1.
pub(crate) fn is_too_large(head: &Head, settings: &Settings) -> bool {
    let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let octets: usize = head.headers.iter().map(field).sum();
    let line = head.authority.len() + head.path.len() + head.query.as_deref().map_or(0, str::len);
    head.headers.len() > settings.max_headers || octets.saturating_add(line) > settings.max_head
}

/// The refusal of one that is.
pub(crate) const TOO_LARGE: Refused =
    refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Details::RequestHeadersTooLarge, "");

/// Takes off what belongs to the connection that the message came on, and what only we may say.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    let trailers = headers.get(header::TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip(headers);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    for name in OURS {
        headers.remove(name);
    }
}

/// What means something as a header only (RFC 9110 §6.5.1): framing, whom a message is for, who asks, what the body is.
const NO_TRAILERS: [HeaderName; 13] = [
    header::CONTENT_LENGTH,
    header::HOST,
    header::TRAILER,
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CACHE_CONTROL,
    header::EXPECT,
    header::RANGE,
    header::LOCATION,
];

/// Takes off trailers what would be something else to whoever takes them for headers.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    strip_request(trailers);
    trailers.remove(header::TE);
    for name in &NO_TRAILERS {
        trailers.remove(name);
    }
}

/// Takes off what belongs to the connection that the answer came on.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    // The encoding has framed it (RFC 9112 §6.3): a length beside it is none.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    strip(headers);
}

fn strip(headers: &mut HeaderMap) {
    // What `Connection` names goes as well.
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Nobody may take away what framing and decisions rest on.
        .filter(|name| !matches!(*name, header::CONTENT_LENGTH | header::HOST | header::AUTHORIZATION))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove(header::TE);
    headers.remove("proxy-connection");
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(request: request::Builder) -> Result<Head, Refused> {
        let (head, checked) = clean(request.body(()).unwrap().into_parts().0, Normalization::Base);
        checked.map(|()| head)
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let get = |uri: &str| Request::get(uri);
        for (request, status) in [
            (get("/").version(Version::HTTP_10).header("host", "a"), 426),
            (get("/"), 400),
            (get("/").header("host", "a").header("host", "b"), 400),
            (get("/").header("host", "a b"), 400),
            (get("/").header("host", "a@b"), 400),
            (get("/").header("host", "[::1"), 400),
            (get("/").header("host", "a\"b"), 400),
            (
                get("/")
                    .header("host", "a")
                    .header("content-length", "1")
                    .header("transfer-encoding", "chunked"),
                400,
            ),
            (get("/../x").header("host", "a"), 400),
            (Request::connect("a:1").header("host", "a"), 400),
        ] {
            assert_eq!(head(request).unwrap_err().status, status);
        }
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let absolute = head(Request::get("http://b:8080/x?y").header("host", "a")).unwrap();
        assert_eq!(
            (&*absolute.authority, &*absolute.path, absolute.query.as_deref()),
            ("b:8080", "/x", Some("y"))
        );
        assert!(absolute.headers.is_empty());
        let origin = head(Request::get("/a/./b").header("host", "h")).unwrap();
        assert_eq!((&*origin.authority, &*origin.path), ("h", "/a/b"));
    }

    #[test]
    fn what_belongs_to_a_connection_goes_with_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Named, authorization"),
            ("x-named", "1"),
            ("authorization", "kept"),
            ("keep-alive", "1"),
            ("proxy-connection", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("x-istio-source", "waypoint"),
            ("x-forwarded-client-cert", "forged"),
            ("x-kept", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_request(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "te", "x-kept"]);
    }

    #[test]
    fn trailers_are_none_of_what_decides() {
        let mut trailers = HeaderMap::new();
        for name in [
            "x-kept",
            "grpc-status",
            "te",
            "host",
            "content-length",
            "authorization",
            "x-istio-source",
            "upgrade",
        ] {
            trailers.insert(name, HeaderValue::from_static("trailers"));
        }
        strip_trailers(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-kept"]);
    }

    #[test]
    fn grpc_is_what_says_so() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&HeaderValue::from_static(value)), expected, "{value}");
        }
    }
}
