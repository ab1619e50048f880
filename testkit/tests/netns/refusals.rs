//! Connections that must not come about.
use std::net::SocketAddr;

use adit_testkit::netns::peer::Script;
use adit_testkit::netns::{Backend, Result, Runtime};

use crate::world::{APP, FAMILIES, World, identity, play};

/// Only `other` may call, and there is no such workload.
const ONLY_OTHER: &str = "
policies:
- name: only-other
  namespace: default
  scope: Namespace
  action: Allow
  dryRun: false
  rules:
  - - - principals: [{Exact: cluster.local/ns/default/sa/other}]
";

/// `client` may not call; whoever has no identity may.
const NOT_CLIENT: &str = "
policies:
- name: not-client
  namespace: default
  scope: Namespace
  action: Deny
  dryRun: false
  rules:
  - - - principals: [{Exact: cluster.local/ns/default/sa/client}]
";

/// A connection the policies refuse is closed, with the reason in the logs; plaintext has no identity at all.
pub(crate) fn policies(runtime: Runtime, backend: Backend) -> Result<()> {
    let not_allowed = "connection closed due to policy rejection: allow policies exist, but none allowed";
    let denied = "connection closed due to policy rejection: explicitly denied by: default/not-client";
    for (policy, reason, plaintext_refused) in [(ONLY_OTHER, not_allowed, true), (NOT_CLIENT, denied, false)]
    {
        let world = World::new(runtime, backend, policy)?;
        for ipv6 in FAMILIES {
            let server = world.server.address(ipv6);
            assert_closed(&play(world.client.namespace(), (server, APP), Script::WhoAmI)?);
            world.server_node.wait_access(&[
                ("message", "connection complete"),
                ("src.addr", &world.client.address(ipv6).to_string()),
                ("src.identity", &identity("client")),
                ("direction", "inbound"),
                ("error", reason),
            ])?;
            world.client_node.wait_access(&[
                ("message", "connection complete"),
                ("dst.hbone_addr", &SocketAddr::new(server, APP).to_string()),
                ("direction", "outbound"),
                ("error", "http status: 401 Unauthorized"),
            ])?;

            let outside = world.outside.address(ipv6);
            let plain = play(world.outside.namespace(), (server, APP), Script::WhoAmI)?;
            if plaintext_refused {
                assert_closed(&plain);
                world.server_node.wait_access(&[
                    ("src.addr", &outside.to_string()),
                    ("direction", "inbound"),
                    ("error", reason),
                ])?;
            } else {
                assert_eq!(plain, format!("well {outside}"));
            }
        }
        // The application was never bothered by what was refused.
        let lines = world.server_app.process().lines();
        let calls = lines.iter().filter(|line| line.starts_with("served ")).count();
        assert_eq!(calls, if plaintext_refused { 0 } else { FAMILIES.len() }, "{lines:#?}");
    }
    Ok(())
}

/// Calls that would make a proxy call itself (datapath §1.6).
pub(crate) fn own_ports(runtime: Runtime, backend: Backend) -> Result<()> {
    const LOOP: &str = "attempted recursive call to ourselves";
    let world = World::new(runtime, backend, "")?;
    for ipv6 in FAMILIES {
        let (client, server) = (world.client.address(ipv6), world.server.address(ipv6));
        let loopback = SocketAddr::new(
            if ipv6 { [0, 0, 0, 0, 0, 0, 0, 1].into() } else { [127, 0, 0, 1].into() },
            15001,
        );

        // Straight to the listener for captured connections: the original destination is the listener.
        assert_closed(&play(world.client.namespace(), loopback, Script::WhoAmI)?);
        world.client_node.wait_access(&[
            ("message", "connection failed"),
            ("direction", "outbound"),
            ("dst.addr", &loopback.to_string()),
            ("error", LOOP),
        ])?;

        for port in [15001, 15006] {
            // From outside, by 15006.
            let target = SocketAddr::new(server, port);
            assert_closed(&play(world.outside.namespace(), target, Script::WhoAmI)?);
            world.server_node.wait_access(&[
                ("message", "connection failed"),
                ("src.addr", &world.outside.address(ipv6).to_string()),
                ("dst.addr", &target.to_string()),
                ("error", LOOP),
            ])?;
            // Through a tunnel: refused by the other end.
            assert_closed(&play(world.client.namespace(), target, Script::WhoAmI)?);
            world.client_node.wait_access(&[
                ("src.addr", &client.to_string()),
                ("dst.hbone_addr", &target.to_string()),
                ("error", "http status: 503 Service Unavailable"),
            ])?;
            world.server_node.wait_access(&[
                ("message", "connection failed"),
                ("src.addr", &client.to_string()),
                ("error", LOOP),
            ])?;
        }
    }
    // After all that both still work.
    let server = world.server.address(false);
    assert_eq!(play(world.client.namespace(), (server, APP), Script::Echo)?, "well echoed");
    Ok(())
}

/// What becomes of a call to a port of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Accepted, then closed without a word.
    Closed,
    /// A TLS alert, since the caller does not speak TLS.
    Alert,
    /// No method of SOCKS5 will do, since it does not speak that either.
    NoMethod,
    /// HTTP status 400, since it does not speak HTTP either.
    BadRequest,
    /// Nobody listens.
    Refused,
}

/// The ports that a proxy may have.
pub(crate) const PORTS: [u16; 7] = [15001, 15006, 15008, 15080, 15000, 15020, 15021];

/// What became of a call, from what the client says of it; nothing if it is none of these.
pub(crate) fn outcome(said: &str) -> Option<Outcome> {
    match said {
        "eof" | "reset" => Some(Outcome::Closed),
        "refused" => Some(Outcome::Refused),
        "well \u{5}\u{fffd}" => Some(Outcome::NoMethod),
        said if said.starts_with("well HTTP/1.1 400 ") => Some(Outcome::BadRequest),
        said if said.starts_with("well \u{15}\u{3}") => Some(Outcome::Alert),
        _ => None,
    }
}

/// Every port that a proxy may have, called by everybody on every way that leads there (datapath §1.8). SOCKS5 is off.
pub(crate) fn every_port(runtime: Runtime, backend: Backend) -> Result<()> {
    use Outcome::{Alert, BadRequest, Closed, Refused};
    let world = World::new(runtime, backend, "")?;
    for ipv6 in FAMILIES {
        let (client, server) = (world.client.address(ipv6), world.server.address(ipv6));
        let loopback: std::net::IpAddr =
            if ipv6 { [0, 0, 0, 0, 0, 0, 0, 1].into() } else { [127, 0, 0, 1].into() };
        let ways = [
            // A captured pod's own loopback, where nothing is redirected.
            (&world.client, loopback, [Closed, Closed, Alert, Refused, BadRequest, BadRequest, BadRequest]),
            // Its own address, which is not redirected either; the admin page is on loopback only.
            (&world.client, client, [Closed, Closed, Alert, Refused, Refused, BadRequest, BadRequest]),
            // Another captured pod, through a tunnel: its proxy refuses to call itself, and dials what is no port of the
            // data path as it dials any application.
            (&world.client, server, [Closed, Closed, Closed, Closed, Closed, BadRequest, BadRequest]),
            // The same from outside the mesh: 15008 is the one port that is not redirected.
            (&world.outside, server, [Closed, Closed, Alert, Closed, Closed, BadRequest, BadRequest]),
        ];
        for (from, to, outcomes) in ways {
            for (port, expected) in PORTS.into_iter().zip(outcomes) {
                let said = play(from.namespace(), (to, port), Script::WhoAmI)?;
                assert_eq!(outcome(&said), Some(expected), "{to}:{port} said {said:?}");
            }
        }
    }
    // After all that both still work.
    let server = world.server.address(false);
    assert_eq!(play(world.client.namespace(), (server, APP), Script::Echo)?, "well echoed");
    Ok(())
}

/// Whoever is refused gets a FIN or an RST, never an answer and never silence.
#[track_caller]
fn assert_closed(outcome: &str) {
    assert!(["eof", "reset"].contains(&outcome), "{outcome}");
}
