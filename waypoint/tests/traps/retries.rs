//! Attempts, and how long they may take.
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::rig::servers::server;
use super::rig::{Rig, echo, route};

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let rules = r"  rules:
  - matches: [{ path: { type: PathPrefix, value: /retried } }]
    retry: { attempts: 2, codes: [503], backoff: 1ms }
    backendRefs: [{ name: echo, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /short } }]
    timeouts: { request: 300ms }
    backendRefs: [{ name: echo, port: 80 }]";
    Rig::new(&echo(), &route("HTTPRoute", "r", "echo", rules))
});

/// The first attempt is never answered, the second at once.
#[test]
fn an_attempt_that_takes_too_long_is_followed_by_another() {
    let asked = AtomicUsize::new(0);
    let (released, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let hesitant = server(30, move |mut stream| {
        let mut head = [0; 4096];
        let _ = std::io::Read::read(&mut stream, &mut head);
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            // Until the test is over.
            let _ = held.lock().unwrap().recv();
        }
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond");
    });
    let mut plan = echo();
    plan.servers = vec![("hesitant", hesitant, vec!["hesitant"])];
    let rules = "  rules:\n  - timeouts: { request: 60s, backendRequest: 500ms }\n    retry: { attempts: 3, codes: [503], backoff: 1ms }\n    \
                 backendRefs: [{ name: hesitant, port: 80 }]";
    let rig = Rig::new(&plan, &route("HTTPRoute", "h", "hesitant", rules));
    let reply = rig.get("hesitant", "/hesitant", &[]);
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"second"[..]));
    drop(released);
}

fn attempts(target: &str) -> Vec<(&'static str, String)> {
    let of = |app: &'static str| {
        let seen = RIG.seen(app, target).into_iter();
        seen.map(move |seen| (app, seen.headers["x-envoy-attempt-count"].clone()))
    };
    of("v1").chain(of("v2")).collect()
}

#[test]
fn another_endpoint_is_asked() {
    for turn in 0..10 {
        let target = format!("/retried/{turn}");
        let reply = RIG.client("echo", 80).ask("POST", &target, &[("x-app-fail-first", "1")], b"small");
        assert_eq!((reply.status, reply.told()["body"].as_str()), (200, Some("small")));
        let mut attempts = attempts(&target);
        attempts.sort_by(|a, b| a.1.cmp(&b.1));
        assert_eq!(attempts.len(), 2, "{attempts:?}");
        assert!(
            attempts[0].1 == "1" && attempts[1].1 == "2" && attempts[0].0 != attempts[1].0,
            "{attempts:?}"
        );
    }
}

#[test]
fn attempts_come_to_an_end() {
    let reply = RIG.get("echo", "/retried/always", &[("x-app-status", "503")]);
    assert_eq!((reply.status, attempts("/retried/always").len()), (503, 3));
    assert!(RIG.lines("/retried/always", 1)[0].contains(" URX "));
}

#[test]
fn a_body_that_is_not_kept_is_not_sent_again() {
    let large = vec![b'x'; (1 << 20) + 1];
    let reply = RIG.client("echo", 80).ask("POST", "/retried/large", &[("x-app-fail-first", "1")], &large);
    assert_eq!((reply.status, attempts("/retried/large").len()), (503, 1));
    // At the bound it is kept.
    let reply =
        RIG.client("echo", 80).ask("POST", "/retried/most", &[("x-app-fail-first", "1")], &large[1..]);
    assert_eq!((reply.status, attempts("/retried/most").len()), (200, 2));
}

#[test]
fn a_request_has_an_end() {
    let reply = RIG.get("echo", "/short", &[("x-app-delay-ms", "120000")]);
    assert_eq!((reply.status, reply.body.as_slice()), (504, &b"upstream request timeout"[..]));
    assert_eq!(RIG.lines("/short", 1), ["GET /short 504 UT response_timeout demo.r.1"]);
}
