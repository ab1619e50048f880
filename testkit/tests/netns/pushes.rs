//! Policies that the control plane pushes: mutual TLS demanded, live connections cut.
use std::net::SocketAddr;

use adit_control::proto::istio::security::{Action, Match, Scope};
use adit_control::proto::istio::workload::Workload;
use adit_testkit::istiod::ads::AUTHORIZATION;
use adit_testkit::netns::peer::Server;
use adit_testkit::netns::{Backend, Host, Node, Result, Runtime};

use crate::cluster::{Cluster, Echo, app, shown, wait_tables, who_am_i};
use crate::resources::{STRICT, from, no_identity, pod, policy, server, service, strict, vip};
use crate::world::{APP, FAMILIES, SERVICE, identity};

/// A second port of the application, which the exemption names.
const OPEN: u16 = 8081;
/// What STRICT with an exempt port becomes.
const EXEMPT: &str = "default/converted_peer_authentication_server";
const CLOSED: &str = "default/closed";
const CHANGED: &str = "connection closed due to policy change";

struct World {
    cluster: Cluster,
    client_node: Node,
    server_node: Node,
    _app: Server,
    client: Host,
    server: Host,
    outside: Host,
}

impl World {
    fn new(runtime: Runtime, backend: Backend, selected: &[&str]) -> Result<Self> {
        let mut cluster = Cluster::new(runtime, backend)?;
        let (client, pod_of_server) = (cluster.pod("client")?, cluster.pod("server")?);
        let outside = cluster.host("outside")?;
        cluster.push(
            [pod("client", &client), selecting(&pod_of_server, selected)],
            [service("server", 1, (SERVICE, APP))],
            [strict()],
        );
        let (client_node, server_node) =
            (cluster.node("client", &client)?, cluster.node("server", &pod_of_server)?);
        let app = app(&pod_of_server)?;
        Ok(Self { cluster, client_node, server_node, _app: app, client, server: pod_of_server, outside })
    }

    /// The policies that select the server are these from now on.
    fn select(&self, selected: &[&str]) -> Result<()> {
        self.cluster.push([selecting(&self.server, selected)], [], []);
        wait_tables(&self.server, &format!("policies {selected:?}"), |tables| {
            shown(tables, "server").is_some_and(|each| {
                let listed = each["authorizationPolicies"].as_array().cloned().unwrap_or_default();
                listed == selected
            })
        })
    }

    /// The refusal of a connection without an identity, as the server's log tells it.
    fn refused_plain(&self, target: SocketAddr, policy: &str) -> Result<()> {
        assert_eq!(who_am_i(&self.outside, target)?, None);
        let line = self.server_node.wait_access(&[
            ("direction", "inbound"),
            ("src.addr", &self.outside.address(target.is_ipv6()).to_string()),
            ("dst.addr", &target.to_string()),
            ("error", &format!("connection closed due to policy rejection: explicitly denied by: {policy}")),
        ])?;
        assert!(line.get("src.identity").is_none(), "{line}");
        Ok(())
    }
}

fn selecting(host: &Host, selected: &[&str]) -> Workload {
    let authorization_policies = selected.iter().map(|key| (*key).to_owned()).collect();
    Workload { authorization_policies, ..server("server", host) }
}

/// STRICT refuses plaintext and lets HBONE through; so does STRICT with an exempt port, but for that port.
pub(crate) fn strict_refuses_plaintext(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend, &[STRICT])?;
    let open = FAMILIES.map(|ipv6| SocketAddr::new(world.server.address(ipv6), OPEN));
    let _open = Server::start(Some(world.server.namespace()), &open)?;
    for ipv6 in FAMILIES {
        let client = world.client.address(ipv6).to_string();
        for port in [APP, OPEN] {
            let target = SocketAddr::new(world.server.address(ipv6), port);
            assert_eq!(who_am_i(&world.client, target)?.as_ref(), Some(&client));
            world.refused_plain(target, STRICT)?;
        }
        assert_eq!(who_am_i(&world.client, (vip(1, ipv6), SERVICE))?, Some(client));
    }

    let not_open = Match { not_destination_ports: vec![OPEN.into()], ..Match::default() };
    let exempt = policy(EXEMPT, Scope::WorkloadSelector, Action::Deny, vec![no_identity(), not_open]);
    world.cluster.push([], [], [exempt]);
    world.select(&[EXEMPT])?;
    for ipv6 in FAMILIES {
        world.refused_plain(SocketAddr::new(world.server.address(ipv6), APP), EXEMPT)?;
        let plain = who_am_i(&world.outside, SocketAddr::new(world.server.address(ipv6), OPEN))?;
        assert_eq!(plain, Some(world.outside.address(ipv6).to_string()));
    }
    Ok(())
}

/// A push ends what it no longer allows, and nothing else. The proxy that refuses logs why; the other one is told no reason, but
/// it logs the end, and its application sees that it was cut off.
pub(crate) fn changes_cut(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend, &[])?;
    let client_id = identity("client");
    let targets = FAMILIES.map(|ipv6| SocketAddr::new(vip(1, ipv6), SERVICE));

    // A policy that was not there.
    for (ipv6, target) in FAMILIES.into_iter().zip(targets) {
        let tunnelled = Echo::open(&world.client, target)?;
        let mut plain = Echo::open(&world.outside, (world.server.address(ipv6), APP))?;
        let denied = policy(CLOSED, Scope::Namespace, Action::Deny, vec![from("client")]);
        world.cluster.push([], [], [denied]);
        tunnelled.wait_cut();
        let common = [("message", "connection complete"), ("src.identity", &*client_id)];
        world.server_node.wait_access(
            &[
                &common[..],
                &[
                    ("direction", "inbound"),
                    ("src.addr", &world.client.address(ipv6).to_string()),
                    ("error", CHANGED),
                ],
            ]
            .concat(),
        )?;
        world.client_node.wait_access(
            &[
                &common[..],
                &[("direction", "outbound"), ("src.addr", &world.client.address(ipv6).to_string())],
            ]
            .concat(),
        )?;
        plain.exchange("not meant")?;
        assert_eq!(who_am_i(&world.client, target)?, None);

        world.cluster.istiod.ads.remove(AUTHORIZATION, [CLOSED]);
        wait_tables(&world.server, "the policy to be gone", |tables| {
            !tables["policies"].to_string().contains("closed")
        })?;
        assert!(who_am_i(&world.client, target)?.is_some());
    }

    // A policy that was there, and now selects the workload.
    let mut tunnelled = Echo::open(&world.client, targets[0])?;
    let plain = FAMILIES.map(|ipv6| Echo::open(&world.outside, (world.server.address(ipv6), APP)));
    world.select(&[STRICT])?;
    for (ipv6, plain) in FAMILIES.into_iter().zip(plain) {
        plain?.wait_cut();
        world.server_node.wait_access(&[
            ("message", "connection complete"),
            ("direction", "inbound"),
            ("src.addr", &world.outside.address(ipv6).to_string()),
            ("error", CHANGED),
        ])?;
    }
    tunnelled.exchange("still allowed")
}
