//! Double HBONE: a tunnel of its own inside a stream of a pooled one (datapath §2.7).
//!
//! ```text
//! user connection ── stream ─▶ inner tunnel ── socket ═══ socket ── carrier ── stream ─▶ pooled tunnel ─▶ gateway
//! ```
//! The inner tunnel is an ordinary one, whose transport is one end of a pair of sockets within the process; the carrier
//! is an ordinary connection from the other end, which nobody is told of. So flow control, deadlines, caps and half-close
//! hold inside as they do outside. The inner tunnel serves one user connection and ends with it.
use alloc::boxed::Box;
use alloc::sync::Arc;

use super::state::{Attach, Conn, ConnId, Lease, Nested, Phase, Role, Socket, Sole, TunnelRef, TunnelSlot};
use super::tunnels::NO_ADDRESS;
use super::{Action, Shard, report};
use crate::hbone::Baggage;
use crate::hbone::establish::Establish;
use crate::proxy::observed::{Direction, Observed};
use crate::proxy::relay::End;
use crate::proxy::shard::Failure;
use crate::time::Instant;

impl Shard {
    /// Sends a user connection through a tunnel of its own, `inner`, within a stream got with `outer`.
    pub(super) fn start_nested(&mut self, now: Instant, user: ConnId, outer: Lease, inner: Lease) {
        let establish = Establish::client(now, self.config.establish);
        let (proxy, remote) = (outer.key.proxy, outer.key.tunnel.destination);
        let mut slot = self.slot(proxy, Direction::Outbound, remote, NO_ADDRESS, establish, None);
        slot.sole = Some(Box::new(Sole { user, expected: inner.key.tunnel.expected.clone(), outer }));
        let Some(id) = self.tunnels.insert(slot) else {
            return self.fail_conn(now, user, &report::too_many_sockets());
        };
        if let Some(conn) = self.conns.get_mut(user) {
            conn.phase = Phase::Leasing(Box::new(inner));
            conn.nested = Some(Nested::Inner(id));
        }
        self.set_deadline(user, None);
        self.pump_establish(now, id);
    }

    /// Gets the inner tunnel `id` its transport: a carrier, which asks the pool for a stream to the gateway.
    pub(super) fn carry(&mut self, now: Instant, id: TunnelRef, outer: Lease) {
        let key = outer.key.clone();
        let Some(carrier) = self.new_conn(now, key.proxy, Phase::Leasing(Box::new(outer))) else {
            return self.drop_tunnel(now, id, "dial", report::too_many_sockets());
        };
        let inside = self.sockets.insert(Socket::new(Role::Tunnel(id), false));
        let role = Role::App { conn: carrier, end: End::Downstream };
        let outside = self.sockets.insert(Socket::new(role, true));
        if let (Some(slot), Some(inside)) = (self.tunnels.get_mut(id), inside) {
            slot.socket = Some(inside);
        }
        if let (Some(conn), Some(outside)) = (self.conns.get_mut(carrier), outside) {
            conn.downstream = Attach::Socket(outside);
            conn.nested = Some(Nested::Carrier(id));
        }
        let (Some(inside), Some(outside)) = (inside, outside) else {
            self.release_conn(now, carrier, false);
            return self.drop_tunnel(now, id, "dial", report::too_many_sockets());
        };
        self.actions.push_back(Action::Join { sockets: [inside, outside] });
        self.pool.acquire(now, carrier.into(), key);
    }

    /// The gateway has taken the carrier's CONNECT: the inner tunnel has a transport.
    pub(super) fn carried(&mut self, now: Instant, id: TunnelRef) {
        let Some(socket) = self.tunnels.get(id).and_then(|slot| slot.socket) else { return };
        if let Some(entry) = self.sockets.get_mut(socket) {
            entry.connected = true;
        }
        self.tunnel_connected(now, id);
    }

    /// The inner tunnel is ready: its user's CONNECT goes out.
    pub(super) fn open_inner(&mut self, now: Instant, id: TunnelRef, user: ConnId) {
        if self.conns.get(user).and_then(Conn::lease).is_some()
            && let Err(error) = self.open_stream(now, user, id)
        {
            self.fail_conn(now, user, &report::not_opened(error));
        }
    }

    /// The inner CONNECT has been answered: now it is known who is behind the gateway, and the connection is told of.
    pub(super) fn open_behind(&mut self, id: ConnId, inner: TunnelRef, baggage: Option<&Baggage>) {
        let peer = self.tunnels.get(inner).and_then(TunnelSlot::peer).cloned();
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Some(report) = &mut conn.report else { return };
        if let Some(peer) = peer {
            let names = self.parties.share(report::behind_gateway(baggage, peer));
            // Nobody has it yet but the event of a name that was looked up.
            Arc::make_mut(report).destination.names = names;
        }
        self.observed.push_back(Observed::ConnectionOpened(Arc::clone(report)));
    }

    /// An inner tunnel has ended: its user, if still waiting for it, fails.
    pub(super) fn fail_sole(&mut self, now: Instant, id: TunnelRef, failure: &Failure) {
        let Some(user) = self.tunnels.get(id).and_then(|slot| slot.sole.as_ref()).map(|sole| sole.user)
        else {
            return;
        };
        let Some(conn) = self.conns.get_mut(user) else { return };
        if matches!(conn.phase, Phase::Leasing(_)) {
            conn.nested = None;
            self.fail_conn(now, user, failure);
        }
    }

    /// A connection has ended: the tunnel that was there for it alone, or that it carried, ends with it.
    pub(super) fn end_nested(&mut self, now: Instant, nested: Option<Nested>, failure: Option<&Failure>) {
        match nested {
            Some(Nested::Inner(id)) => self.close_tunnel(now, id, "sole", report::closed()),
            Some(Nested::Carrier(id)) => {
                let failure = failure.cloned().unwrap_or_else(report::closed);
                self.drop_tunnel(now, id, "carrier", failure);
            }
            None => {}
        }
    }
}
