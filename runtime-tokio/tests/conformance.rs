//! The test bodies shared by all runtimes, on tokio.
use std::io;

use adit_runtime::conformance::Host;
use adit_runtime::{CertificateSource, Clock, Engine, Observer, Setup, conformance_suite};

#[derive(Clone, Copy)]
struct Tokio;

impl Host for Tokio {
    fn run<E: Engine, O: Observer, C: CertificateSource>(self, setup: Setup<E, O, C>) -> io::Result<()> {
        adit_tokio::run(Clock::start(), setup)
    }
}

conformance_suite!(Tokio);

// Tokio's reactor can tell a reset from octets.
conformance_suite!(Tokio; a_reset_is_noticed_while_nothing_is_read);
