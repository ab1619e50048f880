//! `adit-node proxy`: one instance with logs, readiness, signals and a graceful end.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use adit_ops::access;
use adit_ops::admin::Admin;
use adit_ops::counters::Counters;
use adit_ops::http::{Endpoint, ServerError, ServerThread};
use adit_ops::logging::{self, LogGuard, LoggingError};
use adit_ops::metrics::Metrics;
use adit_ops::readiness::Readiness;
use adit_runtime::{Handle, ShardError};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::admin::ProcessState;
use crate::cli::Proxy;
use crate::config::{Config, ConfigErrors, Cpus, LogConfig};
use crate::instance::{Certificates, Instance, Parts, StartError, load_mesh, local_workload};

/// Why the proxy ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Logging cannot be started.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The environment cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The servers of readiness, metrics and admin pages cannot be started.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The instance cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Signals cannot be caught.
    #[error("signals cannot be caught: {0}")]
    Signals(std::io::Error),
    /// A shard failed.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// The process's environment. What is not Unicode is shown as such in errors.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Runs the proxy until it is drained after SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or a shard failed.
pub fn proxy(arguments: &Proxy) -> Result<ExitCode, RunError> {
    let vars = environment();
    let log = LogConfig::from_vars(&vars);
    let (guard, levels) = logging::init(&log.filter, log.format)?;
    let guard = Arc::new(guard);
    let mut config = Config::from_vars(&vars, Cpus::detect())?;
    config.runtime = arguments.runtime.unwrap_or(config.runtime);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), extra = %arguments.extra.join(" "), "adit-node starts");
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match adit_runtime::raise_fd_limit() {
        Ok(limit) => tracing::debug!(before = limit.before, now = limit.now, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }

    let readiness = Readiness::new();
    let (tables, listening) = (readiness.wait_for("state manager"), readiness.wait_for("proxy"));
    let metrics = Metrics::new(&config.istio_version, config.metrics);
    let ready = Endpoint::bind(config.listen.readiness, Arc::new(readiness))?;
    let stats = Endpoint::bind(config.listen.stats, Arc::new(metrics.clone()))?;
    // These two answer while the tables are still being read.
    let early = ServerThread::start("adit-stats", vec![ready, stats])?;
    let mesh = load_mesh(&config)?;
    tables.done();
    let local = local_workload(&config, &mesh)?;
    let certificates = Arc::new(Certificates::open(&config, local.identity_ref().trust_domain())?);
    let state = ProcessState::new(&config, &mesh, &local, &certificates, &metrics);
    let admin = Endpoint::bind(config.listen.admin, Arc::new(Admin::new(Arc::new(state), Arc::new(levels))))?;
    let admin = ServerThread::start("adit-admin", vec![admin])?;
    let counters = Arc::new(Counters::default());
    let observe = {
        let counters = Arc::clone(&counters);
        Arc::new(move |observed: &_| {
            counters.record(observed);
            metrics.observe(observed);
            access::log(observed);
        })
    };
    // Before anything listens: a signal that comes now must not be lost.
    let signals = Signals::new([SIGTERM, SIGINT]).map_err(RunError::Signals)?;
    let instance =
        Instance::start(&config, Parts { mesh, certificates, observe, entries: config.entries.clone() })?;
    let [ready, stats] = [0, 1].map(|n| early.addresses().get(n).copied());
    tell_addresses(&config, &instance, [ready, stats, admin.addresses().first().copied()]);
    drain_on_signals(signals, instance.handles().to_vec(), Arc::clone(&guard)).map_err(RunError::Signals)?;
    drain_on_panic();
    listening.done();

    let ended = instance.join();
    tracing::info!("drained; {}", counters.snapshot());
    drop((early, admin));
    guard.flush();
    ended?;
    Ok(ExitCode::SUCCESS)
}

fn tell_addresses(config: &Config, instance: &Instance, [ready, stats, admin]: [Option<SocketAddr>; 3]) {
    let at = instance.addresses();
    tracing::info!(
        identity = %instance.identity(),
        runtime = ?config.runtime,
        shards = config.threads.get(),
        outbound = %at.outbound,
        inbound = %at.inbound_plain,
        hbone = %at.hbone,
        socks5 = at.socks5.map(tracing::field::display),
        readiness = ready.map(tracing::field::display),
        stats = stats.map(tracing::field::display),
        admin = admin.map(tracing::field::display),
        "listening"
    );
}

/// The first signal drains; a second SIGINT ends the process there and then.
fn drain_on_signals(mut signals: Signals, handles: Vec<Handle>, guard: Arc<LogGuard>) -> std::io::Result<()> {
    let work = move || {
        let mut interrupts = 0;
        for signal in signals.forever() {
            if signal == SIGINT {
                interrupts += 1;
            }
            if interrupts > 1 {
                tracing::warn!("interrupted twice: exiting at once");
                guard.flush();
                std::process::exit(0);
            }
            tracing::info!(signal = signal_name(signal), "draining");
            handles.iter().for_each(Handle::drain);
        }
    };
    std::thread::Builder::new().name("adit-signals".to_owned()).spawn(work).map(drop)
}

/// A shard that has panicked is a bug, and its connections are gone: rather than limp on unseen, the others drain and
/// the process ends with an error, to be started anew.
fn drain_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        // By signal, because the panicking thread may hold any lock.
        if let Err(error) = signal_hook::low_level::raise(SIGTERM) {
            tracing::error!(%error, "the other shards cannot be drained");
        }
    }));
}

const fn signal_name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        _ => "SIGTERM",
    }
}
