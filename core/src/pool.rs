//! Which tunnel carries which stream: dial, lease, drain. Sees ids and counts, never bytes.
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::identity::{Identity, IdentitySet};
use crate::time::Instant;

/// What must be equal for two streams to share a tunnel; compared in full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelKey {
    pub source: Identity,
    pub expected: IdentitySet,
    pub destination: SocketAddr,
    pub source_ip: Option<IpAddr>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(pub u64);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolConfig {
    pub max_streams: u32,
    pub idle: Duration,
    pub max_tunnels: usize,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PoolEvent<K, E> {
    Dial {
        tunnel: TunnelId,
        key: K,
    },
    /// A lease: one stream on `tunnel`, counted already.
    Granted {
        request: RequestId,
        tunnel: TunnelId,
    },
    Refused {
        request: RequestId,
        error: Refused<E>,
    },
    /// Close this tunnel: idle, or drained.
    Close {
        tunnel: TunnelId,
    },
    Drained,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused<E> {
    #[error("{0}")]
    Dial(E),
    #[error("pool draining")]
    Draining,
    #[error("too many tunnels")]
    Full,
}
/// `K` is the key (TunnelKey in the shard), `E` the dial error which every waiter gets a clone of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pool<K, E> {
    _p: core::marker::PhantomData<(K, E)>,
}
impl<K: Ord + Clone, E: Clone> Pool<K, E> {
    pub fn new(config: PoolConfig) -> Self {
        todo!()
    }
    pub fn acquire(&mut self, now: Instant, request: RequestId, key: K) {
        todo!()
    }
    pub fn cancel(&mut self, now: Instant, request: RequestId) {
        todo!()
    }
    /// A granted stream ended.
    pub fn release(&mut self, now: Instant, tunnel: TunnelId) {
        todo!()
    }
    pub fn handle_dialed(&mut self, now: Instant, tunnel: TunnelId, result: Result<u32, E>) {
        todo!()
    }
    pub fn handle_limit(&mut self, now: Instant, tunnel: TunnelId, limit: u32) {
        todo!()
    }
    pub fn handle_goaway(&mut self, now: Instant, tunnel: TunnelId) {
        todo!()
    }
    pub fn handle_closed(&mut self, now: Instant, tunnel: TunnelId) {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    pub fn drain(&mut self, now: Instant) {
        todo!()
    }
    pub fn poll_event(&mut self) -> Option<PoolEvent<K, E>> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
}
