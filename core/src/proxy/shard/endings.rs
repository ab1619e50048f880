//! How tunnels end, what becomes of what they carried, and the books on octets held for slow applications.
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::shares::Usage;
use super::state::{Attach, Closing, Conn, Failure, Phase, Timer, TunnelRef};
use super::{Shard, report};
use crate::hbone::TunnelError;
use crate::http2::ErrorCode;
use crate::identity::Identity;
use crate::proxy::observed::{Direction, Observed};
use crate::time::Instant;

impl Shard {
    /// Says GOAWAY to the peer of an inbound tunnel; its streams go on. Outbound tunnels follow the pool.
    pub(super) fn drain_tunnel(&mut self, now: Instant, id: TunnelRef) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        if slot.direction == Direction::Outbound {
            return;
        }
        // One that is being established was dialled before the drain began: its peer is told once it stands, and goes on
        // elsewhere with nothing lost.
        if slot.ready {
            if let Some(tunnel) = slot.tunnel.as_mut() {
                tunnel.drain(now);
            }
            self.touch(id);
        }
    }

    /// Ends a tunnel in good order: GOAWAY, close_notify, then the socket.
    pub(super) fn close_tunnel(
        &mut self,
        now: Instant,
        id: TunnelRef,
        reason: &'static str,
        failure: Failure,
    ) {
        self.begin_closing(
            now,
            id,
            ErrorCode::NO_ERROR,
            Closing { reason, attack: false, until: now, failure },
        );
    }

    /// Ends a tunnel because of an error; its alert or GOAWAY is still sent.
    pub(super) fn tunnel_failed(&mut self, now: Instant, id: TunnelRef, error: &TunnelError) {
        let Some(slot) = self.tunnels.get(id) else { return };
        let failure = report::tunnel_error(error, slot.ready);
        if slot.direction == Direction::Inbound && !slot.ready && slot.closing.is_none() {
            let denied = report::handshake_denied(slot.remote, slot.local, error, failure.flag);
            self.observed.push_back(denied);
        }
        let closing = Closing { reason: error.reason(), attack: error.is_attack(), until: now, failure };
        self.begin_closing(now, id, ErrorCode::NO_ERROR, closing);
    }

    fn begin_closing(&mut self, now: Instant, id: TunnelRef, code: ErrorCode, mut closing: Closing) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        if slot.closing.is_some() {
            return;
        }
        closing.until = now + self.config.close_grace;
        let failure = closing.failure.clone();
        slot.closing = Some(closing);
        if let Some(tunnel) = slot.tunnel.as_mut() {
            tunnel.close(now, code);
        }
        self.fail_streams(now, id, &failure);
        self.leave_pool(now, id, &failure);
        let Some(slot) = self.tunnels.get(id) else { return };
        match (&slot.tunnel, slot.socket) {
            (Some(tunnel), Some(socket)) if tunnel.wants_write() => self.defer(socket),
            _ => {
                let reason = slot.closing.as_ref().map_or("closed", |closing| closing.reason);
                return self.drop_tunnel(now, id, reason, failure);
            }
        }
        self.arm_tunnel(id);
    }

    /// The connections on a dying tunnel end: live ones are aborted, the others fail. Those which both sides have
    /// finished stay until the application has taken what has arrived for it.
    fn fail_streams(&mut self, now: Instant, id: TunnelRef, failure: &Failure) {
        let end = self.end_of(id);
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        let conns = &self.conns;
        let mut fail = Vec::new();
        slot.streams.retain(|_, conn| {
            let stays = conns.get(*conn).is_some_and(Conn::only_delivers);
            if !stays {
                fail.push(*conn);
            }
            stays
        });
        for conn_id in fail {
            let Some(conn) = self.conns.get_mut(conn_id) else { continue };
            if !matches!(conn.phase, Phase::Relaying) {
                self.fail_conn(now, conn_id, failure);
                continue;
            }
            conn.failure.get_or_insert_with(|| Box::new(failure.clone()));
            *conn.attach_mut(end) = Attach::None;
            if self.config.resets_as_fin {
                conn.relay.handle_delivered(now, end, u64::MAX);
                conn.relay.handle_gone(now, end);
            } else {
                conn.relay.handle_reset(now, end);
            }
            self.after_relay(now, conn_id);
        }
    }

    fn leave_pool(&mut self, now: Instant, id: TunnelRef, failure: &Failure) {
        self.fail_sole(now, id, failure);
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        let ready = slot.ready;
        if let Some((pool_id, _)) = &slot.pooled {
            let pool_id = *pool_id;
            if self.pooled.remove(&pool_id).is_some() {
                if ready {
                    self.pool.handle_closed(now, pool_id);
                } else {
                    self.pool.handle_dialed(now, pool_id, Err(failure.clone()));
                }
            }
        }
    }

    /// Forgets a tunnel and all that hangs on it.
    pub(super) fn drop_tunnel(
        &mut self,
        now: Instant,
        id: TunnelRef,
        reason: &'static str,
        failure: Failure,
    ) {
        self.fail_streams(now, id, &failure);
        self.leave_pool(now, id, &failure);
        if let Some(slot) = self.tunnels.get_mut(id)
            && !slot.streams.is_empty()
        {
            // Only the transport goes; the last of these connections takes the rest with it (`pump_tunnel`).
            let closing = slot.closing.get_or_insert(Closing { reason, attack: false, until: now, failure });
            closing.until = Instant::FAR;
            if let Some(socket) = slot.socket.take() {
                self.close_socket(socket, false);
            }
            return self.arm_tunnel(id);
        }
        let Some(mut slot) = self.tunnels.remove(id) else { return };
        Self::arm(&mut self.timers, &mut slot.armed, None, Timer::Tunnel(id));
        if let Some(socket) = slot.socket {
            self.close_socket(socket, false);
        }
        let peer = slot.peer().cloned();
        if let Some(tunnel) = slot.tunnel.as_mut() {
            tunnel.release(&mut self.buffers);
        }
        if let Some(peer) = &peer {
            self.hold(peer, slot.held, 0);
        }
        if slot.direction == Direction::Inbound {
            self.count(slot.proxy, Usage::tunnel_gone);
            if !slot.ready {
                self.count(slot.proxy, Usage::handshake_done);
                if slot.closing.is_none() {
                    let denied =
                        report::handshake_denied(slot.remote, slot.local, &failure.text, failure.flag);
                    self.observed.push_back(denied);
                }
            }
        }
        // A peer that hangs up while we say why we close does not change why.
        let (reason, attack) =
            slot.closing.as_ref().map_or((reason, false), |closing| (closing.reason, closing.attack));
        if slot.ready || attack {
            self.observed.push_back(Observed::TunnelClosed {
                id: slot.id,
                direction: slot.direction,
                reason,
                attack,
                streams_served: slot.served,
            });
        }
        self.told_live(now);
    }

    // ---- what it holds

    pub(super) fn hold(&mut self, peer: &Identity, before: usize, after: usize) -> usize {
        self.held_total = self.held_total.saturating_sub(before).saturating_add(after);
        let of_peer = self.held.get(peer).copied().unwrap_or(0).saturating_sub(before).saturating_add(after);
        if of_peer == 0 {
            self.held.remove(peer);
        } else {
            self.held.insert(peer.clone(), of_peer);
        }
        of_peer
    }

    /// Keeps the books on octets held for slow applications, and sheds the fattest stream of this tunnel while its
    /// peer, or the shard, holds too much.
    pub(super) fn account(&mut self, id: TunnelRef) {
        loop {
            let Some(slot) = self.tunnels.get(id) else { return };
            let (Some(tunnel), Some(peer)) = (&slot.tunnel, slot.peer()) else { return };
            let (before, after) = (slot.held, tunnel.held());
            if before == after {
                return;
            }
            let peer = peer.clone();
            let of_peer = self.hold(&peer, before, after);
            let Some(slot) = self.tunnels.get_mut(id) else { return };
            slot.held = after;
            if of_peer <= self.config.max_held_per_identity && self.held_total <= self.config.max_held {
                return;
            }
            let Some(tunnel) = slot.tunnel.as_mut() else { return };
            if !tunnel.shed(&mut self.buffers) {
                return;
            }
            self.touch(id);
        }
    }

    pub(super) fn arm_tunnel(&mut self, id: TunnelRef) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        let at = match &slot.closing {
            Some(closing) => Some(closing.until),
            None => slot
                .establish
                .poll_timeout()
                .into_iter()
                .chain(slot.tunnel.as_ref().and_then(|tunnel| tunnel.poll_timeout()))
                .min(),
        };
        Self::arm(&mut self.timers, &mut slot.armed, at, Timer::Tunnel(id));
    }
}
