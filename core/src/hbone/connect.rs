//! The CONNECT request and its answer as header fields (datapath §3.1–3.3).
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Authority, Baggage, Forwarded, TraceParent};
use crate::http2::Field;

#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ConnectRequest {
    pub authority: Authority,
    /// Always sent, possibly empty.
    pub baggage: Option<Baggage>,
    pub forwarded: Option<Forwarded>,
    pub traceparent: Option<TraceParent>,
    pub forwarded_network: Option<Arc<str>>,
}
/// Why a request is answered 400.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    #[error("expected method CONNECT, got {0}")]
    Method(Arc<str>),
    #[error("no valid authority pseudo header: {0}")]
    Authority(Arc<str>),
}
impl ConnectRequest {
    pub fn from_fields(fields: &[Field]) -> Result<Self, RequestError> {
        todo!()
    }
    pub fn to_fields(&self) -> Vec<Field> {
        todo!()
    }
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ConnectResponse {
    pub status: u16,
    pub baggage: Option<Baggage>,
}
impl ConnectResponse {
    pub fn from_fields(status: u16, fields: &[Field]) -> Self {
        todo!()
    }
    pub fn to_fields(&self) -> Vec<Field> {
        todo!()
    }
}
