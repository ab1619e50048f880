//! Calls that go on all the time, none of which may fail.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use adit_testkit::netns::wait_until;

use crate::cluster::Pod;
use crate::{Result, SOON};

/// Calls that must go well between two steps, from each caller.
const BETWEEN: usize = 20;

/// A pod that calls, and whom.
pub(super) type Caller<'a> = (&'a Pod, SocketAddr);

/// Callers that do not stop before all is over.
pub(super) struct Calling {
    stop: AtomicBool,
    done: Vec<AtomicUsize>,
}

impl Calling {
    /// Plays `play` while each of `callers` makes one call after the other; not one of them may fail.
    pub(super) fn during(callers: &[Caller<'_>], play: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let done = callers.iter().map(|_| AtomicUsize::new(0)).collect();
        let calling = Self { stop: AtomicBool::new(false), done };
        let (played, failures) = thread::scope(|scope| {
            let each = callers.iter().zip(&calling.done);
            let threads: Vec<_> =
                each.map(|(caller, done)| scope.spawn(|| calling.call(*caller, done))).collect();
            let played = play(&calling);
            // Whatever has become of that, or the callers never end.
            calling.stop.store(true, Ordering::Relaxed);
            let failures: Vec<String> =
                threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
            (played, failures)
        });
        if failures.is_empty() {
            return played;
        }
        let well = calling.counts();
        Err(format!("{failures:#?} beside {well:?} that went well; the rest: {played:?}").into())
    }

    /// Waits until each caller has made some more calls.
    pub(super) fn some_more(&self) -> Result<()> {
        let wanted: Vec<usize> = self.counts().iter().map(|count| count + BETWEEN).collect();
        let enough = || self.counts().iter().zip(&wanted).all(|(count, wanted)| count >= wanted);
        Ok(wait_until("more calls", SOON, enough, || format!("{:?}", self.counts()))?)
    }

    fn counts(&self) -> Vec<usize> {
        self.done.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Calls until told to stop; what went wrong.
    fn call(&self, (pod, to): Caller<'_>, done: &AtomicUsize) -> Vec<String> {
        let mut failures = Vec::new();
        while !self.stop.load(Ordering::Relaxed) && failures.len() < 10 {
            match pod.call(to) {
                Ok(true) => drop(done.fetch_add(1, Ordering::Relaxed)),
                Ok(false) => failures.push(format!("{} to {to}: refused", pod.name)),
                Err(error) => failures.push(format!("{} to {to}: {error}", pod.name)),
            }
        }
        failures
    }
}
