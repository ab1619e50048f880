//! Every page, and `/config_dump` against the documented shapes (interfaces §4.2).
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use adit_core::identity::Identity;
use adit_core::mesh::{
    Action, Authorization, Clause, GatewayAddress, GatewayTarget, LoadBalancing, LoadBalancingMode, Match,
    Mesh, NetworkAddress, PolicyScope, RoutingScope, Rule, Service, ServiceName, StringMatch, TunnelProtocol,
    Workload,
};
use adit_core::proxy::observed::{Carrier, Connection, Direction, Names, Party, Traffic};
use serde_json::{Value, json};

use super::*;
use crate::capture::{CaptureState, PodCapture};

#[derive(Default)]
struct World {
    mesh: Arc<Mesh>,
    certificates: Vec<CertificateStatus>,
    proxies: Vec<ProxyState>,
    connections: Vec<Arc<Connection>>,
    stopped: AtomicBool,
    captures: Vec<PodCapture>,
}

impl AdminState for World {
    fn mesh(&self) -> Arc<Mesh> {
        Arc::clone(&self.mesh)
    }
    fn static_mesh(&self) -> Option<Arc<Mesh>> {
        None
    }
    fn certificates(&self) -> Vec<CertificateStatus> {
        self.certificates.clone()
    }
    fn proxies(&self) -> Vec<ProxyState> {
        self.proxies.clone()
    }
    fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.clone()
    }
    fn captures(&self) -> Vec<PodCapture> {
        self.captures.clone()
    }
    fn config(&self) -> Value {
        json!({"proxy": true})
    }
    fn version(&self) -> Version {
        Version { version: "0.1.0".to_owned(), ..Version::default() }
    }
    fn shut_down(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn admin(world: World) -> Admin<World> {
    let (subscriber, levels) =
        crate::logging::subscriber("info", crate::logging::Format::Plain, |_, _: &[u8]| ()).unwrap();
    // Levels of a subscriber that is gone cannot be changed.
    std::mem::forget(subscriber);
    Admin::new(Arc::new(world), Arc::new(levels))
}

fn ask(admin: &Admin<World>, method: Method, target: &str) -> (u16, String) {
    let response = admin.answer(&Request::new(method, target));
    (response.status, String::from_utf8(response.body.into_bytes()).unwrap())
}

fn dump(world: World) -> (String, Value) {
    let (status, text) = ask(&admin(world), Method::Get, "/config_dump");
    assert_eq!(status, 200);
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (text, value)
}

fn identity(account: &str) -> Identity {
    Identity::new("cluster.local", "shop", account).unwrap()
}

fn name(hostname: &str) -> ServiceName {
    ServiceName { namespace: "shop".into(), hostname: hostname.into() }
}

fn workload() -> Workload {
    let mut workload = Workload::new("Kubernetes//Pod/shop/echo-1", "echo-1", identity("echo"));
    workload.addresses = vec!["10.0.0.2".parse().unwrap()];
    workload.protocol = TunnelProtocol::Hbone;
    workload.waypoint = Some(Arc::new(GatewayAddress {
        target: GatewayTarget::Hostname(name("waypoint.shop.svc")),
        hbone_port: 15008,
    }));
    workload.workload_name = "echo".into();
    workload.canonical_name = "echo".into();
    workload.canonical_revision = "v1".into();
    workload.node = "node-1".into();
    workload.locality.region = "eu".into();
    workload.authorization_policies = vec!["shop/only-web".into()];
    workload.services =
        [(name("echo.shop.svc"), [(80, 8080)].into()), (name("later.shop.svc"), [(1, 2)].into())]
            .into_iter()
            .collect();
    workload
}

fn service() -> Service {
    let mut service = Service::new(name("echo.shop.svc"));
    service.object_name = "echo".into();
    service.addresses = vec![NetworkAddress { network: "".into(), address: "10.1.0.1".parse().unwrap() }];
    service.ports = BTreeMap::from([(80, 0), (81, 8081)]);
    service.load_balancing = LoadBalancing {
        preferences: vec![RoutingScope::Region, RoutingScope::Zone],
        mode: LoadBalancingMode::Failover,
        ..LoadBalancing::default()
    };
    service
}

fn policy() -> Authorization {
    let one = Match {
        principals: vec![StringMatch::Exact("cluster.local/ns/shop/sa/web".into()), StringMatch::Presence],
        not_source_ips: vec!["10.9.0.0/16".parse().unwrap()],
        destination_ports: vec![8080],
        ..Match::default()
    };
    Authorization {
        namespace: "shop".into(),
        name: "only-web".into(),
        scope: PolicyScope::WorkloadSelector,
        action: Action::Allow,
        rules: vec![Rule { clauses: vec![Clause { matches: vec![one] }] }],
        dry_run: false,
    }
}

#[test]
fn tables_have_the_documented_shapes() {
    let mesh = Mesh::new("".into(), vec![workload()], vec![service()], vec![policy()]).unwrap();
    let (text, value) = dump(World { mesh: Arc::new(mesh), ..World::default() });
    assert_eq!(
        value["workloads"],
        json!([{
            "workloadIps": ["10.0.0.2"],
            "waypoint": {"destination": "shop/waypoint.shop.svc", "hboneMtlsPort": 15008},
            "protocol": "HBONE",
            "networkMode": "Standard",
            "uid": "Kubernetes//Pod/shop/echo-1",
            "name": "echo-1",
            "namespace": "shop",
            "trustDomain": "cluster.local",
            "serviceAccount": "echo",
            "workloadName": "echo",
            "workloadType": "deployment",
            "canonicalName": "echo",
            "canonicalRevision": "v1",
            "node": "node-1",
            "authorizationPolicies": ["shop/only-web"],
            "status": "Healthy",
            "clusterId": "Kubernetes",
            "locality": {"region": "eu"},
            "services": ["shop/echo.shop.svc", "shop/later.shop.svc"],
            "servicePorts": {"shop/echo.shop.svc": {"80": 8080}, "shop/later.shop.svc": {"1": 2}},
            "capacity": 1
        }])
    );
    assert_eq!(
        value["services"],
        json!([{
            "name": "echo",
            "namespace": "shop",
            "hostname": "echo.shop.svc",
            "vips": ["/10.1.0.1"],
            "ports": {"80": 0, "81": 8081},
            "endpoints": {"Kubernetes//Pod/shop/echo-1": {
                "workloadUid": "Kubernetes//Pod/shop/echo-1",
                "port": {"80": 8080, "81": 8081},
                "status": "Healthy"
            }},
            "subjectAltNames": [],
            "loadBalancer": {
                "routingPreferences": ["Region", "Zone"],
                "mode": "Failover",
                "healthPolicy": "OnlyHealthy"
            },
            "canonical": false,
            "visibility": "Public"
        }])
    );
    assert_eq!(
        value["policies"],
        json!([{
            "name": "only-web",
            "namespace": "shop",
            "scope": "WorkloadSelector",
            "action": "Allow",
            "rules": [[[{
                "principals": [{"Exact": "cluster.local/ns/shop/sa/web"}, {"Presence": []}],
                "notSourceIps": ["10.9.0.0/16"],
                "destinationPorts": [8080]
            }]]],
            "dryRun": false
        }])
    );
    let endpoint =
        json!({"workloadUid": "Kubernetes//Pod/shop/echo-1", "port": {"1": 2}, "status": "Healthy"});
    assert_eq!(
        value["stagedServices"],
        json!({"shop/later.shop.svc": {"Kubernetes//Pod/shop/echo-1": endpoint}})
    );
    assert_eq!(value["version"]["version"], "0.1.0");
    assert_eq!(value["config"], json!({"proxy": true}));
    let keys: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()).collect();
    assert_eq!(
        keys,
        [
            "certificates",
            "config",
            "policies",
            "services",
            "stagedServices",
            "staticConfig",
            "version",
            "workloadState",
            "workloads"
        ]
    );
    // Byte for byte what a pretty printer makes of it, so that people can read it too.
    assert!(
        text.contains(
            "  \"workloads\": [\n    {\n      \"workloadIps\": [\n        \"10.0.0.2\"\n      ],\n"
        ),
        "{text}"
    );
}

#[test]
fn an_empty_process_is_still_whole() {
    let (text, value) = dump(World::default());
    assert_eq!(value["workloads"], json!([]));
    assert_eq!(value["workloadState"], json!({}));
    assert_eq!(value["staticConfig"], json!({"workloads": [], "policies": [], "services": []}));
    assert!(text.starts_with("{\n  \"certificates\": [],\n") && text.ends_with("\n}\n"), "{text}");
}

#[test]
fn a_large_mesh_comes_in_pieces() {
    let one = |n: u32| {
        let mut workload = Workload::new(&format!("uid-{n:05}"), &format!("w{n}"), identity("w"));
        workload.addresses = vec![std::net::Ipv4Addr::from(0x0a00_0000 + n).into()];
        workload
    };
    let mesh = Mesh::new("".into(), (0..2000).map(one).collect(), Vec::new(), Vec::new()).unwrap();
    let world = World { mesh: Arc::new(mesh), ..World::default() };
    let pieces: Vec<_> = dump::Dump::of(&world).collect();
    assert!(pieces.len() > 5, "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.len() < 70_000));
    let value: Value = serde_json::from_slice(&pieces.concat()).unwrap();
    assert_eq!(value["workloads"].as_array().unwrap().len(), 2000);
}

#[test]
fn connections_are_shown_with_the_workload_they_belong_to() {
    let party = |name: &str, address: &str| {
        let names = Names { workload: Some(name.into()), namespace: Some("shop".into()), ..Names::default() };
        Party::new(Some(address.parse().unwrap()), names)
    };
    let connection = |direction, source, destination, carrier, target: &str, forwarded: Option<&str>| {
        Arc::new(Connection {
            id: 1,
            direction,
            source,
            destination,
            hbone_authority: None,
            service: None,
            carrier,
            target: Some(target.parse().unwrap()),
            forwarded_host: forwarded.map(Into::into),
            trace: None,
            traffic: Traffic::default(),
        })
    };
    let (web, echo) = (party("web-1", "10.0.0.1:4000"), party("echo-1", "10.0.0.2:15008"));
    let connections = vec![
        connection(Direction::Outbound, web.clone(), echo.clone(), Carrier::Hbone, "10.1.0.1:80", None),
        connection(Direction::Inbound, web, echo, Carrier::Hbone, "10.0.0.2:8080", Some("echo.shop.svc")),
    ];
    let proxy = |uid: &str, name: &str, status| ProxyState {
        uid: uid.into(),
        status,
        name: name.into(),
        namespace: "shop".into(),
        service_account: "sa".into(),
    };
    let proxies = vec![
        proxy("u1", "web-1", ProxyStatus::Up),
        proxy("u2", "echo-1", ProxyStatus::Up),
        proxy("u3", "new-1", ProxyStatus::Pending),
    ];
    let (_, value) = dump(World { connections, proxies, ..World::default() });
    let info = |name: &str| json!({"name": name, "namespace": "shop", "serviceAccount": "sa"});
    assert_eq!(
        value["workloadState"],
        json!({
            "u1": {"state": "Up", "info": info("web-1"), "connections": {"inbound": [], "outbound": [{
                "src": "10.0.0.1:4000", "originalDst": "10.1.0.1:80", "actualDst": "10.0.0.2:15008",
                "protocol": "HBONE"
            }]}},
            "u2": {"state": "Up", "info": info("echo-1"), "connections": {"outbound": [], "inbound": [{
                "src": "10.0.0.1:4000", "originalDst": "echo.shop.svc", "actualDst": "10.0.0.2:8080",
                "protocol": "HBONE"
            }]}},
            "u3": {"state": "Pending", "info": info("new-1")}
        })
    );
}

/// A self-signed certificate for 2030.
fn certificate() -> Vec<u8> {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.serial_number = Some(vec![0x12, 0x34, 0x56, 0x78, 0x90, 0xab, 0xcd, 0xef, 0x12, 0x34].into());
    params.not_before = rcgen::date_time_ymd(2030, 1, 1);
    params.not_after = rcgen::date_time_ymd(2031, 1, 1);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn certificates_are_shown_as_istioctl_reads_them() {
    let der = certificate();
    let certificate = Certificate::from_der(&der).unwrap();
    let status = |state, cert_chain| CertificateStatus {
        identity: identity("echo"),
        state,
        cert_chain,
        root_certs: Vec::new(),
    };
    let certificates = vec![
        status(CertificateState::Available, vec![certificate]),
        status(CertificateState::Unavailable("no CA".to_owned()), Vec::new()),
    ];
    let (_, value) = dump(World { certificates, ..World::default() });
    let first = &value["certificates"][0];
    assert_eq!(first["identity"], "spiffe://cluster.local/ns/shop/sa/echo");
    assert_eq!(first["state"], "Available");
    assert_eq!(first["rootCerts"], json!([]));
    let leaf = &first["certChain"][0];
    assert_eq!(leaf["serialNumber"], "85968058272638546416180");
    assert_eq!(leaf["validFrom"], "2030-01-01T00:00:00Z");
    assert_eq!(leaf["expirationTime"], "2031-01-01T00:00:00Z");
    let pem =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, leaf["pem"].as_str().unwrap());
    let pem = String::from_utf8(pem.unwrap()).unwrap();
    assert!(
        pem.starts_with("-----BEGIN CERTIFICATE-----\nMII") && pem.ends_with("\n-----END CERTIFICATE-----\n")
    );
    assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
    assert_eq!(value["certificates"][1]["state"], "Unavailable: no CA");
    assert!(Certificate::from_der(&der[1..]).is_err());
}

#[test]
fn levels_are_listed_changed_and_reset() {
    let admin = admin(World::default());
    let post = |target| ask(&admin, Method::Post, target);
    let ok = |text: &str| (200, format!("current log level is {text}\n"));
    assert_eq!(post("/logging"), ok("info"));
    assert_eq!(post("/logging?level=access:debug"), ok("info,access=debug"));
    assert_eq!(post("/logging?level=warn"), ok("access=debug,warn"));
    assert_eq!(post("/logging?reset"), ok("info"));
    // As istioctl sends it.
    assert_eq!(post("/logging?level=info&reset"), ok("info"));
    assert_eq!(post("/logging?level=loud").0, 400);
    assert_eq!(post("/logging?what").0, 400);
    assert_eq!(post("/logging"), ok("info"));
    let (status, help) = ask(&admin, Method::Get, "/logging");
    assert!(status == 405 && help.contains("usage: POST /logging"), "{help}");
}

#[test]
fn captures_are_shown_as_their_readers_expect_them() {
    let state = CaptureState::unknown("no namespace");
    let pod = PodCapture { uid: "u".into(), namespace: "shop".into(), name: "web".into(), state };
    let admin = admin(World { captures: vec![pod.clone()], ..World::default() });
    let (status, text) = ask(&admin, Method::Get, "/capture");
    assert_eq!((status, serde_json::from_str::<Vec<PodCapture>>(&text).unwrap()), (200, vec![pod]));
}

#[test]
fn the_other_pages() {
    let admin = admin(World::default());
    assert_eq!(ask(&admin, Method::Get, "/quitquitquit").0, 405);
    assert!(!admin.state.stopped.load(Ordering::Relaxed));
    assert_eq!(ask(&admin, Method::Post, "/quitquitquit"), (200, "shutdown now\n".to_owned()));
    assert!(admin.state.stopped.load(Ordering::Relaxed));
    let (status, page) = ask(&admin, Method::Get, "/");
    assert!(status == 200 && page.contains("href=\"config_dump\""), "{page}");
    assert_eq!(ask(&admin, Method::Get, "/debug/pprof/heap").0, 501);
    assert_eq!(ask(&admin, Method::Get, "/nothing"), (404, String::new()));
}
