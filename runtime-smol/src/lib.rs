//! Adit on smol's reactor, `async-io`: the traits of [`adit_runtime`], threads for shards, and streams.
//!
//! `async-io` has one reactor per process, which the shards' threads take turns in driving, and it re-arms its epoll
//! registration for every wait. That is its nature; `adit-tokio` is the faster adapter for many connections.
mod stream;

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use adit_core::time::Instant;
use adit_runtime::{
    CertificateSource, Clear, Clock, Engine, Mailbox, Observer, Readiness, Setup, Shards, TimerFd, drive,
};
use async_io::Async;

pub use stream::{Incoming, Stream};

/// `async-io`, as a shard sees it.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    clock: Clock,
}

impl Runtime {
    /// The process's reactor, with deadlines on `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl adit_runtime::Runtime for Runtime {
    type Io = Io;
    type Timer = TimerFd<Io>;

    fn register(&self, fd: OwnedFd) -> io::Result<Io> {
        let io = Async::new_nonblocking(fd)?;
        // Nearly every socket can be written to when it is new; of reading nothing is known.
        Ok(Io { io, readable: Cell::new(false), writable: Cell::new(true) })
    }

    fn timer(&self) -> io::Result<TimerFd<Io>> {
        TimerFd::new(self, self.clock)
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// A descriptor in the reactor, and what is known of it: `async-io` forgets readiness once it has told it.
#[derive(Debug)]
pub struct Io {
    io: Async<OwnedFd>,
    readable: Cell<bool>,
    writable: Cell<bool>,
}

impl AsFd for Io {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Readiness for Io {
    type Guard<'a> = Guard<'a>;

    fn poll_readable<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<Guard<'a>>> {
        if !self.readable.get() {
            ready!(self.io.poll_readable(cx))?;
            self.readable.set(true);
        }
        Poll::Ready(Ok(Guard(&self.readable)))
    }

    fn poll_writable<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<Guard<'a>>> {
        if !self.writable.get() {
            ready!(self.io.poll_writable(cx))?;
            self.writable.set(true);
        }
        Poll::Ready(Ok(Guard(&self.writable)))
    }
}

/// Readiness that can be taken back. What arrives later is not lost: the next wait asks the kernel anew.
#[derive(Debug)]
pub struct Guard<'a>(&'a Cell<bool>);

impl Clear for Guard<'_> {
    fn clear(self) {
        self.0.set(false);
    }
}

/// Drives a shard on the calling thread until it is drained.
///
/// # Errors
/// A listener cannot be registered.
pub fn run<E, O, C>(clock: Clock, setup: Setup<E, O, C>) -> io::Result<()>
where
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    async_io::block_on(drive(Runtime::new(clock), setup)?);
    Ok(())
}

/// Starts `count` shards, each on a thread `adit-N`. `setup` is called on each thread with its index.
///
/// # Errors
/// A thread cannot be started. What goes wrong on a thread is told by [`Shards::join`].
pub fn spawn_shards<F, E, O, C>(count: usize, setup: F) -> io::Result<Shards>
where
    F: Fn(usize, Mailbox) -> io::Result<Setup<E, O, C>> + Send + Sync + 'static,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    let clock = Clock::start();
    adit_runtime::spawn_shards(count, move |index, mailbox| run(clock, setup(index, mailbox)?))
}
