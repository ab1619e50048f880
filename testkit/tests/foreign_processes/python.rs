//! Python's h2 as client and as server (`testkit/peers`).
use std::path::Path;
use std::process::Command;

use adit_core::http2::{ErrorCode, Initiator};
use adit_testkit::wire::{Authority, Files, Script};

use super::process::*;

const PACKAGE: &str = "Python 3 and `pip install h2`";

fn script(name: &str, port: u16, files: &Files) -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)).arg(port.to_string());
    command.args([&files.root, &files.cert, &files.key]);
    command
}

#[test]
fn our_client_to_python() {
    let (folder, authority, port) = (Folder::new("python-server"), Authority::new(), free_port());
    let files = authority.files("server", &folder.0);
    let python = Process::start(&mut script("h2_server.py", port, &files), PACKAGE, &folder.0).says("ready");
    let mut wire = client(&authority, port);
    let sent = pattern(2 << 20);
    let bulk = wire.open(&request("10.0.0.1:80"), Script::send(sent.clone())).expect("a stream");
    let small: Vec<_> = (0..60)
        .map(|_| wire.open(&request("10.0.0.1:80"), Script::send("small")).expect("a stream"))
        .collect();
    let refused = wire.open(&request("10.0.0.1:1"), Script::default()).expect("a stream");
    let reset = Script { send: b"x".to_vec(), ..Script::default() };
    let reset = wire.open(&request("10.0.0.1:2"), reset).expect("a stream");
    wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.closed));
    assert!(wire.stream(bulk).got == sent);
    assert!(small.into_iter().all(|stream| wire.stream(stream).got == b"small"));
    assert_eq!(wire.stream(refused).status, Some(401));
    assert_eq!(wire.stream(reset).reset, Some((ErrorCode::CONNECT_ERROR, Initiator::Remote)));
    let script = Script { send: b"x".to_vec(), ..Script::default() };
    let ours = wire.open(&request("10.0.0.1:80"), script).expect("a stream");
    wire.run_until("an echo", |wire| wire.stream(ours).got == b"x");
    wire.reset(ours, ErrorCode::CONNECT_ERROR);
    wire.run_until("the reset to be seen", |_| python.log().contains("reset 10"));
}

#[test]
fn python_to_our_server() {
    let (folder, authority) = (Folder::new("python-client"), Authority::new());
    let files = authority.files("client", &folder.0);
    for (octets, streams) in [(2 << 20, 1), (10_000, 100)] {
        let (port, serving) = server(&authority, Box::new(|_| Ok(Script::echo())));
        let mut command = script("h2_client.py", port, &files);
        command.args([octets.to_string(), streams.to_string()]);
        let _python = Process::start(&mut command, PACKAGE, &folder.0).says("ok");
        let wire = serving.join().expect("no panic");
        assert_eq!(wire.seen().requests.len(), streams + 1);
        assert_eq!(wire.open_streams(), 0);
    }
}
