//! `adit-waypoint` in a cluster: it watches the API server, and what it writes into statuses passes the validation of the kinds'
//! own schemas and stands beside what istiod writes.
use adit_testkit::netns::{Host, Process, binary, get, wait_until};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::control_plane::ISTIOD;
use crate::scenarios::service::service;
use crate::{Result, SOON};

/// The waypoint's name: of its Gateway, pod, Service and service account.
const NAME: &str = "waypoint";

/// Who writes, in statuses.
const CONTROLLER: &str = "adit.dev/waypoint";

/// All that the waypoint is made of in Kubernetes, as its chart has it.
fn parts(space: &str, host: &Host) -> String {
    format!(
        r#"
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {NAME}, namespace: {space}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {NAME}, namespace: {space}, labels: {{gateway.istio.io/managed: istio.io-mesh-controller}}}}
spec:
  selector: {{gateway.networking.k8s.io/gateway-name: {NAME}}}
  ipFamilyPolicy: RequireDualStack
  ports: [{{name: mesh, port: 15008, targetPort: 15008, protocol: TCP, appProtocol: hbone}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {NAME}, namespace: {space}, labels: {{istio.io/waypoint-for: service, app.kubernetes.io/name: adit-waypoint}}}}
spec:
  gatewayClassName: istio-waypoint
  addresses: [{{type: Hostname, value: {NAME}.{space}.svc.cluster.local}}]
  listeners: [{{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {{namespaces: {{from: Same}}}}}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: {NAME}
  namespace: {space}
  labels: {{gateway.networking.k8s.io/gateway-name: {NAME}, gateway.istio.io/managed: istio.io-mesh-controller, istio.io/dataplane-mode: none, istio.io/use-waypoint: none}}
spec: {{serviceAccountName: {NAME}, nodeName: machine-2, containers: [{{name: istio-proxy, image: none}}]}}
status: {{phase: Running, podIP: {v4}, podIPs: [{{ip: {v4}}}, {{ip: "{v6}"}}], hostIP: {v4}, conditions: [{{type: Ready, status: "True"}}]}}
"#,
        v4 = host.address(false),
        v6 = host.address(true),
    )
}

/// The program, in the network namespace of its pod.
fn start(cluster: &Cluster, space: &str, host: &Host) -> Result<Process> {
    let plane = &cluster.plane;
    let token = plane.write("waypoint.token", &plane.kube.token(space, NAME, NAME)?)?;
    let istiod = format!("https://{}:15012", plane.host.address(false));
    let root = plane.path("root.pem").display().to_string();
    let vars = [
        ("KUBECONFIG", plane.path("kubeconfig").display().to_string()),
        ("PROXY_MODE", "dedicated".to_owned()),
        ("PROXY_WORKLOAD_INFO", format!("{space}/{NAME}/{NAME}")),
        ("LOG_FORMAT", "json".to_owned()),
        ("ZTUNNEL_WORKER_THREADS", "1".to_owned()),
        ("CLUSTER_ID", "Kubernetes".to_owned()),
        ("NODE_NAME", "machine-2".to_owned()),
        ("POD_NAME", NAME.to_owned()),
        ("POD_NAMESPACE", space.to_owned()),
        ("SERVICE_ACCOUNT", NAME.to_owned()),
        ("INSTANCE_IP", host.address(false).to_string()),
        ("XDS_ADDRESS", istiod.clone()),
        ("XDS_ROOT_CA", root.clone()),
        ("ALT_XDS_HOSTNAME", ISTIOD.to_owned()),
        ("CA_ADDRESS", istiod),
        ("CA_ROOT_CA", root),
        ("ALT_CA_HOSTNAME", ISTIOD.to_owned()),
        ("AUTH_TOKEN", token.display().to_string()),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value));
    let words = [
        binary("adit-waypoint", "adit-waypoint")?.display().to_string(),
        "proxy".to_owned(),
        "--config-source=cluster".to_owned(),
        format!("--gateway={NAME}"),
        "--gateway-class=istio-waypoint".to_owned(),
    ];
    let process = Process::spawn("adit-waypoint", Some(host.namespace()), &words, &vars)?;
    let ready = || get(host, ([127, 0, 0, 1], 15021), "/healthz/ready").is_ok();
    wait_until("adit-waypoint is ready", SOON, ready, || tail(&process))?;
    Ok(process)
}

fn tail(process: &Process) -> String {
    let lines = process.lines();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Resources of each kind whose status is written, and what `Accepted` says in each.
fn resources(space: &str) -> Vec<(&'static str, &'static str, String)> {
    let gateway = "gateway.networking.k8s.io/v1";
    let to = |name: &str| format!("{{group: '', kind: Service, name: {name}}}");
    let parent = format!("parentRefs: [{}]", to("front"));
    let backend = "backendRefs: [{name: two, port: 80}]";
    let target = format!("targetRefs: [{}]", to("front"));
    let made = |api: &str, kind: &str, name: &str, spec: &str| {
        format!(
            "{{apiVersion: {api}, kind: {kind}, metadata: {{name: {name}, namespace: {space}}}, spec: {{{spec}}}}}"
        )
    };
    let extension = "rules: [{filters: [{type: ExtensionRef, extensionRef: {group: example.com, kind: Filter, name: x}}]}]";
    vec![
        (
            "True",
            "TCPRoute",
            made(
                "gateway.networking.k8s.io/v1alpha2",
                "TCPRoute",
                "to-two",
                &format!("{parent}, rules: [{{{backend}}}]"),
            ),
        ),
        (
            "True",
            "HTTPRoute",
            made(
                gateway,
                "HTTPRoute",
                "http",
                &format!("parentRefs: [{}], rules: [{{{backend}}}]", to("web")),
            ),
        ),
        (
            "False",
            "HTTPRoute",
            made(gateway, "HTTPRoute", "refused", &format!("parentRefs: [{}], {extension}", to("web"))),
        ),
        (
            "True",
            "GRPCRoute",
            made(
                gateway,
                "GRPCRoute",
                "grpc",
                &format!("parentRefs: [{}], rules: [{{{backend}}}]", to("calls")),
            ),
        ),
        (
            "False",
            "BackendTLSPolicy",
            made(
                gateway,
                "BackendTLSPolicy",
                "tls",
                &format!(
                    "targetRefs: [{}], validation: {{hostname: one.example, caCertificateRefs: [{{group: '', kind: ConfigMap, name: nowhere}}]}}",
                    to("calls")
                ),
            ),
        ),
        (
            "True",
            "AuthorizationPolicy",
            made(
                "security.istio.io/v1",
                "AuthorizationPolicy",
                "deny",
                &format!(
                    "{target}, action: DENY, rules: [{{from: [{{source: {{principals: ['cluster.local/ns/{space}/sa/nobody']}}}}]}}]"
                ),
            ),
        ),
        (
            "False",
            "AuthorizationPolicy",
            made(
                "security.istio.io/v1",
                "AuthorizationPolicy",
                "unknown",
                &format!("{target}, action: DENY, rules: [{{when: [{{key: nothing.known, values: [x]}}]}}]"),
            ),
        ),
        (
            "False",
            "RequestAuthentication",
            made(
                "security.istio.io/v1",
                "RequestAuthentication",
                "tokens",
                &format!(
                    "{target}, jwtRules: [{{issuer: 'https://issuer.example', jwks: '{{\"keys\":[]}}'}}]"
                ),
            ),
        ),
        (
            "True",
            "DestinationRule",
            made("networking.istio.io/v1", "DestinationRule", "front", "host: front"),
        ),
        (
            "True",
            "Telemetry",
            made(
                "telemetry.istio.io/v1",
                "Telemetry",
                "logs",
                &format!("{target}, accessLogging: [{{disabled: false}}]"),
            ),
        ),
        (
            "True",
            "RateLimitPolicy",
            made(
                "adit.dev/v1alpha1",
                "RateLimitPolicy",
                "limits",
                &format!("{}, local: [{{requests: 1000, per: 1s}}]", target.replace("front", "web")),
            ),
        ),
        (
            "False",
            "FaultPolicy",
            made(
                "adit.dev/v1alpha1",
                "FaultPolicy",
                "faults",
                &format!("{}, abort: {{httpStatus: 7777}}", target.replace("front", "web")),
            ),
        ),
    ]
}

/// What our condition says in a status, wherever the kind has it.
fn said(object: &Value) -> Option<String> {
    let status = object.get("status")?;
    let lists = ["parents", "ancestors"].into_iter().filter_map(|list| status[list].as_array());
    let ours = lists.flatten().filter(|entry| entry["controllerName"] == CONTROLLER);
    let conditions =
        ours.filter_map(|entry| entry["conditions"].as_array()).chain(status["conditions"].as_array());
    let mut conditions = conditions.flatten();
    let own = |kind: &Value| kind == "adit.dev/Accepted" || kind == "Accepted";
    let found = conditions.find(|condition| own(&condition["type"]))?;
    found["status"].as_str().map(str::to_owned)
}

/// Statuses of every kind, and what istiod's waypoints are told by.
pub(crate) fn watches_the_cluster(cluster: &mut Cluster, space: &str) -> Result<()> {
    cluster.label(space, true)?;
    let host = cluster.network.host("waypoint")?;
    let kube = cluster.plane.kube.clone();
    kube.apply(&service(space, "two"))?;
    for name in ["front", "web", "calls"] {
        let used = format!("metadata: {{name: {name}, labels: {{istio.io/use-waypoint: {NAME}}},");
        kube.apply(&service(space, "one").replace("metadata: {name: one,", &used))?;
    }
    kube.apply(&parts(space, &host))?;
    let process = start(cluster, space, &host)?;
    let played = play(cluster, space, &Cast { host: &host, process: &process });
    played.map_err(|error| format!("{error}\n---- adit-waypoint\n{}", tail(&process)))?;
    for (_, _, object) in resources(space) {
        kube.delete(&object)?;
    }
    kube.delete(&parts(space, &host))
}

/// Who plays.
struct Cast<'a> {
    host: &'a Host,
    process: &'a Process,
}

fn play(cluster: &Cluster, space: &str, cast: &Cast<'_>) -> Result<()> {
    let kube = &cluster.plane.kube;
    for (_, _, object) in resources(space) {
        kube.apply(&object)?;
    }
    for (accepted, kind, object) in resources(space) {
        let mut last = Value::Null;
        let told = || {
            last = kube.read(&object).ok().flatten().unwrap_or_default();
            said(&last).as_deref() == Some(accepted)
        };
        let waited = wait_until(&format!("{kind} is told Accepted={accepted}"), SOON, told, String::new);
        waited.map_err(|error| format!("{error}\n{}", last["status"]))?;
        println!("  {kind}: {}", last["status"]);
    }

    own_class(cluster, space, cast)
}

/// A Gateway of our own class, of which istiod writes nothing.
fn own_class(cluster: &Cluster, space: &str, cast: &Cast<'_>) -> Result<()> {
    let kube = &cluster.plane.kube;
    let class = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: adit-waypoint}, spec: {controllerName: adit.dev/waypoint}}";
    kube.apply(class)?;
    kube.apply(
        &parts(space, cast.host)
            .replace("gatewayClassName: istio-waypoint", "gatewayClassName: adit-waypoint"),
    )?;
    let gateway = format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: {NAME}, namespace: {space}}}}}"
    );
    for object in [class, &gateway] {
        let mut last = Value::Null;
        let told = || {
            last = kube.read(object).ok().flatten().unwrap_or_default();
            let conditions = last["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
            let of = |condition: &Value| condition["observedGeneration"] == last["metadata"]["generation"];
            conditions.iter().any(|each| each["type"] == "Accepted" && each["status"] == "True" && of(each))
        };
        let waited =
            wait_until("a Gateway and a class of ours are accepted", SOON, told, || tail(cast.process));
        waited.map_err(|error| format!("{error}\n{last}"))?;
        println!("  {}: {}", last["kind"], last["status"]);
    }
    kube.delete(class)
}
