//! SOCKS5 (RFC 1928) as far as the outbound entry needs it: no authentication, CONNECT to an address.
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Octets to send to the client.
pub type Reply = Vec<u8>;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocksStep {
    /// Send `reply` (may be empty) and read on.
    More(Reply),
    /// Send the success reply and relay to `to`.
    Connect { to: SocketAddr, reply: Reply },
    /// Send the refusal and close.
    Refused { reply: Reply, error: SocksError },
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SocksError {
    #[error("SOCKS version {0}, expected 5")]
    Version(u8),
}
#[derive(Debug)]
pub struct Socks5 {
    peer: SocketAddr,
}
impl Socks5 {
    pub fn new(peer: SocketAddr) -> Self {
        Self { peer }
    }
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
    /// Takes the next octets from the client, any chunking.
    pub fn handle(&mut self, bytes: &[u8]) -> SocksStep {
        todo!()
    }
}
