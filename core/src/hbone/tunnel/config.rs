//! Limits of one tunnel.
use crate::buffer::Class;
use crate::http2;

/// Settings and limits of one tunnel.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// HTTP/2 of tunnels we have dialled.
    pub client: http2::Config,
    /// HTTP/2 of tunnels we have accepted.
    pub server: http2::Config,
    /// Most records per batch read from an application (design D6): 63.
    pub max_batch: usize,
    /// Most wire octets queued for the transport before application reads pause: 2 MiB, two full batches.
    pub max_queued: usize,
    /// Most octets of memory held for slow applications before the stream that holds most is reset: 20 MiB.
    ///
    /// The connection window (16 MiB) bounds what a peer may send ahead; the default leaves room for the spare ends of
    /// buffers, so that it acts only on peers that spread crumbs over many streams.
    pub max_held: usize,
}

impl Default for TunnelConfig {
    fn default() -> Self {
        Self {
            client: http2::Config::client(),
            server: http2::Config::server(),
            max_batch: Class::Large.slots(),
            max_queued: 2 << 20,
            max_held: 20 << 20,
        }
    }
}
