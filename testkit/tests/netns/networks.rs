//! Two networks with a gateway between them: a tunnel within a tunnel (datapath §2.7).
//!
//! The gateway's proxy ends the outer tunnel and hands what is in it to a relay, which knows the way to the far pod. Nothing
//! else joins the networks.
use std::net::SocketAddr;

use adit_control::proto::istio::workload::{GatewayAddress, NetworkAddress, Service, Workload};
use adit_testkit::netns::{Backend, Host, Network, Node, NodeSpec, Result, Runtime};

use crate::cluster::{Cluster, app, ca_address, shown, wait_calls, wait_tables, who_am_i, xds_address};
use crate::relay::{Relay, Way};
use crate::resources::{
    HBONE, address, gateway_by_address, hostname, pod, server, service, service_key, vip,
};
use crate::world::{APP, FAMILIES, SERVICE, identity};

/// Where the gateway's relay listens.
const RELAY: u16 = 9999;

const NEAR: &str = "near";
const FAR: &str = "far";

/// What the far pod belongs to.
const OWNER: &str = "server-owner";

struct World {
    cluster: Cluster,
    client: Host,
    gateway: Host,
    far: Host,
    far_network: Network,
}

impl World {
    fn new(runtime: Runtime, backend: Backend) -> Result<Self> {
        let mut cluster = Cluster::new(runtime, backend)?;
        let mut far_network = Network::numbered(1)?;
        let (client, gateway) = (cluster.pod("client")?, cluster.host("gateway")?);
        let far = far_network.host("server")?;
        cluster.capture(&far)?;
        Ok(Self { cluster, client, gateway, far, far_network })
    }

    /// Tables with the gateway at its address of this family.
    fn push(&self, ipv6: bool, gateway_account: &str, inside: &str) {
        let near = |workload| Workload { network: NEAR.to_owned(), ..workload };
        let gateway =
            Workload { service_account: gateway_account.to_owned(), ..pod("gateway", &self.gateway) };
        let far = Workload {
            network: FAR.to_owned(),
            network_gateway: Some(self.gateway_at(ipv6)),
            workload_name: OWNER.to_owned(),
            ..server("server", &self.far)
        };
        let plain = service("server", 1, (SERVICE, APP));
        let in_near = |address| NetworkAddress { network: NEAR.to_owned(), ..address };
        let service = Service {
            addresses: plain.addresses.into_iter().map(in_near).collect(),
            subject_alt_names: vec![identity(inside)],
            ..plain
        };
        self.cluster.push([near(pod("client", &self.client)), near(gateway), far], [service], []);
    }

    fn gateway_at(&self, ipv6: bool) -> GatewayAddress {
        let at = address(self.gateway.address(ipv6));
        gateway_by_address(NetworkAddress { network: NEAR.to_owned(), ..at })
    }

    /// The gateway's proxy, to which the service is what its own relay stands before.
    fn start_gateway(&self) -> Result<Node> {
        let key = service_key("server");
        let mesh = format!(
            r#"
workloads:
- name: gateway
  uid: gateway
  namespace: default
  serviceAccount: gateway
  network: {NEAR}
  workloadIps: ["{}", "{}"]
  protocol: HBONE
  services: {{"{key}": {{{SERVICE}: {RELAY}}}}}
services:
- name: server
  namespace: default
  hostname: {}
  vips: ["{NEAR}/{}"]
  ports: {{{SERVICE}: {RELAY}}}
"#,
            self.gateway.address(false),
            self.gateway.address(true),
            hostname("server"),
            vip(1, false),
        );
        let spec = self.cluster.spec_with_authority("gateway");
        // Its relay is no pod: it need not see who called.
        let spec = spec.with("NETWORK", NEAR).with("ENABLE_ORIG_SRC", false);
        let spec = NodeSpec { mesh: Some(self.cluster.write("gateway.yaml", &mesh)?), ..spec };
        spec.start(Some(self.gateway.namespace()))
    }
}

/// Through the gateway, which learns nothing; whoever has another identity than promised, outside or inside, is not spoken to.
pub(crate) fn nested(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut world = World::new(runtime, backend)?;
    let on_far = world.far_network.join(&world.gateway)?;
    let plane = world.far_network.join(&world.cluster.plane)?;
    world.push(false, "gateway", "server");
    let far = FAMILIES.map(|ipv6| world.far.address(ipv6));
    let route = move |called: SocketAddr| SocketAddr::new(far[usize::from(called.is_ipv6())], HBONE);
    let listen = FAMILIES.map(|ipv6| SocketAddr::new(world.gateway.address(ipv6), RELAY));
    let _relay = Relay::start(&world.cluster.tasks, world.gateway.namespace(), listen, Way::Plain, route)?;
    let gateway_node = world.start_gateway()?;
    let client_spec = world.cluster.spec("client").with("NETWORK", NEAR);
    let client_node = client_spec.start(Some(world.client.namespace()))?;
    let server_spec = world
        .cluster
        .spec("server")
        .with("NETWORK", FAR)
        .with("XDS_ADDRESS", xds_address(&plane))
        .with("CA_ADDRESS", ca_address(&plane));
    let server_node = server_spec.start(Some(world.far.namespace()))?;
    let server_app = app(&world.far)?;
    let authority = format!("{}:{SERVICE}", hostname("server"));
    let (client_id, gateway_id, server_id) = (identity("client"), identity("gateway"), identity("server"));
    let target = |ipv6| SocketAddr::new(vip(1, ipv6), SERVICE);
    let not_impostor = |presented: &str| {
        let promised = identity("impostor");
        format!(
            "tls error: identity verification error: peer did not present the expected SAN ({promised}), got {presented}"
        )
    };

    for ipv6 in FAMILIES {
        world.push(ipv6, "gateway", "server");
        let gateway_ip = world.gateway.address(ipv6);
        wait_tables(&world.client, "the gateway's address of this family", |tables| {
            let shown = shown(tables, "server").map(|each| each["networkGateway"].to_string());
            shown.is_some_and(|shown| shown.contains(&format!("{gateway_ip}")))
        })?;
        // The far pod sees the gateway.
        assert_eq!(who_am_i(&world.client, target(ipv6))?, Some(on_far.address(ipv6).to_string()));
        let outer = SocketAddr::new(gateway_ip, HBONE).to_string();
        let common = [
            ("message", "connection complete"),
            ("src.identity", &*client_id),
            ("dst.hbone_addr", &*authority),
        ];
        let line = client_node.wait_access(
            &[
                &common[..],
                &[
                    ("direction", "outbound"),
                    ("dst.addr", &outer),
                    // Who answered, not the gateway.
                    ("dst.identity", &server_id),
                    ("dst.workload", OWNER),
                ],
            ]
            .concat(),
        )?;
        assert!(line.get("error").is_none(), "{line}");
        gateway_node.wait_access(
            &[&common[..], &[("direction", "inbound"), ("dst.addr", &outer), ("dst.identity", &gateway_id)]]
                .concat(),
        )?;
        server_node.wait_access(
            &[
                &common[..],
                &[
                    ("direction", "inbound"),
                    ("dst.addr", &SocketAddr::new(world.far.address(ipv6), HBONE).to_string()),
                    ("dst.identity", &server_id),
                ],
            ]
            .concat(),
        )?;
    }
    wait_calls(&server_app, FAMILIES.len())?;

    world.push(false, "gateway", "impostor");
    wait_tables(&world.client, "another identity inside", |tables| {
        tables.to_string().contains(&identity("impostor"))
    })?;
    assert_eq!(who_am_i(&world.client, target(false))?, None);
    client_node.wait_access(&[
        ("direction", "outbound"),
        ("dst.identity", &gateway_id),
        ("error", &not_impostor(&server_id)),
    ])?;

    world.push(false, "impostor", "server");
    wait_tables(&world.client, "another identity of the gateway", |tables| {
        shown(tables, "gateway").is_some_and(|each| each["serviceAccount"] == "impostor")
            && !tables.to_string().contains(&identity("impostor"))
    })?;
    assert_eq!(who_am_i(&world.client, target(false))?, None);
    client_node.wait_access(&[("direction", "outbound"), ("error", &not_impostor(&gateway_id))])?;
    wait_calls(&server_app, FAMILIES.len())?;
    Ok(())
}
