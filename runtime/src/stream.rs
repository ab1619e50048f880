//! Byte streams for embedders: connections through tunnels that end in this process instead of at a socket.
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use adit_core::proxy::shard::Failure;

use crate::delivery::Opening;
use crate::pipe::{self, Leaving};

/// The most streams that nobody has taken yet; more are refused, as a full listen queue does.
pub(crate) const BACKLOG: usize = 1024;

/// A byte stream through the mesh. The adapters make it an `AsyncRead` and `AsyncWrite` of their runtime.
///
/// Dropping it closes both directions as `close` does on a socket.
pub struct TunnelStream {
    end: pipe::End,
    local: SocketAddr,
    peer: SocketAddr,
    /// Of one that was asked for, and whose outcome is told.
    opening: Option<Opening>,
}

impl fmt::Debug for TunnelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelStream")
            .field("local", &self.local)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl TunnelStream {
    pub(crate) fn new(end: pipe::End, local: SocketAddr, peer: SocketAddr) -> Self {
        Self { end, local, peer, opening: None }
    }

    pub(crate) fn awaited(self, opening: Opening) -> Self {
        Self { opening: Some(opening), ..self }
    }

    /// Ready when the other end is there, or when it is known why it cannot be. At once for streams that were accepted.
    ///
    /// # Errors
    /// Why there is no other end; nothing that was written has reached anybody.
    pub fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.opening.as_ref().map_or(Poll::Ready(Ok(())), |opening| opening.poll(cx))
    }

    /// The address of this end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The address of the other end. Of an accepted stream whose source is not preserved: unspecified.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// How to see, later and elsewhere, whether the peer of the tunnel that this stream goes through has taken its leave: then it is
    /// not to be kept for what is not under way yet. Told of streams that a waypoint has asked for.
    #[must_use]
    pub fn leaving(&self) -> Leaving {
        self.end.leaving()
    }

    /// Reads into `buffer`; 0 is the end.
    ///
    /// # Errors
    /// `ConnectionReset` when the connection was reset.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.end.poll_readable(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(self.end.read(&mut [IoSliceMut::new(buffer)]))
    }

    /// Writes what fits of `slices`, in order.
    ///
    /// # Errors
    /// `ConnectionReset` when the connection was reset, `BrokenPipe` when nobody reads any more or after
    /// [`TunnelStream::shutdown`].
    pub fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.end.poll_writable(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(self.end.write(slices))
    }

    /// Half-closes: the peer reads what was written and then the end. Reading goes on.
    pub fn shutdown(&self) {
        self.end.finish();
    }

    /// Ends the stream so that the peer sees a reset, as `SO_LINGER` 0 does on a socket.
    pub fn reset(self) {
        self.end.reset();
    }
}

#[derive(Default)]
struct Queue {
    streams: VecDeque<TunnelStream>,
    acceptor: Option<Waker>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Consistent between any two statements, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Registry {
    /// How many addresses are registered: where nobody embeds anything, a dial does not take the lock.
    registered: AtomicUsize,
    queues: Mutex<HashMap<SocketAddr, Arc<Mutex<Queue>>>>,
}

/// Addresses this process answers itself: a shard that should dial one of them delivers the stream here. One registry
/// serves all shards.
#[derive(Clone, Default)]
pub struct LocalListeners {
    registry: Arc<Registry>,
}

impl fmt::Debug for LocalListeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalListeners")
            .field("registered", &self.registry.registered)
            .finish_non_exhaustive()
    }
}

impl LocalListeners {
    /// From now on streams for `address` come here instead of being dialled.
    ///
    /// # Errors
    /// `AddrInUse` while an earlier [`Incoming`] for the address lives.
    pub fn listen(&self, address: SocketAddr) -> io::Result<Incoming> {
        let mut queues = lock(&self.registry.queues);
        if queues.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let queue = Arc::<Mutex<Queue>>::default();
        queues.insert(address, Arc::clone(&queue));
        self.registry.registered.store(queues.len(), Ordering::Release);
        Ok(Incoming { address, queue, registry: Arc::clone(&self.registry) })
    }

    /// Connects to a registered address. `None`: nobody registered it, dial; `Some(Err)`: refused.
    pub(crate) fn connect(&self, to: SocketAddr, from: SocketAddr) -> Option<io::Result<pipe::End>> {
        if self.registry.registered.load(Ordering::Acquire) == 0 {
            return None;
        }
        let queue = Arc::clone(lock(&self.registry.queues).get(&to)?);
        let mut waiting = lock(&queue);
        if waiting.streams.len() >= BACKLOG {
            return Some(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        let (near, far) = pipe::pair();
        waiting.streams.push_back(TunnelStream::new(far, to, from));
        let acceptor = waiting.acceptor.take();
        drop(waiting);
        if let Some(acceptor) = acceptor {
            acceptor.wake();
        }
        Some(Ok(near))
    }
}

/// Streams that arrive for a registered address. Dropping it ends the registration and closes what was not accepted.
pub struct Incoming {
    address: SocketAddr,
    queue: Arc<Mutex<Queue>>,
    registry: Arc<Registry>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Incoming {
    /// The registered address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next stream.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<TunnelStream> {
        let mut queue = lock(&self.queue);
        match queue.streams.pop_front() {
            Some(stream) => Poll::Ready(stream),
            None => {
                queue.acceptor = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Waits for the next stream.
    pub async fn accept(&mut self) -> TunnelStream {
        poll_fn(|cx| self.poll_accept(cx)).await
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut queues = lock(&self.registry.queues);
        queues.remove(&self.address);
        self.registry.registered.store(queues.len(), Ordering::Release);
        drop(queues);
        let waiting = std::mem::take(&mut lock(&self.queue).streams);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_address_is_answered_here_and_only_while_it_lives() {
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let from: SocketAddr = "10.0.0.9:0".parse().unwrap();
        let listeners = LocalListeners::default();
        assert!(listeners.connect(address, from).is_none());

        let mut incoming = listeners.listen(address).unwrap();
        assert_eq!(listeners.listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let near = listeners.connect(address, from).unwrap().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(stream) = incoming.poll_accept(&mut cx) else { panic!("a stream waits") };
        assert_eq!((stream.local_addr(), stream.peer_addr()), (address, from));
        assert!(incoming.poll_accept(&mut cx).is_pending());
        near.write(&[IoSlice::new(b"hi")]).unwrap();
        let mut buffer = [0; 4];
        assert!(matches!(stream.poll_read(&mut cx, &mut buffer), Poll::Ready(Ok(2))));

        drop(incoming);
        assert!(listeners.connect(address, from).is_none());
    }

    #[test]
    fn the_backlog_is_bounded() {
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let listeners = LocalListeners::default();
        let _incoming = listeners.listen(address).unwrap();
        let ends: Vec<_> =
            (0..BACKLOG).map(|_| listeners.connect(address, address).unwrap().unwrap()).collect();
        assert_eq!(ends.len(), BACKLOG);
        let refused = listeners.connect(address, address).unwrap();
        assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
    }
}
