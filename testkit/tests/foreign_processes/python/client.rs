//! Our client, their server.
use adit_core::hbone::TunnelError;
use adit_core::http2::{ErrorCode, Initiator, OpenError};
use adit_testkit::wire::{Script, Wire};

use super::*;

/// Our client on a server that announces `windows` and as many `streams`. What is given must live as long as the test.
fn connected(name: &str, windows: &str, streams: u32) -> (Wire, Process, Folder) {
    let (folder, authority, port) = (Folder::new(name), Authority::new(), free_port());
    let files = authority.files("server", &folder.0);
    let mut command = script("server.py", port, &files, &[windows, &streams.to_string()]);
    let python = Process::start(&mut command, PACKAGE, &folder.0).says("ready");
    (client(&authority, port), python, folder)
}

/// Sends `octets` and leaves its half open.
fn open(octets: &[u8]) -> Script {
    Script { send: octets.to_vec(), ..Script::default() }
}

#[test]
fn bulk_and_refusals() {
    let (mut wire, _python, _folder) = connected("python-bulk", USUAL, 100);
    let sent = pattern(2 << 20);
    let bulk = wire.open(&request("10.0.0.1:80"), Script::send(sent.clone())).expect("a stream");
    let refused = wire.open(&request("10.0.0.1:1"), Script::default()).expect("a stream");
    wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.closed));
    assert!(wire.stream(bulk).got == sent);
    assert_eq!(wire.stream(refused).status, Some(401));
}

#[test]
fn many_streams_and_more_behind_them() {
    let (mut wire, _python, _folder) = connected("python-many", USUAL, 50);
    wire.run_until("SETTINGS", |wire| wire.seen().limit == Some(50));
    let mut opened = 0;
    while opened < 300 {
        match wire.open(&request("10.0.0.1:80"), Script::send("small")) {
            Ok(_) => opened += 1,
            Err(OpenError::Full(50)) => wire.run_until("a free place", |wire| wire.open_streams() < 50),
            Err(error) => panic!("{error}"),
        }
    }
    wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.closed));
    assert!(wire.streams().all(|stream| stream.got == b"small" && stream.reset.is_none()));
}

#[test]
fn tiny_windows() {
    for (window, octets) in [("1", 1_000), ("100", 20_000)] {
        let (mut wire, _python, _folder) = connected("python-tiny", window, 100);
        for _ in 0..2 {
            wire.open(&request("10.0.0.1:80"), Script::send(pattern(octets))).expect("a stream");
        }
        wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.finished));
        assert!(wire.streams().all(|stream| stream.got == pattern(octets)), "window {window}");
    }
}

#[test]
fn windows_that_change() {
    for windows in CHANGING {
        let (mut wire, _python, _folder) = connected("python-changing", windows, 100);
        let stream = wire.open(&request("10.0.0.1:80"), Script::send(pattern(300_000))).expect("a stream");
        wire.run_until("the end", |wire| wire.stream(stream).finished);
        assert!(wire.stream(stream).got == pattern(300_000), "{windows}");
    }
}

#[test]
fn resets_keep_their_code_both_ways() {
    let (mut wire, python, _folder) = connected("python-resets", USUAL, 100);
    // 0xff: unknown codes too (RFC 9113 §7).
    for code in [0, 1, 2, 3, 5, 7, 8, 10, 11, 13, 0xff] {
        let authority = format!("10.0.0.1:{}", 20_000 + code);
        let stream = wire.open(&request(&authority), open(b"x")).expect("a stream");
        wire.run_until("their reset", |wire| wire.stream(stream).closed);
        assert_eq!(wire.stream(stream).reset, Some((ErrorCode(code), Initiator::Remote)));
    }
    for code in [0, 2, 8, 10, 0xff] {
        let stream = wire.open(&request("10.0.0.1:80"), open(b"x")).expect("a stream");
        wire.run_until("an echo", |wire| wire.stream(stream).got == b"x");
        wire.reset(stream, ErrorCode(code));
        wire.run_until("our reset to be seen", |_| {
            python.log().contains(&format!("reset {} {code}\n", stream.0))
        });
    }
    assert_eq!(wire.open_streams(), 0);
}

#[test]
fn goaway_in_flight_ends_what_it_does_not_name() {
    let (mut wire, _python, _folder) = connected("python-goaway", USUAL, 100);
    let sent = pattern(1 << 20);
    let kept = wire.open(&request("10.0.0.1:2"), Script::send(sent.clone())).expect("a stream");
    // These cross it.
    let crossing: Vec<_> =
        (0..5).map(|_| wire.open(&request("10.0.0.1:80"), open(b"lost")).expect("a stream")).collect();
    wire.run_until("GOAWAY", |wire| wire.seen().goaway);
    assert_eq!(wire.open(&request("10.0.0.1:80"), Script::default()), Err(OpenError::GoingAway));
    assert_eq!(wire.run_to_end(), TunnelError::Closed);
    assert!(wire.stream(kept).got == sent && wire.stream(kept).finished);
    for stream in crossing {
        let seen = wire.stream(stream);
        // To be tried elsewhere: the peer has not looked at it.
        assert_eq!((seen.status, seen.reset), (None, Some((ErrorCode::REFUSED_STREAM, Initiator::Library))));
    }
}

#[test]
fn goaway_with_an_error_ends_everything() {
    let (mut wire, _python, _folder) = connected("python-error", USUAL, 100);
    let stream = wire.open(&request("10.0.0.1:3"), open(b"lost")).expect("a stream");
    wire.run_to_end();
    assert!(wire.seen().goaway && wire.stream(stream).closed);
    assert!(wire.stream(stream).status.is_none());
}

#[test]
fn huge_headers_both_ways() {
    let (mut wire, python, _folder) = connected("python-headers", USUAL, 100);
    // h2 sends what is beyond the limit that we announced; it costs the stream.
    for (kib, expected) in [(10, None), (15, None), (17, Some(ErrorCode::ENHANCE_YOUR_CALM)), (1, None)] {
        let authority = format!("10.0.0.1:{}", 1000 + kib);
        let stream = wire.open(&request(&authority), Script::send("x")).expect("a stream");
        wire.run_until("the end", |wire| wire.stream(stream).closed);
        let seen = wire.stream(stream);
        assert_eq!(seen.reset, expected.map(|code| (code, Initiator::Library)), "{kib} KiB");
        assert_eq!(seen.status, expected.is_none().then_some(200));
    }
    // Ours goes out in several frames (CONTINUATION).
    let stream = wire.open(&huge_request("10.0.0.1:80", 100_000), Script::send("x")).expect("a stream");
    wire.run_until("the end", |wire| wire.stream(stream).closed);
    assert_eq!(wire.stream(stream).got, b"x");
    assert!(python.log().contains(&format!("request {} {}\n", stream.0, 100_000 + "service.name=".len())));
}
