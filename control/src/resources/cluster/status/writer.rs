//! Writes statuses: only what differs, not too fast, and never over what somebody else has written meanwhile.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::super::problem::ObjectName;
use super::super::figures::Figures;
use super::super::follow::{code, get, text};
use super::super::kinds::{Kind, find};
use super::super::settings::Timing;
use super::super::source::object_path;
use super::super::stored::Stored;
use super::View;
use super::patch::{Wanted, patch};

/// Who writes, in `managedFields`.
const MANAGER: &str = "adit-waypoint";
/// Writes at once, before they are spread.
const BURST: u32 = 20;
/// Attempts at an object that others write to at the same time.
const ATTEMPTS: usize = 5;
/// Writes of the same to an object before each further one waits longer: somebody else undoes them.
const PATIENCE: u32 = 4;
/// The longest such pause, and the pause after a refusal.
const LONGEST: Duration = Duration::from_secs(300);

/// What was last written to an object.
struct Written {
    /// The version that was written upon, and what came of it; until the watch has seen that.
    ahead: Option<(Arc<str>, Arc<Stored>)>,
    said: Wanted,
    times: u32,
    not_before: Instant,
}

/// What became of an attempt.
enum Outcome {
    /// It was written; this is what it is now, if that can be read.
    Written(Option<Arc<Stored>>),
    /// It says already what it is to say: somebody else was faster, and the watch has not told of it yet.
    Said(Arc<Stored>),
    /// It has changed so much that it is looked at anew when the watch has told of it, or is gone.
    Moved,
    /// The API will not have it.
    Refused(String),
    /// It may be tried again.
    Failed(String),
}

/// Writes statuses.
pub(in super::super) struct Writer {
    client: Client,
    timing: Timing,
    figures: Figures,
    written: BTreeMap<ObjectName, Written>,
    /// Kinds that we may not write to, so that it is told once.
    told: BTreeSet<String>,
    /// Writes that may be made at once, and since when.
    burst: (u32, Instant),
}

impl Writer {
    pub(in super::super) fn new(client: Client, timing: Timing, figures: Figures) -> Self {
        let (written, told) = (BTreeMap::new(), BTreeSet::new());
        Self { client, timing, figures, written, told, burst: (BURST, Instant::now()) }
    }

    /// Writes what is new until nobody says anything any more.
    pub(in super::super) async fn run(mut self, mut views: watch::Receiver<View>) {
        let mut next = None;
        loop {
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return },
                () = later(next) => {}
            }
            let view = views.borrow_and_update().clone();
            self.written.retain(|name, _| view.stored.contains_key(name));
            next = self.pass(&view, &views).await;
        }
    }

    /// Writes what differs, until there is something newer. When to look again, if something waits.
    async fn pass(&mut self, view: &View, news: &watch::Receiver<View>) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for name in differing(view).await {
            if news.has_changed().unwrap_or(true) {
                break;
            }
            let (Some(wanted), Some(stored)) = (view.sayings.0.get(&name), view.stored.get(&name)) else {
                continue;
            };
            let Some(kind) = find(&name.group, &name.kind) else { continue };
            let known = self.written.get(&name);
            let ahead =
                known.and_then(|known| known.ahead.as_ref()).filter(|(base, _)| *base == stored.version);
            let present = Arc::clone(ahead.map_or(stored, |(_, ahead)| ahead));
            if said(kind, &present, wanted).is_none() {
                continue;
            }
            let (times, not_before) = match known {
                Some(known) if known.said == *wanted => (known.times, Some(known.not_before)),
                _ => (0, None),
            };
            if let Some(then) = not_before.filter(|then| *then > Instant::now()) {
                next = Some(next.map_or(then, |next| next.min(then)));
                continue;
            }
            self.pace().await;
            let (base, said) = (Arc::clone(&stored.version), wanted.clone());
            let times = times.saturating_add(1);
            let mut not_before = Instant::now() + pause(times);
            let mut ahead = None;
            match self.write(kind, &name, present, wanted).await {
                Outcome::Moved => {}
                Outcome::Said(now) => ahead = Some((base, now)),
                Outcome::Written(now) => {
                    self.figures.written(true);
                    ahead = now.map(|now| (base, now));
                }
                Outcome::Refused(why) => {
                    self.figures.written(false);
                    not_before = Instant::now() + LONGEST;
                    if self.told.insert(why.clone()) {
                        tracing::warn!("{why}");
                    }
                }
                Outcome::Failed(why) => {
                    self.figures.written(false);
                    not_before =
                        not_before.max(Instant::now() + self.timing.retry.saturating_mul(1 << times.min(10)));
                    tracing::debug!("the status of {name} is not written, and tried again: {why}");
                }
            }
            next = Some(
                next.map_or(not_before, |next| next.min(not_before)).max(Instant::now() + self.timing.write),
            );
            self.written.insert(name, Written { ahead, said, times, not_before });
        }
        next
    }

    /// Waits for leave to write: a burst, and then one now and then.
    async fn pace(&mut self) {
        let (left, since) = self.burst;
        let gap = self.timing.write.max(Duration::from_millis(1));
        let gained = u32::try_from(since.elapsed().as_millis() / gap.as_millis()).unwrap_or(u32::MAX);
        let left = left.saturating_add(gained).min(BURST);
        self.burst = (left.saturating_sub(1), Instant::now());
        if left == 0 {
            sleep(gap).await;
        }
    }

    /// Writes one status. What others write meanwhile is read, and counted with.
    async fn write(
        &self,
        kind: &Kind,
        name: &ObjectName,
        mut present: Arc<Stored>,
        wanted: &Wanted,
    ) -> Outcome {
        let generation = present.object.generation;
        for _ in 0..ATTEMPTS {
            let Some(status) = said(kind, &present, wanted) else { return Outcome::Said(present) };
            let path = object_path(kind, present.api, name, true);
            let body = json!({"metadata": {"resourceVersion": &*present.version}, "status": status});
            match self.ask(patch_request(&path, &body)).await {
                Ok(body) => {
                    let read = Stored::new(kind, present.api, body);
                    return Outcome::Written(read.ok().map(Arc::new));
                }
                Err(Some(error)) => match code(&error) {
                    Some(409) => {}
                    Some(404) => return Outcome::Moved,
                    Some(403) => {
                        return Outcome::Refused(format!(
                            "statuses of {} are not written: {}; give the service account of the waypoint `patch` for {}/status, as its chart does, or start it with --write-status=false",
                            kind.kind,
                            text(&error),
                            kind.plural
                        ));
                    }
                    Some(400 | 422) => {
                        return Outcome::Refused(format!(
                            "the status of {name} is not written: {}",
                            text(&error)
                        ));
                    }
                    _ => return Outcome::Failed(text(&error)),
                },
                Err(None) => return Outcome::Failed("no answer".to_owned()),
            }
            // Somebody was faster.
            let read = match self.ask(get(&object_path(kind, present.api, name, false))).await {
                Ok(body) => Stored::new(kind, present.api, body),
                Err(Some(error)) if code(&error) == Some(404) => return Outcome::Moved,
                Err(error) => {
                    return Outcome::Failed(
                        error.map_or_else(|| "no answer".to_owned(), |error| text(&error)),
                    );
                }
            };
            match read {
                // What is to be said of another edit is not known yet.
                Ok(read) if read.object.generation == generation => present = Arc::new(read),
                Ok(_) | Err(_) => return Outcome::Moved,
            }
        }
        Outcome::Failed("others write to it all the time".to_owned())
    }

    /// The answer, as JSON; `None` in place of an error: there was none in time.
    async fn ask(
        &self,
        request: Result<http::Request<Vec<u8>>, http::Error>,
    ) -> Result<Value, Option<kube::Error>> {
        let request = request.map_err(|error| Some(kube::Error::HttpError(error)))?;
        match timeout(self.timing.request, self.client.request::<Value>(request)).await {
            Ok(answer) => answer.map_err(Some),
            Err(_) => Err(None),
        }
    }
}

async fn later(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// How long the same is not written again: at first not at all, then ever longer.
fn pause(times: u32) -> Duration {
    match times.checked_sub(PATIENCE) {
        None => Duration::ZERO,
        Some(more) => LONGEST.min(Duration::from_secs(1) * (1 << more.min(10))),
    }
}

/// The objects whose status is not what it is to be; looked for beside the thread that has tasks to do.
async fn differing(view: &View) -> Vec<ObjectName> {
    let view = view.clone();
    let look = move || {
        let differs = |(name, wanted): &(&ObjectName, &Wanted)| {
            let (stored, kind) = (view.stored.get(*name), find(&name.group, &name.kind));
            stored.zip(kind).is_some_and(|(stored, kind)| said(kind, stored, wanted).is_some())
        };
        view.sayings.0.iter().filter(differs).map(|(name, _)| name.clone()).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// What is to be written to an object, if anything.
fn said(kind: &Kind, stored: &Stored, wanted: &Wanted) -> Option<Value> {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    patch(kind.shape, &stored.status(), &stored.object.namespace, wanted, &now)
}

fn patch_request(path: &str, body: &Value) -> Result<http::Request<Vec<u8>>, http::Error> {
    http::Request::patch(format!("{path}?fieldManager={MANAGER}"))
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(body.to_string().into_bytes())
}
