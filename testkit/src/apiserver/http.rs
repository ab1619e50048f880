//! The paths of a stand-in's API.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::Shared;
use super::kinds::ApiKind;
use super::state::{Refusal, status};

/// The body of an answer: whole, or as a watch goes on.
pub(super) enum Answer {
    Whole(Option<Bytes>),
    Watch(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Watch(lines) => lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }
}

/// Takes connections until the task is aborted.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        if !*shared.up.borrow() {
            continue;
        }
        let shared = Arc::clone(&shared);
        let mut cut = shared.cut.subscribe();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&shared)));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A client that goes away is no fault of ours.
                _ = connection => {}
                _ = cut.changed() => {}
            }
        });
    }
}

fn json_answer(code: u16, value: &Value) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some(value.to_string().into())));
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

fn refused(refusal: &Refusal) -> Response<Answer> {
    json_answer(refusal.0, &status(refusal))
}

/// As the real one says that it has no such path.
fn no_path() -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some("404 page not found\n".into())));
    *response.status_mut() = hyper::StatusCode::NOT_FOUND;
    response
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Answer>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let mut collected = Vec::new();
    let mut body = std::pin::pin!(body);
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            collected.extend_from_slice(&data);
        }
    }
    let path = parts.uri.path().to_owned();
    let query: BTreeMap<String, String> =
        parts.uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
    let asked = parts.uri.path_and_query().map_or_else(|| path.clone(), ToString::to_string);
    shared.change(|state| state.requests.push((parts.method.to_string(), asked)));
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let merges = parts.headers.get("content-type").is_some_and(|kind| kind == "application/merge-patch+json");
    let body = serde_json::from_slice::<Value>(&collected).unwrap_or_default();
    Ok(route(&parts.method, &segments, &query, &body, merges, &shared))
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let mut octets = value.bytes();
    let mut decoded = Vec::new();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'%' => {
                let hex = [octets.next()?, octets.next()?];
                u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?
            }
            octet => octet,
        });
    }
    Some((name.to_owned(), String::from_utf8(decoded).ok()?))
}

fn route(
    method: &Method,
    segments: &[&str],
    query: &BTreeMap<String, String>,
    body: &Value,
    merges: bool,
    shared: &Arc<Shared>,
) -> Response<Answer> {
    let (group, version, rest) = match segments {
        ["apis"] => return json_answer(200, &groups(shared.lock().kinds())),
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return no_path(),
    };
    if shared.lock().is_hidden(group) {
        return no_path();
    }
    if rest.is_empty() {
        let state = shared.lock();
        let of = state.kinds().iter().filter(|kind| (kind.group, kind.version) == (group, version));
        let resources: Vec<_> = of
            .map(|kind| json!({"name": kind.plural, "kind": kind.kind, "namespaced": kind.namespaced}))
            .collect();
        return match resources.is_empty() {
            true => no_path(),
            false => json_answer(200, &json!({"kind": "APIResourceList", "resources": resources})),
        };
    }
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let [plural, rest @ ..] = rest else { return no_path() };
    let Some(kind) = shared.lock().kind(group, version, plural) else { return no_path() };
    let of = namespace.unwrap_or_default();
    let verb = match (method, rest) {
        (&Method::GET, []) if query.contains_key("watch") => "watch",
        (&Method::GET, []) => "list",
        (&Method::GET, [_]) => "get",
        (&Method::PATCH | &Method::PUT, [_, "status"]) => "patch",
        _ => {
            return refused(&(
                405,
                "the server does not allow this method on the requested resource".to_owned(),
            ));
        }
    };
    if shared.lock().is_forbidden(verb, plural) {
        return refused(&(
            403,
            format!("{plural} is forbidden: User \"who\" cannot {verb} resource \"{plural}\""),
        ));
    }
    match (verb, rest) {
        ("watch", _) => watch(kind, namespace, query, shared),
        ("list", _) => list(kind, namespace, query, shared),
        ("get", [name, ..]) => match shared.lock().object(plural, of, name) {
            Some(object) => json_answer(200, object),
            None => refused(&(404, format!("{plural} \"{name}\" not found"))),
        },
        (_, [name, ..]) => {
            let whole = method == Method::PUT;
            if !whole && !merges {
                return refused(&(415, "the body of the request was in an unknown format".to_owned()));
            }
            let upon = body.pointer("/metadata/resourceVersion").and_then(Value::as_str);
            let status = body.get("status").cloned().unwrap_or_default();
            match shared.change(|state| state.write_status(plural, of, name, upon, status, whole)) {
                Ok(object) => json_answer(200, &object),
                Err(refusal) => refused(&refusal),
            }
        }
        _ => no_path(),
    }
}

fn groups(kinds: &[ApiKind]) -> Value {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in kinds.iter().filter(|kind| !kind.group.is_empty()) {
        let versions = groups.entry(kind.group).or_default();
        if !versions.contains(&kind.version) {
            versions.push(kind.version);
        }
    }
    let group = |(name, versions): (&&str, &Vec<&str>)| {
        let versions: Vec<_> = versions.iter().map(|version| json!({"version": version})).collect();
        json!({"name": name, "versions": versions})
    };
    json!({"kind": "APIGroupList", "groups": groups.iter().map(group).collect::<Vec<_>>()})
}

/// The one object that is selected, if any.
fn selected(query: &BTreeMap<String, String>) -> Option<&str> {
    query.get("fieldSelector")?.strip_prefix("metadata.name=")
}

fn list(
    kind: ApiKind,
    namespace: Option<&str>,
    query: &BTreeMap<String, String>,
    shared: &Shared,
) -> Response<Answer> {
    let state = shared.lock();
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let begin: usize = query.get("continue").and_then(|begin| begin.parse().ok()).unwrap_or_default();
    let mut all = state.list(kind.plural, namespace, selected(query)).split_off(begin);
    let mut metadata = json!({"resourceVersion": state.version().to_string()});
    if all.len() > limit {
        all.truncate(limit);
        metadata["continue"] = (begin + limit).to_string().into();
    }
    // In lists, objects do not say what they are.
    for object in &mut all {
        if let Some(fields) = object.as_object_mut() {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
    }
    json_answer(200, &json!({"kind": format!("{}List", kind.kind), "metadata": metadata, "items": all}))
}

fn watch(
    kind: ApiKind,
    namespace: Option<&str>,
    query: &BTreeMap<String, String>,
    shared: &Arc<Shared>,
) -> Response<Answer> {
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<u64>().ok());
    let from = number("resourceVersion").unwrap_or_default();
    let period = Duration::from_secs(number("timeoutSeconds").unwrap_or(300));
    let name = selected(query).map(str::to_owned);
    let namespace = namespace.map(str::to_owned);
    let (lines, body) = mpsc::channel(16);
    let shared = Arc::clone(shared);
    let mut changed = shared.changed.subscribe();
    let tell = async move {
        let mut at = from;
        loop {
            changed.borrow_and_update();
            let (changes, now, there) = {
                let state = shared.lock();
                (
                    state.since(at),
                    state.version(),
                    state.kind(kind.group, kind.version, kind.plural).is_some(),
                )
            };
            let line = |what: &str, object: &Value| {
                Bytes::from(format!("{}\n", json!({"type": what, "object": object})))
            };
            let changes = match changes {
                Ok(changes) => changes,
                Err(refusal) => {
                    let _ = lines.send(line("ERROR", &status(&refusal))).await;
                    return;
                }
            };
            for change in changes {
                let ours = change.plural == kind.plural
                    && namespace.as_ref().is_none_or(|of| *of == change.namespace)
                    && name.as_ref().is_none_or(|of| *of == change.name);
                if ours && lines.send(line(change.what, &change.object)).await.is_err() {
                    return;
                }
            }
            at = now;
            // The real one ends watches of a kind that is no more.
            if !there {
                return;
            }
            tokio::select! {
                () = lines.closed() => return,
                changed = changed.changed() => if changed.is_err() { return },
            }
        }
    };
    tokio::spawn(tokio::time::timeout(period, tell));
    let mut response = Response::new(Answer::Watch(body));
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}
