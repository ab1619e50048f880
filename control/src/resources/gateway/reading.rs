//! Reading one route: what is wrong with it, and which of its rules that makes invalid.
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::problem::{Problems, Severity};
use super::super::services::Services;
use super::super::status::{Condition, ConditionKind, ParentRef, Reason, Status};
use super::super::{Object, Objects, World};

/// What is known beside the route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) objects: &'a Objects,
    pub(super) world: &'a World,
    pub(super) services: &'a Services,
}

/// What makes something invalid.
#[derive(Clone, Debug)]
struct Fault {
    reason: Reason,
    text: Arc<str>,
}

/// A route that is being read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) object: &'a Object,
    pub(super) context: Context<'a>,
    problems: &'a mut Problems,
    /// What makes the rule invalid that is being read.
    fault: Option<Fault>,
    /// Rules that are, and all.
    faults: Vec<Fault>,
    rules: usize,
    unresolved: Option<Fault>,
}

impl<'a> Reading<'a> {
    pub(super) const fn new(object: &'a Object, context: Context<'a>, problems: &'a mut Problems) -> Self {
        Self { object, context, problems, fault: None, faults: Vec::new(), rules: 0, unresolved: None }
    }

    /// The specification. Rules are read one by one, so that one that is malformed spoils no other.
    pub(super) fn spec<T: DeserializeOwned>(&mut self) -> Option<T> {
        self.object.spec(self.problems)
    }

    /// `value` as a `T`; if it is none, or has a field that `T` has not, the rule is invalid.
    pub(super) fn read<T: DeserializeOwned>(&mut self, field: &str, value: &Value) -> Option<T> {
        let before = self.problems.count();
        let read = self.object.read(field, value, self.problems);
        if let Some(first) = self.problems.iter().nth(before) {
            let text = format!("{}: {}", first.field, first.text);
            self.fault.get_or_insert_with(|| Fault { reason: Reason::UnsupportedValue, text: text.into() });
        }
        read
    }

    fn invalid(&mut self, field: &str, severity: Severity, reason: Reason, text: &str) {
        let told = format!("{field}: {text}");
        self.problems.push(self.object.id(), field, severity, format!("{reason}: {text}"));
        self.fault.get_or_insert_with(|| Fault { reason, text: told.into() });
    }

    /// A value that the API does not know: the rule is invalid.
    pub(super) fn malformed(&mut self, field: &str, text: impl AsRef<str>) {
        self.invalid(field, Severity::Malformed, Reason::UnsupportedValue, text.as_ref());
    }

    /// Something that the API knows and Adit cannot do: the rule is invalid.
    pub(super) fn unsupported(&mut self, field: &str, text: impl AsRef<str>) {
        self.invalid(field, Severity::Unsupported, Reason::UnsupportedValue, text.as_ref());
    }

    /// Filters that cannot be together: the rule is invalid.
    pub(super) fn incompatible(&mut self, field: &str, text: impl AsRef<str>) {
        self.invalid(field, Severity::Malformed, Reason::IncompatibleFilters, text.as_ref());
    }

    /// A list with more items than the API allows: the rule is invalid.
    pub(super) fn limit(&mut self, field: &str, count: usize, most: usize) {
        if count > most {
            self.malformed(field, format!("{count} items, but at most {most} are allowed"));
        }
    }

    /// A reference that leads nowhere. What that means for requests is up to who has it.
    pub(super) fn unresolved(&mut self, field: &str, reason: Reason, text: impl AsRef<str>) {
        let text = text.as_ref();
        self.problems.push(self.object.id(), field, Severity::Unresolved, format!("{reason}: {text}"));
        self.unresolved.get_or_insert_with(|| Fault { reason, text: format!("{field}: {text}").into() });
    }

    /// A filter of a backend that cannot be honoured: its share fails, the rule stays.
    pub(super) fn refused_filter(&mut self, field: &str, text: &str) {
        let told = format!("{}: {text}", Reason::UnsupportedValue);
        self.problems.push(self.object.id(), field, Severity::Unsupported, told);
    }

    /// What has made the rule invalid so far was none of it.
    pub(super) fn forget(&mut self) {
        self.fault = None;
    }

    /// Something that is not there, which makes no rule invalid.
    pub(super) fn problem(&mut self, field: &str, reason: Reason, text: &str) {
        self.problems.push(self.object.id(), field, Severity::Unresolved, format!("{reason}: {text}"));
    }

    /// Something that has another effect than one may think.
    pub(super) fn note(&mut self, field: &str, text: impl Into<String>) {
        self.problems.push(self.object.id(), field, Severity::Note, text);
    }

    /// The rule has been read; why it is invalid, if it is.
    pub(super) fn end_rule(&mut self) -> Option<Arc<str>> {
        self.rules += 1;
        let fault = self.fault.take()?;
        let text = Arc::clone(&fault.text);
        self.faults.push(fault);
        Some(text)
    }

    /// What is said of the route for a parent that it attaches to.
    pub(super) fn accepted(&self, parent: ParentRef) -> Status {
        let mut status = self.status(parent);
        let condition = |kind, holds, reason, message: String| Condition { kind, holds, reason, message };
        let accepted = match &self.faults[..] {
            [first, ..] if self.faults.len() == self.rules => {
                condition(ConditionKind::Accepted, false, first.reason, first.text.to_string())
            }
            faults => {
                if let Some(first) = faults.first() {
                    let message = format!("requests for this rule get status 500: {}", first.text);
                    status.set(condition(ConditionKind::PartiallyInvalid, true, first.reason, message));
                }
                condition(ConditionKind::Accepted, true, Reason::Accepted, String::new())
            }
        };
        status.set(accepted);
        status.set(match &self.unresolved {
            Some(Fault { reason, text }) => {
                condition(ConditionKind::ResolvedRefs, false, *reason, text.to_string())
            }
            None => condition(ConditionKind::ResolvedRefs, true, Reason::ResolvedRefs, String::new()),
        });
        status
    }

    /// What is said of it for a parent that is none.
    pub(super) fn refused(&self, parent: ParentRef, message: String) -> Status {
        let mut status = self.status(parent);
        let (kind, reason) = (ConditionKind::Accepted, Reason::NoMatchingParent);
        status.set(Condition { kind, holds: false, reason, message });
        status
    }

    fn status(&self, parent: ParentRef) -> Status {
        let object = self.object.id();
        Status { object, generation: self.object.generation, parent: Some(parent), conditions: Vec::new() }
    }
}
