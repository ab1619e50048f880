//! The mesh's own settings (`MeshConfig`): the document under the key `mesh` of the ConfigMap `istio` in the root namespace.
//!
//! It is written for all of a mesh. What a waypoint reads of it is the providers that policies name, by name and with their
//! values as they are written, and a few defaults; of the rest it is said that it has no effect here.
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::{Object, Objects, Problems, Severity, World};

/// Name of the ConfigMap.
pub(in super::super) const NAME: &str = "istio";
/// The key of the document in it.
const KEY: &str = "mesh";
/// Fields of the document that somebody here reads.
const READ: [&str; 9] = [
    "accessLogEncoding",
    "accessLogFile",
    "accessLogFormat",
    "defaultConfig",
    "defaultProviders",
    "extensionProviders",
    "rootNamespace",
    "trustDomain",
    "trustDomainAliases",
];
/// Fields that somebody reads of those that have fields of their own.
const READ_WITHIN: [(&str, &[&str]); 2] = [
    ("defaultConfig", &["gatewayTopology", "tracing"]),
    ("defaultProviders", &["accessLogging", "metrics", "tracing"]),
];

/// A provider that policies may name (`extensionProviders`).
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// What it is: the field that is set, such as `envoyExtAuthzGrpc`, `opentelemetry`, `envoyFileAccessLog`.
    pub kind: Arc<str>,
    /// That field's value, as it is written.
    pub value: Value,
    /// The path of the value, for problems.
    pub field: String,
}

/// The settings of a mesh.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeshConfig {
    /// The ConfigMap; `None` where there is none, as all settings then have their defaults.
    object: Option<Arc<Object>>,
    document: Value,
    providers: BTreeMap<Arc<str>, Provider>,
}

impl MeshConfig {
    /// Reads the ConfigMap among `objects`, if it is there.
    #[must_use]
    pub fn of(objects: &Objects, world: &World, problems: &mut Problems) -> Self {
        let Some(object) = objects.get("", "ConfigMap", &world.root_namespace, NAME) else {
            return Self::default();
        };
        let malformed = |field: String, text: String, problems: &mut Problems| {
            problems.push(object.id(), field, Severity::Malformed, text);
        };
        let body = object.body();
        let text = body.get("data").and_then(|data| data.get(KEY)).and_then(Value::as_str);
        let Some(text) = text else {
            let text = "expected a text with the mesh's settings in YAML".to_owned();
            malformed(format!("data.{KEY}"), text, problems);
            return Self::default();
        };
        let document = match serde_yaml_ng::from_str::<Value>(text) {
            Ok(document @ (Value::Object(_) | Value::Null)) => document,
            Ok(_) => {
                malformed(format!("data.{KEY}"), "expected fields with values".to_owned(), problems);
                return Self::default();
            }
            Err(error) => {
                malformed(format!("data.{KEY}"), error.to_string(), problems);
                return Self::default();
            }
        };
        let mut unread = |path: &[&str]| {
            let text = "this setting of the mesh has no effect on a waypoint of Adit";
            problems.push(object.id(), Self::field(path), Severity::Note, text);
        };
        let fields = |value: &Value| -> Vec<String> {
            value.as_object().into_iter().flat_map(serde_json::Map::keys).cloned().collect()
        };
        fields(&document)
            .iter()
            .filter(|field| !READ.contains(&field.as_str()))
            .for_each(|field| unread(&[field]));
        for (outer, read) in READ_WITHIN {
            let inner = document.get(outer).map(fields).unwrap_or_default();
            inner
                .iter()
                .filter(|field| !read.contains(&field.as_str()))
                .for_each(|field| unread(&[outer, field]));
        }
        for (field, ours) in [("rootNamespace", &world.root_namespace), ("trustDomain", &world.trust_domain)]
        {
            if let Some(said) = document.get(field).and_then(Value::as_str).filter(|said| **said != **ours) {
                let text = format!(
                    "this waypoint has been started with {ours:?}, not with {said:?}: that is what counts"
                );
                problems.push(object.id(), Self::field(&[field]), Severity::Conflict, text);
            }
        }
        let mut config = Self { object: Some(Arc::clone(object)), document, providers: BTreeMap::new() };
        config.read_providers(object, problems);
        config
    }

    fn read_providers(&mut self, object: &Object, problems: &mut Problems) {
        let list = match self.document.get("extensionProviders") {
            None | Some(Value::Null) => return,
            Some(list) => list,
        };
        let at = format!("data.{KEY}.extensionProviders");
        let mut malformed = |field: String, text: &str| {
            problems.push(object.id(), field, Severity::Malformed, text);
        };
        let Some(list) = list.as_array() else { return malformed(at, "expected a list of providers") };
        for (place, entry) in list.iter().enumerate() {
            let at = format!("{at}[{place}]");
            let name = entry.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
            let Some(name) = name else {
                malformed(format!("{at}.name"), "a provider needs a name that policies can refer to");
                continue;
            };
            let mut kinds = entry.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
            let (Some((kind, value)), None) = (kinds.next(), kinds.next()) else {
                malformed(at, "a provider has one field beside its name, which says what it is");
                continue;
            };
            let provider =
                Provider { kind: kind.as_str().into(), value: value.clone(), field: format!("{at}.{kind}") };
            if self.providers.insert(name.into(), provider).is_some() {
                malformed(
                    format!("{at}.name"),
                    "another provider has this name already; the last one counts",
                );
            }
        }
    }

    /// The provider of this name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.get(name)
    }

    /// All providers, by name.
    pub fn providers(&self) -> impl Iterator<Item = (&Arc<str>, &Provider)> {
        self.providers.iter()
    }

    /// The value of a provider as a `T`; a field that `T` does not know, and a value that is no `T`, are problems of the
    /// ConfigMap.
    pub fn read<T: DeserializeOwned>(&self, provider: &Provider, problems: &mut Problems) -> Option<T> {
        self.object.as_ref()?.read(&provider.field, &provider.value, problems)
    }

    /// What stands at `path` (names of fields) in the document, if it is not null.
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let found = path.iter().try_fold(&self.document, |value, field| value.get(field));
        found.filter(|value| !value.is_null())
    }

    /// The text at a field of the document; empty is as not there. Anything but a text is a problem.
    pub fn text(&self, field: &str, problems: &mut Problems) -> Option<&str> {
        let text = self.get(&[field])?.as_str();
        if text.is_none() {
            self.tell(Self::field(&[field]), Severity::Malformed, "expected a text", problems);
        }
        text.filter(|text| !text.is_empty())
    }

    /// The providers that are used for `kind` where policies name none (`defaultProviders`). `None`: that is not said.
    pub fn default_providers(&self, kind: &str, problems: &mut Problems) -> Option<Vec<Arc<str>>> {
        let path = ["defaultProviders", kind];
        let list = self.get(&path)?.as_array();
        let names = list.map(|list| list.iter().filter_map(Value::as_str).map(Arc::from).collect::<Vec<_>>());
        let whole = list.map(Vec::len) == names.as_ref().map(Vec::len);
        if !whole || names.is_none() {
            self.tell(Self::field(&path), Severity::Malformed, "expected a list of names", problems);
        }
        names
    }

    /// Whether there is a ConfigMap: without one, all settings have their defaults.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.object.is_some()
    }

    /// Tells of a problem with what stands at a field of the ConfigMap ([`MeshConfig::field`], [`Provider::field`]). Where there
    /// is no ConfigMap, nothing can be wrong with it.
    pub fn tell(
        &self,
        field: impl Into<String>,
        severity: Severity,
        text: impl Into<String>,
        problems: &mut Problems,
    ) {
        if let Some(object) = &self.object {
            problems.push(object.id(), field, severity, text);
        }
    }

    /// The path in the ConfigMap of a path in the document.
    #[must_use]
    pub fn field(path: &[&str]) -> String {
        path.iter().fold(format!("data.{KEY}"), |all, field| format!("{all}.{field}"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn read(mesh: &Value) -> (MeshConfig, Vec<(String, Severity)>) {
        let object = Object::new(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": mesh},
        }));
        let objects = Objects::from_iter([Arc::new(object.unwrap())]);
        let mut problems = Problems::default();
        let config = MeshConfig::of(&objects, &World::new("shop", "waypoint"), &mut problems);
        let problems = problems.iter().map(|problem| (problem.field.clone(), problem.severity)).collect();
        (config, problems)
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Otel {
        service: String,
        port: u16,
    }

    #[test]
    fn providers_are_found_by_name_and_read_as_what_they_are() {
        let (config, problems) = read(&json!(
            "extensionProviders:\n- name: jaeger\n  opentelemetry: {service: otel.obs.svc, port: 4317, extra: 1}\n\
             - name: opa\n  envoyExtAuthzGrpc: {}\ndefaultConfig: {tracing: {sampling: 10}}\n"
        ));
        assert_eq!(problems, []);
        let jaeger = config.provider("jaeger").unwrap();
        assert_eq!(&*jaeger.kind, "opentelemetry");
        let mut problems = Problems::default();
        let otel: Otel = config.read(jaeger, &mut problems).unwrap();
        assert_eq!(otel, Otel { service: "otel.obs.svc".to_owned(), port: 4317 });
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["data.mesh.extensionProviders[0].opentelemetry.extra"]);
        assert_eq!(config.get(&["defaultConfig", "tracing", "sampling"]), Some(&json!(10)));
        assert_eq!(config.get(&["defaultConfig", "nothing", "there"]), None);
        let names: Vec<_> = config.providers().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["jaeger", "opa"]);
    }

    #[test]
    fn what_makes_no_sense_or_has_no_effect_is_told() {
        use Severity::{Malformed, Note};
        let told = |mesh: &Value| read(mesh).1;
        for (setting, field) in [
            ("ingressClass: istio", "ingressClass"),
            ("enableTracing: true", "enableTracing"),
            ("defaultConfig: {tracing: {}, drainDuration: 5s}", "defaultConfig.drainDuration"),
            ("defaultProviders: {metrics: [], logs: []}", "defaultProviders.logs"),
        ] {
            assert_eq!(told(&json!(setting)), [(format!("data.mesh.{field}"), Note)], "{setting}");
        }
        for (setting, field) in [("rootNamespace: mesh", "rootNamespace"), ("trustDomain: td", "trustDomain")]
        {
            assert_eq!(
                told(&json!(setting)),
                [(format!("data.mesh.{field}"), Severity::Conflict)],
                "{setting}"
            );
        }
        assert_eq!(told(&json!("{rootNamespace: istio-system, trustDomain: cluster.local}")), []);
        assert_eq!(told(&json!("- a")), [("data.mesh".to_owned(), Malformed)]);
        assert_eq!(told(&json!(7)), [("data.mesh".to_owned(), Malformed)]);
        assert_eq!(told(&json!("a: [")), [("data.mesh".to_owned(), Malformed)]);
        let at = |tail: &str| vec![(format!("data.mesh.extensionProviders{tail}"), Malformed)];
        assert_eq!(told(&json!("extensionProviders: 1")), at(""));
        assert_eq!(told(&json!("extensionProviders: [{zipkin: {}}]")), at("[0].name"));
        assert_eq!(told(&json!("extensionProviders: [{name: a, zipkin: {}, datadog: {}}]")), at("[0]"));
        assert_eq!(
            told(&json!("extensionProviders: [{name: a, zipkin: {}}, {name: a, zipkin: {}}]")),
            at("[1].name")
        );
        assert_eq!(told(&json!("")), []);
    }
}
