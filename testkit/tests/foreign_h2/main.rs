//! Our client and our server each against the `h2` crate over tokio-rustls, on loopback.
mod client;
mod peer;
mod server;
