//! Clients that mean no good: an application sees nothing of what they send, or exactly one well-formed request; never two.
#[path = "../rig/mod.rs"]
mod rig;

mod confusion;
mod heads;
mod http2;
mod smuggling;
