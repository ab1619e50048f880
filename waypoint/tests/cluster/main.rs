//! A waypoint whose resources come from a cluster: what is applied decides the next request, and the status tells of it. The
//! cluster is a stand-in for an API server.
#[path = "../rig/mod.rs"]
mod rig;

mod process;

use std::time::Duration;

use adit_control::resources::cluster::{Cluster, Settings, Timing};
use adit_control::resources::{Loaded, World as Whose};
use adit_testkit::apiserver::{ApiServer, GATEWAY_API, ISTIO, KUBERNETES};
use adit_waypoint::demo::world::Plan;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use rig::{PATIENCE, Rig};

/// The mesh's services, as the cluster knows them.
const MESH: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: demo, labels: {istio.io/use-waypoint: waypoint}}}
---
{apiVersion: v1, kind: Service, metadata: {name: shop, namespace: demo}, spec: {ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: v1, namespace: demo}, spec: {ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: v2, namespace: demo}, spec: {ports: [{name: http, port: 80}]}}
";

fn route(rule: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: shop, namespace: demo}}, spec: {{parentRefs: [{{group: '', kind: Service, name: shop}}], rules: [{rule}]}}}}"
    )
}

/// A waypoint that follows a cluster.
struct Followed {
    rig: Rig,
    runtime: Runtime,
    server: ApiServer,
    loaded: watch::Receiver<Loaded>,
}

impl Followed {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(ApiServer::start(&[KUBERNETES, GATEWAY_API, ISTIO].concat()));
        server.apply(MESH);
        let plan = Plan {
            clients: vec!["web"],
            apps: vec![("one", vec!["shop", "v1"]), ("two", vec!["v2"])],
            ports: vec![80],
            ..Plan::default()
        };
        let rig = Rig::new(&plan, "");
        let timing = Timing { settle: Duration::from_millis(5), ..Timing::default() };
        let settings = Settings { write: true, timing, seed: 1 };
        let loaded = runtime.block_on(async {
            let whose = Whose::new("demo", "waypoint");
            let mut cluster = Cluster::of(&server.kubeconfig(), whose, settings).await.unwrap();
            let (sender, loaded) = watch::channel(cluster.open().await);
            tokio::spawn(cluster.watch(sender));
            loaded
        });
        Self { rig, runtime, server, loaded }
    }

    /// Applies an object, waits until it is known, and puts into force what that comes to.
    fn apply(&mut self, object: &str, generation: i64) {
        self.server.apply(object);
        let known = |loaded: &Loaded| {
            loaded.objects.iter().any(|object| {
                &*object.name == "shop" && &*object.kind == "HTTPRoute" && object.generation == generation
            })
        };
        let waiting = async { tokio::time::timeout(PATIENCE, self.loaded.wait_for(known)).await };
        let loaded = self.runtime.block_on(waiting).expect("in time").expect("it is watched").clone();
        self.rig.world.put(&loaded.compiled);
    }

    /// Waits until the route's status is as it should be: a condition `Accepted`, which is given.
    fn accepted(&self, status: &str) -> Value {
        let condition = |route: &Value| {
            let conditions = route["status"]["parents"][0]["conditions"].as_array()?;
            conditions.iter().find(|each| each["type"] == "Accepted" && each["status"] == status).cloned()
        };
        let waiting = self.server.until("httproutes", "demo", "shop", |route| condition(route).is_some());
        let route =
            self.runtime.block_on(async { tokio::time::timeout(PATIENCE, waiting).await }).expect("in time");
        condition(&route).expect("it")
    }
}

#[test]
fn what_is_applied_decides_the_next_request_and_is_told() {
    let mut followed = Followed::start();
    assert_eq!(followed.rig.get("shop", "/", &[]).app(), "one");
    followed.apply(&route("{backendRefs: [{name: v2, port: 80}]}"), 1);
    assert_eq!(followed.rig.get("shop", "/", &[]).app(), "two");
    let condition = followed.accepted("True");
    assert_eq!((&condition["reason"], &condition["observedGeneration"]), (&"Accepted".into(), &1.into()));
    followed.apply(&route("{filters: [{type: ExtensionRef, extensionRef: {group: g, kind: k, name: n}}], backendRefs: [{name: v2, port: 80}]}"), 2);
    assert_eq!(followed.rig.get("shop", "/", &[]).status, 500);
    let condition = followed.accepted("False");
    assert_eq!(condition["reason"], "UnsupportedValue");
    assert!(condition["message"].as_str().unwrap().contains("spec.rules[0].filters[0]"), "{condition}");
    // The API server is gone: what was known stays.
    followed.server.set_up(false);
    assert_eq!(followed.rig.get("shop", "/", &[]).status, 500);
    followed.server.set_up(true);
    followed.apply(&route("{backendRefs: [{name: v1, port: 80}]}"), 3);
    assert_eq!(followed.rig.get("shop", "/", &[]).app(), "one");
    followed.accepted("True");
}
