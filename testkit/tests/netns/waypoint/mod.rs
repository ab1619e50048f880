//! Waypoints: a relay that stands for one behind a node proxy, then `adit-waypoint` itself, as a process in a pod of its own,
//! between the node proxies of two machines.
mod attached;
mod cases;
mod connections;
mod load;
mod place;
mod relayed;
mod replaced;
mod rig;
mod trusted;

pub(crate) use attached::workload;
pub(crate) use cases::conformance;
pub(crate) use connections::not_http;
pub(crate) use relayed::hop;
pub(crate) use replaced::{changes, killed, replicas};
pub(crate) use trusted::who_is_who;
