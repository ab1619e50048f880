//! Pods that vanish with all they have.
use adit_testkit::netns::{Backend, Result, Runtime};

use super::Rig;
use crate::cluster::{Echo, app, who_am_i};
use crate::resources::pod;
use crate::site::{Inhabitant, Site, on};
use crate::traffic::FORLORN;
use crate::world::FAMILIES;

/// A pod's processes, its link and the name of its namespace go in the middle of everything, and then the agent says so: the
/// proxy lets go of all of it, of the namespace too; its peers, who hear nothing any more, find out; the others do not notice.
pub(crate) fn namespace_gone(runtime: Runtime, backend: Backend) -> Result<()> {
    let plan: [(&str, &[&str]); 2] = [("alpha", &["a1"]), ("beta", &["b1"])];
    let mut site = Site::new(runtime, backend, &plan, &[("ADIT_DIAL_TIMEOUT", "3s")])?;
    let without = site.rest()?;
    let host = site.cluster.pod("doomed")?;
    site.cluster.push([on("beta", pod("doomed", &host))], [], []);
    site.machines[1].add("doomed", host.namespace())?;
    let doomed = Inhabitant { app: app(&host)?, host };
    for ipv6 in FAMILIES {
        let (near, far) = (site.pod("a1"), site.pod("b1"));
        assert!(who_am_i(&near.host, doomed.at(ipv6))?.is_some());
        assert!(who_am_i(&doomed.host, far.at(ipv6))?.is_some());
    }
    let mut rig = Rig::of(site)?;
    rig.rests = without;
    let others = [rig.flows("a1", "b1"), rig.flows("b1", "a1")].concat();
    let (near, far) = (rig.site.pod("a1"), rig.site.pod("b1"));
    let mut lost = Vec::new();
    for from in [near, far] {
        lost.extend(FAMILIES.map(|ipv6| rig.traffic.flow(FORLORN, &from.host, doomed.at(ipv6))));
    }
    let own = FAMILIES.iter().map(|ipv6| Echo::open(&doomed.host, near.at(*ipv6)));
    let own = own.collect::<Result<Vec<_>>>()?;
    rig.traffic.wait_more(&[&others[..], &lost].concat(), 5)?;

    let address = doomed.at(false);
    // Its link, its processes, its namespace.
    doomed.host.namespace().ip("link delete eth0")?;
    drop((own, doomed.app));
    drop(doomed.host);
    rig.traffic.wait_more(&others, 5)?;
    rig.site.machines[1].del("doomed");
    // Nothing of it is left where it was, long before its peers find out.
    rig.site.machines[1].wait_pods(&["b1"])?;
    rig.traffic.wait_more(&others, 5)?;
    for flow in &lost {
        flow.wait_cut()?;
    }
    assert_eq!(who_am_i(&rig.site.pod("a1").host, address)?, None);
    rig.traffic.wait_more(&others, 5)?;
    rig.end(&lost)
}
