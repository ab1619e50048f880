//! Clients and servers for tests with real processes; see [`adit_testkit::netns::peer`].
use std::process::ExitCode;

fn main() -> ExitCode {
    adit_testkit::netns::peer::main()
}
