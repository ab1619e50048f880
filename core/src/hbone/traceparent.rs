//! The `traceparent` header (W3C Trace Context; datapath §3.1, §5.5).
use alloc::string::String;
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct TraceParent {
    pub trace_id: u128,
    pub span_id: u64,
    pub flags: u8,
}
impl TraceParent {
    pub fn parse(value: &[u8]) -> Option<Self> {
        todo!()
    }
    pub fn encode(&self) -> String {
        todo!()
    }
}
