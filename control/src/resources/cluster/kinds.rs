//! The kinds that are read from a cluster: where its API has them, and what of their status is ours to write.
use super::super::adit;
use super::super::gateway::{EXPERIMENTAL_GROUP, GATEWAY_GROUP, ISTIO_GROUP};
use super::super::istio::{SECURITY_GROUP, telemetry};

/// What the status of a kind looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// Nothing is written.
    None,
    /// `parents`: one entry for each parent and controller (Gateway API: `RouteStatus`).
    Parents,
    /// `ancestors`: likewise for policies (GEP-713: `PolicyStatus`).
    Ancestors,
    /// `conditions`, of which others may have some too.
    Conditions,
    /// `conditions`, `listeners` and `addresses` of a Gateway of ours.
    Gateway,
    /// `conditions` of a class of ours.
    Class,
}

/// A kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// API group; empty for core.
    pub(super) group: &'static str,
    /// Versions of the group in which it can be read, the best first.
    pub(super) versions: &'static [&'static str],
    /// Its name in documents.
    pub(super) kind: &'static str,
    /// Its name in paths.
    pub(super) plural: &'static str,
    /// Its status.
    pub(super) shape: Shape,
}

const fn kind(
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
    shape: Shape,
) -> Kind {
    Kind { group, versions, kind, plural, shape }
}

/// Kinds of which all objects are watched.
pub(super) const WATCHED: [Kind; 19] = [
    kind("", &["v1"], "Namespace", "namespaces", Shape::None),
    kind("", &["v1"], "Service", "services", Shape::None),
    kind(GATEWAY_GROUP, &["v1", "v1alpha3"], "BackendTLSPolicy", "backendtlspolicies", Shape::Ancestors),
    kind(GATEWAY_GROUP, &["v1"], "GRPCRoute", "grpcroutes", Shape::Parents),
    kind(GATEWAY_GROUP, &["v1", "v1beta1"], "Gateway", "gateways", Shape::Gateway),
    kind(GATEWAY_GROUP, &["v1", "v1beta1"], "GatewayClass", "gatewayclasses", Shape::Class),
    kind(GATEWAY_GROUP, &["v1", "v1beta1"], "HTTPRoute", "httproutes", Shape::Parents),
    kind(GATEWAY_GROUP, &["v1", "v1beta1"], "ReferenceGrant", "referencegrants", Shape::None),
    kind(GATEWAY_GROUP, &["v1", "v1alpha2"], "TCPRoute", "tcproutes", Shape::Parents),
    kind(GATEWAY_GROUP, &["v1", "v1alpha3", "v1alpha2"], "TLSRoute", "tlsroutes", Shape::Parents),
    kind(
        EXPERIMENTAL_GROUP,
        &["v1alpha1"],
        "XBackendTrafficPolicy",
        "xbackendtrafficpolicies",
        Shape::Ancestors,
    ),
    kind(
        ISTIO_GROUP,
        &["v1", "v1beta1", "v1alpha3"],
        "DestinationRule",
        "destinationrules",
        Shape::Conditions,
    ),
    kind(ISTIO_GROUP, &["v1", "v1beta1", "v1alpha3"], "ServiceEntry", "serviceentries", Shape::None),
    kind(ISTIO_GROUP, &["v1", "v1beta1", "v1alpha3"], "VirtualService", "virtualservices", Shape::Conditions),
    kind(adit::GROUP, &["v1alpha1"], adit::KINDS[0], "faultpolicies", Shape::Conditions),
    kind(adit::GROUP, &["v1alpha1"], adit::KINDS[1], "ratelimitpolicies", Shape::Conditions),
    kind(
        SECURITY_GROUP,
        &["v1", "v1beta1"],
        "AuthorizationPolicy",
        "authorizationpolicies",
        Shape::Conditions,
    ),
    kind(
        SECURITY_GROUP,
        &["v1", "v1beta1"],
        "RequestAuthentication",
        "requestauthentications",
        Shape::Conditions,
    ),
    kind(telemetry::GROUP, &["v1", "v1alpha1"], "Telemetry", "telemetries", Shape::Conditions),
];

/// Of these only such objects are watched that something refers to.
pub(super) const CONFIG_MAP: Kind = kind("", &["v1"], "ConfigMap", "configmaps", Shape::None);
/// Likewise.
pub(super) const SECRET: Kind = kind("", &["v1"], "Secret", "secrets", Shape::None);

/// What the status of a kind looks like.
pub(super) fn shape(group: &str, name: &str) -> Shape {
    find(group, name).map_or(Shape::None, |kind| kind.shape)
}

/// The kind of this name.
pub(super) fn find(group: &str, name: &str) -> Option<&'static Kind> {
    WATCHED.iter().find(|kind| (kind.group, kind.kind) == (group, name))
}

#[cfg(test)]
mod tests {
    use super::super::super::KINDS;
    use super::*;

    #[test]
    fn every_kind_that_is_read_is_watched() {
        let watched = |entry: &(&str, &str)| find(entry.0, entry.1).is_some();
        let on_demand = [CONFIG_MAP, SECRET].map(|kind| (kind.group, kind.kind));
        let missing: Vec<_> =
            KINDS.iter().filter(|kind| !watched(kind) && !on_demand.contains(kind)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for kind in WATCHED {
            assert!(KINDS.contains(&(kind.group, kind.kind)), "{} is watched in vain", kind.kind);
        }
    }
}
