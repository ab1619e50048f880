//! Giving memory back to the system after a burst: freed is not the same as given back.
use std::time::Duration;

use adit_core::time::Instant;

/// Sockets at a peak below which it is no burst: what so few have freed is not worth a look.
const BURST: usize = 512;
/// From when a burst has ebbed until its memory is given back: pools and reactors let go of theirs first. It is also the
/// least time between two times.
const REST: Duration = Duration::from_secs(10);

/// Notices when a burst of sockets has ebbed away.
///
/// ```text
///   more sockets than ever: peak         fewer than half of the peak         REST later: give back, a new peak begins
///   ──────────────────────────────▶ Flood ─────────────────────────▶ Ebb ──────────────────────────────────▶ Flood
/// ```
#[derive(Debug, Default)]
pub(crate) struct Tide {
    peak: usize,
    due: Option<Instant>,
}

impl Tide {
    /// There are `sockets` now.
    pub(crate) fn handle_level(&mut self, now: Instant, sockets: usize) {
        self.peak = self.peak.max(sockets);
        if self.due.is_none() && self.peak >= BURST && sockets < self.peak / 2 {
            self.due = Some(now + REST);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Whether memory is to be given back now, with `sockets` left.
    pub(crate) fn handle_timeout(&mut self, now: Instant, sockets: usize) -> bool {
        let due = self.due.take_if(|due| *due <= now).is_some();
        if due {
            self.peak = sockets;
        }
        due
    }
}

/// Has the allocator give back every page in which nothing is in use. It walks all that was ever freed, a few
/// milliseconds after a burst of ten thousand connections, so it is not for every turn.
///
/// glibc by itself gives back only what lies at the end of its heap, above the last octet in use: after a burst that is
/// next to nothing. Other C libraries do without being asked, or cannot be.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(any(miri, loom))))]
    // SAFETY: `malloc_trim` may be called by any thread at any time (it takes the locks of the arenas itself), and
    // touches no memory that is in use.
    #[expect(unsafe_code, reason = "no crate has a safe wrapper")]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    #[test]
    fn a_burst_is_given_back_once_some_time_after_it_has_ebbed() {
        let mut tide = Tide::default();
        for sockets in [600, 5_000, 2_500] {
            tide.handle_level(NOW, sockets);
        }
        assert_eq!(tide.poll_timeout(), None);
        tide.handle_level(NOW, 2_499);
        tide.handle_level(NOW + Duration::from_secs(5), 10);
        assert_eq!(tide.poll_timeout(), Some(NOW + REST));
        assert!(!tide.handle_timeout(NOW, 10), "not yet");
        assert!(tide.handle_timeout(NOW + REST, 10));
        assert!(!tide.handle_timeout(NOW + REST, 10), "once");
        tide.handle_level(NOW + REST, 3);
        assert_eq!(tide.poll_timeout(), None, "what is left is no burst");
    }

    #[test]
    fn little_water_is_no_flood() {
        let mut tide = Tide::default();
        tide.handle_level(NOW, BURST - 1);
        tide.handle_level(NOW, 0);
        assert_eq!(tide.poll_timeout(), None);
    }
}
