//! What is to be written so that an object's status says what we say: a pure function of what it says now.
//!
//! Entries and conditions of others stay as they are, octet for octet; ours that say the right thing already do, too. So what
//! is written twice is written once: the second time there is nothing to do.
use serde_json::{Map, Value, json};

use super::super::kinds::Shape;
use super::CONTROLLER;

/// Octets of a message, at most: the API takes 32768 characters, and nobody reads them.
const MAX_MESSAGE: usize = 4096;

/// A condition as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// `type`.
    pub(super) kind: String,
    /// `status`: True or False.
    pub(super) holds: bool,
    /// `reason`.
    pub(super) reason: String,
    /// `message`.
    pub(super) message: String,
    /// `observedGeneration`.
    pub(super) generation: i64,
}

/// What is to be said of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// Entries of a list, each with its reference. Entries of ours for references in `left` are another waypoint's; all
    /// others of ours go.
    Entries { entries: Vec<(Value, Vec<Wish>)>, left: Vec<Value> },
    /// Conditions. Those of types in `ours` that are not wanted go.
    Conditions { ours: &'static [&'static str], wishes: Vec<Wish> },
    /// A Gateway of ours: its conditions, and of each of its listeners; and where it is.
    Gateway { wishes: Vec<Wish>, listeners: Vec<(String, Vec<Wish>)>, addresses: Value },
}

/// Fields of `status` to be written in place of what they are; `None`: all is as it should be. `namespace` is the object's own,
/// `now` the time as the API writes it.
pub(super) fn patch(
    shape: Shape,
    status: &Value,
    namespace: &str,
    wanted: &Wanted,
    now: &str,
) -> Option<Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        let present = status.get(name).unwrap_or(&Value::Null);
        let empty = present.is_null() && value.as_array().is_some_and(Vec::is_empty);
        if *present != value && !empty {
            fields.insert(name.to_owned(), value);
        }
    };
    match wanted {
        Wanted::Entries { entries, left } => {
            let (list, reference, most) = match shape {
                Shape::Ancestors => ("ancestors", "ancestorRef", 16),
                _ => ("parents", "parentRef", 32),
            };
            let merge = List { reference, most, namespace, now };
            put(list, merge.merged(status.get(list), entries, left));
        }
        Wanted::Conditions { ours, wishes } => {
            let is_ours = |kind: &str| ours.contains(&kind);
            put("conditions", conditions(status.get("conditions"), wishes, is_ours, now));
        }
        Wanted::Gateway { wishes, listeners, addresses } => {
            let is_ours = |kind: &str| wishes.iter().any(|wish| wish.kind == kind);
            put("conditions", conditions(status.get("conditions"), wishes, is_ours, now));
            let all = |_: &str| true;
            let listener = |(name, wishes): &(String, Vec<Wish>)| {
                let present = status.get("listeners").and_then(Value::as_array).into_iter().flatten();
                let mut same = present.filter(|each| each.get("name").and_then(Value::as_str) == Some(name));
                let present = same.next().and_then(|each| each.get("conditions"));
                let conditions = conditions(present, wishes, all, now);
                json!({"name": name, "attachedRoutes": 0, "supportedKinds": [], "conditions": conditions})
            };
            put("listeners", listeners.iter().map(listener).collect());
            put("addresses", addresses.clone());
        }
    }
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// What makes two references the same: defaults are those of the API.
pub(super) fn key(reference: &Value, namespace: &str) -> (String, String, String, String, String, i64) {
    let text = |field: &str, default: &str| {
        reference.get(field).and_then(Value::as_str).unwrap_or(default).to_owned()
    };
    let group = match text("group", super::super::super::gateway::GATEWAY_GROUP) {
        group if group == "core" => String::new(),
        group => group,
    };
    let port = reference.get("port").and_then(Value::as_i64).unwrap_or_default();
    (
        group,
        text("kind", "Gateway"),
        text("namespace", namespace),
        text("name", ""),
        text("sectionName", ""),
        port,
    )
}

/// How a list of entries is merged.
struct List<'a> {
    reference: &'static str,
    most: usize,
    namespace: &'a str,
    now: &'a str,
}

impl List<'_> {
    fn merged(&self, present: Option<&Value>, entries: &[(Value, Vec<Wish>)], left: &[Value]) -> Value {
        let key = |reference: &Value| key(reference, self.namespace);
        let mut missing: Vec<_> =
            entries.iter().map(|(reference, wishes)| (key(reference), reference, wishes)).collect();
        let mut list = Vec::new();
        for entry in present.and_then(Value::as_array).into_iter().flatten() {
            if entry.get("controllerName").and_then(Value::as_str) != Some(CONTROLLER) {
                list.push(entry.clone());
                continue;
            }
            let of = key(entry.get(self.reference).unwrap_or(&Value::Null));
            if let Some(place) = missing.iter().position(|(key, _, _)| *key == of) {
                let (_, reference, wishes) = missing.remove(place);
                list.push(self.entry(Some(entry), reference, wishes));
            } else if left.iter().any(|reference| key(reference) == of) {
                list.push(entry.clone());
            }
        }
        for (_, reference, wishes) in missing {
            // Others were first: the API takes no more.
            if list.len() < self.most {
                list.push(self.entry(None, reference, wishes));
            }
        }
        list.into()
    }

    fn entry(&self, present: Option<&Value>, reference: &Value, wishes: &[Wish]) -> Value {
        let conditions =
            conditions(present.and_then(|entry| entry.get("conditions")), wishes, |_| true, self.now);
        // The API fills in defaults of a reference: that is no reason to write.
        let reference = present.and_then(|entry| entry.get(self.reference)).unwrap_or(reference);
        json!({self.reference: reference, "controllerName": CONTROLLER, "conditions": conditions})
    }
}

/// Conditions: those that are not `ours` as they are, ours as wished.
fn conditions(present: Option<&Value>, wishes: &[Wish], ours: impl Fn(&str) -> bool, now: &str) -> Value {
    let mut missing: Vec<&Wish> = wishes.iter().collect();
    let mut list = Vec::new();
    for condition in present.and_then(Value::as_array).into_iter().flatten() {
        let kind = condition.get("type").and_then(Value::as_str).unwrap_or_default();
        if let Some(place) = missing.iter().position(|wish| wish.kind == kind) {
            list.push(missing.remove(place).met(Some(condition), now));
        } else if !ours(kind) {
            list.push(condition.clone());
        }
    }
    list.extend(missing.into_iter().map(|wish| wish.met(None, now)));
    list.into()
}

impl Wish {
    /// The condition as it is written, in place of one of its type.
    fn met(&self, present: Option<&Value>, now: &str) -> Value {
        let status = if self.holds { "True" } else { "False" };
        let message = shortened(&self.message);
        let field = |name: &str| present.and_then(|condition| condition.get(name));
        let same = |name: &str, value: &str| field(name).and_then(Value::as_str).unwrap_or_default() == value;
        let generation = field("observedGeneration").and_then(Value::as_i64) == Some(self.generation);
        if let Some(present) = present
            && generation
            && same("status", status)
            && same("reason", &self.reason)
            && same("message", message)
        {
            return present.clone();
        }
        let since = field("lastTransitionTime").filter(|_| same("status", status)).cloned();
        json!({
            "type": self.kind,
            "status": status,
            "observedGeneration": self.generation,
            "lastTransitionTime": since.unwrap_or_else(|| now.into()),
            "reason": self.reason,
            "message": message,
        })
    }
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_MESSAGE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
