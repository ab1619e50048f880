//! Where proxies are wrong most often (waypoint.md §27), on the wire.
#[path = "../rig/mod.rs"]
mod rig;

mod connections;
mod heads;
mod limits;
mod retries;
mod streams;
mod trust;
