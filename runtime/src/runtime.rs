//! What a runtime adapter provides: readiness of descriptors, one timer, and a clock.
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};

use adit_core::time::Instant;

/// An async runtime as the drive loop sees it. Static dispatch; nothing here is called per message except
/// [`Readiness`] and [`Runtime::now`].
pub trait Runtime {
    /// A descriptor in the runtime's reactor.
    type Io: Readiness;
    /// A timer of the runtime.
    type Timer: Timer;

    /// Puts a non-blocking descriptor into the reactor, for both directions at once.
    ///
    /// # Errors
    /// Whatever the reactor says, typically that the process has run out of descriptors or of watches.
    fn register(&self, fd: OwnedFd) -> io::Result<Self::Io>;

    /// A timer that is not armed.
    ///
    /// # Errors
    /// As with [`Runtime::register`], for timers that need a descriptor.
    fn timer(&self) -> io::Result<Self::Timer>;

    /// The monotonic clock, the same for every shard of a process.
    fn now(&self) -> Instant;
}

/// A registered descriptor that knows whether a system call is worth trying.
///
/// The protocol is that of edge-triggered epoll: once ready, it stays ready until [`Clear::clear`] is called on the
/// guard, which the drive loop does when a call came up short. That saves the system call which would only have said
/// `EAGAIN`. A reactor which is not edge-triggered keeps the answer in a flag to the same effect.
pub trait Readiness: AsFd {
    /// Evidence of readiness; takes it back with [`Clear::clear`].
    type Guard<'a>: Clear
    where
        Self: 'a;

    /// Ready when reading is worth trying; otherwise `cx`'s waker is called when it is.
    ///
    /// # Errors
    /// The reactor is shutting down.
    fn poll_readable<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Guard<'a>>>;

    /// Ready when writing is worth trying; otherwise `cx`'s waker is called when it is.
    ///
    /// # Errors
    /// The reactor is shutting down.
    fn poll_writable<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Guard<'a>>>;

    /// Asked while a socket is not read: ready when the peer has ended or reset the connection; otherwise `cx`'s waker is
    /// called when it does, and perhaps in vain whenever octets arrive. Octets that wait to be read must not make it
    /// ready, or the loop would turn without end. Once ready it stays so: a reset behind an end is not told apart.
    ///
    /// A reactor that cannot tell octets from errors stays with this default, which never is: a reset is then noticed by
    /// the next read or write.
    fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }
}

/// The readiness on which a system call was tried.
pub trait Clear {
    /// The call found the end of what was there: not ready until the reactor says so anew. Readiness reported after
    /// the guard was made must survive.
    fn clear(self);
}

/// One timer, re-armed for as long as the shard lives.
pub trait Timer {
    /// Sets the timer to `at` on the clock of [`Runtime::now`]; replaces what was set before.
    fn arm(&mut self, at: Instant);

    /// Ready once when the armed instant has passed; otherwise `cx`'s waker is called when it has.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
