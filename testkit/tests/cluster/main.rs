//! Resources from a cluster, by a stand-in for its API server: what is watched, what becomes of it when the server fails, and what
//! is written into statuses.
mod statuses;
mod watching;

use std::time::Duration;

use adit_control::resources::cluster::{Cluster, Figures, Settings, Timing};
use adit_control::resources::{Loaded, World};
use adit_testkit::apiserver::{ApiKind, ApiServer, GATEWAY_API, ISTIO, KUBERNETES};
use tokio::sync::watch;

/// Longer than anything takes on a machine that is busy.
const LONG: Duration = Duration::from_secs(60);

/// Two services of ours, and the objects that every mesh has.
const MESH: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/use-waypoint: waypoint}}}
---
{apiVersion: v1, kind: Service, metadata: {name: v1, namespace: shop}, spec: {ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: v2, namespace: shop}, spec: {ports: [{name: http, port: 80}]}}
";

/// All kinds but our own.
fn all() -> Vec<ApiKind> {
    [KUBERNETES, GATEWAY_API, ISTIO].concat()
}

/// Pauses that no test waits for.
fn settings(write: bool) -> Settings {
    let short = Duration::from_millis(20);
    let timing = Timing {
        settle: Duration::from_millis(5),
        request: Duration::from_secs(20),
        retry: short,
        retry_most: short,
        absent: short,
        write: Duration::from_millis(1),
        ..Timing::default()
    };
    Settings { write, timing, seed: 7 }
}

async fn cluster(server: &ApiServer, write: bool) -> Cluster {
    let world = World::new("shop", "waypoint");
    Cluster::of(&server.kubeconfig(), world, settings(write)).await.expect("a cluster")
}

/// A cluster that is watched until this is dropped.
struct Watched {
    loaded: watch::Receiver<Loaded>,
    figures: Figures,
}

impl Watched {
    async fn start(server: &ApiServer, write: bool) -> Self {
        let mut cluster = cluster(server, write).await;
        let figures = cluster.figures();
        let first = cluster.open().await;
        let (sender, loaded) = watch::channel(first);
        tokio::spawn(cluster.watch(sender));
        Self { loaded, figures }
    }

    /// Waits until what is known is as it should be.
    async fn until(&mut self, holds: impl Fn(&Loaded) -> bool) -> Loaded {
        self.loaded.wait_for(holds).await.expect("it is watched").clone()
    }
}

/// Names of the objects of a kind.
fn names(loaded: &Loaded, kind: &str) -> Vec<String> {
    let of = loaded.objects.iter().filter(|object| &*object.kind == kind);
    of.map(|object| object.name.to_string()).collect()
}

/// Runs a test to its end.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LONG, test).await }).expect("in time");
}

/// A root certificate, in PEM.
fn root() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&key).expect("a certificate").pem()
}
