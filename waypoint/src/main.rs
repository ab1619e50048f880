//! The waypoint's binary; see [`adit_waypoint::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    adit_waypoint::cli::main(std::env::args_os())
}
