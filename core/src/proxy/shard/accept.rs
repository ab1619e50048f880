//! Accepted and dialled sockets: which machine gets them.
use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

use super::shares::Usage;
use super::state::{Attach, Conn, ConnId, Phase, Role, Socket, SocketId};
use super::waiting::Tried;
use super::{Listener, ProxyId, Shard, report};
use crate::proxy::observed::{Direction, Flag, Observed};
use crate::proxy::probe::is_probe;
use crate::proxy::relay::{End, Relay};
use crate::proxy::socks::Socks5;
use crate::route::RouteError;
use crate::time::Instant;

impl Shard {
    /// A listener of `proxy` accepted a connection. `original`: where the client wanted to go (`SO_ORIGINAL_DST`); for
    /// [`Listener::InboundHbone`] the local address. `None`: refused (limit, drain, loop, no such
    /// proxy): drop the socket.
    #[must_use]
    pub fn handle_accepted(
        &mut self,
        now: Instant,
        proxy: ProxyId,
        listener: Listener,
        peer: SocketAddr,
        local: SocketAddr,
        original: SocketAddr,
    ) -> Option<SocketId> {
        if !self.drain.is_open() || !self.proxies.contains(proxy) {
            return None;
        }
        let (peer, local, original) = (canonical(peer), canonical(local), canonical(original));
        if listener == Listener::Outbound && is_probe(original) {
            return None;
        }
        let direction = match listener {
            Listener::Outbound | Listener::Socks5 => Direction::Outbound,
            Listener::InboundPlain | Listener::InboundHbone => Direction::Inbound,
        };
        if listener != Listener::InboundHbone && self.is_full(proxy, direction, peer, original) {
            return None;
        }
        let socket = match listener {
            Listener::InboundHbone => self.accept_tunnel(now, proxy, peer, local),
            Listener::Outbound => {
                let (conn, socket) = self.new_downstream(now, proxy, Phase::Dialing)?;
                // A connection that nobody redirected came to this very port: passing it on would dial ourselves.
                if original == local && self.config.route.is_illegal(original.port()) {
                    self.deny_early(now, conn, Direction::Outbound, peer, original, &RouteError::Recursive);
                } else {
                    self.start_outbound(now, conn, peer, original, Tried::default());
                }
                Some(socket)
            }
            Listener::InboundPlain => {
                let (conn, socket) = self.new_downstream(now, proxy, Phase::Dialing)?;
                self.start_inbound_plain(now, conn, peer, original, Tried::default());
                Some(socket)
            }
            Listener::Socks5 => {
                let (conn, socket) =
                    self.new_downstream(now, proxy, Phase::Socks(Box::new(Socks5::new(peer))))?;
                self.set_deadline(conn, Some(now + self.config.dial_timeout));
                Some(socket)
            }
        };
        self.work(now);
        // It may have been refused while it was being placed.
        socket.filter(|&socket| self.sockets.get(socket).is_some())
    }

    /// A dial succeeded.
    pub fn handle_connected(&mut self, now: Instant, socket: SocketId) {
        let Some(entry) = self.sockets.get_mut(socket) else { return };
        entry.connected = true;
        match entry.role {
            Role::Tunnel(id) => self.tunnel_connected(now, id),
            Role::App { conn, .. } => self.upstream_connected(now, conn),
        }
        self.work(now);
    }

    /// Whether there are as many user connections as there may be; says so if that is so.
    pub(super) fn is_full(
        &mut self,
        proxy: ProxyId,
        direction: Direction,
        source: SocketAddr,
        to: SocketAddr,
    ) -> bool {
        let Err(full) = self.admits_connection(proxy) else { return false };
        let limit = self.config.max_connections;
        self.observed.push_back(report::too_many_connections(direction, source, to, limit, full));
        true
    }

    /// A connection whose downstream end is an accepted socket.
    pub(super) fn new_downstream(
        &mut self,
        now: Instant,
        proxy: ProxyId,
        phase: Phase,
    ) -> Option<(ConnId, SocketId)> {
        let id = self.new_conn(now, proxy, phase)?;
        let role = Role::App { conn: id, end: End::Downstream };
        let Some(socket) = self.sockets.insert(Socket::new(role, true)) else {
            self.conns.remove(id);
            self.count(proxy, Usage::connection_gone);
            return None;
        };
        if let Some(conn) = self.conns.get_mut(id) {
            conn.downstream = Attach::Socket(socket);
        }
        Some((id, socket))
    }

    /// A connection that is attached to nothing yet.
    pub(super) fn new_conn(&mut self, now: Instant, proxy: ProxyId, phase: Phase) -> Option<ConnId> {
        let id = self.conns.insert(Conn {
            proxy,
            phase,
            relay: Relay::new(now, self.config.half_closed_idle),
            downstream: Attach::None,
            upstream: Attach::None,
            report: None,
            opened: now,
            deadline: None,
            armed: None,
            forth: None,
            back: None,
            judged: None,
            failure: None,
            nested: None,
        })?;
        self.count(proxy, Usage::connection_made);
        Some(id)
    }

    /// Starts the TCP connection to the upstream end.
    pub(super) fn dial_upstream(&mut self, now: Instant, id: ConnId, to: SocketAddr, source: Option<IpAddr>) {
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
        let proxy = conn.proxy;
        self.set_deadline(id, Some(now + self.config.dial_timeout));
        self.actions.push_back(super::Action::Dial { proxy, socket, to, source });
    }

    /// Refuses a connection before there is anything to log about it but its addresses.
    pub(super) fn deny_early(
        &mut self,
        now: Instant,
        id: ConnId,
        direction: Direction,
        source: SocketAddr,
        destination: SocketAddr,
        error: &dyn core::fmt::Display,
    ) {
        use alloc::string::ToString;
        self.observed.push_back(Observed::EarlyDenied {
            source: Some(source),
            destination: Some(destination),
            direction,
            error: error.to_string(),
            flag: Flag::Connect,
        });
        self.release_conn(now, id, false);
    }
}

/// A v4-mapped IPv6 address as the IPv4 address it is (datapath §1.5).
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
