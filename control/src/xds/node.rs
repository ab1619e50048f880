//! Who we are to the control plane (interfaces §1.2).
use std::collections::BTreeMap;
use std::net::IpAddr;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use crate::proto::discovery::Node;

/// What a proxy knows of itself; missing texts are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// `NODE_NAME`.
    pub node_name: String,
    /// `POD_NAME`.
    pub pod_name: String,
    /// `POD_NAMESPACE`.
    pub pod_namespace: String,
    /// `INSTANCE_IP`.
    pub instance_ip: Option<IpAddr>,
    /// `ISTIO_META_*` and `proxyMetadata`, without the prefix.
    pub metadata: BTreeMap<String, String>,
    /// `ISTIO_METAJSON_*`, without the prefix; goes before a text of the same name.
    pub json_metadata: BTreeMap<String, serde_json::Value>,
}

/// The message that says so to the control plane.
#[must_use]
pub fn node(info: &NodeInfo) -> Node {
    let ip = info.instance_ip.map(|ip| ip.to_string());
    let (pod, namespace) = (&info.pod_name, &info.pod_namespace);
    let shown_ip = ip.as_deref().unwrap_or("1.1.1.1");
    let id = format!("ztunnel~{shown_ip}~{pod}.{namespace}~{namespace}.svc.cluster.local");

    let texts = info.metadata.iter().map(|(name, value)| (name.clone(), text(value.clone())));
    let mut fields: BTreeMap<_, _> = texts.collect();
    fields.extend(info.json_metadata.iter().map(|(name, value)| (name.clone(), from_json(value.clone()))));
    let own = [
        ("NAME", pod.clone()),
        ("NAMESPACE", namespace.clone()),
        ("INSTANCE_IPS", ip.unwrap_or_default()),
        ("NODE_NAME", info.node_name.clone()),
    ];
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

    fn made(info: &NodeInfo) -> (String, BTreeMap<String, Value>) {
        let node = node(info);
        assert!(node.cluster.is_empty() && node.build_version.is_empty());
        (node.id, node.metadata.expect("metadata").fields)
    }

    #[test]
    fn names_addresses_and_metadata_are_told() {
        let (id, fields) = made(&NodeInfo {
            node_name: "node-1".into(),
            pod_name: "ztunnel-x".into(),
            pod_namespace: "istio-system".into(),
            instance_ip: Some([10, 0, 0, 9].into()),
            metadata: [("CLUSTER_ID", "east"), ("DNS_CAPTURE", "true"), ("NODE_NAME", "another")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            json_metadata: [("LABELS".to_owned(), serde_json::json!({"a": [1, true, null, "b"]}))].into(),
        });
        assert_eq!(id, "ztunnel~10.0.0.9~ztunnel-x.istio-system~istio-system.svc.cluster.local");
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let expected =
            ["CLUSTER_ID", "DNS_CAPTURE", "INSTANCE_IPS", "LABELS", "NAME", "NAMESPACE", "NODE_NAME"];
        assert_eq!(names, expected);
        assert_eq!(fields["NODE_NAME"], text("node-1".into()));
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
        let (id, fields) = made(&NodeInfo::default());
        assert_eq!(id, "ztunnel~1.1.1.1~.~.svc.cluster.local");
        assert_eq!(fields["INSTANCE_IPS"], text(String::new()));
        assert_eq!(fields.len(), 4);
    }
}
