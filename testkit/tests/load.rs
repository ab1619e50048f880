//! Ten thousand connections at once through one pair of proxies, twice, and the memory they take and give back.
//!
//! Needs `cargo build -p adit-node` before (of the same profile), a limit of 11 000 descriptors, and some minutes; the
//! figures printed (`--nocapture`) are those of an optimised build only with `--release`.

mod loopback;

use std::time::Duration;

use adit_testkit::netns::{Node, Result, Runtime};

use crate::loopback::{Loop, SOON, wait_all, wait_ends};

const CONNECTIONS: u64 = 10_000;

/// Each way on each connection.
const OCTETS: u64 = 64 << 10;

/// For everything all connections do together.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the bar on memory gives a proxy to come to rest.
const REST: Duration = Duration::from_secs(30);

/// Resident after the second burst, in percent of that after the first, that would be a leak. The bar is 110; it is a
/// figure to be read where it is printed, for it moves by as much with what else the machine does.
const LEAK: u64 = 150;

#[test]
fn ten_thousand_connections_on_tokio() -> Result<()> {
    ten_thousand(Runtime::Tokio)
}

#[test]
fn ten_thousand_connections_on_smol() -> Result<()> {
    ten_thousand(Runtime::Smol)
}

fn ten_thousand(runtime: Runtime) -> Result<()> {
    let mut world = Loop::new(runtime, &[("RUST_LOG", "warn")])?;
    show(runtime, "idle", &world)?;
    burst(runtime, &mut world)?;
    let first = at_rest(runtime, &world)?;
    burst(runtime, &mut world)?;
    let second = at_rest(runtime, &world)?;
    for (which, first, second) in [("client's", first[0], second[0]), ("server's", first[1], second[1])] {
        let percent = second * 100 / first.max(1);
        println!(
            "{runtime}: {which} proxy {REST:?} after the second burst: {percent} % of that after the first"
        );
        assert!(
            percent < LEAK,
            "{which} proxy: {first} KiB after the first burst, {second} KiB after the second"
        );
    }
    Ok(())
}

/// All connections are open at once, then each moves its octets both ways, then all close.
fn burst(runtime: Runtime, world: &mut Loop) -> Result<()> {
    let before = descriptors(world)?;
    let clients = world.load(CONNECTIONS, OCTETS, PATIENCE)?;
    wait_all(&clients, "open", PATIENCE)?;
    let held = descriptors(world)?;
    for (before, held) in before.into_iter().zip(held) {
        assert!(held >= before + usize::try_from(CONNECTIONS).unwrap_or(usize::MAX), "{held} descriptors");
    }
    show(runtime, "all open", world)?;
    clients.tell("move")?;
    wait_all(&clients, "moved", PATIENCE)?;
    show(runtime, "all moved", world)?;
    clients.tell("close")?;
    assert_eq!(wait_ends(&clients, PATIENCE)?, format!("well={CONNECTIONS}"));
    world.app.wait_idle(SOON)?;
    for line in clients.lines() {
        println!("{runtime}: {line}");
    }
    Ok(())
}

/// Resident memory of both proxies in KiB once they have rested.
fn at_rest(runtime: Runtime, world: &Loop) -> Result<[u64; 2]> {
    // The bar names this time; there is no event to wait for.
    std::thread::sleep(REST);
    show(runtime, "at rest", world)?;
    Ok([resident(&world.client_node)?, resident(&world.server_node)?])
}

fn resident(node: &Node) -> Result<u64> {
    Ok(node.process().memory()?.resident)
}

fn descriptors(world: &Loop) -> Result<[usize; 2]> {
    Ok([world.client_node.process().descriptors()?, world.server_node.process().descriptors()?])
}

fn show(runtime: Runtime, when: &str, world: &Loop) -> Result<()> {
    let (client, server) = (world.client_node.process().memory()?, world.server_node.process().memory()?);
    println!(
        "{runtime}, {when}: resident {} KiB client's proxy, {} KiB server's; peak {} and {} KiB",
        client.resident, server.resident, client.peak, server.peak
    );
    Ok(())
}
