//! Which way connections take, what each end sees, and what the logs say of it.
use adit_testkit::netns::peer::Script;
use adit_testkit::netns::{Backend, Result, Runtime};

use crate::world::{APP, FAMILIES, SERVICE, World, identity, outside_service, play, server_service};

/// More than every window and buffer on the way.
const LARGE: u64 = 40 << 20;

/// Through a tunnel: both logs name both identities; the server sees the client's own address; nothing is lost.
pub(crate) fn captured_to_captured(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend, "")?;
    let from = world.client.namespace();
    for ipv6 in FAMILIES {
        let (client, server) = (world.client.address(ipv6), world.server.address(ipv6));
        assert_eq!(play(from, (server, APP), Script::WhoAmI)?, format!("well {client}"));
        let (hbone, target) = (format!("{}", socket(server, 15008)), format!("{}", socket(server, APP)));
        let (client_id, server_id) = (identity("client"), identity("server"));
        let common = [
            ("message", "connection complete"),
            ("src.addr", &client.to_string()),
            ("src.workload", "client"),
            ("src.identity", &client_id),
            ("dst.addr", &hbone),
            ("dst.hbone_addr", &target),
            ("dst.workload", "server"),
            ("dst.identity", &server_id),
        ];
        let sent = world.client_node.wait_access(&[&common[..], &[("direction", "outbound")]].concat())?;
        let served = world.server_node.wait_access(&[&common[..], &[("direction", "inbound")]].concat())?;
        for line in [sent, served] {
            assert!(line.get("error").is_none(), "{line}");
        }

        assert_eq!(play(from, (server, APP), Script::Echo)?, "well echoed");
        let large = Script::Bulk { up: LARGE, down: LARGE, seed: 5 };
        assert_eq!(play(from, (server, APP), large)?, "well all octets right");
    }
    world.check_quiet();
    Ok(())
}

/// Plain TCP in both directions, without identities; the captured server sees the outside client's own address.
pub(crate) fn one_end_captured(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend, "")?;
    for ipv6 in FAMILIES {
        let outside = world.outside.address(ipv6);
        let (client, server) = (world.client.address(ipv6), world.server.address(ipv6));

        // Out of the mesh the proxy's own address is shown, which is the pod's.
        assert_eq!(play(world.client.namespace(), (outside, APP), Script::WhoAmI)?, format!("well {client}"));
        let target = socket(outside, APP).to_string();
        let line = world.client_node.wait_access(&[
            ("message", "connection complete"),
            ("dst.addr", &target),
            ("dst.workload", "outside"),
            ("direction", "outbound"),
        ])?;
        assert_plain(&line);

        // Into the mesh, by 15006.
        assert_eq!(
            play(world.outside.namespace(), (server, APP), Script::WhoAmI)?,
            format!("well {outside}")
        );
        let target = socket(server, APP).to_string();
        let line = world.server_node.wait_access(&[
            ("message", "connection complete"),
            ("src.addr", &outside.to_string()),
            ("src.workload", "outside"),
            ("dst.addr", &target),
            ("direction", "inbound"),
        ])?;
        assert_plain(&line);

        let some = Script::Bulk { up: 5 << 20, down: 5 << 20, seed: 9 };
        for (from, to) in [(&world.client, outside), (&world.outside, server)] {
            assert_eq!(play(from.namespace(), (to, APP), some)?, "well all octets right");
        }
    }
    world.check_quiet();
    Ok(())
}

/// A service's address and port lead to an endpoint and its own port, through a tunnel or plain.
pub(crate) fn services(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend, "")?;
    let from = world.client.namespace();
    for ipv6 in FAMILIES {
        let client = world.client.address(ipv6);
        let (server, outside) = (world.server.address(ipv6), world.outside.address(ipv6));
        for vip in [server_service(ipv6), outside_service(ipv6)] {
            assert_eq!(play(from, (vip, SERVICE), Script::WhoAmI)?, format!("well {client}"));
        }
        world.client_node.wait_access(&[
            ("message", "connection complete"),
            ("dst.service", "server.default.svc.cluster.local"),
            ("dst.addr", &socket(server, 15008).to_string()),
            ("dst.hbone_addr", &socket(server, APP).to_string()),
            ("dst.identity", &identity("server")),
        ])?;
        let line = world.client_node.wait_access(&[
            ("message", "connection complete"),
            ("dst.service", "outside.default.svc.cluster.local"),
            ("dst.addr", &socket(outside, APP).to_string()),
        ])?;
        assert_plain(&line);
    }
    world.check_quiet();
    Ok(())
}

/// A pod's own address is not captured at all; its own service's is, and leads back through a tunnel.
pub(crate) fn itself(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend, "")?;
    let from = world.server.namespace();
    for ipv6 in FAMILIES {
        let server = world.server.address(ipv6);
        assert_eq!(play(from, (server, APP), Script::WhoAmI)?, format!("well {server}"));
        assert_eq!(play(from, (server_service(ipv6), SERVICE), Script::WhoAmI)?, format!("well {server}"));
        let own = identity("server");
        for direction in ["outbound", "inbound"] {
            world.server_node.wait_access(&[
                ("message", "connection complete"),
                ("direction", direction),
                ("src.identity", &own),
                ("dst.identity", &own),
                ("dst.hbone_addr", &socket(server, APP).to_string()),
            ])?;
        }
    }
    // Had the direct calls been captured, they would be in the log as well.
    let lines = world.server_node.process().lines();
    let outbound = lines.iter().filter(|line| line.contains(r#""direction":"outbound""#)).count();
    assert_eq!(outbound, FAMILIES.len(), "{lines:#?}");
    world.check_quiet();
    Ok(())
}

fn socket(ip: std::net::IpAddr, port: u16) -> std::net::SocketAddr {
    (ip, port).into()
}

#[track_caller]
fn assert_plain(line: &serde_json::Value) {
    for absent in ["error", "src.identity", "dst.identity", "dst.hbone_addr"] {
        assert!(line.get(absent).is_none(), "{absent} in {line}");
    }
}
