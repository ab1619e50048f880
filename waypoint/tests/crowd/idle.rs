//! Ten thousand connections that have asked once and want nothing now. Their sockets are in a process of their own: both ends of
//! each would be more descriptors than many machines give to one.
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::rig::{PATIENCE, Rig, echo, route, soon};
use super::{alone, resident};

const CLIENTS: usize = 10_000;
/// Each so many-th speaks HTTP/2.
const HTTP2: usize = 10;
/// Connections that are opened at a time.
const AT_A_TIME: usize = 50;
/// Where the process with the clients is told to go.
const ENTRY: &str = "ADIT_CROWD_ENTRY";
/// What it says when all have been answered.
const OPEN: &str = "the crowd is there";
/// For a connection at both of its proxies, of which one is the waypoint, in a build without optimisation.
const MOST: usize = 64 << 10;

/// Allows this process as many descriptors as it may have.
fn descriptors() {
    let most = getrlimit(Resource::Nofile).maximum;
    let wanted = CLIENTS as u64 + 2500;
    assert!(
        most.is_none_or(|most| most >= wanted),
        "{wanted} descriptors are needed: raise `ulimit -Hn` from {most:?}"
    );
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A client that has no buffers.
struct Idle {
    stream: TcpStream,
    http2: bool,
}

impl Idle {
    fn open(entry: SocketAddr, http2: bool) -> Self {
        let stream = TcpStream::connect_timeout(&entry, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, http2 }
    }

    /// Asks for the redirect.
    fn ask(&mut self, turn: u32) {
        if !self.http2 {
            return self.stream.write_all(b"GET /away HTTP/1.1\r\nhost: echo\r\n\r\n").unwrap();
        }
        if turn == 0 {
            // The preface and SETTINGS that say nothing.
            self.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        }
        // `:method: GET`, `:scheme: http`, `:path: /away`, `:authority: echo` (RFC 7541, appendix A and §6.2.2).
        let block = b"\x82\x86\x04\x05/away\x01\x04echo";
        let head = [0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1 + 2 * turn as u8];
        self.stream.write_all(&[&head[..], block].concat()).unwrap();
    }

    /// Reads the answer, which has no body.
    fn answered(&mut self) {
        if !self.http2 {
            let mut answer = Vec::new();
            let mut octets = [0; 1024];
            while !answer.ends_with(b"\r\n\r\n") {
                let n = self.stream.read(&mut octets).unwrap();
                assert!(n > 0, "a connection has ended");
                answer.extend_from_slice(&octets[..n]);
            }
            return assert!(answer.starts_with(b"HTTP/1.1 302 "), "{}", answer.escape_ascii());
        }
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).unwrap();
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            self.stream.read_exact(&mut payload).unwrap();
            match (head[3], head[4]) {
                // HEADERS, with END_STREAM.
                (1, flags) if flags & 1 == 1 => return,
                // SETTINGS are acknowledged.
                (4, 0) => self.stream.write_all(b"\0\0\0\x04\x01\0\0\0\0").unwrap(),
                (4 | 8, _) => {}
                other => panic!("no answer, but a frame {other:?}"),
            }
        }
    }
}

#[test]
#[ignore = "the clients of ten_thousand_idle_connections_cost_little_and_give_it_back, which starts it"]
fn clients() {
    let Ok(entry) = std::env::var(ENTRY) else { return };
    let entry = entry.parse().unwrap();
    descriptors();
    let mut crowd = Vec::with_capacity(CLIENTS);
    while crowd.len() < CLIENTS {
        let mut more: Vec<_> = (crowd.len()..crowd.len() + AT_A_TIME)
            .map(|number| Idle::open(entry, number.is_multiple_of(HTTP2)))
            .collect();
        more.iter_mut().for_each(|client| client.ask(0));
        more.iter_mut().for_each(Idle::answered);
        crowd.extend(more);
    }
    println!("\n{OPEN}");
    // Until the others have looked around.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    for client in crowd.iter_mut().step_by(101) {
        client.ask(1);
        client.answered();
    }
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_give_it_back() {
    let _alone = alone();
    descriptors();
    let rules = "  rules:\n  - matches: [{ path: { value: /away } }]\n    filters: [{ type: RequestRedirect, requestRedirect: { hostname: away.example } }]\n  \
                 - backendRefs: [{ name: echo, port: 80 }]";
    let rig = Rig::new(&echo(), &route("HTTPRoute", "r", "echo", rules));
    assert_eq!(rig.get("echo", "/first", &[]).status, 200);
    soon(|| rig.world.connections() == 0);
    let (descriptors, memory) = (open_descriptors(), resident());
    let entry = rig.entry("echo", 80).to_string();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "idle::clients", "--ignored", "--nocapture"])
        .env(ENTRY, entry)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap() == OPEN), "the clients have failed: see above");
    assert_eq!(rig.world.connections(), CLIENTS);
    let each = resident().saturating_sub(memory) / CLIENTS;
    println!("{CLIENTS} idle connections: {} KiB for each, at both proxies", each >> 10);
    assert!(each < MOST, "{each} octets for each connection");
    // Others are served: on new connections, and on one that stays.
    let mut kept = rig.client("echo", 80);
    for _ in 0..20 {
        assert_eq!(rig.get("echo", "/new", &[]).status, 200);
        assert_eq!(kept.ask("GET", "/kept", &[], b"").status, 200);
    }
    drop(kept);
    // Those who waited are served as well, then all leave.
    drop(child.stdin.take());
    said.for_each(drop);
    assert!(child.wait().unwrap().success(), "the clients have failed: see above");
    soon(|| rig.world.connections() == 0);
    // Tunnels stay for a while, a hundred connections in each, with an end in both proxies.
    soon(|| open_descriptors() <= descriptors + 2 * CLIENTS / 100 + 20);
    assert_eq!(rig.get("echo", "/last", &[]).status, 200);
}
