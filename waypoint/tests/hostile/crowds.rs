//! Many clients that want nothing.
use super::heads::SERVICES;
use super::rig::{Client, Rig, echo};

#[test]
fn a_thousand_idle_connections_hold_nobody_up() {
    let rig = Rig::new(&echo(), SERVICES);
    let entry = rig.entry("echo", 80);
    let mut idle: Vec<_> = (0..1000).map(|_| Client::new(entry)).collect();
    // Half of them have asked before.
    for client in idle.iter_mut().step_by(2) {
        assert_eq!(client.ask("GET", "/first", &[], b"").status, 200);
    }
    let mut busy = rig.client("echo", 80);
    for _ in 0..50 {
        assert_eq!(busy.ask("GET", "/busy", &[], b"").status, 200);
        assert_eq!(rig.get("echo", "/new", &[]).status, 200);
    }
    // Whoever waited is still served.
    for client in idle.iter_mut().step_by(100) {
        assert_eq!(client.ask("GET", "/later", &[], b"").status, 200);
    }
}
