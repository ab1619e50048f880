//! All sets of keys that are in use, and the task that keeps them fresh.
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use adit_core::l7::jwt::{Claim, Header, KeySource, Keys, Refresh, RefreshSettings, Signature};
use adit_core::time::Instant;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::fetch::{FetchError, Fetched};
use super::set::KeySet;

/// The sets of keys that rules name. Cheap to clone; all copies are one.
///
/// Any thread may check signatures by it; one task, [`Jwks::run`], fetches. Until a set has been fetched, its tokens are
/// refused; what was fetched last stays until something better comes.
#[derive(Clone, Debug, Default)]
pub struct Jwks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slots: RwLock<BTreeMap<KeySource, Entry>>,
    /// Something is wanted of the task.
    wake: Notify,
    /// Something that was wanted has been done, or will not be.
    done: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { slots: RwLock::default(), wake: Notify::new(), done: watch::Sender::new(0) }
    }
}

/// A source, and whether any rule names it.
#[derive(Debug)]
struct Entry {
    slot: Arc<Slot>,
    /// Since when none does.
    idle: Option<std::time::Instant>,
}

#[derive(Debug, Default)]
struct Slot {
    held: RwLock<Held>,
    /// A token names a key that is not there; or there are no keys yet.
    wanted: AtomicBool,
    /// A fetch is under way.
    fetching: AtomicBool,
}

/// Sets that no rule names any more are kept for this long: requests may be under way by rules that do.
const GRACE: Duration = Duration::from_secs(60);

/// What is known of a source.
#[derive(Clone, Debug, Default)]
struct Held {
    /// The keys fetched or read last.
    keys: Option<Arc<KeySet>>,
    /// What was wrong the last time.
    error: Option<String>,
    fetched: u64,
    failed: u64,
    /// When the keys came.
    last: Option<std::time::Instant>,
}

/// What is known of a source, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// Which.
    pub source: KeySource,
    /// Keys in use.
    pub keys: usize,
    /// Times that it was fetched.
    pub fetched: u64,
    /// Times that it could not be.
    pub failed: u64,
    /// When it was, the last time.
    pub last: Option<std::time::Instant>,
    /// What was wrong, if it was the last time.
    pub error: Option<String>,
}

impl Slot {
    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.held.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes what was read, or what went wrong: then the keys stay that were there.
    fn take(&self, read: Result<KeySet, String>) {
        self.change(|held| match read {
            Ok(set) => {
                held.keys = Some(Arc::new(set));
                held.error = None;
                held.last = Some(std::time::Instant::now());
                held.fetched = held.fetched.saturating_add(1);
            }
            Err(error) => {
                held.error = Some(error);
                held.failed = held.failed.saturating_add(1);
            }
        });
    }

    fn is_busy(&self) -> bool {
        self.wanted.load(Ordering::Acquire) || self.fetching.load(Ordering::Acquire)
    }
}

/// Whether it must be fetched.
const fn is_remote(source: &KeySource) -> bool {
    matches!(source, KeySource::Uri { .. } | KeySource::Discovery { .. })
}

/// Reads a set; keys that are left out are told in the log.
fn read(source: &KeySource, text: &[u8]) -> Result<KeySet, String> {
    let (set, skipped) = KeySet::parse(text).map_err(|error| error.to_string())?;
    for key in skipped {
        tracing::info!(source = %name(source), "{key}");
    }
    Ok(set)
}

/// As logs have it.
fn name(source: &KeySource) -> &str {
    match source {
        KeySource::Inline(_) => "(inline)",
        KeySource::Uri { url, .. } => url,
        KeySource::Discovery { issuer, .. } => issuer,
        KeySource::Unusable(_) => "(none)",
    }
}

impl Jwks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the sets of these sources fresh and no others: to be called with what rules name, **before** anybody judges by
    /// these rules. What has been fetched of them already stays; what is named no more is good for another minute.
    pub fn update<'a>(&self, sources: impl IntoIterator<Item = &'a KeySource>) {
        let sources: BTreeSet<&KeySource> = sources.into_iter().collect();
        let now = std::time::Instant::now();
        let mut slots = self.0.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|source, entry| {
            entry.idle = if sources.contains(source) { None } else { entry.idle.or(Some(now)) };
            entry.idle.is_none_or(|since| now.saturating_duration_since(since) < GRACE)
        });
        for source in sources {
            if slots.contains_key(source) {
                continue;
            }
            let slot = Slot::default();
            if let KeySource::Inline(text) = source {
                slot.take(read(source, text.as_bytes()));
            }
            slots.insert(source.clone(), Entry { slot: Arc::new(slot), idle: None });
        }
        drop(slots);
        self.0.wake.notify_one();
    }

    fn slot(&self, source: &KeySource) -> Option<Arc<Slot>> {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(source).map(|entry| Arc::clone(&entry.slot))
    }

    fn remote(&self) -> BTreeMap<KeySource, Arc<Slot>> {
        self.named(is_remote)
    }

    /// The sources that rules name, of those that are looked for.
    fn named(&self, wanted: impl Fn(&KeySource) -> bool) -> BTreeMap<KeySource, Arc<Slot>> {
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        let named = slots.iter().filter(|(source, entry)| entry.idle.is_none() && wanted(source));
        named.map(|(source, entry)| (source.clone(), Arc::clone(&entry.slot))).collect()
    }

    /// What is known of each source that rules name.
    #[must_use]
    pub fn states(&self) -> Vec<SourceState> {
        let state = |(source, slot): (KeySource, Arc<Slot>)| {
            let Held { keys, error, fetched, failed, last } = slot.held();
            let keys = keys.map_or(0, |keys| keys.len());
            SourceState { source, keys, fetched, failed, last, error }
        };
        self.named(|_| true).into_iter().map(state).collect()
    }

    /// Waits until what was missing has been fetched again, as far as that is allowed now, or `within` has passed. For the
    /// sources of a [`Refusal`](adit_core::l7::jwt::Refusal): then judge again, once.
    pub async fn refetched(&self, sources: &[KeySource], within: Duration) {
        let mut done = self.0.done.subscribe();
        let busy = || sources.iter().filter_map(|source| self.slot(source)).any(|slot| slot.is_busy());
        let wait = async {
            while busy() {
                // The sender lives as long as we do.
                if done.changed().await.is_err() {
                    break;
                }
            }
        };
        // Too late: then there is nothing new.
        drop(timeout(within, wait).await);
    }

    /// Fetches what is due, for as long as it runs; ends never. `fetch` is [`Fetcher::fetch`](super::Fetcher::fetch), `seed`
    /// any number: proxies with different ones do not fetch at the same time.
    pub async fn run<F, R>(self, settings: RefreshSettings, seed: u64, fetch: F)
    where
        F: Fn(KeySource) -> R,
        R: Future<Output = Result<Fetched, FetchError>> + Send + 'static,
    {
        let start = tokio::time::Instant::now();
        let now = || Instant::ZERO + start.elapsed();
        let mut machines: BTreeMap<KeySource, (Arc<Slot>, Refresh)> = BTreeMap::new();
        let mut fetches = JoinSet::new();
        loop {
            let slots = self.remote();
            // Whatever of a source went and came back is another one: nothing has been fetched of it.
            machines.retain(|source, (slot, _)| slots.get(source).is_some_and(|now| Arc::ptr_eq(now, slot)));
            let mut next = Instant::FAR;
            for (source, slot) in &slots {
                let (_, machine) = machines
                    .entry(source.clone())
                    .or_insert_with(|| (Arc::clone(slot), Refresh::new(settings, now(), seed)));
                if slot.wanted.load(Ordering::Acquire) && !machine.handle_unknown_key(now()) {
                    slot.wanted.store(false, Ordering::Release);
                    self.tell();
                }
                if machine.poll_fetch(now()) {
                    slot.fetching.store(true, Ordering::Release);
                    // What is wanted from here on is not yet on its way.
                    slot.wanted.store(false, Ordering::Release);
                    let fetched = fetch(source.clone());
                    let (source, slot) = (source.clone(), Arc::clone(slot));
                    fetches.spawn(async move { (source, slot, fetched.await) });
                }
                next = next.min(machine.poll_deadline());
            }
            let alarm = async {
                if next == Instant::FAR {
                    std::future::pending().await
                } else {
                    sleep_until(start + Duration::from_nanos(next.as_nanos())).await;
                }
            };
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = alarm => {}
                Some(Ok((source, slot, fetched))) = fetches.join_next() => {
                    let machine = machines.get_mut(&source).filter(|(of, _)| Arc::ptr_eq(of, &slot));
                    finish(&source, &slot, fetched, machine.map(|(_, machine)| machine), now());
                    self.tell();
                }
            }
        }
    }

    fn tell(&self) {
        self.0.done.send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn finish(
    source: &KeySource,
    slot: &Slot,
    fetched: Result<Fetched, FetchError>,
    machine: Option<&mut Refresh>,
    now: Instant,
) {
    let fetched = fetched.map_err(|error| error.to_string());
    let set = fetched.and_then(|fetched| Ok((read(source, &fetched.text)?, fetched.max_age)));
    match &set {
        Ok((set, _)) => {
            tracing::debug!(source = %name(source), keys = set.len(), "keys of an issuer fetched")
        }
        Err(error) => {
            tracing::warn!(source = %name(source), %error, "keys of an issuer could not be fetched; those from before stay");
        }
    }
    // None: the source has gone meanwhile, and nobody looks at its slot.
    if let Some(machine) = machine {
        match &set {
            Ok((_, max_age)) => machine.handle_fetched(now, *max_age),
            Err(_) => machine.handle_failed(now),
        }
    }
    slot.take(set.map(|(set, _)| set));
    slot.wanted.store(false, Ordering::Release);
    slot.fetching.store(false, Ordering::Release);
}

impl Keys for Jwks {
    fn json(&self, text: &[u8]) -> Option<Claim> {
        serde_json::from_slice(text).ok()
    }

    fn verify(&self, source: &KeySource, header: &Header, signed: &[u8], signature: &[u8]) -> Signature {
        let Some(slot) = self.slot(source) else { return Signature::NotFetched };
        let keys = slot.held.read().unwrap_or_else(PoisonError::into_inner).keys.clone();
        let said = match keys {
            Some(keys) => keys.verify(header, signed, signature),
            None if is_remote(source) => Signature::NotFetched,
            None => Signature::NoKeys,
        };
        if is_remote(source) && matches!(said, Signature::NoKey | Signature::NotFetched) {
            slot.wanted.store(true, Ordering::Release);
            self.0.wake.notify_one();
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::tests::{Signer, header};
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn source(url: &str) -> KeySource {
        KeySource::Uri { url: url.into(), timeout: LONG }
    }

    fn settings() -> RefreshSettings {
        RefreshSettings {
            unknown_key_gap: Duration::ZERO,
            retry: Duration::from_secs(3600),
            ..Default::default()
        }
    }

    type Answer = Result<Fetched, FetchError>;

    /// A ring whose server answers this, whatever is asked.
    fn ring(answer: &Arc<Mutex<Answer>>) -> (Jwks, tokio::task::JoinHandle<()>) {
        let ring = Jwks::new();
        let answer = Arc::clone(answer);
        let task = ring.clone().run(settings(), 1, move |_| {
            let answer = answer.lock().unwrap().clone();
            async move { answer }
        });
        (ring, tokio::spawn(task))
    }

    fn fetched(text: &str) -> Answer {
        Ok(Fetched { text: text.as_bytes().to_vec(), max_age: None })
    }

    #[tokio::test]
    async fn keys_are_fetched_kept_and_fetched_again_for_a_new_one() {
        let (old, new) = (Signer::new("old"), Signer::new("new"));
        let answer = Arc::new(Mutex::new(fetched(&old.set())));
        let (ring, task) = ring(&answer);
        let from = source("https://a/");
        let said = |signer: &Signer| {
            let signature = signer.sign(b"a.b");
            ring.verify(&from, &header("EdDSA", Some(&signer.kid)), b"a.b", &signature)
        };
        assert_eq!(said(&old), Signature::NotFetched);
        ring.update([&from]);
        assert_eq!(said(&old), Signature::NotFetched);
        ring.refetched(std::slice::from_ref(&from), LONG).await;
        assert_eq!((said(&old), said(&new)), (Signature::Valid, Signature::NoKey));
        ring.refetched(std::slice::from_ref(&from), LONG).await;
        assert_eq!(said(&new), Signature::NoKey);

        *answer.lock().unwrap() = fetched(&new.set());
        assert_eq!(said(&new), Signature::NoKey);
        ring.refetched(std::slice::from_ref(&from), LONG).await;
        assert_eq!(said(&new), Signature::Valid);

        // Rules change while requests are under way by those from before.
        ring.update([]);
        assert_eq!((said(&new), ring.states().len()), (Signature::Valid, 0));
        ring.update([&from]);
        assert_eq!((said(&new), ring.states()[0].keys), (Signature::Valid, 1));
        task.abort();
    }

    #[tokio::test]
    async fn what_cannot_be_read_or_had_is_no_set() {
        let signer = Signer::new("k");
        let answer = Arc::new(Mutex::new(fetched("")));
        let (ring, task) = ring(&answer);
        let bad = [fetched("nonsense"), fetched(r#"{"keys":[]}"#), Err(FetchError::Timeout(LONG))];
        for (place, bad) in bad.into_iter().enumerate() {
            *answer.lock().unwrap() = bad;
            let from = source(&format!("https://{place}/"));
            let said = || ring.verify(&from, &header("EdDSA", None), b"a.b", &signer.sign(b"a.b"));
            ring.update([&from]);
            assert_eq!(said(), Signature::NotFetched);
            ring.refetched(std::slice::from_ref(&from), LONG).await;
            let state = &ring.states()[0];
            assert!(state.failed > 0 && state.error.is_some() && state.keys == 0, "{state:?}");
            assert_eq!(said(), Signature::NotFetched);
            // The pause after a failure counts: nobody waits for it.
            ring.refetched(std::slice::from_ref(&from), LONG).await;
        }
        task.abort();
    }

    #[tokio::test]
    async fn the_last_good_set_outlives_failures() {
        let (old, new) = (Signer::new("old"), Signer::new("new"));
        let answer = Arc::new(Mutex::new(fetched(&old.set())));
        let (ring, task) = ring(&answer);
        let from = source("https://a/");
        ring.update([&from]);
        let said = |signer: &Signer| {
            ring.verify(&from, &header("EdDSA", Some(&signer.kid)), b"a.b", &signer.sign(b"a.b"))
        };
        assert_eq!(said(&old), Signature::NotFetched);
        ring.refetched(std::slice::from_ref(&from), LONG).await;
        *answer.lock().unwrap() = Err(FetchError::Timeout(LONG));
        assert_eq!(said(&new), Signature::NoKey);
        ring.refetched(std::slice::from_ref(&from), LONG).await;
        let state = ring.states().remove(0);
        assert_eq!((state.keys, state.fetched, state.failed, state.last.is_some()), (1, 1, 1, true));
        assert_eq!(said(&old), Signature::Valid);
        // The same source in other rules: what was fetched stays.
        ring.update([&from, &source("https://b/")]);
        assert_eq!(said(&old), Signature::Valid);
        task.abort();
    }

    #[test]
    fn inline_sets_need_no_task() {
        let signer = Signer::new("k");
        let (good, bad) = (KeySource::Inline(signer.set().into()), KeySource::Inline("nonsense".into()));
        let none = KeySource::Unusable("why".into());
        let ring = Jwks::new();
        ring.update([&good, &bad, &none]);
        let said = |from: &KeySource| ring.verify(from, &header("EdDSA", None), b"a.b", &signer.sign(b"a.b"));
        assert_eq!(
            (said(&good), said(&bad), said(&none)),
            (Signature::Valid, Signature::NoKeys, Signature::NoKeys)
        );
        assert_eq!(ring.states().len(), 3);
        assert!(ring.json(br#"{"a": 1, "a": 2}"#).is_none() && ring.json(b"{").is_none());
        assert_eq!(ring.json(br#"{"a": [1, 1.5]}"#).and_then(|json| json.get("a").cloned()), {
            let number = Claim::Number { whole: 1, text: "1.5".into() };
            Some(Claim::List(vec![Claim::Integer(1), number]))
        });
    }
}
