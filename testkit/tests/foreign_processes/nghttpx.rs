//! nghttpx as a forward proxy between our client and our server: its HTTP/2 server against our client, its HTTP/2 client
//! against our server, mutual TLS on both.
use std::process::Command;

use adit_core::http2::ErrorCode;
use adit_testkit::wire::{Authority, Script};

use super::process::*;

fn start(folder: &Folder, authority: &Authority, backend: u16) -> (Process, u16) {
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
        .arg("--no-ocsp")
        .args([&front.key, &front.cert]);
    (Process::start(&mut command, "nghttp2-proxy", &folder.0).listens(port), port)
}

#[test]
fn bulk_and_many_streams_through_nghttpx() {
    let (folder, authority) = (Folder::new("nghttpx"), Authority::new());
    let (backend, serving) = server(&authority, Box::new(|_| Ok(Script::echo())));
    let (nghttpx, port) = start(&folder, &authority, backend);
    let mut wire = client(&authority, port);
    let sent = pattern(2 << 20);
    let bulk = wire.open(&request("10.0.0.1:80"), Script::send(sent.clone())).expect("a stream");
    wire.run_until("the bulk", |wire| wire.stream(bulk).finished);
    assert!(wire.stream(bulk).got == sent && wire.stream(bulk).status == Some(200));
    for _ in 0..5 {
        // nghttpx opens eight connections to one place at the most; one is all that our server of this test serves.
        let streams: Vec<_> = (0..50)
            .map(|_| wire.open(&request("10.0.0.1:80"), Script::send("small")).expect("a stream"))
            .collect();
        wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.closed));
        assert!(streams.into_iter().all(|stream| wire.stream(stream).got == b"small"));
    }
    wire.close(ErrorCode::NO_ERROR);
    drop((wire, nghttpx));
    let served = serving.join().expect("no panic");
    assert_eq!(served.seen().requests.len(), 251);
}

#[test]
fn resets_and_refusals_through_nghttpx() {
    let (folder, authority) = (Folder::new("nghttpx-resets"), Authority::new());
    let answer = |request: &adit_core::hbone::ConnectRequest| {
        if request.authority.to_string().ends_with(":1") { Err(401) } else { Ok(Script::echo()) }
    };
    let (backend, serving) = server(&authority, Box::new(answer));
    let (nghttpx, port) = start(&folder, &authority, backend);
    let mut wire = client(&authority, port);
    let refused = wire.open(&request("10.0.0.1:1"), Script::default()).expect("a stream");
    wire.run_until("the refusal", |wire| wire.stream(refused).closed);
    assert_eq!(wire.stream(refused).status, Some(401));
    let script = Script { send: b"x".to_vec(), ..Script::default() };
    let reset = wire.open(&request("10.0.0.1:80"), script).expect("a stream");
    wire.run_until("an echo", |wire| wire.stream(reset).got == b"x");
    wire.reset(reset, ErrorCode::CANCEL);
    let after = wire.open(&request("10.0.0.1:80"), Script::send("after")).expect("a stream");
    wire.run_until("the next stream", |wire| wire.stream(after).finished);
    assert_eq!(wire.stream(after).got, b"after");
    wire.close(ErrorCode::NO_ERROR);
    drop((wire, nghttpx));
    let served = serving.join().expect("no panic");
    let resets = served.streams().filter(|stream| stream.reset.is_some()).count();
    assert_eq!(resets, 1, "nghttpx passes the reset on");
}
