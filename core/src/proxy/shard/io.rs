//! The byte side of a shard: lending areas to read into, slices to write, and back-pressure.
use alloc::boxed::Box;

use super::state::{Attach, Conn, ConnId, Loan, Phase, Role, SocketId, TunnelRef};
use super::{Action, Shard, SocketError};
use crate::buffer::{BufferPool, Chunk, Class};
use crate::hbone::tunnel::Lend;
use crate::proxy::relay::End;
use crate::time::Instant;

/// Where to read from a socket: areas to be filled in order.
pub struct Areas<'a>(Kind<'a>);

enum Kind<'a> {
    One(&'a mut [u8]),
    Records(Lend<'a>),
}

impl Areas<'_> {
    /// The areas, at most 64.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let (one, records) = match &mut self.0 {
            Kind::One(area) => (Some(&mut **area), None),
            Kind::Records(lend) => (None, Some(lend.areas())),
        };
        one.into_iter().chain(records.into_iter().flatten())
    }

    /// The sum of their lengths.
    #[must_use]
    pub fn octets(&self) -> usize {
        match &self.0 {
            Kind::One(area) => area.len(),
            Kind::Records(lend) => lend.octets(),
        }
    }
}

/// Plain sockets are read this much at a time.
const PLAIN_READ: Class = Class::Medium;

impl Shard {
    /// Where to read next from `socket`. `None`: not now; `ResumeRead` will follow.
    pub fn lend(&mut self, socket: SocketId) -> Option<Areas<'_>> {
        self.settle();
        let entry = self.sockets.get_mut(socket)?;
        match entry.role {
            Role::Tunnel(id) => match self.tunnels.get_mut(id).and_then(|slot| slot.tunnel.as_mut()) {
                // What is lent and then not filled is taken back by the next `settle`.
                Some(tunnel) => {
                    self.unsettled = Some(id);
                    Some(Areas(Kind::One(tunnel.lend_input(&mut self.buffers))))
                }
                None => {
                    entry.read_paused = true;
                    None
                }
            },
            Role::App { conn, end } => {
                let state = self.conns.get(conn)?;
                match (&state.phase, state.attach(end.other())) {
                    (Phase::Relaying, _) if !state.relay.is_open(end) => None,
                    (Phase::Relaying, Attach::Stream(tunnel, stream)) => {
                        self.unsettled = Some(tunnel);
                        let lent = self
                            .tunnels
                            .get_mut(tunnel)
                            .and_then(|slot| slot.tunnel.as_mut())
                            .and_then(|tunnel| tunnel.lend_data(stream, &mut self.buffers));
                        if lent.is_none() {
                            entry.read_paused = true;
                        }
                        lent.map(|lend| Areas(Kind::Records(lend)))
                    }
                    (Phase::Relaying, Attach::Socket(_)) if state.loan_to(end.other()).is_none() => {
                        let area = scratch(&mut self.scratch, &mut self.buffers);
                        Some(Areas(Kind::One(area)))
                    }
                    (Phase::Socks(machine), _) if end == End::Downstream => {
                        let area = scratch(&mut self.scratch, &mut self.buffers);
                        area.get_mut(..machine.wanted()).map(|area| Areas(Kind::One(area)))
                    }
                    _ => {
                        entry.read_paused = true;
                        None
                    }
                }
            }
        }
    }

    /// `n` > 0 octets were read into what `lend` gave.
    pub fn handle_read(&mut self, now: Instant, socket: SocketId, n: usize) {
        let Some(role) = self.sockets.get(socket).map(|entry| entry.role) else { return };
        match role {
            Role::Tunnel(id) => self.tunnel_read(now, id, n),
            Role::App { conn, end } => self.app_read(now, conn, end, n),
        }
        self.work(now);
    }

    /// The peer of `socket` finished its half.
    pub fn handle_eof(&mut self, now: Instant, socket: SocketId) {
        let Some(role) = self.sockets.get(socket).map(|entry| entry.role) else { return };
        match role {
            Role::Tunnel(id) => self.tunnel_eof(now, id),
            Role::App { conn, end } => self.app_eof(now, conn, end),
        }
        self.work(now);
    }

    /// A dial failed, or a live socket reported an error.
    pub fn handle_error(&mut self, now: Instant, socket: SocketId, error: SocketError) {
        let Some(entry) = self.sockets.get(socket) else { return };
        let connected = entry.connected;
        match entry.role {
            Role::Tunnel(id) => self.tunnel_error(now, id, connected, error),
            Role::App { conn, end } if connected => self.app_error(now, conn, end, error),
            Role::App { conn, .. } => self.dial_failed(now, conn, error),
        }
        self.work(now);
    }

    /// The next socket to be written at once, out of a read buffer that is shared; drain it before the next `lend`.
    #[must_use]
    pub fn poll_urgent(&mut self) -> Option<SocketId> {
        while let Some(id) = self.urgent.pop_front() {
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.listed = false;
                if socket.connected && !socket.write_blocked {
                    return Some(id);
                }
            }
        }
        self.settle();
        None
    }

    /// The next tunnel socket with output, sealed and ready to write; drain once per turn.
    #[must_use]
    pub fn poll_deferred(&mut self, now: Instant) -> Option<SocketId> {
        loop {
            let Some(id) = self.deferred.pop_front() else {
                // What was lent in vain is given back; that may make one more tunnel worth a flush.
                self.settle();
                if self.deferred.is_empty() {
                    return None;
                }
                continue;
            };
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            socket.listed = false;
            let Role::Tunnel(tunnel) = socket.role else { continue };
            if socket.connected && !socket.write_blocked && self.flush_tunnel(now, tunnel) {
                return Some(id);
            }
        }
    }

    /// Octets to write to `socket`, in order, at most 64 slices; none when there is nothing.
    pub fn wire(&self, socket: SocketId) -> impl Iterator<Item = &[u8]> {
        let role = self.sockets.get(socket).map(|entry| entry.role);
        let (mut tunnel, mut loan, mut pieces) = (None, None, None);
        match role {
            Some(Role::Tunnel(id)) => tunnel = self.tunnels.get(id).and_then(|slot| slot.tunnel.as_ref()),
            Some(Role::App { conn, end }) => {
                if let Some(state) = self.conns.get(conn) {
                    loan = state.loan_to(end).map(Loan::bytes);
                    if let (Phase::Relaying, Attach::Stream(id, stream)) =
                        (&state.phase, state.attach(end.other()))
                    {
                        pieces = self
                            .tunnels
                            .get(id)
                            .and_then(|slot| slot.tunnel.as_ref())
                            .map(|tunnel| tunnel.pieces(stream));
                    }
                }
            }
            None => {}
        }
        loan.into_iter()
            .chain(pieces.into_iter().flatten())
            .chain(tunnel.into_iter().flat_map(|tunnel| tunnel.wire()))
            .take(64)
    }

    /// `n` octets of `wire` were written. Write again while `wire` has more.
    pub fn handle_written(&mut self, now: Instant, socket: SocketId, n: usize) {
        let Some(role) = self.sockets.get(socket).map(|entry| entry.role) else { return };
        match role {
            Role::Tunnel(id) => self.tunnel_written(now, id, n),
            Role::App { conn, end } => self.app_written(now, conn, end, n),
        }
        self.work(now);
    }

    /// The socket takes no more: it is not named again until `handle_writable`.
    pub fn handle_write_blocked(&mut self, _now: Instant, socket: SocketId) {
        let Some(entry) = self.sockets.get_mut(socket) else { return };
        entry.write_blocked = true;
        if let Role::App { conn, end } = entry.role
            && let Some(loan) = self.conns.get_mut(conn).and_then(|state| state.loan_to_mut(end).as_mut())
        {
            shrink(loan, &mut self.buffers);
        }
    }

    /// A blocked socket takes octets again.
    pub fn handle_writable(&mut self, now: Instant, socket: SocketId) {
        let Some(entry) = self.sockets.get_mut(socket) else { return };
        entry.write_blocked = false;
        match entry.role {
            Role::Tunnel(_) => self.defer(socket),
            Role::App { .. } => self.urge(socket),
        }
        self.work(now);
    }

    // ---- inside

    /// Names `socket` as one to write at once.
    pub(super) fn urge(&mut self, socket: SocketId) {
        if let Some(entry) = self.sockets.get_mut(socket)
            && entry.connected
            && !entry.write_blocked
            && !core::mem::replace(&mut entry.listed, true)
        {
            self.urgent.push_back(socket);
        }
    }

    /// Names the socket of a tunnel as one to write at the end of the turn.
    pub(super) fn defer(&mut self, socket: SocketId) {
        if let Some(entry) = self.sockets.get_mut(socket)
            && entry.connected
            && !entry.write_blocked
            && !core::mem::replace(&mut entry.listed, true)
        {
            self.deferred.push_back(socket);
        }
    }

    /// Says `ResumeRead` when the driver waits for it.
    pub(super) fn resume(&mut self, socket: SocketId) {
        if let Some(entry) = self.sockets.get_mut(socket)
            && core::mem::take(&mut entry.read_paused)
        {
            self.actions.push_back(Action::ResumeRead { socket });
        }
    }

    /// Moves what applications did not take out of the input buffer they share.
    fn settle(&mut self) {
        if let Some(id) = self.unsettled.take() {
            if let Some(tunnel) = self.tunnels.get_mut(id).and_then(|slot| slot.tunnel.as_mut()) {
                tunnel.settle(&mut self.buffers);
            }
            // It may shed a stream, which is to leave with this turn.
            self.account(id);
            if let Some(slot) = self.tunnels.get_mut(id)
                && let Some(tunnel) = slot.tunnel.as_mut()
                && tunnel.wants_write()
                && let Some(socket) = slot.socket
            {
                self.defer(socket);
            }
        }
    }

    fn app_read(&mut self, now: Instant, id: ConnId, end: End, n: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if matches!(conn.phase, Phase::Socks(_)) {
            return self.socks_read(now, id, n);
        }
        let octets = u64::try_from(n).unwrap_or(u64::MAX);
        match conn.attach(end.other()) {
            Attach::Stream(tunnel, stream) => {
                conn.data(now, end, octets);
                conn.relay.handle_delivered(now, end, octets);
                if let Some(slot) = self.tunnels.get_mut(tunnel)
                    && let Some(state) = slot.tunnel.as_mut()
                {
                    state.commit_data(stream, n);
                    if let Some(socket) = slot.socket {
                        self.defer(socket);
                    }
                }
            }
            Attach::Socket(to) => {
                conn.data(now, end, octets);
                let Some(mut loan) = self.scratch.take() else { return };
                (loan.start, loan.end, loan.relayed) = (0, n.min(loan.chunk.len()), true);
                *conn.loan_to_mut(end.other()) = Some(loan);
                self.urge(to);
            }
            Attach::None => {}
        }
    }

    fn app_written(&mut self, now: Instant, id: ConnId, end: End, mut n: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let from = end.other();
        if let Some(loan) = conn.loan_to_mut(end) {
            let taken = n.min(loan.bytes().len());
            n = n.saturating_sub(taken);
            loan.start = loan.start.saturating_add(taken);
            let (relayed, empty) = (loan.relayed, loan.bytes().is_empty());
            if empty && let Some(loan) = conn.loan_to_mut(end).take() {
                if self.scratch.is_none() && loan.chunk.class() == PLAIN_READ {
                    self.scratch = Some(loan);
                } else {
                    self.buffers.give(loan.chunk);
                }
            }
            if !relayed && empty && end == End::Upstream {
                // The PROXY header has been written.
                return self.upstream_connected(now, id);
            }
            if relayed {
                conn.relay.handle_delivered(now, from, u64::try_from(taken).unwrap_or(u64::MAX));
                if empty && let Attach::Socket(source) = conn.attach(from) {
                    self.resume(source);
                }
            }
        }
        if n > 0
            && let Some((tunnel, stream)) = self.stream_of(id, from)
        {
            self.sync_stream(now, id, from);
            if let Some(slot) = self.tunnels.get_mut(tunnel)
                && let Some(state) = slot.tunnel.as_mut()
            {
                state.delivered(stream, n, &mut self.buffers);
                if state.wants_write()
                    && let Some(socket) = slot.socket
                {
                    self.defer(socket);
                }
            }
            self.account(tunnel);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.relay.handle_delivered(now, from, u64::try_from(n).unwrap_or(u64::MAX));
            }
        }
        self.after_relay(now, id);
    }

    fn app_eof(&mut self, now: Instant, id: ConnId, end: End) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match conn.phase {
            Phase::Relaying => {
                conn.relay.handle_finished(now, end);
                self.after_relay(now, id);
            }
            Phase::Socks(_) => self.fail_conn(now, id, &super::report::socks_ended()),
            // Not read before the other end is there.
            Phase::Waiting(_) | Phase::Leasing(_) | Phase::Asking(_) | Phase::Dialing => {}
        }
    }

    /// The stream that is `end` of this connection.
    pub(super) fn stream_of(&self, id: ConnId, end: End) -> Option<(TunnelRef, crate::http2::StreamId)> {
        match self.conns.get(id).map(|conn| conn.attach(end)) {
            Some(Attach::Stream(tunnel, stream)) => Some((tunnel, stream)),
            _ => None,
        }
    }

    /// Tells the relay of octets which the tunnel has received for it since it was last asked.
    pub(super) fn sync_stream(&mut self, now: Instant, id: ConnId, from: End) {
        let Some((tunnel, stream)) = self.stream_of(id, from) else { return };
        let Some(state) = self.tunnels.get(tunnel).and_then(|slot| slot.tunnel.as_ref()) else { return };
        let waiting = u64::try_from(state.pending(stream)).unwrap_or(u64::MAX);
        if let Some(conn) = self.conns.get_mut(id) {
            let known = conn.relay.pending(from);
            if waiting > known {
                conn.data(now, from, waiting.saturating_sub(known));
            }
        }
    }

    /// A copy of at most a record's worth of octets, to be written to an application socket.
    pub(super) fn loan(&mut self, bytes: &[u8], relayed: bool) -> Box<Loan> {
        let mut chunk = self.buffers.take(Class::for_octets(bytes.len()));
        let end = bytes.len().min(chunk.len());
        if let (Some(to), Some(from)) = (chunk.get_mut(..end), bytes.get(..end)) {
            to.copy_from_slice(from);
        }
        Box::new(Loan { chunk, start: 0, end, relayed })
    }

    /// Gives back what a connection still borrows.
    pub(super) fn give_loans(&mut self, conn: &mut Conn) {
        for loan in [conn.forth.take(), conn.back.take()].into_iter().flatten() {
            self.buffers.give(loan.chunk);
        }
    }

    /// Lends the octets just read from a SOCKS5 client.
    pub(super) fn scratch_bytes(&self, n: usize) -> &[u8] {
        self.scratch.as_ref().and_then(|loan| loan.chunk.get(..n)).unwrap_or_default()
    }
}

fn scratch<'a>(scratch: &'a mut Option<Box<Loan>>, buffers: &mut BufferPool) -> &'a mut Chunk {
    let loan = scratch.get_or_insert_with(|| {
        Box::new(Loan { chunk: buffers.take(PLAIN_READ), start: 0, end: 0, relayed: false })
    });
    &mut loan.chunk
}

/// Moves what a blocked socket did not take into the smallest buffer that holds it.
fn shrink(loan: &mut Loan, buffers: &mut BufferPool) {
    let left = loan.bytes().len();
    let fits = [Class::Record, Class::Small, Class::Medium].into_iter().find(|class| class.octets() >= left);
    if let Some(class) = fits.filter(|class| class.octets() < loan.chunk.len()) {
        let mut chunk = buffers.take(class);
        if let Some(to) = chunk.get_mut(..left) {
            to.copy_from_slice(loan.bytes());
        }
        let old = core::mem::replace(&mut loan.chunk, chunk);
        (loan.start, loan.end) = (0, left);
        buffers.give(old);
    }
}
