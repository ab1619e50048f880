//! Our client and our server each against the `h2` crate, and against hyper, over tokio-rustls, on loopback.
mod client;
mod peer;
mod server;
mod windows;
mod with_hyper;
