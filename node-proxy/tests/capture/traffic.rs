//! Where connections end under the rules, and without them.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use adit_node::capture::{Options, Request, apply, remove, verify};
use adit_testkit::netns::Result;

use crate::world::{APP, APPLICATION, As, BACKENDS, DNS, FAMILIES, OTHER, PROXY, World, request, tcp, udp};

const fn loopback(ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

fn probe(ipv6: bool) -> IpAddr {
    let text = if ipv6 { "fd16:9254:7127:1337:ffff:ffff:ffff:ffff" } else { "169.254.7.127" };
    text.parse().expect("an address")
}

/// Nothing is captured.
fn assert_direct(world: &World) -> Result<()> {
    for ipv6 in FAMILIES {
        for (port, by) in [(APP, APPLICATION), (DNS, APPLICATION), (APP, PROXY)] {
            assert_eq!(tcp(&world.pod, world.to_outside(ipv6, port), by)?.expect("direct"), port);
        }
        for port in [DNS, OTHER] {
            assert_eq!(udp(&world.pod, world.to_outside(ipv6, port), APPLICATION)?.expect("direct"), port);
        }
        assert_eq!(tcp(&world.outside, world.to_pod(ipv6, APP), APPLICATION)?.expect("direct"), APP);
    }
    Ok(())
}

#[test]
fn connections_go_where_the_table_says_and_directly_again_when_it_is_gone() -> Result<()> {
    for backend in BACKENDS {
        let world = World::new()?;
        let pod = world.netns();
        assert_direct(&world)?;
        apply(Some(&pod), &request(backend)).expect("applied");
        for ipv6 in FAMILIES {
            let case = |what: &str| format!("{what}, {backend:?}, IPv6: {ipv6}");
            let outbound = |port, by| tcp(&world.pod, world.to_outside(ipv6, port), by);
            assert_eq!(outbound(APP, APPLICATION)?.expect("captured"), 15001, "{}", case("outbound"));
            assert_eq!(outbound(APP, PROXY)?.expect("passed"), APP, "{}", case("the proxy's own"));
            assert_eq!(outbound(DNS, APPLICATION)?.expect("captured"), 15053, "{}", case("TCP questions"));
            assert_eq!(outbound(DNS, PROXY)?.expect("passed"), DNS, "{}", case("the DNS proxy's own by TCP"));

            let asked = |port, by| udp(&world.pod, world.to_outside(ipv6, port), by);
            assert_eq!(asked(DNS, APPLICATION)?.expect("captured"), 15053, "{}", case("questions"));
            assert_eq!(asked(DNS, PROXY)?.expect("passed"), DNS, "{}", case("the DNS proxy's own"));
            assert_eq!(asked(OTHER, APPLICATION)?.expect("passed"), OTHER, "{}", case("other datagrams"));

            let inbound = |port, by| tcp(&world.outside, world.to_pod(ipv6, port), by);
            assert_eq!(inbound(APP, APPLICATION)?.expect("captured"), 15006, "{}", case("inbound"));
            assert_eq!(inbound(15008, APPLICATION)?.expect("passed"), 15008, "{}", case("HBONE"));

            let itself = |address, port| tcp(&world.pod, SocketAddr::new(address, port), APPLICATION);
            let own = world.pod.address(ipv6);
            assert_eq!(itself(own, APP)?.expect("passed"), APP, "{}", case("to its own address"));
            assert_eq!(
                itself(own, DNS)?.expect("captured"),
                15053,
                "{}",
                case("a question to its own address")
            );
            assert_eq!(itself(loopback(ipv6), APP)?.expect("passed"), APP, "{}", case("loopback"));
            assert_eq!(
                itself(loopback(ipv6), DNS)?.expect("passed"),
                DNS,
                "{}",
                case("a question to loopback")
            );
        }
        remove(Some(&pod)).expect("removed");
        assert_direct(&world)?;
    }
    Ok(())
}

#[test]
fn kubelets_probes_pass() -> Result<()> {
    for backend in BACKENDS {
        let world = World::new()?;
        apply(Some(&world.netns()), &request(backend)).expect("applied");
        for ipv6 in FAMILIES {
            let address = probe(ipv6);
            let (length, nodad) = if ipv6 { (128, " nodad") } else { (32, "") };
            world.outside.namespace().ip(&format!("address add {address}/{length} dev eth0{nodad}"))?;
            let by = As { source: Some(address), ..APPLICATION };
            assert_eq!(tcp(&world.outside, world.to_pod(ipv6, APP), by)?.expect("passed"), APP);
            let back = SocketAddr::new(address, APP);
            assert_eq!(tcp(&world.pod, back, APPLICATION)?.expect("passed"), APP);
        }
    }
    Ok(())
}

#[test]
fn annotations_change_what_is_captured() -> Result<()> {
    for backend in BACKENDS {
        let world = World::new()?;
        let pod = world.netns();
        let applied = |options| {
            let request = Request { options, backend, ipv4_only: false };
            apply(Some(&pod), &request).expect("applied");
        };
        let outbound = |ipv6, port| tcp(&world.pod, world.to_outside(ipv6, port), APPLICATION);
        let inbound = |ipv6| tcp(&world.outside, world.to_pod(ipv6, APP), APPLICATION);

        applied(Options::default());
        for ipv6 in FAMILIES {
            assert_eq!(outbound(ipv6, DNS)?.expect("captured"), 15001, "without DNS capture");
            let asked = udp(&world.pod, world.to_outside(ipv6, DNS), APPLICATION)?;
            assert_eq!(asked.expect("passed"), DNS, "without DNS capture");
        }
        applied(Options { ingress: true, ..Options::default() });
        for ipv6 in FAMILIES {
            assert_eq!(
                (outbound(ipv6, APP)?.expect("captured"), inbound(ipv6)?.expect("passed")),
                (15001, APP)
            );
        }
        applied(Options { interfaces: vec!["eth0".parse().expect("a name")], ..Options::default() });
        for ipv6 in FAMILIES {
            assert_eq!(inbound(ipv6)?.expect("captured"), 15001, "from a virtual interface");
        }
        applied(Options { interfaces: vec!["eth9".parse().expect("a name")], ..Options::default() });
        for ipv6 in FAMILIES {
            assert_eq!(inbound(ipv6)?.expect("captured"), 15006, "from another interface");
        }
    }
    Ok(())
}

#[test]
fn ipv6_can_be_left_alone() -> Result<()> {
    for backend in BACKENDS {
        let world = World::new()?;
        let (pod, half) = (world.netns(), Request { ipv4_only: true, ..request(backend) });
        apply(Some(&pod), &half).expect("applied");
        let taken = |ipv6| tcp(&world.pod, world.to_outside(ipv6, APP), APPLICATION);
        assert_eq!((taken(false)?.expect("captured"), taken(true)?.expect("passed")), (15001, APP));
        for ask in [tcp, udp] {
            let asked = |ipv6| ask(&world.pod, world.to_outside(ipv6, DNS), APPLICATION);
            assert_eq!((asked(false)?.expect("captured"), asked(true)?.expect("passed")), (15053, DNS));
        }
        let problems = || verify(Some(&pod), &half).expect("a verdict").problems;
        assert_eq!(problems(), []);
        // What was captured before is not any more.
        apply(Some(&pod), &request(backend)).expect("applied");
        assert!(!problems().is_empty());
        apply(Some(&pod), &half).expect("applied");
        assert_eq!((problems(), taken(true)?.expect("passed")), (Vec::new(), APP));
        remove(Some(&pod)).expect("removed");
        assert_direct(&world)?;
    }
    Ok(())
}
