//! The sockets of a shard, found by the shard's own ids.
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use adit_core::proxy::SocketId;

use crate::ready::{Key, Notifier, ReadyQueue};
use crate::runtime::{Clear, Readiness};
use crate::turns::Seat;
use crate::{pipe, socket};

/// What octets flow through: a descriptor, or a pipe to an embedder.
pub(crate) enum Transport<Io> {
    Fd(Io),
    Pipe(pipe::End),
}

/// What came of a system call that seemed worth trying.
#[derive(Debug)]
pub(crate) enum Tried {
    /// The shard had neither room nor octets.
    Nothing,
    /// This many octets were moved.
    Moved(usize),
    /// No octet was moved, for no fault of the socket's: try again when it is ready.
    Again,
    /// The socket failed.
    Failed(io::Error),
}

impl Tried {
    /// What a call that could have moved `wanted` octets came to, and whether it shows that the socket is not ready any
    /// more: a short count does, which saves the call that would only say EAGAIN.
    fn from_call(wanted: usize, call: io::Result<usize>) -> (Self, bool) {
        match call {
            Ok(n) => (Self::Moved(n), n < wanted),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => (Self::Again, true),
                io::ErrorKind::Interrupted => (Self::Again, false),
                _ => (Self::Failed(error), false),
            },
        }
    }
}

impl<Io: Readiness> Transport<Io> {
    /// Reads into what `lend` lends if reading is worth trying; otherwise `cx`'s waker is left with the reactor.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        lend: impl FnOnce(&mut dyn FnMut(&mut [IoSliceMut<'_>])),
    ) -> Poll<Tried> {
        let (mut tried, mut exhausted) = (Tried::Nothing, false);
        let mut read = |areas: &mut [IoSliceMut<'_>],
                        call: &dyn Fn(&mut [IoSliceMut<'_>]) -> io::Result<usize>| {
            let room = areas.iter().map(|area| area.len()).sum();
            if room > 0 {
                (tried, exhausted) = Tried::from_call(room, call(areas));
            }
        };
        match self {
            Self::Fd(io) => {
                let guard = match ready!(io.poll_readable(cx)) {
                    Ok(guard) => guard,
                    Err(error) => return Poll::Ready(Tried::Failed(error)),
                };
                lend(&mut |areas| read(areas, &|areas| socket::read(io, areas)));
                if exhausted {
                    guard.clear();
                }
            }
            Self::Pipe(end) => {
                ready!(end.poll_readable(cx));
                lend(&mut |areas| read(areas, &|areas| end.read(areas)));
            }
        }
        Poll::Ready(tried)
    }

    /// Writes `slices`, `octets` in all, if writing is worth trying; otherwise `cx`'s waker is left with the reactor.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        octets: usize,
    ) -> Poll<Tried> {
        let ready = match self {
            Self::Fd(io) => io.poll_writable(cx).map_ok(|guard| {
                let (tried, exhausted) = Tried::from_call(octets, socket::write(io, slices));
                if exhausted {
                    guard.clear();
                }
                tried
            }),
            Self::Pipe(end) => {
                end.poll_writable(cx).map(|()| Ok(Tried::from_call(octets, end.write(slices)).0))
            }
        };
        ready.map(|ready| ready.unwrap_or_else(Tried::Failed))
    }

    /// Whether writing is worth trying; otherwise `cx`'s waker is left with the reactor.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Fd(io) => io.poll_writable(cx).map_ok(drop),
            Self::Pipe(end) => end.poll_writable(cx).map(Ok),
        }
    }

    /// While it is not read: ready when the peer may have reset the connection; see [`Readiness::poll_hangup`].
    pub(crate) fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Fd(io) => io.poll_hangup(cx),
            Self::Pipe(end) => end.poll_broken(cx),
        }
    }

    /// Why the connection is broken; `None` when it is not.
    pub(crate) fn error(&self) -> Option<io::Error> {
        match self {
            Self::Fd(io) => socket::error(io),
            Self::Pipe(end) => end.is_broken().then(|| io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// How a connect went; until it is decided `cx`'s waker is left with the reactor.
    pub(crate) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Fd(io) = self else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        loop {
            let guard = ready!(io.poll_writable(cx))?;
            match socket::is_connected(io) {
                // A reactor may be optimistic about a socket it has not heard of yet.
                Ok(false) => guard.clear(),
                decided => return Poll::Ready(decided.map(drop)),
            }
        }
    }

    pub(crate) fn shutdown_write(&self) {
        match self {
            Self::Fd(io) => socket::shutdown_write(io),
            Self::Pipe(end) => end.finish(),
        }
    }

    /// To be called right before the transport is dropped.
    pub(crate) fn reset(&self) {
        match self {
            Self::Fd(io) => socket::reset_on_close(io),
            Self::Pipe(end) => end.reset(),
        }
    }
}

/// Whether and why a socket is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Read whenever there is something.
    Wanted,
    /// The shard lent no room; it will ask to resume.
    Paused,
    /// The end was read, or reading failed: never again.
    Ended,
}

/// What may be done with the writing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// A connect is under way.
    Connecting,
    /// Write whenever the shard has something.
    Open,
    /// The shard waits to hear that the socket is writable.
    Blocked,
    /// FIN was sent, or writing failed: never again.
    Ended,
}

/// A socket the shard knows.
pub(crate) struct Connection<Io> {
    pub(crate) id: SocketId,
    pub(crate) transport: Transport<Io>,
    pub(crate) reading: Reading,
    pub(crate) writing: Writing,
    /// FIN follows what is still to be written.
    pub(crate) shutdown_wanted: bool,
    /// What it holds if it was accepted from a shared listener.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) seat: Option<Seat>,
}

impl<Io> Connection<Io> {
    pub(crate) fn new(id: SocketId, transport: Transport<Io>, writing: Writing) -> Self {
        Self { id, transport, reading: Reading::Wanted, writing, shutdown_wanted: false, seat: None }
    }
}

/// One slot. Its notifier outlives the connections that pass through it, so that a new connection costs no allocation
/// here.
struct Slot<Io> {
    notifier: Notifier,
    connection: Option<Connection<Io>>,
}

/// Slots that are kept however few connections there are.
const KEPT: usize = 64;

/// All slots of a shard. Ids of the shard are dense (it reuses the lowest indices), so a vector is the whole index.
pub(crate) struct Slots<Io> {
    slots: Vec<Slot<Io>>,
    /// Slots with a connection.
    used: usize,
    queue: Arc<ReadyQueue>,
}

impl<Io> Slots<Io> {
    pub(crate) fn new(queue: Arc<ReadyQueue>) -> Self {
        Self { slots: Vec::new(), used: 0, queue }
    }

    /// Stores a connection; one that was there under an older generation is dropped.
    pub(crate) fn insert(&mut self, connection: Connection<Io>) {
        let index = connection.id.index;
        for new in u32::try_from(self.slots.len()).unwrap_or(u32::MAX)..=index {
            let notifier = Notifier::new(&self.queue, Key::Socket(new));
            self.slots.push(Slot { notifier, connection: None });
        }
        if let Some(slot) = self.slots.get_mut(index as usize)
            && slot.connection.replace(connection).is_none()
        {
            self.used += 1;
        }
    }

    /// The connection `id`, and the notifier of its slot; `None` for stale ids.
    pub(crate) fn get(&mut self, id: SocketId) -> Option<(&mut Connection<Io>, &Notifier)> {
        let slot = self.slots.get_mut(id.index as usize)?;
        let connection = slot.connection.as_mut().filter(|connection| connection.id == id)?;
        Some((connection, &slot.notifier))
    }

    /// The slot was popped from the ready queue: who lives there now?
    pub(crate) fn taken(&mut self, index: u32) -> Option<SocketId> {
        let slot = self.slots.get(index as usize)?;
        slot.notifier.taken();
        slot.connection.as_ref().map(|connection| connection.id)
    }

    pub(crate) fn remove(&mut self, id: SocketId) -> Option<Connection<Io>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        let connection = slot.connection.take_if(|connection| connection.id == id)?;
        self.used -= 1;
        self.trim();
        Some(connection)
    }

    /// Gives back what a burst has left at the end: a waker that a reactor still has only queues a key that finds nothing.
    fn trim(&mut self) {
        let keep = self.used.saturating_mul(2).max(KEPT);
        while self.slots.len() > keep && self.slots.pop_if(|slot| slot.connection.is_none()).is_some() {}
        if self.slots.capacity() / 4 > self.slots.len().max(KEPT) {
            self.slots.shrink_to(self.slots.len() * 2);
        }
    }

    /// How many connections there are.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32, generation: u32) -> SocketId {
        SocketId { index, generation }
    }

    #[test]
    fn stale_ids_find_nothing() {
        let mut slots = Slots::<()>::new(ReadyQueue::new());
        slots.insert(Connection::new(id(3, 1), Transport::Fd(()), Writing::Open));
        assert!(slots.get(id(3, 1)).is_some());
        assert!(slots.get(id(3, 0)).is_none());
        assert!(slots.get(id(2, 1)).is_none());
        assert!(slots.remove(id(3, 2)).is_none());
        assert!(slots.remove(id(3, 1)).is_some());
        assert_eq!(slots.taken(3), None);
        assert_eq!(slots.taken(99), None);
    }

    #[test]
    fn a_burst_leaves_few_slots() {
        let mut slots = Slots::<()>::new(ReadyQueue::new());
        for index in 0..5_000 {
            slots.insert(Connection::new(id(index, 0), Transport::Fd(()), Writing::Open));
        }
        for index in (1..5_000).rev() {
            assert!(slots.remove(id(index, 0)).is_some());
            assert!(slots.get(id(0, 0)).is_some());
        }
        assert_eq!(slots.slots.len(), KEPT);
        assert!(slots.slots.capacity() <= 8 * KEPT, "{}", slots.slots.capacity());
        // A late wake-up of a slot that is gone.
        assert_eq!(slots.taken(4_999), None);
        slots.insert(Connection::new(id(4_999, 1), Transport::Fd(()), Writing::Open));
        assert_eq!(slots.taken(4_999), Some(id(4_999, 1)));
    }
}
