//! What never becomes a request, or has no end, is told of all the same.
use std::io::Read as _;
use std::sync::LazyLock;
use std::time::Duration;

use adit_waypoint::settings::Settings;

use super::rig::servers::server;
use super::rig::{PATIENCE, Rig, echo, h2c, soon};

/// A port that is said to speak HTTP.
const HTTP: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: echo, namespace: demo }\nspec: { ports: [{ name: http, port: 80 }] }\n";

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::new(&echo(), ""));

/// Sends `octets` to a waypoint of its own, and gives what comes back and the one line that is written.
fn told(octets: &[u8], settings: Settings) -> (String, String) {
    let rig = Rig::with(&echo(), HTTP, settings);
    let mut client = rig.client("echo", 80);
    client.send(octets);
    let answer = client.rest();
    soon(|| !rig.records.lines().is_empty());
    let lines = rig.records.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    (String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned(), lines[0].clone())
}

#[test]
fn heads_that_are_none_are_told_of() {
    let many: String = (0..150).map(|number| format!("x-{number}: y\r\n")).collect();
    for (octets, answer, line) in [
        ("hello\r\n\r\n".to_owned(), "HTTP/1.1 400 Bad Request", "  400 DPE http1.codec_error "),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
                .to_owned(),
            "HTTP/1.1 400 Bad Request",
            "  400 DPE http1.codec_error ",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
            "HTTP/1.1 431 Request Header Fields Too Large",
            "  431 DPE request_headers_too_large ",
        ),
    ] {
        let found = told(octets.as_bytes(), Settings::default());
        assert_eq!(found, (answer.to_owned(), line.to_owned()));
    }
}

#[test]
fn a_head_that_takes_too_long_is_answered_and_told_of() {
    let settings = Settings { head_timeout: Duration::from_millis(300), ..Settings::default() };
    let (answer, line) = told(b"GET /slow HTTP/1.1\r\nhost: a\r\n", settings);
    assert_eq!(answer, "HTTP/1.1 408 Request Timeout");
    assert_eq!(line, "  408 - request_overall_timeout ");
}

#[test]
fn who_ends_within_a_head_is_told_of_and_who_says_nothing_is_not() {
    let rig = Rig::new(&echo(), HTTP);
    let silent = rig.client("echo", 80);
    silent.end();
    let mut asked = rig.client("echo", 80);
    assert_eq!(asked.ask("GET", "/asked", &[], b"").status, 200);
    asked.end();
    assert_eq!(asked.rest(), b"");
    let mut client = rig.client("echo", 80);
    client.send("GET /short HTTP/1.1\r\nhos");
    client.end();
    assert_eq!(client.rest(), b"");
    soon(|| rig.records.lines().len() == 2);
    assert_eq!(rig.records.lines()[1], "  0 DC downstream_remote_disconnect ");
}

#[test]
fn http2_that_is_none_is_told_of() {
    // SETTINGS, then a frame of data on stream 0 (RFC 9113 §6.1).
    let octets =
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], b"\0\0\x01\0\0\0\0\0\0x"].concat();
    assert_eq!(told(&octets, Settings::default()).1, "  0 DPE http2.protocol_error ");
}

#[test]
fn heads_of_http2_have_the_same_bounds() {
    let large = "x".repeat(70 << 10);
    let many: Vec<_> = (0..150).map(|number| (format!("x-{number}"), "y")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    for (path, headers) in [("/large", &[("x-large", large.as_str())][..]), ("/many", &many)] {
        let replies = h2c::ask(RIG.entry("echo", 80), vec![h2c::request("GET", path, headers)], b"", None);
        assert_eq!(replies[0].status, 431);
        assert_eq!(RIG.lines(path, 1), [format!("GET {path} 431 DPE request_headers_too_large ")]);
    }
}

#[test]
fn bodies_that_break_off_are_their_clients_fault() {
    let head = |path: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut client = RIG.client("echo-v1", 80);
    client.send(head("/malformed"));
    client.send("zz\r\n");
    client.rest();
    assert!(RIG.lines("/malformed", 1)[0].starts_with("POST /malformed 400 DPE http1.codec_error"));
    let mut client = RIG.client("echo-v1", 80);
    client.send(head("/unfinished"));
    client.send("5\r\nhel");
    client.end();
    client.rest();
    let line = RIG.lines("/unfinished", 1);
    assert!(line[0].starts_with("POST /unfinished 400 DC downstream_remote_disconnect"), "{line:?}");
}

#[test]
fn who_goes_before_the_answer_is_told_of() {
    let (seen, asked) = std::sync::mpsc::channel();
    let (released, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let silent = server(40, move |mut stream| {
        let mut head = [0; 4096];
        if matches!(stream.read(&mut head), Ok(1..)) {
            let _ = seen.send(());
            // Until the test is over.
            let _ = held.lock().unwrap().recv();
        }
    });
    let mut plan = echo();
    plan.servers = vec![("silent", silent, vec!["silent"])];
    let rig = Rig::new(&plan, "");
    let entry = rig.entry("silent", 80);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let going = async {
        let stream = tokio::net::TcpStream::connect(entry).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let response = sender.send_request(h2c::request("GET", "/gone", &[]), true).unwrap().0;
        tokio::task::spawn_blocking(move || asked.recv_timeout(PATIENCE).unwrap()).await.unwrap();
        // Nobody wants the answer: the stream is reset.
        drop((response, sender));
        connection.await.unwrap().unwrap();
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, going).await.unwrap() });
    assert_eq!(rig.lines("/gone", 1), ["GET /gone 0 DC downstream_remote_disconnect default"]);
    drop(released);
}
