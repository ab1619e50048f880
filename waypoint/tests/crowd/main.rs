//! Many clients at once, and one that wants everything. A suite of its own: it measures memory and time, one test after another.
#[path = "../rig/mod.rs"]
mod rig;

mod fair;
mod floods;
mod idle;
mod shares;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nobody else runs meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory of this process that is in use, in octets.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap();
    pages * 4096
}
