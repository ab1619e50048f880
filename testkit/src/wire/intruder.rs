//! A hostile peer of a whole shard, in memory: authenticated by real TLS, beyond that free to send any octets.
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::proxy::observed::Observed;
use adit_core::proxy::shard::Failure;
use adit_core::proxy::{
    Action, Delivered, Listener, ProxyId, Shard, ShardConfig, SocketError, SocketId, Ticket,
};
use adit_core::time::Instant;
use adit_core::tls::RecordMode;

use super::Authority;
use super::frames::{self, Frame};
use crate::sim::mesh::{config, parse};

const MESH: &str = r"
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {}}
services: []
policies: []
";

/// An application on a plain socket of the shard.
#[derive(Clone, Debug, Default)]
pub struct App {
    /// What the shard wrote.
    pub got: Vec<u8>,
    /// The shard half-closed.
    pub fin: bool,
    /// How the shard closed the socket: by RST?
    pub closed: Option<bool>,
}

/// A shard and its enemy.
pub struct Intruder {
    /// The victim.
    pub shard: Shard,
    /// Whether the enemy takes what the shard writes to the tunnel.
    pub reads: bool,
    /// Whether applications take what the shard writes to them.
    pub apps_read: bool,
    /// Whether dials of applications succeed at once; else they hang.
    pub dials: bool,
    /// Names and keys that the victim has asked for; nobody answers but the test.
    pub asked: Vec<(Ticket, String)>,
    /// Streams that ended in the victim's process, and by which socket.
    pub delivered: Vec<(SocketId, Delivered)>,
    /// What came of connections that the victim's process asked for.
    pub opened: Vec<(SocketId, Result<(), Failure>)>,
    /// Sockets of which the shard has said that they go over a tunnel whose peer takes leave.
    pub leaving: Vec<SocketId>,
    now: Instant,
    authority: Authority,
    name: &'static str,
    tls: rustls::Connection,
    tunnel: Option<SocketId>,
    apps: BTreeMap<SocketId, App>,
    observed: Vec<Observed>,
    received: Vec<u8>,
    peak: usize,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl Intruder {
    /// A hostile client of a shard's HBONE port. TLS is complete; nothing of HTTP/2 was said.
    #[must_use]
    pub fn client(change: impl Fn(&mut ShardConfig)) -> Self {
        let mut it = Self::new("client", "server", true, change);
        it.accept();
        it
    }

    /// A transport to a shard's HBONE port over which nothing was said. Its TLS stays silent.
    #[must_use]
    pub fn stranger() -> Self {
        let mut it = Self::new("client", "server", true, |_| {});
        // Its ClientHello is thrown away.
        it.tls.write_tls(&mut std::io::sink()).expect("a sink takes all");
        it.accept();
        it
    }

    /// A client whose certificate another authority issued.
    #[must_use]
    pub fn stranger_with_certificate() -> Self {
        let mut it = Self::new("client", "server", true, |_| {});
        it.authority = Authority::new();
        it.accept();
        it
    }

    fn accept(&mut self) {
        let (peer, local) = (addr("10.0.0.1:40000"), addr("10.0.0.2:15008"));
        self.tunnel =
            self.shard.handle_accepted(self.now, ProxyId::OWN, Listener::InboundHbone, peer, local, local);
        self.pump();
    }

    /// The transport ends without a word.
    pub fn hang_up(&mut self) {
        if let Some(socket) = self.tunnel {
            self.shard.handle_eof(self.now, socket);
            self.pump();
        }
    }

    /// A hostile server that a shard dials because an application connects through it. TLS is complete.
    #[must_use]
    pub fn server(change: impl Fn(&mut ShardConfig)) -> Self {
        Self::server_named("server", change)
    }

    /// The same with the certificate of `name`.
    #[must_use]
    pub fn server_named(name: &'static str, change: impl Fn(&mut ShardConfig)) -> Self {
        let mut it = Self::new(name, "client", false, change);
        it.capture(40_000);
        it
    }

    fn new(
        name: &'static str,
        victim: &'static str,
        client: bool,
        change: impl Fn(&mut ShardConfig),
    ) -> Self {
        let authority = Authority::new();
        let mut settings = config("ns", victim, victim);
        change(&mut settings);
        let now = Instant::from_millis(1);
        let mut tls: rustls::Connection = if client {
            let config = Arc::new(authority.stock_client(name));
            rustls::ClientConnection::new(config, "server".try_into().expect("a name"))
                .expect("a client")
                .into()
        } else {
            let config = Arc::new(authority.stock_server(name));
            rustls::ServerConnection::new(config).expect("a server").into()
        };
        tls.set_buffer_limit(None);
        Self {
            shard: Shard::new(Arc::new(settings), parse(MESH), now),
            reads: true,
            apps_read: true,
            dials: true,
            now,
            authority,
            name: victim,
            tls,
            tunnel: None,
            apps: BTreeMap::new(),
            observed: vec![],
            received: vec![],
            peak: 0,
            asked: vec![],
            delivered: vec![],
            opened: vec![],
            leaving: vec![],
        }
    }

    /// Another application connects through the shard to 10.0.0.2:80.
    pub fn capture(&mut self, port: u16) -> Option<SocketId> {
        let peer = SocketAddr::new(addr("10.0.0.1:0").ip(), port);
        let target = addr("10.0.0.2:80");
        let socket =
            self.shard.handle_accepted(self.now, ProxyId::OWN, Listener::Outbound, peer, target, target);
        if let Some(socket) = socket {
            self.apps.insert(socket, App::default());
        }
        self.pump();
        socket
    }

    /// Exchanges SETTINGS: the tunnel is ready. A server announces `entries`.
    pub fn hello(&mut self, entries: &[(u16, u32)]) {
        let preface = if matches!(self.tls, rustls::Connection::Client(_)) { frames::PREFACE } else { &[] };
        self.send(&[preface, &frames::settings(entries), &frames::frame(4, frames::ACK, 0, &[])].concat());
    }

    /// Sends octets over TLS; false when the tunnel's socket is gone.
    pub fn send(&mut self, octets: &[u8]) -> bool {
        self.tls.writer().write_all(octets).expect("room without limit");
        self.pump();
        self.tunnel.is_some()
    }

    /// Sends a KeyUpdate.
    pub fn update_key(&mut self) -> bool {
        let sent = self.tls.refresh_traffic_keys().is_ok();
        self.pump();
        sent && self.tunnel.is_some()
    }

    /// Sends octets that are no business of TLS.
    pub fn send_raw(&mut self, octets: &[u8]) {
        self.feed(octets);
        self.pump();
    }

    /// An application sends.
    pub fn app_sends(&mut self, socket: SocketId, octets: &[u8]) -> usize {
        let mut sent = 0;
        while sent < octets.len() {
            let Some(mut areas) = self.shard.lend(socket) else { break };
            let mut n = 0;
            for area in areas.iter_mut() {
                let len = area.len().min(octets.len() - sent - n);
                area[..len].copy_from_slice(&octets[sent + n..sent + n + len]);
                n += len;
            }
            self.shard.handle_read(self.now, socket, n);
            sent += n;
            self.pump();
        }
        sent
    }

    /// Time passes; timers fire on the way.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.shard.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.shard.handle_timeout(self.now);
            self.pump();
        }
        self.now = end;
    }

    /// Runs until nothing moves.
    pub fn pump(&mut self) {
        let mut moved = true;
        while std::mem::take(&mut moved) {
            while let Some(socket) = self.shard.poll_urgent() {
                moved |= self.write(socket);
            }
            while let Some(action) = self.shard.poll_action() {
                self.act(action);
                moved = true;
            }
            while let Some(observed) = self.shard.poll_observed() {
                self.observed.push(observed);
            }
            while let Some(socket) = self.shard.poll_deferred(self.now) {
                moved |= self.write(socket);
            }
            self.peak = self.peak.max(self.shard.buffered());
            if self.tls.wants_write() && self.tunnel.is_some() {
                let mut wire = vec![];
                while self.tls.wants_write() {
                    self.tls.write_tls(&mut wire).expect("a vector takes all");
                }
                self.feed(&wire);
                moved = true;
            }
        }
    }

    fn feed(&mut self, mut wire: &[u8]) {
        while let Some(socket) = self.tunnel
            && !wire.is_empty()
        {
            let Some(mut areas) = self.shard.lend(socket) else { return };
            let Some(area) = areas.iter_mut().next() else { return };
            let n = area.len().min(wire.len());
            area[..n].copy_from_slice(&wire[..n]);
            self.shard.handle_read(self.now, socket, n);
            wire = &wire[n..];
            self.peak = self.peak.max(self.shard.buffered());
            // What a driver does at once; the rest waits for the end of its turn.
            while let Some(socket) = self.shard.poll_urgent() {
                self.write(socket);
            }
            while let Some(action) = self.shard.poll_action() {
                self.act(action);
            }
        }
    }

    /// Writes what there is for a socket, until it gives no more or blocks.
    fn write(&mut self, socket: SocketId) -> bool {
        let ours = self.tunnel == Some(socket);
        let mut moved = false;
        loop {
            let octets: Vec<u8> = self.shard.wire(socket).flatten().copied().collect();
            if octets.is_empty() {
                return moved;
            }
            if if ours { !self.reads } else { !self.apps_read } {
                self.shard.handle_write_blocked(self.now, socket);
                return moved;
            }
            moved = true;
            self.shard.handle_written(self.now, socket, octets.len());
            if ours {
                self.receive(&octets);
            } else if let Some(app) = self.apps.get_mut(&socket) {
                app.got.extend_from_slice(&octets);
            }
        }
    }

    fn receive(&mut self, mut wire: &[u8]) {
        while !wire.is_empty() {
            if !self.tls.read_tls(&mut wire).is_ok_and(|n| n > 0) || self.tls.process_new_packets().is_err() {
                return;
            }
            let mut plain = vec![0; 32 << 10];
            while let Ok(n @ 1..) = self.tls.reader().read(&mut plain) {
                self.received.extend_from_slice(&plain[..n]);
            }
        }
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Dial { socket, to, .. } if to.port() == 15_008 => {
                // A second tunnel finds nobody.
                if self.tunnel.is_none() && !self.received_anything() {
                    self.tunnel = Some(socket);
                    self.shard.handle_connected(now, socket);
                }
            }
            Action::Dial { socket, .. } => {
                self.apps.insert(socket, App::default());
                if self.dials {
                    self.shard.handle_connected(now, socket);
                }
            }
            // Only towards a gateway, which an intruder is not.
            Action::Join { .. } => {}
            Action::ShutdownWrite { socket } => {
                if let Some(app) = self.apps.get_mut(&socket) {
                    app.fin = true;
                }
            }
            Action::Close { socket, reset } => {
                if self.tunnel == Some(socket) {
                    self.tunnel = None;
                }
                if let Some(app) = self.apps.get_mut(&socket) {
                    app.closed = Some(reset);
                }
            }
            Action::NeedCertificate { identity } => {
                let context = self.authority.context(self.name, RecordMode::InPlace);
                self.shard.handle_certificate(now, &identity, Ok(context));
            }
            Action::Resolve { ticket, name: asked, .. } | Action::Demand { ticket, key: asked } => {
                self.asked.push((ticket, asked.to_string()));
            }
            // Only of a waypoint.
            Action::Deliver { socket, delivered } => {
                self.apps.insert(socket, App::default());
                self.delivered.push((socket, *delivered));
                if self.dials {
                    self.shard.handle_connected(now, socket);
                } else {
                    self.shard.handle_error(now, socket, SocketError::Refused);
                }
            }
            Action::Opened { socket } => self.opened.push((socket, Ok(()))),
            Action::Failed { socket, failure } => self.opened.push((socket, Err(failure))),
            Action::Leaving { socket } => self.leaving.push(socket),
            Action::ResumeRead { .. } | Action::StopListening | Action::Drained => {}
        }
    }

    const fn received_anything(&self) -> bool {
        !self.received.is_empty()
    }

    // ---- asks

    /// The victim's clock.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Whether the tunnel's socket is still open.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        self.tunnel.is_some()
    }

    /// Why the tunnel was closed, and whether as an attack.
    #[must_use]
    pub fn ended(&self) -> Option<(&'static str, bool)> {
        self.observed.iter().find_map(|observed| match observed {
            Observed::TunnelClosed { reason, attack, .. } => Some((*reason, *attack)),
            _ => None,
        })
    }

    /// Everything the shard has told.
    #[must_use]
    pub fn observed(&self) -> &[Observed] {
        &self.observed
    }

    /// Frames that the shard sent.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        frames::cut(&self.received)
    }

    /// Applications, in the order in which the shard met them.
    pub fn apps(&self) -> impl Iterator<Item = (SocketId, &App)> {
        self.apps.iter().map(|(socket, app)| (*socket, app))
    }

    /// The most octets of buffers that were in use at any time.
    #[must_use]
    pub const fn peak(&self) -> usize {
        self.peak
    }
}
