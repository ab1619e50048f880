//! A label on a namespace brings its pods into the mesh, and taking it off takes them out; nothing in them restarts.
use adit_testkit::netns::{Echo, wait_until};

use crate::cluster::{APP, Cluster, FAMILIES, Pod};
use crate::wire::Wire;
use crate::{Result, SOON};

/// What the applications say to each other.
const WORDS: &str = "a secret between client and server";

/// Waits for both ends' lines of the access log of a connection in the mesh.
pub(super) fn wait_mtls(cluster: &Cluster, client: &Pod, server: &Pod, ipv6: bool) -> Result<()> {
    let (source, target) = (client.host.address(ipv6).to_string(), server.at(ipv6, APP).to_string());
    for (direction, pod) in [("outbound", client), ("inbound", server)] {
        cluster.machine(pod).proxy.wait_access(&[
            ("message", "connection complete"),
            ("direction", direction),
            ("src.addr", &source),
            ("src.workload", &client.name),
            ("src.identity", &client.identity()),
            ("dst.hbone_addr", &target),
            ("dst.workload", &server.name),
            ("dst.identity", &server.identity()),
        ])?;
    }
    Ok(())
}

/// Plain before the label, mutual TLS with it, plain without it again; a connection from before goes on all the time.
pub(crate) fn brings_mtls(cluster: &mut Cluster, space: &str) -> Result<()> {
    let (client, server) = (cluster.pod(space, "client", 0)?, cluster.pod(space, "server", 1)?);
    let wire = Wire::tap(cluster.network.bridge(), WORDS)?;
    let mut before = Vec::new();
    for ipv6 in FAMILIES {
        let mut open = Echo::open(&client.host, server.at(ipv6, APP))?;
        open.exchange(WORDS)?;
        before.push(open);
    }
    wait_until("the words on the wire", SOON, || wire.open() > 0, String::new)?;
    assert_eq!(wire.tunnelled(), 0);

    cluster.label(space, true)?;
    cluster.wait_meshed(&[&client, &server])?;
    let wire = Wire::tap(cluster.network.bridge(), WORDS)?;
    for ipv6 in FAMILIES {
        let mut open = Echo::open(&client.host, server.at(ipv6, APP))?;
        open.exchange(WORDS)?;
        drop(open);
        assert!(client.call(server.at(ipv6, APP))?);
        wait_mtls(cluster, &client, &server, ipv6)?;
    }
    wait_until("tunnels on the wire", SOON, || wire.tunnelled() > 0, String::new)?;
    assert_eq!(wire.open(), 0, "the words went by in the open");
    for open in &mut before {
        open.exchange("still as it was")?;
    }

    cluster.label(space, false)?;
    for machine in &cluster.machines {
        let gone = || !machine.serves(&client.name) && !machine.serves(&server.name);
        wait_until("pods out of the mesh", SOON, gone, || machine.agent.troubles().join("\n"))?;
    }
    for pod in [&client, &server] {
        cluster.wait_known(pod, "speaks no HBONE", |known| {
            known.is_some_and(|known| known["protocol"] == "TCP")
        })?;
    }
    for ipv6 in FAMILIES {
        let mut open = Echo::open(&client.host, server.at(ipv6, APP))?;
        open.exchange(WORDS)?;
    }
    wait_until("the words on the wire again", SOON, || wire.open() > 0, String::new)?;
    for open in &mut before {
        open.exchange("to the end")?;
    }
    Ok(())
}
