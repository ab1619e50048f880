//! Bad links: packets are lost, the rate is low, the way is long.
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_testkit::netns::peer::Script;
use adit_testkit::netns::{Backend, HarnessError, Host, Result, Runtime, wait_until};

use super::Rig;
use crate::cluster::SOON;
use crate::relay::{Relay, Way};
use crate::resources::HBONE;
use crate::traffic::LONG;
use crate::world::{FAMILIES, play};

const PLAN: [(&str, &[&str]); 2] = [("alpha", &["a1"]), ("beta", &["b1"])];

/// Of a bulk transfer, each way.
const BULK: u64 = 1 << 20;

/// Moves many octets both ways at the same time, all of which must be right.
fn bulk(rig: &Rig, ipv6: bool) -> Result<()> {
    let script = Script::Bulk { up: BULK, down: BULK, seed: 7 };
    let (from, to) = (rig.site.pod("a1"), rig.site.pod("b1"));
    assert_eq!(play(from.host.namespace(), to.at(ipv6), script)?, "well all octets right");
    Ok(())
}

/// One packet in twenty is lost on the way to either pod: everything takes longer, and arrives.
pub(crate) fn loss(runtime: Runtime, backend: Backend) -> Result<()> {
    const LOST: u64 = 30;
    let mut rig = Rig::new(runtime, backend, &PLAN, &[])?;
    let all = [rig.flows("a1", "b1"), rig.flows("b1", "a1")].concat();
    rig.traffic.wait_more(&all, 5)?;
    for pod in ["a1", "b1"] {
        let namespace = rig.site.pod(pod).host.namespace();
        namespace.run("nft add table inet chaos")?;
        namespace.run("nft add chain inet chaos loss { type filter hook input priority raw ; }")?;
        namespace.run("nft add counter inet chaos lost")?;
        namespace.run(
            "nft add rule inet chaos loss iifname eth0 meta l4proto tcp numgen random mod 100 < 5 counter name lost drop",
        )?;
    }
    rig.traffic.wait_more(&all, 10)?;
    let lost = |pod: &str| {
        let counter = rig.site.pod(pod).host.namespace().run("nft list counter inet chaos lost");
        let counter = counter.unwrap_or_default();
        let packets = counter.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        packets.and_then(|packets| packets.parse().ok()).unwrap_or(0)
    };
    let enough = || ["a1", "b1"].iter().all(|pod| lost(pod) >= LOST);
    wait_until("packets to be lost", SOON, enough, || format!("{} and {}", lost("a1"), lost("b1")))?;
    for pod in ["a1", "b1"] {
        rig.site.pod(pod).host.namespace().run("nft delete table inet chaos")?;
    }
    rig.traffic.wait_more(&all, 5)?;
    rig.end(&[])
}

/// The link of a pod takes four megabits in a second: who sends waits, and nothing piles up in the proxies.
pub(crate) fn narrow(runtime: Runtime, backend: Backend) -> Result<()> {
    /// A megabyte at half a megabyte in a second takes two; half of it for what is in queues and in the bucket.
    const LEAST: Duration = Duration::from_secs(1);
    let mut rig = Rig::new(runtime, backend, &PLAN, &[])?;
    let all = [rig.flows("a1", "b1"), rig.flows("b1", "a1")].concat();
    rig.traffic.wait_more(&all, 5)?;
    let namespace = rig.site.pod("b1").host.namespace();
    namespace.run("tc qdisc add dev eth0 root tbf rate 4mbit burst 32kb latency 300ms")?;
    let begun = Instant::now();
    bulk(&rig, true)?;
    assert!(begun.elapsed() >= LEAST, "who lets it through? {:?}", begun.elapsed());
    rig.traffic.wait_more(&all, 3)?;
    namespace.run("tc qdisc delete dev eth0 root")?;
    rig.traffic.wait_more(&all, 20)?;
    rig.end(&[])
}

/// Every octet of a tunnel takes long: nobody takes that for the end, and what is in flight is bounded.
pub(crate) fn delay(runtime: Runtime, backend: Backend) -> Result<()> {
    const ONE_WAY: Duration = Duration::from_millis(100);
    const ROUNDS: u64 = 5;
    let mut site = crate::site::Site::new(runtime, backend, &PLAN, &[])?;
    let between = site.cluster.host("between")?;
    let mut rig = Rig::of(site)?;
    let (near, far) = (&rig.site.pod("a1").host, &rig.site.pod("b1").host);
    lead_through(near, far, &between)?;
    let target = FAMILIES.map(|ipv6| SocketAddr::new(far.address(ipv6), HBONE));
    let listen = FAMILIES.map(|ipv6| SocketAddr::new(between.address(ipv6), HBONE));
    let route = move |called: SocketAddr| target[usize::from(called.is_ipv6())];
    let relay =
        Relay::start(&rig.site.cluster.tasks, between.namespace(), listen, Way::Long(ONE_WAY), route)?;

    let flows = FAMILIES.map(|ipv6| rig.traffic.flow(LONG, near, rig.site.pod("b1").at(ipv6)));
    rig.traffic.wait_more(&flows, 1)?;
    let (begun, before) = (Instant::now(), flows[0].rounds());
    rig.traffic.wait_more(&flows, ROUNDS)?;
    // Those that are under way already may end at once.
    let whole = u32::try_from(flows[0].rounds() - before).expect("few") - 1;
    assert!(begun.elapsed() >= ONE_WAY * 2 * whole, "{whole} rounds in {:?}", begun.elapsed());
    bulk(&rig, false)?;
    rig.traffic.wait_more(&flows, 1)?;

    // The way itself breaks: all that was on it ends.
    drop(relay);
    for flow in &flows {
        flow.wait_cut()?;
    }
    rig.end(&flows)
}

/// From now on the tunnels of `from` that are for `to` go to `through`.
fn lead_through(from: &Host, to: &Host, through: &Host) -> Result<()> {
    let namespace = from.namespace();
    namespace.run("nft add table inet chaos")?;
    // Before the rules that leave the proxy's own connections alone.
    namespace.run("nft add chain inet chaos lead { type nat hook output priority -150 ; }")?;
    for (ipv6, family) in FAMILIES.into_iter().zip(["ip", "ip6"]) {
        let (to, through) = (to.address(ipv6), SocketAddr::new(through.address(ipv6), HBONE));
        namespace.run(&format!(
            "nft add rule inet chaos lead {family} daddr {to} tcp dport {HBONE} dnat {family} to {through}"
        ))?;
    }
    Ok::<(), HarnessError>(())
}
