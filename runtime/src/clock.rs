//! Clocks: monotonic for deadlines, wall clock for certificates.
use std::time::{Duration, SystemTime};

use adit_core::time::{Instant, UnixTime};
use rustix::time::{ClockId, clock_gettime};

/// A monotonic clock that shows the core's [`Instant`]. Copies show the same time, so one clock serves all shards.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that shows zero now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }
}

/// The system's wall clock, which certificates are judged by.
#[must_use]
pub fn wall_clock() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // A clock set before 1970 makes every certificate "not yet valid", which is the safe answer.
    UnixTime(since.map_or(0, |since| since.as_secs()))
}

/// What this thread has used of its processor so far.
pub(crate) fn thread_time() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(used).unwrap_or_default()
}
