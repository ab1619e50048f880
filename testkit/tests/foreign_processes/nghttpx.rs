//! nghttpx as a forward proxy between our client and our server: its HTTP/2 server against our client, its HTTP/2 client
//! against our server, mutual TLS on both.
use std::process::Command;

use adit_core::http2::ErrorCode;
use adit_testkit::wire::{Authority, PATIENCE, Script};

use super::process::*;

fn start(folder: &Folder, authority: &Authority, backend: u16, options: &[&str]) -> (Process, u16) {
    let port = free_port();
    let (front, back) = (authority.files("server", &folder.0), authority.files("client", &folder.0));
    let mut command = Command::new("nghttpx");
    command
        .arg("--conf=/dev/null")
        .arg(format!("--frontend=127.0.0.1,{port}"))
        .arg(format!("--backend=127.0.0.1,{backend};;tls;proto=h2"))
        .arg("--http2-proxy")
        .arg("--verify-client")
        .arg(format!("--verify-client-cacert={}", front.root.display()))
        // Our server's certificate has no DNS name, and nghttpx knows no other.
        .arg("--insecure")
        .arg(format!("--client-cert-file={}", back.cert.display()))
        .arg(format!("--client-private-key-file={}", back.key.display()))
        .arg("--workers=1")
        // One process: the one that is stopped.
        .arg("--single-process")
        .arg("--no-ocsp")
        .args(options)
        .args([&front.key, &front.cert]);
    (Process::start(&mut command, "nghttp2-proxy", &folder.0).listens(port), port)
}

/// Sends `octets` and leaves its half open: nghttpx 1.52 does not pass on the end of half a tunnel.
fn open(octets: &[u8]) -> Script {
    Script { send: octets.to_vec(), ..Script::default() }
}

#[test]
fn bulk_and_many_streams_through_nghttpx() {
    let (folder, authority) = (Folder::new("nghttpx"), Authority::new());
    let (backend, served) = servers(&authority, |_| Ok(Script::echo()));
    let (nghttpx, port) = start(&folder, &authority, backend, &[]);
    let mut wire = client(&authority, port);
    let sent = pattern(2 << 20);
    let bulk = wire.open(&request("10.0.0.1:80"), open(&sent)).expect("a stream");
    wire.run_until("the bulk", |wire| wire.stream(bulk).got.len() == sent.len());
    assert!(wire.stream(bulk).got == sent && wire.stream(bulk).status == Some(200));
    wire.reset(bulk, ErrorCode::CANCEL);
    for _ in 0..5 {
        let streams: Vec<_> =
            (0..50).map(|_| wire.open(&request("10.0.0.1:80"), open(b"small")).expect("a stream")).collect();
        // nghttpx has eight streams open to one place at the most: what has been served makes room for the next.
        for stream in streams {
            wire.run_until("an echo", |wire| wire.stream(stream).got == b"small");
            wire.reset(stream, ErrorCode::CANCEL);
        }
    }
    wire.close(ErrorCode::NO_ERROR);
    drop((wire, nghttpx));
    let mut requests = 0;
    while requests < 251 {
        requests += served.recv_timeout(PATIENCE).expect("more connections").seen().requests.len();
    }
    assert_eq!(requests, 251);
}

#[test]
fn resets_and_refusals_through_nghttpx() {
    let (folder, authority) = (Folder::new("nghttpx-resets"), Authority::new());
    let (backend, served) = servers(&authority, |request| {
        if request.authority.to_string().ends_with(":1") { Err(401) } else { Ok(Script::echo()) }
    });
    let (nghttpx, port) = start(&folder, &authority, backend, &[]);
    let mut wire = client(&authority, port);
    let refused = wire.open(&request("10.0.0.1:1"), Script::default()).expect("a stream");
    wire.run_until("the refusal", |wire| wire.stream(refused).closed);
    assert_eq!(wire.stream(refused).status, Some(401));
    let reset = wire.open(&request("10.0.0.1:80"), open(b"x")).expect("a stream");
    wire.run_until("an echo", |wire| wire.stream(reset).got == b"x");
    wire.reset(reset, ErrorCode::CANCEL);
    let after = wire.open(&request("10.0.0.1:80"), open(b"after")).expect("a stream");
    wire.run_until("the next stream", |wire| wire.stream(after).got == b"after");
    wire.close(ErrorCode::NO_ERROR);
    drop((wire, nghttpx));
    let (mut requests, mut resets) = (0, 0);
    while requests < 3 {
        let wire = served.recv_timeout(PATIENCE).expect("more connections");
        requests += wire.seen().requests.len();
        resets += wire.streams().filter(|stream| stream.reset.is_some()).count();
    }
    assert_eq!(requests, 3);
    assert!(resets >= 1, "nghttpx passes the reset on");
}

#[test]
fn tiny_windows_on_both_sides_of_nghttpx() {
    let (folder, authority) = (Folder::new("nghttpx-tiny"), Authority::new());
    for (window, octets) in [("1", 300), ("100", 20_000)] {
        let (backend, _served) = servers(&authority, |_| Ok(Script::echo()));
        let options = [
            format!("--frontend-http2-window-size={window}"),
            format!("--backend-http2-window-size={window}"),
        ];
        let (_nghttpx, port) = start(&folder, &authority, backend, &options.each_ref().map(String::as_str));
        let mut wire = client(&authority, port);
        for _ in 0..2 {
            wire.open(&request("10.0.0.1:80"), open(&pattern(octets))).expect("a stream");
        }
        wire.run_until("every echo", |wire| wire.streams().all(|stream| stream.got.len() == octets));
        assert!(wire.streams().all(|stream| stream.got == pattern(octets)), "window {window}");
    }
}

#[test]
fn huge_headers_through_nghttpx() {
    let (folder, authority) = (Folder::new("nghttpx-headers"), Authority::new());
    let (backend, served) = servers(&authority, |_| Ok(Script::echo()));
    let (nghttpx, port) = start(&folder, &authority, backend, &[]);
    let mut wire = client(&authority, port);
    for (octets, status) in [(40_000, 200), (10, 200)] {
        let stream = wire.open(&huge_request("10.0.0.1:80", octets), Script::default()).expect("a stream");
        wire.run_until("an answer", |wire| wire.stream(stream).status.is_some());
        assert_eq!(wire.stream(stream).status, Some(status), "{octets}");
    }
    // Above its limit of 64 KiB it ends the connection.
    let stream = wire.open(&huge_request("10.0.0.1:80", 70_000), Script::default()).expect("a stream");
    wire.run_to_end();
    assert!(wire.stream(stream).status.is_none());
    drop((wire, nghttpx));
    let mut sizes = vec![];
    while sizes.len() < 2 {
        let wire = served.recv_timeout(PATIENCE).expect("more connections");
        let asked = wire.seen().requests.iter().flatten();
        sizes.extend(asked.map(|request| request.baggage == huge_request("10.0.0.1:80", 40_000).baggage));
    }
    assert_eq!(sizes, [true, false]);
}
