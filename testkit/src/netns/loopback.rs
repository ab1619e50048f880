//! Loopback addresses that no other test uses, so that several proxies can keep their usual ports.
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

static NEXT: AtomicU8 = AtomicU8::new(0);

/// Sixteen IPv4 loopback addresses of our own.
#[derive(Clone, Copy, Debug)]
pub struct Loopback {
    first: Ipv4Addr,
}

impl Loopback {
    /// The next sixteen of this process, of up to sixteen such blocks.
    #[must_use]
    pub fn new() -> Self {
        let [.., high, low] = std::process::id().to_be_bytes();
        let block = NEXT.fetch_add(1, Ordering::Relaxed);
        // 127.0.x.x is where everything else on a machine lives; the top bit keeps clear of it.
        Self { first: Ipv4Addr::new(127, high | 0x80, low, block << 4) }
    }

    /// The address with this number, 1 to 14.
    #[must_use]
    pub fn address(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, d] = self.first.octets();
        Ipv4Addr::new(a, b, c, d | (number & 0xf))
    }
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}
