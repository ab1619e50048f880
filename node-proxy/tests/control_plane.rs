//! Real processes that take everything from a control plane: tables, policies, certificates; and what becomes of their
//! connections when it speaks, restarts, or is silent.
mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Instant;

use adit_control::proto::istio::security::{self, Action, Scope};
use adit_control::proto::istio::workload::{
    Address, NetworkAddress, Port, PortList, Service, TunnelProtocol, Workload, address::Type,
};
use adit_node::thread::TokioThread;
use adit_testkit::istiod::Istiod;
use adit_testkit::istiod::ads::{ADDRESS, AUTHORIZATION};
use adit_testkit::istiod::ca::{NAME, ScriptedCa};
use common::{Directory, PATIENCE, Process, RUNTIMES, VIP, ask, echo, serve};
use prost::Message as _;

const POLL: std::time::Duration = std::time::Duration::from_millis(5);

/// A control plane, its authority, and two proxies that know nothing but where these are.
struct World {
    runtime: TokioThread,
    istiod: Istiod,
    ca: ScriptedCa,
    directory: Directory,
    client_ip: Ipv4Addr,
    server_ip: Ipv4Addr,
    application: SocketAddr,
}

fn workload(name: &str, ip: Ipv4Addr, ports: &[Port]) -> Workload {
    Workload {
        uid: format!("Kubernetes//Pod/test/{name}"),
        name: name.to_owned(),
        namespace: "test".to_owned(),
        service_account: name.to_owned(),
        trust_domain: "cluster.local".to_owned(),
        addresses: vec![ip.octets().to_vec()],
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        services: [("test/server.test.svc.cluster.local".to_owned(), PortList { ports: ports.to_vec() })]
            .into_iter()
            .filter(|_| !ports.is_empty())
            .collect(),
        ..Workload::default()
    }
}

fn service(ports: &[Port]) -> Service {
    Service {
        name: "server".to_owned(),
        namespace: "test".to_owned(),
        hostname: "server.test.svc.cluster.local".to_owned(),
        addresses: vec![NetworkAddress {
            network: String::new(),
            address: VIP.octets().to_vec(),
            ..Default::default()
        }],
        ports: ports.to_vec(),
        ..Service::default()
    }
}

impl World {
    fn new(name: &str) -> Self {
        let runtime = TokioThread::start("istiod").unwrap();
        let directory = Directory::new(name);
        let (client_ip, server_ip) = common::addresses();
        let application = serve(server_ip, echo);
        let (istiod, ca) = runtime.wait(async {
            let istiod = Istiod::start("istiod.test").await;
            let (ca, root) = ScriptedCa::start().await.unwrap();
            std::fs::write(directory.path().join("ca-root.pem"), root).unwrap();
            (istiod, ca)
        });
        std::fs::write(directory.path().join("xds-root.pem"), istiod.root()).unwrap();
        std::fs::write(directory.path().join("token"), "a-token").unwrap();
        Self { runtime, istiod, ca, directory, client_ip, server_ip, application }
    }

    /// The tables of a small mesh; `policies` are all there are.
    fn push(&self, policies: Vec<security::Authorization>) {
        let ports = [Port { service_port: 80, target_port: self.application.port().into(), app_protocol: 0 }];
        // Inside the runtime: streams are answered by its tasks.
        let _entered = self.runtime.enter();
        let ads = &self.istiod.ads;
        if policies.is_empty() {
            ads.remove(AUTHORIZATION, ["test/closed"]);
        }
        ads.set_policies(policies);
        ads.set_services([service(&ports)]);
        ads.set_workloads([
            workload("client", self.client_ip, &[]),
            workload("server", self.server_ip, &ports),
        ]);
    }

    fn start(&self, runtime: &str, workload: &str) -> Process {
        self.start_with(runtime, workload, &[])
    }

    fn start_with(&self, runtime: &str, workload: &str, more: &[(&'static str, String)]) -> Process {
        let ip = if workload == "client" { self.client_ip } else { self.server_ip };
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let vars = [
            ("PROXY_MODE", "dedicated".to_owned()),
            ("PROXY_WORKLOAD_INFO", format!("test/{workload}/{workload}")),
            ("XDS_ADDRESS", format!("https://{}", self.istiod.address())),
            ("XDS_ROOT_CA", path("xds-root.pem")),
            ("ALT_XDS_HOSTNAME", "istiod.test".to_owned()),
            ("CA_ADDRESS", format!("https://{}", self.ca.address())),
            ("CA_ROOT_CA", path("ca-root.pem")),
            ("ALT_CA_HOSTNAME", NAME.to_owned()),
            ("AUTH_TOKEN", path("token")),
            ("POD_NAME", format!("proxy-{workload}")),
            ("ADIT_BIND_ADDRESS", ip.to_string()),
            ("UNSTABLE_ENABLE_SOCKS5", "true".to_owned()),
            ("ENABLE_ORIG_SRC", "false".to_owned()),
        ];
        Process::start(&["proxy", "--runtime", runtime], &[&vars, more].concat())
    }

    fn connect(&self) -> TcpStream {
        common::socks5(self.client_ip, &[&[1][..], &VIP.octets(), &80_u16.to_be_bytes()].concat()).unwrap().0
    }

    fn page(&self, port: u16, target: &str) -> String {
        let request = format!("GET {target} HTTP/1.0\r\nhost: x\r\n\r\n");
        ask((self.client_ip, port).into(), &request).unwrap()
    }
}

fn exchange(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(text)?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, text);
    Ok(())
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(POLL);
    }
}

fn deny_all() -> security::Authorization {
    security::Authorization {
        name: "closed".to_owned(),
        namespace: "test".to_owned(),
        scope: Scope::Namespace.into(),
        // Nobody is allowed: a policy that allows nothing.
        action: Action::Allow.into(),
        ..Default::default()
    }
}

#[test]
fn tables_and_certificates_come_from_the_control_plane() {
    for runtime in RUNTIMES {
        let world = World::new(&format!("control-{runtime}"));
        let mut client = world.start(runtime, "client");
        // Nothing is served, and nobody is told to be ready, while the control plane has not spoken.
        client.line(&["the mesh comes from the control plane"]);
        let pending = world.page(15021, "/healthz/ready");
        assert!(pending.contains("500") && pending.contains("state manager"), "{pending}");
        assert!(TcpStream::connect((world.client_ip, 15080)).is_err(), "listening too early");
        world.push(Vec::new());
        let mut server = world.start(runtime, "server");
        client.line(&["listening"]);
        server.line(&["listening"]);
        assert!(world.page(15021, "/healthz/ready").contains("ready\n"));

        let mut stream = world.connect();
        exchange(&mut stream, b"over certificates of the authority").unwrap();
        let seen = world.ca.seen();
        let client_uri = "spiffe://cluster.local/ns/test/sa/client";
        let request = seen.iter().find(|seen| seen.sans == [client_uri]).expect("a request of the client's");
        assert_eq!(request.headers["authorization"], "Bearer a-token");
        assert_eq!(request.impersonated, None);

        // What is shown of it.
        let dump = world.page(15000, "/config_dump");
        let dump: serde_json::Value = serde_json::from_str(dump.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(dump["workloads"].as_array().unwrap().len(), 2);
        assert_eq!(dump["certificates"][0]["identity"], client_uri);
        assert_eq!(dump["certificates"][0]["certChain"].as_array().unwrap().len(), 1);
        assert_eq!(dump["config"]["fakeCa"], false);
        assert_eq!(dump["config"]["xdsAddress"], format!("https://{}", world.istiod.address()));
        let metrics = world.page(15020, "/metrics");
        for line in [
            "istio_xds_message_total{url=\"type.googleapis.com/istio.workload.Address\"}",
            "adit_xds_staleness_seconds 0.0",
            "adit_certificate_requests_total{result=\"ok\"} 1",
            if runtime == "tokio" { "tokio_num_workers 2" } else { "istio_build" },
        ] {
            assert!(metrics.contains(line), "{line} is missing in {metrics}");
        }

        // A policy that comes later ends what it no longer allows, and says why.
        world.push(vec![deny_all()]);
        let mut rest = [0];
        assert!(!matches!(stream.read(&mut rest), Ok(1..)), "still open");
        server.line(&[
            "out: ",
            "src.identity=\"spiffe://cluster.local/ns/test/sa/client\"",
            "error=",
            "policy",
        ]);
        let mut refused = world.connect();
        refused.write_all(b"x").unwrap();
        assert!(!matches!(refused.read(&mut rest), Ok(1..)));
        // And lets through again when it is gone.
        world.push(Vec::new());
        until("allowed again", || exchange(&mut world.connect(), b"again").is_ok());
    }
}

#[test]
fn a_control_plane_that_restarts_or_is_gone_costs_nothing() {
    for runtime in RUNTIMES {
        let mut world = World::new(&format!("restart-{runtime}"));
        world.push(Vec::new());
        let (mut client, mut server) = (world.start(runtime, "client"), world.start(runtime, "server"));
        client.line(&["listening"]);
        server.line(&["listening"]);
        let mut old = world.connect();
        exchange(&mut old, b"before").unwrap();

        world.istiod.stop();
        client.line(&["stream from the control plane ended", "tables are kept"]);
        exchange(&mut old, b"without").unwrap();
        exchange(&mut world.connect(), b"new without").unwrap();
        until("staleness shows", || {
            !world.page(15020, "/metrics").contains("adit_xds_staleness_seconds 0.0\n")
        });

        let World { runtime: tasks, istiod, .. } = &mut world;
        tasks.wait(istiod.restart());
        until("heard again", || world.page(15020, "/metrics").contains("adit_xds_staleness_seconds 0.0\n"));
        exchange(&mut old, b"after").unwrap();
        world.push(vec![deny_all()]);
        let mut rest = [0];
        assert!(!matches!(old.read(&mut rest), Ok(1..)), "the policy did not arrive");
    }
}

#[test]
fn names_of_the_mesh_are_answered() {
    let world = World::new("names");
    world.push(Vec::new());
    let mut client = world.start("tokio", "client");
    client.line(&["listening", "dns="]);
    let socket = UdpSocket::bind((world.client_ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = b"\x06server\x04test\x03svc\x07cluster\x05local\0";
    let question = [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], &name[..], &[0, 1, 0, 1]].concat();
    socket.send_to(&question, (world.client_ip, 15053)).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(&answer[..2], &[0x12, 0x34]);
    assert!(answer[..length].ends_with(&VIP.octets()), "{:?}", &answer[..length]);
    let metrics = world.page(15020, "/metrics");
    assert!(
        metrics.contains("istio_dns_requests_total{request_query_type=\"a\",request_protocol=\"udp\""),
        "{metrics}"
    );
}

#[test]
fn a_proxy_that_still_waits_ends_when_it_is_told_to() {
    let world = World::new("waits");
    let mut client = world.start("tokio", "client");
    client.line(&["the mesh comes from the control plane"]);
    client.signal(rustix::process::Signal::TERM);
    assert!(client.end().success(), "{}", client.output());
}

#[test]
fn our_own_workload_may_come_last() {
    let world = World::new("late");
    {
        let _entered = world.runtime.enter();
        world.istiod.ads.set_workloads([workload("server", world.server_ip, &[])]);
    }
    let mut client = world.start("smol", "client");
    client.line(&["waiting for our own workload", "it has test/server/server"]);
    assert!(world.page(15021, "/healthz/ready").contains("state manager"));
    world.push(Vec::new());
    client.line(&["listening"]);
}

#[test]
fn what_a_connection_needs_is_asked_for_when_it_is_needed() {
    for runtime in RUNTIMES {
        let world = World::new(&format!("demand-{runtime}"));
        let ports =
            [Port { service_port: 80, target_port: world.application.port().into(), app_protocol: 0 }];
        let own = "workloads: [{ name: {name}, namespace: test, serviceAccount: {name}, workloadIps: [{ip}], \
                   protocol: HBONE, services: {} }]";
        let start = |name: &str, ip: Ipv4Addr| {
            let own = own.replace("{name}", name).replace("{ip}", &ip.to_string());
            let more = [
                ("LOCAL_XDS", own),
                ("XDS_ON_DEMAND", "true".to_owned()),
                ("ISTIO_META_DNS_CAPTURE", "false".to_owned()),
            ];
            world.start_with(runtime, name, &more)
        };
        {
            let _entered = world.runtime.enter();
            // As istiod answers: who asks for a service gets its workloads, too.
            let vip = format!("/{VIP}");
            let server = workload("server", world.server_ip, &ports);
            let server = (server.uid.clone(), Type::Workload(server));
            let service = service(&ports);
            let service = (format!("{}/{}", service.namespace, service.hostname), Type::Service(service));
            let resources = [service, server]
                .map(|(name, of)| (name, vec![vip.clone()], Address { r#type: Some(of) }.encode_to_vec()));
            world.istiod.ads.set(ADDRESS, resources);
        }
        let (mut client, mut server) = (start("client", world.client_ip), start("server", world.server_ip));
        client.line(&["listening"]);
        server.line(&["listening"]);
        exchange(&mut world.connect(), b"found").unwrap();
        let asked = world.istiod.ads.recorded();
        let vip = format!("/{VIP}");
        let demands = asked.iter().filter(|asked| asked.request.resource_names_subscribe.contains(&vip));
        assert_eq!(demands.count(), 1);
        // The second finds it in the tables.
        exchange(&mut world.connect(), b"known").unwrap();
        let asked = world.istiod.ads.recorded();
        let demands = asked.iter().filter(|asked| asked.request.resource_names_subscribe.contains(&vip));
        assert_eq!(demands.count(), 1);
    }
}
