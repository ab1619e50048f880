//! The `baggage` header: a workload's metadata (datapath §3.2).
use alloc::string::String;
use alloc::sync::Arc;
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum WorkloadType {
    Deployment,
    Cronjob,
    Pod,
    Job,
}
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Baggage {
    pub cluster: Option<Arc<str>>,
    pub namespace: Option<Arc<str>>,
    pub workload_type: Option<WorkloadType>,
    pub workload_name: Option<Arc<str>>,
    pub service_name: Option<Arc<str>>,
    pub service_version: Option<Arc<str>>,
    pub region: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
}
impl Baggage {
    /// Total: any header values; `None` when a value is not visible ASCII.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        todo!()
    }
    pub fn encode(&self) -> String {
        todo!()
    }
}
