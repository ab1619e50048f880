//! An in-memory byte pipe, both ways: the transport of streams that never were sockets.
//!
//! It behaves as a connected TCP socket does: bounded buffers, half-close, reset. Both ends may be on different threads;
//! this is the embedder's path, no socket of a shard goes through here.
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::sync::{Mutex, MutexGuard};

/// The most octets in flight in one direction.
const CAPACITY: usize = 256 * 1024;
/// The largest empty buffer, in octets, that a direction keeps.
const KEPT: usize = 1024;

/// One direction.
#[derive(Default)]
struct Flow {
    octets: VecDeque<u8>,
    /// The writer has half-closed.
    finished: bool,
    /// The reader is gone: what is written finds nobody.
    unread: bool,
    /// Either end was reset; nothing is delivered any more.
    broken: bool,
    /// The writer will go as soon as it may; everything works until then.
    leaving: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Flow {
    fn readable(&self) -> bool {
        !self.octets.is_empty() || self.finished || self.broken
    }

    fn writable(&self) -> bool {
        self.octets.len() < CAPACITY || self.broken || self.unread
    }
}

fn lock(flow: &Mutex<Flow>) -> MutexGuard<'_, Flow> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes after the lock is gone: the woken task may run at once on this very thread.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn park(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

/// One end of a pipe. Dropping it half-closes, and lets the other end know that nobody reads.
pub(crate) struct End {
    incoming: Arc<Mutex<Flow>>,
    outgoing: Arc<Mutex<Flow>>,
}

/// Tells whether the far side of a stream has taken its leave, wherever the stream itself is; see
/// [`TunnelStream::leaving`](crate::TunnelStream::leaving).
#[derive(Clone)]
pub struct Leaving(Arc<Mutex<Flow>>);

impl Leaving {
    /// Whether it has.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        lock(&self.0).leaving
    }
}

impl fmt::Debug for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leaving").field(&self.is_taken()).finish()
    }
}

/// Two connected ends.
pub(crate) fn pair() -> (End, End) {
    let (a, b) = (Arc::<Mutex<Flow>>::default(), Arc::<Mutex<Flow>>::default());
    let near = End { incoming: Arc::clone(&a), outgoing: Arc::clone(&b) };
    (near, End { incoming: b, outgoing: a })
}

impl End {
    /// Ready when [`End::read`] will not say `WouldBlock`.
    pub(crate) fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut flow = lock(&self.incoming);
        if flow.readable() {
            return Poll::Ready(());
        }
        park(&mut flow.reader, cx);
        Poll::Pending
    }

    /// Ready when the other end has reset the connection.
    pub(crate) fn poll_broken(&self, cx: &Context<'_>) -> Poll<()> {
        let mut flow = lock(&self.incoming);
        if flow.broken {
            return Poll::Ready(());
        }
        park(&mut flow.reader, cx);
        Poll::Pending
    }

    /// Whether the other end has reset the connection.
    pub(crate) fn is_broken(&self) -> bool {
        lock(&self.incoming).broken
    }

    /// Ready when [`End::write`] will not say `WouldBlock`.
    pub(crate) fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut flow = lock(&self.outgoing);
        if flow.writable() {
            return Poll::Ready(());
        }
        park(&mut flow.writer, cx);
        Poll::Pending
    }

    /// Reads into `areas` in order; 0 is the end.
    pub(crate) fn read(&self, areas: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut flow = lock(&self.incoming);
        if flow.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if !flow.readable() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut n = 0;
        for area in areas {
            let take = area.len().min(flow.octets.len());
            flow.octets.read_exact(&mut area[..take])?;
            n += take;
        }
        // An idle stream holds no large buffer; a small one is kept, to spare small messages the allocator.
        if flow.octets.is_empty() && flow.octets.capacity() > KEPT {
            flow.octets = VecDeque::new();
        }
        let writer = flow.writer.take();
        drop(flow);
        wake(writer);
        Ok(n)
    }

    /// Writes what fits of `slices`, in order.
    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut flow = lock(&self.outgoing);
        if flow.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if flow.unread || flow.finished {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut n = 0;
        for slice in slices {
            let room = CAPACITY.saturating_sub(flow.octets.len());
            let fits = slice.get(..room).unwrap_or(slice);
            flow.octets.extend(fits);
            n += fits.len();
        }
        if n == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let reader = flow.reader.take();
        drop(flow);
        wake(reader);
        Ok(n)
    }

    /// Half-closes: the other end reads what is there and then the end.
    pub(crate) fn finish(&self) {
        let mut flow = lock(&self.outgoing);
        flow.finished = true;
        let reader = flow.reader.take();
        drop(flow);
        wake(reader);
    }

    /// Lets the other end know that this one will go before long.
    pub(crate) fn take_leave(&self) {
        lock(&self.outgoing).leaving = true;
    }

    /// How to see whether the other end has taken its leave.
    pub(crate) fn leaving(&self) -> Leaving {
        Leaving(Arc::clone(&self.incoming))
    }

    /// Breaks both directions: the other end sees a reset.
    pub(crate) fn reset(&self) {
        for flow in [&self.incoming, &self.outgoing] {
            let mut flow = lock(flow);
            flow.broken = true;
            flow.octets = VecDeque::new();
            let (reader, writer) = (flow.reader.take(), flow.writer.take());
            drop(flow);
            wake(reader);
            wake(writer);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.finish();
        let mut flow = lock(&self.incoming);
        flow.unread = true;
        flow.octets = VecDeque::new();
        let writer = flow.writer.take();
        drop(flow);
        wake(writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(end: &End, room: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; room];
        let n = end.read(&mut [IoSliceMut::new(&mut buffer)])?;
        buffer.truncate(n);
        Ok(buffer)
    }

    #[test]
    fn octets_keep_their_order_over_slices_and_areas() {
        let (a, b) = pair();
        let wrapped: Vec<u8> = (0..=255).cycle().take(CAPACITY).collect();
        a.write(&[IoSlice::new(&wrapped)]).unwrap();
        let (mut first, mut second) = (vec![0; 1000], vec![0; CAPACITY]);
        assert_eq!(b.read(&mut [IoSliceMut::new(&mut first)]).unwrap(), 1000);
        // The ring buffer wraps around here.
        a.write(&[IoSlice::new(&first)]).unwrap();
        let n = b.read(&mut [IoSliceMut::new(&mut first[..7]), IoSliceMut::new(&mut second)]).unwrap();
        assert_eq!(n, CAPACITY);
        assert_eq!(first[..7], wrapped[1000..1007]);
        assert_eq!(second[..CAPACITY - 1007], wrapped[1007..]);
        assert_eq!(a.write(&[IoSlice::new(b"ab"), IoSlice::new(b"cde")]).unwrap(), 5);
        assert_eq!(read(&b, 4).unwrap(), b"abcd");
        assert_eq!(read(&b, 4).unwrap(), b"e");
        assert_eq!(read(&b, 4).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn half_close_lets_the_rest_through_first() {
        let (a, b) = pair();
        a.write(&[IoSlice::new(b"last")]).unwrap();
        a.finish();
        assert_eq!(read(&b, 9).unwrap(), b"last");
        assert_eq!(read(&b, 9).unwrap(), b"");
        b.write(&[IoSlice::new(b"still open")]).unwrap();
        assert_eq!(read(&a, 10).unwrap(), b"still open");
        assert_eq!(a.write(&[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_pipe_blocks_until_read() {
        let (a, b) = pair();
        let big = vec![7; CAPACITY + 1];
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(a.write(&[IoSlice::new(&big)]).unwrap(), CAPACITY);
        assert_eq!(a.write(&[IoSlice::new(&big)]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(a.poll_writable(&cx).is_pending());
        read(&b, 1).unwrap();
        assert!(a.poll_writable(&cx).is_ready());
    }

    #[test]
    fn a_reset_is_seen_at_both_ends_and_discards() {
        let (a, b) = pair();
        a.write(&[IoSlice::new(b"lost")]).unwrap();
        a.reset();
        assert_eq!(read(&b, 4).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(b.write(&[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_dropped_end_reads_as_end_and_breaks_writes() {
        let (a, b) = pair();
        drop(a);
        assert_eq!(read(&b, 4).unwrap(), b"");
        assert_eq!(b.write(&[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_leave_is_heard_at_the_other_end_and_octets_go_on() {
        let (near, far) = pair();
        let (here, there) = (near.leaving(), far.leaving());
        near.take_leave();
        assert_eq!((here.is_taken(), there.is_taken()), (false, true));
        near.write(&[IoSlice::new(b"x")]).unwrap();
        assert_eq!(read(&far, 9).unwrap(), b"x");
        drop(far);
        assert!(there.is_taken());
    }
}
