//! The node proxy's binary; see [`adit_node::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    adit_node::cli::main(std::env::args_os())
}
