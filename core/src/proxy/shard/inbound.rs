//! Inbound connections: admitted, judged, then dialled to the application (datapath §5.2, §5.7, §6).
use alloc::boxed::Box;
use core::net::SocketAddr;

use super::state::{Asked, Attach, ConnId, Judged, Phase, TunnelRef};
use super::waiting::{Next, Tried, Undecided};
use super::{Shard, report};
use crate::hbone::{ConnectRequest, RequestError};
use crate::http2::StreamId;
use crate::mesh::Workload;
use crate::policy::Verdict;
use crate::proxy::observed::{Direction, Flag};
use crate::proxy::{Observed, ProxyId, proxy_protocol};
use crate::route::{self, AdmitError, InboundPlan, Missing};
use crate::time::Instant;

/// Statuses of datapath §3.3.
pub(super) const DENIED: u16 = 401;
pub(super) const UNAVAILABLE: u16 = 503;

/// A CONNECT that has come and is not decided.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) asked: Asked,
    pub(super) request: ConnectRequest,
    /// The client's end of the tunnel, and ours.
    pub(super) peer: SocketAddr,
    pub(super) connected: SocketAddr,
}

impl Shard {
    /// A plaintext connection captured on 15006.
    pub(super) fn start_inbound_plain(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: SocketAddr,
        target: SocketAddr,
        tried: Tried,
    ) {
        let Some(proxy) = self.conns.get(id).map(|conn| conn.proxy) else { return };
        let Some(local) = self.local(proxy) else {
            return self.wait_for_local(now, id, Undecided::InboundPlain { peer, target }, tried);
        };
        let plan = match route::admit_plain(&self.mesh, &self.config.route, &local, peer, target) {
            Ok(plan) => plan,
            Err(error) => return self.deny_early(now, id, Direction::Inbound, peer, target, &error),
        };
        if let Some(missing) = self.missing_source(peer) {
            let undecided = Undecided::InboundPlain { peer, target };
            if let Next::Wait = self.wait_for(now, id, missing, (undecided, tried)) {
                return;
            }
        }
        let source = self.mesh.workload_by_address(&self.config.network, peer.ip()).cloned();
        let report = report::inbound_plain(&mut self.parties, &local, source.as_ref(), peer, &plan);
        self.open_report(id, report);
        let judged = Judged { source: None, source_address: peer, destination: plan.destination };
        if let Verdict::Deny(reason) = self.judge(id, judged) {
            return self.fail_conn(now, id, &report::denied(&reason));
        }
        self.dial_upstream(now, id, plan.to, plan.source.bind());
    }

    /// The client's address, where on-demand discovery may know more than the tables. What it says is for reports only:
    /// whoever cannot be asked about is let go on without.
    fn missing_source(&self, peer: SocketAddr) -> Option<Missing> {
        let asks = self.config.on_demand && !peer.ip().is_loopback();
        if asks { Missing::at(&self.mesh, &self.config.network, peer.ip()) } else { None }
    }

    /// A request arrived on an inbound tunnel. What is not a CONNECT was answered 400 by the tunnel.
    pub(super) fn asked(
        &mut self,
        now: Instant,
        tunnel: TunnelRef,
        stream: StreamId,
        request: Result<ConnectRequest, RequestError>,
    ) {
        let Some(slot) = self.tunnels.get_mut(tunnel) else { return };
        slot.served = slot.served.saturating_add(1);
        let (peer, connected) = (slot.remote, slot.local);
        match request {
            Ok(request) => {
                let asked = Asked { tunnel, stream, authority: request.authority.clone() };
                self.admit(now, &Arrival { asked, request, peer, connected }, None, Tried::default());
            }
            Err(error) => self.refused(peer, connected, &error),
        }
    }

    /// Decides about a CONNECT; `known` is the connection that it is already, when it has waited for an answer.
    pub(super) fn admit(&mut self, now: Instant, arrival: &Arrival, mut known: Option<ConnId>, tried: Tried) {
        if self.config.waypoint {
            return self.admit_here(now, arrival, known, tried);
        }
        let Arrival { asked, request, .. } = arrival;
        let (peer, connected) = (arrival.peer, arrival.connected);
        let Some(proxy) = self.tunnels.get(asked.tunnel).map(|slot| slot.proxy) else { return };
        let Some(local) = self.local(proxy) else {
            return self.wait_admitted(now, arrival, known, tried, proxy);
        };
        let route = &self.config.route;
        let plan = route::admit_hbone(&self.mesh, route, &local, peer, connected, &asked.authority);
        if let Some(missing) = self.missing_for(&local, (peer, request), &plan) {
            let Some(id) = known.or_else(|| self.new_stream(now, asked, peer, connected)) else {
                return self.reject(now, asked, UNAVAILABLE);
            };
            let undecided = Undecided::Stream(Box::new(arrival.clone()));
            if let Next::Wait = self.wait_for(now, id, missing, (undecided, tried)) {
                return;
            }
            known = Some(id);
        }
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => return self.turn_away(now, arrival, known, error.status(), &error),
        };
        let Some(identity) = self.tunnels.get(asked.tunnel).and_then(|slot| slot.peer().cloned()) else {
            // Its connections have ended with it.
            return;
        };
        let Some(id) = known.or_else(|| self.new_stream(now, asked, peer, plan.to)) else {
            return self.reject(now, asked, UNAVAILABLE);
        };
        let source = self.mesh.workload_by_address(&self.config.network, peer.ip());
        let source = source.filter(|_| !self.is_from_elsewhere(request)).cloned();
        let baggage = request.baggage.as_ref().filter(|_| self.config.baggage);
        // Who asked for a service says so; without that it can only be guessed from the port.
        let asked_for = request.forwarded.as_ref().and_then(|forwarded| forwarded.host.as_deref());
        let service = asked_for
            .and_then(|host| self.mesh.service_by_hostname(host, &local.namespace))
            .or(plan.service.as_ref());
        let report = report::inbound_hbone(
            &mut self.parties,
            &local,
            (source.as_ref(), baggage),
            &identity,
            (peer, connected),
            request,
            (&plan, service.map(|service| &**service)),
        );
        self.open_report(id, report);
        let judged =
            Judged { source: Some(identity.clone()), source_address: peer, destination: plan.destination };
        if let Verdict::Deny(reason) = self.judge(id, judged) {
            self.answer_and_fail(now, id, DENIED, &report::denied(&reason));
            return;
        }
        if let Some(destination) = plan.announced {
            let header = proxy_protocol::header(peer, destination, Some(&identity));
            let loan = self.loan(&header, false);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.forth = Some(loan);
            }
        }
        self.dial_upstream(now, id, plan.to, plan.source.bind());
    }

    /// A CONNECT for a workload that the tables do not know yet: it waits once.
    pub(super) fn wait_admitted(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        known: Option<ConnId>,
        tried: Tried,
        proxy: ProxyId,
    ) {
        let error = self.no_local(proxy);
        if tried.has_waited() {
            return self.turn_away(now, arrival, known, UNAVAILABLE, &error.text);
        }
        let asked = &arrival.asked;
        let Some(id) = known.or_else(|| self.new_stream(now, asked, arrival.peer, arrival.connected)) else {
            return self.reject(now, asked, UNAVAILABLE);
        };
        self.wait_for_local(now, id, Undecided::Stream(Box::new(arrival.clone())), tried);
    }

    /// Whether a request came through the gateway of another network (datapath §5.5): its address is the gateway's, and
    /// only the baggage says who is behind it.
    fn is_from_elsewhere(&self, request: &ConnectRequest) -> bool {
        let from = request.forwarded_network.as_ref();
        from.is_some_and(|from| !from.eq_ignore_ascii_case(&self.config.network))
    }

    /// What on-demand discovery may add to the tables for a CONNECT.
    fn missing_for(
        &self,
        local: &Workload,
        (peer, request): (SocketAddr, &ConnectRequest),
        plan: &Result<InboundPlan, AdmitError>,
    ) -> Option<Missing> {
        match plan {
            Ok(_) if self.is_from_elsewhere(request) => None,
            Ok(_) => self.missing_source(peer),
            Err(error) if self.config.on_demand => Missing::inbound(&self.mesh, local, error),
            Err(_) => None,
        }
    }

    /// A connection whose downstream end is a stream that has asked for `to`; `None` when there are too many.
    pub(super) fn new_stream(
        &mut self,
        now: Instant,
        asked: &Asked,
        peer: SocketAddr,
        to: SocketAddr,
    ) -> Option<ConnId> {
        let proxy = self.tunnels.get(asked.tunnel)?.proxy;
        if self.is_full(proxy, Direction::Inbound, peer, to) {
            return None;
        }
        let id = self.new_conn(now, proxy, Phase::Dialing)?;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.downstream = Attach::Stream(asked.tunnel, asked.stream);
        }
        if let Some(slot) = self.tunnels.get_mut(asked.tunnel) {
            slot.streams.insert(asked.stream, id);
        }
        Some(id)
    }

    /// Refuses a CONNECT of which nothing was reported yet.
    pub(super) fn turn_away(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        known: Option<ConnId>,
        status: u16,
        error: &dyn core::fmt::Display,
    ) {
        self.refused(arrival.peer, arrival.connected, error);
        self.reject(now, &arrival.asked, status);
        if let Some(id) = known {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.downstream = Attach::None;
            }
            if let Some(slot) = self.tunnels.get_mut(arrival.asked.tunnel) {
                slot.streams.remove(&arrival.asked.stream);
            }
            self.release_conn(now, id, false);
        }
    }

    /// The application is there: 200.
    pub(super) fn accept_stream(&mut self, now: Instant, id: ConnId, tunnel: TunnelRef, stream: StreamId) {
        let local = self.conns.get(id).and_then(|conn| self.local(conn.proxy));
        let baggage = local.filter(|_| self.config.baggage).map(|local| local.baggage());
        if let Some(state) = self.tunnels.get_mut(tunnel).and_then(|slot| slot.tunnel.as_mut()) {
            state.accept(now, stream, baggage);
        }
        self.touch(tunnel);
        // Early octets of the client have waited in the window.
        self.sync_stream(now, id, crate::proxy::relay::End::Downstream);
    }

    /// Answers with an error status, logs `failure`, and forgets the connection.
    pub(super) fn answer_and_fail(
        &mut self,
        now: Instant,
        id: ConnId,
        status: u16,
        failure: &super::Failure,
    ) {
        if let Some((tunnel, stream)) = self.stream_of(id, crate::proxy::relay::End::Downstream) {
            let asked = Asked { tunnel, stream, authority: crate::hbone::Authority::Address(UNKNOWN) };
            self.reject(now, &asked, status);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.downstream = Attach::None;
            }
            if let Some(slot) = self.tunnels.get_mut(tunnel) {
                slot.streams.remove(&stream);
            }
        }
        self.fail_conn(now, id, failure);
    }

    pub(super) fn reject(&mut self, now: Instant, asked: &Asked, status: u16) {
        if let Some(state) = self.tunnels.get_mut(asked.tunnel).and_then(|slot| slot.tunnel.as_mut()) {
            state.reject(now, asked.stream, status, &mut self.buffers);
        }
        self.touch(asked.tunnel);
    }

    fn refused(&mut self, peer: SocketAddr, connected: SocketAddr, error: &dyn core::fmt::Display) {
        use alloc::string::ToString;
        self.observed.push_back(Observed::EarlyDenied {
            source: Some(peer),
            destination: Some(connected),
            direction: Direction::Inbound,
            error: error.to_string(),
            flag: Flag::Connect,
        });
    }
}

const UNKNOWN: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);
