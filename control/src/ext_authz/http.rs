//! Authorizers that are asked by HTTP: they get the request itself, without most of its headers, and answer with its status.
use adit_core::l7::authz::{HttpCheck, Pattern};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};

use super::{Answer, Change, Changes, Denied, How, HttpQuestion, PARTIAL, theirs};

/// The request to the authorizer: its path is to be asked of the provider's host.
///
/// # Errors
/// The request is none that can be written: it is to be refused as for [`Answer::Failed`].
pub fn request(question: &HttpQuestion<'_>, check: &HttpCheck) -> Result<Request<Bytes>, http::Error> {
    let body = question.body.as_ref().map(|body| body.octets.clone()).unwrap_or_default();
    let prefix = check.path_prefix.strip_suffix('/').unwrap_or(&check.path_prefix);
    let path = [prefix, question.path].concat();
    let mut headers = HeaderMap::new();
    for (name, value) in question.headers {
        let goes = *name == AUTHORIZATION || named(&check.request_headers, name);
        if goes && theirs(name) {
            headers.append(name, value.clone());
        }
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Some(body) = &question.body {
        headers.insert(PARTIAL, HeaderValue::from_static(if body.partial { "true" } else { "false" }));
    }
    for (name, value) in &check.additional_headers {
        headers.insert(HeaderName::try_from(&**name)?, HeaderValue::try_from(&**value)?);
    }
    // After those, of which none may say for whom the request was.
    headers.insert(HOST, HeaderValue::try_from(question.authority)?);
    let mut request = Request::builder().method(question.method).uri(path).body(body)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// What the answer means: status 200 allows, any of 5xx is none, everything else refuses.
#[must_use]
pub fn answer(status: StatusCode, headers: &HeaderMap, body: Bytes, check: &HttpCheck) -> Answer {
    if status.is_server_error() {
        return Answer::Failed(format!("the authorizer answers with status {status}"));
    }
    let some = |patterns: &[Pattern]| {
        let named = headers.iter().filter(|(name, _)| theirs(name) && named(patterns, name));
        let mut changes: Vec<Change> = Vec::new();
        for (name, value) in named {
            // Of several values the first takes the place of what is there, the others join it.
            let again = changes.iter().any(|change| change.name == *name);
            let how = if again { How::Append } else { How::Overwrite };
            changes.push(Change { how, name: name.clone(), value: value.clone() });
        }
        changes
    };
    if status == StatusCode::OK {
        return Answer::Allow(Box::new(Changes {
            request: some(&check.upstream_on_allow),
            response: some(&check.downstream_on_allow),
            ..Changes::default()
        }));
    }
    let list = &check.downstream_on_deny;
    let always = [WWW_AUTHENTICATE, LOCATION];
    let goes = |name: &HeaderName| list.is_empty() || always.contains(name) || named(list, name);
    let mut told = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| theirs(name) && goes(name)) {
        told.append(name, value.clone());
    }
    Answer::Deny(Denied::new(status, told, body))
}

fn named(patterns: &[Pattern], name: &HeaderName) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name.as_str().as_bytes(), true))
}
