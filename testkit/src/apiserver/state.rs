//! The objects of a stand-in, their versions, and what has changed.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Asked;
use super::kinds::ApiKind;

/// Plural, namespace, name.
type Key = (String, String, String);

/// A change.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) plural: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) what: &'static str,
    pub(super) object: Value,
}

/// Why a request is refused: the code and the reason.
pub(super) type Refusal = (u16, String);

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct State {
    kinds: Vec<ApiKind>,
    version: u64,
    objects: BTreeMap<Key, Value>,
    changes: Vec<Change>,
    /// Changes up to this version are forgotten.
    forgotten: u64,
    forbidden: BTreeSet<(String, String)>,
    hidden: BTreeSet<String>,
    pub(super) meddle: usize,
    pub(super) requests: Vec<Asked>,
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl State {
    pub(super) fn new(kinds: &[ApiKind]) -> Self {
        Self { kinds: kinds.to_vec(), version: 1, ..Self::default() }
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn kinds(&self) -> &[ApiKind] {
        &self.kinds
    }

    pub(super) fn kind(&self, group: &str, version: &str, plural: &str) -> Option<ApiKind> {
        let same = |kind: &&ApiKind| (kind.group, kind.version, kind.plural) == (group, version, plural);
        self.kinds.iter().find(same).copied()
    }

    pub(super) fn install(&mut self, kinds: &[ApiKind]) {
        self.version += 1;
        self.kinds.extend_from_slice(kinds);
    }

    pub(super) fn uninstall(&mut self, plural: &str) {
        let gone: Vec<Key> = self.objects.keys().filter(|key| key.0 == plural).cloned().collect();
        gone.iter().for_each(|(plural, namespace, name)| self.delete(plural, namespace, name));
        self.version += 1;
        self.kinds.retain(|kind| kind.plural != plural);
    }

    pub(super) fn forget(&mut self) {
        self.version += 1;
        self.forgotten = self.version;
        self.changes.clear();
    }

    pub(super) fn forbid(&mut self, verb: &str, plural: &str, forbidden: bool) {
        self.version += 1;
        let entry = (verb.to_owned(), plural.to_owned());
        match forbidden {
            true => _ = self.forbidden.insert(entry),
            false => _ = self.forbidden.remove(&entry),
        }
    }

    pub(super) fn hide(&mut self, group: &str, hidden: bool) {
        self.version += 1;
        match hidden {
            true => _ = self.hidden.insert(group.to_owned()),
            false => _ = self.hidden.remove(group),
        }
    }

    pub(super) fn is_hidden(&self, group: &str) -> bool {
        self.hidden.contains(group)
    }

    pub(super) fn is_forbidden(&self, verb: &str, plural: &str) -> bool {
        self.forbidden.contains(&(verb.to_owned(), plural.to_owned()))
    }

    fn record(&mut self, key: &Key, what: &'static str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let (plural, namespace, name) = key.clone();
        self.changes.push(Change {
            version: self.version,
            plural,
            namespace,
            name,
            what,
            object: object.clone(),
        });
        match what {
            "DELETED" => _ = self.objects.remove(key),
            _ => _ = self.objects.insert(key.clone(), object),
        }
    }

    /// Creates it or replaces all but its status.
    pub(super) fn apply(&mut self, mut object: Value) {
        let group = text(&object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
        let named = |kind: &&ApiKind| (kind.group, kind.kind) == (group, text(&object, "/kind"));
        let kind = *self.kinds.iter().find(named).unwrap_or_else(|| panic!("no such kind: {object}"));
        let namespace = match kind.namespaced {
            true => {
                object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default").to_owned()
            }
            false => String::new(),
        };
        let name = text(&object, "/metadata/name").to_owned();
        assert!(!name.is_empty(), "a name: {object}");
        let key = (kind.plural.to_owned(), namespace.clone(), name);
        if kind.namespaced {
            object["metadata"]["namespace"] = namespace.into();
        }
        let old = self.objects.get(&key);
        let generation = old.map_or(1, |old| {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(1);
            generation + i64::from(old.get("spec") != object.get("spec"))
        });
        object["metadata"]["generation"] = generation.into();
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        if let Some(status) = old.and_then(|old| old.get("status")) {
            object["status"] = status.clone();
        }
        let what = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.record(&key, what, object);
    }

    pub(super) fn delete(&mut self, plural: &str, namespace: &str, name: &str) {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        if let Some(object) = self.objects.get(&key).cloned() {
            self.record(&key, "DELETED", object);
        }
    }

    pub(super) fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(plural.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    /// Writes a status: fields in place of what they were, or all of it. `upon`: the version that is written upon.
    pub(super) fn write_status(
        &mut self,
        plural: &str,
        namespace: &str,
        name: &str,
        upon: Option<&str>,
        status: Value,
        whole: bool,
    ) -> Result<Value, Refusal> {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let missing = || (404, format!("{plural} \"{name}\" not found"));
        let mut object = self.objects.get(&key).cloned().ok_or_else(missing)?;
        if upon.is_some() && self.meddle > 0 {
            self.meddle -= 1;
            object["metadata"]["labels"]["meddled"] = self.meddle.to_string().into();
            self.record(&key, "MODIFIED", object.clone());
            object = self.objects.get(&key).cloned().ok_or_else(missing)?;
        }
        if upon.is_some_and(|upon| upon != text(&object, "/metadata/resourceVersion")) {
            return Err((
                409,
                "the object has been modified; please apply your changes to the latest version and try again"
                    .to_owned(),
            ));
        }
        let mut fields = match object.get("status").and_then(Value::as_object) {
            Some(fields) if !whole => fields.clone(),
            _ => Map::new(),
        };
        for (field, value) in status.as_object().into_iter().flatten() {
            match value {
                Value::Null => _ = fields.remove(field),
                value => _ = fields.insert(field.clone(), value.clone()),
            }
        }
        // What changes nothing is no write.
        if object.get("status") != Some(&Value::Object(fields.clone())) {
            object["status"] = fields.into();
            self.record(&key, "MODIFIED", object);
        }
        Ok(self.objects.get(&key).cloned().unwrap_or_default())
    }

    /// Objects of a kind, in order.
    pub(super) fn list(&self, plural: &str, namespace: Option<&str>, name: Option<&str>) -> Vec<Value> {
        let wanted = |key: &Key| {
            key.0 == plural && namespace.is_none_or(|of| of == key.1) && name.is_none_or(|of| of == key.2)
        };
        self.objects.iter().filter(|(key, _)| wanted(key)).map(|(_, object)| object.clone()).collect()
    }

    /// What has changed since a version; 410 if that is forgotten.
    pub(super) fn since(&self, version: u64) -> Result<Vec<Change>, Refusal> {
        if version < self.forgotten {
            return Err((410, format!("too old resource version: {version} ({})", self.forgotten)));
        }
        Ok(self.changes.iter().filter(|change| change.version > version).cloned().collect())
    }
}

/// What the API says when it refuses.
pub(super) fn status(refusal: &Refusal) -> Value {
    let (code, message) = refusal;
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        _ => "Invalid",
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
}
