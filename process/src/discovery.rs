//! The mesh from the control plane, and when it is known well enough to begin.
use std::sync::Arc;
use std::time::Duration;

use adit_control::dns::Names;
use adit_control::grpc::AuthError;
use adit_control::xds::{Demands, Settings, Stats, Xds, node};
use adit_core::mesh::Workload;
use adit_core::proxy::LocalWorkload;
use adit_core::xds::{Config as Machine, Reason, Subscription};
use adit_ops::metrics::{Metrics, XdsFigures};

use crate::config::{Config, Mode, Upstream};
use crate::instance::{StartError, load_mesh, local_workload, seed};
use crate::stopping::Stopping;
use crate::tables::Tables;
use crate::thread::TokioThread;

/// How often it is said that our own workload is not known yet.
const REMIND: Duration = Duration::from_secs(30);

/// A client of the control plane at work.
#[derive(Debug)]
pub struct Discovery {
    stats: Arc<Stats>,
    demands: Demands,
}

/// What has become of the first wait for the mesh.
#[derive(Debug)]
pub enum First {
    /// The mesh is known well enough; with who follows the control plane, if there is one.
    Known(Option<Discovery>),
    /// The end was asked for before there was anything to drain.
    Ended,
}

impl Discovery {
    /// Takes the mesh from the local file, where `config` names one; follows the control plane, likewise, and waits until the
    /// mesh is known well enough to begin.
    ///
    /// # Errors
    /// The file cannot be read, the control plane cannot be followed, or its mesh knows our workload otherwise than we were told.
    pub fn first(
        config: &Config,
        tables: &Arc<Tables>,
        names: Option<Names>,
        thread: &TokioThread,
        metrics: &Metrics,
        stopping: &Stopping,
    ) -> Result<First, StartError> {
        if config.mesh.is_some() {
            tables.load(load_mesh(config)?);
        }
        let Some(upstream) = &config.control.xds else { return Ok(First::Known(None)) };
        let random = seed().map_err(StartError::System)?;
        let discovery = Self::start(config, upstream, tables, random, names, thread)?;
        metrics.xds.tell(discovery.figures());
        let begun = thread.wait(async {
            tokio::select! {
                () = stopping.asked() => None,
                begun = discovery.begun(config, tables) => Some(begun),
            }
        });
        match begun {
            None => Ok(First::Ended),
            Some(begun) => begun.map(|()| First::Known(Some(discovery))),
        }
    }

    /// Follows `upstream` on `thread`, from the tables there are, for as long as the thread lives.
    fn start(
        config: &Config,
        upstream: &Upstream,
        tables: &Arc<Tables>,
        seed: u64,
        names: Option<Names>,
        thread: &TokioThread,
    ) -> Result<Self, AuthError> {
        let settings = Settings {
            connector: config.control.connector(upstream, config.control_mark(), names)?,
            node: node(&config.control.node),
            machine: Machine {
                addresses: if config.control.on_demand {
                    Subscription::OnDemand
                } else {
                    Subscription::Wildcard
                },
                seed,
                ..Machine::default()
            },
        };
        tracing::info!(address = %upstream.server, "the mesh comes from the control plane");
        let published = Arc::clone(tables);
        let sink = move |mesh| published.publish(mesh);
        let (client, demands, stats) = Xds::new(settings, (*tables.current()).clone(), sink);
        thread.spawn(client.run());
        Ok(Self { stats, demands })
    }

    /// To ask for what is not subscribed.
    pub const fn demands(&self) -> &Demands {
        &self.demands
    }

    /// What metrics tell of it.
    fn figures(&self) -> impl XdsFigures + use<> {
        Figures(Arc::clone(&self.stats))
    }

    /// Waits until the control plane has sent what we need before we listen: every type, and in dedicated mode whom we stand
    /// for. A pod may come before its workload.
    ///
    /// # Errors
    /// The mesh knows our workload, but of another trust domain than we were told.
    async fn begun(&self, config: &Config, tables: &Tables) -> Result<(), StartError> {
        match &config.mode {
            Mode::Dedicated(asked) => self.known(config, asked, tables).await.map(drop),
            Mode::Shared(_) => {
                self.synced().await;
                Ok(())
            }
        }
    }

    /// Waits until the control plane has sent every type.
    async fn synced(&self) {
        self.stats.synced().await;
    }

    /// Waits until the control plane has sent every type, and the tables know whom we stand for, `asked`.
    ///
    /// # Errors
    /// They do, but it is of another trust domain than we were told.
    async fn known(
        &self,
        config: &Config,
        asked: &LocalWorkload,
        tables: &Tables,
    ) -> Result<Arc<Workload>, StartError> {
        self.synced().await;
        let mut changes = tables.watch();
        loop {
            let mesh = Arc::clone(&changes.borrow_and_update());
            match local_workload(config, asked, &mesh) {
                Err(unknown @ StartError::UnknownWorkload { .. }) => {
                    tracing::warn!("waiting for our own workload: {unknown}");
                }
                decided => return decided,
            }
            let known = |mesh: &Arc<_>| {
                !matches!(local_workload(config, asked, mesh), Err(StartError::UnknownWorkload { .. }))
            };
            // In vain after a while: the next round says so again.
            let _ = tokio::time::timeout(REMIND, changes.wait_for(known)).await;
        }
    }
}

struct Figures(Arc<Stats>);

impl XdsFigures for Figures {
    fn terminations(&self, reason: Reason) -> u64 {
        self.0.terminations(reason)
    }

    fn messages(&self) -> Vec<(&'static str, u64, u64)> {
        self.0.messages().into_iter().map(|(url, counts)| (url, counts.messages, counts.bytes)).collect()
    }

    fn staleness(&self) -> Duration {
        self.0.without_stream().unwrap_or_default()
    }
}
