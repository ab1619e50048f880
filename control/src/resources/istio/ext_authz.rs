//! Whom CUSTOM policies ask: `envoyExtAuthzGrpc` and `envoyExtAuthzHttp` of the mesh's settings (waypoint.md §11.11).
use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::l7::authz::{BodyInCheck, HttpCheck, Pattern, Protocol, Provider, Unusable};
use serde::Deserialize;

use super::super::problem::{Problems, Severity};
use super::duration;
use super::mesh_config::MeshConfig;

/// Fields of both kinds; those that only HTTP has are empty for gRPC.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    service: String,
    port: u16,
    timeout: Option<String>,
    #[serde(default)]
    fail_open: bool,
    status_on_error: Option<Status>,
    include_request_body_in_check: Option<Body>,
    /// The route is looked for after authorization in any case.
    #[serde(rename = "clearRouteCache")]
    _clear_route_cache: Option<bool>,
    path_prefix: Option<String>,
    #[serde(default)]
    include_headers_in_check: Vec<String>,
    #[serde(default)]
    include_request_headers_in_check: Vec<String>,
    #[serde(default)]
    include_additional_headers_in_check: BTreeMap<String, String>,
    #[serde(default)]
    headers_to_upstream_on_allow: Vec<String>,
    #[serde(default)]
    headers_to_downstream_on_allow: Vec<String>,
    #[serde(default)]
    headers_to_downstream_on_deny: Vec<String>,
}

/// A status, as a text (which Istio wants) or as a number (which people write).
#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    Text(String),
    Number(u16),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    max_request_bytes: u32,
    #[serde(default)]
    allow_partial_message: bool,
    #[serde(default)]
    pack_as_bytes: bool,
}

/// The provider of this name. Whatever is wrong with it is a problem of the mesh's settings.
pub(super) fn provider(
    name: &str,
    config: &MeshConfig,
    problems: &mut Problems,
) -> Result<Arc<Provider>, Unusable> {
    let broken = |problem: String| Unusable::Broken { name: name.into(), problem };
    let found = config.provider(name).ok_or_else(|| Unusable::Unknown(name.into()))?;
    let grpc = match &*found.kind {
        "envoyExtAuthzGrpc" => true,
        "envoyExtAuthzHttp" => false,
        kind => return Err(broken(format!("it is {kind}, and no authorizer"))),
    };
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.len() > 63 || !name.bytes().all(letter) || name.starts_with('-') || name.ends_with('-') {
        return Err(broken("names have up to 63 of a-z, 0-9 and -, and no - at an edge".to_owned()));
    }
    let before = problems.count();
    let spec = config.read::<Spec>(found, problems);
    if let Some(problem) = problems.iter().nth(before) {
        return Err(broken(format!("{}: {}", problem.field, problem.text)));
    }
    let read = spec.ok_or_else(|| "it cannot be read".to_owned()).and_then(|spec| read(name, grpc, &spec));
    read.map(Arc::new).map_err(|problem| {
        config.tell(&*found.field, Severity::Malformed, &*problem, problems);
        broken(problem)
    })
}

fn read(name: &str, grpc: bool, spec: &Spec) -> Result<Provider, String> {
    let (namespace, host) = match spec.service.split_once('/') {
        None => (None, spec.service.as_str()),
        Some((namespace, host)) => (Some(namespace.into()), host),
    };
    if host.is_empty() || host.contains(['/', '*']) || spec.port == 0 {
        return Err("service must be a host or NAMESPACE/HOST, and port 1 to 65535".to_owned());
    }
    let timeout = match &spec.timeout {
        None => Provider::TIMEOUT,
        Some(text) => duration::parse(text).map_err(|error| format!("timeout: {error}"))?,
    };
    if timeout.is_zero() {
        return Err("timeout must be more than nothing".to_owned());
    }
    let status_on_error = match &spec.status_on_error {
        None => Some(Provider::STATUS_ON_ERROR),
        Some(Status::Number(status)) => Some(*status),
        Some(Status::Text(text)) => text.parse().ok(),
    };
    let status_on_error = status_on_error
        .filter(|status| (200..600).contains(status))
        .ok_or("statusOnError must be an HTTP status from 200 to 599")?;
    let body = spec.include_request_body_in_check.as_ref().map(|body| BodyInCheck {
        max: body.max_request_bytes,
        allow_partial: body.allow_partial_message,
        as_bytes: body.pack_as_bytes,
    });
    if body.is_some_and(|body| body.max == 0) {
        return Err("includeRequestBodyInCheck.maxRequestBytes must be more than 0".to_owned());
    }
    Ok(Provider {
        name: name.into(),
        host: host.into(),
        namespace,
        port: spec.port,
        timeout,
        fail_open: spec.fail_open,
        status_on_error,
        body,
        protocol: if grpc { no_http(spec)? } else { Protocol::Http(http(spec)?) },
    })
}

fn no_http(spec: &Spec) -> Result<Protocol, String> {
    let lists = [
        &spec.include_headers_in_check,
        &spec.include_request_headers_in_check,
        &spec.headers_to_upstream_on_allow,
        &spec.headers_to_downstream_on_allow,
        &spec.headers_to_downstream_on_deny,
    ];
    let any = spec.path_prefix.is_some()
        || !spec.include_additional_headers_in_check.is_empty()
        || lists.iter().any(|list| !list.is_empty());
    if any {
        let text = "pathPrefix and which headers go are said for envoyExtAuthzHttp alone: with gRPC all go";
        return Err(text.to_owned());
    }
    Ok(Protocol::Grpc)
}

fn http(spec: &Spec) -> Result<HttpCheck, String> {
    let patterns = |field: &str, list: &[String]| {
        let pattern = |name: &String| match Pattern::new(&name.to_ascii_lowercase()) {
            Pattern::Present => Err(format!("{field}: * alone is not allowed")),
            pattern => Ok(pattern),
        };
        list.iter().map(pattern).collect::<Result<Vec<_>, _>>()
    };
    let path_prefix = spec.path_prefix.as_deref().unwrap_or_default();
    if !path_prefix.is_empty() && !path_prefix.starts_with('/') {
        return Err("pathPrefix must begin with /".to_owned());
    }
    let mut request_headers = patterns("includeHeadersInCheck", &spec.include_headers_in_check)?;
    let more = &spec.include_request_headers_in_check;
    request_headers.extend(patterns("includeRequestHeadersInCheck", more)?);
    let mut additional_headers = Vec::new();
    for (name, value) in &spec.include_additional_headers_in_check {
        let field = "includeAdditionalHeadersInCheck";
        if http::HeaderName::try_from(name).is_err() || http::HeaderValue::try_from(value).is_err() {
            return Err(format!("{field}.{name} is no header"));
        }
        if value.contains('%') {
            return Err(format!("{field}.{name}: values with % that are filled in are not supported"));
        }
        additional_headers.push((name.to_ascii_lowercase().into(), value.as_str().into()));
    }
    Ok(HttpCheck {
        path_prefix: path_prefix.into(),
        request_headers,
        additional_headers,
        upstream_on_allow: patterns("headersToUpstreamOnAllow", &spec.headers_to_upstream_on_allow)?,
        downstream_on_allow: patterns("headersToDownstreamOnAllow", &spec.headers_to_downstream_on_allow)?,
        downstream_on_deny: patterns("headersToDownstreamOnDeny", &spec.headers_to_downstream_on_deny)?,
    })
}
