//! How a request is sent on: what filters make of it, backends and their endpoints, limits and faults.
use std::sync::Arc;

use adit_core::l7::rate::{Asking, LocalLimits, RatePolicy};
use adit_core::l7::{
    Abort, Backend, Faults, Forward, Found, Fraction, HeaderChanges, Keeper, NoBackend, Persistence,
    RetryPolicy, Target,
};
use adit_core::mesh::{Service, Workload};
use adit_core::rng::Rng;

use super::answer::Making;
use super::report::{
    BackendShare, Changes, Copied, Failing, Fault, Field, Forwarding, Limit, Outcome, Retry,
};
use super::{cluster, milliseconds};
use crate::http::{Head, unroutable};
use crate::route::settle;
use crate::shared::ClusterKey;

/// All of the shares.
const WHOLE: u32 = 1000;

/// Tells how a request is sent on.
pub(super) struct Forwarder<'m, 'a> {
    making: &'m mut Making<'a>,
    /// The service that was asked for.
    service: Option<&'m Arc<Service>>,
}

impl<'m, 'a> Forwarder<'m, 'a> {
    pub(super) const fn new(making: &'m mut Making<'a>, service: Option<&'m Arc<Service>>) -> Self {
        Self { making, service }
    }

    /// To a workload that was asked for by its own address.
    pub(super) fn workload(self, workload: &Workload) {
        let target = format!("{}:{}", workload.uid, self.making.port);
        let backends = vec![BackendShare { target, weight: 1, share: WHOLE, ..BackendShare::default() }];
        let forwarding = Forwarding { backends, ..self.plain() };
        self.finish(forwarding, None);
    }

    /// To the service itself, of which no route says anything.
    pub(super) fn service(self) {
        let Some(service) = self.service else { return };
        let target = Target { service: service.name.clone(), port: self.making.port };
        let backends = vec![BackendShare { weight: 1, share: WHOLE, ..self.backend(&target, None) }];
        let forwarding = Forwarding { backends, ..self.plain() };
        self.finish(forwarding, None);
    }

    /// As a rule says.
    pub(super) fn forward(self, found: &Found<'_>, forward: &Forward) {
        let head = &self.making.head;
        let total: u64 = forward.backends.0.iter().map(|backend| u64::from(backend.weight)).sum();
        let backends = forward.backends.0.iter().map(|backend| self.share(backend, total)).collect();
        let path = match &forward.rewrite.path {
            Some(rewrite) => head.target(&rewrite.apply(&head.path, found.matched.path())),
            None => head.target(&head.path),
        };
        let mirror = |target: &Target, subset: Option<&Arc<str>>| name(&target.at(self.making.port), subset);
        let mut forwarding = Forwarding {
            path,
            host: forward.rewrite.hostname.as_deref().unwrap_or(&head.authority).to_owned(),
            request: changes(&forward.request),
            response: changes(&found.rule.response),
            backends,
            mirrors: forward
                .mirrors
                .iter()
                .map(|it| Copied {
                    target: mirror(&it.target, it.subset.as_ref()),
                    numerator: it.fraction.numerator,
                    denominator: it.fraction.denominator,
                })
                .collect(),
            retry: retry(&forward.retry),
            persistence: forward.persistence.as_deref().map(persistence),
            ..Forwarding::default()
        };
        if forward.faults != Faults::default() {
            let by = "the rule".to_owned();
            forwarding.faults.push(Fault { by, applies: true, what: faults(&forward.faults) });
        }
        self.finish(forwarding, Some((found, &forward.faults)));
    }

    /// Where no rule says anything.
    fn plain(&self) -> Forwarding {
        let head = &self.making.head;
        Forwarding {
            path: head.target(&head.path),
            host: head.authority.to_string(),
            retry: retry(&RetryPolicy::istio_default()),
            ..Forwarding::default()
        }
    }

    fn share(&self, backend: &Backend, total: u64) -> BackendShare {
        let share =
            u64::from(backend.weight).saturating_mul(WHOLE.into()).checked_div(total).unwrap_or_default();
        let told = match &backend.target {
            Ok(target) => self.backend(&target.at(self.making.port), backend.subset.as_ref()),
            Err(why) => {
                let why = NoBackend::Invalid(Arc::clone(why)).to_string();
                let fails = Some(Failing { status: 500, why });
                BackendShare { target: "-".to_owned(), fails, ..BackendShare::default() }
            }
        };
        BackendShare {
            weight: backend.weight,
            share: u32::try_from(share).unwrap_or(WHOLE),
            request: changes(&backend.request),
            response: changes(&backend.response),
            ..told
        }
    }

    /// A service's port, with its endpoints as they are now.
    fn backend(&self, target: &Target, subset: Option<&Arc<str>>) -> BackendShare {
        let tables = self.making.tables;
        let mut told = BackendShare { target: name(target, subset), ..BackendShare::default() };
        told.tls = tables.snapshot.backend_tls.of(target).map(|rule| match rule {
            Ok(tls) => format!("as {}", tls.server_name),
            Err(why) => format!("cannot be spoken, so that connections fail: {why}"),
        });
        let (service, settled) = match settle(tables.snapshot, tables.mesh, target, subset) {
            Ok(found) => found,
            Err(error) => {
                let status = unroutable(&error).status.as_u16();
                told.fails = Some(Failing { status, why: error.to_string() });
                return told;
            }
        };
        if told.tls.is_none() {
            told.tls = settled.policy.tls.as_ref().map(|tls| match tls {
                Ok(tls) => format!("as {}", tls.sni.as_deref().unwrap_or("the request's host")),
                Err(why) => format!("cannot be spoken, so that connections fail: {why}"),
            });
        }
        let key = ClusterKey { service: target.service.clone(), port: target.port, subset: subset.cloned() };
        let of = (tables.mesh, &**service, &**tables.local);
        let view = tables.clusters.get(tables.now, &key, &settled, of).with(|it| it.view(tables.now));
        let ignores_ejections = view.levels.iter().any(|level| level.ignores_ejections);
        let speaks = tables.snapshot.protocols.of(target);
        let report = cluster::report(tables.now, &key, speaks, &settled, view);
        if report.open == 0 && !ignores_ejections {
            let why = match report.endpoints.is_empty() {
                true => "nobody is behind it",
                false => "none of its endpoints takes requests: they are ejected, or have no weight",
            };
            told.fails = Some(Failing { status: 503, why: why.to_owned() });
        }
        told.cluster = Some(report);
        told
    }

    /// Limits and faults, and the verdict.
    fn finish(self, mut forwarding: Forwarding, rule: Option<(&Found<'_>, &Faults)>) {
        let mut counts = rule.map(|(_, faults)| *faults);
        if let Some(service) = self.service {
            let making = &*self.making;
            let asking = Asking {
                request: &making.head,
                source: making.client.identity.as_ref(),
                source_cluster: None,
                client: making.client.remote,
                auth: making.auth.as_ref(),
                destination: &service.name,
            };
            let matched = rule.map(|(found, _)| (&found.route.id, found.rule.name.as_ref()));
            let tables = making.tables;
            let rates = tables.snapshot.rates.of(&service.name, making.port, matched);
            forwarding.limits = rates.into_iter().map(|policy| limit(policy, &asking)).collect();
            let mut nearest = None;
            for policy in tables.snapshot.faults.of(&service.name, making.port, matched) {
                let applies = policy.draw(&asking, tables.time, &mut Rng::new(0)).is_some();
                let what = faults(&policy.faults);
                forwarding.faults.push(Fault { by: policy.name.to_string(), applies, what });
                nearest = nearest.or_else(|| applies.then_some(policy.faults));
            }
            counts = nearest.or(counts);
        }
        verdict(self.making, &forwarding, counts.and_then(|faults| faults.abort));
        self.making.report.forward = Some(forwarding);
    }
}

/// What becomes of it, in one line.
fn verdict(making: &mut Making<'_>, forwarding: &Forwarding, abort: Option<(Abort, Fraction)>) {
    if let Some((abort, fraction)) = abort
        && fraction.denominator > 0
        && fraction.numerator >= fraction.denominator
    {
        let (status, what) = match abort {
            Abort::Status(status) => (status, "a fault put in on purpose".to_owned()),
            Abort::Grpc(code) => (200, format!("a fault put in on purpose, grpc-status {code}")),
        };
        return making.end(Outcome::Answered, Some(status), format!("answered with status {status}: {what}"));
    }
    let drawn: Vec<_> = forwarding.backends.iter().filter(|backend| backend.weight > 0).collect();
    if drawn.is_empty() {
        return making.refuse(500, NoBackend::Weightless);
    }
    let share = |backend: &BackendShare| match backend.share {
        WHOLE => String::new(),
        share => format!(" ({}.{} %)", share / 10, share % 10),
    };
    let good: Vec<_> = drawn.iter().filter(|backend| backend.fails.is_none()).collect();
    let failing = drawn.iter().filter_map(|backend| Some((backend, backend.fails.as_ref()?)));
    if good.is_empty()
        && let Some((backend, Failing { status, why })) = failing.clone().next()
    {
        return making.refuse(*status, format!("{}: {why}", backend.target));
    }
    let to: Vec<_> = good.iter().map(|backend| format!("{}{}", backend.target, share(backend))).collect();
    let fails: String = failing
        .map(|(backend, Failing { status, why })| {
            format!("; {}{} fails with status {status}: {why}", backend.target, share(backend))
        })
        .collect();
    making.end(Outcome::Sent, None, format!("sent on to {}{fails}", to.join(" or ")));
}

fn name(target: &Target, subset: Option<&Arc<str>>) -> String {
    let subset = subset.map_or_else(String::new, |subset| format!("/{subset}"));
    format!("{}:{}{subset}", target.service.hostname, target.port)
}

fn changes(changes: &HeaderChanges) -> Changes {
    let fields = |list: &[(Box<str>, Box<str>)]| {
        list.iter().map(|(name, value)| Field { name: name.to_string(), value: value.to_string() }).collect()
    };
    Changes {
        remove: changes.remove.iter().map(ToString::to_string).collect(),
        set: fields(&changes.set),
        add: fields(&changes.add),
    }
}

fn retry(policy: &RetryPolicy) -> Retry {
    let on = &policy.on;
    let words = [
        (on.connect_failure, "connect failure"),
        (on.refused_stream, "refused stream"),
        (on.reset, "reset"),
        (on.timeout, "timeout"),
    ];
    let words = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned());
    let status = on.status.iter().map(|status| format!("status {status}"));
    let grpc = on.grpc_status.iter().map(|status| format!("grpc-status {status}"));
    Retry {
        retries: policy.retries,
        on: words.chain(status).chain(grpc).collect(),
        backoff_ms: milliseconds(policy.backoff),
        per_try_ms: policy.per_try.map(milliseconds),
        timeout_ms: policy.timeout.map(milliseconds),
    }
}

fn persistence(persistence: &Persistence) -> String {
    let keeper = match &persistence.keeper {
        Keeper::Cookie { name, .. } => format!("cookie {name}"),
        Keeper::Header { name } => format!("header {name}"),
    };
    match persistence.timeout {
        Some(timeout) => format!("{keeper}, for {} ms", milliseconds(timeout)),
        None => format!("{keeper}, as long as its endpoint is there"),
    }
}

fn limit(policy: &Arc<RatePolicy>, asking: &Asking<'_, Head>) -> Limit {
    let bucket = |it: &adit_core::l7::rate::LocalLimit| {
        let rate = it.rate;
        let each = milliseconds(rate.fill_interval);
        let keys = match it.by.len() {
            0 => "one bucket for all".to_owned(),
            parts => format!("a bucket for each key (of {parts})"),
        };
        format!("{} at once, {} more every {each} ms, {keys}", rate.max_tokens, rate.tokens_per_fill)
    };
    // Full buckets of nobody's: what is taken of them counts for nothing.
    let taken = LocalLimits::new().take(adit_core::time::Instant::ZERO, policy, asking);
    let asks = policy.global.as_ref().and_then(|global| {
        let question = global.ask(asking)?;
        let entries = question.descriptors.iter().map(|descriptor| {
            let pairs = descriptor.entries.iter().map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join(",")
        });
        let entries = entries.collect::<Vec<_>>().join("; ");
        Some(format!("{} about {}: {entries}", name(&global.service, None), question.domain))
    });
    Limit {
        policy: policy.name.to_string(),
        shadow: policy.shadow,
        buckets: policy.local.iter().map(bucket).collect(),
        counted: taken.quota.is_some(),
        asks,
    }
}

fn faults(faults: &Faults) -> Vec<String> {
    let part = |fraction: Fraction| format!("{} of {}", fraction.numerator, fraction.denominator);
    let delay = faults.delay.map(|(time, of)| format!("{} wait {} ms", part(of), milliseconds(time)));
    let abort = faults.abort.map(|(abort, of)| match abort {
        Abort::Status(status) => format!("{} get status {status}", part(of)),
        Abort::Grpc(status) => format!("{} get grpc-status {status}", part(of)),
    });
    delay.into_iter().chain(abort).collect()
}
