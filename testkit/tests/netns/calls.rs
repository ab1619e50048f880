//! Calls that nobody means well: every port that a proxy may have, called on every way that leads there from pods of a machine
//! (datapath §1.8, "malicious calls").
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use adit_testkit::netns::peer::Script;
use adit_testkit::netns::{Backend, Result, Runtime};

use crate::cluster::who_am_i;
use crate::inpod::World;
use crate::refusals::Outcome::{Alert, BadRequest, Closed, NoMethod, Refused};
use crate::refusals::{Outcome, PORTS, outcome};
use crate::site::at_rest;
use crate::world::{FAMILIES, play};

/// Everything that was said about one call may be said twice, by the proxies of both ends; more were a circle.
const LINES_OF_A_CALL: usize = 2;

/// A captured pod and one that is not call the proxy's own address, themselves, their loopback, and a captured pod, on each port.
/// Each call ends at once as it should; none comes back to where it was; and the proxy is as before.
pub(crate) fn every_port(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend)?;
    world.add("client", &world.client)?;
    let (machine, target) = (&world.machine.host, world.server_at(false));
    for ipv6 in FAMILIES {
        assert!(who_am_i(&world.client, world.server_at(ipv6))?.is_some());
    }
    let before = at_rest(&world.machine)?;
    let said = || world.machine.node.process().lines().iter().filter(|line| line.contains("access")).count();
    let lines = said();
    let mut calls = 0;
    for ipv6 in FAMILIES {
        let loopback: IpAddr = if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        // SOCKS5 is on, on loopback, by IPv4 only.
        let socks = if ipv6 { Refused } else { NoMethod };
        let (client, outside) = (world.client.address(ipv6), world.outside.address(ipv6));
        let server = world.server_at(ipv6).ip();
        let nobody = [Refused; 7];
        let ways: [(_, _, [Outcome; 7]); 7] = [
            // Through a tunnel to the proxy itself: it refuses to call itself, the admin page is on its loopback only, and
            // metrics and readiness are for everybody.
            (
                &world.client,
                machine.address(ipv6),
                [Closed, Closed, Closed, Closed, Closed, BadRequest, BadRequest],
            ),
            // What is not captured: the proxy's listeners in the pod, and nothing that is not the pod's.
            (&world.client, client, [Closed, Closed, Alert, Refused, Refused, Refused, Refused]),
            (&world.client, loopback, [Closed, Closed, Alert, socks, Refused, Refused, Refused]),
            // Another captured pod, through a tunnel.
            (&world.client, server, [Closed; 7]),
            // The same from a pod that is not captured: the proxy takes HBONE there, and the machine's own ports are as they are.
            (
                &world.outside,
                machine.address(ipv6),
                [Refused, Refused, Alert, Refused, Refused, BadRequest, BadRequest],
            ),
            (&world.outside, server, [Closed, Closed, Alert, Closed, Closed, Closed, Closed]),
            (&world.outside, outside, nobody),
        ];
        let own_loopback = [(&world.outside, loopback, nobody)];
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
    world.machine.wait_unused()?;
    world.machine.wait_descriptors(before.descriptors())?;
    assert!(who_am_i(&world.client, target)?.is_some());
    Ok(())
}
