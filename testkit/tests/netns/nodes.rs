//! Pods of several machines, each with its own proxy and agent, under one control plane.
use adit_testkit::netns::{Backend, Result, Runtime, certificates, wait_until};

use crate::cluster::SOON;
use crate::site::Site;
use crate::traffic::{CALLS, LONG, Traffic};
use crate::world::{FAMILIES, identity};

/// Three machines: two pods on the first, for which the others are far.
const PLAN: [(&str, &[&str]); 3] = [("alpha", &["a1", "a2"]), ("beta", &["b1"]), ("gamma", &["c1"])];

/// Every pod meets every other, of its own machine and of others, over both families, as who they are; afterwards no proxy
/// holds anything of it.
pub(crate) fn all_meet(runtime: Runtime, backend: Backend) -> Result<()> {
    const MOST_KIB: u64 = 12 << 10;
    let site = Site::new(runtime, backend, &PLAN, &[])?;
    let rests = site.rest()?;
    let machine_of =
        |pod: &str| PLAN.iter().position(|(_, pods)| pods.contains(&pod)).expect("a pod of ours");
    for (from, one) in &site.pods {
        for (to, other) in site.pods.iter().filter(|(to, _)| *to != from) {
            for ipv6 in FAMILIES {
                let source = one.host.address(ipv6).to_string();
                for (direction, pod) in [("outbound", from), ("inbound", to)] {
                    site.machines[machine_of(pod)].node.wait_access(&[
                        ("message", "connection complete"),
                        ("direction", direction),
                        ("src.addr", &source),
                        ("src.identity", &identity(from)),
                        ("dst.hbone_addr", &other.at(ipv6).to_string()),
                        ("dst.identity", &identity(to)),
                    ])?;
                }
            }
        }
    }
    // Each keeps the certificates of its own pods, and of itself.
    for (machine, (name, pods)) in site.machines.iter().zip(PLAN) {
        let mut wanted: Vec<_> = pods.iter().chain([&name]).map(|name| identity(name)).collect();
        wanted.sort();
        let kept = || certificates(&machine.host);
        wait_until("its certificates", SOON, || kept() == wanted, || format!("{:?}", kept()))?;
    }
    let mut traffic = Traffic::new(site.cluster.tasks.handle().clone());
    let mut flows = Vec::new();
    for (from, to) in site.pairs() {
        for (ipv6, manner) in FAMILIES.into_iter().zip([LONG, CALLS]) {
            flows.push(traffic.flow(manner, &from.host, to.at(ipv6)));
        }
    }
    traffic.wait_more(&flows, 10)?;
    println!("{runtime}: {} rounds on {} connections", traffic.rounds(), traffic.connections());
    let failed = traffic.finish();
    assert!(failed.is_empty(), "{failed:#?}");
    site.check_rest(&rests, MOST_KIB)?;
    for machine in &site.machines {
        let complaints = machine.node.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
    Ok(())
}
