//! Gateway and GatewayClass of Gateway API, which are no part of Kubernetes' own types: as much as we write.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gateway {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: GatewaySpec,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewaySpec {
    gateway_class_name: String,
    addresses: Vec<Address>,
    listeners: Vec<Listener>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Address {
    r#type: String,
    value: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listener {
    name: String,
    port: u16,
    protocol: String,
    allowed_routes: AllowedRoutes,
}

#[derive(Debug, Deserialize, Serialize)]
struct AllowedRoutes {
    namespaces: RouteNamespaces,
}

#[derive(Debug, Deserialize, Serialize)]
struct RouteNamespaces {
    from: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayClass {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: GatewayClassSpec,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayClassSpec {
    controller_name: String,
    description: String,
}
