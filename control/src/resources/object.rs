//! A Kubernetes object, whoever has read it: from a file, or from a cluster.
use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::time::UnixTime;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::{ObjectName, Problems, Severity};

/// An object. Its body is read by who knows its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// API group; empty for core.
    pub group: Arc<str>,
    /// Version of the group.
    pub version: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace; empty for what has none.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// When it was made (`creationTimestamp`); 1970 where that is not said.
    pub created: UnixTime,
    /// Which edit of the specification this is.
    pub generation: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The whole document as JSON. A tree of it takes about ten times as much, and is of use while it is translated only.
    text: Box<str>,
}

/// Why a document is no object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ObjectError {
    /// A field that every object has is not there, or is no text.
    #[error("{0} is missing or is no text: every object has it")]
    Missing(&'static str),
    /// A field of the metadata is no such thing.
    #[error("metadata.{field}: {text}")]
    Metadata {
        /// The field.
        field: &'static str,
        /// What is wrong.
        text: String,
    },
}

/// Kinds that belong to no namespace, of those that are read.
const CLUSTER_SCOPED: [&str; 2] = ["GatewayClass", "Namespace"];

/// A text that says something.
fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

impl Object {
    /// The object of a document. Where it names no namespace that is `default`, as for `kubectl`.
    ///
    /// # Errors
    /// It has no `apiVersion`, `kind` or name, or metadata that make no sense.
    pub fn new(body: Value) -> Result<Self, ObjectError> {
        let api_version = text(body.get("apiVersion")).ok_or(ObjectError::Missing("apiVersion"))?;
        let kind = text(body.get("kind")).ok_or(ObjectError::Missing("kind"))?;
        let metadata = |field: &str| body.get("metadata").and_then(|metadata| metadata.get(field));
        let name = text(metadata("name")).ok_or(ObjectError::Missing("metadata.name"))?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let scoped = !CLUSTER_SCOPED.contains(&kind);
        let namespace = if scoped { text(metadata("namespace")).unwrap_or("default") } else { "" };
        let wrong = |field, text: String| ObjectError::Metadata { field, text };
        let created = match metadata("creationTimestamp") {
            None | Some(Value::Null) => UnixTime(0),
            Some(value) => {
                let time = value.as_str().unwrap_or_default().parse::<jiff::Timestamp>();
                let time = time.map_err(|error| wrong("creationTimestamp", error.to_string()))?;
                UnixTime(u64::try_from(time.as_second()).unwrap_or_default())
            }
        };
        let texts = |field| match metadata(field) {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(value) => BTreeMap::<String, String>::deserialize(value)
                .map_err(|_| wrong(field, "expected names with texts as their values".to_owned())),
        };
        Ok(Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            created,
            generation: metadata("generation").and_then(Value::as_i64).unwrap_or_default(),
            labels: texts("labels")?,
            annotations: texts("annotations")?,
            text: body.to_string().into(),
        })
    }

    /// The whole document, read anew each time.
    #[must_use]
    pub fn body(&self) -> Value {
        // It has been written by us.
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// What names it.
    #[must_use]
    pub fn id(&self) -> ObjectName {
        ObjectName {
            group: Arc::clone(&self.group),
            kind: Arc::clone(&self.kind),
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(&self.name),
        }
    }

    /// `spec` as a `T`. Each field of it that `T` does not know is a problem ([`Severity::Malformed`]), and so is what is no
    /// `T` at all: then there is `None`. No `spec` is an empty one.
    ///
    /// A resource that must fail closed asks [`Problems::count`] before and after, or reads with [`Object::read`].
    pub fn spec<T: DeserializeOwned>(&self, problems: &mut Problems) -> Option<T> {
        self.read("spec", &self.specification(), problems)
    }

    /// What stands at `spec`; nothing there is as an empty one.
    fn specification(&self) -> Value {
        match self.body().get_mut("spec").map(Value::take) {
            None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
            Some(spec) => spec,
        }
    }

    /// What a `T` is interested in of `spec`. For kinds that others read in full: what `T` does not know is no problem.
    pub fn excerpt<T: DeserializeOwned>(&self, problems: &mut Problems) -> Option<T> {
        let read = deserialize("spec", &self.specification(), |_| {});
        self.or_malformed(read, problems)
    }

    /// `value`, which is the object's `field`, as a `T`; problems as for [`Object::spec`].
    pub fn read<T: DeserializeOwned>(
        &self,
        field: &str,
        value: &Value,
        problems: &mut Problems,
    ) -> Option<T> {
        let mut unknown = Vec::new();
        let read = deserialize(field, value, |path| unknown.push(path));
        for field in unknown {
            let text = "no such field is known here; correct its name or remove it";
            problems.push(self.id(), field, Severity::Malformed, text);
        }
        self.or_malformed(read, problems)
    }

    /// What was read, or the problem that it was not.
    fn or_malformed<T>(&self, read: Result<T, (String, String)>, problems: &mut Problems) -> Option<T> {
        read.map_err(|(field, text)| problems.push(self.id(), field, Severity::Malformed, text)).ok()
    }
}

/// `value`, which is a `field`, as a `T`, or the path of what makes it none and why. What `T` does not know is for `unknown`, by
/// its path.
fn deserialize<T: DeserializeOwned>(
    field: &str,
    value: &Value,
    mut unknown: impl FnMut(String),
) -> Result<T, (String, String)> {
    let mut track = serde_path_to_error::Track::new();
    let reader = serde_path_to_error::Deserializer::new(value, &mut track);
    serde_ignored::deserialize(reader, |path| unknown(below(field, &path.to_string())))
        .map_err(|error| (below(field, &track.path().to_string()), error.to_string()))
}

/// A path below a field. Optional parts of it are written with `?` by the one crate, and `.` is the other's root.
fn below(field: &str, path: &str) -> String {
    let parts = path.split('.').filter(|part| !part.is_empty() && *part != "?");
    parts.fold(field.to_owned(), |path, part| {
        let index = part.starts_with('[') || part.bytes().all(|b| b.is_ascii_digit());
        match index {
            true => format!("{path}[{}]", part.trim_matches(['[', ']'])),
            false => format!("{path}.{part}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Spec {
        rules: Vec<Rule>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Rule {
        name: Option<String>,
        port: Option<u16>,
    }

    fn object(spec: &Value) -> Object {
        let metadata =
            json!({"name": "r", "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"a": "b"}});
        Object::new(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": metadata,
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn metadata_are_read() {
        let object = object(&json!({}));
        assert_eq!((&*object.group, &*object.version), ("gateway.networking.k8s.io", "v1"));
        assert_eq!(object.id().to_string(), "HTTPRoute default/r");
        assert_eq!((object.created, &*object.labels["a"]), (UnixTime(1_767_323_045), "b"));
        let bare = |body| Object::new(body).map(|object| object.id().to_string());
        let class = json!({"apiVersion": "x/v1", "kind": "GatewayClass", "metadata": {"name": "c", "namespace": "n"}});
        assert_eq!(bare(class), Ok("GatewayClass c".to_owned()));
        assert_eq!(bare(json!({"kind": "Service"})), Err(ObjectError::Missing("apiVersion")));
        let odd =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {"a": 1}}});
        assert!(matches!(bare(odd), Err(ObjectError::Metadata { field: "labels", .. })));
    }

    #[test]
    fn what_is_unknown_or_malformed_is_told_by_its_path() {
        let read = |spec: Value| {
            let mut problems = Problems::default();
            let read: Option<Spec> = object(&spec).spec(&mut problems);
            let problems: Vec<_> = problems.iter().map(|problem| problem.field.clone()).collect();
            (read.is_some(), problems)
        };
        assert_eq!(read(json!({"rules": [{"name": "a", "port": 80}]})), (true, vec![]));
        assert_eq!(
            read(json!({"rules": [{}, {"nmae": "a"}], "x": {"y": 1}})),
            (true, vec!["spec.rules[1].nmae".to_owned(), "spec.x".to_owned()])
        );
        assert_eq!(
            read(json!({"rules": [{"port": 80}, {"port": "http"}]})),
            (false, vec!["spec.rules[1].port".to_owned()])
        );
        assert_eq!(read(json!({"rules": [{"port": 65536}]})), (false, vec!["spec.rules[0].port".to_owned()]));
        assert_eq!(read(Value::Null), (false, vec!["spec".to_owned()]));
    }
}
