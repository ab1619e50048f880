//! Each value of the upstream chart does here what it does there (interfaces §8.1), and so does each place it can be set in.
use serde_json::{Value, json};

use crate::objects::Objects;
use crate::{with, with_file};

/// A part of a release: the pod's specification, its container, a variable, or an object of a kind, and a pointer into it.
enum Part {
    Pod(&'static str),
    Container(&'static str),
    Variable(&'static str),
    Object(&'static str, &'static str),
}

impl Part {
    fn of(&self, objects: &Objects) -> Value {
        let found = match self {
            Self::Pod(pointer) => objects.pod().pointer(pointer),
            Self::Container(pointer) => objects.container().pointer(pointer),
            Self::Variable(name) => objects.variable(name),
            Self::Object(kind, pointer) => objects.the(kind).pointer(pointer),
        };
        found.cloned().unwrap_or_default()
    }
}

#[test]
fn every_value_of_upstreams_has_its_effect() {
    use Part::{Container, Object, Pod, Variable};
    let objects = with_file("upstream");
    let amount = |which: &str| json!({"resourceFieldRef": {"resource": which, "divisor": "1"}});
    for (part, expected) in [
        (Container("/image"), json!("registry.example/mirror/node:1.2.3-distroless")),
        (Container("/imagePullPolicy"), json!("Always")),
        (Object("ServiceAccount", "/imagePullSecrets"), json!([{"name": "registry-login"}])),
        (Object("DaemonSet", "/metadata/name"), json!("node-tunnel")),
        (Object("ServiceAccount", "/metadata/name"), json!("node-tunnel")),
        (Pod("/serviceAccountName"), json!("node-tunnel")),
        (Object("DaemonSet", "/metadata/labels/team"), json!("mesh")),
        (Object("ServiceAccount", "/metadata/labels/team"), json!("mesh")),
        (
            Object("DaemonSet", "/metadata/annotations"),
            json!({"owner": "mesh-team", "istio.io/rev": "canary"}),
        ),
        (Object("DaemonSet", "/spec/template/metadata/labels/tier"), json!("node")),
        (Object("DaemonSet", "/spec/template/metadata/annotations/example.com~1a"), json!("b")),
        (Object("DaemonSet", "/spec/template/metadata/annotations/prometheus.io~1port"), json!("15020")),
        (Object("DaemonSet", "/spec/template/metadata/annotations/istio.io~1rev"), json!("canary")),
        (Object("DaemonSet", "/spec/updateStrategy/type"), json!("OnDelete")),
        (Object("NetworkPolicy", "/metadata/name"), json!("node-tunnel-canary")),
        (Object("ResourceQuota", "/spec/hard/pods"), json!("1000000")),
        (
            Object("ResourceQuota", "/spec/scopeSelector/matchExpressions/0/values"),
            json!(["system-node-critical"]),
        ),
        (Object("ClusterRole", "/rules/0/resourceNames"), json!(["privileged"])),
        (Object("ClusterRoleBinding", "/subjects/0/name"), json!("node-tunnel")),
        (Pod("/nodeSelector"), json!({"kubernetes.io/os": "linux", "pool": "general"})),
        (
            Pod(
                "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0/key",
            ),
            json!("zone"),
        ),
        (Pod("/tolerations"), json!([{"operator": "Exists"}])),
        (Pod("/terminationGracePeriodSeconds"), json!(60)),
        (Pod("/dnsPolicy"), json!("ClusterFirst")),
        (Pod("/dnsConfig/options/0/name"), json!("ndots")),
        (Pod("/volumes/6"), json!({"name": "extra", "emptyDir": {}})),
        (Pod("/volumes/1/configMap/name"), json!("roots")),
        (Container("/volumeMounts/6"), json!({"name": "extra", "mountPath": "/extra"})),
        (Container("/resources/limits"), json!({"cpu": "2", "memory": "2Gi"})),
        (Container("/resources/requests"), json!({"cpu": "500m", "memory": "1Gi"})),
        (Container("/securityContext/seLinuxOptions"), json!({"type": "spc_t"})),
        (Variable("NETWORK"), json!("network1")),
        (Variable("ISTIO_META_CLUSTER_ID"), json!("cluster1")),
        (Variable("ISTIO_META_DNS_CAPTURE"), json!("false")),
        // Of the profile.
        (Variable("ISTIO_META_ENABLE_HBONE"), json!("true")),
        (Variable("POOL_MAX_STREAMS_PER_CONNECTION"), json!("50")),
        (Variable("ENABLE_ORIG_SRC"), json!("false")),
        (Variable("TERMINATION_GRACE_PERIOD_SECONDS"), json!("60")),
        (Variable("CA_ADDRESS"), json!("ca.example:15012")),
        (Variable("XDS_ADDRESS"), json!("xds.example:15012")),
        (Variable("RUST_LOG"), json!("debug")),
        (Variable("LOG_FORMAT"), json!("json")),
        (Variable("ZTUNNEL_CPU_LIMIT"), amount("limits.cpu")),
        (Variable("ZTUNNEL_RESOURCE_CPU_LIMIT"), amount("limits.cpu")),
        (Variable("ZTUNNEL_RESOURCE_CPU_REQUEST"), amount("requests.cpu")),
    ] {
        let place = match &part {
            Pod(place) | Container(place) | Variable(place) | Object(_, place) => *place,
        };
        let found = part.of(&objects);
        assert_eq!(found, expected, "{place}");
    }
}

/// What stands there wins over what stands below `global`, which wins over platforms, these over profiles, these over the
/// upstream chart's own file, which wins over ours.
#[test]
fn the_nearest_value_wins() {
    let layers = json!({
        "_internal_defaults_do_not_set": {"logLevel": "a", "network": "a", "istioNamespace": "a", "caAddress": "a"},
        "global": {"logLevel": "b", "network": "b", "istioNamespace": "b"},
        "logLevel": "c",
        "network": "c",
    });
    let objects = with(&layers).expect("it renders");
    let variable = |name| objects.variable(name).cloned().unwrap_or_default();
    assert_eq!(variable("RUST_LOG"), "c");
    assert_eq!(variable("NETWORK"), "c");
    assert_eq!(variable("XDS_ADDRESS"), "istiod.b.svc:15012");
    assert_eq!(variable("CA_ADDRESS"), "a");
    let quota = |values: Value| !with(&values).expect("it renders").all("ResourceQuota").is_empty();
    assert!(quota(json!({"platform": "gke"})));
    assert!(quota(json!({"global": {"platform": "gke"}})));
    assert!(!quota(json!({"platform": "gke", "global": {"resourceQuotas": {"enabled": false}}})));
    assert!(!quota(json!({"global": {"platform": "gke"}, "resourceQuotas": {"enabled": false}})));
    assert!(!quota(
        json!({"platform": "gke", "global": {"platform": "k3d"}, "resourceQuotas": {"enabled": false}})
    ));
}

#[test]
fn several_clusters_and_networks_are_told_apart_from_either_place() {
    for values in [
        json!({"multiCluster": {"clusterName": "east"}, "network": "net-1"}),
        json!({"global": {"multiCluster": {"clusterName": "east"}, "network": "net-1"}}),
    ] {
        let objects = with(&values).expect("it renders");
        assert_eq!(objects.variable("ISTIO_META_CLUSTER_ID"), Some(&json!("east")), "{values}");
        assert_eq!(objects.variable("NETWORK"), Some(&json!("net-1")), "{values}");
    }
}

#[test]
fn the_image_is_ours_unless_another_was_asked_for() {
    for (values, expected) in [
        (json!({}), "adit-node:0.1.0"),
        (json!({"tag": 1.5}), "adit-node:1.5"),
        (json!({"hub": "r.example/x/"}), "r.example/x/adit-node:0.1.0"),
        (json!({"global": {"hub": "r.example", "tag": "2"}}), "r.example/adit-node:2"),
        (json!({"hub": "r.example", "image": "a/b:c"}), "a/b:c"),
        (json!({"hub": "r.example", "image": "a/b:c", "adit": {"image": "d:e"}}), "d:e"),
        // Upstream's file names upstream's image, which nobody asked for.
        (
            json!({"_internal_defaults_do_not_set": {"hub": "r.example", "tag": "latest", "image": "ztunnel"}}),
            "adit-node:0.1.0",
        ),
    ] {
        let objects = with(&values).expect("it renders");
        assert_eq!(objects.container()["image"], expected, "{values}");
    }
}

#[test]
fn what_somebody_sets_replaces_what_we_would() {
    let values = json!({
        "env": {"NODE_NAME": "n1", "RUST_LOG": "trace", "ZTUNNEL_CPU_LIMIT": 3, "A": 1_000_000, "B": 0.5, "C": true},
        "meshConfig": {"defaultConfig": {"proxyMetadata": {"A": "less", "POD_NAME": "p"}}},
    });
    let objects = with(&values).expect("it renders");
    for (name, expected) in [
        ("NODE_NAME", "n1"),
        ("POD_NAME", "p"),
        ("RUST_LOG", "trace"),
        ("ZTUNNEL_CPU_LIMIT", "3"),
        ("A", "1000000"),
        ("B", "0.5"),
        ("C", "true"),
    ] {
        assert_eq!(objects.variable(name), Some(&json!(expected)), "{name}");
        assert_eq!(objects.variables().iter().filter(|it| **it == name).count(), 1, "{name}");
    }
}

#[test]
fn revisions_name_their_istiod() {
    let objects = with(&json!({"revision": "1-30", "istioNamespace": "mesh"})).expect("it renders");
    for name in ["XDS_ADDRESS", "CA_ADDRESS"] {
        assert_eq!(objects.variable(name), Some(&json!("istiod-1-30.mesh.svc:15012")));
    }
}

#[test]
fn objects_can_be_installed_by_two_people() {
    let everything = |scope: &str| {
        let values = json!({
            "resourceScope": scope,
            "platform": "openshift",
            "networkPolicy": {"enabled": true},
            "resourceQuotas": {"enabled": true},
        });
        with(&values).expect("it renders").names()
    };
    assert_eq!(everything("cluster"), ["ClusterRole -/ztunnel", "ClusterRoleBinding -/ztunnel"]);
    let namespaced = everything("namespace");
    assert!(
        namespaced.len() == 4 && namespaced.iter().all(|name| name.contains(" istio-system/")),
        "{namespaced:?}"
    );
    assert_eq!(everything("all").len(), 6);
}
