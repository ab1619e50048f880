//! The proxy of a node is replaced by the next one while its pods connect to each other.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use adit_testkit::netns::{Backend, Host, Result, Runtime, wait_until};
use rustix::process::Signal;

use crate::cluster::{Echo, SOON, who_am_i};
use crate::inpod::World;
use crate::world::FAMILIES;

/// Replacements under load; the bar (issue 4) is twenty, over both runtimes.
const UPGRADES: usize = 10;
/// Connections that go well between two of them.
const BETWEEN: usize = 20;

/// Connects again and again until told to stop; answers what went wrong.
fn call(client: &Host, target: SocketAddr, stop: &AtomicBool, done: &AtomicUsize) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::Relaxed) && failures.len() < 10 {
        match who_am_i(client, target) {
            Ok(Some(_)) => drop(done.fetch_add(1, Ordering::Relaxed)),
            Ok(None) => failures.push(format!("{target}: reset, or ended without an answer")),
            Err(error) => failures.push(format!("{target}: {error}")),
        }
    }
    failures
}

/// Each new proxy has the pods' own sockets from the one before it: nobody is refused or cut off. What is open when the old
/// one is told to end goes on.
pub(crate) fn under_load(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut world = World::new(runtime, backend)?;
    world.add("client", &world.client)?;
    let second = world.cluster.host("machine-2")?;
    let targets = FAMILIES.map(|ipv6| world.server_at(ipv6));
    let (client, machines) = (&world.client, [&second, &world.machine.host]);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let some_more = || {
        let wanted = done.load(Ordering::Relaxed) + BETWEEN;
        let enough = || done.load(Ordering::Relaxed) >= wanted;
        wait_until("more connections", SOON, enough, || done.load(Ordering::Relaxed).to_string())
    };
    let mut said = Vec::new();
    let node = &mut world.machine.node;
    let failures = thread::scope(|scope| -> Result<Vec<String>> {
        let callers: Vec<_> =
            targets.iter().map(|target| scope.spawn(|| call(client, *target, &stop, &done))).collect();
        let mut replace = || -> Result<()> {
            for (_, machine) in (0..UPGRADES).zip(machines.iter().cycle()) {
                some_more()?;
                let mut open = Echo::open(client, targets[0])?;
                let next = world.machine.spec.start(Some(machine.namespace()))?;
                let mut old = std::mem::replace(node, next);
                old.process().signal(Signal::TERM)?;
                open.exchange("goes on")?;
                drop(open);
                let status = old.process_mut().wait_exit(SOON)?;
                assert!(status.success(), "{status:?}");
                let given = "listening sockets were given to the proxy that comes next";
                said.extend(old.process().lines().into_iter().filter(|line| line.contains("\"error\"")));
                assert!(old.process().lines().iter().any(|line| line.contains(given)), "bound anew");
            }
            some_more()
        };
        let replaced = replace();
        // Whatever has become of that, or the callers never end.
        stop.store(true, Ordering::Relaxed);
        let failures = callers.into_iter().flat_map(|caller| caller.join().expect("no panic")).collect();
        replaced.map(|()| failures)
    })?;
    let done = done.into_inner();
    assert!(failures.is_empty(), "{failures:#?} beside {done} that went well; {said:#?}");
    Ok(())
}
