//! What is counted of a cluster, for metrics.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Figures, shared by who counts and who tells.
#[derive(Clone, Debug, Default)]
pub struct Figures(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    watches: AtomicU64,
    failing: AtomicU64,
    since: Mutex<Option<Instant>>,
    compiled: AtomicU64,
    written: AtomicU64,
    refused: AtomicU64,
}

impl Figures {
    /// Watches there are.
    #[must_use]
    pub fn watches(&self) -> u64 {
        self.0.watches.load(Ordering::Relaxed)
    }

    /// Watches that do not go on at the moment.
    #[must_use]
    pub fn failing(&self) -> u64 {
        self.0.failing.load(Ordering::Relaxed)
    }

    /// For how long something of the cluster may have been out of date.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        let since = self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// How often changes were translated.
    #[must_use]
    pub fn compiled(&self) -> u64 {
        self.0.compiled.load(Ordering::Relaxed)
    }

    /// Statuses that were written, or those that could not be.
    #[must_use]
    pub fn statuses(&self, written: bool) -> u64 {
        let count = if written { &self.0.written } else { &self.0.refused };
        count.load(Ordering::Relaxed)
    }

    pub(super) fn watched(&self, watches: usize, failing: usize, since: Option<Duration>) {
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.0.watches.store(wide(watches), Ordering::Relaxed);
        self.0.failing.store(wide(failing), Ordering::Relaxed);
        let since = since.and_then(|ago| Instant::now().checked_sub(ago));
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub(super) fn translated(&self) {
        self.0.compiled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn written(&self, well: bool) {
        let count = if well { &self.0.written } else { &self.0.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
