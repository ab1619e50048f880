//! Outbound connections: captured or by SOCKS5, routed, then plain or through a tunnel (datapath §2.1, §3.10).
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::state::{Attach, Conn, ConnId, Failure, Lease, Nested, Phase, PoolKey, SocketId, TunnelRef};
use super::waiting::{Next, Tried, Undecided};
use super::{Shard, report};
use crate::dns::NameError;
use crate::hbone::{Authority, ConnectRequest, ConnectResponse, Forwarded, TraceParent};
use crate::http2::{ErrorCode, OpenError, StreamId};
use crate::mesh::Workload;
use crate::pool::{PoolEvent, Refused, TunnelId};
use crate::proxy::observed::{Direction, Flag, Observed};
use crate::proxy::relay::End;
use crate::proxy::socks::{self, SocksError, SocksStep};
use crate::route::{self, Hop, Missing, OutboundPlan, Resolve};
use crate::time::Instant;

/// How often a CONNECT that no peer has looked at is sent again.
const MAX_RETRIES: u8 = 3;

/// A connection whose way is planned.
#[derive(Debug)]
pub(super) struct Planned {
    /// For whom, as it was known then.
    pub(super) local: Arc<Workload>,
    pub(super) peer: SocketAddr,
    pub(super) target: SocketAddr,
    /// Whom `forwarded` names.
    pub(super) client: SocketAddr,
    pub(super) plan: OutboundPlan,
}

impl Shard {
    /// Routes a connection from `peer` to `target` and sets it on its way.
    pub(super) fn start_outbound(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: SocketAddr,
        target: SocketAddr,
        tried: Tried,
    ) {
        let Some(proxy) = self.conns.get(id).map(|conn| conn.proxy) else { return };
        let Some(local) = self.local(proxy) else {
            return self.wait_for_local(now, id, Undecided::Outbound { peer, target }, tried);
        };
        let outcome = route::outbound(&self.mesh, &self.config.route, &local, target, &mut self.rng);
        let mut unanswered = None;
        if self.config.on_demand
            && let Some(missing) = Missing::outbound(&self.mesh, target.ip(), &outcome)
        {
            match self.wait_for(now, id, missing, (Undecided::Outbound { peer, target }, tried)) {
                Next::Wait => return,
                Next::Decide(why) => unanswered = why,
            }
        }
        match (outcome, unanswered) {
            (Ok(plan), None) => {
                self.set_out(now, id, Planned { local, peer, target, client: peer, plan });
            }
            (Err(error), None) => self.deny_early(now, id, Direction::Outbound, peer, target, &error),
            // What may be in the mesh is not sent there in plaintext, past its policies, only because nobody says so.
            (Ok(_), Some(why)) => self.deny_early(now, id, Direction::Outbound, peer, target, &why),
            (Err(error), Some(why)) => {
                let error = format_args!("{error}: {why}");
                self.deny_early(now, id, Direction::Outbound, peer, target, &error);
            }
        }
    }

    /// Sets a planned connection on its way.
    pub(super) fn set_out(&mut self, now: Instant, id: ConnId, planned: Planned) {
        if let Hop::Resolve(resolve) = &planned.plan.hop {
            let resolve = (**resolve).clone();
            return self.wait_for_hop(now, id, planned, resolve);
        }
        let trace = self.report_outbound(id, &planned);
        let Planned { local, peer, client, plan, .. } = planned;
        let Some(proxy) = self.conns.get(id).map(|conn| conn.proxy) else { return };
        let service = plan.service.as_ref().map(|service| Arc::clone(&service.name.hostname));
        let request = |authority| ConnectRequest {
            authority,
            baggage: Some(local.baggage()),
            forwarded: Some(Forwarded { source: Some(client), host: service.clone() }),
            traceparent: Some(trace),
            forwarded_network: None,
        };
        let lease = |dial, expected, request| {
            let tunnel = route::tunnel_key(local.identity(), peer.ip(), dial, expected);
            Lease { key: PoolKey { proxy, tunnel }, request, retries: 0 }
        };
        match plan.hop {
            Hop::Plain { to } => self.dial_upstream(now, id, to, None),
            // It has been resolved.
            Hop::Resolve(_) => {}
            Hop::Hbone { dial, authority, expected } => {
                let lease = lease(dial, expected, request(authority));
                let key = lease.key.clone();
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.phase = Phase::Leasing(Box::new(lease));
                }
                self.set_deadline(id, None);
                self.pool.acquire(now, id.into(), key);
            }
            Hop::DoubleHbone { dial, gateway, authority, expected } => {
                let outer = lease(dial, gateway, request(authority.clone()));
                let network = Some(self.mesh.network().into());
                let inner = ConnectRequest { forwarded_network: network, ..request(authority) };
                self.start_nested(now, id, outer, lease(dial, expected, inner));
            }
        }
    }

    /// Tells of a planned connection, with a trace of its own.
    fn report_outbound(&mut self, id: ConnId, planned: &Planned) -> TraceParent {
        let trace = TraceParent {
            trace_id: (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64()),
            span_id: self.rng.next_u64(),
            flags: 0,
        };
        let Planned { local, peer, target, plan, .. } = planned;
        let report = report::outbound(&mut self.parties, local, *peer, *target, plan, trace);
        self.open_report(id, report);
        trace
    }

    /// The addresses of the workload that a connection goes to are known, or that there are none.
    pub(super) fn hop_resolved(
        &mut self,
        now: Instant,
        id: ConnId,
        mut planned: Planned,
        resolve: &Resolve,
        answer: &Result<Vec<IpAddr>, NameError>,
    ) {
        let (addresses, why) = match answer {
            Ok(addresses) => (addresses.as_slice(), NameError::NoAddress),
            Err(why) => (&[][..], *why),
        };
        match resolve.resolved(addresses, &mut self.rng) {
            Ok(hop) => {
                planned.plan.hop = hop;
                self.set_out(now, id, planned);
                self.told_resolved(id, resolve);
            }
            Err(error) => {
                self.report_outbound(id, &planned);
                self.told_resolved(id, resolve);
                self.fail_conn(now, id, &Failure::new(Flag::Connect, format_args!("{error} ({why})")));
            }
        }
    }

    fn told_resolved(&mut self, id: ConnId, resolve: &Resolve) {
        if let Some(connection) = self.conns.get(id).and_then(|conn| conn.report.clone()) {
            let hostname = Arc::clone(&resolve.hostname);
            self.observed.push_back(Observed::Resolved { connection, hostname });
        }
    }

    /// What the pool decided.
    pub(super) fn handle_pool(&mut self, now: Instant, event: PoolEvent<PoolKey, Failure>) {
        match event {
            PoolEvent::Dial { tunnel, key } => self.dial_tunnel(now, tunnel, key),
            PoolEvent::Granted { request, tunnel } => self.granted(now, ConnId::of(request), tunnel),
            PoolEvent::Refused { request, error } => {
                let failure = match error {
                    Refused::Dial(failure) => failure,
                    error @ (Refused::Draining | Refused::Full | Refused::NoStreams) => {
                        Failure::new(Flag::Connect, error)
                    }
                };
                self.fail_conn(now, ConnId::of(request), &failure);
            }
            PoolEvent::Close { tunnel, reason } => {
                if let Some(&slot) = self.pooled.get(&tunnel) {
                    self.close_tunnel(now, slot, reason.label(), report::closed());
                }
            }
            // The shard's own drain counts tunnels itself.
            PoolEvent::Drained => {}
        }
    }

    /// Sends CONNECT on a granted stream. A tunnel that has ended meanwhile, or goes away, is no reason to fail: the
    /// connection asks again.
    fn granted(&mut self, now: Instant, id: ConnId, tunnel: TunnelId) {
        if self.conns.get(id).and_then(Conn::lease).is_none() {
            return self.pool.release(now, tunnel);
        }
        let opened = match self.pooled.get(&tunnel) {
            Some(&slot) => self.open_stream(now, id, slot),
            None => Err(OpenError::GoingAway),
        };
        let Err(error) = opened else { return };
        if error == OpenError::GoingAway {
            // Never granted again, so that asking again ends.
            self.pool.handle_goaway(now, tunnel);
        }
        self.pool.release(now, tunnel);
        match self.conns.get(id).and_then(Conn::lease) {
            Some(lease) if error == OpenError::GoingAway => {
                self.pool.acquire(now, id.into(), lease.key.clone());
            }
            _ => self.fail_conn(now, id, &report::not_opened(error)),
        }
    }

    /// Sends the CONNECT of a connection that waits for a stream of this tunnel.
    ///
    /// # Errors
    /// The tunnel takes no new stream; the connection still waits.
    pub(super) fn open_stream(
        &mut self,
        now: Instant,
        id: ConnId,
        tunnel: TunnelRef,
    ) -> Result<(), OpenError> {
        let found = self.conns.get_mut(id).zip(self.tunnels.get_mut(tunnel));
        let Some((conn, slot)) = found else { return Err(OpenError::GoingAway) };
        let state = slot.tunnel.as_mut();
        let (Some(lease), Some(state)) = (conn.lease(), state) else { return Err(OpenError::GoingAway) };
        let stream = state.open(now, &lease.request)?;
        if let Phase::Leasing(lease) = core::mem::replace(&mut conn.phase, Phase::Dialing) {
            conn.phase = Phase::Asking(lease);
        }
        conn.upstream = Attach::Stream(tunnel, stream);
        slot.streams.insert(stream, id);
        slot.served = slot.served.saturating_add(1);
        // Whoever asks again has what is left of the first deadline.
        let deadline = conn.deadline.unwrap_or(now + self.config.connect_timeout);
        self.set_deadline(id, Some(deadline));
        self.touch(tunnel);
        Ok(())
    }

    /// The peer has not looked at a CONNECT (RFC 9113 §8.7): nothing but the request was sent, so the pool is asked for
    /// another stream, [`MAX_RETRIES`] times and within the first deadline. False when this connection may not.
    pub(super) fn ask_again(&mut self, now: Instant, id: ConnId) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let Phase::Asking(lease) = &mut conn.phase else { return false };
        if lease.retries >= MAX_RETRIES || matches!(conn.nested, Some(Nested::Inner(_))) {
            return false;
        }
        lease.retries = lease.retries.saturating_add(1);
        let (lease, key) = (lease.clone(), lease.key.clone());
        conn.phase = Phase::Leasing(lease);
        let stream = core::mem::replace(&mut conn.upstream, Attach::None);
        self.reset_end(now, stream, ErrorCode::CANCEL);
        self.pool.acquire(now, id.into(), key);
        true
    }

    /// The peer answered CONNECT.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        id: ConnId,
        _stream: StreamId,
        response: &ConnectResponse,
    ) {
        if response.status != 200 {
            return self.fail_conn(now, id, &report::status(response.status));
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !matches!(conn.phase, Phase::Asking(_)) {
            return;
        }
        conn.phase = Phase::Relaying;
        let (downstream, nested) = (conn.downstream, conn.nested);
        self.set_deadline(id, None);
        match nested {
            Some(Nested::Carrier(inner)) => self.carried(now, inner),
            Some(Nested::Inner(inner)) => self.open_behind(id, inner, response.baggage.as_ref()),
            None => {}
        }
        if let Attach::Socket(socket) = downstream {
            self.told_open(socket);
            self.resume(socket);
            self.urge(socket);
        }
        self.after_relay(now, id);
    }

    /// Octets from a SOCKS5 client.
    pub(super) fn socks_read(&mut self, now: Instant, id: ConnId, n: usize) {
        let bytes: Vec<u8> = self.scratch_bytes(n).into();
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Attach::Socket(socket) = conn.downstream else { return };
        let Phase::Socks(machine) = &mut conn.phase else { return };
        let peer = machine.peer();
        match machine.handle(&bytes) {
            SocksStep::More(reply) => self.reply(id, socket, &reply),
            SocksStep::Connect { to, reply } => self.socks_accepted(now, id, peer, to, &reply),
            SocksStep::Resolve { name, port } => self.wait_for_socks(now, id, peer, (name, port)),
            SocksStep::Refused { reply, error } => self.socks_refused(now, id, peer, &reply, &error),
        }
    }

    /// The addresses of the host that a SOCKS5 client named are known, or that there are none. One of the client's
    /// family is taken if there is one (datapath §1.7).
    pub(super) fn socks_resolved(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: SocketAddr,
        (name, port): (&str, u16),
        answer: &Result<Vec<IpAddr>, NameError>,
    ) {
        let addresses = answer.as_ref().map_or(&[][..], Vec::as_slice);
        let usable =
            || addresses.iter().map(IpAddr::to_canonical).filter(|address| !address.is_unspecified());
        let near = usable().find(|address| address.is_ipv4() == peer.is_ipv4());
        if let Some(address) = near.or_else(|| usable().next()) {
            let reply = socks::succeeded();
            return self.socks_accepted(now, id, peer, SocketAddr::new(address, port), &reply);
        }
        let error = answer.as_ref().err().copied().unwrap_or(NameError::NoAddress);
        let error = SocksError::Unresolved { name: name.into(), error };
        let reply = socks::refused(&error);
        self.socks_refused(now, id, peer, &reply, &error);
    }

    fn socks_accepted(&mut self, now: Instant, id: ConnId, peer: SocketAddr, to: SocketAddr, reply: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.phase = Phase::Dialing;
        if let Attach::Socket(socket) = conn.downstream {
            self.reply(id, socket, reply);
        }
        self.set_deadline(id, None);
        self.start_outbound(now, id, peer, to, Tried::default());
    }

    /// The refusal is written, then the connection ends.
    fn socks_refused(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: SocketAddr,
        reply: &[u8],
        error: &SocksError,
    ) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.phase = Phase::Dialing;
        conn.relay.handle_gone(now, End::Upstream);
        conn.relay.handle_finished(now, End::Downstream);
        if let Attach::Socket(socket) = conn.downstream {
            self.reply(id, socket, reply);
        }
        self.observed.push_back(Observed::EarlyDenied {
            source: Some(peer),
            destination: None,
            direction: Direction::Outbound,
            error: error.to_string(),
            flag: Flag::Connect,
        });
        self.after_relay(now, id);
    }

    fn reply(&mut self, id: ConnId, socket: SocketId, reply: &[u8]) {
        if reply.is_empty() {
            return;
        }
        let mut bytes: Vec<u8> = Vec::new();
        if let Some(old) = self.conns.get_mut(id).and_then(|conn| conn.back.take()) {
            bytes.extend_from_slice(old.bytes());
            self.buffers.give(old.chunk);
        }
        bytes.extend_from_slice(reply);
        let loan = self.loan(&bytes, false);
        match self.conns.get_mut(id) {
            Some(conn) => conn.back = Some(loan),
            None => self.buffers.give(loan.chunk),
        }
        self.urge(socket);
    }

    /// The dial of the upstream end succeeded. A PROXY header goes first, within the deadline of the dial; only then is
    /// the connection open to the client.
    pub(super) fn upstream_connected(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !matches!(conn.phase, Phase::Dialing) {
            return;
        }
        if let (Some(_), Attach::Socket(upstream)) = (&conn.forth, conn.upstream) {
            return self.urge(upstream);
        }
        conn.phase = Phase::Relaying;
        let (downstream, upstream) = (conn.downstream, conn.upstream);
        self.set_deadline(id, None);
        match downstream {
            Attach::Socket(socket) => {
                self.told_open(socket);
                self.resume(socket);
                self.urge(socket);
            }
            Attach::Stream(tunnel, stream) => self.accept_stream(now, id, tunnel, stream),
            Attach::None => {}
        }
        if let Attach::Socket(socket) = upstream {
            self.resume(socket);
            self.urge(socket);
        }
        self.after_relay(now, id);
    }
}

/// The address a connection is reported under, where it is known: what was dialled.
pub(super) fn dialled(hop: &Hop) -> (Option<SocketAddr>, Option<Authority>) {
    match hop {
        Hop::Plain { to } => (Some(*to), None),
        Hop::Hbone { dial, authority, .. } | Hop::DoubleHbone { dial, authority, .. } => {
            (Some(*dial), Some(authority.clone()))
        }
        Hop::Resolve(_) => (None, None),
    }
}
