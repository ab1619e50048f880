//! Limits of one tunnel.
use crate::buffer::Class;
use crate::http2;

/// Settings and limits of one tunnel.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// Settings and limits of its HTTP/2 connection.
    pub http2: http2::Config,
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

impl TunnelConfig {
    /// A client's defaults.
    #[must_use]
    pub fn client() -> Self {
        Self::with(http2::Config::client())
    }

    /// A server's defaults.
    #[must_use]
    pub fn server() -> Self {
        Self::with(http2::Config::server())
    }

    fn with(http2: http2::Config) -> Self {
        Self { http2, max_batch: Class::Large.slots(), max_queued: 2 << 20, max_held: 20 << 20 }
    }
}
