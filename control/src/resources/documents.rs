//! The objects of a file of manifests: YAML of one or more documents, or JSON; lists of objects are taken apart.
use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde_json::Value;

use super::{Object, ObjectError};

/// Why a file is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DocumentError {
    /// It is no YAML or JSON.
    #[error("document {number}: {text}")]
    Syntax {
        /// Which document, from 1.
        number: usize,
        /// What the parser says, with line and column.
        text: String,
    },
    /// A document is no object.
    #[error("document {number}: {error}")]
    Object {
        /// Which document, from 1.
        number: usize,
        /// Why.
        error: ObjectError,
    },
    /// Two objects have the same name.
    #[error("document {number}: {object} is there twice: give one of the two another name or remove it")]
    Twice {
        /// Which document, from 1.
        number: usize,
        /// The object.
        object: String,
    },
}

/// Reads the objects of a text; `json`: it is no YAML. Documents with nothing in them are none.
///
/// # Errors
/// Something in it is no object: then nothing of it is to be used.
pub fn read(text: &str, json: bool) -> Result<Vec<Object>, DocumentError> {
    let mut objects: Vec<Object> = Vec::new();
    let mut names = BTreeSet::new();
    for (index, value) in values(text, json).enumerate() {
        let number = index + 1;
        let value = value.map_err(|text| DocumentError::Syntax { number, text })?;
        for value in items(value) {
            let object = Object::new(value).map_err(|error| DocumentError::Object { number, error })?;
            if !names.insert(object.id()) {
                return Err(DocumentError::Twice { number, object: object.id().to_string() });
            }
            objects.push(object);
        }
    }
    Ok(objects)
}

/// The documents. They are read as YAML's own values first, as those know when a key is there twice.
fn values(text: &str, json: bool) -> impl Iterator<Item = Result<Value, String>> {
    let yaml = (!json).then(|| serde_yaml_ng::Deserializer::from_str(text));
    let yaml = yaml
        .into_iter()
        .flatten()
        .map(|document| serde_yaml_ng::Value::deserialize(document).map_err(|error| error.to_string()));
    let json =
        json.then(|| serde_json::from_str::<serde_yaml_ng::Value>(text).map_err(|error| error.to_string()));
    yaml.chain(json).map(|value| serde_json::to_value(value?).map_err(|error| error.to_string()))
}

/// The objects of a list, of `v1` or of one kind (`kubectl get -o yaml`), or the one object.
fn items(value: Value) -> Vec<Value> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    match value {
        Value::Null => Vec::new(),
        Value::Object(mut list)
            if kind.ends_with("List") && list.get("items").is_some_and(Value::is_array) =>
        {
            let of = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
            let version = list.get("apiVersion").cloned();
            let Some(Value::Array(items)) = list.remove("items") else { return Vec::new() };
            let named = |mut item: Value| {
                // Items of a typed list need not say again what they are.
                if let (Some(kind), Some(version), Value::Object(fields)) = (of, &version, &mut item) {
                    fields.entry("kind").or_insert_with(|| kind.into());
                    fields.entry("apiVersion").or_insert_with(|| version.clone());
                }
                item
            };
            items.into_iter().map(named).flat_map(self::items).collect()
        }
        value => vec![value],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, json: bool) -> Result<Vec<String>, String> {
        let objects = read(text, json).map_err(|error| error.to_string())?;
        Ok(objects.iter().map(|object| object.id().to_string()).collect())
    }

    #[test]
    fn documents_lists_and_json_are_read() {
        let service = |name: &str| {
            format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: n}}}}")
        };
        let text = format!("# nothing\n---\n{}\n---\n---\n{}\n", service("a"), service("b"));
        assert_eq!(names(&text, false), Ok(vec!["Service n/a".to_owned(), "Service n/b".to_owned()]));
        let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}\n- {}", service("a"), service("b"));
        assert_eq!(names(&list, false).map(|names| names.len()), Ok(2));
        let typed = r#"{"apiVersion": "v1", "kind": "ServiceList", "items": [{"metadata": {"name": "c"}}]}"#;
        assert_eq!(names(typed, true), Ok(vec!["Service default/c".to_owned()]));
        assert_eq!(names("", false), Ok(vec![]));
    }

    #[test]
    fn what_is_no_object_refuses_the_file_by_document() {
        for (text, expected) in [
            ("a: [", "document 1: did not find expected node content"),
            ("apiVersion: v1", "document 1: kind is missing"),
            ("null\n---\njust text", "document 2: apiVersion is missing"),
            ("a: 1\na: 2", "document 1: duplicate entry with key \"a\""),
            (
                "{apiVersion: v1, kind: S, metadata: {name: a}}\n---\n{apiVersion: v1, kind: S, metadata: {name: a}}",
                "document 2: S default/a is there twice",
            ),
            ("a: &x [1]\nb: [*x, *y]", "document 1: unknown anchor"),
        ] {
            let error = names(text, false).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(names(r#"{"a": 1, "a": 2}"#, true).unwrap_err().contains("duplicate entry"));
    }

    // "Billion laughs": nine levels of ten aliases each.
    #[test]
    fn aliases_do_not_multiply_without_bound() {
        let mut text = String::from("a0: &a0 [x]\n");
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(names(&text, false).unwrap_err().contains("repetition limit exceeded"));
    }
}
