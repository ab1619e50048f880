//! A label on a namespace brings its pods into the mesh, and taking it off takes them out; nothing in them restarts.
use std::io::ErrorKind;

use adit_testkit::netns::{Echo, HarnessError, wait_until};

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

/// The words go by in the open before the label, in tunnels with it, and in the open without it again. Applications run on all
/// the time. What they had open when the rules came, or went, is reset when they next use it, as it is with any proxy and istio-cni's
/// rules (istio/istio#48876): they connect again, and are in the mesh.
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
    for mut open in before {
        assert!(is_reset(open.exchange("in the open?")), "it goes on past the rules");
    }
    let wire = Wire::tap(cluster.network.bridge(), WORDS)?;
    let mut within = Vec::new();
    for ipv6 in FAMILIES {
        let mut open = Echo::open(&client.host, server.at(ipv6, APP))?;
        open.exchange(WORDS)?;
        within.push(open);
        assert!(client.call(server.at(ipv6, APP))?);
        wait_mtls(cluster, &client, &server, ipv6)?;
    }
    wait_until("tunnels on the wire", SOON, || wire.tunnelled() > 0, String::new)?;
    assert_eq!(wire.open(), 0, "the words went by in the open");

    cluster.label(space, false)?;
    for pod in [&client, &server] {
        cluster.wait_let_go(pod)?;
        cluster.wait_known(pod, "speaks no HBONE", |known| {
            known.is_some_and(|known| known["protocol"] == "TCP")
        })?;
    }
    for mut open in within {
        assert!(is_reset(open.exchange("in a tunnel?")), "it goes on without a proxy");
    }
    for ipv6 in FAMILIES {
        let mut open = Echo::open(&client.host, server.at(ipv6, APP))?;
        open.exchange(WORDS)?;
    }
    wait_until("the words on the wire again", SOON, || wire.open() > 0, String::new)?;
    Ok(())
}

fn is_reset(outcome: adit_testkit::netns::Result<()>) -> bool {
    matches!(outcome, Err(HarnessError::Io { error, .. }) if error.kind() == ErrorKind::ConnectionReset)
}
