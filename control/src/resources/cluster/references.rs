//! ConfigMaps and Secrets that something refers to: no others are read.
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::super::gateway::GATEWAY_GROUP;
use super::super::istio::mesh_config;
use super::super::{Objects, World};
use super::kinds::{CONFIG_MAP, SECRET};
use super::source::Source;

/// The single objects to watch.
pub(super) fn references(objects: &Objects, world: &World) -> BTreeSet<Source> {
    let mut found = BTreeSet::from([mesh(world)]);
    for object in objects.of(GATEWAY_GROUP, "BackendTLSPolicy") {
        let body = object.body();
        let references = body.pointer("/spec/validation/caCertificateRefs").and_then(Value::as_array);
        for reference in references.into_iter().flatten() {
            let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
            let kind = match (text("group"), text("kind")) {
                ("" | "core", "ConfigMap") => &CONFIG_MAP,
                ("" | "core", "Secret") => &SECRET,
                _ => continue,
            };
            // Names of a path: what is no name of Kubernetes' is not asked for.
            let name = text("name");
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
            if !name.is_empty() && name.bytes().all(plain) {
                found.insert(Source { kind, only: Some((Arc::clone(&object.namespace), name.into())) });
            }
        }
    }
    found
}

/// The mesh's own settings.
pub(super) fn mesh(world: &World) -> Source {
    Source { kind: &CONFIG_MAP, only: Some((Arc::clone(&world.root_namespace), mesh_config::NAME.into())) }
}

#[cfg(test)]
mod tests {
    use super::super::super::Object;
    use super::*;

    #[test]
    fn only_what_a_policy_names_is_read() {
        let policy = serde_json::json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"validation": {"caCertificateRefs": [
                {"group": "", "kind": "ConfigMap", "name": "roots"},
                {"group": "", "kind": "Secret", "name": "ca"},
                {"group": "", "kind": "Secret", "name": "../nodes"},
                {"group": "x", "kind": "Secret", "name": "other"},
            ]}},
        });
        let objects = Objects::from_iter([Arc::new(Object::new(policy).unwrap())]);
        let found = references(&objects, &World::new("shop", "waypoint"));
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["ConfigMap istio-system/istio", "ConfigMap shop/roots", "Secret shop/ca"]);
    }
}
