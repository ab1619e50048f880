//! Whose a service is: which waypoint is asked for it (waypoint.md §2.1, §2.2). Several waypoints of ours watch one cluster, and each
//! writes of what is its own.
use serde_json::Value;

use super::super::super::gateway::{GATEWAY_GROUP, ISTIO_GROUP};
use super::super::super::{Object, Objects, World};
use super::CONTROLLER;

/// Names a waypoint.
const USE: &str = "istio.io/use-waypoint";
/// Its namespace.
const USE_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// Names a second waypoint, for some connections.
const CANARY: &str = "istio.io/use-waypoint-canary";
/// Its namespace.
const CANARY_NAMESPACE: &str = "istio.io/use-waypoint-canary-namespace";
/// Tells waypoints of ours from others that have the same class.
const APP: (&str, &str) = ("app.kubernetes.io/name", "adit-waypoint");

/// Whose something is. All waypoints of ours come to the same answers, up to who of them is "us".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// No waypoint of ours is asked for it.
    Nobody,
    /// One is, or may be, and writes of it.
    Another,
    /// This one.
    Us,
}

/// The labels of a cluster's objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bindings<'a> {
    pub(super) objects: &'a Objects,
    pub(super) world: &'a World,
}

impl Bindings<'_> {
    /// Whose an object is that a route or a policy refers to.
    pub(super) fn owner(self, group: &str, kind: &str, namespace: &str, name: &str) -> Owner {
        match (group, kind) {
            ("" | "core", "Service") => {
                self.service(self.objects.get("", "Service", namespace, name), namespace)
            }
            (ISTIO_GROUP, "ServiceEntry") => {
                self.service(self.objects.get(ISTIO_GROUP, "ServiceEntry", namespace, name), namespace)
            }
            (GATEWAY_GROUP, "Gateway") => self.gateway(namespace, name),
            // Policies of a class are for all of its waypoints, and all of ours write the same of them. Which classes others of
            // ours have been given, nobody knows.
            (GATEWAY_GROUP, "GatewayClass") if self.world.classes.contains(name) => Owner::Us,
            (GATEWAY_GROUP, "GatewayClass") => Owner::Another,
            _ => Owner::Nobody,
        }
    }

    /// Whose a service is; one that is not there is its namespace's.
    fn service(self, service: Option<&std::sync::Arc<Object>>, namespace: &str) -> Owner {
        let space = self.objects.get("", "Namespace", "", namespace);
        let level = [service, space].into_iter().flatten().find(|object| object.labels.contains_key(USE));
        let Some(level) = level else { return Owner::Nobody };
        let named = |name: &str, of: &str| {
            let name = level.labels.get(name).filter(|name| !name.is_empty() && *name != "none")?;
            Some(self.gateway(level.labels.get(of).map_or(namespace, String::as_str), name))
        };
        let first = named(USE, USE_NAMESPACE);
        let canary = first.and_then(|_| named(CANARY, CANARY_NAMESPACE));
        first.max(canary).unwrap_or(Owner::Nobody)
    }

    fn gateway(self, namespace: &str, name: &str) -> Owner {
        if (namespace, name) == (&*self.world.namespace, &*self.world.gateway) {
            return Owner::Us;
        }
        let Some(gateway) = self.objects.get(GATEWAY_GROUP, "Gateway", namespace, name) else {
            return Owner::Nobody;
        };
        let labelled = gateway.labels.get(APP.0).is_some_and(|app| app == APP.1);
        if labelled || self.is_ours(&class_of(gateway)) { Owner::Another } else { Owner::Nobody }
    }

    /// Whether Gateways of a class are ours to write of.
    pub(super) fn is_ours(self, class: &str) -> bool {
        let class = self.objects.get(GATEWAY_GROUP, "GatewayClass", "", class);
        class.is_some_and(|class| controller_of(class) == CONTROLLER)
    }
}

/// The class of a Gateway.
fn class_of(gateway: &Object) -> String {
    text(&gateway.body(), "/spec/gatewayClassName").to_owned()
}

/// The controller of a class.
fn controller_of(class: &Object) -> String {
    text(&class.body(), "/spec/controllerName").to_owned()
}

/// A text somewhere in a document; empty if there is none.
pub(super) fn text<'a>(body: &'a Value, pointer: &str) -> &'a str {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn objects(yaml: &str) -> Objects {
        super::super::super::super::documents::read(yaml, false).unwrap().into_iter().map(Arc::new).collect()
    }

    #[test]
    fn a_service_is_whose_label_names_it() {
        let objects = objects(
            "
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/use-waypoint: waypoint}}}
---
{apiVersion: v1, kind: Service, metadata: {name: plain, namespace: shop}}
---
{apiVersion: v1, kind: Service, metadata: {name: none, namespace: shop, labels: {istio.io/use-waypoint: none}}}
---
{apiVersion: v1, kind: Service, metadata: {name: other, namespace: shop, labels: {istio.io/use-waypoint: second}}}
---
{apiVersion: v1, kind: Service, metadata: {name: envoy, namespace: shop, labels: {istio.io/use-waypoint: envoy}}}
---
{apiVersion: v1, kind: Service, metadata: {name: far, namespace: far, labels: {istio.io/use-waypoint: waypoint, istio.io/use-waypoint-namespace: shop}}}
---
{apiVersion: v1, kind: Service, metadata: {name: near, namespace: far, labels: {istio.io/use-waypoint: waypoint}}}
---
{apiVersion: v1, kind: Service, metadata: {name: canary, namespace: shop, labels: {istio.io/use-waypoint: envoy, istio.io/use-waypoint-canary: waypoint}}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: adit-waypoint}, spec: {controllerName: adit.dev/waypoint}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: second, namespace: shop}, spec: {gatewayClassName: adit-waypoint}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: third, namespace: shop, labels: {app.kubernetes.io/name: adit-waypoint}}, spec: {gatewayClassName: istio-waypoint}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: envoy, namespace: shop}, spec: {gatewayClassName: istio-waypoint}}
",
        );
        let world = World::new("shop", "waypoint");
        let bindings = Bindings { objects: &objects, world: &world };
        for (namespace, service, owner) in [
            ("shop", "plain", Owner::Us),
            ("shop", "missing", Owner::Us),
            ("shop", "none", Owner::Nobody),
            ("shop", "other", Owner::Another),
            ("shop", "envoy", Owner::Nobody),
            ("shop", "canary", Owner::Us),
            ("far", "far", Owner::Us),
            ("far", "near", Owner::Nobody),
            ("far", "missing", Owner::Nobody),
        ] {
            assert_eq!(bindings.owner("", "Service", namespace, service), owner, "{service}");
        }
        for (gateway, owner) in [("waypoint", Owner::Us), ("third", Owner::Another), ("envoy", Owner::Nobody)]
        {
            assert_eq!(bindings.owner(GATEWAY_GROUP, "Gateway", "shop", gateway), owner, "{gateway}");
        }
        assert_eq!(bindings.owner(GATEWAY_GROUP, "GatewayClass", "", "adit-waypoint"), Owner::Us);
        assert_eq!(bindings.owner(GATEWAY_GROUP, "GatewayClass", "", "istio-waypoint"), Owner::Another);
        assert_eq!(bindings.owner("apps", "Deployment", "shop", "x"), Owner::Nobody);
    }
}
