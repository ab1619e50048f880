//! Ports for tests that make TLS contexts but never seal anything with them.

use std::sync::Arc;

use adit_core::time::{UnixTime, WallClock};
use adit_core::tls::{Aead, AeadError, AeadKey, Suite, TlsPorts};

pub(crate) fn test_ports() -> TlsPorts {
    TlsPorts {
        provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        aead: Arc::new(NoAead),
        clock: Arc::new(WallClock::new(UnixTime(1))),
    }
}

#[derive(Debug)]
struct NoAead;

impl Aead for NoAead {
    fn key(&self, _: Suite, _: &[u8]) -> Option<Box<dyn AeadKey>> {
        Some(Box::new(Self))
    }
}

impl AeadKey for NoAead {
    fn seal(&self, _: [u8; 12], _: &[u8], _: &mut [u8]) -> Result<[u8; 16], AeadError> {
        Err(AeadError)
    }
    fn open(&self, _: [u8; 12], _: &[u8], _: &mut [u8]) -> Result<usize, AeadError> {
        Err(AeadError)
    }
}
