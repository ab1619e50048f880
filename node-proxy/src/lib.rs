//! Adit's node proxy as a library: configuration, wiring and the demo. The binary is a thin `main` around it.
#![forbid(unsafe_code)]

pub mod config;
