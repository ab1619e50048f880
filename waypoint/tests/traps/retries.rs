//! Attempts, and how long they may take.
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::rig::servers::server;
use super::rig::{Rig, echo, route, soon};

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let rules = r"  rules:
  - matches: [{ path: { type: PathPrefix, value: /retried } }]
    retry: { attempts: 2, codes: [503], backoff: 1ms }
    backendRefs: [{ name: echo, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /short } }]
    timeouts: { request: 300ms }
    backendRefs: [{ name: echo, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /upload } }]
    timeouts: { request: 2s }
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

#[test]
fn a_slow_upload_is_not_the_backends_fault() {
    let mut client = RIG.client("echo", 80);
    client.send("POST /upload HTTP/1.1\r\nhost: echo\r\ncontent-length: 6\r\n\r\nsl");
    std::thread::sleep(Duration::from_millis(2500));
    client.send("owly");
    let reply = client.read();
    assert_eq!((reply.status, reply.told()["body"].as_str()), (200, Some("slowly")));
}

/// Its time is over when it has begun.
#[test]
fn an_answer_that_takes_too_long_is_broken_off() {
    let endless = server(32, |mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst");
        // Until nobody waits for the rest.
        let _ = std::io::Read::read(&mut stream, &mut [0; 1]);
    });
    let mut plan = echo();
    plan.servers = vec![("endless", endless, vec!["endless"])];
    let rules = "  rules:\n  - timeouts: { request: 2s }\n    backendRefs: [{ name: endless, port: 80 }]";
    let rig = Rig::new(&plan, &route("HTTPRoute", "e", "endless", rules));
    let mut client = rig.client("endless", 80);
    client.send("GET /endless HTTP/1.1\r\nhost: endless\r\n\r\n");
    let rest = client.rest();
    assert!(rest.starts_with(b"HTTP/1.1 200") && rest.ends_with(b"\r\nfirst"), "{rest:?}");
    assert_eq!(rig.lines("/endless", 1), ["GET /endless 200 UT response_timeout demo.e.0"]);
}

/// Three retries at a time may be: those of clients that have gone are none.
#[test]
fn a_client_that_leaves_gives_its_share_of_the_budget_back() {
    static HELD: AtomicUsize = AtomicUsize::new(0);
    let failing = server(31, |mut stream| {
        let mut head = [0; 4096];
        let read = std::io::Read::read(&mut stream, &mut head).unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..read]).to_ascii_lowercase();
        let answer = match (head.contains("x-envoy-attempt-count: 1\r"), head.starts_with("get /held")) {
            (true, _) => "HTTP/1.1 503 Not Now\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            (false, false) => "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\nsecond",
            (false, true) => {
                HELD.fetch_add(1, Ordering::SeqCst);
                // Until nobody waits for it any more.
                let _ = std::io::Read::read(&mut stream, &mut [0; 1]);
                return;
            }
        };
        let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
    });
    let mut plan = echo();
    plan.servers = vec![("failing", failing, vec!["failing"])];
    let rules = "  rules:\n  - retry: { attempts: 1, codes: [503], backoff: 1ms }\n    \
                 backendRefs: [{ name: failing, port: 80 }]";
    let budget = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: b, namespace: demo }\nspec:\n  \
                  host: failing\n  trafficPolicy: { retryBudget: { percent: 1, minRetryConcurrency: 3 } }\n";
    let rig = Rig::new(&plan, &(route("HTTPRoute", "f", "failing", rules) + budget));
    for turn in 1..=3 {
        let mut leaves = rig.client("failing", 80);
        leaves.send("GET /held HTTP/1.1\r\nhost: failing\r\n\r\n");
        soon(|| HELD.load(Ordering::SeqCst) == turn);
        drop(leaves);
        let lines = rig.lines("/held", turn);
        assert_eq!(lines[turn - 1], "GET /held 0 DC downstream_remote_disconnect demo.f.0");
    }
    let reply = rig.get("failing", "/stays", &[]);
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"second"[..]));
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_is_left_out() {
    let outliers = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: o, namespace: demo }\nspec:\n  \
                    host: echo\n  trafficPolicy: { outlierDetection: { consecutive5xxErrors: 1, baseEjectionTime: 1h, maxEjectionPercent: 100 } }\n";
    // Of an attempt, and of the whole.
    for timeouts in ["{ request: 60s, backendRequest: 2s }", "{ request: 2s }"] {
        let rules = format!(
            "  rules:\n  - matches: [{{ path: {{ value: /slow }} }}]\n    timeouts: {timeouts}\n    backendRefs: [{{ name: echo, port: 80 }}]\n  \
             - backendRefs: [{{ name: echo, port: 80 }}]"
        );
        let rig = Rig::new(&echo(), &(route("HTTPRoute", "o", "echo", &rules) + outliers));
        assert_eq!(rig.get("echo", "/slow", &[("x-app-delay-ms", "120000")]).status, 504);
        let other = if rig.seen("v1", "/slow").is_empty() { "v1" } else { "v2" };
        for turn in 0..20 {
            assert_eq!(rig.get("echo", &format!("/{turn}"), &[]).app(), other, "{timeouts}");
        }
    }
}
