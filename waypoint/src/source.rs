//! Where the waypoint's resources come from, for as long as it runs: a directory, or a cluster.
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_control::resources::cluster::{Cluster, Figures, Settings};
use adit_control::resources::directory::Directory;
use adit_control::resources::{Loaded, World};
use adit_ops::metrics::{ResourceFigures, Resources};
use tokio::sync::watch;

use crate::cli::{ConfigSource, Proxy};
use crate::run::RunError;

/// A source, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The manifests of a directory.
    Directory(PathBuf),
    /// The objects of a cluster.
    Cluster {
        /// Whether statuses are written.
        write: bool,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Cluster { .. } => f.write_str("cluster"),
        }
    }
}

/// A source that has been read once.
#[derive(Debug)]
pub enum Opened {
    /// See [`Source`].
    Directory(Box<Directory>),
    /// See [`Source`].
    Cluster(Box<Cluster>),
}

impl Source {
    /// What the command line asks for.
    #[must_use]
    pub fn new(arguments: &Proxy) -> Self {
        match (&arguments.config, arguments.config_source) {
            (Some(path), None | Some(ConfigSource::Directory)) => Self::Directory(path.clone()),
            _ => Self::Cluster { write: arguments.write_status },
        }
    }

    /// Reads all that there is; of a cluster, that may take until its API server is there. `seed`: what pauses between attempts
    /// differ by.
    ///
    /// # Errors
    /// Nobody knows what is forbidden: a directory or one of its files cannot be read, or no cluster is configured.
    pub async fn open(
        &self,
        world: World,
        seed: u64,
        metrics: &Resources,
    ) -> Result<(Opened, Loaded), RunError> {
        match self {
            Self::Directory(path) => directory(path, world),
            Self::Cluster { write } => {
                let settings = Settings {
                    write: *write,
                    seed,
                    timing: adit_control::resources::cluster::Timing::default(),
                };
                let mut cluster = Cluster::find(world, settings).await?;
                metrics.tell(Told(cluster.figures()));
                let loaded = cluster.open().await;
                Ok((Opened::Cluster(Box::new(cluster)), loaded))
            }
        }
    }
}

fn directory(path: &Path, world: World) -> Result<(Opened, Loaded), RunError> {
    let (directory, loaded) =
        Directory::open(path, world).map_err(|error| RunError::Manifests { path: path.into(), error })?;
    let unread = loaded.unread().next().cloned();
    if let Some(problem) = unread {
        crate::run::tell(&loaded);
        return Err(RunError::Unread(problem));
    }
    Ok((Opened::Directory(Box::new(directory)), loaded))
}

impl Opened {
    /// Sends what there is whenever it changes, until nobody listens any more.
    pub async fn watch(self, sender: watch::Sender<Loaded>) {
        match self {
            Self::Directory(directory) => directory.watch(sender).await,
            Self::Cluster(cluster) => cluster.watch(sender).await,
        }
    }
}

/// Figures, as metrics tell them.
struct Told(Figures);

impl ResourceFigures for Told {
    fn watches(&self) -> u64 {
        self.0.watches()
    }

    fn failing(&self) -> u64 {
        self.0.failing()
    }

    fn staleness(&self) -> Duration {
        self.0.staleness()
    }

    fn translations(&self) -> u64 {
        self.0.compiled()
    }

    fn statuses(&self, written: bool) -> u64 {
        self.0.statuses(written)
    }
}
