//! Streams that end in this process, and connections that begin in it: a waypoint's.
use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::inbound::Arrival;
use super::outbound::Planned;
use super::state::{Attach, ConnId, Failure, Phase, Role, Socket, SocketId, TunnelRef};
use super::waiting::Tried;
use super::{Action, Shard, report};
use crate::hbone::ConnectRequest;
use crate::identity::Identity;
use crate::proxy::ProxyId;
use crate::proxy::observed::{Direction, Flag};
use crate::proxy::relay::End;
use crate::route::{self, FrontPlan, Towards};
use crate::time::Instant;

/// A stream that a peer has opened to this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// What is meant by what was asked for.
    pub plan: FrontPlan,
    /// The CONNECT.
    pub request: ConnectRequest,
    /// Who asks: the identity that the tunnel's certificate proves.
    pub peer: Identity,
    /// The peer's end of the tunnel.
    pub source: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
}

impl Shard {
    /// Decides about a CONNECT to a waypoint.
    pub(super) fn admit_here(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        known: Option<ConnId>,
        tried: Tried,
    ) {
        let Arrival { asked, request, peer, connected } = arrival;
        let Some(proxy) = self.tunnels.get(asked.tunnel).map(|slot| slot.proxy) else { return };
        let Some(local) = self.local(proxy) else {
            return self.wait_admitted(now, arrival, known, tried, proxy);
        };
        let plan = match route::front(&self.mesh, &local, &asked.authority) {
            Ok(plan) => plan,
            Err(error) => return self.turn_away(now, arrival, known, error.status(), &error),
        };
        let identity = self.tunnels.get(asked.tunnel).and_then(|slot| slot.peer().cloned());
        // Its connections have ended with it.
        let Some(identity) = identity else { return };
        let to = plan.address.unwrap_or(*connected);
        let Some(id) = known.or_else(|| self.new_stream(now, asked, *peer, to)) else {
            return self.reject(now, asked, super::inbound::UNAVAILABLE);
        };
        let delivered =
            Delivered { plan, request: request.clone(), peer: identity, source: *peer, local: *connected };
        self.deliver(now, id, delivered);
    }

    fn deliver(&mut self, now: Instant, id: ConnId, delivered: Delivered) {
        let role = Role::App { conn: id, end: End::Upstream };
        let Some(socket) = self.sockets.insert(Socket::new(role, false)) else {
            return self.fail_conn(now, id, &report::too_many_sockets());
        };
        let Some(conn) = self.conns.get_mut(id) else {
            self.sockets.remove(socket);
            return;
        };
        conn.phase = Phase::Dialing;
        conn.upstream = Attach::Socket(socket);
        self.set_deadline(id, Some(now + self.config.dial_timeout));
        if !self.drain.is_open() {
            // It came before its peer heard of our leave.
            self.opening.push(id);
        }
        self.actions.push_back(Action::Deliver { socket, delivered: Box::new(delivered) });
    }

    /// Somebody in this process wants a connection to an endpoint that it has chosen, as the shard's own workload.
    /// [`Action::Opened`] or [`Action::Failed`] says how that went; what is written before is kept until then. `None`:
    /// refused (limit, no workload of our own).
    #[must_use]
    pub fn handle_connect(&mut self, now: Instant, to: &Towards) -> Option<SocketId> {
        let proxy = ProxyId::OWN;
        let local = self.local(proxy)?;
        let own = |address: &&IpAddr| address.is_ipv4() == to.target.is_ipv4();
        let address = local.addresses.iter().find(own).or_else(|| local.addresses.first());
        let peer = SocketAddr::new(address.copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), 0);
        if self.is_full(proxy, Direction::Outbound, peer, to.target) {
            return None;
        }
        let (id, socket) = self.new_downstream(now, proxy, Phase::Dialing)?;
        if let Some(entry) = self.sockets.get_mut(socket) {
            entry.awaited = true;
        }
        match route::towards(&self.mesh, &self.config.route, &local, to, &mut self.rng) {
            Ok(plan) => {
                let client = to.client;
                self.set_out(now, id, Planned { local, peer, target: to.target, client, plan });
            }
            Err(error) => self.fail_conn(now, id, &Failure::new(Flag::Connect, error)),
        }
        self.work(now);
        Some(socket)
    }

    /// The other end of a connection is there.
    pub(super) fn told_open(&mut self, socket: SocketId) {
        if let Some(entry) = self.sockets.get_mut(socket)
            && core::mem::take(&mut entry.awaited)
        {
            self.actions.push_back(Action::Opened { socket });
        }
    }

    /// The peer of a tunnel takes leave; a waypoint, which keeps connections for later requests, is told which these are.
    pub(super) fn told_leaving(&mut self, tunnel: TunnelRef) {
        if !self.config.waypoint {
            return;
        }
        let Some(slot) = self.tunnels.get(tunnel) else { return };
        let attached = slot.streams.iter().filter_map(|(_, conn)| Some(self.conns.get(*conn)?.downstream));
        let leaving = attached.filter_map(|attach| match attach {
            Attach::Socket(socket) => Some(Action::Leaving { socket }),
            Attach::None | Attach::Stream(..) => None,
        });
        self.actions.extend(leaving);
    }

    /// A connection ends; whoever waits for it is told why.
    pub(super) fn told_failed(&mut self, socket: SocketId, failure: Option<&Failure>) {
        let awaited = self.sockets.get_mut(socket).is_some_and(|entry| core::mem::take(&mut entry.awaited));
        if awaited {
            let failure = failure.cloned().unwrap_or_else(report::closed);
            self.actions.push_back(Action::Failed { socket, failure });
        }
    }
}
