//! What metrics and readiness want to know of the client (interfaces §5.3).
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use adit_core::xds::Reason;
use tokio::sync::watch;
use tokio::time::Instant;

/// A view of the client for other threads; cheap to ask.
#[derive(Debug)]
pub struct Stats {
    figures: Mutex<Inner>,
    synced: watch::Sender<bool>,
}

#[derive(Clone, Debug)]
struct Inner {
    terminations: BTreeMap<Reason, u64>,
    messages: BTreeMap<&'static str, Counts>,
    without_stream_since: Option<Instant>,
    last_push: Option<Instant>,
}

/// Messages of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many (`istio_xds_message_total`).
    pub messages: u64,
    /// Octets of the resources in them (`istio_xds_message_bytes_total`).
    pub bytes: u64,
    /// Resources that were rejected.
    pub rejected: u64,
}

impl Default for Stats {
    fn default() -> Self {
        let figures = Mutex::new(Inner {
            terminations: BTreeMap::new(),
            messages: BTreeMap::new(),
            without_stream_since: Some(Instant::now()),
            last_push: None,
        });
        Self { figures, synced: watch::Sender::new(false) }
    }
}

impl Stats {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Streams that ended, by reason (`istio_xds_connection_terminations_total`).
    #[must_use]
    pub fn terminations(&self, reason: Reason) -> u64 {
        self.with(|inner| inner.terminations.get(&reason).copied().unwrap_or(0))
    }

    /// Messages by type URL; types that we do not know are `unknown`.
    #[must_use]
    pub fn messages(&self) -> BTreeMap<&'static str, Counts> {
        self.with(|inner| inner.messages.clone())
    }

    /// Everything that is subscribed whole has been accepted once: the proxy may become ready.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until [`is_synced`](Self::is_synced), which it then stays.
    pub async fn synced(&self) {
        // The sender is here, so this ends only when it is so.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// For how long there has been no stream; none while there is one.
    #[must_use]
    pub fn without_stream(&self) -> Option<Duration> {
        self.with(|inner| inner.without_stream_since).map(|since| since.elapsed())
    }

    /// How long ago something was last accepted; none before the first time.
    #[must_use]
    pub fn since_push(&self) -> Option<Duration> {
        self.with(|inner| inner.last_push).map(|push| push.elapsed())
    }

    pub(super) fn ended(&self, reason: Reason) {
        self.with(|inner| {
            let count = inner.terminations.entry(reason).or_default();
            *count = count.saturating_add(1);
        });
    }

    pub(super) fn message(&self, url: &'static str, counts: Counts) {
        self.with(|inner| {
            let all = inner.messages.entry(url).or_default();
            all.messages = all.messages.saturating_add(counts.messages);
            all.bytes = all.bytes.saturating_add(counts.bytes);
            all.rejected = all.rejected.saturating_add(counts.rejected);
        });
    }

    /// Copies what the machine says; `now` is the same moment as that of `staleness`.
    pub(super) fn state(&self, now: Instant, synced: bool, staleness: adit_core::xds::Staleness) {
        let before = |ago: Option<Duration>| ago.and_then(|ago| now.checked_sub(ago));
        self.with(|inner| {
            inner.without_stream_since = before(staleness.without_stream);
            inner.last_push = before(staleness.since_push);
        });
        self.synced.send_if_modified(|before| std::mem::replace(before, synced) != synced);
    }
}
