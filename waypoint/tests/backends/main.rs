//! What goes before HTTP on the way to a backend: TLS of its own, PROXY headers; and who may ask: authorizers.
#[path = "../rig/mod.rs"]
mod rig;

mod authorizers;
mod tls;
