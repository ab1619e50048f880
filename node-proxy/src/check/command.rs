//! The command line of `adit-node check`.
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use adit_ops::capture::PodCapture;
use adit_ops::http::{Bounds, ClientError, Origin, get};

use super::inspect::inspect;
use super::report::{Report, Verdict};
use crate::capture::CaptureError;
use crate::cli::Check;
use crate::explain::NO_ANSWER;

/// An answer about a few hundred pods.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(20), octets: 16 << 20 };

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CheckError {
    /// The namespace cannot be looked at.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The proxy does not answer.
    #[error(
        "{0}; does an Adit proxy run there? --admin names its admin address; ztunnel has no such page: use --netns"
    )]
    Admin(#[from] ClientError),
    /// The proxy's answer cannot be read.
    #[error("{origin}/capture cannot be read: {cause}; is the proxy of the same version as this program?")]
    Answer {
        /// Who was asked.
        origin: Origin,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// The result cannot be told.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Checks, and tells.
pub(crate) fn run(arguments: &Check) -> Result<ExitCode, CheckError> {
    let report = match &arguments.admin {
        Some(origin) => {
            let text = get(origin, "/capture", BOUNDS)?;
            let pods: Vec<PodCapture> = serde_json::from_slice(&text)
                .map_err(|cause| CheckError::Answer { origin: origin.clone(), cause })?;
            Report::of_pods(&pods)
        }
        None => inspect(arguments.netns.as_deref(), !arguments.no_probe)?,
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if report.findings.is_empty() {
        writeln!(out, "the proxy looks at no pods: it serves none, or has not looked yet")?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(match report.verdict() {
        Verdict::Ok => ExitCode::SUCCESS,
        Verdict::Problem => ExitCode::FAILURE,
        Verdict::Unknown => ExitCode::from(NO_ANSWER),
    })
}
