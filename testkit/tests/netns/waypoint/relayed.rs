//! A service with a waypoint: every connection goes through it, and the destination takes none that did not.
//!
//! The waypoint is a pod whose proxy hands connections, with a PROXY header, to what decides about them (datapath §5.4); this
//! is a relay here.
use std::net::SocketAddr;

use adit_control::proto::istio::security::{Action, Scope};
use adit_control::proto::istio::workload::application_tunnel::Protocol;
use adit_control::proto::istio::workload::{ApplicationTunnel, Service, Workload};
use adit_testkit::istiod::ads::ADDRESS;
use adit_testkit::netns::{Backend, Result, Runtime};

use crate::cluster::{Cluster, app, loopback, shown, wait_calls, wait_tables, who_am_i};
use crate::relay::{Header, Relay, Way};
use crate::resources::{
    HBONE, endpoint, from, gateway_by_name, hostname, pod, policy, server, service, uid, vip,
};
use crate::world::{APP, FAMILIES, SERVICE, identity};

/// Where the waypoint's proxy delivers.
const INSIDE: u16 = 15088;
/// The policy that istiod makes for the waypoint.
const ALLOW: &str = "default/istio_allow_waypoint_default_waypoint";

/// To the waypoint, and from there to the server, each hop in a tunnel of its own; never past it.
pub(crate) fn hop(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut cluster = Cluster::new(runtime, backend)?;
    let (client, waypoint) = (cluster.pod("client")?, cluster.pod("waypoint")?);
    let (pod_of_server, outside) = (cluster.pod("server")?, cluster.host("outside")?);
    let tunnel = ApplicationTunnel { protocol: Protocol::Proxy.into(), port: INSIDE.into() };
    cluster.push(
        [
            pod("client", &client),
            Workload {
                application_tunnel: Some(tunnel),
                ..endpoint("waypoint", &waypoint, "waypoint", (HBONE, HBONE))
            },
            Workload { authorization_policies: vec![ALLOW.to_owned()], ..server("server", &pod_of_server) },
        ],
        [
            service("waypoint", 2, (HBONE, HBONE)),
            Service { waypoint: Some(gateway_by_name("waypoint")), ..service("server", 1, (SERVICE, APP)) },
        ],
        [policy(ALLOW, Scope::WorkloadSelector, Action::Allow, vec![from("waypoint")])],
    );
    let behind = FAMILIES.map(|ipv6| pod_of_server.address(ipv6));
    let route = move |called: SocketAddr| SocketAddr::new(behind[usize::from(called.is_ipv6())], APP);
    let relay = Relay::start(&cluster.tasks, waypoint.namespace(), loopback(INSIDE), Way::Headers, route)?;
    let client_node = cluster.node("client", &client)?;
    let waypoint_node = cluster.node("waypoint", &waypoint)?;
    let server_node = cluster.node("server", &pod_of_server)?;
    let server_app = app(&pod_of_server)?;

    for ipv6 in FAMILIES {
        let target = SocketAddr::new(vip(1, ipv6), SERVICE);
        let (client_ip, waypoint_ip) = (client.address(ipv6), waypoint.address(ipv6));
        let server_ip = pod_of_server.address(ipv6);
        // The server sees who called last.
        assert_eq!(who_am_i(&client, target)?, Some(waypoint_ip.to_string()));
        let said = Header { source: client_ip, destination: target, identity: identity("client") };
        assert_eq!(relay.seen().last(), Some(&said));
        let (first, target) = (SocketAddr::new(waypoint_ip, HBONE).to_string(), target.to_string());
        let to_waypoint = [
            ("message", "connection complete"),
            ("src.identity", &*identity("client")),
            ("dst.addr", &first),
            ("dst.hbone_addr", &target),
            ("dst.identity", &identity("waypoint")),
            ("dst.service", &hostname("server")),
        ];
        client_node.wait_access(&[&to_waypoint[..], &[("direction", "outbound")]].concat())?;
        waypoint_node.wait_access(&[&to_waypoint[..5], &[("direction", "inbound")]].concat())?;
        let (second, behind) = (SocketAddr::new(server_ip, HBONE), SocketAddr::new(server_ip, APP));
        let to_server = [
            ("message", "connection complete"),
            ("src.identity", &*identity("waypoint")),
            ("dst.addr", &second.to_string()),
            ("dst.hbone_addr", &behind.to_string()),
            ("dst.identity", &identity("server")),
        ];
        waypoint_node.wait_access(&[&to_server[..], &[("direction", "outbound")]].concat())?;
        server_node.wait_access(&[&to_server[..], &[("direction", "inbound")]].concat())?;

        // Past the waypoint, by the pod's own address: with another identity, and with none.
        let refused = "connection closed due to policy rejection: allow policies exist, but none allowed";
        for caller in [&client, &outside] {
            assert_eq!(who_am_i(caller, behind)?, None);
            server_node.wait_access(&[
                ("direction", "inbound"),
                ("src.addr", &caller.address(ipv6).to_string()),
                ("error", refused),
            ])?;
        }
    }
    wait_calls(&server_app, FAMILIES.len())?;

    // A waypoint that is not there is no reason to go without.
    cluster.istiod.ads.remove(ADDRESS, [&*uid("waypoint")]);
    wait_tables(&client, "the waypoint to be gone", |tables| shown(tables, "waypoint").is_none())?;
    for ipv6 in FAMILIES {
        assert_eq!(who_am_i(&client, (vip(1, ipv6), SERVICE))?, None);
        client_node.wait_access(&[
            ("direction", "outbound"),
            ("src.addr", &client.address(ipv6).to_string()),
            ("error", NO_WAYPOINT),
        ])?;
    }
    wait_calls(&server_app, FAMILIES.len())?;
    Ok(())
}

const NO_WAYPOINT: &str =
    "unknown waypoint: waypoint default/waypoint.default.svc.cluster.local:15008 not found";
