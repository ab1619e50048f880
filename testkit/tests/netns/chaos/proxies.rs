//! Proxies that are killed, and that run out of descriptors.
use std::time::{Duration, Instant};

use adit_testkit::netns::peer::{End, Script};
use adit_testkit::netns::{Backend, Node, Result, Runtime, open, wait_until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::Rig;
use crate::cluster::{Echo, SOON, who_am_i};
use crate::traffic::{CALLS, LONG};
use crate::world::FAMILIES;

/// A proxy is killed: whatever went through it ends, at both ends; whatever did not goes on; and the next one serves.
pub(crate) fn killed(runtime: Runtime, backend: Backend) -> Result<()> {
    let plan: [(&str, &[&str]); 3] = [("alpha", &["a1"]), ("beta", &["b1"]), ("gamma", &["c1"])];
    let mut rig = Rig::new(runtime, backend, &plan, &[])?;
    let others = [rig.flows("a1", "c1"), rig.flows("c1", "a1")].concat();
    let mut hit = Vec::new();
    for (from, to) in [("a1", "b1"), ("b1", "c1")] {
        let (from, to) = (rig.site.pod(from), rig.site.pod(to));
        hit.extend(FAMILIES.map(|ipv6| rig.traffic.flow(LONG, &from.host, to.at(ipv6))));
    }
    let (from, to) = (rig.site.pod("a1"), rig.site.pod("b1"));
    let calls = rig.traffic.flow(CALLS, &from.host, to.at(false));
    rig.traffic.wait_more(&[&others[..], &hit].concat(), 5)?;

    rig.site.machines[1].kill()?;
    for flow in &hit {
        flow.wait_cut()?;
    }
    assert_eq!(who_am_i(&rig.site.pod("a1").host, rig.site.pod("b1").at(true))?, None);
    assert!(rig.site.pod("b1").host.connect(rig.site.pod("c1").at(true)).is_err(), "who took that?");
    rig.traffic.wait_more(&others, 5)?;

    rig.site.machines[1].start_again()?;
    rig.traffic.wait_more(std::slice::from_ref(&calls), 5)?;
    for (from, to) in [("a1", "b1"), ("b1", "c1")] {
        let flows = rig.flows(from, to);
        rig.traffic.wait_more(&flows, 5)?;
    }
    let clean = |end: &End| matches!(end, End::Refused | End::Reset | End::Eof);
    assert!(calls.failures().iter().all(clean), "{calls:?}");
    hit.push(calls);
    rig.end(&hit)
}

/// Descriptors that the proxy has left when they are about to run out.
const LEFT: usize = 10;
/// Connections of each kind that come then.
const MANY: usize = 30;

/// A proxy may open no more descriptors: what is open goes on, who comes waits or is refused, the proxy does not run wild
/// over it, and serves everybody who waits as soon as it can.
pub(crate) fn descriptors_run_out(runtime: Runtime, backend: Backend) -> Result<()> {
    let plan: [(&str, &[&str]); 2] = [("alpha", &["a1", "a2"]), ("beta", &["b1"])];
    let mut rig = Rig::new(runtime, backend, &plan, &[])?;
    let others = [rig.flows("a1", "a2"), rig.flows("a2", "a1")].concat();
    let (near, far) = (rig.site.pod("a1"), rig.site.pod("b1"));
    let mut open_before = [Echo::open(&near.host, far.at(false))?, Echo::open(&far.host, near.at(true))?];

    let beta = &rig.site.machines[1].node;
    let begun = Instant::now();
    let before = limit(beta, beta.process().descriptors()? + LEFT);
    // What the pod itself opens is accepted first, and waits in the kernel if it is not.
    let waiting: Vec<_> =
        (0..MANY).map(|number| rig.traffic.flow(LONG, &far.host, near.at(number % 2 == 1))).collect();
    // What comes by the tunnel costs the proxy a dial, which fails.
    let refused: Vec<_> = (0..MANY)
        .map(|number| open(&near.host, far.at(number % 2 == 1), Script::Echo))
        .collect::<Result<_>>()?;
    let exhausted = || complaints(beta) > 0;
    wait_until("the proxy to say that it can accept no more", SOON, exhausted, String::new)?;
    for echo in &mut open_before {
        echo.exchange("no matter")?;
    }
    rig.traffic.wait_more(&others, 50)?;
    for echo in &mut open_before {
        echo.exchange("no matter at all")?;
    }
    let (said, most) = (complaints(beta), most_complaints(begun.elapsed()));
    let served = waiting.iter().filter(|flow| flow.rounds() > 0).count();
    println!("{runtime}: {served} of {MANY} served, {said} complaints of at most {most}");
    assert!(said <= most, "{said} complaints in {:?}", begun.elapsed());
    assert!(served < MANY, "nothing has run out");

    limit(beta, before);
    // Those that were accepted with the last descriptors were refused, for there was none left to go on with.
    rig.traffic.wait_one_or_cut(&waiting)?;
    let late = waiting.iter().filter(|flow| flow.rounds() > 0).count();
    assert!(late > served, "nobody has waited: {served} before, {late} after");
    assert!(who_am_i(&rig.site.pod("a2").host, rig.site.pod("b1").at(false))?.is_some());
    drop((open_before, refused));
    rig.end(&waiting)
}

/// Sets how many descriptors a proxy may have; how many it might before.
fn limit(node: &Node, most: usize) -> usize {
    let pid = i32::try_from(node.process().id()).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(most as u64), ..rustix::process::getrlimit(Resource::Nofile) };
    let before = prlimit(pid, Resource::Nofile, limit).expect("root may do that");
    before.current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// How often a proxy says so that rests each time for twice as long, from 50 ms to a second, for each listener of each shard.
fn most_complaints(elapsed: Duration) -> usize {
    const LISTENERS: u64 = 3;
    const SHARDS: u64 = 2;
    const UNTIL_A_SECOND: u64 = 6;
    usize::try_from(LISTENERS * SHARDS * (UNTIL_A_SECOND + elapsed.as_secs())).unwrap_or(usize::MAX)
}

/// How often a proxy said that it could not accept.
fn complaints(node: &Node) -> usize {
    node.complaints().iter().filter(|line| line.contains("Failed TCP handshake")).count()
}
