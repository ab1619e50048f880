use std::sync::Arc;

use super::super::super::super::{compile, documents};
use super::*;

const CLUSTER: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/use-waypoint: waypoint}}}
---
{apiVersion: v1, kind: Service, metadata: {name: reviews, namespace: shop}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: other, namespace: shop, labels: {istio.io/use-waypoint: second}}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: plain, namespace: shop, labels: {istio.io/use-waypoint: none}}, spec: {ports: [{port: 80}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: adit-waypoint, generation: 1}, spec: {controllerName: adit.dev/waypoint}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: istio-waypoint}, spec: {controllerName: istio.io/mesh-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: second, namespace: shop}, spec: {gatewayClassName: adit-waypoint}}
---
";

fn said(yaml: &str, name: &str) -> Option<Wanted> {
    let read = documents::read(&format!("{CLUSTER}{yaml}"), false).unwrap();
    let objects: Objects = read.into_iter().map(Arc::new).collect();
    let world = World::new("shop", "waypoint");
    let compiled = compile(&objects, &world);
    let mut wanted = wanted(&objects, &compiled, &world);
    let found = wanted.keys().find(|of| of.to_string() == name).cloned();
    found.and_then(|found| wanted.remove(&found))
}

/// `kind=status/reason` of each.
fn short(wishes: &[Wish]) -> Vec<String> {
    wishes.iter().map(|wish| format!("{}={}/{}", wish.kind, wish.holds, wish.reason)).collect()
}

fn condition(yaml: &str, name: &str) -> Option<Vec<String>> {
    match said(yaml, name)? {
        Wanted::Conditions { wishes, .. } => Some(short(&wishes)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_route_is_told_of_parents_that_are_ours() {
    let route = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop, generation: 4}
spec:
  parentRefs:
  - {group: '', kind: Service, name: reviews, port: 80}
  - {group: '', kind: Service, name: other}
  - {group: '', kind: Service, name: plain}
  - {group: '', kind: Service, name: missing}
  - {name: ingress}
  rules:
  - backendRefs: [{name: reviews, port: 80}, {name: nobody, port: 80}]
  - filters: [{type: ExtensionRef, extensionRef: {group: x, kind: y, name: z}}]
";
    let Some(Wanted::Entries { entries, left }) = said(route, "HTTPRoute shop/r") else { panic!("entries") };
    let names: Vec<_> = entries.iter().map(|(reference, _)| reference["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["reviews", "missing"]);
    assert_eq!(left.len(), 1);
    assert_eq!(entries[0].0, json!({"group": "", "kind": "Service", "name": "reviews", "port": 80}));
    assert_eq!(
        short(&entries[0].1),
        [
            "PartiallyInvalid=true/UnsupportedValue",
            "Accepted=true/Accepted",
            "ResolvedRefs=false/BackendNotFound"
        ]
    );
    assert!(entries[0].1.iter().all(|wish| wish.generation == 4));
    assert!(entries[0].1[1].message.contains("spec.rules[1].filters[0]"), "{:?}", entries[0].1[1]);
    assert_eq!(short(&entries[1].1), ["Accepted=false/NoMatchingParent"]);
}

#[test]
fn a_route_that_cannot_be_read_is_told_so() {
    let route = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec: {parentRefs: [{group: '', kind: Service, name: reviews}], rules: 7}
";
    let Some(Wanted::Entries { entries, .. }) = said(route, "HTTPRoute shop/r") else { panic!("entries") };
    assert_eq!(short(&entries[0].1), ["Accepted=false/UnsupportedValue"]);
    assert!(entries[0].1[0].message.contains("spec.rules"), "{:?}", entries[0].1);
}

#[test]
fn a_policy_is_told_of_its_targets() {
    let policy = "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: p, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: reviews}]
  validation: {hostname: reviews.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: roots}]}
";
    let Some(Wanted::Entries { entries, .. }) = said(policy, "BackendTLSPolicy shop/p") else {
        panic!("entries")
    };
    assert_eq!(entries[0].0, json!({"group": "", "kind": "Service", "namespace": "shop", "name": "reviews"}));
    assert_eq!(
        short(&entries[0].1),
        ["Accepted=false/NoValidCACertificate", "ResolvedRefs=false/InvalidCACertificateRef"]
    );
}

#[test]
fn policies_of_istio_have_a_condition_of_ours() {
    let policy = |target: &str, rules: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: a, namespace: shop}}, spec: {{{target}action: DENY, rules: {rules}}}}}"
        )
    };
    let at = |name: &str| format!("targetRefs: [{{group: '', kind: Service, name: {name}}}], ");
    let name = "AuthorizationPolicy shop/a";
    let good = "[{to: [{operation: {paths: [/admin]}}]}]";
    let ours = |holds: bool, reason: &str| Some(vec![format!("adit.dev/Accepted={holds}/{reason}")]);
    assert_eq!(condition(&policy(&at("reviews"), good), name), ours(true, "Accepted"));
    assert_eq!(condition(&policy(&at("missing"), good), name), ours(false, "TargetNotFound"));
    assert_eq!(
        condition(&policy(&at("reviews"), "[{to: [{operation: {path: [/]}}]}]"), name),
        ours(false, "Invalid")
    );
    // Another waypoint's, ztunnel's, nobody's.
    assert_eq!(condition(&policy(&at("other"), good), name), None);
    assert_eq!(condition(&policy("", good), name), Some(Vec::new()));
    assert_eq!(condition(&policy(&at("plain"), good), name), Some(Vec::new()));
}

#[test]
fn what_names_hosts_or_routes_is_whose_these_are() {
    let rule = |host: &str| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: d, namespace: shop}}, spec: {{host: {host}}}}}"
        )
    };
    let name = "DestinationRule shop/d";
    let accepted = Some(vec!["adit.dev/Accepted=true/Accepted".to_owned()]);
    assert_eq!(condition(&rule("reviews"), name), accepted);
    assert_eq!(condition(&rule("reviews.shop.svc.cluster.local"), name), accepted);
    assert_eq!(condition(&rule("other"), name), None);
    assert_eq!(condition(&rule("plain"), name), Some(Vec::new()));
    assert_eq!(condition(&rule("example.com"), name), None);
    let limits = "
{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: shop}, spec: {parentRefs: [{group: '', kind: Service, name: reviews}]}}
---
{apiVersion: adit.dev/v1alpha1, kind: RateLimitPolicy, metadata: {name: l, namespace: shop}, spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}], local: [{requests: 2, per: 60s}]}}
---
{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: t, namespace: istio-system}, spec: {}}
";
    assert_eq!(condition(limits, "RateLimitPolicy shop/l"), accepted);
    assert_eq!(condition(limits, "Telemetry istio-system/t"), accepted);
}

#[test]
fn gateways_and_classes_are_told_of_if_they_are_ours() {
    let gateway = |class: &str, port: u16| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: waypoint, namespace: shop}}, spec: {{gatewayClassName: {class}, listeners: [{{name: mesh, port: {port}, protocol: HBONE}}]}}}}"
        )
    };
    let said = |yaml: &str| said(yaml, "Gateway shop/waypoint");
    let Some(Wanted::Gateway { wishes, listeners, addresses }) = said(&gateway("adit-waypoint", 15008))
    else {
        panic!("a gateway")
    };
    assert_eq!(short(&wishes), ["Accepted=true/Accepted", "Programmed=true/Programmed"]);
    assert_eq!((listeners.len(), &*listeners[0].0, listeners[0].1.len()), (1, "mesh", 3));
    assert_eq!(addresses[0]["value"], "waypoint.shop.svc.cluster.local");
    let Some(Wanted::Gateway { wishes, .. }) = said(&gateway("adit-waypoint", 80)) else {
        panic!("a gateway")
    };
    assert_eq!(short(&wishes), ["Accepted=false/UnsupportedProtocol", "Programmed=false/Invalid"]);
    assert_eq!(said(&gateway("istio-waypoint", 15008)), None);
    assert_eq!(condition("", "GatewayClass adit-waypoint"), Some(vec!["Accepted=true/Accepted".to_owned()]));
    assert_eq!(condition("", "GatewayClass istio-waypoint"), None);
    assert_eq!(condition("", "Gateway shop/second"), None);
}
