//! The ready queue: how a reactor tells the one task of a shard which of its sockets to look at.
use std::sync::Arc;
use std::task::{Wake, Waker};

use concurrent_queue::ConcurrentQueue;

use crate::sync::{AtomicBool, AtomicWaker, Ordering};

/// What there is to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The socket in this slot, whatever its generation: a stale wake-up is only one look too many.
    Socket(u32),
    /// The listener with this index.
    Listener(u32),
    /// The timer.
    Timer,
    /// Commands from other threads.
    Mailbox,
}

/// Keys waiting to be looked at, and the task that does it.
pub(crate) struct ReadyQueue {
    keys: ConcurrentQueue<Key>,
    task: AtomicWaker,
}

impl ReadyQueue {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { keys: ConcurrentQueue::unbounded(), task: AtomicWaker::new() })
    }

    /// The task to wake. Call it before popping, so that nothing pushed later goes unnoticed.
    pub(crate) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    pub(crate) fn pop(&self) -> Option<Key> {
        self.keys.pop().ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The waker of one key. It queues the key at most once, which bounds the queue by the number of slots.
pub(crate) struct SlotWaker {
    key: Key,
    queued: AtomicBool,
    queue: Arc<ReadyQueue>,
}

impl SlotWaker {
    fn notify(&self) {
        // AcqRel pairs with `SlotWaker::taken`: whoever finds the flag up knows that the driver has not looked yet.
        if !self.queued.swap(true, Ordering::AcqRel) {
            // The queue is unbounded and never closed, so pushing cannot fail.
            let _ = self.queue.keys.push(self.key);
            self.queue.task.wake();
        }
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

/// A key's waker as the driver holds it. One waker serves both directions: which of them is ready is asked of the
/// reactor, which knows without a system call.
pub(crate) struct Notifier {
    slot: Arc<SlotWaker>,
    waker: Waker,
}

impl Notifier {
    pub(crate) fn new(queue: &Arc<ReadyQueue>, key: Key) -> Self {
        let slot = Arc::new(SlotWaker { key, queued: AtomicBool::new(false), queue: Arc::clone(queue) });
        let waker = Waker::from(Arc::clone(&slot));
        Self { slot, waker }
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// The key was popped: the next wake-up queues it again. Call it before looking at readiness.
    pub(crate) fn taken(&self) {
        self.slot.queued.swap(false, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_queued_once_until_taken() {
        let queue = ReadyQueue::new();
        let slot = Notifier::new(&queue, Key::Socket(7));
        slot.waker().wake_by_ref();
        slot.waker().wake_by_ref();
        assert_eq!(queue.pop(), Some(Key::Socket(7)));
        assert_eq!(queue.pop(), None);

        slot.waker().wake_by_ref();
        assert!(queue.is_empty(), "popped, but not yet marked as taken");
        slot.taken();
        slot.waker().wake_by_ref();
        assert_eq!(queue.pop(), Some(Key::Socket(7)));
    }

    #[test]
    fn the_first_key_wakes_the_task() {
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let queue = ReadyQueue::new();
        queue.register(&Waker::from(Arc::clone(&flag)));
        Notifier::new(&queue, Key::Timer).waker().wake_by_ref();
        assert!(flag.0.load(Ordering::SeqCst));
        assert_eq!(queue.pop(), Some(Key::Timer));
    }
}
