//! The bounds that one client has for itself, at their limit and beyond; another client never notices.
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adit_waypoint::settings::Settings;

use super::alone;
use super::rig::servers::server;
use super::rig::{Client, Rig, echo, route, soon};

/// A mesh, and how many requests its server that never answers has heard.
fn rig(settings: Settings) -> (Rig, Arc<AtomicUsize>) {
    let heard = Arc::<AtomicUsize>::default();
    let silent = {
        let heard = Arc::clone(&heard);
        server(42, move |mut stream| {
            let mut first = true;
            while let Ok(1..) = stream.read(&mut [0; 4096]) {
                heard.fetch_add(usize::from(std::mem::take(&mut first)), Ordering::SeqCst);
            }
        })
    };
    let mut plan = echo();
    plan.clients.push("greedy");
    plan.servers = vec![("silent", silent, vec!["silent"])];
    let rules = "  rules:\n  - retry: { attempts: 2, codes: [503], backoff: 1ms }\n    backendRefs: [{ name: echo, port: 80 }]";
    (Rig::with(&plan, &route("HTTPRoute", "r", "echo", rules), settings), heard)
}

fn greedy(rig: &Rig, service: &str) -> Client {
    Client::new(rig.world.entry("greedy", service, 80).unwrap())
}

#[test]
fn one_connection_too_many_of_a_client_is_reset() {
    let _alone = alone();
    let (rig, _) = rig(Settings { max_client_connections: 3, ..Settings::default() });
    let mut open: Vec<_> = (0..3).map(|_| greedy(&rig, "echo")).collect();
    for client in &mut open {
        assert_eq!(client.ask("GET", "/", &[], b"").status, 200);
    }
    for _ in 0..5 {
        assert!(greedy(&rig, "echo").try_ask("GET", "/more", &[], b"").is_err());
    }
    assert!(rig.seen("v1", "/more").is_empty() && rig.seen("v2", "/more").is_empty());
    assert_eq!(rig.get("echo", "/other", &[]).status, 200);
    for client in &mut open {
        assert_eq!(client.ask("GET", "/", &[], b"").status, 200);
    }
    // One that ends makes room.
    open.pop();
    soon(|| greedy(&rig, "echo").try_ask("GET", "/again", &[], b"").is_ok_and(|reply| reply.status == 200));
}

#[test]
fn one_request_too_many_of_a_client_is_answered_503() {
    let _alone = alone();
    let (rig, heard) = rig(Settings { max_client_requests: 3, ..Settings::default() });
    let mut waiting: Vec<_> = (0..3).map(|_| greedy(&rig, "silent")).collect();
    for client in &mut waiting {
        client.send("GET /waits HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    // Only then all three have their places.
    soon(|| heard.load(Ordering::SeqCst) == 3);
    let mut more = greedy(&rig, "echo");
    let reply = more.ask("GET", "/told", &[], b"");
    assert_eq!((reply.status, reply.header("x-envoy-overloaded")), (503, Some("true")));
    assert_eq!(rig.lines("/told", 1), ["GET /told 503 OM overload "]);
    assert_eq!(rig.get("echo", "/other", &[]).status, 200);
    // One that is given up makes room.
    waiting.pop();
    soon(|| more.ask("GET", "/again", &[], b"").status == 200);
}

#[test]
fn what_is_kept_for_other_attempts_is_bounded_for_a_client_and_the_rest_has_one() {
    let _alone = alone();
    let (rig, _) = rig(Settings { max_client_kept: 300 << 10, ..Settings::default() });
    let body = vec![b'x'; 200 << 10];
    let fails_first =
        |mut client: Client, path: &str| client.ask("POST", path, &[("x-app-fail-first", "1")], &body).status;
    assert_eq!(fails_first(greedy(&rig, "echo"), "/first"), 200);
    // One that waits with its body, kept unless the share is still full of what was before.
    let mut waiting = Vec::new();
    soon(|| {
        let mut waits = greedy(&rig, "silent");
        waits.send(format!("POST /waits HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len() + 1));
        waits.send(&body);
        waiting.push(waits);
        fails_first(greedy(&rig, "echo"), "/beside") == 503
    });
    assert_eq!(fails_first(rig.client("echo", 80), "/other"), 200);
    drop(waiting);
    soon(|| fails_first(greedy(&rig, "echo"), "/after") == 200);
}
