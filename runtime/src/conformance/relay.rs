//! A scripted engine: relays each accepted connection to one target, with bounded buffers, half-close and reset.
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::identity::Identity;
use adit_core::mesh::Mesh;
use adit_core::proxy::{Action, Listener, LocalWorkload, Observed, ProxyId, SocketError, SocketId, Ticket};
use adit_core::route::Towards;
use adit_core::time::Instant;
use adit_core::tls::TlsContext;

use crate::answers::{DemandAnswer, NameAnswer};
use crate::engine::Engine;

/// Octets held for one socket.
const CAPACITY: usize = 256 * 1024;

/// One socket: what waits to be written to it, and how it is joined to the other.
#[derive(Debug)]
struct Side {
    proxy: ProxyId,
    other: SocketId,
    connected: bool,
    /// Octets to write; `start` of them are gone.
    queued: Vec<u8>,
    start: usize,
    /// Queued for flushing already.
    named: bool,
    blocked: bool,
    /// Reading from the other side waits for room here.
    starving: bool,
    /// Everything was read from this side.
    ended: bool,
    /// Accepted, so that its output is urgent; dialled ones are flushed at the end of the turn.
    accepted: bool,
}

impl Side {
    fn new(proxy: ProxyId, other: SocketId, accepted: bool) -> Self {
        Self {
            proxy,
            other,
            connected: accepted,
            queued: Vec::new(),
            start: 0,
            named: false,
            blocked: false,
            starving: false,
            ended: false,
            accepted,
        }
    }
}

/// The scripted engine.
#[derive(Debug)]
pub struct Relay {
    target: SocketAddr,
    sides: BTreeMap<SocketId, Side>,
    /// Generations of all indices ever used; free ones are reused.
    generations: Vec<u32>,
    free: Vec<u32>,
    room: Vec<u8>,
    actions: VecDeque<Action>,
    urgent: VecDeque<SocketId>,
    deferred: VecDeque<SocketId>,
    lifetime: Option<Duration>,
    deadline: Option<Instant>,
    draining: bool,
    done: bool,
    refusing: bool,
}

impl Relay {
    /// A relay to `target`.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        Self {
            target,
            sides: BTreeMap::new(),
            generations: Vec::new(),
            free: Vec::new(),
            room: vec![0; CAPACITY],
            actions: VecDeque::new(),
            urgent: VecDeque::new(),
            deferred: VecDeque::new(),
            lifetime: None,
            deadline: None,
            draining: false,
            done: false,
            refusing: false,
        }
    }

    /// Terminates this long after the first connection.
    #[must_use]
    pub fn living(self, lifetime: Duration) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }

    /// Refuses every connection.
    #[must_use]
    pub fn refusing(self) -> Self {
        Self { refusing: true, ..self }
    }

    fn allocate(&mut self) -> SocketId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).expect("few sockets in a test")
        });
        SocketId { index, generation: self.generations[index as usize] }
    }

    fn close(&mut self, socket: SocketId, reset: bool) {
        if self.sides.remove(&socket).is_some() {
            self.generations[socket.index as usize] += 1;
            self.free.push(socket.index);
            self.actions.push_back(Action::Close { socket, reset });
        }
        if self.draining && self.sides.is_empty() && !self.done {
            self.done = true;
            self.actions.push_back(Action::Drained);
        }
    }

    fn name(&mut self, socket: SocketId) {
        let Some(side) = self.sides.get_mut(&socket) else { return };
        if side.connected && !side.named && !side.blocked && side.start < side.queued.len() {
            side.named = true;
            if side.accepted { self.urgent.push_back(socket) } else { self.deferred.push_back(socket) }
        }
    }

    /// Both directions have ended and everything is written: the pair is done.
    fn finish(&mut self, socket: SocketId) {
        let Some(side) = self.sides.get(&socket) else { return };
        let other = side.other;
        let Some(opposite) = self.sides.get(&other) else { return };
        let empty = |side: &Side| side.start == side.queued.len();
        if side.ended && opposite.ended && empty(side) && empty(opposite) {
            self.close(socket, false);
            self.close(other, false);
        }
    }

    fn unname(&mut self, socket: Option<SocketId>) -> Option<SocketId> {
        if let Some(side) = socket.and_then(|socket| self.sides.get_mut(&socket)) {
            side.named = false;
        }
        socket
    }
}

impl Engine for Relay {
    fn handle_accepted(
        &mut self,
        now: Instant,
        proxy: ProxyId,
        _: Listener,
        _: SocketAddr,
        _: SocketAddr,
        _: SocketAddr,
    ) -> Option<SocketId> {
        if self.refusing {
            return None;
        }
        self.deadline = self.deadline.or_else(|| self.lifetime.map(|lifetime| now + lifetime));
        let (accepted, dialled) = (self.allocate(), self.allocate());
        self.sides.insert(accepted, Side::new(proxy, dialled, true));
        self.sides.insert(dialled, Side::new(proxy, accepted, false));
        self.actions.push_back(Action::Dial { proxy, socket: dialled, to: self.target, source: None });
        Some(accepted)
    }

    fn handle_connect(&mut self, _: Instant, _: &Towards) -> Option<SocketId> {
        None
    }

    fn handle_connected(&mut self, _: Instant, socket: SocketId) {
        if let Some(side) = self.sides.get_mut(&socket) {
            side.connected = true;
        }
        self.name(socket);
    }

    fn handle_error(&mut self, _: Instant, socket: SocketId, _: SocketError) {
        let Some(side) = self.sides.get(&socket) else { return };
        let other = side.other;
        self.close(socket, true);
        self.close(other, true);
    }

    fn lend<T>(&mut self, socket: SocketId, read: impl FnOnce(&mut [IoSliceMut<'_>]) -> T) -> Option<T> {
        let other = self.sides.get(&socket)?.other;
        let opposite = self.sides.get_mut(&other)?;
        let room = CAPACITY - (opposite.queued.len() - opposite.start);
        if room == 0 {
            opposite.starving = true;
            return None;
        }
        // Three areas of uneven size, as records have.
        let (first, rest) = self.room[..room].split_at_mut(room.min(100));
        let middle = rest.len() / 3;
        let (second, third) = rest.split_at_mut(middle);
        Some(read(&mut [IoSliceMut::new(first), IoSliceMut::new(second), IoSliceMut::new(third)]))
    }

    fn handle_read(&mut self, _: Instant, socket: SocketId, n: usize) {
        let Some(side) = self.sides.get(&socket) else { return };
        let other = side.other;
        if let Some(opposite) = self.sides.get_mut(&other) {
            opposite.queued.drain(..opposite.start);
            opposite.start = 0;
            opposite.queued.extend_from_slice(&self.room[..n]);
        }
        self.name(other);
    }

    fn handle_eof(&mut self, _: Instant, socket: SocketId) {
        let Some(side) = self.sides.get_mut(&socket) else { return };
        side.ended = true;
        let other = side.other;
        // At once: holding it back until everything is written is the driver's duty.
        self.actions.push_back(Action::ShutdownWrite { socket: other });
        self.finish(socket);
    }

    fn poll_urgent(&mut self) -> Option<SocketId> {
        let socket = self.urgent.pop_front();
        self.unname(socket)
    }

    fn poll_deferred(&mut self, _: Instant) -> Option<SocketId> {
        let socket = self.deferred.pop_front();
        self.unname(socket)
    }

    fn wire(&self, socket: SocketId) -> impl Iterator<Item = &[u8]> {
        // Two slices, so that vectored writes are exercised.
        let octets = self.sides.get(&socket).map_or(&[][..], |side| &side.queued[side.start..]);
        let (first, second) = octets.split_at(octets.len() / 2);
        [first, second].into_iter().filter(|slice| !slice.is_empty())
    }

    fn handle_written(&mut self, _: Instant, socket: SocketId, n: usize) {
        let Some(side) = self.sides.get_mut(&socket) else { return };
        side.start += n;
        assert!(side.start <= side.queued.len(), "more was written than there was");
        if std::mem::take(&mut side.starving) {
            self.actions.push_back(Action::ResumeRead { socket: side.other });
        }
        self.finish(socket);
    }

    fn handle_write_blocked(&mut self, _: Instant, socket: SocketId) {
        if let Some(side) = self.sides.get_mut(&socket) {
            side.blocked = true;
        }
    }

    fn handle_writable(&mut self, _: Instant, socket: SocketId) {
        if let Some(side) = self.sides.get_mut(&socket) {
            side.blocked = false;
        }
        self.name(socket);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.take_if(|at| *at <= now).is_some() {
            self.terminate(now);
        }
    }

    fn handle_mesh(&mut self, _: Instant, _: Arc<Mesh>) {}

    fn handle_certificate(&mut self, _: Instant, _: &Identity, _: Result<Arc<TlsContext>, Arc<str>>) {}

    fn handle_resolved(&mut self, _: Instant, _: Ticket, _: NameAnswer) {}

    fn handle_demanded(&mut self, _: Instant, _: Ticket, _: DemandAnswer) {}

    fn add_proxy(&mut self, _: Instant, _: ProxyId, _: LocalWorkload) {}

    fn remove_proxy(&mut self, _: Instant, id: ProxyId) {
        let of: Vec<_> =
            self.sides.iter().filter(|(_, side)| side.proxy == id).map(|(socket, _)| *socket).collect();
        for socket in of {
            self.close(socket, true);
        }
    }

    fn drain(&mut self, _: Instant) {
        self.draining = true;
        self.actions.push_back(Action::StopListening);
        if self.sides.is_empty() && !self.done {
            self.done = true;
            self.actions.push_back(Action::Drained);
        }
    }

    fn terminate(&mut self, now: Instant) {
        self.drain(now);
        for socket in self.sides.keys().copied().collect::<Vec<_>>() {
            self.close(socket, true);
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_observed(&mut self) -> Option<Observed> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}
