//! `adit-node explain`: what would become of a connection, and why, by the tables of a proxy's `config_dump`.
mod parties;
mod report;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use adit_core::explain::{explain, explain_plain};
use adit_core::mesh::{TunnelProtocol, Workload};
use adit_core::rng::Rng;
use adit_ops::admin::undump::{self, UndumpError};
use adit_ops::http::{Bounds, ClientError, get};

use self::parties::{Asked, FromError, ToError};
pub use self::parties::{To, ToSyntax};
use self::report::{Report, notes};
use crate::cli::Explain;

/// A dump of a hundred thousand workloads has some 150 MB and takes seconds.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(60), octets: 1 << 30 };

/// How many problems of a dump are told one by one.
const MAX_WARNINGS: usize = 20;

/// The exit code where there is no answer; 0 and 1 are answers.
pub const NO_ANSWER: u8 = 2;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The proxy's admin pages do not answer.
    #[error("{0}; is a proxy running there? --admin names its admin address, --dump a saved config_dump")]
    Admin(#[from] ClientError),
    /// The file cannot be read.
    #[error("cannot read the dump {}: {cause}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is longer than any dump.
    #[error("the dump {} is longer than {} octets", file.display(), BOUNDS.octets)]
    TooLong {
        /// The file.
        file: PathBuf,
    },
    /// It is no dump.
    #[error("{whence}: {cause}")]
    Undump {
        /// Where the text came from.
        whence: String,
        /// What is wrong with it.
        cause: UndumpError,
    },
    /// `--from` names nobody, or several.
    #[error("--from {0}")]
    From(#[from] FromError),
    /// `--to` names nothing of the mesh.
    #[error("--to {0}")]
    To(#[from] ToError),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(io::Error),
}

/// Prints the explanation; the exit code tells whether the connection gets through.
///
/// # Errors
/// There is no answer: see [`ExplainError`].
pub fn run(arguments: &Explain) -> Result<ExitCode, ExplainError> {
    let (whence, text) = text(arguments)?;
    let dump = undump::read(&text).map_err(|cause| ExplainError::Undump { whence: whence.clone(), cause })?;
    drop(text);
    warn(&whence, &dump.problems);
    let report = answer(&dump, arguments)?;
    let text = if arguments.json {
        // Texts, numbers and lists of them: there is nothing in it that JSON cannot hold.
        let json =
            serde_json::to_string_pretty(&report).map_err(|error| ExplainError::Output(error.into()))?;
        format!("{json}\n")
    } else {
        report.to_string()
    };
    io::stdout().write_all(text.as_bytes()).map_err(ExplainError::Output)?;
    Ok(if report.is_let_through() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the tables of `dump` say to the question in `arguments`.
fn answer(dump: &undump::Undumped, arguments: &Explain) -> Result<Report, ExplainError> {
    let source = parties::source(&dump.mesh, &arguments.from)?;
    let rng = Rng::new(arguments.seed);
    let (target, asked): (_, Option<Asked>) =
        parties::target(dump, source.workload, &arguments.to, &mut rng.clone())?;
    let client = source.client(target.ip());
    let (mesh, config) = (&dump.mesh, &dump.settings.route);
    let told = if has_proxy(dump, source.workload) {
        explain(mesh, config, source.workload, client, target, &rng)
    } else {
        explain_plain(mesh, config, source.workload, client, target)
    };
    let notes = notes(dump, client, asked.as_ref(), &told);
    Ok(Report::new(told, arguments.seed, asked, notes))
}

/// Whether connections of `workload` are planned by a proxy: one on its node, the very one that was dumped, or itself.
fn has_proxy(dump: &undump::Undumped, workload: &Workload) -> bool {
    workload.protocol == TunnelProtocol::Hbone
        || workload.native_tunnel
        || dump.settings.stands_for.as_ref().is_some_and(|stands_for| stands_for.is(workload))
}

/// The dump, and what it is called in errors.
fn text(arguments: &Explain) -> Result<(String, Vec<u8>), ExplainError> {
    let Some(file) = &arguments.dump else {
        let text = get(&arguments.admin, "/config_dump", BOUNDS)?;
        return Ok((format!("{}/config_dump", arguments.admin), text));
    };
    let failed = |cause| ExplainError::File { file: file.clone(), cause };
    let mut from: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).map_err(failed)?)
    };
    let mut text = Vec::new();
    // One octet more than allowed tells that there are more.
    let limit = u64::try_from(BOUNDS.octets).unwrap_or(u64::MAX).saturating_add(1);
    from.by_ref().take(limit).read_to_end(&mut text).map_err(failed)?;
    if text.len() > BOUNDS.octets {
        return Err(ExplainError::TooLong { file: file.clone() });
    }
    Ok((file.display().to_string(), text))
}

fn warn(whence: &str, problems: &[undump::Problem]) {
    let mut stderr = io::stderr().lock();
    // Whoever has closed stderr does not want to know.
    for problem in problems.iter().take(MAX_WARNINGS) {
        let _ = writeln!(stderr, "warning: {whence}: {problem}");
    }
    if let Some(more) = problems.len().checked_sub(MAX_WARNINGS).filter(|more| *more > 0) {
        let _ = writeln!(stderr, "warning: {whence}: {more} further problems");
    }
}

#[cfg(test)]
mod tests;
