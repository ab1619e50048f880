//! The waypoint's chart: what it renders is Kubernetes' and Gateway API's, in the shape that istiod's own waypoints have
//! (waypoint.md §23.3, §24), with few privileges; and every value has its effect.
use serde_json::{Value, json};

use crate::objects::Objects;
use crate::typed::{faults, inconsistencies};
use crate::{helm_on, root};

const CHART: &str = "deploy/waypoint-chart";
const EVERYTHING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/waypoint-values/everything.yaml");

/// A release called `waypoint` in `shop`.
fn template(arguments: &[&str]) -> Result<Objects, String> {
    let fixed = ["template", "waypoint", "--namespace", "shop"];
    let output = helm_on(CHART, &[&fixed[..], arguments].concat());
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(Objects::read(&String::from_utf8(output.stdout).expect("UTF-8")))
}

fn defaults() -> Objects {
    template(&[]).expect("the defaults render")
}

fn everything() -> Objects {
    template(&["--values", EVERYTHING]).expect("it renders")
}

fn said(objects: &Objects, name: &str) -> Value {
    objects.variable(name).cloned().unwrap_or_default()
}

#[test]
fn helm_has_nothing_to_say_of_it() {
    for arguments in [&["lint", "--strict"][..], &["lint", "--strict", "--values", EVERYTHING]] {
        let output = helm_on(CHART, arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !said.contains("[WARNING]"), "{arguments:?}: {said}");
    }
}

#[test]
fn every_object_is_one_of_kubernetes() {
    for objects in [defaults(), everything()] {
        let found: Vec<String> = objects.0.iter().flat_map(faults).chain(inconsistencies(&objects)).collect();
        assert_eq!(found, Vec::<String>::new());
    }
}

/// Helm installs them before all else, and leaves them at the end.
#[test]
fn our_own_kinds_come_with_it() {
    let ours = adit_control::resources::cluster::privileges().filter(|(group, ..)| *group == "adit.dev");
    for (group, plural, _) in ours {
        let path = root().join(CHART).join(format!("crds/{plural}.yaml"));
        let text = std::fs::read_to_string(path).expect("a definition");
        let kind: Value = serde_yaml_ng::from_str(&text).expect("YAML");
        assert_eq!(faults(&kind), Vec::<String>::new(), "{plural}");
        assert_eq!(kind["metadata"]["name"], format!("{plural}.{group}"));
        assert_eq!(kind["spec"]["versions"][0]["subresources"], json!({"status": {}}), "a status is written");
    }
}

#[test]
fn the_objects_are_those_that_were_asked_for() {
    let few = [
        "ClusterRole -/waypoint-shop",
        "ClusterRoleBinding -/waypoint-shop",
        "Deployment shop/waypoint",
        "Gateway shop/waypoint",
        "Role istio-system/waypoint-shop-mesh",
        "Role shop/waypoint-shop-configmaps",
        "RoleBinding istio-system/waypoint-shop-mesh",
        "RoleBinding shop/waypoint-shop-configmaps",
        "Service shop/waypoint",
        "ServiceAccount shop/waypoint",
    ];
    assert_eq!(defaults().names(), few);
    let all = [
        "ConfigMap shop/reviews-waypoint-manifests",
        "Deployment shop/reviews-waypoint",
        "Gateway shop/reviews-waypoint",
        "GatewayClass -/adit-waypoint",
        "HorizontalPodAutoscaler shop/reviews-waypoint",
        "NetworkPolicy shop/reviews-waypoint",
        "PodDisruptionBudget shop/reviews-waypoint",
        "PodMonitor shop/reviews-waypoint",
        "Service shop/reviews-waypoint",
        "ServiceAccount shop/reviews-waypoint",
    ];
    assert_eq!(everything().names(), all);
    // For one that has its files and its identity elsewhere.
    let bare =
        template(&["--set", "serviceAccount=web,source=directory,manifestsFrom=mine,gateway.create=false"]);
    assert_eq!(bare.expect("it renders").names(), ["Deployment shop/waypoint", "Service shop/waypoint"]);
}

#[test]
fn values_that_there_are_not_are_refused_by_name() {
    for (set, named) in [
        ("hub=x", "hub"),
        ("gateway.class=x", "class"),
        ("pathNormalization=LOWER", "/pathNormalization"),
        ("gateway.for=services", "/gateway/for"),
        ("manifests.readme=x", "readme"),
        ("source=files", "/source"),
        ("manifestsFrom=mine", "source=directory"),
        ("rbac.secrets={a}", "secrets"),
        ("terminationGracePeriodSeconds=1", "/terminationGracePeriodSeconds"),
    ] {
        let error = template(&["--set", set]).expect_err("it must be refused");
        assert!(error.contains(named), "{set}: {error}");
    }
}

#[test]
fn istiod_learns_of_it_and_starts_none_of_its_own() {
    let objects = defaults();
    let gateway = objects.the("Gateway");
    assert_eq!(gateway["metadata"]["labels"]["istio.io/waypoint-for"], "service");
    let spec = json!({
        "gatewayClassName": "istio-waypoint",
        "addresses": [{"type": "Hostname", "value": "waypoint.shop.svc.cluster.local"}],
        "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE", "allowedRoutes": {"namespaces": {"from": "Same"}}}],
    });
    assert_eq!(gateway["spec"], spec);
    let service = objects.the("Service");
    let ports = json!([
        {"name": "status-port", "port": 15021, "targetPort": 15021, "protocol": "TCP", "appProtocol": "tcp"},
        {"name": "mesh", "port": 15008, "targetPort": 15008, "protocol": "TCP", "appProtocol": "hbone"},
    ]);
    assert_eq!(service["spec"]["ports"], ports);
    let distribution = &service["metadata"]["annotations"]["networking.istio.io/traffic-distribution"];
    assert_eq!(distribution, "PreferClose");
    let pod = &objects.the("Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(service["spec"]["selector"], json!({"gateway.networking.k8s.io/gateway-name": "waypoint"}));
    for (label, value) in [
        ("gateway.networking.k8s.io/gateway-name", "waypoint"),
        ("gateway.networking.k8s.io/gateway-class-name", "istio-waypoint"),
        ("gateway.istio.io/managed", "istio.io-mesh-controller"),
        ("istio.io/dataplane-mode", "none"),
        ("istio.io/use-waypoint", "none"),
        ("sidecar.istio.io/inject", "false"),
        ("service.istio.io/canonical-name", "waypoint"),
    ] {
        assert_eq!(pod[label], value, "{label}");
    }
    let everything = everything();
    let gateway = everything.the("Gateway");
    assert_eq!(gateway["spec"]["addresses"][0]["value"], "reviews-waypoint.shop.svc.corp.example");
    assert_eq!(gateway["spec"]["listeners"][0]["allowedRoutes"]["namespaces"]["from"], "All");
    assert_eq!(gateway["metadata"]["labels"]["istio.io/waypoint-for"], "all");
}

#[test]
fn it_has_no_privileges() {
    let objects = defaults();
    let expected = json!({
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsUser": 1337,
        "runAsGroup": 1337,
        "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(objects.container()["securityContext"], expected);
    // To call the API server; with manifests of its own it does not.
    assert_eq!(objects.pod()["automountServiceAccountToken"], true);
    assert_eq!(everything().pod()["automountServiceAccountToken"], false);
    assert!(
        objects.pod()["volumes"].as_array().expect("volumes").iter().all(|it| it.get("hostPath").is_none())
    );
}

/// The rules of a role: `verb group/resource` of each.
fn allowed(role: &Value) -> Vec<String> {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().expect("a list").iter();
        list.map(|text| text.as_str().expect("text").to_owned()).collect()
    };
    let mut all = Vec::new();
    for rule in role["rules"].as_array().expect("rules") {
        for verb in texts(rule, "verbs") {
            for group in texts(rule, "apiGroups") {
                all.extend(
                    texts(rule, "resources").iter().map(|resource| format!("{verb} {group}/{resource}")),
                );
            }
        }
    }
    all.sort();
    all
}

#[test]
fn it_may_read_and_write_what_it_does_and_no_more() {
    let objects = defaults();
    let mut expected = Vec::new();
    let mut read_only = Vec::new();
    for (group, plural, written) in adit_control::resources::cluster::privileges() {
        let reading = ["list", "watch"].map(|verb| format!("{verb} {group}/{plural}"));
        read_only.extend(reading.clone());
        expected.extend(reading);
        if written {
            expected.extend([format!("get {group}/{plural}"), format!("patch {group}/{plural}/status")]);
        }
    }
    expected.sort();
    read_only.sort();
    assert_eq!(allowed(objects.the("ClusterRole")), expected);
    let silent = template(&["--set", "writeStatus=false"]).expect("it renders");
    assert_eq!(allowed(silent.the("ClusterRole")), read_only);
    // No Secret anywhere, and of Istio's namespace one ConfigMap.
    let roles = |objects: &Objects| -> Vec<Value> {
        objects.0.iter().filter(|object| object["kind"] == "Role").cloned().collect()
    };
    for role in roles(&objects) {
        assert_eq!(allowed(&role), ["list /configmaps", "watch /configmaps"]);
        let names = &role["rules"][0]["resourceNames"];
        let expected =
            if role["metadata"]["namespace"] == "istio-system" { json!(["istio"]) } else { Value::Null };
        assert_eq!(*names, expected);
    }
    let more =
        template(&["--set", "rbac.secretsIn={vault},rbac.configMapsIn={certs,shop}"]).expect("it renders");
    let namespaces: Vec<_> = roles(&more)
        .iter()
        .map(|role| {
            format!(
                "{} {}",
                role["metadata"]["namespace"].as_str().expect("text"),
                role["rules"][0]["resources"][0].as_str().expect("text")
            )
        })
        .collect();
    assert_eq!(
        namespaces,
        ["istio-system configmaps", "certs configmaps", "shop configmaps", "vault secrets"]
    );
    for binding in
        more.0.iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding")))
    {
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "name": "waypoint", "namespace": "shop"}])
        );
        assert_eq!(binding["roleRef"]["name"], binding["metadata"]["name"]);
    }
    for set in ["rbac.create=false", "source=directory"] {
        let none = template(&["--set", set]).expect("it renders");
        assert!(
            none.0.iter().all(|object| !object["kind"].as_str().unwrap_or_default().contains("Role")),
            "{set}"
        );
    }
}

#[test]
fn it_is_started_as_its_help_says() {
    let arguments = |objects: &Objects| objects.container()["args"].clone();
    let mut expected = vec![
        "proxy",
        "--config-source=cluster",
        "--gateway=waypoint",
        "--gateway-class=istio-waypoint",
        "--path-normalization=BASE",
    ];
    assert_eq!(arguments(&defaults()), json!(expected));
    expected[1] = "--config=/etc/adit/manifests";
    expected[2] = "--gateway=reviews-waypoint";
    expected[4] = "--path-normalization=DECODE_AND_MERGE_SLASHES";
    expected.push("--session-secret=/etc/adit/session/secret");
    assert_eq!(arguments(&everything()), json!(expected));
    let flags = std::fs::read_to_string(root().join("waypoint/src/cli.rs")).expect("the command line");
    let silent = template(&["--set", "writeStatus=false"]).expect("it renders");
    assert_eq!(arguments(&silent)[2], "--write-status=false");
    for flag in [
        "config",
        "config_source",
        "write_status",
        "gateway",
        "gateway_class",
        "path_normalization",
        "session_secret",
    ] {
        assert!(flags.contains(&format!("pub {flag}: ")), "--{flag} is none of its flags");
    }
    let objects = defaults();
    assert_eq!(said(&objects, "PROXY_MODE"), "dedicated");
    let whoami = "$(POD_NAMESPACE)/$(POD_NAME)/$(POD_SERVICE_ACCOUNT)";
    assert_eq!(said(&objects, "PROXY_WORKLOAD_INFO"), whoami);
    // Kubernetes fills in only what stands further up.
    let names = objects.variables();
    let place = |name: &str| names.iter().position(|it| *it == name).unwrap_or_else(|| panic!("no {name}"));
    for name in ["POD_NAMESPACE", "POD_NAME", "POD_SERVICE_ACCOUNT"] {
        assert!(place(name) < place("PROXY_WORKLOAD_INFO"), "{name}");
    }
    let help = std::fs::read_to_string(root().join("node-proxy/src/cli/help.rs")).expect("the help");
    let compatibility = std::fs::read_to_string(root().join("docs/compatibility.md")).expect("the page");
    let others = ["RUST_BACKTRACE", "POD_SERVICE_ACCOUNT", "ROOT_NAMESPACE"];
    for name in names {
        let known = help.contains(name) || compatibility.contains(&format!("`{name}`"));
        let known = known || name.starts_with("ISTIO_META_") || others.contains(&name);
        assert!(known, "{name} means nothing to adit-waypoint");
    }
}

#[test]
fn probes_are_those_of_istios() {
    let objects = defaults();
    let ready = json!({"path": "/healthz/ready", "port": 15021});
    let startup = json!({"httpGet": ready, "initialDelaySeconds": 1, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 30});
    assert_eq!(objects.container()["startupProbe"], startup);
    let readiness =
        json!({"httpGet": ready, "periodSeconds": 15, "timeoutSeconds": 1, "failureThreshold": 4});
    assert_eq!(objects.container()["readinessProbe"], readiness);
    assert!(objects.container().get("livenessProbe").is_none());
}

/// What it waits for before SIGTERM is no part of the drain's time.
#[test]
fn the_grace_is_shared_between_waiting_and_draining() {
    for (objects, grace, drain) in [(defaults(), 30, "25"), (everything(), 60, "55")] {
        assert_eq!(objects.pod()["terminationGracePeriodSeconds"], grace);
        assert_eq!(objects.container()["lifecycle"], json!({"preStop": {"sleep": {"seconds": 5}}}));
        assert_eq!(said(&objects, "TERMINATION_GRACE_PERIOD_SECONDS"), drain);
    }
    let at_once = template(&["--set", "preStopSleepSeconds=0"]).expect("it renders");
    assert!(at_once.container().get("lifecycle").is_none());
}

#[test]
fn manifests_are_files_that_can_be_read() {
    let objects = everything();
    let files = objects.the("ConfigMap")["data"].as_object().expect("files");
    let kinds: Vec<String> = files
        .values()
        .map(|text| serde_yaml_ng::from_str::<Value>(text.as_str().expect("text")).expect("YAML"))
        .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
        .collect();
    assert_eq!(kinds, [r#""AuthorizationPolicy" "no-admin""#, r#""HTTPRoute" "reviews""#]);
    let empty = template(&["--set", "source=directory"]).expect("it renders");
    assert_eq!(empty.the("ConfigMap")["data"], json!({}));
    let volumes = objects.pod()["volumes"].as_array().expect("volumes");
    let manifests = volumes.iter().find(|volume| volume["name"] == "manifests").expect("a volume");
    assert_eq!(manifests["configMap"]["name"], objects.the("ConfigMap")["metadata"]["name"]);
}

#[test]
fn every_value_has_its_effect() {
    let objects = everything();
    let (pod, container) = (objects.pod(), objects.container());
    for (found, expected) in [
        (&container["imagePullPolicy"], json!("Always")),
        (&objects.the("ServiceAccount")["imagePullSecrets"], json!([{"name": "registry-login"}])),
        (&objects.the("Gateway")["metadata"]["labels"]["team"], json!("shop")),
        (&objects.the("Service")["metadata"]["annotations"]["owner"], json!("shop-team")),
        (&objects.workload()["spec"]["template"]["metadata"]["labels"]["tier"], json!("mesh")),
        (
            &objects.workload()["spec"]["template"]["metadata"]["labels"]["topology.istio.io/network"],
            json!("net-1"),
        ),
        (&container["securityContext"]["seccompProfile"]["localhostProfile"], json!("adit.json")),
        (&pod["nodeSelector"], json!({"kubernetes.io/os": "linux", "pool": "mesh"})),
        (&pod["tolerations"], json!([{"operator": "Exists"}])),
        (&pod["topologySpreadConstraints"][0]["maxSkew"], json!(1)),
        (&pod["priorityClassName"], json!("mesh-critical")),
        (&pod["volumes"][1]["configMap"]["name"], json!("roots")),
        (&objects.the("HorizontalPodAutoscaler")["spec"]["minReplicas"], json!(3)),
        (&objects.the("HorizontalPodAutoscaler")["spec"]["maxReplicas"], json!(9)),
        (
            &objects.the("HorizontalPodAutoscaler")["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
            json!(80),
        ),
        (&objects.the("PodDisruptionBudget")["spec"]["minAvailable"], json!("50%")),
        (&objects.the("PodMonitor")["spec"]["podMetricsEndpoints"][0]["interval"], json!("30s")),
        (&objects.the("PodMonitor")["metadata"]["labels"]["release"], json!("prometheus")),
    ] {
        assert_eq!(*found, expected);
    }
    assert!(
        container["image"].as_str().is_some_and(|image| image.starts_with("registry.example/adit-waypoint@"))
    );
    assert!(pod["affinity"]["podAntiAffinity"].is_object());
    // The autoscaler says how many.
    assert!(objects.workload()["spec"].get("replicas").is_none());
    assert_eq!(defaults().workload()["spec"]["replicas"], 2);
    for (name, value) in [
        ("ADIT_MAX_CONNECTIONS", "100000"),
        ("CA_ADDRESS", "istiod-canary.istio-system.svc:15012"),
        ("XDS_ADDRESS", "istiod-canary.istio-system.svc:15012"),
        ("CLUSTER_DOMAIN", "corp.example"),
        ("ISTIO_META_CLUSTER_ID", "east"),
        ("LOG_FORMAT", "json"),
        ("NETWORK", "net-1"),
        ("NODE_NAME", "n1"),
        ("ROOT_NAMESPACE", "istio-system"),
        ("RUST_LOG", "debug"),
        ("TRUST_DOMAIN", "corp.example"),
    ] {
        assert_eq!(said(&objects, name), value, "{name}");
    }
    let policy = &objects.the("NetworkPolicy")["spec"];
    let ports =
        policy["ingress"][0]["ports"].as_array().expect("ports").iter().map(|port| port["port"].clone());
    assert_eq!(ports.collect::<Vec<_>>(), [15008, 15020, 15021]);
    assert_eq!(policy["egress"], json!([{}]));
}
