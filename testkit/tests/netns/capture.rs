//! A check of capture beside real proxies: it finds all in order, and nothing of it is to be heard.
use std::io::ErrorKind;

use adit_testkit::netns::peer::Script;
use adit_testkit::netns::{Backend, HarnessError, Result, Runtime, binary, run, wait_until};

use crate::cluster::{Echo, SOON};
use crate::world::{APP, FAMILIES, World, play};

/// What people run to see whether a pod is captured.
pub(crate) fn check(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend, "")?;
    allow_ports(&world, "40000 40009")?;
    call_from_every_port(&world)?;
    let program = binary("adit-node", "adit-node")?.display().to_string();
    for host in [&world.client, &world.server] {
        let netns = format!("/run/netns/{}", host.namespace().name());
        let told = run(&[&program, "check", "--netns", &netns])?;
        for part in
            [format!("by {backend}"), "IPv4 probe  captured".to_owned(), "IPv6 probe  captured".to_owned()]
        {
            assert!(told.contains(&part), "{part} missing in\n{told}");
        }
    }
    allow_ports(&world, "32768 60999")?;
    // Both have logged this call, and so everything that came before it.
    let server = world.server.address(false);
    play(world.client.namespace(), (server, APP), Script::WhoAmI)?;
    let nodes = [&world.client_node, &world.server_node];
    for node in nodes {
        node.wait_access(&[("message", "connection complete")])?;
        let lines = node.process().lines();
        assert!(
            lines.iter().all(|line| !line.contains("192.0.2.1") && !line.contains("100::1")),
            "{lines:#?}"
        );
    }
    world.check_quiet();
    Ok(())
}

/// Which ports the kernel may choose for the client.
fn allow_ports(world: &World, range: &str) -> Result<()> {
    let path = "/proc/sys/net/ipv4/ip_local_port_range";
    world.client.namespace().enter(|| std::fs::write(path, range))?.map_err(HarnessError::io(path))
}

/// The client has called from each port that the kernel may choose for it. The kernel remembers each of these calls at the
/// listener of the redirection for a while: a call from the same port to somewhere else is given another port there.
fn call_from_every_port(world: &World) -> Result<()> {
    let mut calls = Vec::new();
    for ipv6 in FAMILIES {
        loop {
            match Echo::open(&world.client, (world.server.address(ipv6), APP)) {
                Ok(call) => calls.push(call),
                Err(HarnessError::Io { error, .. }) if error.kind() == ErrorKind::AddrNotAvailable => break,
                Err(error) => return Err(error),
            }
        }
    }
    drop(calls);
    let gone = || world.client.namespace().run("ss -Htn sport = :15001").is_ok_and(|lines| lines.is_empty());
    wait_until("the proxy's ends of the calls to go", SOON, gone, String::new)
}
