//! Bounds and deadlines of a waypoint's HTTP.
use std::time::Duration;

use adit_core::l7::Normalization;

/// How HTTP is served. Each default is what Istio's waypoint does, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How paths are made alike before anything is decided.
    pub normalization: Normalization,
    /// The largest head of a request or answer, in octets. 60 KiB.
    pub max_head: usize,
    /// The most headers of a message. 100.
    pub max_headers: usize,
    /// How long the head of a request may take from its first octet on: whoever sends slower is cut off. 30 s.
    pub head_timeout: Duration,
    /// How long a client's HTTP connection may be without a request before it is ended. 1 h.
    pub idle_timeout: Duration,
    /// How long it may take to see what a connection speaks. 15 s.
    pub sniff_timeout: Duration,
    /// How long a client on an undeclared port may say nothing before its server is asked whether it speaks first. 250 ms.
    pub silence: Duration,
    /// How often octets of open connections and messages of gRPC calls are counted, unless `Telemetry` says otherwise. 5 s.
    pub tcp_interval: Duration,
    /// How much of a request's body is kept for another attempt, in octets. 1 MiB. Beyond it there is none.
    pub max_replayed: usize,
    /// Streams of one HTTP/2 connection of a client. 100.
    pub max_streams: u32,
    /// Connections of one client, by its identity, however many tunnels and addresses it has; more are reset. 16 384. Istio's
    /// waypoint has no such bound, nor the two that follow.
    pub max_client_connections: usize,
    /// Requests of one client under way; more are answered with status 503, flag `OM`. 16 384.
    pub max_client_requests: usize,
    /// How much is kept of all bodies of one client, in octets; of what goes beyond there is no other attempt. 64 MiB.
    pub max_client_kept: usize,
    /// Connections that wait for a request, per endpoint and thread.
    pub max_idle: usize,
    /// How often connections and counts that nothing needs any more are looked for. 10 s.
    pub sweep: Duration,
    /// How long clients have for their last requests when the waypoint ends; connections without any end then.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            normalization: Normalization::default(),
            max_head: 60 << 10,
            max_headers: 100,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(3600),
            sniff_timeout: Duration::from_secs(15),
            silence: Duration::from_millis(250),
            tcp_interval: Duration::from_secs(5),
            max_replayed: 1 << 20,
            max_streams: 100,
            max_client_connections: 16_384,
            max_client_requests: 16_384,
            max_client_kept: 64 << 20,
            max_idle: 256,
            sweep: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}
