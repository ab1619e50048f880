//! The timer of both adapters: a `timerfd` in the runtime's reactor.
//!
//! A runtime's own timers cost every turn of its event loop something (a lock, a clock, a wheel), whether they are due or
//! not. A shard has a single timer, which is armed rarely; the kernel keeps it for nothing.
use std::io;
use std::task::{Context, Poll, ready};

use adit_core::time::Instant;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::clock::Clock;
use crate::runtime::{Clear, Readiness, Runtime, Timer};

/// A timer on a descriptor (`timerfd_create(2)`), set in the time of a [`Clock`].
#[derive(Debug)]
pub struct TimerFd<Io> {
    io: Io,
    clock: Clock,
}

impl<Io: Readiness> TimerFd<Io> {
    /// A timer that is not armed, in the reactor of `runtime`.
    ///
    /// # Errors
    /// The process has run out of descriptors or of watches.
    pub fn new<R: Runtime<Io = Io>>(runtime: &R, clock: Clock) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { io: runtime.register(fd)?, clock })
    }
}

impl<Io: Readiness> Timer for TimerFd<Io> {
    fn arm(&mut self, at: Instant) {
        let ahead = at.saturating_since(self.clock.now());
        // Zero would disarm it.
        let nanos = if ahead.is_zero() { 1 } else { ahead.subsec_nanos() };
        let value =
            Timespec { tv_sec: i64::try_from(ahead.as_secs()).unwrap_or(i64::MAX), tv_nsec: nanos.into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // It fails only for a descriptor that is no timer or a time that is none.
        if let Err(error) = timerfd_settime(&self.io, TimerfdTimerFlags::empty(), &once) {
            tracing::error!(%error, "cannot set the timer: deadlines will be late");
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(guard) = ready!(self.io.poll_readable(cx)) else { return Poll::Pending };
            match rustix::io::read(&self.io, &mut [0; 8]) {
                Ok(_) => return Poll::Ready(()),
                // Set anew since the reactor saw it expire.
                Err(Errno::AGAIN) => guard.clear(),
                Err(Errno::INTR) => {}
                Err(_) => return Poll::Pending,
            }
        }
    }
}
