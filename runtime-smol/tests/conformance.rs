//! The test bodies shared by all runtimes, on smol.
use std::io;

use adit_runtime::conformance::Host;
use adit_runtime::{CertificateSource, Clock, Engine, Observer, Setup, conformance_suite};

#[derive(Clone, Copy)]
struct Smol;

impl Host for Smol {
    fn run<E: Engine, O: Observer, C: CertificateSource>(self, setup: Setup<E, O, C>) -> io::Result<()> {
        adit_smol::run(Clock::start(), setup)
    }
}

conformance_suite!(Smol);
