//! The answer as text: a column of words, and what is said of each.
use std::fmt;

use super::report::{BackendShare, Changes, ClusterReport, Forwarding, Report, Routing, Tried};

/// How many matches that are not the one are listed: the last of them, as they are the nearest.
const MAX_TRIED: usize = 20;

/// Writes lines of which each begins with a word, or goes on with what the one before says.
struct Lines<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    last: &'static str,
}

impl Lines<'_, '_> {
    fn line(&mut self, word: &'static str, what: impl fmt::Display) -> fmt::Result {
        let shown = if word == self.last { "" } else { word };
        self.last = word;
        writeln!(self.to, "{shown:<12}{what}")
    }

    fn changes(&mut self, word: &'static str, changes: &Changes, whose: &str) -> fmt::Result {
        changes.remove.iter().try_for_each(|name| self.line(word, format_args!("{whose}remove {name}")))?;
        for (how, list) in [("set", &changes.set), ("add", &changes.add)] {
            list.iter()
                .try_for_each(|it| self.line(word, format_args!("{whose}{how} {}: {}", it.name, it.value)))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Lines { to: f, last: "" };
        let seen = &self.request;
        let query = seen.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        lines.line("request", format_args!("{} http://{}{}{query}", seen.method, seen.host, seen.path))?;
        if let Some(given) = &seen.path_given {
            lines.line("normalised", format_args!("from {given}"))?;
        }
        let source = seen.source.as_deref().unwrap_or("nobody that is known");
        lines.line("source", format_args!("{source} from {}", seen.address))?;
        let kind = if seen.is_workload { "workload" } else { "service" };
        lines.line("target", format_args!("{kind} {} port {}, {}", seen.target, seen.port, seen.protocol))?;
        lines.line("waypoint", &seen.waypoint)?;
        if let Some(token) = &self.token {
            lines.line("token", format_args!("looked at for {}", token.issuers.join(", ")))?;
            lines.line(
                "token",
                match (&token.refused, &token.principal) {
                    (Some(why), _) => format!("refused: {why}"),
                    (None, Some(principal)) => format!("of {principal}"),
                    (None, None) => "none: nobody is refused for that alone".to_owned(),
                },
            )?;
        }
        if let Some(authorization) = &self.authorization {
            for provider in &authorization.ask {
                lines.line("asked first", provider)?;
            }
            for policy in &authorization.policies {
                let targets = policy.targets.join(", ");
                let trial = if policy.on_trial { ", on trial" } else { "" };
                let matched = match policy.matched {
                    Some(rule) => format!("rule {rule} matches"),
                    None => "no rule matches".to_owned(),
                };
                lines.line(
                    "policies",
                    format_args!("{} {}, {targets}{trial}: {matched}", policy.name, policy.action),
                )?;
            }
            if let Some(audit) = &authorization.audit {
                lines.line("audited", audit)?;
            }
            authorization.on_trial.iter().try_for_each(|it| lines.line("on trial", it))?;
            lines.line("admitted", &authorization.decision)?;
        }
        if let Some(routing) = &self.route {
            route(&mut lines, routing)?;
        }
        if let Some(answer) = &self.answer {
            lines.line("answer", format_args!("{}, status {}", answer.kind, answer.status))?;
            answer
                .headers
                .iter()
                .try_for_each(|it| lines.line("answer", format_args!("{}: {}", it.name, it.value)))?;
            if !answer.body.is_empty() {
                lines.line("answer", format_args!("{:?}", answer.body))?;
            }
        }
        if let Some(forwarding) = &self.forward {
            forward(&mut lines, self, forwarding)?;
        }
        self.notes.iter().try_for_each(|note| lines.line("note", note))?;
        lines.line("verdict", &self.verdict.text)
    }
}

fn route(lines: &mut Lines<'_, '_>, routing: &Routing) -> fmt::Result {
    if !routing.has_routes {
        return lines.line("route", "none is for this port and caller: it goes where it asks to");
    }
    let hidden = routing.tried.len().saturating_sub(MAX_TRIED + 1);
    if hidden > 0 {
        lines.line(
            "tried",
            format_args!("{hidden} matches before these are not for it (--json lists them)"),
        )?;
    }
    for Tried { rule, path, why_not, .. } in routing.tried.iter().skip(hidden) {
        match why_not {
            Some(why) => lines.line("tried", format_args!("{rule}: {why}"))?,
            None => lines.line("tried", format_args!("{rule}: {path}, and all else that it asks for"))?,
        }
    }
    match &routing.found {
        Some(found) => {
            let of = routing.tried.last().map_or("", |tried| &tried.route);
            lines.line("rule", format_args!("{found} ({of})"))
        }
        None => lines.line("rule", "-"),
    }
}

fn forward(lines: &mut Lines<'_, '_>, report: &Report, forwarding: &Forwarding) -> fmt::Result {
    let seen = &report.request;
    let path =
        seen.query.as_ref().map_or_else(|| seen.path.clone(), |query| format!("{}?{query}", seen.path));
    if forwarding.path != path {
        lines.line("rewritten", format_args!("path {}", forwarding.path))?;
    }
    if forwarding.host != seen.host {
        lines.line("rewritten", format_args!("host {}", forwarding.host))?;
    }
    lines.changes("headers", &forwarding.request, "")?;
    lines.changes("headers", &forwarding.response, "of the answer: ")?;
    for limit in &forwarding.limits {
        let shadow = if limit.shadow { ", counts only" } else { "" };
        for bucket in &limit.buckets {
            lines.line("limits", format_args!("{}{shadow}: {bucket}", limit.policy))?;
        }
        if !limit.buckets.is_empty() && !limit.counted {
            lines.line(
                "limits",
                format_args!("{}: it has no key for any of these, and passes", limit.policy),
            )?;
        }
        if let Some(asks) = &limit.asks {
            lines.line("limits", format_args!("{}{shadow}: asks {asks}", limit.policy))?;
        }
    }
    for fault in &forwarding.faults {
        let applies = if fault.applies { "" } else { ", not for this request" };
        lines.line("faults", format_args!("{}{applies}: {}", fault.by, fault.what.join(", ")))?;
    }
    for copied in &forwarding.mirrors {
        let (part, of) = (copied.numerator, copied.denominator);
        lines.line("mirrored", format_args!("to {}, {part} of {of} requests", copied.target))?;
    }
    forwarding.backends.iter().try_for_each(|it| backend(lines, it))?;
    let retry = &forwarding.retry;
    let time = |ms: Option<u64>| ms.map_or_else(|| "no end".to_owned(), |ms| format!("{ms} ms"));
    match retry.retries {
        0 => lines.line("retries", "none")?,
        retries => {
            let after = retry.on.join(", ");
            lines.line(
                "retries",
                format_args!("{retries} after {after}; the first within {} ms", retry.backoff_ms),
            )?;
        }
    }
    let (whole, each) = (time(retry.timeout_ms), time(retry.per_try_ms));
    lines.line("timeouts", format_args!("{whole} for all, {each} for an attempt"))?;
    if let Some(persistence) = &forwarding.persistence {
        lines.line("session", persistence)?;
    }
    Ok(())
}

fn backend(lines: &mut Lines<'_, '_>, backend: &BackendShare) -> fmt::Result {
    let (whole, part) = (backend.share / 10, backend.share % 10);
    let fails = backend.fails.as_ref().map_or_else(String::new, |failing| {
        format!("; fails with status {}: {}", failing.status, failing.why)
    });
    lines.line(
        "backends",
        format_args!("{} weight {}, {whole}.{part} %{fails}", backend.target, backend.weight),
    )?;
    lines.changes("backends", &backend.request, "  ")?;
    lines.changes("backends", &backend.response, "  of the answer: ")?;
    if let Some(tls) = &backend.tls {
        lines.line("backends", format_args!("  TLS {tls}"))?;
    }
    backend.cluster.as_ref().map_or(Ok(()), |it| cluster(lines, it))
}

fn cluster(lines: &mut Lines<'_, '_>, cluster: &ClusterReport) -> fmt::Result {
    lines.line("backends", format_args!("  {}, {}, {}", cluster.name, cluster.protocol, cluster.balancer))?;
    if let Some(outliers) = &cluster.outlier_detection {
        lines.line("backends", format_args!("  ejected {outliers}"))?;
    }
    for endpoint in &cluster.endpoints {
        let address = endpoint.address.as_deref().unwrap_or("-");
        let ejected = endpoint.ejected_ms.map_or_else(String::new, |ms| format!(", ejected for {ms} ms"));
        lines.line(
            "backends",
            format_args!(
                "  {} {address} port {} weight {} level {}, {} under way{ejected}",
                endpoint.uid, endpoint.port, endpoint.weight, endpoint.level, endpoint.outstanding
            ),
        )?;
    }
    let left = &cluster.left_out;
    left.iter()
        .try_for_each(|it| lines.line("backends", format_args!("  {} is left out: {}", it.uid, it.why)))
}
