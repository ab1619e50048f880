//! One watch: which version of its group the cluster has, the list, and then what changes, for as long as anybody listens.
//!
//! Whatever fails is told and tried again, with pauses that grow and differ between processes. A list's version that the
//! server has forgotten (410) is a new list. A kind that the server does not have is looked for now and then.
use std::pin::pin;
use std::time::Duration;

use adit_core::rng::Rng;
use futures_lite::StreamExt as _;
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::settings::Timing;
use super::source::{Source, discovery};
use super::store::{Told, Trouble};
use super::stored::Stored;

/// Why a round ended.
#[derive(Debug)]
enum End {
    /// Nobody listens any more.
    Unheard,
    /// The server has forgotten the version that we know.
    Gone,
    /// There is no such kind.
    Absent,
    /// Something is wrong, and maybe the path is.
    Failed { trouble: Trouble, not_found: bool },
}

/// What the API says to a request; texts for people.
pub(super) fn text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        kube::Error::Service(error) => innermost(&**error),
        other => innermost(other),
    }
}

/// The reason behind wrappers that say nothing.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The status code with which the API refused a request.
pub(super) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

fn failing(text: impl Into<String>) -> End {
    End::Failed { trouble: Trouble::Failing(text.into()), not_found: false }
}

impl From<kube::Error> for End {
    fn from(error: kube::Error) -> Self {
        match code(&error) {
            Some(410) => Self::Gone,
            Some(403) => Self::Failed { trouble: Trouble::Forbidden(text(&error)), not_found: false },
            code => Self::Failed { trouble: Trouble::Failing(text(&error)), not_found: code == Some(404) },
        }
    }
}

/// A request without a body.
pub(super) fn get(path: &str) -> Result<http::Request<Vec<u8>>, http::Error> {
    http::Request::get(path).body(Vec::new())
}

/// A watch that goes on and on.
pub(super) struct Follower {
    client: Client,
    source: Source,
    told: mpsc::Sender<(Source, Told)>,
    timing: Timing,
    rng: Rng,
    /// The version of its group in which it is read.
    api: Option<&'static str>,
    /// From where on to watch.
    at: Option<String>,
    /// Rounds in a row that came to nothing.
    failures: u32,
}

impl Follower {
    pub(super) const fn new(
        client: Client,
        source: Source,
        told: mpsc::Sender<(Source, Told)>,
        timing: Timing,
        seed: u64,
    ) -> Self {
        Self { client, source, told, timing, rng: Rng::new(seed), api: None, at: None, failures: 0 }
    }

    /// Watches until nobody listens any more.
    pub(super) async fn run(mut self) {
        loop {
            let end = self.round().await;
            let pause = match end {
                Ok(()) => Duration::ZERO,
                Err(End::Unheard) => return,
                Err(End::Gone) => {
                    self.at = None;
                    self.pause()
                }
                Err(End::Absent) => {
                    (self.api, self.at) = (None, None);
                    if self.tell(Told::Absent).await.is_err() {
                        return;
                    }
                    self.failures = 0;
                    self.spread(self.timing.absent)
                }
                Err(End::Failed { trouble, not_found }) => {
                    if not_found {
                        (self.api, self.at) = (None, None);
                    }
                    if self.tell(Told::Trouble(trouble)).await.is_err() {
                        return;
                    }
                    self.pause()
                }
            };
            tokio::select! {
                () = self.told.closed() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// The next pause: twice the one before, up to a bound; at least half of it, so that processes do not come all at once.
    fn pause(&mut self) -> Duration {
        let doubled = self.timing.retry.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.spread(doubled.min(self.timing.retry_most))
    }

    fn spread(&mut self, most: Duration) -> Duration {
        let half = most / 2;
        half + Duration::from_millis(
            self.rng.below(u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1)),
        )
    }

    async fn tell(&self, told: Told) -> Result<(), End> {
        self.told.send((self.source.clone(), told)).await.map_err(|_| End::Unheard)
    }

    async fn round(&mut self) -> Result<(), End> {
        let api = match self.api {
            Some(api) => api,
            None => self.discover().await?,
        };
        self.api = Some(api);
        let from = match self.at.clone() {
            Some(at) => at,
            None => self.list(api).await?,
        };
        self.at = Some(from.clone());
        self.watch(api, &from).await
    }

    /// Asks for JSON.
    async fn ask(&self, path: &str) -> Result<Value, End> {
        let request = get(path).map_err(|error| failing(error.to_string()))?;
        match timeout(self.timing.request, self.client.request::<Value>(request)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(failing(format!("no answer within {:?}", self.timing.request))),
        }
    }

    /// As [`Follower::ask`]; `None`: there is nothing (404).
    async fn ask_for(&self, path: &str) -> Result<Option<Value>, End> {
        match self.ask(path).await {
            Ok(value) => Ok(Some(value)),
            Err(End::Failed { not_found: true, .. }) => Ok(None),
            Err(end) => Err(end),
        }
    }

    /// The best version of its group that has the kind.
    ///
    /// That a path is not found is no proof: a server that starts, or a proxy before it, says so too. Only when the list of
    /// groups agrees is the kind taken for absent, as its policies would be forgotten then.
    async fn discover(&self) -> Result<&'static str, End> {
        let kind = self.source.kind;
        if kind.group.is_empty() {
            return kind.versions.first().copied().ok_or(End::Absent);
        }
        let listed = |list: &Value| {
            let resources = list.get("resources").and_then(Value::as_array);
            resources.is_some_and(|all| {
                all.iter().any(|each| each.get("name").and_then(Value::as_str) == Some(kind.plural))
            })
        };
        let mut unknown = Vec::new();
        for version in kind.versions {
            match self.ask_for(&discovery(kind, version)).await? {
                Some(list) if listed(&list) => return Ok(version),
                Some(_) => {}
                None => unknown.push(*version),
            }
        }
        let groups = self.ask("/apis").await?;
        let Some(groups) = groups.get("groups").and_then(Value::as_array) else {
            return Err(failing("the server does not say which groups it has"));
        };
        let ours =
            groups.iter().filter(|group| group.get("name").and_then(Value::as_str) == Some(kind.group));
        let versions = ours.filter_map(|group| group.get("versions")?.as_array()).flatten();
        let mut names = versions.filter_map(|version| version.get("version")?.as_str());
        match names.find(|name| unknown.contains(name)) {
            Some(version) => {
                Err(failing(format!("{}/{version} is there and cannot be read yet", kind.group)))
            }
            None => Err(End::Absent),
        }
    }

    /// Tells all that there is; from where on to watch.
    async fn list(&self, api: &'static str) -> Result<String, End> {
        let mut all = Vec::new();
        let mut more: Option<String> = None;
        loop {
            let mut page = self.ask(&self.source.list(api, more.as_deref())).await?;
            let metadata = |page: &Value, field: &str| {
                let value = page.get("metadata").and_then(|metadata| metadata.get(field));
                value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
            };
            let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
                return Err(failing("the answer is no list"));
            };
            all.extend(items.into_iter().map(|item| Stored::new(self.source.kind, api, item)));
            more = metadata(&page, "continue");
            if more.is_none() {
                let version = metadata(&page, "resourceVersion");
                let version = version.ok_or_else(|| failing("the list does not say its version"))?;
                self.tell(Told::Listed(all)).await?;
                return Ok(version);
            }
        }
    }

    /// Tells what changes, until the server ends it, as it is asked to now and then.
    async fn watch(&mut self, api: &'static str, from: &str) -> Result<(), End> {
        let begun = Instant::now();
        let period = self.spread(self.timing.watch);
        let path = self.source.watch(api, from, period.as_secs().max(1));
        let request = get(&path).map_err(|error| failing(error.to_string()))?;
        let opened = timeout(self.timing.request, self.client.request_events::<Value>(request)).await;
        let events = opened.map_err(|_| failing("no answer to a watch"))??;
        let mut events = pin!(events);
        self.tell(Told::Fresh).await?;
        let mut any = false;
        loop {
            // The server ends it before; a connection that is dead does not.
            let next = tokio::select! {
                () = self.told.closed() => return Err(End::Unheard),
                next = timeout(period + self.timing.request, events.next()) => next,
            };
            let Ok(next) = next else { return Err(failing("the watch has gone silent")) };
            let Some(event) = next else { break };
            let (object, removed) = match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(bookmark) => {
                    self.at = Some(bookmark.metadata.resource_version);
                    (self.failures, any) = (0, true);
                    continue;
                }
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            };
            (self.failures, any) = (0, true);
            let read = Stored::new(self.source.kind, api, object);
            let version = read.as_ref().ok().map(|stored| stored.version.to_string());
            match (removed, read) {
                (false, read) => self.tell(Told::Changed(read)).await?,
                (true, Ok(stored)) => self.tell(Told::Removed(stored.object.id())).await?,
                // Who is gone, a new list tells.
                (true, Err(_)) => return Err(End::Gone),
            }
            self.at = version.or_else(|| self.at.take());
        }
        // A server that ends every watch at once is not asked without a pause.
        if !any && begun.elapsed() < self.timing.retry_most.min(Duration::from_secs(1)) {
            let pause = self.pause();
            sleep(pause).await;
        }
        Ok(())
    }
}
