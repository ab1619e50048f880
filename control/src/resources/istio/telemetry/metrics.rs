//! `metrics`: what differs from the standard metrics.
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::telemetry::{Expression, Metric, MetricRules, Tag};

use super::super::super::{Problems, Severity};
use super::super::mesh_config::MeshConfig;
use super::super::values::Reader;
use super::spec::{self, Operation, TagOverride};

/// An entry of a policy that is for us.
pub(super) struct Entry {
    overrides: Vec<Override>,
    interval: Option<Duration>,
}

struct Override {
    metrics: Vec<Metric>,
    disabled: Option<bool>,
    /// `None`: the label is left out.
    tags: Vec<(Arc<str>, Option<Expression>)>,
}

impl Entry {
    /// Puts what this says over what `rules` say.
    pub(super) fn apply(&self, rules: &mut MetricRules) {
        if self.interval.is_some() {
            rules.interval = self.interval;
        }
        for one in &self.overrides {
            for metric in &one.metrics {
                for (name, value) in &one.tags {
                    let tag = match value {
                        None => Tag::Remove,
                        Some(expression) => Tag::Set(rules.expression(expression.clone())),
                    };
                    rules.by_metric.entry(*metric).or_default().tags.insert(Arc::clone(name), tag);
                }
                if let Some(disabled) = one.disabled {
                    rules.by_metric.entry(*metric).or_default().disabled = disabled;
                }
            }
        }
    }
}

fn is_prometheus(mesh: &MeshConfig, name: &str) -> bool {
    name == "prometheus" || mesh.provider(name).is_some_and(|known| &*known.kind == "prometheus")
}

/// Tells what of the mesh's defaults cannot be done.
pub(super) fn check_defaults(mesh: &MeshConfig, problems: &mut Problems) {
    let names = mesh.default_providers("metrics", problems).unwrap_or_default();
    for name in names.iter().filter(|name| !is_prometheus(mesh, name)) {
        let field = MeshConfig::field(&["defaultProviders", "metrics"]);
        let text = format!("metrics are for Prometheus alone; {name:?} gets none");
        mesh.tell(field, Severity::Unsupported, text, problems);
    }
}

/// Reads the entries of a policy; those that are not for us are left out.
pub(super) fn read(reader: &mut Reader<'_>, mesh: &MeshConfig, entries: &[spec::Metrics]) -> Vec<Entry> {
    let mut read = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let at = format!("spec.metrics[{place}]");
        let mut for_us = entry.providers.is_empty();
        for (number, provider) in entry.providers.iter().enumerate() {
            if is_prometheus(mesh, &provider.name) {
                for_us = true;
            } else {
                let text = format!("metrics are for Prometheus alone; {:?} gets none", provider.name);
                reader.unsupported(&format!("{at}.providers[{number}]"), text);
            }
        }
        if for_us {
            let overrides = entry.overrides.iter().enumerate();
            let overrides = overrides
                .filter_map(|(number, one)| changes(reader, &format!("{at}.overrides[{number}]"), one));
            read.push(Entry {
                overrides: overrides.collect(),
                interval: entry.reporting_interval.map(|interval| interval.0),
            });
        }
    }
    read
}

fn changes(reader: &mut Reader<'_>, at: &str, one: &spec::Override) -> Option<Override> {
    let metrics = match (one.matches.metric.as_deref(), one.matches.custom_metric.as_deref()) {
        (_, Some(custom)) => {
            reader.unsupported(
                &format!("{at}.match.customMetric"),
                format!("{custom:?} is none of the standard metrics: this override has no effect"),
            );
            return None;
        }
        (None | Some("ALL_METRICS"), None) => Metric::ALL.to_vec(),
        (Some(name), None) => match Metric::of(name) {
            Some(metric) => vec![metric],
            None => {
                let names: Vec<_> = Metric::ALL.iter().map(|metric| metric.as_str()).collect();
                let text = format!("{name:?} is no metric: ALL_METRICS, {} are", names.join(", "));
                reader.tell(Severity::Malformed, &format!("{at}.match.metric"), text);
                return None;
            }
        },
    };
    let mut tags = Vec::new();
    for (name, tag) in &one.tag_overrides {
        let at = format!("{at}.tagOverrides.{name}");
        if let Some(value) = tagged(reader, &at, name, tag) {
            tags.push((name.as_str().into(), value));
        }
    }
    one.matches.mode.is_ours().then_some(Override { metrics, disabled: one.disabled, tags })
}

/// What becomes of a label; `None` when what is written makes no sense.
fn tagged(reader: &mut Reader<'_>, at: &str, name: &str, tag: &TagOverride) -> Option<Option<Expression>> {
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == b'_');
    let good = first && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_');
    // Prometheus has these for itself.
    if !good || name == "le" || name.starts_with("__") {
        let text =
            format!("{name:?} is no name of a label: expected letters, digits and _, such as request_host");
        reader.tell(Severity::Malformed, at, text);
        return None;
    }
    match (tag.operation, &*tag.value) {
        (Operation::Remove, "") => Some(None),
        (Operation::Remove, _) => {
            reader.tell(Severity::Malformed, &format!("{at}.value"), "a label that is removed has no value");
            None
        }
        (Operation::Upsert, "") => {
            let text = "expected an expression, such as request.host; labels without a value are removed with REMOVE";
            reader.tell(Severity::Malformed, &format!("{at}.value"), text);
            None
        }
        (Operation::Upsert, value) => match Expression::new(value) {
            Ok(expression) => Some(Some(expression)),
            Err(error) => {
                reader.unsupported(&format!("{at}.value"), error);
                None
            }
        },
    }
}
