//! The demo's tour, as a user would run it, on both runtimes.
mod common;

use common::{Process, RUNTIMES};
use rustix::process::Signal;

#[test]
fn the_tour_passes_every_step() {
    for runtime in RUNTIMES {
        let mut process = Process::start(&["demo", "--once", "--runtime", runtime], &[]);
        let status = process.end();
        let output = process.output();
        assert!(status.success() && output.contains("steps were seen to work"), "{output}");
        assert!(!output.contains('\x1b'), "colour without a terminal: {output}");
    }
}

#[test]
fn the_demo_tells_its_addresses_serves_visitors_and_ends_when_interrupted() {
    let mut process = Process::start(&["demo"], &[]);
    let line = process.line(&["curl http://", "/hello"]);
    let url = line.split("http://").nth(1).unwrap();
    let address = url.split('/').next().unwrap().parse().unwrap();
    let answer = common::ask(address, "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(answer.contains("hello from echo"), "{answer}");
    process.line(&["web", "✓", "call done"]);
    process.signal(Signal::INT);
    assert!(process.end().success(), "{}", process.output());
}
