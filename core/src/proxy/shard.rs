//! The shard: what happened goes in (`handle_*`), what to do comes out (`poll_*`, `lend_*`, `wire`).
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::Observed;
use crate::hbone::establish::EstablishLimits;
use crate::hbone::TunnelConfig;
use crate::identity::Identity;
use crate::mesh::Mesh;
use crate::pool::PoolConfig;
use crate::route::RouteConfig;
use crate::time::Instant;
use crate::tls::TlsContext;

/// A socket the shard knows. Stale ids are ignored everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    pub index: u32,
    pub generation: u32,
}
/// Which listener accepted a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    /// 15001: captured outbound.
    Outbound,
    /// 15006: captured inbound plaintext.
    InboundPlain,
    /// 15008: HBONE.
    InboundHbone,
    /// 15080: SOCKS5.
    Socks5,
}
#[derive(Clone, Debug)]
pub struct ShardConfig {
    pub tunnel: Arc<TunnelConfig>,
    pub pool: PoolConfig,
    pub establish: EstablishLimits,
    pub route: RouteConfig,
    /// CONNECT answer: 20 s.
    pub connect_timeout: Duration,
    /// Application dial: 10 s.
    pub dial_timeout: Duration,
    /// Half-closed without traffic: 5 min.
    pub half_closed_idle: Duration,
    pub drain_grace: Duration,
    /// Upstream's RST → FIN everywhere (design §3) when true.
    pub resets_as_fin: bool,
    pub response_baggage: bool,
    pub max_handshakes: usize,
    pub max_inbound_tunnels: usize,
    /// Octets buffered: per peer identity, and for this shard as a whole.
    pub max_buffered_per_identity: usize,
    pub max_buffered: usize,
    /// Name, namespace, service account of the workload this proxy stands for.
    pub local: LocalWorkload,
    pub network: Arc<str>,
    pub seed: u64,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalWorkload {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub service_account: Arc<str>,
}
/// What the driver must do; drain after every handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start connecting; answer with `handle_connected` or `handle_error`. `source`: bind to this address transparently.
    Dial { socket: SocketId, to: SocketAddr, source: Option<IpAddr> },
    /// FIN after what `wire` has given.
    ShutdownWrite { socket: SocketId },
    /// Drop the socket; with `reset` the peer sees RST (SO_LINGER 0). The id is dead from here on.
    Close { socket: SocketId, reset: bool },
    /// Reading `socket` may succeed again after `lend` gave nothing.
    ResumeRead { socket: SocketId },
    /// Answer with `handle_certificate`.
    NeedCertificate { identity: Identity },
    /// Close all listening sockets.
    StopListening,
    /// Drain complete: the shard may be dropped.
    Drained,
}
/// What a system call said, reduced to what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketError {
    /// ECONNRESET, EPIPE.
    Reset,
    /// ECONNREFUSED.
    Refused,
    /// ETIMEDOUT.
    TimedOut,
    /// EHOSTUNREACH, ENETUNREACH.
    Unreachable,
    /// Any other errno.
    Other(i32),
}
pub struct Shard {
    _private: (),
}
/// Where to read from a socket.
pub struct Areas<'a> {
    _p: core::marker::PhantomData<&'a mut [u8]>,
}
impl<'a> Areas<'a> {
    /// At most 64 areas, in order; fill them in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        core::iter::empty()
    }
    pub fn octets(&self) -> usize {
        todo!()
    }
}
impl Shard {
    pub fn new(config: Arc<ShardConfig>, mesh: Arc<Mesh>, now: Instant) -> Self {
        todo!()
    }
    // ---- handle: what happened
    /// `None`: refused (limit, drain): drop the socket.
    pub fn handle_accepted(
        &mut self,
        now: Instant,
        listener: Listener,
        peer: SocketAddr,
        local: SocketAddr,
        original: SocketAddr,
    ) -> Option<SocketId> {
        todo!()
    }
    pub fn handle_connected(&mut self, now: Instant, socket: SocketId, local: SocketAddr) {
        todo!()
    }
    /// Dial failure, or a read/write error on a live socket.
    pub fn handle_error(&mut self, now: Instant, socket: SocketId, error: SocketError) {
        todo!()
    }
    /// Where to read next from `socket`; `None`: do not read (back-pressure); `ResumeRead` will follow.
    pub fn lend(&mut self, socket: SocketId) -> Option<Areas<'_>> {
        todo!()
    }
    /// `n` > 0 octets were read into what `lend` gave.
    pub fn handle_read(&mut self, now: Instant, socket: SocketId, n: usize) {
        todo!()
    }
    pub fn handle_eof(&mut self, now: Instant, socket: SocketId) {
        todo!()
    }
    /// The next socket that should be written at once (application deliveries out of a shared read buffer);
    /// drain before the next `lend`. Then use `wire`/`handle_written`/`handle_write_blocked`.
    pub fn poll_urgent(&mut self) -> Option<SocketId> {
        todo!()
    }
    /// The next socket with deferred output; drain once per turn of the event loop (design D5).
    pub fn poll_deferred(&mut self, now: Instant) -> Option<SocketId> {
        todo!()
    }
    /// Octets to write to `socket`, in order (up to 64 slices); empty when there are none.
    pub fn wire(&self, socket: SocketId) -> impl Iterator<Item = &[u8]> {
        core::iter::empty()
    }
    /// `n` octets of `wire` were written. Write again while `wire` is not empty.
    pub fn handle_written(&mut self, now: Instant, socket: SocketId, n: usize) {
        todo!()
    }
    /// The socket would block: `poll_*` will not name it again until `handle_writable`.
    pub fn handle_write_blocked(&mut self, now: Instant, socket: SocketId) {
        todo!()
    }
    pub fn handle_writable(&mut self, now: Instant, socket: SocketId) {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    pub fn handle_mesh(&mut self, now: Instant, mesh: Arc<Mesh>) {
        todo!()
    }
    pub fn handle_certificate(
        &mut self,
        now: Instant,
        identity: &Identity,
        certificate: Result<Arc<TlsContext>, Arc<str>>,
    ) {
        todo!()
    }
    // ---- commands
    /// Graceful stop; `grace` from the config.
    pub fn drain(&mut self, now: Instant) {
        todo!()
    }
    /// End everything now.
    pub fn terminate(&mut self, now: Instant) {
        todo!()
    }
    // ---- poll
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }
    pub fn poll_observed(&mut self) -> Option<Observed> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    // ---- ask
    pub fn connections(&self) -> usize {
        todo!()
    }
}
