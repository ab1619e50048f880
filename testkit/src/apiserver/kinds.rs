//! The kinds that a stand-in may have.

/// A kind of an API, in one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKind {
    /// Its group; empty for core.
    pub group: &'static str,
    /// The version of the group.
    pub version: &'static str,
    /// Its name in documents.
    pub kind: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
    /// Whether objects belong to a namespace.
    pub namespaced: bool,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> ApiKind {
    ApiKind { group, version, kind, plural, namespaced: true }
}

/// What every cluster has, as far as a waypoint reads it.
pub const KUBERNETES: &[ApiKind] = &[
    ApiKind { namespaced: false, ..kind("", "v1", "Namespace", "namespaces") },
    kind("", "v1", "Service", "services"),
    kind("", "v1", "ConfigMap", "configmaps"),
    kind("", "v1", "Secret", "secrets"),
];

const GATEWAY: &str = "gateway.networking.k8s.io";

/// The Gateway API; of `TLSRoute` and `TCPRoute` the versions of its older releases.
pub const GATEWAY_API: &[ApiKind] = &[
    ApiKind { namespaced: false, ..kind(GATEWAY, "v1", "GatewayClass", "gatewayclasses") },
    kind(GATEWAY, "v1", "Gateway", "gateways"),
    kind(GATEWAY, "v1", "HTTPRoute", "httproutes"),
    kind(GATEWAY, "v1", "GRPCRoute", "grpcroutes"),
    kind(GATEWAY, "v1", "BackendTLSPolicy", "backendtlspolicies"),
    kind(GATEWAY, "v1beta1", "ReferenceGrant", "referencegrants"),
    kind(GATEWAY, "v1alpha2", "TCPRoute", "tcproutes"),
    kind(GATEWAY, "v1alpha3", "TLSRoute", "tlsroutes"),
];

/// Istio's resources.
pub const ISTIO: &[ApiKind] = &[
    kind("security.istio.io", "v1", "AuthorizationPolicy", "authorizationpolicies"),
    kind("security.istio.io", "v1", "RequestAuthentication", "requestauthentications"),
    kind("networking.istio.io", "v1", "DestinationRule", "destinationrules"),
    kind("networking.istio.io", "v1", "ServiceEntry", "serviceentries"),
    kind("networking.istio.io", "v1", "VirtualService", "virtualservices"),
    kind("telemetry.istio.io", "v1", "Telemetry", "telemetries"),
];
