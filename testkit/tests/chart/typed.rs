//! Validation: each object is read into the type that Kubernetes' API has for it and written again. What is lost on the way was
//! no field of that type; what is of a wrong type is not read at all.
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::gateway::{Gateway, GatewayClass};
use crate::objects::Objects;
use crate::{files, with, with_file};

/// Of the Prometheus operator, which is no part of Kubernetes' API: as much as we write.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodMonitor {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: PodMonitorSpec,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodMonitorSpec {
    selector: LabelSelector,
    namespace_selector: NamespaceSelector,
    pod_metrics_endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceSelector {
    match_names: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Endpoint {
    port: String,
    path: String,
    interval: String,
}

/// Likewise.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrometheusRule {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: Groups,
}

#[derive(Debug, Deserialize, Serialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
}

/// Paths of what `written` has not, or has otherwise, and `object` has.
fn lost(object: &Value, written: &Value, path: &str, faults: &mut Vec<String>) {
    match (object, written) {
        (Value::Object(object), Value::Object(written)) => {
            for (key, value) in object {
                let path = format!("{path}/{key}");
                match written.get(key) {
                    Some(written) => lost(value, written, &path, faults),
                    None => faults.push(format!("{path} is no field there")),
                }
            }
        }
        (Value::Array(object), Value::Array(written)) if object.len() == written.len() => {
            for (place, (value, written)) in object.iter().zip(written).enumerate() {
                lost(value, written, &format!("{path}/{place}"), faults);
            }
        }
        _ if object == written => {}
        _ => faults.push(format!("{path} is {object}, and was read as {written}")),
    }
}

fn check<T: DeserializeOwned + Serialize>(object: &Value) -> Vec<String> {
    match serde_json::from_value::<T>(object.clone()) {
        Err(error) => vec![error.to_string()],
        Ok(typed) => {
            let mut faults = Vec::new();
            lost(object, &serde_json::to_value(typed).expect("JSON"), "", &mut faults);
            faults
        }
    }
}

/// What is wrong with an object.
pub(crate) fn faults(object: &Value) -> Vec<String> {
    let kind = |key: &str| object[key].as_str().unwrap_or_default();
    match (kind("apiVersion"), kind("kind")) {
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => check::<CustomResourceDefinition>(object),
        ("apps/v1", "DaemonSet") => check::<DaemonSet>(object),
        ("apps/v1", "Deployment") => check::<Deployment>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => check::<HorizontalPodAutoscaler>(object),
        ("gateway.networking.k8s.io/v1", "Gateway") => check::<Gateway>(object),
        ("gateway.networking.k8s.io/v1", "GatewayClass") => check::<GatewayClass>(object),
        ("v1", "ConfigMap") => check::<ConfigMap>(object),
        ("v1", "Service") => check::<Service>(object),
        ("v1", "ServiceAccount") => check::<ServiceAccount>(object),
        ("v1", "ResourceQuota") => check::<ResourceQuota>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => check::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => check::<PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => check::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => check::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => check::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => check::<RoleBinding>(object),
        ("monitoring.coreos.com/v1", "PodMonitor") => check::<PodMonitor>(object),
        ("monitoring.coreos.com/v1", "PrometheusRule") => check::<PrometheusRule>(object),
        (version, kind) => vec![format!("{version} {kind} is not known here")],
    }
}

/// Beyond types: every mount has its volume, labels are such, and no variable is there twice.
pub(crate) fn inconsistencies(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    let names = |list: &Value| -> Vec<String> {
        let entries = list.as_array().into_iter().flatten();
        entries.map(|entry| entry["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let volumes = names(&objects.pod()["volumes"]);
    for mount in names(&objects.container()["volumeMounts"]) {
        if volumes.iter().filter(|volume| **volume == mount).count() != 1 {
            found.push(format!("the mount {mount} has not one volume"));
        }
    }
    let mut variables = objects.variables();
    variables.sort_unstable();
    found.extend(
        variables.windows(2).filter(|two| two[0] == two[1]).map(|two| format!("{} is there twice", two[0])),
    );
    let template = &objects.workload()["spec"]["template"]["metadata"]["labels"];
    let selector = objects.workload()["spec"]["selector"]["matchLabels"].as_object().expect("labels");
    if selector.iter().any(|(label, value)| template[label] != *value) {
        found.push("the selector does not match the pods".to_owned());
    }
    for object in &objects.0 {
        let labels = object["metadata"]["labels"].as_object().expect("labels");
        let long = labels.values().filter(|value| value.as_str().is_none_or(|value| value.len() > 63));
        found.extend(long.map(|value| format!("{value} is no label")));
    }
    found
}

#[test]
fn every_object_is_one_of_kubernetes() {
    let mut releases: Vec<(String, Objects)> =
        files().into_iter().map(|(name, _)| (name.clone(), with_file(&name))).collect();
    releases.push(("defaults".to_owned(), with(&serde_json::json!({})).expect("the defaults render")));
    for (name, objects) in &releases {
        assert!(!objects.0.is_empty(), "{name} renders nothing");
        let found: Vec<String> = objects.0.iter().flat_map(faults).chain(inconsistencies(objects)).collect();
        assert_eq!(found, Vec::<String>::new(), "{name}");
    }
}

/// So that the test above can fail.
#[test]
fn faults_of_objects_are_found() {
    let objects = with(&serde_json::json!({})).expect("the defaults render");
    let broken = |change: fn(&mut Value)| {
        let mut object = objects.the("DaemonSet").clone();
        change(&mut object["spec"]["template"]["spec"]);
        faults(&object).join(", ")
    };
    assert_eq!(broken(|_| {}), "");
    for (found, expected) in [
        (broken(|pod| pod["nodeSelektor"] = serde_json::json!({})), "/nodeSelektor is no field"),
        (broken(|pod| pod["containers"][0]["ports"][0]["containerPort"] = "x".into()), "invalid type"),
        (broken(|pod| pod["containers"][0]["securityContext"]["drop"] = "ALL".into()), "/drop is no field"),
        (broken(|pod| pod["tolerations"] = serde_json::json!({})), "invalid type"),
    ] {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn null_empties_maps_and_removes_the_rest() {
    let keys = [
        "meshConfig",
        "podAnnotations",
        "env",
        "multiCluster",
        "labels",
        "annotations",
        "nodeSelector",
        "resources",
        "tolerations",
        "peerCaCrl",
        "resourceQuotas",
        "global",
        "affinity",
        "volumes",
        "tag",
    ];
    let values = keys.into_iter().map(|key| (key.to_owned(), Value::Null)).collect();
    let objects = with(&Value::Object(values)).expect("null is no fault");
    let found: Vec<String> = objects.0.iter().flat_map(faults).collect();
    assert_eq!(found, Vec::<String>::new());
    assert!(objects.pod().get("tolerations").is_none() && objects.container().get("resources").is_none());
}
