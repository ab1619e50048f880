//! `adit-waypoint explain`: what would become of a request, and why, by a waypoint that runs or by files.
//!
//! ```text
//!   Question ─┬─ admin pages (/explain) ─┐
//!             │                          ├─▶ answer ── core::l7, as traffic asks it ─▶ Report ─▶ text, JSON
//!             └─ manifests, mesh file ───┘
//! ```
mod answer;
mod cluster;
mod forward;
mod question;
mod report;
mod text;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use adit_control::jwks::Jwks;
use adit_control::local::{self, LocalError};
use adit_control::resources::directory::Directory;
use adit_control::resources::{Severity, World};
use adit_core::l7::Protocol;
use adit_core::mesh::Mesh;
use adit_core::proxy::LocalWorkload;
use adit_core::time::Instant;
use adit_ops::http::{Bounds, ClientError, get};
use http::HeaderMap;

pub use self::answer::NoAnswer;
pub use self::question::{
    Caller, CallerError, Header, HeaderSyntax, MAX_HEADERS, Question, QuestionError, TargetSyntax, target,
};
pub use self::report::*;

pub(crate) use self::answer::{Tables, answer};
pub(crate) use self::cluster::report as cluster_report;
use crate::cli::{Explain, Offline};
use crate::shared::Clusters;

/// A report lists every match before the right one: ten thousand routes make a few megabytes.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), octets: 256 << 20 };

/// The exit code where there is no answer; 0 and 1 are answers.
pub const NO_ANSWER: u8 = 2;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The waypoint's admin pages do not answer.
    #[error(
        "{0}; is a waypoint running there? --admin names its admin address, --config and --mesh ask files instead"
    )]
    Admin(ClientError),
    /// They refuse the question.
    #[error("{0}")]
    Refused(String),
    /// They answer with something else.
    #[error("{0}/explain answers with no report: {1}; is it a waypoint of this version?")]
    NoReport(String, serde_json::Error),
    /// The manifests cannot be read.
    #[error("{}: {error}; --config names a directory of manifests", path.display())]
    Manifests {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The mesh file cannot be read.
    #[error(transparent)]
    Mesh(#[from] LocalError),
    /// The mesh has no such workload.
    #[error("--workload {}/{}/{}: the mesh file has no such workload", .0.namespace, .0.name, .0.service_account)]
    Workload(LocalWorkload),
    /// The question has no answer.
    #[error(transparent)]
    None(#[from] NoAnswer),
    /// The question itself is none.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(io::Error),
}

/// Prints the explanation; the exit code tells what becomes of the request.
///
/// # Errors
/// There is no answer: see [`ExplainError`].
pub fn run(arguments: &Explain) -> Result<ExitCode, ExplainError> {
    let question = arguments.question()?;
    let report = match &arguments.offline {
        Some(offline) => offline_answer(offline, &question)?,
        None => live(arguments, &question)?,
    };
    let text = if arguments.json {
        // Texts, numbers and lists of them: there is nothing in it that JSON cannot hold.
        let json = serde_json::to_string_pretty(&report);
        format!("{}\n", json.map_err(|error| ExplainError::Output(error.into()))?)
    } else {
        report.to_string()
    };
    io::stdout().write_all(text.as_bytes()).map_err(ExplainError::Output)?;
    Ok(match report.verdict.outcome {
        Outcome::Sent | Outcome::Answered => ExitCode::SUCCESS,
        Outcome::Refused => ExitCode::FAILURE,
    })
}

/// Asks a waypoint that runs.
fn live(arguments: &Explain, question: &Question) -> Result<Report, ExplainError> {
    let path = format!("/explain?{}", question.to_query());
    let text = get(&arguments.admin, &path, BOUNDS).map_err(|error| match error {
        ClientError::Status { status: 400, said, .. } if !said.is_empty() => ExplainError::Refused(said),
        error => ExplainError::Admin(error),
    })?;
    serde_json::from_slice(&text).map_err(|error| ExplainError::NoReport(arguments.admin.to_string(), error))
}

/// Asks files.
fn offline_answer(offline: &Offline, question: &Question) -> Result<Report, ExplainError> {
    let mesh = Arc::new(local::load(&offline.mesh, "")?);
    from_files(offline, &mesh, question)
}

/// Asks the manifests of a directory, and a mesh.
fn from_files(offline: &Offline, mesh: &Arc<Mesh>, question: &Question) -> Result<Report, ExplainError> {
    let us = &offline.workload.0;
    let local = us.found_in(mesh).ok_or_else(|| ExplainError::Workload(us.clone()))?;
    let mut world = World::new(&us.namespace, &offline.gateway);
    world.root_namespace = offline.root_namespace.as_str().into();
    world.classes.extend(offline.gateway_class.iter().map(|class| class.as_str().into()));
    world.cluster_domain = offline.cluster_domain.as_str().into();
    world.trust_domain = local.identity_ref().trust_domain().into();
    let (_, loaded) = Directory::open(&offline.config, world)
        .map_err(|error| ExplainError::Manifests { path: offline.config.clone(), error })?;
    let told = loaded.compiled.problems.iter().filter(|problem| problem.severity != Severity::Note);
    let told = loaded.files.iter().map(ToString::to_string).chain(told.map(ToString::to_string));
    for problem in told {
        // Whoever has closed stderr does not want to know.
        let _ = writeln!(io::stderr(), "warning: {problem}");
    }
    let keys = Jwks::new();
    keys.update(loaded.compiled.snapshot.authentications.sources());
    let tables = Tables {
        snapshot: &loaded.compiled.snapshot,
        mesh,
        local,
        normalization: offline.path_normalization.0,
        keys: &keys,
        clusters: &Clusters::default(),
        now: Instant::ZERO,
        time: adit_runtime::wall_clock(),
    };
    Ok(answer(&tables, question)?)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "HTTP",
        Protocol::Http2 => "HTTP/2",
        Protocol::Grpc => "gRPC",
        Protocol::GrpcWeb => "gRPC-Web",
        Protocol::Tls => "TLS",
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Detect => "HTTP if it looks like it",
    }
}

fn fields(headers: &HeaderMap) -> Vec<Field> {
    let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, it)| Field { name: name.to_string(), value: value(it) }).collect()
}

#[cfg(test)]
mod tests;
