//! Which CPU a thread runs on.
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Failure;

/// The CPU of the proxies that are measured.
pub(crate) const PROXIES: usize = 0;
/// The CPU of load and application.
pub(crate) const LOAD: usize = 1;

/// Puts this thread, and whatever it starts from now on, on `cpu`.
pub(crate) fn on(cpu: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|error| format!("cannot run on CPU {cpu}: {error}").into())
}
