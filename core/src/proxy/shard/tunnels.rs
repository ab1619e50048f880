//! The life of a tunnel in a shard: establishment, its events, its end.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::shares::Usage;
use super::state::{Attach, Failure, Phase, PoolKey, Role, Socket, SocketId, TunnelRef, TunnelSlot};
use super::{Action, ProxyId, Shard, SocketError, report};
use crate::hbone::establish::{Establish, EstablishError, EstablishEvent};
use crate::hbone::{Tunnel, TunnelError, TunnelEvent};
use crate::http2::{ErrorCode, Initiator, StreamId, StreamMap};
use crate::identity::Identity;
use crate::pool::TunnelId;
use crate::proxy::observed::{Direction, Flag, Observed};
use crate::proxy::relay::End;
use crate::time::Instant;
use crate::tls::Session;

/// The address of our end of a tunnel that we dial: nobody asks for it.
pub(super) const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Shard {
    // ---- beginnings

    /// The pool wants a tunnel for `key`.
    pub(super) fn dial_tunnel(&mut self, now: Instant, pool_id: TunnelId, key: PoolKey) {
        let establish = Establish::client(now, self.config.establish);
        let (proxy, remote) = (key.proxy, key.tunnel.destination);
        let slot = self.slot(proxy, Direction::Outbound, remote, NO_ADDRESS, establish, Some((pool_id, key)));
        match self.tunnels.insert(slot) {
            Some(id) => {
                self.pooled.insert(pool_id, id);
                self.pump_establish(now, id);
            }
            None => self.pool.handle_dialed(now, pool_id, Err(report::too_many_sockets())),
        }
    }

    /// A peer connected to our HBONE port.
    pub(super) fn accept_tunnel(
        &mut self,
        now: Instant,
        proxy: ProxyId,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Option<SocketId> {
        if let Err(full) = self.admits_tunnel(proxy) {
            self.observed.push_back(report::overloaded(peer, local, full));
            return None;
        }
        let establish = Establish::server(now, self.config.establish);
        let slot = self.slot(proxy, Direction::Inbound, peer, local, establish, None);
        let id = self.tunnels.insert(slot)?;
        let Some(socket) = self.sockets.insert(Socket::new(Role::Tunnel(id), true)) else {
            self.tunnels.remove(id);
            return None;
        };
        if let Some(slot) = self.tunnels.get_mut(id) {
            slot.socket = Some(socket);
        }
        self.count(proxy, Usage::tunnel_accepted);
        self.pump_establish(now, id);
        Some(socket)
    }

    pub(super) fn slot(
        &mut self,
        proxy: ProxyId,
        direction: Direction,
        remote: SocketAddr,
        local: SocketAddr,
        establish: Establish,
        pooled: Option<(TunnelId, PoolKey)>,
    ) -> TunnelSlot {
        self.tunnels_opened = self.tunnels_opened.saturating_add(1);
        TunnelSlot {
            id: self.tunnels_opened,
            proxy,
            direction,
            socket: None,
            remote,
            local,
            establish,
            context: None,
            chain: None,
            pooled,
            sole: None,
            tunnel: None,
            streams: StreamMap::default(),
            served: 0,
            ready: false,
            held: 0,
            closing: None,
            armed: None,
            dirty: false,
        }
    }

    /// The certificate of `identity` arrived, or did not: tell whoever waits.
    pub(super) fn certificate_answered(&mut self, now: Instant, identity: &Identity, failure: Option<&str>) {
        let context = self.proxies.context(identity).cloned();
        let waiting: Vec<_> = self.tunnels.keys().collect();
        for id in waiting {
            let Some(slot) = self.tunnels.get_mut(id) else { continue };
            let of = self.proxies.identity(slot.proxy);
            if slot.context.is_some() || slot.tunnel.is_some() || of != Some(identity) {
                continue;
            }
            match failure {
                None => {
                    if slot.is_of_another(of) {
                        self.drop_tunnel(now, id, "certificate", report::identity_changed());
                        continue;
                    }
                    slot.context.clone_from(&context);
                    slot.establish.handle_certificate(now, true);
                    self.pump_establish(now, id);
                }
                Some(text) => {
                    let failure = Failure::new(Flag::IdentityError, format_args!("identity error: {text}"));
                    self.drop_tunnel(now, id, "certificate", failure);
                }
            }
        }
    }

    /// `proxy` is somebody else from now on, or is known for the first time. Live tunnels go on as who they were; outbound
    /// ones carry no new stream, and what waits for the old certificate fails, or, inbound, waits for the new one.
    pub(super) fn identity_changed(&mut self, now: Instant, proxy: ProxyId) {
        let Some(identity) = self.proxies.identity(proxy).cloned() else { return };
        let all: Vec<_> = self.tunnels.keys().collect();
        for id in all {
            let Some(slot) = self.tunnels.get_mut(id).filter(|slot| slot.proxy == proxy) else { continue };
            let other = slot.is_of_another(Some(&identity));
            let waits = slot.context.is_none() && slot.tunnel.is_none();
            match &slot.pooled {
                Some(_) if other && waits => {
                    self.drop_tunnel(now, id, "certificate", report::identity_changed());
                }
                Some((pool_id, _)) if other => self.pool.handle_goaway(now, *pool_id),
                None if waits => self.certify(now, id, &identity),
                _ => {}
            }
        }
    }

    /// Gives a tunnel that waits for it the certificate of `identity`, if it is there.
    fn certify(&mut self, now: Instant, id: TunnelRef, identity: &Identity) {
        let Some(context) = self.certificate_of(identity) else { return };
        if let Some(slot) = self.tunnels.get_mut(id) {
            slot.context = Some(context);
            slot.establish.handle_certificate(now, true);
            self.pump_establish(now, id);
        }
    }

    /// Does what establishment asks for.
    pub(super) fn pump_establish(&mut self, now: Instant, id: TunnelRef) {
        loop {
            let Some(slot) = self.tunnels.get_mut(id) else { return };
            let Some(event) = slot.establish.poll_event() else { break };
            match event {
                EstablishEvent::NeedCertificate => {
                    // While nobody knows who we are, it waits for that as well.
                    let Some(identity) = self.proxies.identity(slot.proxy).cloned() else { continue };
                    if slot.is_of_another(Some(&identity)) {
                        return self.drop_tunnel(now, id, "certificate", report::identity_changed());
                    }
                    self.certify(now, id, &identity);
                }
                EstablishEvent::Dial => {
                    if let Some(sole) = &slot.sole {
                        let outer = sole.outer.clone();
                        self.carry(now, id, outer);
                        continue;
                    }
                    let (proxy, to) = (slot.proxy, slot.remote);
                    match self.sockets.insert(Socket::new(Role::Tunnel(id), false)) {
                        Some(socket) => {
                            slot.socket = Some(socket);
                            self.actions.push_back(Action::Dial { proxy, socket, to, source: None });
                        }
                        None => return self.drop_tunnel(now, id, "dial", report::too_many_sockets()),
                    }
                }
                EstablishEvent::StartTls => self.start_tls(now, id),
                EstablishEvent::Ready { limit } => self.tunnel_ready(now, id, limit),
                EstablishEvent::Failed(error) => return self.establish_failed(now, id, error),
            }
        }
        self.arm_tunnel(id);
    }

    fn start_tls(&mut self, now: Instant, id: TunnelRef) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        let Some(context) = &slot.context else { return };
        let tunnel = match slot.expected() {
            Some(expected) => Session::client(context, expected)
                .map(|session| Tunnel::client(session, Arc::clone(&self.config.client), now)),
            None => Session::server(context)
                .map(|session| Tunnel::server(session, Arc::clone(&self.config.server), now)),
        };
        match tunnel {
            Ok(tunnel) => {
                slot.tunnel = Some(Box::new(tunnel));
                if let Some(socket) = slot.socket {
                    self.resume(socket);
                    self.defer(socket);
                }
                self.touch(id);
            }
            Err(error) => self.tunnel_failed(now, id, &TunnelError::Tls(error)),
        }
    }

    fn tunnel_ready(&mut self, now: Instant, id: TunnelRef, limit: u32) {
        if !self.stands(now, id) {
            return;
        }
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        slot.ready = true;
        let proxy = slot.proxy;
        if let Some(peer) = slot.peer().cloned() {
            self.observed.push_back(Observed::TunnelOpened {
                id: slot.id,
                direction: slot.direction,
                peer,
                address: slot.remote,
            });
        }
        match (&slot.pooled, &slot.sole) {
            (Some((pool_id, _)), _) => self.pool.handle_dialed(now, *pool_id, Ok(limit)),
            (None, Some(sole)) => {
                let user = sole.user;
                self.open_inner(now, id, user);
            }
            (None, None) => {
                self.count(proxy, Usage::handshake_done);
                if !self.drain.is_open() {
                    self.drain_tunnel(now, id);
                }
            }
        }
    }

    fn establish_failed(&mut self, now: Instant, id: TunnelRef, error: EstablishError) {
        let failure = match error {
            EstablishError::DialTimeout => report::dial_timeout(self.config.route.hbone_port),
            EstablishError::HandshakeTimeout => {
                Failure::new(Flag::TlsFailure, format_args!("tls handshake error: {error}"))
            }
            EstablishError::CertificateTimeout if self.is_unknown(id) => {
                let proxy = self.tunnels.get(id).map(|slot| slot.proxy);
                proxy.map_or_else(report::drained, |proxy| self.no_local(proxy))
            }
            EstablishError::Certificate
            | EstablishError::CertificateTimeout
            | EstablishError::Dial
            | EstablishError::Handshake
            | EstablishError::Cancelled => Failure::new(Flag::Connect, error),
        };
        self.drop_tunnel(now, id, "establish", failure);
    }

    /// Whether nobody knows on whose behalf it is.
    fn is_unknown(&self, id: TunnelRef) -> bool {
        self.tunnels.get(id).is_some_and(|slot| self.proxies.identity(slot.proxy).is_none())
    }

    // ---- its transport

    pub(super) fn tunnel_connected(&mut self, now: Instant, id: TunnelRef) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        slot.establish.handle_dialed(now, true);
        self.pump_establish(now, id);
    }

    pub(super) fn tunnel_read(&mut self, now: Instant, id: TunnelRef, n: usize) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        let Some(tunnel) = slot.tunnel.as_mut() else { return };
        self.unsettled = Some(id);
        let result = tunnel.handle_input(now, n, &mut self.buffers);
        self.touch(id);
        if let Err(error) = result {
            // What arrived whole before the fault is still handed on.
            self.pump_tunnel(now, id);
            self.tunnel_failed(now, id, &error);
        }
    }

    pub(super) fn tunnel_eof(&mut self, now: Instant, id: TunnelRef) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        let Some(tunnel) = slot.tunnel.as_mut() else {
            return self.drop_tunnel(now, id, "closed", report::closed());
        };
        let error = tunnel.handle_eof(now);
        if slot.closing.is_some() {
            return self.drop_tunnel(now, id, "closed", report::closed());
        }
        self.tunnel_failed(now, id, &error);
    }

    pub(super) fn tunnel_error(&mut self, now: Instant, id: TunnelRef, connected: bool, error: SocketError) {
        let failure = if connected {
            Failure::new(Flag::Connect, format_args!("io error: {error}"))
        } else if error == SocketError::TimedOut {
            report::dial_timeout(self.config.route.hbone_port)
        } else {
            Failure::new(Flag::Connect, format_args!("connection failed: {error}"))
        };
        self.drop_tunnel(now, id, if connected { "io" } else { "dial" }, failure);
    }

    pub(super) fn tunnel_written(&mut self, now: Instant, id: TunnelRef, n: usize) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        let Some(tunnel) = slot.tunnel.as_mut() else { return };
        tunnel.handle_written(n, &mut self.buffers);
        let finished = !tunnel.wants_write();
        if let Some(closing) = slot.closing.as_ref().filter(|_| finished) {
            let (reason, failure) = (closing.reason, closing.failure.clone());
            return self.drop_tunnel(now, id, reason, failure);
        }
        if finished && !tunnel.has_news() {
            // As it is with most writes.
            return self.arm_tunnel(id);
        }
        self.touch(id);
    }

    /// Seals what is queued; whether there is something to write then.
    pub(super) fn flush_tunnel(&mut self, now: Instant, id: TunnelRef) -> bool {
        let Some(tunnel) = self.tunnels.get_mut(id).and_then(|slot| slot.tunnel.as_mut()) else {
            return false;
        };
        match tunnel.flush(now, &mut self.buffers) {
            Ok(()) => tunnel.wire().next().is_some(),
            Err(error) => {
                self.tunnel_failed(now, id, &error);
                self.work(now);
                false
            }
        }
    }

    pub(super) fn tunnel_timeout(&mut self, now: Instant, id: TunnelRef) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        slot.armed = None;
        if let Some(closing) = slot.closing.as_ref().filter(|closing| closing.until <= now) {
            let (reason, failure) = (closing.reason, closing.failure.clone());
            return self.drop_tunnel(now, id, reason, failure);
        }
        if slot.closing.is_none() {
            slot.establish.handle_timeout(now);
            self.pump_establish(now, id);
            let Some(slot) = self.tunnels.get_mut(id) else { return };
            if let Some(tunnel) = slot.tunnel.as_mut()
                && let Err(error) = tunnel.handle_timeout(now)
            {
                return self.tunnel_failed(now, id, &error);
            }
        }
        self.touch(id);
    }

    // ---- its events

    /// Its events are to be drained, its output to be flushed.
    pub(super) fn touch(&mut self, id: TunnelRef) {
        if let Some(slot) = self.tunnels.get_mut(id)
            && !core::mem::replace(&mut slot.dirty, true)
        {
            self.dirty.push_back(id);
        }
    }

    pub(super) fn pump_tunnel(&mut self, now: Instant, id: TunnelRef) {
        if let Some(slot) = self.tunnels.get_mut(id) {
            slot.dirty = false;
        }
        loop {
            let Some(slot) = self.tunnels.get_mut(id) else { return };
            let Some(event) = slot.tunnel.as_mut().and_then(|tunnel| tunnel.poll_event()) else { break };
            self.tunnel_event(now, id, event);
        }
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        match (&slot.tunnel, slot.socket, &slot.closing) {
            (Some(tunnel), Some(socket), _) if tunnel.wants_write() => self.defer(socket),
            (_, None, Some(closing)) if slot.streams.is_empty() => {
                let (reason, failure) = (closing.reason, closing.failure.clone());
                return self.drop_tunnel(now, id, reason, failure);
            }
            _ => {}
        }
        self.arm_tunnel(id);
    }

    fn tunnel_event(&mut self, now: Instant, id: TunnelRef, event: TunnelEvent) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        match event {
            TunnelEvent::Established { .. } => {
                slot.establish.handle_tls(now);
                self.pump_establish(now, id);
            }
            TunnelEvent::Limit { streams } if slot.ready => {
                if let Some((pool_id, _)) = &slot.pooled {
                    self.pool.handle_limit(now, *pool_id, streams);
                }
            }
            TunnelEvent::Limit { streams } => {
                slot.establish.handle_settings(now, streams);
                self.pump_establish(now, id);
            }
            TunnelEvent::Request { stream, request } => self.asked(now, id, stream, request),
            TunnelEvent::Response { stream, response } => {
                if let Some(&conn) = slot.streams.get(&stream) {
                    self.answered(now, conn, stream, &response);
                }
            }
            TunnelEvent::Data { stream } => self.stream_data(now, id, stream),
            TunnelEvent::Finished { stream } => self.stream_finished(now, id, stream),
            TunnelEvent::Reset { stream, code, by } => self.stream_reset(now, id, stream, code, by),
            TunnelEvent::Writable { stream } => {
                if let Some(socket) = self.app_socket(id, stream) {
                    self.resume(socket);
                }
            }
            TunnelEvent::GoAway => {
                if let Some((pool_id, _)) = &slot.pooled {
                    self.pool.handle_goaway(now, *pool_id);
                    self.told_leaving(id);
                }
            }
            TunnelEvent::Closed { stream } => {
                if let Some((pool_id, _)) = &slot.pooled {
                    self.pool.release(now, *pool_id);
                }
                // A refused CONNECT ends here; a live connection may still have octets to deliver.
                if let Some(&conn) = slot.streams.get(&stream)
                    && self.conns.get(conn).is_some_and(|conn| matches!(conn.phase, Phase::Asking(_)))
                {
                    self.fail_conn(now, conn, &report::closed());
                }
            }
            TunnelEvent::Drained => {
                let failure = report::closed();
                self.close_tunnel(now, id, "drained", failure);
            }
        }
    }

    /// Which end of its connection this tunnel's streams are.
    pub(super) fn end_of(&self, id: TunnelRef) -> End {
        match self.tunnels.get(id).map(|slot| slot.direction) {
            Some(Direction::Outbound) => End::Upstream,
            Some(Direction::Inbound) | None => End::Downstream,
        }
    }

    /// The application socket behind a stream.
    pub(super) fn app_socket(&self, id: TunnelRef, stream: StreamId) -> Option<SocketId> {
        let conn = *self.tunnels.get(id)?.streams.get(&stream)?;
        match self.conns.get(conn)?.attach(self.end_of(id).other()) {
            Attach::Socket(socket) => Some(socket),
            Attach::None | Attach::Stream(..) => None,
        }
    }

    fn stream_data(&mut self, now: Instant, id: TunnelRef, stream: StreamId) {
        let Some(&conn) = self.tunnels.get(id).and_then(|slot| slot.streams.get(&stream)) else { return };
        self.sync_stream(now, conn, self.end_of(id));
        if self.conns.get(conn).is_some_and(|conn| matches!(conn.phase, Phase::Relaying))
            && let Some(socket) = self.app_socket(id, stream)
        {
            self.urge(socket);
        }
    }

    fn stream_finished(&mut self, now: Instant, id: TunnelRef, stream: StreamId) {
        let Some(&conn_id) = self.tunnels.get(id).and_then(|slot| slot.streams.get(&stream)) else { return };
        let end = self.end_of(id);
        self.sync_stream(now, conn_id, end);
        if let Some(conn) = self.conns.get_mut(conn_id) {
            conn.relay.handle_finished(now, end);
        }
        self.after_relay(now, conn_id);
    }

    fn stream_reset(
        &mut self,
        now: Instant,
        id: TunnelRef,
        stream: StreamId,
        code: ErrorCode,
        by: Initiator,
    ) {
        let Some(slot) = self.tunnels.get_mut(id) else { return };
        let Some(&conn_id) = slot.streams.get(&stream) else { return };
        if code == ErrorCode::REFUSED_STREAM && self.ask_again(now, conn_id) {
            return;
        }
        let end = self.end_of(id);
        self.sync_stream(now, conn_id, end);
        let pending = slot_pending(self.tunnels.get(id), stream);
        let gentle = code == ErrorCode::NO_ERROR || code == ErrorCode::CANCEL || self.config.resets_as_fin;
        let Some(conn) = self.conns.get_mut(conn_id) else { return };
        if matches!(conn.phase, Phase::Relaying) && conn.failure.is_none() {
            // What it broke is what came from there, or, had that ended, what went there.
            let receiving = conn.relay.is_open(end) == (end == End::Upstream);
            conn.failure = report::broken_off(code, by, receiving).map(Box::new);
        }
        match conn.phase {
            Phase::Relaying if gentle => {
                conn.relay.handle_gone(now, end);
                if pending == 0 {
                    // What the tunnel has shed will never be delivered: nothing to wait for.
                    conn.relay.handle_delivered(now, end, u64::MAX);
                }
            }
            Phase::Relaying => conn.relay.handle_reset(now, end),
            Phase::Socks(_) | Phase::Waiting(_) | Phase::Leasing(_) | Phase::Asking(_) | Phase::Dialing => {
                return self.fail_conn(now, conn_id, &report::stream_reset(code));
            }
        }
        self.after_relay(now, conn_id);
    }
}

/// Octets that a stream still has to deliver.
fn slot_pending(slot: Option<&TunnelSlot>, stream: StreamId) -> usize {
    slot.and_then(|slot| slot.tunnel.as_ref()).map_or(0, |tunnel| tunnel.pending(stream))
}
