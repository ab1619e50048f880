//! What a shard keeps, in numbers: for tests that nothing is left behind, and for whoever looks for a leak.
use super::Shard;

/// Counts of what a shard keeps at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Census {
    /// Proxies.
    pub proxies: usize,
    /// Certificates, or places for them.
    pub credentials: usize,
    /// User connections.
    pub connections: usize,
    /// Tunnels, in either direction.
    pub tunnels: usize,
    /// Tunnels that the pool may share, dials in flight included.
    pub pooled: usize,
    /// Sockets that the driver is to have.
    pub sockets: usize,
    /// Inbound handshakes in progress.
    pub handshakes: usize,
    /// Deadlines.
    pub timers: usize,
    /// Questions put to the outside, or to time.
    pub questions: usize,
    /// Octets held for slow applications, and for how many peers.
    pub held: (usize, usize),
    /// Octets of buffers in use.
    pub buffered: usize,
    /// Names of parties and certificates of issuers that are kept once for all.
    pub interned: usize,
}

impl Shard {
    /// Counts what the shard keeps. Costs little; not for the hot path.
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            proxies: self.proxies.len(),
            credentials: self.proxies.credentials(),
            connections: self.conns.len(),
            tunnels: self.tunnels.len(),
            pooled: self.pooled.len(),
            sockets: self.sockets.len(),
            handshakes: self.usage.handshakes,
            timers: self.timers.len(),
            questions: self.waits.len(),
            held: (self.held_total, self.held.len()),
            buffered: self.buffers.lent(),
            interned: self.parties.len().saturating_add(self.revocation.issuers.len()),
        }
    }
}
