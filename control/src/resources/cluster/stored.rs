//! An object as a cluster hands it out, taken apart: what is translated, and what is only needed to write its status.
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::object::{Object, ObjectError};
use super::kinds::Kind;

/// What `kubectl apply` keeps of the document that it was given.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    /// What is translated: without its status, and without what changes with every write. Two that are equal come to the same.
    pub(super) object: Arc<Object>,
    /// Its status, as it is in the cluster: JSON, of which a tree takes several times as much.
    status: Box<str>,
    /// Which write of it this is.
    pub(super) version: Arc<str>,
    /// The version of its group in which it was read.
    pub(super) api: &'static str,
}

/// An object that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{namespace}/{name}: {error}")]
pub(super) struct Unreadable {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) error: ObjectError,
}

impl Stored {
    /// Takes apart a document of `kind` that was read in the version `api`. In lists, documents do not say what they are.
    ///
    /// # Errors
    /// It is no object.
    pub(super) fn new(kind: &Kind, api: &'static str, mut body: Value) -> Result<Self, Unreadable> {
        let text = |body: &Value, field: &str| -> String {
            let value = body.get("metadata").and_then(|metadata| metadata.get(field));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (namespace, name) = (text(&body, "namespace"), text(&body, "name"));
        let version = text(&body, "resourceVersion").into();
        let mut status = Value::Null;
        if let Some(fields) = body.as_object_mut() {
            let api_version = match kind.group {
                "" => api.to_owned(),
                group => format!("{group}/{api}"),
            };
            fields.insert("apiVersion".to_owned(), api_version.into());
            fields.insert("kind".to_owned(), kind.kind.into());
            status = fields.remove("status").unwrap_or_default();
            if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
                strip(metadata);
            }
        }
        let object = Object::new(body).map_err(|error| Unreadable { namespace, name, error })?;
        Ok(Self { object: Arc::new(object), status: status.to_string().into(), version, api })
    }

    /// Its status, as it is in the cluster, read anew each time.
    pub(super) fn status(&self) -> Value {
        // It has been written by us.
        serde_json::from_str(&self.status).unwrap_or_default()
    }
}

/// Takes away what no translator reads and every write changes.
fn strip(metadata: &mut Map<String, Value>) {
    metadata.remove("managedFields");
    metadata.remove("resourceVersion");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds::find;
    use super::*;

    fn read(version: &str, status: &Value) -> Result<Stored, Unreadable> {
        let metadata = json!({
            "name": "a", "namespace": "n", "resourceVersion": version, "generation": 3,
            "managedFields": [{"manager": version}],
            "annotations": {LAST_APPLIED: version, "x": "y"},
        });
        let kind = find("gateway.networking.k8s.io", "HTTPRoute").unwrap();
        Stored::new(kind, "v1", json!({"metadata": metadata, "spec": {"rules": []}, "status": status}))
    }

    #[test]
    fn what_changes_with_every_write_is_no_part_of_the_object() {
        let (one, two) = (read("1", &json!({"parents": []})).unwrap(), read("2", &Value::Null).unwrap());
        assert_eq!(one.object, two.object);
        assert_eq!((&*one.version, one.status()), ("1", json!({"parents": []})));
        assert_eq!(
            (&*one.object.group, &*one.object.version, &*one.object.kind, one.object.generation),
            ("gateway.networking.k8s.io", "v1", "HTTPRoute", 3)
        );
        assert_eq!(one.object.body()["metadata"]["annotations"], json!({"x": "y"}));
    }

    #[test]
    fn what_is_no_object_is_told_by_name() {
        let kind = find("", "Service").unwrap();
        let bad = json!({"metadata": {"name": "a", "namespace": "n", "labels": {"x": 1}}});
        let error = Stored::new(kind, "v1", bad).unwrap_err();
        assert_eq!(error.to_string(), "n/a: metadata.labels: expected names with texts as their values");
        assert!(Stored::new(kind, "v1", json!(7)).is_err());
    }
}
