//! Giving memory back to the system, after a burst and after the start: freed is not the same as given back.
use std::fs;
use std::io;
use std::ops::Range;
use std::time::Duration;

use adit_core::time::Instant;
use rustix::mm::{Advice, madvise};

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

/// Gives back what only starting has used: freed memory, and the pages of the program itself. To be called once, when
/// everything runs: most of a program's pages are read while it starts (options, files, cryptographic self-tests) and hardly
/// any while it is idle. The system still has them in its cache, so that a page which is wanted again costs a minor fault.
///
/// # Errors
/// The system does not say where the program is, or keeps it. Nothing but memory is lost by that.
pub fn settle() -> io::Result<()> {
    give_back();
    for range in program(&fs::read_to_string("/proc/self/maps")?) {
        give_back_program(range)?;
    }
    Ok(())
}

/// Where the code of the program and its libraries is mapped: what is executable and comes from a file.
fn program(maps: &str) -> impl Iterator<Item = Range<usize>> {
    maps.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (range, access, file) = (fields.next()?, fields.next()?, fields.nth(3)?);
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        (access == "r-xp" && file.starts_with('/')).then_some(address(start)?..address(end)?)
    })
}

fn give_back_program(range: Range<usize>) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: the range is a private mapping of a file that is not writable, so nothing in it differs from the file; a page
    // that is dropped is read from there when it is next touched, by whichever thread.
    #[expect(unsafe_code, reason = "advice can take memory away")]
    unsafe {
        madvise(start, range.len(), Advice::LinuxDontNeed)?;
    }
    Ok(())
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
    fn code_from_files_is_the_program() {
        let maps = "\
559f6a000000-559f6a08f000 r--p 00000000 fe:00 1 /usr/bin/adit-node
559f6a08f000-559f6a971000 r-xp 0008e000 fe:00 1 /usr/bin/adit-node
559f6a971000-559f6a9a4000 rw-p 00970000 fe:00 1 /usr/bin/adit-node
7f0000000000-7f0000021000 rw-p 00000000 00:00 0
7f1200000000-7f1200001000 r-xp 00000000 00:00 0
7ffd5b9f2000-7ffd5b9f4000 r-xp 00000000 00:00 0 [vdso]
";
        let mut found = program(maps);
        assert_eq!((found.next(), found.next()), (Some(0x559f_6a08_f000..0x559f_6a97_1000), None));
    }

    #[cfg(not(any(miri, loom)))]
    #[test]
    fn a_program_goes_on_without_the_pages_it_gave_back() {
        assert!(program(&fs::read_to_string("/proc/self/maps").unwrap()).count() > 0);
        settle().unwrap();
        code_from_files_is_the_program();
    }

    #[test]
    fn little_water_is_no_flood() {
        let mut tide = Tide::default();
        tide.handle_level(NOW, BURST - 1);
        tide.handle_level(NOW, 0);
        assert_eq!(tide.poll_timeout(), None);
    }
}
