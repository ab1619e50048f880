//! The `forwarded` header (RFC 7239; datapath §3.1).
use alloc::string::String;
use alloc::sync::Arc;
use core::net::SocketAddr;
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Forwarded {
    pub source: Option<SocketAddr>,
    pub host: Option<Arc<str>>,
}
impl Forwarded {
    /// Total: anything unusable is `None`.
    pub fn parse(value: &[u8]) -> Option<Self> {
        todo!()
    }
    pub fn encode(&self) -> String {
        todo!()
    }
}
