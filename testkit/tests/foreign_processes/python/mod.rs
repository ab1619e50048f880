//! Python's h2: `client.py` against our server, our client against `server.py`.
use std::path::Path;
use std::process::Command;

use adit_testkit::wire::{Authority, Files};

use super::process::*;

mod client;
mod server;

const PACKAGE: &str = "Python 3 and `pip install h2`";

/// The windows of a peer that does not try anything with them.
const USUAL: &str = "65535";

/// Windows that are raised from nothing; and shrunk below what is in flight, to nothing, and raised again. In the form
/// that `peer.py` takes.
const CHANGING: [&str; 3] =
    ["0,0:10,20:1000", "100000,50000:1000,150000:30000", "65535,30000:0,30000:20000,90000:1,90100:65535"];

fn script(name: &str, port: u16, files: &Files, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign_processes/python").join(name));
    command.arg(port.to_string()).args([&files.root, &files.cert, &files.key]).args(arguments);
    // Not a folder of the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
