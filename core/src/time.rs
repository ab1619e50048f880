//! Time as the core sees it: a monotonic instant and a wall-clock second, both handed in by the caller.
//!
//! The two are never mixed: deadlines are instants, and only certificates are judged by the wall clock.
use core::ops::Add;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on a monotonic clock, in nanoseconds since an arbitrary start which the driver chooses; 64 bits are 584 years.
///
/// Arithmetic saturates at [`Instant::FAR`]; nothing here panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
    /// Later than anything that will happen: a deadline that never comes.
    pub const FAR: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `millis` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// The instant `by` later; [`Instant::FAR`] when there is none.
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time in whole seconds since the Unix epoch; needed only where certificates are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixTime(
    /// Seconds.
    pub u64,
);

/// A wall clock that the driver sets once per turn and certificate verification reads.
///
/// One may serve all shards: it is a single number, read and written whole, with nothing else ordered by it. Until it is
/// set it shows 1970, when no certificate is valid yet.
#[derive(Debug, Default)]
pub struct WallClock(AtomicU64);

impl WallClock {
    /// A clock that shows `now`.
    #[must_use]
    pub const fn new(now: UnixTime) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Sets the clock.
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    /// Reads the clock.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::Relaxed))
    }
}

impl rustls::time_provider::TimeProvider for WallClock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(self.now().0)))
    }
}

#[cfg(test)]
mod tests {
    use rustls::time_provider::TimeProvider;

    use super::*;

    const NANO: Duration = Duration::from_nanos(1);

    #[test]
    fn sums_and_differences() {
        let start = Instant::from_millis(3);
        assert_eq!(start, Instant::from_nanos(3_000_000));
        let later = start + Duration::from_micros(7);
        assert_eq!(later.as_nanos(), 3_007_000);
        assert_eq!(later.saturating_since(start), Duration::from_micros(7));
        assert!(Instant::ZERO < start && start < later && later < Instant::FAR);
    }

    #[test]
    fn difference_to_a_later_instant_is_zero() {
        assert_eq!(Instant::ZERO.saturating_since(Instant::FAR), Duration::ZERO);
        assert_eq!(Instant::FAR.saturating_since(Instant::FAR), Duration::ZERO);
    }

    #[test]
    fn sums_stop_at_the_end_of_time() {
        let last = Instant::from_nanos(u64::MAX - 1);
        assert_eq!(last + NANO, Instant::FAR);
        assert_eq!(last + NANO + NANO, Instant::FAR);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::FAR);
        assert_eq!(Instant::from_millis(u64::MAX), Instant::FAR);
        assert_eq!(Instant::from_millis(u64::MAX / 1_000_000).as_nanos() % 1_000_000, 0);
    }

    #[test]
    fn wall_clock_shows_what_it_was_set_to() {
        let clock = WallClock::new(UnixTime(5));
        assert_eq!(clock.now(), UnixTime(5));
        clock.set(UnixTime(1_700_000_000));
        assert_eq!(clock.now(), UnixTime(1_700_000_000));
        assert_eq!(clock.current_time().map(|time| time.as_secs()), Some(1_700_000_000));
        assert_eq!(WallClock::default().now(), UnixTime(0));
    }
}
