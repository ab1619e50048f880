//! Two tunnels on a simulated network: nothing lost, duplicated or reordered; everything given back; hand-over unseen.
#[path = "pair/echo.rs"]
mod echo;
#[path = "pair/streams.rs"]
mod streams;
