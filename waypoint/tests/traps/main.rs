//! Where proxies are wrong most often (waypoint.md §27), on the wire.
#[path = "../rig/mod.rs"]
mod rig;

mod connections;
mod gone;
mod heads;
mod identity;
mod idle;
mod limits;
mod refused;
mod retries;
mod streams;
mod trust;
