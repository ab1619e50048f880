//! `adit-node proxy`: one instance with logs, readiness, signals and a graceful end.
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use adit_core::inpod::ProtocolError;
use adit_core::mesh::Mesh;
use adit_core::proxy::ShardConfig;
use adit_ops::access;
use adit_ops::admin::Admin;
use adit_ops::counters::Counters;
use adit_ops::http::ServerError;
use adit_ops::logging::Levels;
use adit_ops::metrics::Metrics;
use adit_ops::readiness::Readiness;
use adit_runtime::{NoDemands, PodAccessError, Questions, ShardError, check_pod_access};

use crate::certificates::NodeCertificates;
use crate::cli::Proxy;
use crate::config::{Config, Mode};
use crate::demands::OnDemand;
use crate::discovery::{Discovery, First};
use crate::handover::{Handover, Sockets};
use crate::inpod::{self, Pods};
use crate::instance::{Instance, Parts, StartError, seed};
use crate::names::{DnsProxy, NodeResolver};
use crate::stopping::Stopping;
use crate::tables::Tables;
use crate::thread::TokioThread;
use adit_process::admin::ProcessState;
use adit_process::pages;
use adit_process::start::{BeginError, Begun, begin, drain_on_panic, settle};

/// Why the proxy ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The process cannot begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The servers of readiness, metrics and admin pages cannot be started.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The instance cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A shard failed.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// Shared mode is not possible here.
    #[error(transparent)]
    Access(#[from] PodAccessError),
    /// The node's CNI agent cannot be followed.
    #[error("the CNI agent does not keep to ZDS: {0}")]
    Agent(#[from] ProtocolError),
}

/// Runs the proxy until it is drained after SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or a shard failed.
pub fn proxy(arguments: &Proxy) -> Result<ExitCode, RunError> {
    let extra = arguments.extra.join(" ");
    let Begun { guard, levels, mut config, stopping, .. } =
        begin(|| tracing::info!(version = env!("CARGO_PKG_VERSION"), %extra, "adit-node starts"))?;
    config.runtime = arguments.runtime.unwrap_or(config.runtime);
    let ended = run(&config, levels, &stopping);
    guard.flush();
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Starts everything, and waits for the end.
fn run(config: &Config, levels: Levels, stopping: &Stopping) -> Result<(), RunError> {
    let system = |error| RunError::Start(StartError::System(error));
    if config.mode.shared().is_some()
        && let Some(mark) = config.sockets.mark
    {
        check_pod_access(mark)?;
    }
    let readiness = Readiness::new();
    let (known, listening) = (readiness.wait_for("state manager"), readiness.wait_for("proxy"));
    let answering = config.dns.listen.is_some().then(|| readiness.wait_for("dns proxy"));
    let metrics = Metrics::new(&config.istio_version, config.metrics);
    let control = Arc::new(TokioThread::start("adit-control").map_err(system)?);
    let mesh = Mesh::empty(Arc::clone(&config.network)).on_node(config.node());
    let tables = Arc::new(Tables::new(Arc::new(mesh)));
    let resolver = Arc::new(NodeResolver::start(config, &tables, &metrics).map_err(system)?);
    // Where we mark our packets, redirection would bring the machine's own questions back to us, who cannot answer yet.
    let names = config.control_mark().map(|_| resolver.names().clone());
    let random = seed().map_err(system)?;
    let certificates = NodeCertificates::start(config, random, names.clone(), Arc::clone(&control))?;
    metrics.certificates.tell(certificates.figures());

    let handover = config.handover.as_deref().map(Handover::new).transpose().map_err(StartError::from)?;
    if let Some(handover) = &handover {
        stopping.ends(handover);
    }
    let mut sockets =
        handover.as_ref().map_or_else(|| Ok(Sockets::default()), Handover::here).map_err(system)?;
    // These answer while the tables are still on their way.
    let state = Arc::new(ProcessState::new(config, &tables, &certificates, &metrics));
    let admin = Admin::new(Arc::clone(&state), Arc::new(levels));
    let pages =
        pages::serve(config, readiness.clone(), Arc::new(metrics.clone()), Arc::new(admin), &mut sockets)?;

    let first = Discovery::first(config, &tables, names, &control, &metrics, stopping)?;
    let First::Known(discovery) = first else { return Ok(()) };
    known.done();
    // In shared mode questions are asked in pods.
    let dns = match &config.mode {
        Mode::Dedicated(_) => resolver.serve(&mut sockets, stopping.asked()).map_err(StartError::Dns)?,
        Mode::Shared(_) => None,
    };

    let counters = Arc::new(Counters::default());
    let observe = {
        let (counters, metrics, decisions) = (Arc::clone(&counters), metrics.clone(), config.decisions);
        Arc::new(move |observed: &_| {
            counters.record(observed);
            metrics.observe(observed);
            access::log_with(observed, decisions);
        })
    };
    let parts = Parts {
        tables: Arc::clone(&tables),
        certificates: certificates.clone(),
        observe,
        questions: questions(config, &resolver, discovery.as_ref()),
        runtimes: metrics.runtimes.clone(),
        sockets,
        serve: None,
        entries: config.entries.clone(),
    };
    let instance = Instance::start(config, parts)?;
    tell_addresses(config, &instance, dns.as_ref().and_then(DnsProxy::address), pages.addresses());
    stopping.attach(instance.handles());
    let pods = match &config.mode {
        Mode::Dedicated(_) => None,
        Mode::Shared(shared) => {
            let parts = inpod::Parts {
                config,
                shared,
                instance: &instance,
                tables: &tables,
                certificates: &certificates,
                resolver: &resolver,
                metrics: &metrics,
                readiness: &readiness,
                captures: state.found(),
                handover: handover.as_ref(),
                stopping,
                control: &control,
            };
            let pods = Pods::start(&parts).map_err(system)?;
            state.follow(pods.view());
            Some(pods)
        }
    };
    drain_on_panic();
    listening.done();
    if let Some(answering) = answering {
        answering.done();
    }
    control.spawn(settle(readiness.clone()));
    if let Some(handover) = handover {
        control.spawn(offer(handover, readiness));
    }
    let ended = instance.join();
    if let Some(dns) = dns {
        resolver.end(dns, config.drain);
    }
    let agent = pods.map_or(Ok(()), |pods| pods.end(&control, config.drain));
    tracing::info!("drained; {}", counters.snapshot());
    ended?;
    Ok(agent?)
}

/// Takes the place of the proxy before this one when this one is ready; until then, one that is started in its stead shall meet
/// the same.
async fn offer(handover: Handover, readiness: Readiness) {
    readiness.ready().await;
    if let Err(error) = handover.offer() {
        tracing::warn!(%error, "the proxy that comes next will bind sockets of its own");
    }
}

/// Who answers the shards' questions.
fn questions(
    config: &Config,
    resolver: &NodeResolver,
    discovery: Option<&Discovery>,
) -> Arc<dyn Fn() -> Questions + Send + Sync> {
    let names = resolver.source();
    let demands = discovery.filter(|_| config.control.on_demand).map(|discovery| discovery.demands().clone());
    Arc::new(move || Questions {
        names: Box::new(names.clone()),
        demands: match &demands {
            Some(demands) => Box::new(OnDemand::new(demands.clone(), ShardConfig::DEMAND_TIMEOUT)),
            None => Box::new(NoDemands),
        },
    })
}

fn tell_addresses(config: &Config, instance: &Instance, dns: Option<SocketAddr>, pages: &[SocketAddr]) {
    let at = instance.addresses();
    let [ready, stats, admin] = [0, 1, 2].map(|n| pages.get(n));
    tracing::info!(
        identity = instance.identity().map(tracing::field::display),
        agent = config.mode.shared().map(|shared| tracing::field::display(shared.agent.display())),
        runtime = ?config.runtime,
        shards = config.threads.get(),
        outbound = %at.outbound,
        inbound = %at.inbound_plain,
        hbone = %at.hbone,
        socks5 = at.socks5.map(tracing::field::display),
        dns = dns.map(tracing::field::display),
        readiness = ready.map(tracing::field::display),
        stats = stats.map(tracing::field::display),
        admin = admin.map(tracing::field::display),
        "listening"
    );
}
