//! Resources from a Kubernetes cluster: every kind is watched, changes take effect together, and what is said of objects is
//! written into their status.
//!
//! ```text
//!   follow (one per kind) ──▶ store ──▶ compile ──▶ Loaded
//!                                │          └─────▶ status
//!                                └─▶ references: ConfigMaps and Secrets that are followed too
//! ```
//!
//! Nothing is given before all is known that there is, as a policy that is missing would not forbid anything. From then on the
//! last good state stays, whatever happens to the API server.
//!
//! An object that the API has let through is translated as it is, however wrong: its rules fail, as translators see to it. To
//! keep an older edit instead would make replicas differ by when they were started.
mod figures;
mod follow;
mod kinds;
mod references;
mod settings;
mod source;
mod status;
mod store;
mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_core::rng::Rng;
use adit_core::time::Instant as Moment;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

pub use self::figures::Figures;
use self::follow::Follower;
use self::kinds::{Shape, WATCHED};
use self::references::references;
pub use self::settings::{Settings, Timing};
use self::source::Source;
pub use self::status::CONTROLLER;
use self::status::{Sayings, View, Writer};
use self::store::{News, Store, Told};
use super::{Compiled, Loaded, Objects, World, compile};

/// What watches have told and nobody has looked at yet, at most.
const QUEUE: usize = 256;
/// A translation that takes long is not made more often than takes this share of a processor.
const SHARE: u32 = 4;
/// How long a change waits for objects that it refers to.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is told what is still waited for.
const WAITING: Duration = Duration::from_secs(10);

/// Why a cluster cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Nobody says where the cluster is.
    #[error(
        "no cluster is to be found: {0}; in a pod, mount its service account's token, elsewhere set KUBECONFIG"
    )]
    Configuration(String),
    /// A kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// The configuration makes no client.
    #[error("the configuration of the cluster cannot be used: {0}")]
    Client(String),
}

/// What whoever watches must be allowed: group and plural of each kind, and whether its status is written. ConfigMaps and
/// Secrets, of which single ones are read, are not among them.
pub fn privileges() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    WATCHED.iter().map(|kind| (kind.group, kind.plural, kind.shape != Shape::None))
}

/// A cluster that is watched.
#[derive(Debug)]
pub struct Cluster {
    world: World,
    settings: Settings,
    client: Handle,
    rng: Rng,
    store: Store,
    /// What `adit_core`'s time counts from.
    begun: Instant,
    told: mpsc::Sender<(Source, Told)>,
    heard: mpsc::Receiver<(Source, Told)>,
    tasks: JoinSet<()>,
    /// Single objects that are watched, and who does.
    single: BTreeMap<Source, AbortHandle>,
    figures: Figures,
    /// How long the last translation took.
    took: Duration,
    /// What is to be said of the first objects.
    first: Option<Sayings>,
    /// Until when objects that have been referred to since are waited for.
    patience: Option<Instant>,
}

/// The client, which says nothing of itself.
struct Handle(Client);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Cluster {
    /// The cluster that the environment names: KUBECONFIG or `~/.kube/config`, else that of our pod.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn find(world: World, settings: Settings) -> Result<Self, ClusterError> {
        let config = Config::infer().await.map_err(|error| ClusterError::Configuration(error.to_string()))?;
        Self::with(config, world, settings)
    }

    /// The cluster of a kubeconfig (YAML), in its current context.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn of(kubeconfig: &str, world: World, settings: Settings) -> Result<Self, ClusterError> {
        let wrong = |error: kube::config::KubeconfigError| ClusterError::Kubeconfig(error.to_string());
        let read = Kubeconfig::from_yaml(kubeconfig).map_err(wrong)?;
        let config =
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(wrong)?;
        Self::with(config, world, settings)
    }

    fn with(mut config: Config, world: World, settings: Settings) -> Result<Self, ClusterError> {
        // Ours tells of each failure, and pauses between them.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| ClusterError::Client(follow::text(&error)))?;
        let (told, heard) = mpsc::channel(QUEUE);
        let mut this = Self {
            world,
            rng: Rng::new(settings.seed),
            settings,
            client: Handle(client),
            store: Store::default(),
            begun: Instant::now(),
            told,
            heard,
            tasks: JoinSet::new(),
            single: BTreeMap::new(),
            figures: Figures::default(),
            took: Duration::ZERO,
            first: None,
            patience: None,
        };
        for kind in &WATCHED {
            this.follow(Source::all(kind));
        }
        this.refer(&Objects::default());
        Ok(this)
    }

    /// What is counted.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.figures.clone()
    }

    fn follow(&mut self, source: Source) -> AbortHandle {
        self.store.add(source.clone());
        let (client, told) = (self.client.0.clone(), self.told.clone());
        let follower = Follower::new(client, source, told, self.settings.timing, self.rng.next_u64());
        self.tasks.spawn(follower.run())
    }

    /// Watches the single objects that `objects` refer to, and no others. Whether there are new ones.
    fn refer(&mut self, objects: &Objects) -> bool {
        let wanted = references(objects, &self.world);
        self.single.retain(|source, task| {
            let stays = wanted.contains(source);
            if !stays {
                task.abort();
            }
            stays
        });
        self.store.retain(&wanted);
        let new: Vec<_> = wanted.into_iter().filter(|source| !self.single.contains_key(source)).collect();
        for source in &new {
            let task = self.follow(source.clone());
            self.single.insert(source.clone(), task);
        }
        !new.is_empty()
    }

    fn now(&self) -> Moment {
        Moment::ZERO + self.begun.elapsed()
    }

    fn handle(&mut self, (source, told): (Source, Told)) {
        let now = self.now();
        self.store.handle(now, &source, told);
        for news in self.store.take_news() {
            match news {
                News::Wrong(text) => tracing::warn!("{text}"),
                News::Well(text) => tracing::info!("{text}"),
            }
        }
        let (watches, failing, since) = self.store.figures();
        self.figures.watched(watches, failing, since.map(|since| now.saturating_since(since)));
    }

    /// The next thing that a watch tells. The channel stays open: we hold an end of it.
    async fn hear(&mut self) {
        if let Some(told) = self.heard.recv().await {
            self.handle(told);
        }
    }

    /// Waits until all is known that there is. It may take as long as the API server does.
    pub async fn open(&mut self) -> Loaded {
        let mut patience = Instant::now() + WAITING;
        loop {
            tokio::select! {
                () = self.hear() => {}
                () = sleep_until(patience) => {
                    patience = Instant::now() + WAITING;
                    let awaited: Vec<_> = self.store.awaited().map(ToString::to_string).collect();
                    tracing::warn!("not ready: the cluster has not yet told all there is of {}", awaited.join(", "));
                }
            }
            if self.store.complete() {
                let objects = self.store.objects();
                // What these refer to is waited for as well.
                if !self.refer(&objects) {
                    let (loaded, sayings) = self.translate(objects).await;
                    self.first = Some(sayings);
                    return loaded;
                }
            }
        }
    }

    /// Translates beside the thread that has connections to serve.
    async fn translate(&mut self, objects: Objects) -> (Loaded, Sayings) {
        self.store.take_changed();
        self.store.take_troubled();
        let begun = Instant::now();
        let (world, objects) = (self.world.clone(), Arc::new(objects));
        let write = self.settings.write;
        let work = {
            let objects = Arc::clone(&objects);
            move || {
                let compiled = compile(&objects, &world);
                let sayings = write.then(|| Sayings::new(&objects, &compiled, &world));
                (compiled, sayings.unwrap_or_default())
            }
        };
        let translated = tokio::task::spawn_blocking(work).await;
        let (compiled, sayings): (Compiled, Sayings) = match translated {
            Ok(translated) => translated,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this task with it.
                Err(_) => std::future::pending().await,
            },
        };
        self.took = begun.elapsed();
        self.figures.translated();
        let (compiled, sources) = (Arc::new(compiled), self.store.problems());
        (Loaded { compiled, objects, files: Vec::new(), sources }, sayings)
    }

    /// Sends what the cluster holds whenever that has changed (what it comes to is another [`Arc`] then, and the same if only
    /// something is wrong), and writes statuses, until nobody listens any more.
    pub async fn watch(mut self, sender: watch::Sender<Loaded>) {
        let (views, seen) = watch::channel(View::default());
        if self.settings.write {
            let client = self.client.0.clone();
            self.tasks.spawn(Writer::new(client, self.settings.timing, self.figures()).run(seen));
        }
        // Statuses of the first objects.
        let mut due = Some(Instant::now());
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = self.hear() => {
                    if due.is_none() && self.store.stirred() {
                        due = Some(Instant::now() + self.settings.timing.settle.max(self.took * SHARE));
                    }
                }
                () = at(due) => due = self.publish(&sender, &views).await,
            }
        }
    }

    /// Tells what has changed. When to come again, if something is waited for.
    async fn publish(
        &mut self,
        sender: &watch::Sender<Loaded>,
        views: &watch::Sender<View>,
    ) -> Option<Instant> {
        let mut sayings = self.first.take();
        if self.store.changed() {
            let objects = self.store.objects();
            if self.refer(&objects) {
                self.patience = Some(Instant::now() + PATIENCE);
            }
            // A policy that has just been given other certificates would fail without them.
            if !self.store.complete() && self.patience.is_some_and(|until| Instant::now() < until) {
                return Some(Instant::now() + self.settings.timing.settle);
            }
            let (loaded, said) = self.translate(objects).await;
            sender.send_replace(loaded);
            sayings = Some(said);
        } else if self.store.take_troubled() {
            let sources = self.store.problems();
            sender.send_modify(|loaded| loaded.sources = sources);
        }
        let moved = self.store.take_moved();
        if self.settings.write && (moved || sayings.is_some()) {
            let stored = Arc::new(self.store.writable());
            views.send_modify(|view| {
                view.stored = stored;
                if let Some(sayings) = sayings {
                    view.sayings = sayings;
                }
            });
        }
        None
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
