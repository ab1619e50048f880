//! `XBackendTrafficPolicy`: how many retries a service bears (GEP-3388).
use std::collections::BTreeMap;

use adit_core::l7::upstream::RetryShare;
use adit_core::mesh::ServiceName;
use serde::Deserialize;
use serde_json::Value;

use super::super::Object;
use super::super::problem::{Problems, Severity};
use super::super::status::{Condition, ConditionKind, Reason, Status};
use super::reading::Context;
use super::targets::{self, TargetRef};
use super::{EXPERIMENTAL_GROUP, duration};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    target_refs: Vec<TargetRef>,
    retry_constraint: Option<Constraint>,
    session_persistence: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Constraint {
    budget: Option<Budget>,
    min_retry_rate: Option<Rate>,
}

#[derive(Deserialize)]
struct Budget {
    percent: Option<u32>,
    interval: Option<String>,
}

#[derive(Deserialize)]
struct Rate {
    count: Option<u32>,
    interval: Option<String>,
}

/// The budgets of services, of the oldest policy each.
pub(super) fn translate(
    context: Context<'_>,
    problems: &mut Problems,
    statuses: &mut Vec<Status>,
) -> BTreeMap<ServiceName, RetryShare> {
    let mut budgets: BTreeMap<ServiceName, RetryShare> = BTreeMap::new();
    for object in context.objects.by_age(EXPERIMENTAL_GROUP, "XBackendTrafficPolicy") {
        let before = problems.count();
        let Some(spec) = object.spec::<Spec>(problems) else { continue };
        let budget = budget(object, &spec, problems);
        let whole = problems.count() == before;
        for (index, target) in spec.target_refs.iter().enumerate() {
            let field = format!("spec.targetRefs[{index}]");
            let targets = targets::resolve(object, target, context);
            let (services, mut told) = match targets.found {
                Ok((services, missing)) => (services, missing.map(|text| (Reason::TargetNotFound, text))),
                Err(text) => (Vec::new(), Some((Reason::TargetNotFound, text))),
            };
            for (service, _) in services {
                let Some(budget) = budget else { continue };
                if budgets.contains_key(&service) {
                    told = Some((Reason::Conflicted, format!("an older policy is there for {service}")));
                }
                budgets.entry(service).or_insert(budget);
            }
            let kind = ConditionKind::Accepted;
            let condition = match told {
                Some((reason, message)) => {
                    let severity =
                        if reason == Reason::Conflicted { Severity::Conflict } else { Severity::Unresolved };
                    problems.push(object.id(), field, severity, format!("{reason}: {message}"));
                    Condition { kind, holds: false, reason, message }
                }
                None if whole => {
                    Condition { kind, holds: true, reason: Reason::Accepted, message: String::new() }
                }
                None => {
                    let message = "not all of it is supported".to_owned();
                    Condition { kind, holds: false, reason: Reason::UnsupportedValue, message }
                }
            };
            let (object, generation) = (object.id(), object.generation);
            let (parent, conditions) = (Some(targets.of), vec![condition]);
            statuses.push(Status { object, generation, parent, conditions });
        }
    }
    budgets
}

fn budget(object: &Object, spec: &Spec, problems: &mut Problems) -> Option<RetryShare> {
    if spec.session_persistence.is_some() {
        let text = "is not supported on services: give it in the rules of a route";
        problems.push(object.id(), "spec.sessionPersistence", Severity::Unsupported, text);
    }
    let constraint = spec.retry_constraint.as_ref()?;
    let field = "spec.retryConstraint";
    let percent = constraint.budget.as_ref().and_then(|budget| budget.percent).unwrap_or(20);
    if percent > 100 {
        let text = format!("{percent}: expected 0 to 100");
        problems.push(object.id(), format!("{field}.budget.percent"), Severity::Malformed, text);
        return None;
    }
    let intervals = [
        ("budget", constraint.budget.as_ref().and_then(|budget| budget.interval.as_deref())),
        ("minRetryRate", constraint.min_retry_rate.as_ref().and_then(|rate| rate.interval.as_deref())),
    ];
    for (name, text) in intervals.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        let field = format!("{field}.{name}.interval");
        match duration::parse(text) {
            Ok(_) => {
                let text =
                    "has no effect: what counts are requests and retries that are under way at one time";
                problems.push(object.id(), field, Severity::Note, text);
            }
            Err(error) => problems.push(object.id(), field, Severity::Malformed, error.to_string()),
        }
    }
    let min = constraint.min_retry_rate.as_ref().and_then(|rate| rate.count).unwrap_or(10);
    Some(RetryShare { percent, min })
}
