//! A control plane by script: a real gRPC server over TLS, whose state and faults a test decides.

pub mod ads;
pub mod ca;
mod server;

pub use server::Istiod;
