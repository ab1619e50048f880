//! The pods of this node from its CNI agent: ZDS over a local socket, with their network namespaces (interfaces §3).

mod sink;

pub use sink::{PodObserver, PodSink, PodStart};
