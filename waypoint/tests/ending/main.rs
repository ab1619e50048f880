//! Changes under load: other manifests, and the waypoint's end. No request fails of it.
#[path = "../rig/mod.rs"]
mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rig::{Client, Rig, echo, route, soon};

/// How a client goes on.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// A connection for each request.
    New,
    /// As long as the connection is kept.
    Kept,
}

/// What clients have in common.
#[derive(Default)]
struct Crowd {
    done: AtomicUsize,
    stop: AtomicBool,
    draining: AtomicBool,
}

impl Crowd {
    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }
}

/// Asks until it is stopped; gives what went wrong. Once the waypoint ends, new connections may be refused; those that are there
/// answer, and say when an answer is their last.
fn hammer(crowd: Arc<Crowd>, entry: std::net::SocketAddr, way: Way) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut wrong = Vec::new();
        let mut client: Option<Client> = None;
        while !crowd.stop.load(Ordering::SeqCst) {
            let kept = client.take();
            let new = kept.is_none();
            let begun = crowd.draining.load(Ordering::SeqCst);
            let mut asking = match kept.map_or_else(|| Client::open(entry), Ok) {
                Ok(client) => client,
                Err(_) if begun => break,
                Err(error) => {
                    wrong.push(format!("no connection: {error}"));
                    break;
                }
            };
            match asking.try_ask("POST", "/load", &[], b"body") {
                Ok(reply) if reply.status == 200 && reply.told()["body"] == "body" => {
                    crowd.done.fetch_add(1, Ordering::SeqCst);
                    let last = reply.header("connection") == Some("close");
                    client = (way == Way::Kept && !last).then_some(asking);
                }
                // A new connection that nobody has taken any more.
                Err(why) if new && crowd.draining.load(Ordering::SeqCst) && nothing(&why) => break,
                other => {
                    wrong.push(format!("{other:?}"));
                    break;
                }
            }
        }
        wrong
    })
}

fn nothing(why: &str) -> bool {
    why == "the line \"\" does not end" || why.contains("reset") || why.contains("Broken pipe")
}

fn crowd(rig: &Rig) -> (Arc<Crowd>, Vec<JoinHandle<Vec<String>>>) {
    let crowd = Arc::new(Crowd::default());
    let ways = [Way::New, Way::Kept, Way::Kept, Way::New];
    let clients = ways.map(|way| hammer(Arc::clone(&crowd), rig.entry("echo", 80), way));
    (crowd, clients.into())
}

fn ended(clients: Vec<JoinHandle<Vec<String>>>) {
    for client in clients {
        assert_eq!(client.join().unwrap(), [""; 0]);
    }
}

#[test]
fn other_manifests_under_load_cost_no_request() {
    let mut plan = echo();
    plan.threads = 2;
    let mut rig = Rig::new(&plan, "");
    let (crowd, clients) = crowd(&rig);
    let to = |app: &str| {
        route(
            "HTTPRoute",
            "load",
            "echo",
            &format!("  rules: [{{ backendRefs: [{{ name: echo-{app}, port: 80 }}] }}]"),
        )
    };
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: p, namespace: demo }\n\
                  spec: { action: DENY, rules: [{ to: [{ operation: { paths: [/none] } }] }] }\n";
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: d, namespace: demo }\n\
                spec: { host: echo.demo.svc.cluster.local, trafficPolicy: { loadBalancer: { simple: ROUND_ROBIN } } }\n";
    for turn in 0..50 {
        let manifests = match turn % 4 {
            0 => to("v1"),
            1 => policy.to_owned(),
            2 => to("v2"),
            _ => rule.to_owned(),
        };
        rig.world.apply(&manifests).unwrap();
        let before = crowd.done();
        soon(|| crowd.done() > before + 4 || clients.iter().any(JoinHandle::is_finished));
    }
    crowd.stop.store(true, Ordering::SeqCst);
    ended(clients);
}

#[test]
fn an_ending_waypoint_breaks_no_answer() {
    let mut plan = echo();
    plan.threads = 2;
    let rig = Rig::new(&plan, "");
    let entry = rig.entry("echo", 80);
    let (crowd, clients) = crowd(&rig);
    soon(|| crowd.done() > 100);
    // One that takes its time is answered as well.
    let slow = std::thread::spawn(move || {
        Client::new(entry).try_ask("GET", "/slow", &[("x-app-delay-ms", "500")], b"")
    });
    soon(|| ["v1", "v2"].iter().any(|app| !rig.seen(app, "/slow").is_empty()));
    crowd.draining.store(true, Ordering::SeqCst);
    let _apps = rig.world.drain_waypoint().unwrap();
    assert_eq!(slow.join().unwrap().unwrap().status, 200);
    ended(clients);
}

/// Reads frames until the other side ends; gives the kinds of those that mean something, in order. SETTINGS and PING are answered.
fn frames(stream: &mut std::net::TcpStream) -> Vec<(u8, u8)> {
    use std::io::{Read as _, Write as _};
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        if stream.read_exact(&mut payload).is_err() {
            break;
        }
        match (head[3], head[4]) {
            // The same back, with ACK.
            (4, 0) => stream.write_all(b"\0\0\0\x04\x01\0\0\0\0").unwrap(),
            (6, 0) => stream.write_all(&[&b"\0\0\x08\x06\x01\0\0\0\0"[..], &payload].concat()).unwrap(),
            kind => kinds.push(kind),
        }
    }
    kinds
}

/// Whoever speaks HTTP/2 is told at once, is answered, and then the connection ends in good order.
#[test]
fn an_ending_waypoint_says_goaway_and_answers() {
    use std::io::Write as _;
    let rig = Rig::new(&echo(), "");
    let mut stream = Client::new(rig.entry("echo-v1", 80)).0.into_inner();
    // GET http://echo/slow, of which the application is to take its time (RFC 7541, appendix A and §6.2.2).
    let block = b"\x82\x86\x04\x05/slow\x01\x04echo\0\x0ex-app-delay-ms\x03700";
    let head = [0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    stream
        .write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &head[..], block].concat())
        .unwrap();
    soon(|| !rig.seen("v1", "/slow").is_empty());
    let reading = std::thread::spawn(move || frames(&mut stream));
    let _apps = rig.world.drain_waypoint().unwrap();
    let kinds = reading.join().unwrap();
    let at = |kind: u8| kinds.iter().position(|(found, _)| *found == kind);
    let (goaway, answer) = (at(7), at(1));
    assert!(goaway.is_some() && answer.is_some() && goaway < answer, "{kinds:?}");
    assert!(kinds.contains(&(0, 1)), "the answer has no end: {kinds:?}");
}
