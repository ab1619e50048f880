//! Heads that are too large, too old or too slow.
use std::sync::LazyLock;
use std::time::Duration;

use adit_waypoint::settings::Settings;

use super::rig::{Client, Rig, echo};

/// Ports that are said to speak HTTP.
pub(crate) const SERVICES: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: echo, namespace: demo }
spec: { ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: echo-v1, namespace: demo }
spec: { ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: echo-v2, namespace: demo }
spec: { ports: [{ name: http, port: 80 }] }
"#;

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::new(&echo(), SERVICES));

#[test]
fn heads_that_are_too_large_are_refused() {
    let many: Vec<_> = (0..150).map(|number| (format!("x-{number}"), "y")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let reply = RIG.get("echo", "/many", &many);
    assert_eq!(reply.status, 431);
    let large = "x".repeat(100 << 10);
    let mut client = RIG.client("echo", 80);
    // The answer may come before all of it is sent.
    let _ = std::io::Write::write_all(
        client.0.get_mut(),
        &super::rig::http1::request("GET", "/large", &[("x-large", &large)], b""),
    );
    assert_eq!(client.read().status, 431);
    assert!(RIG.seen("v1", "/many").is_empty() && RIG.seen("v2", "/many").is_empty());
    // What is just large goes through.
    let reply = RIG.get("echo", "/just", &[("x-large", &"x".repeat(30 << 10))]);
    assert_eq!((reply.status, reply.saw("x-large").map(|text| text.len())), (200, Some(30 << 10)));
}

#[test]
fn old_versions_are_told_to_upgrade() {
    let mut client = RIG.client("echo", 80);
    client.send("GET /old HTTP/1.0\r\nhost: a\r\n\r\n");
    let reply = client.read();
    assert_eq!((reply.status, reply.header("connection")), (426, Some("close")));
    assert_eq!(client.rest(), b"");
    assert!(RIG.seen("v1", "/old").is_empty() && RIG.seen("v2", "/old").is_empty());
}

#[test]
fn what_is_no_http_is_told_so() {
    for octets in
        ["hello\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/3.0\r\n\r\n", "\x16\x03\x01\0\x05hello"]
    {
        let mut client = RIG.client("echo", 80);
        client.send(octets);
        client.end();
        let rest = client.rest();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{octets:?}: {rest:?}");
    }
}

/// The time is for heads: who has begun none may wait.
#[test]
fn a_connection_that_waits_is_kept() {
    let settings = Settings { head_timeout: Duration::from_millis(100), ..Settings::default() };
    let rig = Rig::with(&echo(), SERVICES, settings);
    let mut client = rig.client("echo", 80);
    assert_eq!(client.ask("GET", "/first", &[], b"").status, 200);
    let mut octet = [0];
    client.0.get_ref().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let waited = std::io::Read::read(client.0.get_mut(), &mut octet).unwrap_err();
    assert_eq!(waited.kind(), std::io::ErrorKind::WouldBlock);
    client.0.get_ref().set_read_timeout(Some(super::rig::PATIENCE)).unwrap();
    assert_eq!(client.ask("GET", "/second", &[], b"").status, 200);
}

#[test]
fn who_sends_a_head_too_slowly_is_cut_off_and_holds_nobody_up() {
    let settings = Settings {
        head_timeout: Duration::from_millis(1500),
        sniff_timeout: Duration::from_millis(300),
        ..Settings::default()
    };
    let rig = Rig::with(&echo(), SERVICES, settings);
    let mut slow = Client::new(rig.entry("echo", 80));
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n");
    let mut other = rig.client("echo", 80);
    let mut sent = 0_u32;
    // Octet by octet, for as long as it is let.
    slow.0.get_ref().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let deadline = std::time::Instant::now() + super::rig::PATIENCE;
    let ended = loop {
        assert!(std::time::Instant::now() < deadline, "the slow client is not cut off");
        assert_eq!(other.ask("GET", "/quick", &[], b"").status, 200);
        if std::io::Write::write_all(slow.0.get_mut(), b"x").is_err() {
            break true;
        }
        sent += 1;
        let mut octet = [0];
        match std::io::Read::read(slow.0.get_mut(), &mut octet) {
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            _ => break true,
        }
    };
    assert!(ended && sent < 5000);
    assert!(rig.seen("v1", "/slow").is_empty() && rig.seen("v2", "/slow").is_empty());
}
