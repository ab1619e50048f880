//! The xDS client against a scripted control plane, over real TLS.
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_control::grpc::{Auth, Connector, Roots, Token};
use adit_control::proto::istio::{security, workload};
use adit_control::xds::{Demands, NodeInfo, Settings, Stats, Xds, node};
use adit_core::mesh::Mesh;
use adit_core::xds::{Answer, Config, Reason, Subscription};
use adit_testkit::istiod::Istiod;
use adit_testkit::istiod::ads::{ADDRESS, AUTHORIZATION, Recorded};
use tokio::sync::watch;

/// A client at work.
struct Running {
    mesh: watch::Receiver<Arc<Mesh>>,
    demands: Demands,
    stats: Arc<Stats>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    async fn mesh(&mut self, wanted: impl FnMut(&Arc<Mesh>) -> bool) -> Arc<Mesh> {
        self.mesh.wait_for(wanted).await.expect("a client that runs").clone()
    }

    async fn workloads(&mut self, count: usize) -> Arc<Mesh> {
        self.mesh(|mesh| mesh.workloads().count() == count).await
    }
}

fn settings(istiod: &Istiod, token: Token) -> Settings {
    let node_info = NodeInfo {
        pod_name: "zt".into(),
        pod_namespace: "istio-system".into(),
        metadata: [("CLUSTER_ID".to_owned(), "east".to_owned())].into(),
        ..NodeInfo::default()
    };
    let extra = [("x-tenant".to_owned(), "a".to_owned())];
    Settings {
        connector: Connector {
            server: format!("https://{}", istiod.address()).parse().expect("an address"),
            roots: Roots::Pem(istiod.root().to_owned()),
            alternative_name: Some("istiod.test".try_into().expect("a name")),
            auth: Arc::new(Auth::new(Some(token), "east", extra).expect("headers")),
            post_quantum_only: false,
            mark: None,
            names: None,
        },
        node: node(&node_info),
        machine: Config::default(),
    }
}

fn run(settings: Settings) -> Running {
    let (published, mesh) = watch::channel(Arc::new(Mesh::default()));
    let sink = move |mesh| drop(published.send_replace(mesh));
    let (client, demands, stats) = Xds::new(settings, Mesh::default(), sink);
    let task = tokio::spawn(async move {
        client.run().await;
    });
    Running { mesh, demands, stats, task }
}

fn literal() -> Token {
    Token::Literal("secret".into())
}

fn pod(n: u32) -> workload::Workload {
    workload::Workload {
        uid: format!("k//Pod/ns/web-{n}"),
        name: format!("web-{n}"),
        namespace: "ns".into(),
        addresses: vec![ip(n).octets().to_vec()],
        services: [("ns/web.ns.svc".to_owned(), workload::PortList::default())].into(),
        ..Default::default()
    }
}

fn ip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + n)
}

fn service() -> workload::Service {
    workload::Service {
        name: "web".into(),
        namespace: "ns".into(),
        hostname: "web.ns.svc".into(),
        ports: vec![workload::Port { service_port: 80, target_port: 8080, app_protocol: 0 }],
        ..Default::default()
    }
}

fn policy(action: i32) -> security::Authorization {
    security::Authorization { name: "p".into(), namespace: "ns".into(), action, ..Default::default() }
}

fn first(url: &str, stream: usize) -> impl Fn(&Recorded) -> bool {
    move |asked| {
        asked.stream == stream && asked.request.type_url == url && asked.request.response_nonce.is_empty()
    }
}

fn versions(asked: &Recorded) -> Vec<(&str, &str)> {
    let mut versions: Vec<_> = asked
        .request
        .initial_resource_versions
        .iter()
        .map(|(name, version)| (name.as_str(), version.as_str()))
        .collect();
    versions.sort_unstable();
    versions
}

/// Runs `test` on a runtime of one thread, as Adit does, and gives up when it hangs.
fn on_tokio(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let finished = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await });
    finished.expect("the test hangs");
}

#[test]
fn the_first_requests_are_exactly_istios() {
    on_tokio(async {
        let istiod = Istiod::start("istiod.test").await;
        istiod.ads.set_workloads([pod(1)]);
        istiod.ads.set_services([service()]);
        istiod.ads.set_policies([policy(1)]);
        let mut client = run(settings(&istiod, literal()));
        let mesh = client.mesh(|mesh| mesh.workloads().count() == 1 && mesh.policies().count() == 1).await;
        let service = mesh.services().next().expect("a service");
        assert_eq!(mesh.endpoints(&service.name).len(), 1);

        let ack = istiod
            .ads
            .request(|asked| asked.request.type_url == ADDRESS && !asked.request.response_nonce.is_empty())
            .await;
        assert!(ack.request.error_detail.is_none() && ack.request.node.is_none());
        let asked = istiod.ads.recorded();
        let urls: Vec<&str> = asked.iter().take(2).map(|asked| asked.request.type_url.as_str()).collect();
        assert_eq!(urls, [ADDRESS, AUTHORIZATION]);
        for asked in &asked[..2] {
            let request = &asked.request;
            let node = request.node.as_ref().expect("the node");
            assert_eq!(node.id, "ztunnel~1.1.1.1~zt.istio-system~istio-system.svc.cluster.local");
            assert!(node.metadata.as_ref().expect("metadata").fields.contains_key("CLUSTER_ID"));
            assert!(
                request.resource_names_subscribe.is_empty() && request.resource_names_unsubscribe.is_empty()
            );
            assert!(request.initial_resource_versions.is_empty() && request.error_detail.is_none());
            assert_eq!(asked.headers["authorization"], "Bearer secret");
            assert_eq!(
                (asked.headers["clusterid"].as_str(), asked.headers["x-tenant"].as_str()),
                ("east", "a")
            );
        }
        istiod
            .ads
            .request(|asked| {
                asked.request.type_url == AUTHORIZATION && !asked.request.response_nonce.is_empty()
            })
            .await;
        assert!(client.stats.is_synced() && client.stats.without_stream().is_none());
        assert!(client.stats.since_push().is_some() && client.stats.messages()[ADDRESS].bytes > 0);
    });
}

#[test]
fn a_bad_resource_is_refused_alone_and_comes_back_without_its_version() {
    on_tokio(async {
        let istiod = Istiod::start("istiod.test").await;
        istiod.ads.set_workloads([pod(1), pod(2)]);
        let mut client = run(settings(&istiod, literal()));
        client.workloads(2).await;
        istiod.ads.set_workloads([workload::Workload { tunnel_protocol: 9, ..pod(1) }, pod(3)]);
        client.workloads(3).await;
        let refusal = istiod.ads.request(|asked| asked.request.error_detail.is_some()).await;
        let error = refusal.request.error_detail.expect("checked");
        assert_eq!(
            (error.code, error.message.as_str()),
            (0, "k//Pod/ns/web-1: tunnel_protocol has the unknown value 9")
        );

        istiod.ads.fail_streams(tonic::Status::unknown("restart"));
        let again = istiod.ads.request(first(ADDRESS, 2)).await;
        let expected = [
            ("k//Pod/ns/web-1", ""),
            ("k//Pod/ns/web-2", "7fffffffffffffff"),
            ("k//Pod/ns/web-3", "3fffffffffffffff"),
        ];
        assert_eq!(versions(&again), expected);
        assert!(again.request.node.is_some());
        assert_eq!(client.stats.terminations(Reason::Reconnect), 1);

        // Gone while it was refused: the old copy goes too.
        istiod.ads.remove(ADDRESS, ["k//Pod/ns/web-1"]);
        client.workloads(2).await;
    });
}

#[test]
fn a_restarted_control_plane_loses_nothing() {
    on_tokio(async {
        let mut istiod = Istiod::start("istiod.test").await;
        istiod.ads.set_workloads([pod(1), pod(2)]);
        istiod.ads.set_policies([policy(1)]);
        let mut client = run(settings(&istiod, literal()));
        let before = client.mesh(|mesh| mesh.workloads().count() == 2 && mesh.policies().count() == 1).await;
        istiod
            .ads
            .request(|asked| {
                asked.request.type_url == AUTHORIZATION && !asked.request.response_nonce.is_empty()
            })
            .await;
        istiod.ads.hold(true);
        istiod.ads.remove(ADDRESS, ["k//Pod/ns/web-2"]);
        istiod.restart().await;
        let again = istiod.ads.request(first(ADDRESS, 1)).await;
        assert_eq!(
            versions(&again),
            [("k//Pod/ns/web-1", "ffffffffffffffff"), ("k//Pod/ns/web-2", "7fffffffffffffff")]
        );
        let after = client.workloads(1).await;
        assert_eq!((before.workloads().count(), after.policies().count()), (2, 1));
    });
}

#[test]
fn the_token_is_read_again_for_each_stream() {
    on_tokio(async {
        let path = token_file("first");
        let istiod = Istiod::start("istiod.test").await;
        let _client = run(settings(&istiod, Token::File(path.clone())));
        let asked = istiod.ads.request(first(ADDRESS, 1)).await;
        assert_eq!(asked.headers["authorization"], "Bearer first");
        std::fs::write(&path, "second\n").expect("a writable file");
        istiod.ads.end_streams();
        let asked = istiod.ads.request(first(ADDRESS, 2)).await;
        assert_eq!(asked.headers["authorization"], "Bearer second");
        std::fs::remove_file(path).expect("our file");
    });
}

fn token_file(text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("adit-xds-token-{}", std::process::id()));
    std::fs::write(&path, text).expect("a writable directory");
    path
}

#[test]
fn demands_are_answered_by_name_alias_and_absence() {
    on_tokio(async {
        let istiod = Istiod::start("istiod.test").await;
        istiod.ads.set_workloads([pod(1), pod(2)]);
        istiod.ads.set_services([service()]);
        let mut settings = settings(&istiod, literal());
        settings.machine.addresses = Subscription::OnDemand;
        let client = run(settings);
        let asked = istiod.ads.request(first(ADDRESS, 1)).await;
        assert_eq!(asked.request.resource_names_subscribe, ["*"]);
        assert_eq!(asked.request.resource_names_unsubscribe, ["*"]);

        let (first_caller, second_caller) =
            tokio::join!(client.demands.demand("/10.0.0.1"), client.demands.demand("/10.0.0.1"));
        assert_eq!((first_caller, second_caller), (Ok(Answer::Known), Ok(Answer::Known)));
        assert!(client.mesh.borrow().workload_by_address("", IpAddr::V4(ip(1))).is_some());
        assert_eq!(client.demands.demand("ns/web.ns.svc").await, Ok(Answer::Known));
        assert_eq!(client.demands.demand("/10.9.9.9").await, Ok(Answer::Absent));
        assert_eq!(client.mesh.borrow().workloads().count(), 1);

        istiod.ads.fail_streams(tonic::Status::cancelled("bye"));
        let again = istiod.ads.request(first(ADDRESS, 2)).await;
        assert_eq!(
            versions(&again),
            [("k//Pod/ns/web-1", "ffffffffffffffff"), ("ns/web.ns.svc", "5555555555555555")]
        );
    });
}

#[test]
fn refused_streams_and_goaway_are_survived() {
    on_tokio(async {
        let istiod = Istiod::start("istiod.test").await;
        istiod.ads.refuse_streams(Some(tonic::Status::unauthenticated("who are you")));
        istiod.ads.set_workloads([pod(1)]);
        let mut client = run(settings(&istiod, literal()));
        while client.stats.terminations(Reason::ConnectionError) < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        istiod.ads.refuse_streams(None);
        client.workloads(1).await;
        istiod.goaway();
        istiod.ads.set_workloads([pod(2)]);
        client.workloads(2).await;
        istiod.ads.end_streams();
        istiod.ads.set_workloads([pod(3)]);
        client.workloads(3).await;
    });
}

#[test]
fn a_server_of_another_name_or_root_is_not_spoken_to() {
    on_tokio(async {
        let (istiod, other) = (Istiod::start("istiod.test").await, Istiod::start("istiod.test").await);
        let mut wrong_name = settings(&istiod, literal());
        wrong_name.connector.alternative_name = None;
        let mut wrong_root = settings(&istiod, literal());
        wrong_root.connector.roots = Roots::Pem(other.root().to_owned());
        for settings in [wrong_name, wrong_root] {
            let error = settings.connector.connect().await.expect_err("a stranger").to_string();
            assert!(error.contains("invalid peer certificate"), "{error}");
        }
        assert!(settings(&istiod, literal()).connector.connect().await.is_ok());
    });
}

#[test]
fn ten_thousand_workloads() {
    on_tokio(async {
        let istiod = Istiod::start("istiod.test").await;
        istiod.ads.set_services([service()]);
        istiod.ads.set_workloads((0..10_000).map(pod));
        let mut client = run(settings(&istiod, literal()));
        let mesh = client.workloads(10_000).await;
        let service = mesh.services().next().expect("a service");
        assert_eq!(mesh.endpoints(&service.name).len(), 10_000);
        let names: Vec<String> = (0..9_999).map(|n| pod(n).uid).collect();
        istiod.ads.remove(ADDRESS, names.iter().map(String::as_str));
        client.workloads(1).await;
    });
}
