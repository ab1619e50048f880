//! Whether a client's connection has requests under way, and since when it has had none.
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What is under way on one connection. It costs a request two counts, and no timer.
#[derive(Debug)]
pub(crate) struct Activity {
    under_way: Cell<usize>,
    /// When the last request ended.
    rests: Cell<Instant>,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Rc<Activity>);

impl Activity {
    /// A connection that has just come.
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { under_way: Cell::new(0), rests: Cell::new(Instant::now()) })
    }

    /// One more request.
    pub(crate) fn begin(self: &Rc<Self>) -> Busy {
        self.under_way.set(self.under_way.get().saturating_add(1));
        Busy(Rc::clone(self))
    }

    /// Returns when nothing has been under way for `limit`, of which the time before the call does not count.
    pub(crate) async fn rested(&self, limit: Duration) {
        let mut since = Instant::now();
        loop {
            let look = since + limit;
            sleep_until(look).await;
            since = match self.under_way.get() {
                0 if self.rests.get() <= since => return,
                0 => self.rests.get(),
                // It ends later than this, and cannot have rested for long enough before the next look.
                _ => look,
            };
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let left = self.0.under_way.get().saturating_sub(1);
        self.0.under_way.set(left);
        if left == 0 {
            self.0.rests.set(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until a connection of which `requests` are under way from a second to another has rested for ten.
    fn rested(requests: &'static [(u64, u64)]) -> u64 {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let local = tokio::task::LocalSet::new();
        let seconds = Duration::from_secs;
        let asked = async move {
            let (activity, begun) = (Activity::new(), Instant::now());
            for (from, to) in requests {
                let activity = Rc::clone(&activity);
                tokio::task::spawn_local(async move {
                    sleep_until(begun + seconds(*from)).await;
                    let _busy = activity.begin();
                    sleep_until(begun + seconds(*to)).await;
                });
            }
            activity.rested(seconds(10)).await;
            begun.elapsed().as_secs()
        };
        local.block_on(&runtime.enable_time().start_paused(true).build().unwrap(), asked)
    }

    #[test]
    fn a_connection_rests_from_its_last_request_on() {
        for (requests, expected) in [
            (&[][..], 10),
            (&[(1, 2)], 12),
            (&[(9, 11)], 21),
            (&[(5, 35)], 45),
            (&[(1, 2), (9, 10)], 20),
            (&[(1, 30), (2, 3)], 40),
            (&[(1, 2), (11, 13)], 23),
            // Too late.
            (&[(1, 2), (13, 14)], 12),
        ] {
            assert_eq!(rested(requests), expected, "{requests:?}");
        }
    }
}
