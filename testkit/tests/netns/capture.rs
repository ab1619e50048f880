//! A check of capture beside real proxies: it finds all in order, and nothing of it is to be heard.
use adit_testkit::netns::peer::Script;
use adit_testkit::netns::{Backend, Result, Runtime, binary, run};

use crate::world::{APP, World, play};

/// What people run to see whether a pod is captured.
pub(crate) fn check(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend, "")?;
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
