//! Their client, our server.
use adit_core::hbone::{ConnectRequest, TunnelConfig};
use adit_core::http2::{ErrorCode, Initiator};
use adit_testkit::wire::{Answer, Script, Stream, Wire};

use super::*;

fn echo() -> Answer {
    Box::new(|_: &ConnectRequest| Ok(Script::echo()))
}

/// A client that does `arguments`, connected to our server. What is given must live as long as the test.
fn connected(
    name: &str,
    config: TunnelConfig,
    answer: Answer,
    arguments: &[&str],
) -> (Wire, Process, Folder) {
    let (folder, authority) = (Folder::new(name), Authority::new());
    let files = authority.files("client", &folder.0);
    let (listener, port) = listener();
    let python = Process::start(&mut script("client.py", port, &files, arguments), PACKAGE, &folder.0);
    (accepted(&authority, &listener, config, answer), python, folder)
}

/// Serves until the client has done `arguments`, and gives what the server and the client have seen.
fn served(name: &str, config: TunnelConfig, answer: Answer, arguments: &[&str]) -> (Wire, String) {
    let (mut wire, python, _folder) = connected(name, config, answer, arguments);
    wire.run_to_end();
    (wire, python.says("ok\n").log())
}

#[test]
fn bulk_many_streams_and_a_wrong_request() {
    for (octets, streams) in [("2000000", 1), ("5000", 300)] {
        let mut config = TunnelConfig::server();
        config.http2.max_concurrent_streams = 50;
        let (wire, _) =
            served("python-client", config, echo(), &[USUAL, "exchange", octets, &streams.to_string()]);
        assert_eq!((wire.seen().requests.len(), wire.open_streams()), (streams + 1, 0));
    }
}

#[test]
fn tiny_windows() {
    for (window, octets) in [("1", "1000"), ("100", "20000")] {
        let mut config = TunnelConfig::server();
        config.http2.initial_window = window.parse().expect("a number");
        served("python-tiny-client", config, echo(), &[window, "exchange", octets, "2"]);
    }
}

#[test]
fn windows_that_change() {
    for windows in CHANGING {
        let arguments = [windows, "exchange", "300000", "1"];
        served("python-changing-client", TunnelConfig::server(), echo(), &arguments);
    }
}

#[test]
fn resets_keep_their_code_both_ways() {
    let codes = [0, 1, 2, 3, 5, 7, 8, 10, 11, 13, 0xff];
    let texts = codes.map(|code: u32| code.to_string());
    let mut arguments = vec![USUAL, "resets"];
    arguments.extend(texts.iter().map(String::as_str));
    let (mut wire, python, _folder) =
        connected("python-resets-client", TunnelConfig::server(), echo(), &arguments);
    let last = |stream: &Stream| stream.got == b"last";
    wire.run_until("the last stream", |wire| wire.find(last).is_some());
    let seen: Vec<_> = wire.streams().filter_map(|stream| stream.reset).collect();
    assert_eq!(seen, codes.map(|code| (ErrorCode(code), Initiator::Remote)));
    wire.reset(wire.find(last).expect("it is there"), ErrorCode::CONNECT_ERROR);
    wire.run_to_end();
    assert!(python.says("ok\n").log().contains("reset 10\n"));
}

#[test]
fn our_drain_lets_streams_end() {
    let arguments = [USUAL, "drain", "600000"];
    let (mut wire, python, _folder) = connected("python-drain", TunnelConfig::server(), echo(), &arguments);
    wire.run_until("octets on both streams", |wire| {
        wire.streams().filter(|stream| !stream.got.is_empty()).count() == 2
    });
    wire.drain();
    wire.run_until("the drain", |wire| wire.seen().drained);
    wire.run_to_end();
    // Two steps (RFC 9113 §6.8): a warning that names no stream, then the last.
    let log = python.says("ok\n").log();
    assert!(log.starts_with("goaway 2147483647 0\n"), "{log}");
}

#[test]
fn their_goaway_lets_streams_end() {
    let arguments = [USUAL, "goaway", "600000"];
    let (wire, _) = served("python-going", TunnelConfig::server(), echo(), &arguments);
    assert!(wire.seen().goaway && wire.streams().all(|stream| stream.finished && stream.reset.is_none()));
}

#[test]
fn huge_headers_both_ways() {
    let mut answers = [100_000, 10, 10].into_iter();
    let answer: Answer = Box::new(move |_: &ConnectRequest| {
        Ok(Script { baggage: answers.next().map(huge_baggage), ..Script::default() })
    });
    let arguments = [USUAL, "headers", "100", "60000", "70000", "100"];
    let (wire, log) = served("python-headers-client", TunnelConfig::server(), answer, &arguments);
    // What is beyond the limit that we announced is refused unread (ENHANCE_YOUR_CALM), and the others go on.
    let expected = [
        "header 100 200 100013 None",
        "header 60000 200 23 None",
        "reset 11",
        "header 70000 None None 11",
        "header 100 200 23 None",
        "ok\n",
    ];
    assert_eq!(log, expected.join("\n"));
    assert_eq!(wire.seen().requests.len(), 3);
}
