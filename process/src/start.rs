//! What every start has: environment, logs, signals, the end of a thread that panics, memory given back.
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_ops::logging::{self, Levels, LogGuard, LoggingError};
use adit_ops::readiness::Readiness;
use signal_hook::consts::SIGTERM;

use crate::config::{Config, ConfigErrors, Cpus, LogConfig};
use crate::stopping::Stopping;

/// Why a process cannot even begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// Logging cannot be started.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The environment cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Signals cannot be caught.
    #[error("signals cannot be caught: {0}")]
    Signals(io::Error),
}

/// What a process has before anything else is under way.
#[derive(Debug)]
pub struct Begun {
    /// Who writes logs; to be flushed at the end.
    pub guard: Arc<LogGuard>,
    /// To change what is logged.
    pub levels: Levels,
    /// The environment.
    pub vars: BTreeMap<String, String>,
    /// What it says.
    pub config: Config,
    /// When to end: a signal that comes from now on is not lost.
    pub stopping: Stopping,
}

/// Logs of a demo, whose screen says most things better: what the environment asks for, or `quiet`.
///
/// # Errors
/// Logging cannot be started.
pub fn quiet_logs(quiet: &str) -> Result<LogGuard, LoggingError> {
    let vars = environment();
    let mut log = LogConfig::from_vars(&vars);
    if !vars.contains_key("RUST_LOG") {
        quiet.clone_into(&mut log.filter);
    }
    logging::init(&log.filter, log.format).map(|(guard, _)| guard)
}

/// Begins: logs, which `hello` is the first to write to, configuration, the limit of open files, signals.
///
/// # Errors
/// See [`BeginError`].
pub fn begin(hello: impl FnOnce()) -> Result<Begun, BeginError> {
    let vars = environment();
    let log = LogConfig::from_vars(&vars);
    let (guard, levels) = logging::init(&log.filter, log.format)?;
    let guard = Arc::new(guard);
    let config = Config::from_vars(&vars, Cpus::detect())?;
    hello();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match adit_runtime::raise_fd_limit() {
        Ok(limit) => tracing::debug!(before = limit.before, now = limit.now, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
    let stopping = Stopping::on_signals(Arc::clone(&guard)).map_err(BeginError::Signals)?;
    Ok(Begun { guard, levels, vars, config, stopping })
}

/// The process's environment. What is not Unicode is shown as such in errors.
fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// From when everything is ready until memory is given back: certificates and the first look at how pods are captured come
/// a moment later than readiness, and need more of the program than all that follows.
const CALM: Duration = Duration::from_secs(1);

/// Gives back the memory that only starting has used.
pub async fn settle(readiness: Readiness) {
    readiness.ready().await;
    tokio::time::sleep(CALM).await;
    if let Err(error) = adit_runtime::settle() {
        tracing::debug!(%error, "what starting has used stays in memory");
    }
}

/// A shard that has panicked is a bug, and its connections are gone: rather than limp on unseen, the others drain and
/// the process ends with an error, to be started anew.
pub fn drain_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        // By signal, because the panicking thread may hold any lock.
        if let Err(error) = signal_hook::low_level::raise(SIGTERM) {
            tracing::error!(%error, "the other shards cannot be drained");
        }
    }));
}
