//! `adit-waypoint proxy`: a waypoint with manifests, logs, readiness, signals and a graceful end.
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adit_control::grpc::Roots;
use adit_control::jwks::{Fetcher, Jwks};
use adit_control::resources::cluster::ClusterError;
use adit_control::resources::directory::FileProblem;
use adit_control::resources::{Compiled, Loaded, Severity, World};
use adit_core::l7::jwt::RefreshSettings;
use adit_core::l7::{KeyHash, SessionKey};
use adit_core::mesh::Mesh;
use adit_core::proxy::{LocalWorkload, Observed};
use adit_ops::access;
use adit_ops::admin::Admin;
use adit_ops::http::ServerError;
use adit_ops::l7::Reporter;
use adit_ops::l7::log::AccessLogger;
use adit_ops::l7::metrics::HttpMetrics;
use adit_ops::l7::otlp::{ExportFigures, Exporters, Limits, Push, PushError, Pushing, Resource};
use adit_ops::l7::trace::Own;
use adit_ops::logging::{Levels, LogGuard};
use adit_ops::metrics::{Metrics, Resources};
use adit_ops::readiness::Readiness;
use adit_process::admin::ProcessState;
use adit_process::certificates::NodeCertificates;
use adit_process::config::{Config, Mode};
use adit_process::discovery::{Discovery, First};
use adit_process::handover::Sockets;
use adit_process::instance::{self, StartError, seed};
use adit_process::pages;
use adit_process::start::{BeginError, Begun, begin, drain_on_panic, settle};
use adit_process::stopping::Stopping;
use adit_process::tables::Tables;
use adit_process::thread::TokioThread;
use adit_runtime::{Questions, ShardError};
use tokio::sync::watch;

use crate::cli::Proxy;
use crate::observe::{InForce, telling};
use crate::pages::{LISTED, Pages};
use crate::proxy;
use crate::settings::Settings;
use crate::shared::{Parts, Shared};
use crate::source::Source;

/// How long spans that wait, and the last push of metrics, may take to leave at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why the waypoint ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The process cannot begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The environment says of metrics what cannot be done.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A waypoint stands for one pod.
    #[error(
        "PROXY_MODE: a waypoint is its own pod: set it to dedicated, and PROXY_WORKLOAD_INFO to namespace/pod/service-account"
    )]
    Shared,
    /// The directory of manifests cannot be read.
    #[error("{}: {error}; --config names a directory of manifests", path.display())]
    Manifests {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Nothing is known of a file of manifests, so nobody knows what it would forbid.
    #[error("{0}: what this file forbids is not known: mend it, or take it away")]
    Unread(FileProblem),
    /// The cluster cannot be watched.
    #[error("--config-source cluster: {0}")]
    Cluster(#[from] ClusterError),
    /// The secret of sessions cannot be read.
    #[error("{}: {error}; --session-secret names a file of at least 16 octets", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// The servers of readiness, metrics and admin pages cannot be started.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The waypoint cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A shard failed.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// Runs the waypoint until it is drained after SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or a shard failed.
pub fn proxy(arguments: &Proxy) -> Result<ExitCode, RunError> {
    let hello = || tracing::info!(version = env!("CARGO_PKG_VERSION"), "adit-waypoint starts");
    let Begun { guard, levels, vars, config, stopping } = begin(hello)?;
    let ended = run(arguments, &config, &vars, levels, &guard, &stopping);
    guard.flush();
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Starts everything, and waits for the end.
fn run(
    arguments: &Proxy,
    config: &Config,
    vars: &BTreeMap<String, String>,
    levels: Levels,
    guard: &LogGuard,
    stopping: &Stopping,
) -> Result<(), RunError> {
    let system = |error| RunError::Start(StartError::System(error));
    let Mode::Dedicated(local) = &config.mode else { return Err(RunError::Shared) };
    let push = Push::from_environment(&|name| vars.get(name).map(String::as_str))?;
    let session_key = session_key(arguments.session_secret.as_deref())?;
    let world = world(arguments, config, local);
    let readiness = Readiness::new();
    let (known, listening) = (readiness.wait_for("state manager"), readiness.wait_for("proxy"));
    let requests = HttpMetrics::new(config.metrics);
    let (figures, resources) = (ExportFigures::default(), Resources::default());
    let metrics = Metrics::waypoint(
        &config.istio_version,
        &requests,
        [Box::new(figures.clone()) as _, Box::new(guard.access()) as _, Box::new(resources.clone()) as _],
    );
    let control = Arc::new(TokioThread::start("adit-control").map_err(system)?);
    let tables = Arc::new(Tables::new(Arc::new(Mesh::empty(Arc::clone(&config.network)))));
    let random = seed().map_err(system)?;
    let certificates = NodeCertificates::start(config, random, None, Arc::clone(&control))?;
    metrics.certificates.tell(certificates.figures());

    let source = Source::new(arguments);
    let (manifests, mut changes) = watch::channel(Loaded::nothing(&world));
    let (handle, resource) = (control.handle().clone(), resource(local, vars));
    let exporters = Exporters::new(handle.clone(), resource.clone(), Limits::default(), figures.clone());
    let exporters = Arc::new(exporters);
    let pushing = push.map(|push| Pushing::start(&handle, push, resource, metrics.clone(), figures.clone()));
    let state = Arc::new(ProcessState::new(config, &tables, &certificates, &metrics));
    let begun = Arc::new(OnceLock::new());
    let admin = Admin::new(Arc::clone(&state), Arc::new(levels)).listing(LISTED);
    let admin = Pages::new(admin, changes.clone(), Arc::clone(&begun));
    let mut sockets = Sockets::default();
    let _pages =
        pages::serve(config, readiness.clone(), Arc::new(metrics.clone()), Arc::new(admin), &mut sockets)?;
    let opened = control.wait(async {
        tokio::select! {
            () = stopping.asked() => None,
            opened = source.open(world, random, &resources) => Some(opened),
        }
    });
    // Told to end before there was anything to drain.
    let Some(opened) = opened else { return Ok(()) };
    let (opened, loaded) = opened?;
    tell(&loaded);
    let keys = Jwks::new();
    keys.update(loaded.compiled.snapshot.authentications.sources());
    let (put, in_force) = watch::channel(InForce::new(Arc::clone(&loaded.compiled.snapshot), &exporters));
    let first = Arc::clone(&loaded.compiled);
    manifests.send_replace(loaded);
    changes.mark_unchanged();
    control.spawn(opened.watch(manifests));
    control.spawn(follow(first, changes, put, keys.clone(), Arc::clone(&exporters)));
    let fetcher = Fetcher { roots: Roots::System, mark: None, names: None };
    let fetch = move |source| {
        let fetcher = fetcher.clone();
        async move { fetcher.fetch(&source).await }
    };
    control.spawn(keys.clone().run(RefreshSettings::default(), random, fetch));

    let first = Discovery::first(config, &tables, None, &control, &metrics, stopping)?;
    let First::Known(_discovery) = first else { return Ok(()) };
    known.done();

    let (drained, draining) = watch::channel(false);
    let shared = Arc::new(Shared::new(Parts {
        in_force,
        tables: Arc::clone(&tables),
        local: local.clone(),
        settings: Settings {
            normalization: arguments.path_normalization.0,
            drain: config.drain,
            ..Settings::default()
        },
        recorders: telling(Reporter::new(
            requests,
            AccessLogger::new(guard.access()),
            Arc::new(own(local, config)),
        )),
        draining,
        keys,
        session_key,
    }));
    control.spawn(Arc::clone(&shared).forget());
    // Nobody else sets it.
    let _ = begun.set(Arc::clone(&shared));
    let observed = metrics.clone();
    let parts = instance::Parts {
        tables: Arc::clone(&tables),
        certificates,
        observe: Arc::new(move |event: &Observed| observe(&observed, event)),
        questions: Arc::new(Questions::default),
        runtimes: metrics.runtimes,
        sockets,
        serve: None,
        entries: Vec::new(),
    };
    let instance = proxy::start(config, parts, &shared)?;
    tracing::info!(
        identity = instance.identity().map(tracing::field::display),
        hbone = %instance.addresses().hbone,
        manifests = %source,
        "listening"
    );
    let asked = stopping.asked();
    control.spawn(async move {
        asked.await;
        // Nobody waits any more only when all has ended.
        let _ = drained.send(true);
    });
    stopping.attach(instance.handles());
    drain_on_panic();
    listening.done();
    control.spawn(settle(readiness));
    let ended = instance.join();
    control.wait(async {
        let metrics = async {
            if let Some(pushing) = pushing {
                pushing.finish(LAST_WORDS).await;
            }
        };
        tokio::join!(exporters.finish(LAST_WORDS), metrics);
    });
    tracing::info!("drained");
    Ok(ended?)
}

/// Who we are, to collectors.
fn resource(local: &LocalWorkload, vars: &BTreeMap<String, String>) -> Resource {
    Resource::new(
        &format!("{}.{}", local.service_account, local.namespace),
        vars.get("OTEL_RESOURCE_ATTRIBUTES").map(String::as_str),
    )
}

/// Of the streams of tunnels, their requests are told of; here it is the tunnels, and who was refused one.
fn observe(metrics: &Metrics, event: &Observed) {
    match event {
        Observed::TunnelOpened { .. } | Observed::TunnelClosed { .. } => metrics.observe(event),
        Observed::EarlyDenied { .. } => {
            metrics.observe(event);
            access::log(event);
        }
        _ => {}
    }
}

/// Whose manifests are read, and how.
fn world(arguments: &Proxy, config: &Config, local: &LocalWorkload) -> World {
    let mut world = World::new(&local.namespace, &arguments.gateway);
    world.root_namespace = arguments.root_namespace.as_str().into();
    world.classes.extend(arguments.gateway_class.iter().map(|class| class.as_str().into()));
    world.cluster_domain = Arc::clone(&config.dns.cluster_domain);
    if let Some(domain) = &config.trust_domain {
        world.trust_domain = Arc::clone(domain);
    }
    world
}

/// The key of sessions: of the secret that replicas share, or one of our own.
fn session_key(secret: Option<&Path>) -> Result<SessionKey, RunError> {
    const LEAST: usize = 16;
    let Some(path) = secret else {
        let random = || seed().map(u128::from).map_err(|error| RunError::Start(StartError::System(error)));
        return Ok(SessionKey::new(random()? << 64 | random()?));
    };
    let wrong = |error| RunError::Secret { path: path.into(), error };
    let octets = std::fs::read(path).map_err(wrong)?;
    let octets = octets.trim_ascii();
    if octets.len() < LEAST {
        return Err(wrong(io::Error::other(format!("{} octets are too few", octets.len()))));
    }
    let half = |salt: &[u8]| u128::from(KeyHash::default().with(salt).with(octets).finish());
    Ok(SessionKey::new(half(b"high") << 64 | half(b"low")))
}

/// Puts into force what resources come to, whenever that is something else than `last`.
async fn follow(
    mut last: Arc<Compiled>,
    mut changes: watch::Receiver<Loaded>,
    put: watch::Sender<Arc<InForce>>,
    keys: Jwks,
    exporters: Arc<Exporters>,
) {
    while changes.changed().await.is_ok() {
        let loaded = changes.borrow_and_update().clone();
        // Something may be wrong with the source, and what it holds the same.
        if Arc::ptr_eq(&last, &loaded.compiled) {
            continue;
        }
        last = Arc::clone(&loaded.compiled);
        tell(&loaded);
        keys.update(loaded.compiled.snapshot.authentications.sources());
        put.send_replace(InForce::new(Arc::clone(&loaded.compiled.snapshot), &exporters));
        tracing::info!("the resources have changed, and are in force");
    }
}

/// Says what is wrong with manifests. What is wrong with a cluster is told as it comes and goes.
pub(crate) fn tell(loaded: &Loaded) {
    for file in &loaded.files {
        tracing::error!("{file}");
    }
    for problem in &loaded.compiled.problems {
        match problem.severity {
            Severity::Note => tracing::info!("{problem}"),
            Severity::Conflict | Severity::Unresolved | Severity::Unsupported => tracing::warn!("{problem}"),
            Severity::Malformed => tracing::error!("{problem}"),
        }
    }
}

/// Who we are, in spans.
fn own(local: &LocalWorkload, config: &Config) -> Own {
    let domain = &config.dns.cluster_domain;
    let address = config.listen.hbone.ip();
    Own {
        node_id: format!(
            "waypoint~{address}~{}.{}~{}.svc.{domain}",
            local.name, local.namespace, local.namespace
        )
        .into(),
        canonical_service: Arc::clone(&local.name),
        canonical_revision: "latest".into(),
        mesh_id: std::env::var("ISTIO_META_MESH_ID").unwrap_or_default().into(),
        namespace: Arc::clone(&local.namespace),
        cluster_id: config.control.cluster_id.as_str().into(),
    }
}
