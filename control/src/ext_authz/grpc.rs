//! Authorizers that are asked by gRPC: `envoy.service.auth.v3.Authorization/Check`.
use std::collections::HashMap;
use std::net::SocketAddr;

use adit_core::identity::Identity;
use adit_core::l7::authz::Provider;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prost::Message as _;

use super::{Answer, Change, Changes, Denied, How, HttpQuestion, PARTIAL, Question, in_query, theirs};
use crate::grpc::frame;
use crate::proto::auth::attribute_context::{HttpRequest, Peer, Request, TlsSession};
use crate::proto::auth::check_response::HttpResponse;
use crate::proto::auth::{
    Address, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption,
    OkHttpResponse, SocketAddress,
};

/// Path of the call.
pub const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The call as a request of HTTP/2, to be sent to the provider's host and port.
///
/// # Errors
/// The provider's host is none: the request is to be refused as for [`Answer::Failed`].
pub fn call(question: &Question<'_>, provider: &Provider) -> Result<http::Request<Bytes>, http::Error> {
    let (host, port) = (&*provider.host, provider.port);
    // Of an address of IPv6 the colons are its own.
    let bare = host.contains(':') && !host.starts_with('[');
    let authority = if bare { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    frame::post(&authority, METHOD, provider.timeout, request(question, provider))
}

/// What a whole answer to the call means: its status and headers, its body, its trailers.
#[must_use]
pub fn answered(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    trailers: Option<&HeaderMap>,
) -> Answer {
    if status != StatusCode::OK {
        return Answer::Failed(format!("the authorizer answers with status {status}"));
    }
    match frame::status(headers, trailers).map(HeaderValue::as_bytes) {
        Some(b"0") => answer(body),
        Some(code) => {
            let text = String::from_utf8_lossy(code);
            Answer::Failed(format!("the authorizer answers with gRPC status {text}"))
        }
        None => Answer::Failed("the authorizer's answer ends without a gRPC status".to_owned()),
    }
}

/// The body of the call: the one message, behind its prefix.
#[must_use]
pub fn request(question: &Question<'_>, provider: &Provider) -> Bytes {
    let http = question.http.as_ref().map(|http| http_request(http, provider));
    let time = i64::try_from(question.time.0).unwrap_or(i64::MAX);
    let attributes = AttributeContext {
        source: Some(peer(question.source, question.source_address)),
        destination: Some(peer(question.own, question.destination)),
        request: Some(Request { time: Some(prost_types::Timestamp { seconds: time, nanos: 0 }), http }),
        tls_session: question.sni.map(|sni| TlsSession { sni: sni.to_owned() }),
    };
    frame::framed(&CheckRequest { attributes: Some(attributes) })
}

fn peer(identity: Option<&Identity>, address: SocketAddr) -> Peer {
    let socket = SocketAddress {
        protocol: 0,
        address: address.ip().to_canonical().to_string(),
        port_value: address.port().into(),
    };
    Peer {
        address: Some(Address { socket_address: Some(socket) }),
        principal: identity.map(ToString::to_string).unwrap_or_default(),
    }
}

fn http_request(http: &HttpQuestion<'_>, provider: &Provider) -> HttpRequest {
    let mut headers: HashMap<String, String> = HashMap::new();
    for name in http.headers.keys() {
        let values = http.headers.get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.as_str().to_owned(), values.join(","));
    }
    for (name, value) in [
        (":authority", http.authority),
        (":method", http.method.as_str()),
        (":path", http.path),
        (":scheme", http.scheme),
    ] {
        headers.insert(name.to_owned(), value.to_owned());
    }
    let length = http.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut told = HttpRequest {
        id: headers.get("x-request-id").cloned().unwrap_or_default(),
        method: http.method.as_str().to_owned(),
        path: http.path.to_owned(),
        host: http.authority.to_owned(),
        scheme: http.scheme.to_owned(),
        size: length.unwrap_or(-1),
        protocol: http.protocol.to_owned(),
        ..HttpRequest::default()
    };
    if let Some(body) = &http.body {
        headers.insert(PARTIAL.as_str().to_owned(), body.partial.to_string());
        // A text that was cut in the middle of a character is none.
        match String::from_utf8(body.octets.to_vec()) {
            Ok(text) if provider.body.is_none_or(|body| !body.as_bytes) => told.body = text,
            Ok(text) => told.raw_body = text.into_bytes(),
            Err(error) => told.raw_body = error.into_bytes(),
        }
    }
    told.headers = headers;
    told
}

/// What the body of the answer means. It counts only if the call itself has ended with status 0; otherwise there was no answer
/// ([`Answer::Failed`]).
#[must_use]
pub fn answer(framed: &[u8]) -> Answer {
    let failed = |text: &str| Answer::Failed(format!("the authorizer's answer {text}"));
    let message = match frame::one(framed) {
        Ok(message) => message,
        Err(error) => return failed(&error.to_string()),
    };
    let Ok(response) = CheckResponse::decode(message) else { return failed("is no CheckResponse") };
    let allowed = response.status.is_none_or(|status| status.code == 0);
    match (allowed, response.http_response) {
        (true, None) => Answer::Allow(Box::default()),
        (true, Some(HttpResponse::OkResponse(ok))) => match changes(&ok) {
            Ok(changes) => Answer::Allow(Box::new(changes)),
            Err(text) => failed(&text),
        },
        // It says yes and no at once.
        (true, Some(HttpResponse::DeniedResponse(denied))) => Answer::Deny(refusal(&denied)),
        (_, Some(HttpResponse::ErrorResponse(_))) => failed("is that it could not decide"),
        (false, Some(HttpResponse::DeniedResponse(denied))) => Answer::Deny(refusal(&denied)),
        (false, None | Some(HttpResponse::OkResponse(_))) => {
            Answer::Deny(refusal(&DeniedHttpResponse::default()))
        }
    }
}

/// What cannot be a header of the client's answer is left out: the refusal counts in any case.
fn refusal(denied: &DeniedHttpResponse) -> Box<Denied> {
    let status = denied.status.as_ref().and_then(|status| u16::try_from(status.code).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut headers = HeaderMap::new();
    for change in denied.headers.iter().filter_map(|option| change(option).ok().flatten()) {
        change.apply(&mut headers);
    }
    let body = Bytes::copy_from_slice(denied.body.as_bytes());
    Denied::new(status.unwrap_or(StatusCode::FORBIDDEN), headers, body)
}

fn changes(ok: &OkHttpResponse) -> Result<Changes, String> {
    let all = |options: &[HeaderValueOption]| {
        options.iter().filter_map(|option| change(option).transpose()).collect::<Result<Vec<_>, _>>()
    };
    let name = |name: &String| {
        HeaderName::try_from(name).map_err(|_| format!("removes {name:?}, which is no header"))
    };
    let names: Vec<HeaderName> = ok.headers_to_remove.iter().map(name).collect::<Result<_, _>>()?;
    let query_set: Vec<_> =
        ok.query_parameters_to_set.iter().map(|of| (of.key.clone(), of.value.clone())).collect();
    if query_set.iter().any(|(key, value)| !in_query(key) || !in_query(value) || key.contains('=')) {
        return Err("sets a query parameter that is none".to_owned());
    }
    Ok(Changes {
        remove: names.into_iter().filter(theirs).collect(),
        request: all(&ok.headers)?,
        response: all(&ok.response_headers_to_add)?,
        query_set,
        query_remove: ok.query_parameters_to_remove.clone(),
    })
}

/// `None`: it is not theirs to change. Where they do not say how, they mean in place of what is there: that is what Envoy does
/// with these messages, whatever the default of the field.
fn change(option: &HeaderValueOption) -> Result<Option<Change>, String> {
    let Some(header) = &option.header else { return Ok(None) };
    let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
    if header.key.starts_with(':') || (value.is_empty() && !option.keep_empty_value) {
        return Ok(None);
    }
    let name = HeaderName::try_from(&header.key)
        .map_err(|_| format!("sets {:?}, which is no header", header.key))?;
    let value = HeaderValue::from_bytes(value).map_err(|_| format!("sets {name} to what is no value"))?;
    let how = match (option.append, option.append_action) {
        (Some(true), _) => How::Append,
        (_, 1) => How::AddIfAbsent,
        (_, 3) => How::OverwriteIfThere,
        (_, _) => How::Overwrite,
    };
    Ok(theirs(&name).then_some(Change { how, name, value }))
}
