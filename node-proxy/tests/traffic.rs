//! Two `adit-node` processes with real traffic between them, on both runtimes.
mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use common::{Mesh, PATIENCE, RUNTIMES, ask, echo, pattern};
use rustix::process::Signal;

const READY: &str = "GET /healthz/ready HTTP/1.1\r\nhost: x\r\n\r\n";

/// Sends and receives `length` octets on `stream`, with a half-close after the last.
fn exchange(mut stream: TcpStream, length: usize, seed: u64) {
    let sent = pattern(length, seed);
    let mut writer = stream.try_clone().unwrap();
    let octets = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&octets).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert_eq!(received.len(), sent.len());
    assert!(received == sent, "octets differ");
}

#[test]
fn octets_go_both_ways_and_both_ends_log_the_connection() {
    for runtime in RUNTIMES {
        let mut mesh = Mesh::start("octets", runtime, &[], echo);
        assert!(ask(mesh.client_readiness(), READY).unwrap().ends_with("\r\n\r\nready\n"));
        let connections: Vec<_> = (0..8).map(|_| mesh.connect(80).unwrap()).collect();
        let exchanges: Vec<_> = connections
            .into_iter()
            .zip(1..)
            .map(|(stream, seed)| std::thread::spawn(move || exchange(stream, 300_000, seed)))
            .collect();
        exchanges.into_iter().for_each(|exchange| exchange.join().unwrap());
        let (client, server) =
            ("spiffe://cluster.local/ns/test/sa/client", "spiffe://cluster.local/ns/test/sa/server");
        let identities = [&format!("src.identity=\"{client}\"")[..], &format!("dst.identity=\"{server}\"")];
        let totals = ["bytes_sent=300000", "bytes_recv=300000", "\tinfo\taccess\tconnection complete\t"];
        let outbound =
            mesh.client.line(&[&["out: ", "direction=\"outbound\""][..], &identities, &totals].concat());
        assert!(outbound.contains("dst.service=\"server.test\""), "{outbound}");
        let inbound =
            mesh.server.line(&[&["out: ", "direction=\"inbound\""][..], &identities, &totals].concat());
        assert!(inbound.contains(&format!("dst.addr={}", mesh.server_hbone())), "{inbound}");
    }
}

#[test]
fn records_may_be_left_to_rustls_on_both_ends() {
    let mut mesh = Mesh::start("rustls", "tokio", &[("ADIT_RECORDS", "rustls")], echo);
    exchange(mesh.connect(80).unwrap(), 300_000, 1);
    mesh.client.line(&[
        "direction=\"outbound\"",
        "bytes_sent=300000",
        "bytes_recv=300000",
        "connection complete",
    ]);
}

#[test]
fn the_access_log_can_be_json() {
    let mut mesh = Mesh::start("json", "tokio", &[("LOG_FORMAT", "json")], echo);
    exchange(mesh.connect(80).unwrap(), 10, 1);
    let line = mesh.client.line(&["\"scope\":\"access\""]);
    let value: serde_json::Value = serde_json::from_str(line.strip_prefix("out: ").unwrap()).unwrap();
    assert_eq!(
        (value["level"].as_str(), value["message"].as_str()),
        (Some("info"), Some("connection complete"))
    );
    assert_eq!((value["bytes_sent"].as_u64(), value["direction"].as_str()), (Some(10), Some("outbound")));
}

#[test]
fn a_policy_refuses_and_both_ends_say_so() {
    for runtime in RUNTIMES {
        let mut mesh = Mesh::start("policy", runtime, &[], echo);
        let mut stream = mesh.connect(81).unwrap();
        // Refused with an end or a reset; in no case with an octet.
        let _ = stream.write_all(b"anybody there?");
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        assert!(received.is_empty());
        mesh.server.line(&["\terror\taccess\t", "policy rejection: explicitly denied by: test/closed\""]);
        mesh.client.line(&["\terror\taccess\t", "error=\"http status: 401 Unauthorized\""]);
        exchange(mesh.connect(80).unwrap(), 100, 1);
    }
}

#[test]
fn socks5_takes_names_of_the_mesh_and_refuses_what_is_none() {
    let mut mesh = Mesh::start("names", "tokio", &[], echo);
    let target = |name: &[u8]| [&[3, u8::try_from(name.len()).unwrap()][..], name, &[0, 80]].concat();
    let (stream, code) = mesh.socks5(&target(b"server.test")).unwrap();
    assert_eq!(code, 0);
    exchange(stream, 100, 1);
    let (mut stream, code) = mesh.socks5(&target(&[b'x'; 70])).unwrap();
    assert_ne!(code, 0);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed after the refusal");
    mesh.client.line(&["\twarn\taccess\tconnection failed\t", "not a host name"]);
}

#[test]
fn a_drain_lets_open_connections_finish_and_admits_no_new_ones() {
    for runtime in RUNTIMES {
        let more = [("CONNECTION_TERMINATION_DEADLINE", "20s")];
        let mut mesh = Mesh::start("drain", runtime, &more, echo);
        let mut stream = mesh.connect(80).unwrap();
        stream.write_all(b"before").unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        for process in [&mut mesh.client, &mut mesh.server] {
            process.signal(Signal::TERM);
            process.line(&["draining", "SIGTERM"]);
        }
        let deadline = Instant::now() + PATIENCE;
        while mesh.connect(80).is_ok() {
            assert!(Instant::now() < deadline, "the SOCKS5 port still listens");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(mesh.client.is_running() && mesh.server.is_running());
        exchange(stream, 100_000, 3);
        for process in [&mut mesh.client, &mut mesh.server] {
            assert!(process.end().success(), "{}", process.output());
            assert!(process.output().contains("drained; outbound: "), "{}", process.output());
        }
    }
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let more = [("CONNECTION_TERMINATION_DEADLINE", "200ms")];
    let mut mesh = Mesh::start("deadline", "tokio", &more, echo);
    let mut stream = mesh.connect(80).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    mesh.client.signal(Signal::TERM);
    assert!(mesh.client.end().success());
    // Nobody shall take what came so far for all there is.
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let output = mesh.client.output();
    assert!(output.contains("connection closed due to connection drain"), "{output}");
}

#[test]
fn a_second_interrupt_exits_at_once() {
    let mut mesh = Mesh::start("interrupt", "tokio", &[("CONNECTION_TERMINATION_DEADLINE", "1h")], echo);
    let mut stream = mesh.connect(80).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    mesh.client.signal(Signal::INT);
    mesh.client.line(&["draining"]);
    assert!(mesh.client.is_running());
    mesh.client.signal(Signal::INT);
    assert!(mesh.client.end().success());
}

#[test]
fn killing_one_proxy_ends_the_connections_of_the_other_and_leaks_no_descriptor() {
    for runtime in RUNTIMES {
        let mut mesh = Mesh::start("kill", runtime, &[], echo);
        // One call first: what stays open after it (the tunnel) is not a leak.
        exchange(mesh.connect(80).unwrap(), 10, 1);
        let before = mesh.client.descriptors();
        let mut streams: Vec<_> = (0..20).map(|_| mesh.connect(80).unwrap()).collect();
        for stream in &mut streams {
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        mesh.server.signal(Signal::KILL);
        mesh.server.end();
        for stream in &mut streams {
            // The end or a reset; a timeout would be neither.
            let ended = stream.read(&mut [0]);
            let timeout = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!timeout && !matches!(ended, Ok(1..)), "{ended:?}");
        }
        drop(streams);
        let deadline = Instant::now() + PATIENCE;
        while mesh.client.descriptors() > before {
            assert!(Instant::now() < deadline, "{} descriptors, {before} before", mesh.client.descriptors());
            std::thread::sleep(Duration::from_millis(10));
        }
        // The survivor goes on as soon as there is somebody to talk to again.
        mesh.restart_server(runtime);
        exchange(mesh.connect(80).unwrap(), 1000, 2);
    }
}
