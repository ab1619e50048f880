//! One client that floods, and another that asks one thing after the other: the other is served, about as quickly as by itself.
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::floods::{self, Flood};
use super::rig::servers::server;
use super::rig::{Client, PATIENCE, Rig, echo, route};
use super::{alone, resident};

/// Requests of the client that is to be served.
const ASKED: u32 = 60;
/// How many times as long they may take beside a flood, on a machine that is busy with both.
const RATIO: u32 = 50;
/// What may be added to that, of whatever the machine does beside.
const SLACK: Duration = Duration::from_secs(20);
/// How much a flood may make us hold: the windows of its tunnels, pieces under way, and nothing that grows with what it sends.
const HELD: usize = 256 << 20;

fn rig() -> Rig {
    let deaf = server(40, |stream| {
        // Nothing is read of it until the other side has gone.
        let mut octet = [0];
        while stream.peek(&mut octet).is_ok_and(|n| n > 0)
            && stream.take_error().is_ok_and(|error| error.is_none())
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let endless = server(41, |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n");
        while stream.write_all(&[b'x'; 64 << 10]).is_ok() {}
    });
    let mut plan = echo();
    plan.clients.push("flood");
    plan.apps[0].1.extend(["limited", "delayed"]);
    plan.servers = vec![("deaf", deaf, vec!["deaf"]), ("endless", endless, vec!["endless"])];
    let rules = r"  rules:
  - matches: [{ path: { value: /retried } }]
    retry: { attempts: 5, codes: [503], backoff: 1ms }
    backendRefs: [{ name: echo, port: 80 }]
  - backendRefs: [{ name: echo, port: 80 }]";
    let delayed = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: f, namespace: demo }\nspec:\n  \
                   hosts: [delayed.demo.svc.cluster.local]\n  http:\n  - match: [{ uri: { prefix: /delayed } }]\n    \
                   fault: { delay: { fixedDelay: 600s, percentage: { value: 100 } } }\n    route: [{ destination: { host: delayed.demo.svc.cluster.local } }]\n";
    let limited = "---\napiVersion: adit.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: { name: l, namespace: demo }\nspec:\n  \
                   targetRefs: [{ group: \"\", kind: Service, name: limited }]\n  local: [{ requests: 1, per: 1h, by: [principal] }]\n";
    let rig = Rig::new(&plan, &[&route("HTTPRoute", "r", "echo", rules), delayed, limited].concat());
    assert!(rig.world.problems.is_empty(), "{:#?}", rig.world.problems);
    rig
}

/// Asks one thing after the other, on one connection and on new ones; the longest and all of the time.
fn served(rig: &Rig) -> (Duration, Duration) {
    let begun = Instant::now();
    let (mut kept, mut longest) = (rig.client("echo", 80), Duration::ZERO);
    for turn in 0..ASKED {
        let asked = Instant::now();
        let reply = match turn % 2 {
            0 => kept.ask("POST", "/served", &[], b"body"),
            _ => Client::new(rig.entry("echo", 80)).ask("POST", "/served", &[], b"body"),
        };
        assert_eq!((reply.status, reply.told()["body"].as_str()), (200, Some("body")));
        longest = longest.max(asked.elapsed());
    }
    (longest, begun.elapsed())
}

fn beside(rig: &Rig, name: &str, start: impl Fn(&Rig) -> Flood) {
    // Once for what is built on the first request.
    served(rig);
    let (_, alone) = served(rig);
    let memory = resident();
    let flood = start(rig);
    let (longest, all) = served(rig);
    let held = resident().saturating_sub(memory);
    drop(flood);
    println!(
        "{name}: {ASKED} requests in {all:?}, the longest {longest:?}; by themselves {alone:?}; {} MiB more",
        held >> 20
    );
    assert!(longest < PATIENCE / 2, "{name}: a request took {longest:?}");
    assert!(all <= alone * RATIO + SLACK, "{name}: {all:?}, and {alone:?} without the flood");
    assert!(held < HELD, "{name}: {held} octets more");
}

#[test]
fn a_client_that_floods_with_connections_or_streams_starves_nobody() {
    let _alone = alone();
    let rig = rig();
    beside(&rig, "connections", floods::connections);
    beside(&rig, "streams", floods::streams);
    beside(&rig, "resets", floods::resets);
}

#[test]
fn a_client_that_sends_or_asks_for_too_much_starves_nobody() {
    let _alone = alone();
    let rig = rig();
    beside(&rig, "uploads", floods::uploads);
    beside(&rig, "unread answers", floods::unread_answers);
}

#[test]
fn a_client_whose_requests_wait_or_fail_starves_nobody() {
    let _alone = alone();
    let rig = rig();
    beside(&rig, "slow answers", floods::slow_answers);
    beside(&rig, "delayed", floods::delayed);
    beside(&rig, "retries", floods::retries);
    // What a limit lets pass.
    let flood = rig.world.entry("flood", "limited", 80).unwrap();
    assert_eq!(Client::new(flood).ask("GET", "/limited", &[], b"").status, 200);
    beside(&rig, "limited", floods::limited);
    assert_eq!(rig.client("limited", 80).ask("GET", "/limited", &[], b"").status, 200);
}
