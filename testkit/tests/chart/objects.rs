//! The objects of a release, found by kind and name.
use serde::Deserialize;
use serde_json::Value;

/// All objects, in the order they were rendered in.
#[derive(Clone, Debug)]
pub(crate) struct Objects(pub(crate) Vec<Value>);

impl Objects {
    /// From the documents that `helm template` prints.
    pub(crate) fn read(text: &str) -> Self {
        let documents = serde_yaml_ng::Deserializer::from_str(text);
        let values = documents.map(|document| Value::deserialize(document).expect("YAML"));
        Self(values.filter(|value| !value.is_null()).collect())
    }

    /// The one object of a kind.
    pub(crate) fn the(&self, kind: &str) -> &Value {
        let [object] = self.all(kind)[..] else { panic!("not one {kind}: {:?}", self.names()) };
        object
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// `Kind namespace/name` of each, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let mut names: Vec<String> = self
            .0
            .iter()
            .map(|object| {
                let metadata = &object["metadata"];
                let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
                format!("{} {namespace}/{name}", text(&object["kind"]))
            })
            .collect();
        names.sort();
        names
    }

    /// The one object that makes pods.
    pub(crate) fn workload(&self) -> &Value {
        let makers =
            self.0.iter().filter(|object| object["kind"] == "DaemonSet" || object["kind"] == "Deployment");
        let [object] = makers.collect::<Vec<_>>()[..] else { panic!("not one: {:?}", self.names()) };
        object
    }

    /// The specification of its pods.
    pub(crate) fn pod(&self) -> &Value {
        &self.workload()["spec"]["template"]["spec"]
    }

    /// Its one container.
    pub(crate) fn container(&self) -> &Value {
        let containers = self.pod()["containers"].as_array().expect("containers");
        let [container] = &containers[..] else { panic!("not one container") };
        container
    }

    /// A variable of it: its value, or where it comes from.
    pub(crate) fn variable(&self, name: &str) -> Option<&Value> {
        let variables = self.container()["env"].as_array().expect("variables").iter();
        let variable = variables.into_iter().find(|variable| variable["name"] == name)?;
        Some(variable.get("value").unwrap_or_else(|| &variable["valueFrom"]))
    }

    /// The names of all variables.
    pub(crate) fn variables(&self) -> Vec<&str> {
        let variables = self.container()["env"].as_array().expect("variables").iter();
        variables.map(|variable| variable["name"].as_str().expect("a name")).collect()
    }
}
