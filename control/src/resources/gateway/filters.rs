//! Filters of a rule and of a backend (`filters`), and which of them can be together.
use adit_core::l7::{
    Cors, HeaderChanges, Mirror, PathMatch, PathRewrite, Redirect, Rewrite, RouteMatch, Scheme, ServerName,
    valid_path,
};
use serde::Deserialize;
use serde_json::Value;

use super::reading::Reading;
use super::{backends, cors, headers};

/// A filter: its type, and under a name of its own what it does.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    r#type: String,
    request_header_modifier: Option<Value>,
    response_header_modifier: Option<Value>,
    request_mirror: Option<Value>,
    request_redirect: Option<Value>,
    #[serde(rename = "urlRewrite")]
    url_rewrite: Option<Value>,
    cors: Option<Value>,
    extension_ref: Option<Value>,
    external_auth: Option<Value>,
}

impl Filter {
    /// The parts that are there, by name.
    fn parts(self) -> impl Iterator<Item = (&'static str, Value)> {
        let parts = [
            ("requestHeaderModifier", self.request_header_modifier),
            ("responseHeaderModifier", self.response_header_modifier),
            ("requestMirror", self.request_mirror),
            ("requestRedirect", self.request_redirect),
            ("urlRewrite", self.url_rewrite),
            ("cors", self.cors),
            ("extensionRef", self.extension_ref),
            ("externalAuth", self.external_auth),
        ];
        parts.into_iter().filter_map(|(name, part)| Some((name, part?)))
    }
}

/// The field that a type of filter has its part in.
fn part_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "RequestHeaderModifier" => "requestHeaderModifier",
        "ResponseHeaderModifier" => "responseHeaderModifier",
        "RequestMirror" => "requestMirror",
        "RequestRedirect" => "requestRedirect",
        "URLRewrite" => "urlRewrite",
        "CORS" => "cors",
        "ExtensionRef" => "extensionRef",
        "ExternalAuth" => "externalAuth",
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedirectSpec {
    scheme: Option<String>,
    hostname: Option<String>,
    path: Option<PathModifier>,
    port: Option<i64>,
    status_code: Option<i64>,
}

#[derive(Deserialize)]
struct RewriteSpec {
    hostname: Option<String>,
    path: Option<PathModifier>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PathModifier {
    r#type: String,
    replace_full_path: Option<String>,
    replace_prefix_match: Option<String>,
}

/// What the filters of a rule come to.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(super) request: Option<HeaderChanges>,
    pub(super) response: Option<HeaderChanges>,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) redirect: Option<Redirect>,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) cors: Option<Cors>,
}

/// Which kind of rule filters are of: the API knows fewer for gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of<'a> {
    Http { matches: &'a [RouteMatch] },
    Grpc,
}

/// Reads the filters of a rule; what cannot be honoured makes it invalid.
pub(super) fn read(reading: &mut Reading<'_>, rule: &str, values: &[Value], of: Of<'_>) -> Filters {
    let all = format!("{rule}.filters");
    reading.limit(&all, values.len(), 16);
    let mut filters = Filters::default();
    for (index, value) in values.iter().enumerate() {
        let field = format!("{all}[{index}]");
        let Some((name, part)) = part(reading, &field, value) else { continue };
        let field = format!("{field}.{name}");
        let twice = match name {
            "requestHeaderModifier" => {
                let changes = headers::changes(reading, &field, &part, true);
                filters.request.replace(changes).is_some()
            }
            "responseHeaderModifier" => {
                let changes = headers::changes(reading, &field, &part, false);
                filters.response.replace(changes).is_some()
            }
            "requestMirror" => {
                filters.mirrors.extend(backends::mirror(reading, &field, &part));
                false
            }
            "requestRedirect" if of != Of::Grpc => match redirect(reading, &field, &part, of) {
                Some(redirect) => filters.redirect.replace(redirect).is_some(),
                None => false,
            },
            "urlRewrite" if of != Of::Grpc => match rewrite(reading, &field, &part, of) {
                Some(rewrite) => filters.rewrite.replace(rewrite).is_some(),
                None => false,
            },
            "cors" if of != Of::Grpc => match cors::read(reading, &field, &part) {
                Some(cors) => filters.cors.replace(cors).is_some(),
                None => false,
            },
            _ => {
                reading.unsupported(
                    &field,
                    "this filter is not supported here; without it the request is not sent on",
                );
                false
            }
        };
        if twice {
            reading.incompatible(&field, "there can be only one filter of this type in a rule");
        }
    }
    if filters.redirect.is_some() && filters.rewrite.is_some() {
        reading.incompatible(
            &all,
            "RequestRedirect and URLRewrite cannot be together: nothing is sent that could be rewritten",
        );
    }
    if filters.redirect.is_some() && !filters.mirrors.is_empty() {
        reading.incompatible(
            &all,
            "RequestRedirect and RequestMirror cannot be together: nothing is sent that could be copied",
        );
    }
    host_of_headers(reading, &all, &mut filters);
    filters
}

/// A filter's part, if its type is known and the part is there.
fn part(reading: &mut Reading<'_>, field: &str, value: &Value) -> Option<(&'static str, Value)> {
    let filter: Filter = reading.read(field, value)?;
    let kind = filter.r#type.clone();
    let Some(name) = part_of(&kind) else {
        reading.unsupported(
            &format!("{field}.type"),
            format!("{kind} is no filter that is known; without it the request is not sent on"),
        );
        return None;
    };
    let mut found = None;
    for (part, value) in filter.parts() {
        if part == name {
            found = Some((name, value));
        } else {
            reading.malformed(&format!("{field}.{part}"), format!("has no place in a filter of type {kind}"));
        }
    }
    if found.is_none() {
        reading.malformed(&format!("{field}.{name}"), format!("is missing from a filter of type {kind}"));
    }
    found
}

/// Setting `Host` is another host for the backend.
fn host_of_headers(reading: &mut Reading<'_>, field: &str, filters: &mut Filters) {
    let Some(changes) = &mut filters.request else { return };
    let Some(at) = changes.set.iter().position(|(name, _)| &**name == "host") else { return };
    let (_, host) = changes.set.remove(at);
    let rewrite = filters.rewrite.get_or_insert_default();
    if rewrite.hostname.replace(host).is_some() {
        reading.incompatible(
            field,
            "the host is set by a header and rewritten as well: expected one of the two",
        );
    }
}

/// Filters of a backend: Istio's are the two that change headers.
pub(super) fn of_backend(
    reading: &mut Reading<'_>,
    field: &str,
    values: &[Value],
) -> Result<(HeaderChanges, HeaderChanges), String> {
    reading.limit(field, values.len(), 16);
    let (mut request, mut response) = (None, None);
    for (index, value) in values.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let Some((name, part)) = part(reading, &field, value) else { continue };
        let field = format!("{field}.{name}");
        let (slot, of_request) = match name {
            "requestHeaderModifier" => (&mut request, true),
            "responseHeaderModifier" => (&mut response, false),
            _ => {
                let text = "this filter is not supported at a backend; its share of requests fails";
                reading.refused_filter(&field, text);
                return Err(format!("{field}: {text}"));
            }
        };
        let changes = headers::changes(reading, &field, &part, of_request);
        if of_request && changes.set.iter().any(|(name, _)| &**name == "host") {
            let text = "the host cannot be set for one backend; its share of requests fails";
            reading.refused_filter(&field, text);
            return Err(format!("{field}: {text}"));
        }
        if slot.replace(changes).is_some() {
            reading.incompatible(&field, "there can be only one filter of this type at a backend");
        }
    }
    Ok((request.unwrap_or_default(), response.unwrap_or_default()))
}

fn redirect(reading: &mut Reading<'_>, field: &str, part: &Value, of: Of<'_>) -> Option<Redirect> {
    let spec: RedirectSpec = reading.read(field, part)?;
    let scheme = match spec.scheme.as_deref() {
        None => None,
        Some("http") => Some(Scheme::Http),
        Some("https") => Some(Scheme::Https),
        Some(other) => {
            reading.malformed(&format!("{field}.scheme"), format!("{other:?}: expected http or https"));
            return None;
        }
    };
    let port = match spec.port.map(u16::try_from) {
        None => None,
        Some(Ok(port)) if port != 0 => Some(port),
        Some(_) => {
            reading.malformed(&format!("{field}.port"), "expected 1 to 65535");
            return None;
        }
    };
    let status = match spec.status_code.unwrap_or(302) {
        code @ (301 | 302 | 303 | 307 | 308) => u16::try_from(code).ok()?,
        code => {
            let text = format!("{code}: expected 301, 302, 303, 307 or 308");
            reading.malformed(&format!("{field}.statusCode"), text);
            return None;
        }
    };
    let hostname = hostname(reading, field, spec.hostname)?;
    let path = modifier(reading, field, spec.path, of)?;
    Some(Redirect { scheme, hostname, path, port, status })
}

fn rewrite(reading: &mut Reading<'_>, field: &str, part: &Value, of: Of<'_>) -> Option<Rewrite> {
    let spec: RewriteSpec = reading.read(field, part)?;
    let hostname = hostname(reading, field, spec.hostname)?;
    let path = modifier(reading, field, spec.path, of)?;
    Some(Rewrite { hostname, path })
}

/// A host without wildcard; the outer `None`: it is none.
fn hostname(reading: &mut Reading<'_>, field: &str, name: Option<String>) -> Option<Option<Box<str>>> {
    let Some(name) = name else { return Some(None) };
    match ServerName::new(&name) {
        Ok(ServerName::Exact(_)) => Some(Some(name.into())),
        Ok(ServerName::Under(_)) | Err(_) => {
            reading.malformed(
                &format!("{field}.hostname"),
                format!("{name:?} is no host name without a wildcard"),
            );
            None
        }
    }
}

/// What becomes of the path; the outer `None`: it makes no sense.
fn modifier(
    reading: &mut Reading<'_>,
    field: &str,
    path: Option<PathModifier>,
    of: Of<'_>,
) -> Option<Option<PathRewrite>> {
    let Some(path) = path else { return Some(None) };
    let field = format!("{field}.path");
    match (&*path.r#type, path.replace_full_path, path.replace_prefix_match) {
        ("ReplaceFullPath", Some(text), None) => {
            let text = replacement(reading, &format!("{field}.replaceFullPath"), text)?;
            Some(Some(PathRewrite::Full(text)))
        }
        ("ReplacePrefixMatch", None, Some(text)) => {
            let text = if text.is_empty() { "/".to_owned() } else { text };
            let text = replacement(reading, &format!("{field}.replacePrefixMatch"), text)?;
            let Of::Http { matches } = of else { return None };
            let prefix = |matched: &RouteMatch| matches!(matched.path(), PathMatch::Prefix(_));
            if !matches!(matches, [only] if prefix(only)) {
                let text =
                    "a prefix can be replaced only if the rule has one match, with a path of type PathPrefix";
                reading.incompatible(&field, text);
                return None;
            }
            Some(Some(PathRewrite::Prefix(text)))
        }
        (kind, ..) => {
            let text = format!(
                "{kind:?}: expected ReplaceFullPath with replaceFullPath alone, or ReplacePrefixMatch with replacePrefixMatch alone"
            );
            reading.malformed(&field, text);
            None
        }
    }
}

fn replacement(reading: &mut Reading<'_>, field: &str, text: String) -> Option<Box<str>> {
    if text.len() > 1024 || valid_path(&text).is_err() || !super::matches::path_characters(&text) {
        let text = format!(
            "{text:?} is no path of up to 1024 characters that begins with / and has neither ? nor # nor spaces nor empty segments"
        );
        reading.malformed(field, text);
        return None;
    }
    Some(text.into())
}
