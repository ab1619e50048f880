//! What is written into statuses, and what is left alone.
use adit_testkit::apiserver::{ApiServer, Asked};
use serde_json::{Value, json};

use super::{MESH, Watched, all, names, run};

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: canary, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: v1}]
  rules: [{backendRefs: [{name: v2, port: 80}]}]
";

fn ours<'a>(object: &'a Value, list: &str) -> Option<&'a Value> {
    let list = object.pointer(&format!("/status/{list}"))?.as_array()?;
    list.iter().find(|entry| entry["controllerName"] == "adit.dev/waypoint")
}

/// `status/reason` of a condition.
fn condition(holder: Option<&Value>, kind: &str) -> String {
    let conditions = holder.and_then(|holder| holder["conditions"].as_array());
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found
        .map_or_else(String::new, |found| format!("{}/{}", found["status"], found["reason"]).replace('"', ""))
}

fn writes((method, _): &Asked) -> bool {
    method == "PATCH"
}

#[test]
fn routes_are_told_of_and_what_is_wrong_with_them() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        server.apply(ROUTE);
        let theirs = json!({"parentRef": {"name": "ingress"}, "controllerName": "example.com/ingress", "conditions": []});
        server.set_status("httproutes", "shop", "canary", json!({"parents": [theirs]}));
        let _watched = Watched::start(&server, true).await;
        let accepted = |route: &Value| condition(ours(route, "parents"), "Accepted") == "True/Accepted";
        let route = server.until("httproutes", "shop", "canary", accepted).await;
        assert_eq!(route["status"]["parents"][0], theirs);
        assert_eq!(condition(ours(&route, "parents"), "ResolvedRefs"), "True/ResolvedRefs");
        let accepted = &ours(&route, "parents").expect("an entry")["conditions"][0];
        assert_eq!(accepted["observedGeneration"], 1);
        // An edit that cannot be honoured: told with the field.
        server.apply(&ROUTE.replace(
            "backendRefs:",
            "filters: [{type: ExtensionRef, extensionRef: {group: g, kind: k, name: n}}], backendRefs:",
        ));
        let refused =
            |route: &Value| condition(ours(route, "parents"), "Accepted") == "False/UnsupportedValue";
        let route = server.until("httproutes", "shop", "canary", refused).await;
        let conditions =
            ours(&route, "parents").expect("an entry")["conditions"].as_array().expect("conditions");
        let message =
            conditions.iter().find(|each| each["type"] == "Accepted").expect("it")["message"].to_string();
        assert!(message.contains("spec.rules[0].filters[0]"), "{message}");
        // No parent of ours any more: our entry goes, theirs stays.
        server.apply(&ROUTE.replace("name: v1}]", "name: elsewhere, namespace: far}]"));
        let route =
            server.until("httproutes", "shop", "canary", |route| ours(route, "parents").is_none()).await;
        assert_eq!(route["status"]["parents"], json!([theirs]));
    });
}

#[test]
fn who_writes_at_the_same_time_is_minded() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        server.apply(ROUTE);
        server.meddle(3);
        let _watched = Watched::start(&server, true).await;
        let accepted = |route: &Value| condition(ours(route, "parents"), "Accepted") == "True/Accepted";
        let route = server.until("httproutes", "shop", "canary", accepted).await;
        assert_eq!(route["metadata"]["labels"]["meddled"], "0");
    });
}

#[test]
fn two_replicas_write_the_same_once() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        server.apply(ROUTE);
        let mut one = Watched::start(&server, true).await;
        let mut two = Watched::start(&server, true).await;
        let accepted = |route: &Value| condition(ours(route, "parents"), "Accepted") == "True/Accepted";
        let first = server.until("httproutes", "shop", "canary", accepted).await;
        // Something else that both write of, so that both have had their say.
        let policy = |name: &str| {
            format!(
                "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: {name}, namespace: shop}}, spec: {{targetRefs: [{{group: '', kind: Service, name: v1}}], action: DENY, rules: [{{}}]}}}}"
            )
        };
        for (round, name) in ["a", "b"].into_iter().enumerate() {
            server.apply(&policy(name));
            let told =
                |policy: &Value| condition(policy.get("status"), "adit.dev/Accepted") == "True/Accepted";
            server.until("authorizationpolicies", "shop", name, told).await;
            for replica in [&mut one, &mut two] {
                replica.until(|loaded| names(loaded, "AuthorizationPolicy").len() == round + 1).await;
            }
        }
        assert_eq!(
            server.object("httproutes", "shop", "canary").expect("the route")["status"],
            first["status"]
        );
        let to_route = |(method, path): &Asked| method == "PATCH" && path.contains("/httproutes/");
        assert!(server.requests().iter().filter(|asked| to_route(asked)).count() <= 2);
    });
}

#[test]
fn what_may_not_be_written_is_no_harm() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        server.apply(ROUTE);
        server.forbid("patch", "httproutes", true);
        let mut watched = Watched::start(&server, true).await;
        server.asked(1, writes).await;
        server.apply("{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: g, namespace: shop}, spec: {parentRefs: [{group: '', kind: Service, name: v2}]}}");
        let told = |route: &Value| condition(ours(route, "parents"), "Accepted").starts_with("True");
        server.until("grpcroutes", "shop", "g", told).await;
        watched.until(|loaded| names(loaded, "GRPCRoute") == ["g"]).await;
        assert_eq!(watched.figures.statuses(false), 1);
        let to_route = |(method, path): &Asked| method == "PATCH" && path.contains("/httproutes/");
        assert_eq!(
            server.requests().iter().filter(|asked| to_route(asked)).count(),
            1,
            "it is not asked again and again"
        );
    });
}

#[test]
fn gateways_and_classes_of_ours_are_accepted() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        server.apply("
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: adit-waypoint}, spec: {controllerName: adit.dev/waypoint}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: istio-waypoint}, spec: {controllerName: istio.io/mesh-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint, namespace: shop}, spec: {gatewayClassName: adit-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: other, namespace: shop}, spec: {gatewayClassName: istio-waypoint, listeners: []}}
");
        let _watched = Watched::start(&server, true).await;
        let holds = |kind: &'static str| {
            move |object: &Value| condition(object.get("status"), kind).starts_with("True")
        };
        server.until("gatewayclasses", "", "adit-waypoint", holds("Accepted")).await;
        let gateway = server.until("gateways", "shop", "waypoint", holds("Programmed")).await;
        assert_eq!(gateway["status"]["addresses"][0]["value"], "waypoint.shop.svc.cluster.local");
        assert_eq!(gateway["status"]["listeners"][0]["name"], "mesh");
        for (plural, namespace, name) in
            [("gatewayclasses", "", "istio-waypoint"), ("gateways", "shop", "other")]
        {
            assert_eq!(server.object(plural, namespace, name).expect("it").get("status"), None);
        }
    });
}

/// Others are told of by others, and who only watches writes nothing.
#[test]
fn nothing_is_written_that_is_not_asked_for() {
    run(async {
        let server = ApiServer::start(&all()).await;
        server.apply(MESH);
        server.apply(ROUTE);
        let mut watched = Watched::start(&server, false).await;
        server.apply(&ROUTE.replace("canary", "second"));
        watched.until(|loaded| names(loaded, "HTTPRoute").len() == 2).await;
        assert!(!server.requests().iter().any(writes));
    });
}
