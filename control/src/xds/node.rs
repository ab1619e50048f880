//! Who we are to the control plane (interfaces §1.2).
use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use crate::proto::discovery::Node;

/// The node message made of the process's environment, and of `proxyMetadata` of the mesh configuration, which an
/// `ISTIO_META_…` variable of the same name overrides.
#[must_use]
pub fn node(
    environment: impl IntoIterator<Item = (String, String)>,
    proxy_metadata: &BTreeMap<String, String>,
) -> Node {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let get = |name: &str| environment.get(name).cloned().unwrap_or_default();
    let (pod, namespace) = (get("POD_NAME"), get("POD_NAMESPACE"));
    let (ip, node_name) = (get("INSTANCE_IP"), get("NODE_NAME"));
    let shown_ip = if ip.is_empty() { "1.1.1.1" } else { &ip };

    let mut fields = BTreeMap::new();
    for (name, value) in proxy_metadata {
        let name = name.strip_prefix("ISTIO_META_").unwrap_or(name);
        fields.insert(name.to_owned(), text(value.clone()));
    }
    for (name, value) in &environment {
        if let Some(key) = name.strip_prefix("ISTIO_META_") {
            fields.insert(key.to_owned(), text(value.clone()));
        } else if let Some(key) = name.strip_prefix("ISTIO_METAJSON_") {
            match serde_json::from_str(value) {
                Ok(json) => drop(fields.insert(key.to_owned(), from_json(json))),
                Err(error) => {
                    tracing::warn!(variable = %name, %error, "not JSON, left out of the node's metadata")
                }
            }
        }
    }
    let id = format!("ztunnel~{shown_ip}~{pod}.{namespace}~{namespace}.svc.cluster.local");
    let own = [("NAME", pod), ("NAMESPACE", namespace), ("INSTANCE_IPS", ip), ("NODE_NAME", node_name)];
    fields.extend(own.map(|(name, value)| (name.to_owned(), text(value))));
    Node { id, metadata: Some(Struct { fields }), ..Node::default() }
}

const fn text(value: String) -> Value {
    Value { kind: Some(Kind::StringValue(value)) }
}

fn from_json(json: serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(value),
        // JSON has no integers of its own, and neither has this message.
        serde_json::Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        serde_json::Value::String(value) => Kind::StringValue(value),
        serde_json::Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(from_json).collect() })
        }
        serde_json::Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(name, value)| (name, from_json(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(environment: &[(&str, &str)], metadata: &[(&str, &str)]) -> (String, BTreeMap<String, Value>) {
        let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let node = node(owned(environment), &owned(metadata));
        assert!(node.cluster.is_empty() && node.build_version.is_empty());
        (node.id, node.metadata.expect("metadata").fields)
    }

    #[test]
    fn names_addresses_and_metadata_are_told() {
        let environment = [
            ("POD_NAME", "ztunnel-x"),
            ("POD_NAMESPACE", "istio-system"),
            ("INSTANCE_IP", "10.0.0.9"),
            ("NODE_NAME", "node-1"),
            ("ISTIO_META_CLUSTER_ID", "east"),
            ("ISTIO_METAJSON_LABELS", r#"{"a": [1, true, null, "b"]}"#),
            ("ISTIO_METAJSON_BROKEN", "{"),
            ("PATH", "/bin"),
        ];
        let (id, fields) = made(&environment, &[("ISTIO_META_CLUSTER_ID", "west"), ("DNS_CAPTURE", "true")]);
        assert_eq!(id, "ztunnel~10.0.0.9~ztunnel-x.istio-system~istio-system.svc.cluster.local");
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let expected =
            ["CLUSTER_ID", "DNS_CAPTURE", "INSTANCE_IPS", "LABELS", "NAME", "NAMESPACE", "NODE_NAME"];
        assert_eq!(names, expected);
        assert_eq!(fields["CLUSTER_ID"], text("east".into()));
        assert_eq!(fields["INSTANCE_IPS"], text("10.0.0.9".into()));
        let Some(Kind::StructValue(labels)) = &fields["LABELS"].kind else { panic!("no object") };
        let Some(Kind::ListValue(list)) = &labels.fields["a"].kind else { panic!("no list") };
        let kinds = [
            Kind::NumberValue(1.0),
            Kind::BoolValue(true),
            Kind::NullValue(0),
            Kind::StringValue("b".into()),
        ];
        assert_eq!(list.values, kinds.map(|kind| Value { kind: Some(kind) }));
    }

    #[test]
    fn what_is_missing_is_empty() {
        let (id, fields) = made(&[], &[]);
        assert_eq!(id, "ztunnel~1.1.1.1~.~.svc.cluster.local");
        assert_eq!(fields["INSTANCE_IPS"], text(String::new()));
        assert_eq!(fields.len(), 4);
    }
}
