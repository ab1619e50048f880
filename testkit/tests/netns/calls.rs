//! Calls that nobody means well: every port that a proxy may have, called on every way that leads there from pods of a machine
//! (datapath §1.8, "malicious calls").
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use adit_testkit::netns::peer::Script;
use adit_testkit::netns::{Backend, Result, Runtime};

use crate::cluster::who_am_i;
use crate::refusals::Outcome::{Alert, BadRequest, Closed, NoMethod, Refused};
use crate::refusals::{Outcome, PORTS, outcome};
use crate::site::Site;
use crate::world::{FAMILIES, play};

/// Everything that was said about one call may be said twice, by the proxies of both ends; more were a circle.
const LINES_OF_A_CALL: usize = 2;

/// What the calls may take of memory beyond what the proxy has at rest, in KiB.
const MOST_KIB: u64 = 8 << 10;

/// A captured pod and one that is not call the proxy's own address, themselves, their loopback, and a captured pod, on each port.
/// Each call ends at once as it should; none comes back to where it was; and the proxy is as before.
pub(crate) fn every_port(runtime: Runtime, backend: Backend) -> Result<()> {
    let plan: [(&str, &[&str]); 1] = [("machine", &["client", "server"])];
    let mut site = Site::new(runtime, backend, &plan, &[("UNSTABLE_ENABLE_SOCKS5", "true")])?;
    let outsider = site.cluster.host("outside")?;
    let rests = site.rest()?;
    let machine = &site.machines[0];
    let (caller, called) = (&site.pod("client").host, site.pod("server"));
    let said = || machine.node.process().lines().iter().filter(|line| line.contains("access")).count();
    let lines = said();
    let mut calls = 0;
    for ipv6 in FAMILIES {
        let loopback: IpAddr = if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        // SOCKS5 is on, on loopback, by IPv4 only.
        let socks = if ipv6 { Refused } else { NoMethod };
        let (client, outside) = (caller.address(ipv6), outsider.address(ipv6));
        let server = called.host.address(ipv6);
        let nobody = [Refused; 7];
        let ways: [(_, _, [Outcome; 7]); 7] = [
            // Through a tunnel to the proxy itself: it refuses to call itself, the admin page is on its loopback only, and
            // metrics and readiness are for everybody.
            (
                caller,
                machine.host.address(ipv6),
                [Closed, Closed, Closed, Closed, Closed, BadRequest, BadRequest],
            ),
            // What is not captured: the proxy's listeners in the pod, and nothing that is not the pod's.
            (caller, client, [Closed, Closed, Alert, Refused, Refused, Refused, Refused]),
            (caller, loopback, [Closed, Closed, Alert, socks, Refused, Refused, Refused]),
            // Another captured pod, through a tunnel.
            (caller, server, [Closed; 7]),
            // The same from a pod that is not captured: the proxy takes HBONE there, and the machine's own ports are as they are.
            (
                &outsider,
                machine.host.address(ipv6),
                [Refused, Refused, Alert, Refused, Refused, BadRequest, BadRequest],
            ),
            (&outsider, server, [Closed, Closed, Alert, Closed, Closed, Closed, Closed]),
            (&outsider, outside, nobody),
        ];
        let own_loopback = [(&outsider, loopback, nobody)];
        for (from, to, outcomes) in ways.into_iter().chain(own_loopback) {
            for (port, expected) in PORTS.into_iter().zip(outcomes) {
                let to = SocketAddr::new(to, port);
                let said = play(from.namespace(), to, Script::WhoAmI)?;
                assert_eq!(outcome(&said), Some(expected), "{} to {to}: {said:?}", from.namespace().name());
                calls += 1;
            }
        }
    }
    let told = said() - lines;
    assert!(told <= calls * LINES_OF_A_CALL, "{told} lines of {calls} calls");
    site.check_rest(&rests, MOST_KIB)?;
    assert!(who_am_i(caller, called.at(false))?.is_some());
    Ok(())
}
