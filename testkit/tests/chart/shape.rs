//! What istiod, istio-cni, istioctl, kubelet and Prometheus rely on: names, labels, ports, mounts, variables, and how few privileges
//! there are (interfaces §8.2).
use serde_json::{Value, json};

use crate::objects::Objects;
use crate::{root, with, with_file};

fn defaults() -> Objects {
    with(&json!({})).expect("the defaults render")
}

#[test]
fn the_defaults_are_two_objects() {
    assert_eq!(defaults().names(), ["DaemonSet istio-system/ztunnel", "ServiceAccount istio-system/ztunnel"]);
}

#[test]
fn istio_finds_its_ztunnel() {
    let objects = defaults();
    let set = objects.the("DaemonSet");
    assert_eq!(set["spec"]["selector"], json!({"matchLabels": {"app": "ztunnel"}}));
    let pod = &set["spec"]["template"];
    for (label, value) in [
        ("app", "ztunnel"),
        ("app.kubernetes.io/name", "ztunnel"),
        ("sidecar.istio.io/inject", "false"),
        ("istio.io/dataplane-mode", "none"),
    ] {
        assert_eq!(pod["metadata"]["labels"][label], value, "{label}");
    }
    assert_eq!(pod["metadata"]["annotations"]["sidecar.istio.io/inject"], "false");
    assert_eq!(pod["spec"]["serviceAccountName"], "ztunnel");
    assert_eq!(objects.container()["name"], "istio-proxy");
    assert_eq!(objects.container()["args"], json!(["proxy", "ztunnel"]));
    assert!(pod["spec"].get("hostNetwork").is_none());
}

#[test]
fn kubelet_and_prometheus_find_their_ports() {
    let objects = defaults();
    let probe = json!({"httpGet": {"path": "/healthz/ready", "port": 15021}});
    assert_eq!(objects.container()["readinessProbe"], probe);
    assert!(objects.container().get("livenessProbe").is_none(), "a proxy that waits is not restarted");
    let ports = json!([{"name": "ztunnel-stats", "containerPort": 15020, "protocol": "TCP"}]);
    assert_eq!(objects.container()["ports"], ports);
    let annotations = &objects.the("DaemonSet")["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "15020");
    assert_eq!(annotations["prometheus.io/scrape"], "true");
    let everything = with_file("everything");
    let monitor = &everything.the("PodMonitor")["spec"];
    assert_eq!(monitor["podMetricsEndpoints"][0]["port"], "ztunnel-stats");
    assert_eq!(monitor["podMetricsEndpoints"][0]["path"], "/stats/prometheus");
    assert_eq!(monitor["selector"], everything.the("DaemonSet")["spec"]["selector"]);
}

#[test]
fn a_new_proxy_is_there_before_the_old_one_goes() {
    let objects = defaults();
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    assert_eq!(objects.the("DaemonSet")["spec"]["updateStrategy"], strategy);
    assert_eq!(objects.pod()["terminationGracePeriodSeconds"], 30);
    assert_eq!(objects.variable("TERMINATION_GRACE_PERIOD_SECONDS"), Some(&json!("30")));
    assert_eq!(objects.pod()["priorityClassName"], "system-node-critical");
}

#[test]
fn privileges_are_few() {
    let objects = defaults();
    let expected = json!({
        "privileged": false,
        "allowPrivilegeEscalation": true,
        "readOnlyRootFilesystem": true,
        "runAsUser": 0,
        "runAsGroup": 1337,
        "runAsNonRoot": false,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "SYS_ADMIN"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(objects.container()["securityContext"], expected);
    // It never calls the API server.
    assert_eq!(objects.pod()["automountServiceAccountToken"], false);
    assert_eq!(objects.the("ServiceAccount")["automountServiceAccountToken"], false);
    assert!(objects.all("ClusterRole").is_empty() && objects.all("Role").is_empty());
    let everything = with_file("everything");
    let added = &everything.container()["securityContext"]["capabilities"]["add"];
    assert_eq!(*added, json!(["NET_ADMIN", "SYS_ADMIN", "NET_RAW"]));
}

/// Mount path, name of the volume, and the volume.
fn volume(objects: &Objects, path: &str) -> Value {
    let mounts = objects.container()["volumeMounts"].as_array().expect("mounts");
    let mount = mounts.iter().find(|mount| mount["mountPath"] == path).unwrap_or_else(|| panic!("no {path}"));
    let volumes = objects.pod()["volumes"].as_array().expect("volumes");
    let mut volume = volumes.iter().find(|it| it["name"] == mount["name"]).expect("its volume").clone();
    let map = volume.as_object_mut().expect("a map");
    map.remove("name");
    volume
}

#[test]
fn files_are_where_the_proxy_looks() {
    let objects = defaults();
    let node = |path: &str| json!({"hostPath": {"path": path, "type": "DirectoryOrCreate"}});
    for (path, expected) in [
        ("/var/run/secrets/istio", json!({"configMap": {"name": "istio-ca-root-cert"}})),
        (
            "/var/run/secrets/tokens",
            json!({"projected": {"sources": [{"serviceAccountToken":
                {"path": "istio-token", "audience": "istio-ca", "expirationSeconds": 43200}}]}}),
        ),
        ("/var/run/ztunnel", node("/var/run/ztunnel")),
        ("/var/run/adit", node("/var/run/adit")),
        ("/tmp", json!({"emptyDir": {}})),
    ] {
        assert_eq!(volume(&objects, path), expected, "{path}");
    }
    let everything = with_file("everything");
    assert_eq!(volume(&everything, "/var/run/adit"), node("/run/adit"));
    let bundle = json!({"projected": {"sources": [
        {"clusterTrustBundle": {"name": "istio.io:istiod-ca:root-cert", "path": "root-cert.pem"}}]}});
    assert_eq!(volume(&everything, "/var/run/secrets/istio"), bundle);
    let upstream = with_file("upstream");
    let lists = json!({"configMap": {"name": "istio-ca-crl", "optional": true}});
    assert_eq!(volume(&upstream, "/var/run/secrets/istio/crl"), lists);
    assert_eq!(upstream.variable("CRL_PATH"), Some(&json!("/var/run/secrets/istio/crl/ca-crl.pem")));
}

#[test]
fn variables_are_those_of_upstream_and_one_of_ours() {
    let objects = defaults();
    let mut variables = objects.variables();
    variables.sort_unstable();
    let expected = [
        "ADIT_HANDOVER_PATH",
        "CA_ADDRESS",
        "INPOD_ENABLED",
        "INSTANCE_IP",
        "ISTIO_META_CLUSTER_ID",
        "NODE_NAME",
        "POD_NAME",
        "POD_NAMESPACE",
        "RUST_BACKTRACE",
        "RUST_LOG",
        "SERVICE_ACCOUNT",
        "TERMINATION_GRACE_PERIOD_SECONDS",
        "XDS_ADDRESS",
        "ZTUNNEL_CPU_LIMIT",
        "ZTUNNEL_RESOURCE_CPU_REQUEST",
    ];
    assert_eq!(variables, expected);
    // In the directory that is on the node (`adit.handoverPath`).
    let handover = objects.variable("ADIT_HANDOVER_PATH").and_then(Value::as_str);
    assert_eq!(handover, Some("/var/run/adit/handover.sock"));
    for (name, field) in [
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        ("NODE_NAME", "spec.nodeName"),
        ("INSTANCE_IP", "status.podIP"),
        ("SERVICE_ACCOUNT", "spec.serviceAccountName"),
    ] {
        assert_eq!(objects.variable(name), Some(&json!({"fieldRef": {"fieldPath": field}})), "{name}");
    }
    for name in ["XDS_ADDRESS", "CA_ADDRESS"] {
        assert_eq!(objects.variable(name), Some(&json!("istiod.istio-system.svc:15012")));
    }
}

/// A test of the proxy's own keeps its help complete.
#[test]
fn the_proxy_knows_every_variable_that_is_set() {
    let help = std::fs::read_to_string(root().join("node-proxy/src/cli/help.rs")).expect("the help");
    let compatibility = std::fs::read_to_string(root().join("docs/compatibility.md")).expect("the page");
    // Of Rust's runtime.
    let others = ["RUST_BACKTRACE"];
    for objects in [defaults(), with_file("upstream"), with_file("beside")] {
        for name in objects.variables() {
            let known = help.contains(name)
                || compatibility.contains(&format!("`{name}`"))
                || name.starts_with("ISTIO_META_")
                || others.contains(&name);
            assert!(known, "{name} means nothing to adit-node");
        }
    }
}

#[test]
fn policies_let_in_what_the_mesh_needs() {
    let objects = with_file("everything");
    let policies = objects.all("NetworkPolicy");
    let named = |namespace: &str| {
        let found = policies.iter().find(|policy| policy["metadata"]["namespace"] == namespace);
        &found.expect("a policy there")["spec"]
    };
    let own = named("istio-system");
    assert_eq!(own["podSelector"], json!({"matchLabels": {"app": "ztunnel"}}));
    let tcp = |port: u16| json!({"protocol": "TCP", "port": port});
    let mut expected: Vec<Value> = [15021, 15020, 15000, 15008, 15001, 15006, 15053].map(tcp).into();
    expected.push(json!({"protocol": "UDP", "port": 15053}));
    assert_eq!(own["ingress"], json!([{"ports": expected}]));
    assert_eq!(own["egress"], json!([{}]), "everything may be reached");
    for namespace in ["shop", "bank"] {
        let policy = named(namespace);
        assert_eq!(policy["podSelector"], json!({"matchLabels": {"locked": "true"}}));
        assert_eq!(policy["policyTypes"], json!(["Ingress"]));
        let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
        let probes = [block("169.254.7.127/32"), block("fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128")];
        assert_eq!(policy["ingress"], json!([{"ports": [tcp(15008)]}, {"from": probes}]));
    }
}

#[test]
fn everything_is_everything() {
    let expected = [
        "ClusterRole -/ztunnel",
        "ClusterRoleBinding -/ztunnel",
        "DaemonSet istio-system/ztunnel",
        "NetworkPolicy bank/ztunnel-workloads",
        "NetworkPolicy istio-system/ztunnel",
        "NetworkPolicy shop/ztunnel-workloads",
        "PodDisruptionBudget istio-system/ztunnel",
        "PodMonitor istio-system/ztunnel",
        "PrometheusRule istio-system/ztunnel",
        "ResourceQuota istio-system/ztunnel",
        "ServiceAccount istio-system/ztunnel",
    ];
    assert_eq!(with_file("everything").names(), expected);
}

/// istiod trusts one service account, so that both share it.
#[test]
fn a_second_set_has_the_first_ones_identity_and_no_object_of_its_name() {
    let objects = with_file("beside");
    assert_eq!(objects.names(), ["DaemonSet istio-system/adit-node"]);
    assert_eq!(objects.pod()["serviceAccountName"], "ztunnel");
    assert_eq!(objects.pod()["nodeSelector"], json!({"adit": "true", "kubernetes.io/os": "linux"}));
}
