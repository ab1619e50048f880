//! What a waypoint has beside plain streams: streams of peers with what they ask for, and dials whose outcome is known.
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use adit_core::proxy::observed::Flag;
use adit_core::proxy::shard::Failure;
use adit_core::proxy::{Delivered, SocketError};

use crate::pipe;
use crate::stream::{BACKLOG, TunnelStream, lock};

/// A stream that a peer has opened to this process, and what it asked for.
#[derive(Debug)]
pub struct Delivery {
    /// The stream.
    pub stream: TunnelStream,
    /// Who asked for what.
    pub what: Delivered,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Delivery>,
    taker: Option<Waker>,
    /// Nobody takes any more, or nobody delivers.
    ended: bool,
}

/// Where a shard delivers streams that end in this process ([`DriveConfig::deliveries`](crate::DriveConfig)).
pub struct Delivering(Arc<Mutex<Queue>>);

/// Streams that peers have opened to this process.
pub struct Deliveries(Arc<Mutex<Queue>>);

impl fmt::Debug for Delivering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivering").finish_non_exhaustive()
    }
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").finish_non_exhaustive()
    }
}

/// A queue from one shard to whoever serves its streams.
#[must_use]
pub fn deliveries() -> (Delivering, Deliveries) {
    let queue = Arc::<Mutex<Queue>>::default();
    (Delivering(Arc::clone(&queue)), Deliveries(queue))
}

impl Delivering {
    /// Delivers a stream; gives the shard's end of it.
    pub(crate) fn deliver(&self, what: Delivered) -> Result<pipe::End, SocketError> {
        let mut queue = lock(&self.0);
        if queue.ended || queue.waiting.len() >= BACKLOG {
            return Err(SocketError::Refused);
        }
        let (near, far) = pipe::pair();
        let stream = TunnelStream::new(far, what.plan.address.unwrap_or(what.local), what.source);
        queue.waiting.push_back(Delivery { stream, what });
        let taker = queue.taker.take();
        drop(queue);
        if let Some(taker) = taker {
            taker.wake();
        }
        Ok(near)
    }
}

impl Drop for Delivering {
    fn drop(&mut self) {
        let mut queue = lock(&self.0);
        queue.ended = true;
        let taker = queue.taker.take();
        drop(queue);
        if let Some(taker) = taker {
            taker.wake();
        }
    }
}

impl Deliveries {
    /// The next stream; `None` when the shard has ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut queue = lock(&self.0);
        if let Some(delivery) = queue.waiting.pop_front() {
            return Poll::Ready(Some(delivery));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        queue.taker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits for the next stream; `None` when the shard has ended.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        let mut queue = lock(&self.0);
        queue.ended = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        drop(waiting);
    }
}

#[derive(Default)]
struct Outcome {
    decided: Option<Result<(), Failure>>,
    waker: Option<Waker>,
}

/// Whether a connection that was asked for is open, failed, or neither yet.
pub(crate) struct Opening(Arc<Mutex<Outcome>>);

/// Whoever decides that. Dropped, it decides that the proxy has ended.
pub(crate) struct Opener(Arc<Mutex<Outcome>>);

/// Both ends of a question whether a connection is open.
pub(crate) fn opening() -> (Opener, Opening) {
    let outcome = Arc::<Mutex<Outcome>>::default();
    (Opener(Arc::clone(&outcome)), Opening(outcome))
}

impl Opener {
    /// It is decided, the first time it is said.
    pub(crate) fn decide(&self, decided: Result<(), Failure>) {
        let mut outcome = lock(&self.0);
        outcome.decided.get_or_insert(decided);
        let waker = outcome.waker.take();
        drop(outcome);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// It fails before anything was tried.
    pub(crate) fn refuse(&self, why: &str) {
        self.decide(Err(Failure { flag: Flag::Connect, text: why.into() }));
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.refuse("the proxy has ended");
    }
}

impl Opening {
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let mut outcome = lock(&self.0);
        match &outcome.decided {
            Some(decided) => Poll::Ready(decided.clone()),
            None => {
                outcome.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Flagged(AtomicBool);

    impl Wake for Flagged {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_opening_is_decided_once_and_wakes_whoever_waits() {
        let ((opener, opening), flag) = (opening(), Arc::new(Flagged::default()));
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        assert!(opening.poll(&mut cx).is_pending());
        let failure = Failure { flag: Flag::Connect, text: "no".into() };
        opener.decide(Err(failure.clone()));
        opener.decide(Ok(()));
        drop(opener);
        assert!(flag.0.load(Ordering::Relaxed));
        assert_eq!(opening.poll(&mut cx), Poll::Ready(Err(failure)));
    }

    #[test]
    fn the_end_of_the_shard_ends_the_queue() {
        let (delivering, mut streams) = deliveries();
        let flag = Arc::new(Flagged::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        assert!(streams.poll_next(&mut cx).is_pending());
        drop(delivering);
        assert!(flag.0.load(Ordering::Relaxed));
        assert!(matches!(streams.poll_next(&mut cx), Poll::Ready(None)));
    }
}
