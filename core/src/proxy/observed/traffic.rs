//! Octets of a live connection, counted by its shard and read by whoever asks.
use core::sync::atomic::{AtomicU64, Ordering};

/// Octets read from either end of one connection so far.
///
/// One shard writes, others read: each number is exact, the two together may be from different moments.
#[derive(Debug, Default)]
pub struct Traffic {
    forth: AtomicU64,
    back: AtomicU64,
}

impl Traffic {
    /// Octets that came from the client.
    #[must_use]
    pub fn forth(&self) -> u64 {
        self.forth.load(Ordering::Relaxed)
    }

    /// Octets that came from the server.
    #[must_use]
    pub fn back(&self) -> u64 {
        self.back.load(Ordering::Relaxed)
    }

    /// Sets both totals.
    pub(crate) fn set(&self, forth: u64, back: u64) {
        self.forth.store(forth, Ordering::Relaxed);
        self.back.store(back, Ordering::Relaxed);
    }
}

impl Clone for Traffic {
    fn clone(&self) -> Self {
        Self { forth: AtomicU64::new(self.forth()), back: AtomicU64::new(self.back()) }
    }
}

impl PartialEq for Traffic {
    fn eq(&self, other: &Self) -> bool {
        (self.forth(), self.back()) == (other.forth(), other.back())
    }
}

impl Eq for Traffic {}
