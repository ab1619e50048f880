//! In-pod mode: one proxy process in a namespace of its own serves the pods that the CNI agent names.
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};

use adit_control::proto::istio::security::{Action, Scope};
use adit_control::proto::istio::workload::Workload;
use adit_testkit::netns::peer::{Script, Server};
use adit_testkit::netns::{
    Backend, HarnessError, Host, Result, Runtime, certificates, get, page, wait_until,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, Echo, SOON, app, wait_tables, who_am_i};
use crate::names::{A, By, ask, question};
use crate::resources::{from, hostname, pod, policy, server, service, vip};
use crate::site::{Machine, on, told};
use crate::world::{APP, FAMILIES, SERVICE, identity};

const CLOSED: &str = "default/closed";

/// The name of the one machine.
const MACHINE: &str = "machine";

/// A machine with the pods `client`, `server` and `other`, of which `server` is enrolled from the start.
pub(crate) struct World {
    pub(crate) machine: Machine,
    _app: Server,
    pub(crate) client: Host,
    server: Host,
    other: Host,
    pub(crate) outside: Host,
    pub(crate) cluster: Cluster,
}

/// `server`, which lets everybody in but `other`.
fn guarded(host: &Host) -> Workload {
    Workload { authorization_policies: vec![CLOSED.to_owned()], ..server("server", host) }
}

impl World {
    pub(crate) fn new(runtime: Runtime, backend: Backend) -> Result<Self> {
        let mut cluster = Cluster::new(runtime, backend)?;
        let (client, pod_of_server, other) =
            (cluster.pod("client")?, cluster.pod("server")?, cluster.pod("other")?);
        let (outside, host) = (cluster.host("outside")?, cluster.host(MACHINE)?);
        let workloads =
            [pod("client", &client), guarded(&pod_of_server), pod("other", &other), pod(MACHINE, &host)];
        cluster.push(
            workloads.map(|workload| on(MACHINE, workload)),
            [service("server", 1, (SERVICE, APP))],
            [policy(CLOSED, Scope::WorkloadSelector, Action::Deny, vec![from("other")])],
        );
        let pods = [told("server", pod_of_server.namespace())?];
        let machine = Machine::start(&cluster, MACHINE, host, pods, &[("UNSTABLE_ENABLE_SOCKS5", "true")])?;
        let app = app(&pod_of_server)?;
        Ok(Self { machine, _app: app, client, server: pod_of_server, other, outside, cluster })
    }

    pub(crate) fn add(&self, name: &str, host: &Host) -> Result<()> {
        self.machine.add(name, host.namespace())
    }

    pub(crate) fn server_at(&self, ipv6: bool) -> SocketAddr {
        SocketAddr::new(self.server.address(ipv6), APP)
    }
}

/// Waits until the proxy has seen that connections of so many pods come to it.
fn captured(machine: &Host, count: usize) -> Result<()> {
    let captured = |family: &Value| family["outcome"] == "captured";
    let found = || page(machine, "/capture").unwrap_or_default();
    let all = |found: &Value| {
        let pods = found.as_array().map_or(&[][..], Vec::as_slice);
        pods.len() == count
            && pods.iter().all(|pod| captured(&pod["state"]["ipv4"]) && captured(&pod["state"]["ipv6"]))
    };
    wait_until("capture of all pods", SOON, || all(&found()), || found().to_string())
}

/// Two pods of one node meet through HBONE as who they are, seen under their own addresses; policies, services, names and
/// plaintext from outside are as with a proxy of each one's own.
pub(crate) fn two_pods(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend)?;
    world.add("client", &world.client)?;
    world.add("other", &world.other)?;
    captured(&world.machine.host, 3)?;
    for ipv6 in FAMILIES {
        let (client, target) = (world.client.address(ipv6), world.server_at(ipv6));
        assert_eq!(who_am_i(&world.client, target)?, Some(client.to_string()));
        let hbone = SocketAddr::new(target.ip(), 15008).to_string();
        let (client_id, server_id) = (identity("client"), identity("server"));
        for direction in ["outbound", "inbound"] {
            world.machine.node.wait_access(&[
                ("message", "connection complete"),
                ("direction", direction),
                ("src.addr", &client.to_string()),
                ("src.workload", "client"),
                ("src.identity", &client_id),
                ("dst.addr", &hbone),
                ("dst.hbone_addr", &target.to_string()),
                ("dst.workload", "server"),
                ("dst.identity", &server_id),
            ])?;
        }
        assert_eq!(who_am_i(&world.client, (vip(1, ipv6), SERVICE))?, Some(client.to_string()));

        // The policy of the one who is called, by the identity of the one who calls.
        assert_eq!(who_am_i(&world.other, target)?, None);
        world.machine.node.wait_access(&[
            ("direction", "inbound"),
            ("src.addr", &world.other.address(ipv6).to_string()),
            ("src.identity", &identity("other")),
            ("error", &format!("connection closed due to policy rejection: explicitly denied by: {CLOSED}")),
        ])?;

        let outside = world.outside.address(ipv6);
        assert_eq!(who_am_i(&world.outside, target)?, Some(outside.to_string()));
        // A pod that calls itself by its service is not captured into a circle.
        assert!(who_am_i(&world.server, (vip(1, ipv6), SERVICE))?.is_some());
    }
    for by in [By::Udp, By::Tcp] {
        let answer = ask(&world.client, [10, 96, 0, 10].into(), by, &question(7, &hostname("server"), A))?;
        let IpAddr::V4(address) = vip(1, false) else { unreachable!() };
        assert!(answer.windows(4).any(|octets| octets == address.octets()), "{by:?}: {answer:?}");
    }
    // A short name means what it does in the pod of the client that says it.
    let client = world.client.address(false).to_string();
    assert_eq!(by_socks(&world.client, "server", SERVICE)?, client);
    let all = ["client", "machine", "other", "server"].map(identity);
    assert_eq!(certificates(&world.machine.host), all);
    wait_tables(&world.machine.host, "three pods that are up", |dump| {
        let state = |name: &str| &dump["workloadState"][format!("uid-of-{name}")];
        ["client", "server", "other"]
            .iter()
            .all(|name| state(name)["state"] == "Up" && state(name)["info"]["name"] == *name)
    })?;
    let complaints = world.machine.node.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}

/// Asks who we are, as a SOCKS5 client in `host` that names whom it wants.
fn by_socks(host: &Host, name: &str, port: u16) -> Result<String> {
    let mut stream = host.connect((IpAddr::from([127, 0, 0, 1]), 15080))?;
    let length = u8::try_from(name.len()).expect("a short name");
    let wanted = [&[5, 1, 0, 3, length], name.as_bytes(), &port.to_be_bytes()].concat();
    let (mut method, mut reply, mut answer) = ([0; 2], [0; 10], String::new());
    let mut talk = || {
        stream.write_all(&[5, 1, 0])?;
        stream.read_exact(&mut method)?;
        stream.write_all(&wanted)?;
        stream.read_exact(&mut reply)?;
        stream.write_all(format!("{}\n", Script::WhoAmI).as_bytes())?;
        stream.read_to_string(&mut answer)
    };
    talk().map_err(HarnessError::io("talking SOCKS5"))?;
    assert_eq!((method, reply[1]), ([5, 0], 0));
    Ok(answer)
}

/// A pod that goes under live connections leaves no descriptor and no certificate; the others do not notice; and it may come
/// back, in the same namespace.
pub(crate) fn a_pod_goes(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend)?;
    world.add("other", &world.other)?;
    let target = world.server_at(false);
    // Of the shards' own, everything that appears with the first connection.
    assert!(who_am_i(&world.outside, target)?.is_some());
    let mut plain = Echo::open(&world.outside, target)?;
    let before = world.machine.node.process().descriptors()?;
    for round in 0..3 {
        world.add("client", &world.client)?;
        for ipv6 in FAMILIES {
            let client = world.client.address(ipv6).to_string();
            assert_eq!(who_am_i(&world.client, world.server_at(ipv6))?, Some(client), "round {round}");
        }
        let lives: Vec<_> = FAMILIES
            .iter()
            .map(|ipv6| Echo::open(&world.client, world.server_at(*ipv6)))
            .collect::<Result<_>>()?;
        assert!(certificates(&world.machine.host).contains(&identity("client")));
        world.machine.del("client");
        for live in lives {
            live.wait_cut();
        }
        world.machine.wait_descriptors(before)?;
        let left = ["machine", "other", "server"].map(identity);
        wait_until("its certificate to go", SOON, || certificates(&world.machine.host) == left, String::new)?;
        plain.exchange("still here")?;
    }
    // The server goes under the client's eyes: its listeners are closed, the client's proxy says so and goes on.
    world.add("client", &world.client)?;
    let live = Echo::open(&world.client, target)?;
    world.machine.del("server");
    live.wait_cut();
    assert_eq!(who_am_i(&world.client, target)?, None);
    world.add("server", &world.server)?;
    assert!(who_am_i(&world.client, target)?.is_some());
    Ok(())
}

/// A pod is enrolled before the control plane knows it: who calls meanwhile waits, and is served when it does.
pub(crate) fn a_pod_comes_first(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut world = World::new(runtime, backend)?;
    let late = world.cluster.pod("late")?;
    world.add("late", &late)?;
    let target = world.server_at(false);
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| who_am_i(&late, target));
        // It waits by now, or will find what it needs at once.
        wait_until("the connection", SOON, || connections(&late, 15001), String::new)?;
        world.cluster.push([on(MACHINE, pod("late", &late))], [], []);
        asking.join().expect("no panic")
    })?;
    assert_eq!(asked, Some(late.address(false).to_string()));
    world.machine.node.wait_access(&[
        ("direction", "inbound"),
        ("src.workload", "late"),
        ("src.identity", &identity("late")),
        ("dst.workload", "server"),
    ])?;
    Ok(())
}

/// The proxy's own pod is reached as other pods are: whoever scrapes its metrics does so through HBONE.
pub(crate) fn the_proxys_own_pod(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend)?;
    world.add("client", &world.client)?;
    for ipv6 in FAMILIES {
        let page = get(&world.client, (world.machine.host.address(ipv6), 15020), "/metrics");
        let page = page.map_err(HarnessError::io("scraping"))?;
        assert!(page.contains("\nworkload_manager_active_proxy_count 2\n"), "{page}");
        let hbone = SocketAddr::new(world.machine.host.address(ipv6), 15008).to_string();
        world.machine.node.wait_access(&[
            ("direction", "inbound"),
            ("src.identity", &identity("client")),
            ("dst.addr", &hbone),
            ("dst.workload", "machine"),
            ("dst.identity", &identity("machine")),
        ])?;
    }
    Ok(())
}

/// A drain closes the listeners of every pod at once, lets what is open end, and ends the process well.
pub(crate) fn drain(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut world = World::new(runtime, backend)?;
    world.add("client", &world.client)?;
    let target = world.server_at(true);
    let mut live = Echo::open(&world.client, target)?;
    world.machine.node.process().signal(Signal::TERM)?;
    for host in [&world.client, &world.server] {
        let closed = || !listens(host);
        wait_until("listeners to close", SOON, closed, String::new)?;
    }
    live.exchange("still here")?;
    // The agent learns that it has lost the proxy, and tells it of no more pods.
    assert!(world.machine.agent().connected(0, SOON).is_ok());
    drop(live);
    let status = world.machine.node.process_mut().wait_exit(SOON)?;
    assert!(status.success(), "{status:?}");
    Ok(())
}

/// Whether the proxy listens in the namespace of `host`, for connections or questions.
fn listens(host: &Host) -> bool {
    let ports = "( sport = :15001 or sport = :15006 or sport = :15008 or sport = :15053 )";
    let found = host.namespace().run(&format!("ss -Hltun {ports}"));
    found.is_ok_and(|lines| !lines.trim().is_empty())
}

/// Whether the proxy has a connection on `port` in the namespace of `host`.
fn connections(host: &Host, port: u16) -> bool {
    let found = host.namespace().run(&format!("ss -Htn state established sport = :{port}"));
    found.is_ok_and(|lines| !lines.trim().is_empty())
}
