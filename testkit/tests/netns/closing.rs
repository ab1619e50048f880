//! FIN and RST of one application arrive at the other as what they were.
use std::time::Duration;

use adit_testkit::netns::peer::{End, Script};
use adit_testkit::netns::{Backend, Result, Runtime};

use crate::world::{APP, FAMILIES, World, play};

const SOON: Duration = Duration::from_secs(10);

/// Half-close in both orders, reset by either end: through a tunnel, out of the mesh, and into it.
pub(crate) fn ends(runtime: Runtime, backend: Backend) -> Result<()> {
    let world = World::new(runtime, backend, "")?;
    for ipv6 in FAMILIES {
        let ways = [
            ("tunnelled", &world.client, &world.server, &world.server_app),
            ("outward", &world.client, &world.outside, &world.outside_app),
            ("inward", &world.outside, &world.server, &world.server_app),
        ];
        // Amounts differ so that the server's lines can be told apart.
        for (number, (way, from, to, app)) in (1..).zip(ways) {
            let to = (to.address(ipv6), APP);
            let from = from.namespace();
            let context = format!("{way}, IPv6 {ipv6}");

            // The client finishes first: the rest of the echo still comes.
            assert_eq!(play(from, to, Script::Echo)?, "well echoed", "{context}");

            // The server finishes first: what the client sends then still comes.
            let first = Script::ServerFirst { up: 100_000 + number * 10 + u64::from(ipv6) };
            assert_eq!(play(from, to, first)?, "well sent after the server's FIN", "{context}");
            assert_eq!(app.wait_served(first, SOON)?, None, "{context}");

            assert_eq!(play(from, to, Script::ServerResets)?, "reset", "{context}");
            assert_eq!(play(from, to, Script::ClientResets)?, "well reset", "{context}");
            assert_eq!(app.wait_served(Script::ClientResets, SOON)?, Some(End::Reset), "{context}");
        }
    }
    // `wait_served` is content with any one line; none may say that a reset came as a FIN.
    let lines = world.server_app.process().lines();
    assert!(!lines.iter().any(|line| line.ends_with("client-resets eof")), "{lines:#?}");
    Ok(())
}
