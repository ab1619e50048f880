//! HTTP from a client's proxy through a waypoint to an endpoint's proxy, over real sockets on loopback.
#[path = "rig/mod.rs"]
mod rig;

use rig::{Rig, echo};

#[test]
fn a_request_goes_through() {
    let rig = Rig::new(&echo(), "");
    let reply = rig.get("echo-v1", "/a?b", &[("connection", "close")]);
    assert_eq!((reply.status, reply.app().as_str()), (200, "v1"));
    assert!(rig.lines("/a?b", 1)[0].starts_with("GET /a?b 200 - via_upstream "));
}
