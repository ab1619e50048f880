//! Proxies that are killed or told to stop while connections are open: everybody is told, nothing is leaked.
//!
//! Needs `cargo build -p adit-node` before (of the same profile); all of it happens on loopback.

mod loopback;

use std::net::TcpStream;
use std::time::Duration;

use adit_testkit::netns::{Node, Process, Result, Runtime, wait_until};
use rustix::process::Signal;

use crate::loopback::{Loop, SOON, wait_all, wait_ends};

/// Ten tunnels' worth.
const CONNECTIONS: u64 = 1000;

/// Where each moves many octets: more than one tunnel's worth for each shard.
const BULKY: u64 = 250;

/// When the proxy is killed, in milliseconds after the clients were started: from before the first connection, over
/// handshakes, to traffic on all.
const MOMENTS: [u64; 8] = [0, 10, 25, 50, 100, 200, 400, 1000];

/// Octets per connection that no transfer here gets done with.
const HUGE: u64 = 1 << 30;

/// Longer than anything a killed proxy may leave waiting; who is silent for so long hangs.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug)]
enum Victim {
    Client,
    Server,
}

#[test]
fn killing_the_clients_proxy_ends_everything_on_tokio() -> Result<()> {
    kill(Runtime::Tokio, Victim::Client)
}

#[test]
fn killing_the_clients_proxy_ends_everything_on_smol() -> Result<()> {
    kill(Runtime::Smol, Victim::Client)
}

#[test]
fn killing_the_servers_proxy_ends_everything_on_tokio() -> Result<()> {
    kill(Runtime::Tokio, Victim::Server)
}

#[test]
fn killing_the_servers_proxy_ends_everything_on_smol() -> Result<()> {
    kill(Runtime::Smol, Victim::Server)
}

#[test]
fn a_proxy_told_to_stop_lets_connections_finish_on_tokio() -> Result<()> {
    drain_finishes(Runtime::Tokio)
}

#[test]
fn a_proxy_told_to_stop_lets_connections_finish_on_smol() -> Result<()> {
    drain_finishes(Runtime::Smol)
}

#[test]
fn a_proxy_told_to_stop_ends_what_will_not_finish_on_tokio() -> Result<()> {
    drain_forces(Runtime::Tokio)
}

#[test]
fn a_proxy_told_to_stop_ends_what_will_not_finish_on_smol() -> Result<()> {
    drain_forces(Runtime::Smol)
}

fn kill(runtime: Runtime, victim: Victim) -> Result<()> {
    let mut world = Loop::new(runtime, &[])?;
    let survivor = |world: &Loop| match victim {
        Victim::Client => world.server_node.process().descriptors(),
        Victim::Server => world.client_node.process().descriptors(),
    };
    let baseline = survivor(&world)?;
    for moment in MOMENTS {
        let clients = world.load(CONNECTIONS, 0, PATIENCE)?;
        // Any moment will do: what must hold holds at all of them.
        std::thread::sleep(Duration::from_millis(moment));
        kill_once(&mut world, victim, &clients, &format!("after {moment} ms"))?;
        await_descriptors(|| survivor(&world), baseline)?;
    }

    // With all buffers and windows full of octets that will never arrive.
    let clients = world.load(BULKY, HUGE, PATIENCE)?;
    wait_all(&clients, "open", SOON)?;
    clients.tell("move")?;
    std::thread::sleep(Duration::from_millis(300));
    kill_once(&mut world, victim, &clients, "in mid-transfer")?;
    await_descriptors(|| survivor(&world), baseline)?;

    // With every connection known to be open.
    let clients = world.load(CONNECTIONS, 0, PATIENCE)?;
    wait_all(&clients, "open", SOON)?;
    let ends = kill_once(&mut world, victim, &clients, "with all open")?;
    await_descriptors(|| survivor(&world), baseline)?;
    // Cut off is not finished: a FIN would tell an application that it has got everything.
    match victim {
        // What the clients get comes from the kernel of the killed proxy.
        Victim::Client => {
            let lines = world.app.process().lines();
            let last = &lines[lines.len() - usize::try_from(CONNECTIONS).unwrap_or_default()..];
            let whole = |line: &&String| !line.ends_with("reset") && !line.starts_with("serving");
            assert!(!last.iter().any(|line| whole(&line)), "{last:#?}");
        }
        Victim::Server => assert_eq!(ends, format!("reset={CONNECTIONS}")),
    }
    Ok(())
}

/// Kills the victim and says how the clients' connections ended. It is running again afterwards.
fn kill_once(world: &mut Loop, victim: Victim, clients: &Process, when: &str) -> Result<String> {
    let node: &mut Process = match victim {
        Victim::Client => world.client_node.process_mut(),
        Victim::Server => world.server_node.process_mut(),
    };
    node.signal(Signal::KILL)?;
    node.wait_exit(SOON)?;
    let ends = wait_ends(clients, PATIENCE + SOON)?;
    println!("{victim:?}'s proxy killed {when}: {ends}");
    assert!(
        !["silence", "wrong", "failed", "panicked", "well"].iter().any(|bad| ends.contains(bad)),
        "{ends}"
    );
    world.app.wait_idle(SOON)?;
    match victim {
        Victim::Client => world.restart_client()?,
        Victim::Server => world.restart_server()?,
    }
    Ok(ends)
}

fn await_descriptors(now: impl Fn() -> Result<usize>, baseline: usize) -> Result<()> {
    let what = format!("the survivor is back at {baseline} descriptors");
    wait_until(&what, SOON, || now().is_ok_and(|now| now == baseline), || format!("it holds {:?}", now()))
}

/// Tells a proxy to stop and waits until it has stopped listening.
fn stop(node: &Node, world: &Loop) -> Result<()> {
    node.process().signal(Signal::TERM)?;
    let refuses = || TcpStream::connect(world.hbone()).is_err();
    wait_until("the proxy no longer listens", SOON, refuses, || node.process().lines().join("\n"))
}

fn drain_finishes(runtime: Runtime) -> Result<()> {
    let mut world = Loop::new(runtime, &[("CONNECTION_TERMINATION_DEADLINE", "60s")])?;
    let clients = world.load(BULKY, 1 << 20, PATIENCE)?;
    wait_all(&clients, "open", SOON)?;
    stop(&world.server_node, &world)?;
    // Nobody new is let in, once the GOAWAY has been read at the other end ...
    wait_until(
        "a new connection is refused",
        SOON,
        || late(&world).is_ok_and(|refused| refused),
        String::new,
    )?;
    // ... and who was in can do everything.
    clients.tell("move")?;
    wait_all(&clients, "moved", SOON)?;
    clients.tell("close")?;
    assert_eq!(wait_ends(&clients, SOON)?, format!("well={BULKY}"));
    let status = world.server_node.process_mut().wait_exit(SOON)?;
    assert!(status.success(), "{status}");
    Ok(())
}

/// Whether a connection that starts now is refused.
fn late(world: &Loop) -> Result<bool> {
    let late = world.load(1, 1, PATIENCE)?;
    late.tell("move")?;
    late.tell("close")?;
    Ok(wait_ends(&late, SOON)? != "well=1")
}

fn drain_forces(runtime: Runtime) -> Result<()> {
    let mut world = Loop::new(runtime, &[("CONNECTION_TERMINATION_DEADLINE", "2s")])?;
    let baseline = world.client_node.process().descriptors()?;
    let clients = world.load(CONNECTIONS, 0, PATIENCE)?;
    wait_all(&clients, "open", SOON)?;
    stop(&world.server_node, &world)?;
    assert_eq!(wait_ends(&clients, SOON)?, format!("reset={CONNECTIONS}"));
    world.app.wait_idle(SOON)?;
    world
        .server_node
        .wait_access(&[("direction", "inbound"), ("error", "connection closed due to connection drain")])?;
    let status = world.server_node.process_mut().wait_exit(SOON)?;
    assert!(status.success(), "{status}");
    await_descriptors(|| world.client_node.process().descriptors(), baseline)
}
