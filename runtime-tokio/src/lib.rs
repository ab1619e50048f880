//! Adit on tokio: the traits of [`adit_runtime`], threads with a current-thread runtime each, and streams.
//!
//! A shard is one future on one thread; it is polled without tokio's cooperative budget, since it has budgets of its own
//! and yields by itself. Sockets are registered once, edge-triggered; no message costs an `epoll_ctl`.
mod stream;

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use adit_core::time::Instant;
use adit_runtime::{
    CertificateSource, Clear, Clock, Engine, Mailbox, Observer, Readiness, Setup, Shards, TimerFd, drive,
};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

pub use stream::{Incoming, Stream};

/// Tokio, as a shard sees it. Use it inside a tokio runtime with I/O enabled.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    clock: Clock,
}

impl Runtime {
    /// The runtime this is called in, with deadlines on `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl adit_runtime::Runtime for Runtime {
    type Io = Io;
    type Timer = TimerFd<Io>;

    fn register(&self, fd: OwnedFd) -> io::Result<Io> {
        #[expect(unsafe_code, reason = "tokio demands it for anything that might close its descriptor early")]
        // SAFETY: an `OwnedFd` is open, is always the same descriptor, and is closed only when dropped.
        let registered = unsafe { AsyncFd::register(fd) };
        Ok(Io { fd: registered?, unread: Cell::new(false) })
    }

    fn timer(&self) -> io::Result<TimerFd<Io>> {
        TimerFd::new(self, self.clock)
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }
}

/// A descriptor in tokio's reactor.
#[derive(Debug)]
pub struct Io {
    fd: AsyncFd<OwnedFd>,
    /// Octets wait that tokio was made to forget, so that it would tell of a reset.
    unread: Cell<bool>,
}

impl AsFd for Io {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}

impl Readiness for Io {
    type Guard<'a> = Guard<'a>;

    fn poll_readable<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<Guard<'a>>> {
        if self.unread.get() {
            return Poll::Ready(Ok(Guard::Unread(&self.unread)));
        }
        self.fd.poll_read_ready(cx).map_ok(Guard::Ready)
    }

    fn poll_writable<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<Guard<'a>>> {
        self.fd.poll_write_ready(cx).map_ok(Guard::Ready)
    }

    fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Edge-triggered: what is cleared here is told of again only when something further arrives.
        while let Ok(mut guard) = ready!(self.fd.poll_read_ready(cx)) {
            if guard.ready().is_read_closed() {
                break;
            }
            self.unread.set(true);
            guard.clear_ready();
        }
        Poll::Ready(())
    }
}

/// Readiness that can be taken back; tokio keeps what arrived since the guard was made.
#[derive(Debug)]
pub enum Guard<'a> {
    /// As tokio knows it.
    Ready(AsyncFdReadyGuard<'a, OwnedFd>),
    /// As remembered when tokio was made to forget it.
    Unread(&'a Cell<bool>),
}

impl Clear for Guard<'_> {
    fn clear(self) {
        match self {
            Self::Ready(mut guard) => guard.clear_ready(),
            Self::Unread(unread) => unread.set(false),
        }
    }
}

/// Drives a shard on the calling thread, on a runtime of its own, until it is drained.
///
/// # Errors
/// The runtime cannot be built or a listener cannot be registered.
pub fn run<E, O, C>(clock: Clock, setup: Setup<E, O, C>) -> io::Result<()>
where
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    runtime()?.block_on(driven(clock, setup))
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()
}

/// Drives a shard until it is drained.
async fn driven<E, O, C>(clock: Clock, setup: Setup<E, O, C>) -> io::Result<()>
where
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    tokio::task::unconstrained(drive(Runtime::new(clock), setup)?).await;
    Ok(())
}

/// As [`spawn_shards`], for shards whose streams end in this process: `setup` gives a future as well, which runs beside the shard
/// on its thread, may spawn local tasks ([`tokio::task::spawn_local`]) and use timers, and ends with the shard.
///
/// # Errors
/// As [`spawn_shards`].
pub fn spawn_serving_shards<F, S, E, O, C>(count: usize, setup: F) -> io::Result<Shards>
where
    F: Fn(usize, Mailbox) -> io::Result<(Setup<E, O, C>, S)> + Send + Sync + 'static,
    S: Future<Output = ()> + 'static,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    // Those who serve have timers.
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    spawn(count, runtime, setup, |runtime, clock, (setup, serve)| {
        let local = tokio::task::LocalSet::new();
        local.spawn_local(serve);
        runtime.block_on(local.run_until(driven(clock, setup)))
    })
}

/// Starts `count` shards, each on a thread `adit-N`. `setup` is called on each thread with its index, in the context of the
/// runtime that will drive the shard: [`Handle::current`](tokio::runtime::Handle::current) is that runtime's.
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
    spawn(count, runtime, setup, |runtime, clock, setup| runtime.block_on(driven(clock, setup)))
}

/// Starts threads that each make a runtime, in its context what it is to `run`, and run that.
fn spawn<T>(
    count: usize,
    runtime: impl Fn() -> io::Result<tokio::runtime::Runtime> + Send + Sync + 'static,
    setup: impl Fn(usize, Mailbox) -> io::Result<T> + Send + Sync + 'static,
    run: impl Fn(&tokio::runtime::Runtime, Clock, T) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<Shards> {
    let clock = Clock::start();
    adit_runtime::spawn_shards(count, move |index, mailbox| {
        let runtime = runtime()?;
        let made = {
            let _entered = runtime.enter();
            setup(index, mailbox)?
        };
        run(&runtime, clock, made)
    })
}
