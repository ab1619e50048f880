//! The command line of `adit-node capture`.
use std::io::{self, Write};
use std::process::ExitCode;

use super::{CaptureError, Choice, Done, Options, Plan, Request, State, namespace};
use crate::cli::{Capture, CaptureRequest, CaptureVerb};

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CommandError {
    /// Rules or routes.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The result cannot be told.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl From<&CaptureRequest> for Request {
    fn from(asked: &CaptureRequest) -> Self {
        let CaptureRequest { backend, ipv4_only, dns_capture, bypass_inbound_capture, .. } = *asked;
        let interfaces = asked.reroute_virtual_interfaces.clone();
        let options = Options { dns: dns_capture.0, ingress: bypass_inbound_capture.0, interfaces };
        Self { options, backend, ipv4_only }
    }
}

/// Does what was asked, and tells. `verify` ends with 1 if something is not as it should be.
pub(crate) fn run(arguments: &Capture) -> Result<ExitCode, CommandError> {
    let netns = arguments.netns.as_deref();
    let mut out = io::stdout().lock();
    match &arguments.verb {
        CaptureVerb::Apply { request, dry_run: true } => {
            let request = request.into();
            let plan = namespace::within(netns, || plan(&request))??;
            write!(out, "{plan}")?;
        }
        CaptureVerb::Apply { request, dry_run: false } => {
            let done = super::apply(netns, &request.into())?;
            writeln!(out, "{}", said(done, "applied by", "already as they should be, by"))?;
        }
        CaptureVerb::Verify { request } => {
            let verdict = super::verify(netns, &request.into())?;
            let Some(backend) = verdict.backend else {
                writeln!(out, "no rules at all; `adit-node capture apply` writes them")?;
                return Ok(ExitCode::FAILURE);
            };
            if !verdict.problems.is_empty() {
                write!(out, "{verdict}")?;
                writeln!(out, "`adit-node capture apply` with the same flags puts this right")?;
                return Ok(ExitCode::FAILURE);
            }
            writeln!(out, "all rules and routes are as they should be, by {backend}")?;
        }
        CaptureVerb::Remove { dry_run: true } => {
            let plan = namespace::within(netns, || Plan::to_remove(&State::read(Choice::Auto)?))??;
            write!(out, "{plan}")?;
        }
        CaptureVerb::Remove { dry_run: false } => {
            let done = super::remove(netns)?;
            writeln!(out, "{}", said(done, "removed by", "there was nothing to remove"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Into a namespace in which there is nothing: that takes no privilege.
fn plan(request: &Request) -> Result<Plan, CaptureError> {
    Plan::to_apply(&State::empty(request.backend)?, request)
}

fn said(done: Done, changed: &str, unchanged: &str) -> String {
    let backend = done.backend.map(|backend| backend.to_string());
    let words = if done.changed { changed } else { unchanged };
    match backend {
        Some(backend) => format!("rules and routes: {words} {backend}"),
        None if done.changed => "routes: removed".to_owned(),
        None => words.to_owned(),
    }
}
