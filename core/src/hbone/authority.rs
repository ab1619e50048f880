//! The CONNECT target: `ip:port`, `[v6]:port` or `hostname:port` (datapath §3.1, §5.3).
use alloc::sync::Arc;
use core::net::SocketAddr;

#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Authority {
    Address(SocketAddr),
    Host { host: Arc<str>, port: u16 },
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    #[error("no port")]
    NoPort,
}
impl Authority {
    pub fn parse(text: &[u8]) -> Result<Self, AuthorityError> {
        todo!()
    }
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(a) => a.port(),
            Self::Host { port, .. } => *port,
        }
    }
}
impl core::fmt::Display for Authority {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        todo!()
    }
}
