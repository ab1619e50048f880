//! What becomes of a request: where it goes, or what it is answered (`HTTPRoute` of Istio).
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::{
    Action, Backend, Backends, Direct, Forward, HeaderChanges, Mirror, PathMatch, PathRewrite, Redirect,
    RegexRewrite, RetryOn, RetryPolicy, Rewrite, Scheme, Target,
};
use adit_core::mesh::ServiceName;

use super::super::super::services::Services;
use super::super::super::{Severity, World};
use super::super::values::{GoDuration, Reader, full_host};
use super::extras::{self, fraction};
use super::spec;

/// What a translation needs to know of beside the object.
pub(super) struct Context<'a> {
    pub(super) world: &'a World,
    pub(super) services: &'a Services,
    pub(super) destinations: &'a adit_core::l7::upstream::Destinations,
}

/// Headers of a rule: of requests and answers, and the host that requests are then for.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) request: HeaderChanges,
    pub(super) response: HeaderChanges,
    authority: Option<Box<str>>,
}

/// What a rule does with what one of its matches holds for.
pub(super) fn read(
    reader: &mut Reader<'_>,
    context: &Context<'_>,
    field: &str,
    rule: &spec::HttpRoute,
    changes: Changes,
) -> Action {
    let own = [
        rule.redirect.is_some(),
        rule.direct_response.is_some(),
        rule.delegate.is_some(),
        !rule.route.is_empty(),
    ];
    if own.into_iter().filter(|it| *it).count() != 1 {
        let text =
            "expected exactly one of route, redirect, directResponse, delegate; requests get status 500";
        reader.tell(Severity::Malformed, field, text);
        return Action::Invalid(text.into());
    }
    if rule.delegate.is_some() {
        let text = "delegates are not supported; requests get status 500: write the delegate's rules here";
        reader.unsupported(&format!("{field}.delegate"), text);
        return Action::Invalid(text.into());
    }
    if rule.route.is_empty() && (rule.fault.is_some() || rule.mirror.is_some() || !rule.mirrors.is_empty()) {
        let text = "faults and mirrors have an effect only on rules that route";
        reader.tell(Severity::Note, field, text);
    }
    if let Some(redirect) = &rule.redirect {
        return self::redirect(reader, &format!("{field}.redirect"), redirect);
    }
    if let Some(direct) = &rule.direct_response {
        return self::direct(reader, &format!("{field}.directResponse"), direct);
    }
    let rewrite = rewrite(reader, &format!("{field}.rewrite"), rule.rewrite.as_ref(), changes.authority);
    let Some(rewrite) = rewrite else {
        return Action::Invalid("the rewrite cannot be done".into());
    };
    Action::Forward(Forward {
        request: changes.request,
        rewrite,
        faults: rule
            .fault
            .as_ref()
            .map(|fault| extras::faults(reader, &format!("{field}.fault"), fault))
            .unwrap_or_default(),
        mirrors: mirrors(reader, context, field, rule),
        backends: backends(reader, context, field, &rule.route),
        retry: Arc::new(retries(reader, field, rule)),
        ..Forward::default()
    })
}

/// The rewrite of a prefix is of the whole path where no prefix was matched.
pub(super) fn fit_rewrite(action: &Action, path: &PathMatch) -> Action {
    let mut action = action.clone();
    let whole = !matches!(path, PathMatch::Begins(_));
    let rewrite = match &mut action {
        Action::Forward(forward) => forward.rewrite.path.as_mut(),
        Action::Redirect(redirect) => redirect.path.as_mut(),
        Action::Direct(_) | Action::Invalid(_) => None,
    };
    if let Some(rewrite) = rewrite.filter(|_| whole)
        && let PathRewrite::Prefix(text) = rewrite
    {
        *rewrite = PathRewrite::Full(text.clone());
    }
    action
}

/// Reads `headers`. `Host` is no header to be set, but where requests are for.
pub(super) fn headers(reader: &mut Reader<'_>, field: &str, headers: Option<&spec::Headers>) -> Changes {
    let mut changes = Changes::default();
    let Some(headers) = headers else { return changes };
    for (which, operations) in [("request", &headers.request), ("response", &headers.response)] {
        let mut read = HeaderChanges::default();
        for (how, values) in [("set", &operations.set), ("add", &operations.add)] {
            for (name, value) in values {
                let field = format!("{field}.{which}.{how}.{name}");
                let name = name.to_ascii_lowercase();
                if matches!(&*name, "host" | ":authority") && which == "request" && how == "set" {
                    changes.authority = Some(value.as_str().into());
                    continue;
                }
                if name.starts_with(':') || name == "host" {
                    reader.unsupported(&field, "this is no header that can be changed; it has no effect");
                    continue;
                }
                // Two of them are one that is meant.
                let plain = value.replace("%%", "");
                if plain.contains('%') {
                    let text = "values that are put together from properties of the request (%...%) are not supported; the header is left as it is";
                    reader.unsupported(&field, text);
                    continue;
                }
                let pair = (name.into(), value.replace("%%", "%").into());
                if how == "set" { read.set.push(pair) } else { read.add.push(pair) }
            }
        }
        for (index, name) in operations.remove.iter().enumerate() {
            let name = name.to_ascii_lowercase();
            if name.starts_with(':') || name == "host" {
                let text = "this is no header that can be removed; it has no effect";
                reader.unsupported(&format!("{field}.{which}.remove[{index}]"), text);
                continue;
            }
            read.remove.push(name.into());
        }
        if which == "request" { changes.request = read } else { changes.response = read }
    }
    changes
}

fn rewrite(
    reader: &mut Reader<'_>,
    field: &str,
    rewrite: Option<&spec::Rewrite>,
    authority: Option<Box<str>>,
) -> Option<Rewrite> {
    let Some(rewrite) = rewrite else { return Some(Rewrite { hostname: authority, path: None }) };
    let path = match (&rewrite.uri_regex_rewrite, rewrite.uri.as_deref().filter(|uri| !uri.is_empty())) {
        (Some(regex), _) => match RegexRewrite::new(&regex.r#match, &regex.rewrite) {
            Ok(regex) => Some(PathRewrite::Regex(regex)),
            Err(error) => {
                reader.tell(Severity::Malformed, &format!("{field}.uriRegexRewrite.match"), error);
                return None;
            }
        },
        (None, Some(uri)) => Some(PathRewrite::Prefix(uri.into())),
        (None, None) => None,
    };
    let hostname = rewrite.authority.as_deref().filter(|text| !text.is_empty()).map(Into::into).or(authority);
    Some(Rewrite { hostname, path })
}

/// The service that a destination names.
pub(super) fn service(host: &str, namespace: &str, context: &Context<'_>) -> ServiceName {
    let hostname = full_host(host, namespace, context.world);
    context.services.named(&hostname, namespace, context.world)
}

fn destination(
    reader: &mut Reader<'_>,
    context: &Context<'_>,
    field: &str,
    to: &spec::Destination,
) -> (Target, Option<Arc<str>>) {
    let service = service(&to.host, &reader.object.namespace, context);
    let subset: Option<Arc<str>> = to.subset.as_deref().filter(|it| !it.is_empty()).map(Into::into);
    // Of a service of one port, that one is meant.
    let only = || context.services.only_port(&service).unwrap_or(Target::SAME_PORT);
    let port = to.port.as_ref().map_or_else(only, |port| port.number);
    if let Some(name) = &subset
        && context.destinations.settle(&service, port, Some(name)).is_none()
    {
        let text =
            format!("no DestinationRule has subset {name} of {}; requests get status 503", service.hostname);
        reader.tell(Severity::Unresolved, &format!("{field}.subset"), text);
    }
    (Target { service, port }, subset)
}

fn backends(
    reader: &mut Reader<'_>,
    context: &Context<'_>,
    field: &str,
    routes: &[spec::RouteDestination],
) -> Backends {
    let mut backends = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let field = format!("{field}.route[{index}]");
        let (target, subset) =
            destination(reader, context, &format!("{field}.destination"), &route.destination);
        let changes = headers(reader, &format!("{field}.headers"), route.headers.as_ref());
        if changes.authority.is_some() {
            let text =
                "the host can be changed for all destinations of a rule, not for one; it has no effect";
            reader.unsupported(&format!("{field}.headers.request.set"), text);
        }
        backends.push(Backend {
            target: Ok(target),
            subset,
            // One alone gets everything, whatever its weight.
            weight: if routes.len() == 1 { 1 } else { route.weight.unwrap_or_default() },
            request: changes.request,
            response: changes.response,
        });
    }
    Backends(backends)
}

fn mirrors(
    reader: &mut Reader<'_>,
    context: &Context<'_>,
    field: &str,
    rule: &spec::HttpRoute,
) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    if let Some(to) = &rule.mirror {
        let percent = rule.mirror_percentage.map(|it| it.value).or(rule.mirror_percent).unwrap_or(100.0);
        let (target, subset) = destination(reader, context, &format!("{field}.mirror"), to);
        mirrors.push(Mirror { target, subset, fraction: fraction(percent) });
    }
    for (index, mirror) in rule.mirrors.iter().enumerate() {
        let field = format!("{field}.mirrors[{index}].destination");
        let (target, subset) = destination(reader, context, &field, &mirror.destination);
        let percent = mirror.percentage.map_or(100.0, |it| it.value);
        mirrors.push(Mirror { target, subset, fraction: fraction(percent) });
    }
    mirrors.retain(|mirror| mirror.fraction.numerator > 0);
    mirrors
}

fn redirect(reader: &mut Reader<'_>, field: &str, redirect: &spec::Redirect) -> Action {
    let scheme = match redirect.scheme.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some("http") => Some(Scheme::Http),
        Some("https") => Some(Scheme::Https),
        Some(other) => {
            let text = format!(
                "{other:?} is no scheme to redirect to: expected http or https; requests get status 500"
            );
            reader.unsupported(&format!("{field}.scheme"), &text);
            return Action::Invalid(text.into());
        }
    };
    let status = match redirect.redirect_code.unwrap_or_default() {
        0 => 301,
        status @ (301 | 302 | 303 | 307 | 308) => status,
        other => {
            let text = format!(
                "{other} is no status of a redirect: expected 301, 302, 303, 307 or 308; requests get status 500"
            );
            reader.tell(Severity::Malformed, &format!("{field}.redirectCode"), &text);
            return Action::Invalid(text.into());
        }
    };
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let authority = said(&redirect.authority);
    let (host, own_port) = match authority.as_deref().map(|text| (text, text.rsplit_once(':'))) {
        // Of an address in brackets the last colon is its own.
        Some((_, Some((host, port)))) if !port.contains(']') => (Some(host.to_owned()), port.parse().ok()),
        Some((text, _)) => (Some(text.to_owned()), None),
        None => (None, None),
    };
    let from_request = redirect.derive_port == Some(spec::DerivePort::FromRequestPort);
    let default = host.is_some().then(|| scheme.unwrap_or(Scheme::Http).port()).filter(|_| !from_request);
    let path = match (said(&redirect.prefix_rewrite), said(&redirect.uri)) {
        (Some(prefix), _) => Some(PathRewrite::Prefix(prefix.into())),
        (None, Some(uri)) => Some(PathRewrite::Full(uri.into())),
        (None, None) => None,
    };
    let port = redirect.port.or(own_port).or(default);
    Action::Redirect(Redirect { scheme, hostname: host.map(Into::into), path, port, status })
}

fn direct(reader: &mut Reader<'_>, field: &str, direct: &spec::DirectResponse) -> Action {
    if !(200..600).contains(&direct.status) {
        let text = format!(
            "{} is no status of an answer: expected 200 to 599; requests get status 500",
            direct.status
        );
        reader.tell(Severity::Malformed, &format!("{field}.status"), &text);
        return Action::Invalid(text.into());
    }
    let body = direct.body.as_ref();
    if body.is_some_and(|body| body.bytes.is_some()) {
        let text = "bodies of octets are not supported; requests get status 500: write a string";
        reader.unsupported(&format!("{field}.body.bytes"), text);
        return Action::Invalid(text.into());
    }
    let body = body.and_then(|body| body.string.as_deref()).unwrap_or_default();
    Action::Direct(Direct { status: direct.status, body: body.as_bytes().into() })
}

fn retries(reader: &mut Reader<'_>, field: &str, rule: &spec::HttpRoute) -> RetryPolicy {
    let said = |duration: Option<GoDuration>| duration.map(|it| it.0).filter(|it| !it.is_zero());
    let mut policy = RetryPolicy { timeout: said(rule.timeout), ..RetryPolicy::istio_default() };
    let Some(retries) = &rule.retries else { return policy };
    let field = format!("{field}.retries");
    policy.retries = u32::try_from(retries.attempts.unwrap_or_default()).unwrap_or_default();
    policy.per_try = said(retries.per_try_timeout);
    policy.backoff = said(retries.backoff).unwrap_or(Duration::from_millis(25));
    if let Some(on) = retries.retry_on.as_deref().filter(|on| !on.is_empty()) {
        policy.on = retry_on(reader, &format!("{field}.retryOn"), on);
    }
    if retries.retry_remote_localities == Some(true) {
        let text =
            "retries do not leave the locality for its own sake; only endpoints that were tried are left out";
        reader.unsupported(&format!("{field}.retryRemoteLocalities"), text);
    }
    if retries.retry_ignore_previous_hosts == Some(false) {
        let text = "retries always go to endpoints that were not tried, while there are others";
        reader.unsupported(&format!("{field}.retryIgnorePreviousHosts"), text);
    }
    policy
}

/// Envoy's words (`x-envoy-retry-on`, `x-envoy-retry-grpc-on`), and statuses.
fn retry_on(reader: &mut Reader<'_>, field: &str, text: &str) -> RetryOn {
    let mut on = RetryOn::default();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "5xx" => {
                (on.connect_failure, on.refused_stream, on.reset, on.timeout) = (true, true, true, true);
                on.status.extend(500..600);
            }
            "gateway-error" => on.status.extend([502, 503, 504]),
            "reset" => (on.reset, on.refused_stream, on.timeout) = (true, true, true),
            "connect-failure" => on.connect_failure = true,
            // What was never sent was never seen.
            "reset-before-request" => (on.connect_failure, on.refused_stream) = (true, true),
            "refused-stream" => on.refused_stream = true,
            "retriable-4xx" => on.status.push(409),
            // The statuses themselves are words beside it.
            "retriable-status-codes" => {}
            "cancelled" => on.grpc_status.push(1),
            "deadline-exceeded" => on.grpc_status.push(4),
            "resource-exhausted" => on.grpc_status.push(8),
            "internal" => on.grpc_status.push(13),
            "unavailable" => on.grpc_status.push(14),
            other => match other.parse::<u16>() {
                Ok(status @ 100..=599) => on.status.push(status),
                _ => reader.unsupported(
                    field,
                    format!("{other} is no condition that is supported; it has no effect"),
                ),
            },
        }
    }
    on.status.sort_unstable();
    on.status.dedup();
    on
}
