//! Asking whoever must agree to a request or connection first (CUSTOM policies, waypoint.md §11.11–11.12).
use adit_control::ext_authz::{self, Answer, Changes, Denied, HttpQuestion, Question};
use adit_core::l7::authz::{BodyInCheck, Protocol, Provider};
use adit_ops::l7::{Details, ResponseFlags};
use http::{StatusCode, Version};

use super::body::{Broken, Kept};
use super::call::{Whole, call, target};
use super::decide::wall;
use super::local::Local;
use super::view::Head;
use crate::conn::Conn;
use crate::route::Now;
use crate::upstream::UpstreamVersion;
use crate::worker::Worker;

/// Asks about a request. Nobody who cannot be asked says yes, unless its configuration does (`failOpen`).
pub(crate) async fn request(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    head: &Head,
    kept: &Kept,
    provider: &Provider,
) -> Result<Changes, Local> {
    let body = match provider.body {
        None => None,
        Some(shown) => Some(beginning(kept, shown).await?),
    };
    let path = head.target(&head.path);
    let http = HttpQuestion {
        method: &head.method,
        scheme: "http",
        authority: &head.authority,
        path: &path,
        headers: &head.headers,
        protocol: if head.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" },
        body,
    };
    settled(worker, now, conn, provider, None, Some(http)).await.map_err(|denied| {
        let flags = ResponseFlags::UNAUTHORIZED_EXTERNAL_SERVICE;
        let mut local = Local::new(denied.status.as_u16(), flags, details(&denied), denied.body);
        local.headers = denied.headers;
        local
    })
}

/// Asks about a connection that is not HTTP, of which only its ends are known; `name` is the server that a TLS client asks for.
pub(crate) async fn connection(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    name: Option<&str>,
    provider: &Provider,
) -> Result<(), Details> {
    let answer = settled(worker, now, conn, provider, name, None).await;
    answer.map(drop).map_err(|denied| details(&denied))
}

fn details(denied: &Denied) -> Details {
    if denied.details == "ext_authz_error" { Details::ExtAuthzError } else { Details::ExtAuthzDenied }
}

/// What is to become of whatever is asked about.
async fn settled(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    provider: &Provider,
    sni: Option<&str>,
    http: Option<HttpQuestion<'_>>,
) -> Result<Changes, Box<Denied>> {
    let question = Question {
        time: wall(),
        source: Some(&conn.client),
        source_address: conn.source,
        own: Some(now.local.identity_ref()),
        destination: conn.local,
        sni,
        http,
    };
    let answer = ask(worker, now, conn, provider, &question).await;
    if let Answer::Failed(why) = &answer {
        tracing::warn!(provider = %provider.name, why, "an authorizer does not answer");
    }
    answer.settled(provider)
}

async fn ask(
    worker: &Worker,
    now: &Now,
    conn: &Conn,
    provider: &Provider,
    question: &Question<'_>,
) -> Answer {
    let Some(target) = target(now, &provider.host, provider.namespace.as_deref(), provider.port) else {
        return Answer::Failed(format!("the mesh has no service {}", provider.host));
    };
    let (request, version) = match (&provider.protocol, &question.http) {
        (Protocol::Grpc, _) => (ext_authz::grpc::call(question, provider), UpstreamVersion::Http2),
        (Protocol::Http(check), Some(http)) => {
            (ext_authz::http::request(http, check), UpstreamVersion::Http1)
        }
        (Protocol::Http(_), None) => return Answer::Failed("it is asked about requests alone".to_owned()),
    };
    let request = match request {
        Ok(request) => request,
        Err(error) => return Answer::Failed(error.to_string()),
    };
    let whole = match call(worker, now, conn, &target, version, request, provider.timeout).await {
        Ok(whole) => whole,
        Err(why) => return Answer::Failed(why),
    };
    let Whole { status, headers, body, trailers } = whole;
    match &provider.protocol {
        Protocol::Grpc => ext_authz::grpc::answered(status, &headers, &body, trailers.as_ref()),
        Protocol::Http(check) => ext_authz::http::answer(status, &headers, body, check),
    }
}

/// As much of the body as an authorizer is shown.
async fn beginning(kept: &Kept, shown: BodyInCheck) -> Result<ext_authz::Body, Local> {
    let max = usize::try_from(shown.max).unwrap_or(usize::MAX);
    let kept = kept.beginning(max).await.map_err(Broken::local)?;
    let (octets, partial) = kept.ok_or_else(Local::overloaded)?;
    if partial && !shown.allow_partial {
        let status = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
        return Err(Local::new(
            status,
            ResponseFlags::NONE,
            Details::RequestPayloadTooLarge,
            "Payload Too Large",
        ));
    }
    Ok(ext_authz::Body { octets, partial })
}
